/* From the axes of a motion sensor to those of the recordings that the networks of wrists know.
 *
 * The recordings (an Apple Watch on the back of the left wrist): x points to the hand, y to the
 * little finger's side, z out of the back of the wrist. Acceleration has Apple's sign: at rest it
 * points to the GROUND. Rotation rates obey the right-hand rule.
 *
 * The Nano 33 BLE Sense, both revisions: Arduino's libraries give x towards the USB plug, y to the
 * right if you look at the components with the plug up, and z out of the components; at rest +1 g
 * points UPWARDS. This frame is left-handed, for rotations too. Sources: Arduino_BMI270_BMM150 gives
 * x = -chip y, y = -chip x, z = chip z, for both; its pull request 68; issue 7 of
 * aster94/SensorFusion for the LSM9DS1; issue 123 of headtracker/HeadTracker for x and z.
 * Never checked on a real board by us; the sketch FindAxes does so on yours.
 *
 * Left-handed or not, and up or down, are facts of their own. So a map is three signed axes for
 * acceleration, and one sign more for rotation. In the frame of the recordings gravity g and
 * rotation w obey dg/dt = -w x g; that decides on this sign, not the three axes.
 *
 * As text, `+x-y-z-` says: x is the reading's x, y its y turned round, z its z turned round, and
 * rotations take one minus more. Header only, C99.
 */
#ifndef TR_AXES_H
#define TR_AXES_H

#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TR_AXES_TEXT 8 /* characters of a map as text, with the zero at the end */

/* Readings that are in the frame of the recordings already. */
#define TR_AXES_RECORDED "+x+y+z+"
/* The board on the back of the left wrist, components outwards, USB plug towards the elbow. On the
 * right wrist in the same way: `tr_axes_other_arm`. */
#define TR_AXES_REV1 "+x-y-z-" /* Arduino_LSM9DS1 */
#define TR_AXES_REV2 "+x-y-z-" /* Arduino_BMI270_BMM150 */

/* Axis i of the recordings is the reading's axis |axis[i]|: 1 is x, 2 y, 3 z; minus turns it. */
typedef struct {
    int8_t axis[3];
    int8_t rotation; /* 1, or -1: rotations take one minus more than acceleration */
} tr_axes;

/* Whether all three axes are there, once, and the numbers are such as a map has. */
static inline int tr_axes_valid(const tr_axes *axes)
{
    int seen = 0;
    for (int i = 0; i < 3; i++) {
        const int from = axes->axis[i] < 0 ? -axes->axis[i] : axes->axis[i];
        seen |= from >= 1 && from <= 3 ? 1 << from : 0;
    }
    return seen == 14 && (axes->rotation == 1 || axes->rotation == -1);
}

/* Read a map from text. Returns 1, or 0 and leaves the map as it was if the text is none. */
static inline int tr_axes_parse(tr_axes *axes, const char *text)
{
    tr_axes read = {{0, 0, 0}, 0};
    for (int i = 0; i < 7; i += 2) { /* a text that is too short ends at its zero */
        if (text[i] != '+' && text[i] != '-') {
            return 0;
        }
        const int sign = text[i] == '+' ? 1 : -1;
        if (i == 6) {
            read.rotation = (int8_t)sign;
        } else if (text[i + 1] >= 'x' && text[i + 1] <= 'z') {
            read.axis[i / 2] = (int8_t)(sign * (text[i + 1] - 'x' + 1));
        } else {
            return 0;
        }
    }
    if (text[7] || !tr_axes_valid(&read)) {
        return 0;
    }
    *axes = read;
    return 1;
}

/* Write a map as text. */
static inline void tr_axes_print(const tr_axes *axes, char text[TR_AXES_TEXT])
{
    for (int i = 0; i < 3; i++) {
        text[2 * i] = axes->axis[i] < 0 ? '-' : '+';
        text[2 * i + 1] = (char)('w' + (axes->axis[i] < 0 ? -axes->axis[i] : axes->axis[i]));
    }
    text[6] = axes->rotation < 0 ? '-' : '+';
    text[7] = 0;
}

/* The board changes arms, and its plug still points the same way along the arm. The arms mirror
 * each other; in the frame of the recordings the little finger's side changes. A mirror turns one
 * axis of acceleration round, and the rotations about the two others. */
static inline void tr_axes_other_arm(tr_axes *axes)
{
    axes->axis[1] = (int8_t)-axes->axis[1];
    axes->rotation = (int8_t)-axes->rotation;
}

/* How a board with this map is worn, in words; `drawn` is TR_AXES_REV1 or TR_AXES_REV2. */
static inline const char *tr_axes_words(const tr_axes *axes, const char *drawn)
{
    char text[TR_AXES_TEXT];
    tr_axes other = *axes;
    tr_axes_other_arm(&other);
    tr_axes_print(axes, text);
    if (!strcmp(text, drawn)) {
        return "as drawn for the left arm";
    }
    tr_axes_print(&other, text);
    return strcmp(text, drawn) ? "not as drawn" : "as drawn for the right arm, not the left one";
}

/* One axis, 0 to 5, of a reading (acceleration x, y, z, rotation rate x, y, z) in the frame of the
 * recordings; its unit stays. */
static inline float tr_axes_value(const tr_axes *axes, const float *reading, int axis)
{
    const int rotation = axis >= 3;
    const int from = axes->axis[axis % 3];
    const float value = reading[(from < 0 ? -from : from) - 1 + (rotation ? 3 : 0)];
    return (from < 0) != (rotation && axes->rotation < 0) ? -value : value;
}

#ifdef __cplusplus
}
#endif

#endif
