/* A gyroscope's zero-rate offset, taken whenever the sensor is still.
 *
 * A gyroscope that rests does not read zero. Typical offsets are +-30 degrees/s for the LSM9DS1 at
 * 2000 degrees/s full scale (data sheet, G_TyOff), +-0.5 for the BMI270 (data sheet, zero-rate
 * offset; users have measured 3). The mean rotation of a second in which all six axes stand still,
 * at about 1 g, is taken for it. A limb that turns evenly is not still: 3 degrees in a second move
 * gravity by 0.05 g. Only an even turn about the vertical deceives it, until the next still second.
 *
 * An offset that is closer than 2 degrees/s to the last one, at first to none, changes nothing. So
 * a good sensor is left alone, bit for bit. No second of the recordings of wrists is still.
 *
 * Header only, C99, no library; tr_rows.h asks it about every reading, tr_find_axes.h in a pose.
 */
#ifndef TR_STILL_H
#define TR_STILL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TR_STILL_TIME 1000000u /* microseconds */
#define TR_STILL_GAP 200000u   /* microseconds between two readings: after more it starts again */
#define TR_STILL_G 0.05f       /* most that an axis may change in this time */
#define TR_STILL_DPS 6.0f
#define TR_STILL_OFF 2.0f /* degrees per second: least change of an offset */

/* Readings since the sensor has been still; all zero is a good start. */
typedef struct {
    float sum[6], low[6], high[6];
    uint32_t count, since, last; /* how many, and the times of the first and the last */
} tr_still;

/* Take a reading (acceleration x, y, z in g, rotation rate x, y, z in degrees per second) at a time
 * in microseconds, and how much the axes may sway. Returns 1 if it has been still for long enough;
 * the caller then sets the count to 0 for the next time. Else 0. */
static inline int tr_still_add(tr_still *still, const float *reading, uint32_t now, float g, float dps)
{
    const int first = still->count == 0 || now - still->last > TR_STILL_GAP;
    int moved = 0;
    for (int i = 0; i < 6; i++) {
        still->low[i] = first || reading[i] < still->low[i] ? reading[i] : still->low[i];
        still->high[i] = first || reading[i] > still->high[i] ? reading[i] : still->high[i];
        still->sum[i] = (first ? 0.0f : still->sum[i]) + reading[i];
        moved |= still->high[i] - still->low[i] > (i < 3 ? g : dps);
    }
    still->since = first ? now : still->since;
    still->last = now;
    still->count = moved ? 0 : first ? 1 : still->count + 1;
    return !moved && now - still->since >= TR_STILL_TIME;
}

/* The mean of the readings since it has been still. Returns 1 if they show gravity, else 0. */
static inline int tr_still_mean(const tr_still *still, float *mean)
{
    float gg = 0.0f;
    for (int i = 0; i < 6; i++) {
        mean[i] = still->sum[i] / (float)still->count;
        gg += i < 3 ? mean[i] * mean[i] : 0.0f;
    }
    return gg >= 0.8f * 0.8f && gg <= 1.2f * 1.2f;
}

/* Take a reading; after a still second `offset`, of rotation rate x, y, z, is set. */
static inline void tr_still_offset(tr_still *still, float *offset, const float *reading, uint32_t now)
{
    float mean[6];
    if (!tr_still_add(still, reading, now, TR_STILL_G, TR_STILL_DPS)) {
        return;
    }
    int off = 0;
    if (tr_still_mean(still, mean)) {
        for (int i = 0; i < 3; i++) {
            const float change = mean[3 + i] - offset[i];
            off |= change >= TR_STILL_OFF || change <= -TR_STILL_OFF;
        }
    }
    for (int i = 0; i < 3; i++) {
        offset[i] = off ? mean[3 + i] : offset[i];
    }
    still->count = 0;
}

#ifdef __cplusplus
}
#endif

#endif
