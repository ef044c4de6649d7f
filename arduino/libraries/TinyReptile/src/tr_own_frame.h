/* A window of readings is turned into a frame of its own, so that it does not matter how the sensor
 * is mounted. For networks of the family "wrist-any", and no others.
 *
 * The first axis is the mean acceleration, so mostly gravity. The second one, square to it, is the
 * axis about which the window turns most; it points where the cubes of this rotation have a positive
 * sum. The third one makes the frame right-handed. A sensor whose axes are left-handed, or whose
 * rotation has the other sign, needs its map of axes first.
 *
 * Header only, and plain C99: no memory, no library but sqrtf.
 */
#ifndef TR_OWN_FRAME_H
#define TR_OWN_FRAME_H

#include <math.h>

#ifdef __cplusplus
extern "C" {
#endif

static inline float tr_frame_dot(const float *a, const float *b)
{
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

static inline void tr_frame_cross(float *out, const float *a, const float *b)
{
    out[0] = a[1] * b[2] - a[2] * b[1];
    out[1] = a[2] * b[0] - a[0] * b[2];
    out[2] = a[0] * b[1] - a[1] * b[0];
}

static inline void tr_frame_unit(float *a)
{
    const float length = sqrtf(tr_frame_dot(a, a));
    for (int i = 0; i < 3 && length > 0.0f; i++) a[i] /= length;
}

/* Turn so many rows of acceleration x, y, z and rotation rate x, y, z, in place. */
static inline void tr_own_frame(float *rows, int count)
{
    float up[3] = {0.0f, 0.0f, 0.0f}, axis[3] = {0.0f, 0.0f, 0.0f}, side[3], other[3];
    float difference = 0.0f, twice = 0.0f, cubes = 0.0f;
    int flat = 0;
    for (int t = 0; t < count; t++)
        for (int i = 0; i < 3; i++) up[i] += rows[6 * t + i];
    tr_frame_unit(up);
    for (int i = 1; i < 3; i++)
        if (fabsf(up[i]) < fabsf(up[flat])) flat = i;
    axis[flat] = 1.0f;
    tr_frame_cross(side, up, axis);
    tr_frame_unit(side);
    tr_frame_cross(other, up, side);
    for (int t = 0; t < count; t++) {
        const float u = tr_frame_dot(rows + 6 * t + 3, side);
        const float v = tr_frame_dot(rows + 6 * t + 3, other);
        difference += u * u - v * v;
        twice += 2.0f * u * v;
    }
    /* Half of the angle whose tangent is twice / difference; the larger of the two comes first, as a
     * root of the smaller one is all rounding. */
    const float length = sqrtf(difference * difference + twice * twice);
    const float cos2 = length > 0.0f ? difference / length : 1.0f;
    const float larger = sqrtf(0.5f * (1.0f + fabsf(cos2)));
    const float smaller = length > 0.0f ? 0.5f * twice / (length * larger) : 0.0f;
    const float cosine = cos2 < 0.0f ? smaller : larger, sine = cos2 < 0.0f ? larger : smaller;
    for (int i = 0; i < 3; i++) axis[i] = cosine * side[i] + sine * other[i];
    for (int t = 0; t < count; t++) {
        const float about = tr_frame_dot(rows + 6 * t + 3, axis);
        cubes += about * about * about;
    }
    for (int i = 0; i < 3 && cubes < 0.0f; i++) axis[i] = -axis[i];
    tr_frame_cross(other, up, axis);
    for (float *x = rows; x < rows + 6 * count; x += 3) {
        const float turned[3] = {tr_frame_dot(x, up), tr_frame_dot(x, axis), tr_frame_dot(x, other)};
        for (int i = 0; i < 3; i++) x[i] = turned[i];
    }
}

#ifdef __cplusplus
}
#endif

#endif
