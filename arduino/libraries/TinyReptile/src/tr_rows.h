/* Readings of a motion sensor become the rows of a window, as the networks of wrists know them.
 *
 * A sensor gives readings at a rate of its own, about 100 a second. A row is the mean of all
 * readings of one slot of 40 ms, so there are 25 rows a second. The first reading lies in the middle
 * of its slot: a sensor that gives 25 readings a second then fills each slot with one.
 *
 *     static tr_rows rows;
 *     tr_rows_init(&rows, 0);                         // worn on the left arm
 *     const int ok = IMU.readAcceleration(x[0], x[1], x[2]) && IMU.readGyroscope(x[3], x[4], x[5]);
 *     switch (tr_rows_add(&rows, row, ok ? x : NULL, micros())) ...
 *
 * Header only, and plain C99: no memory, no state but the struct, no library.
 */
#ifndef TR_ROWS_H
#define TR_ROWS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TR_ROW_AXES 6 /* acceleration x, y, z, rotation rate x, y, z */
#define TR_ROW_MICROSECONDS 40000u

enum {
    TR_ROW_FAILED = -1, /* no reading: what the window held so far is worth nothing */
    TR_ROW_OPEN = 0,    /* the row is still in the making */
    TR_ROW_DONE = 1     /* a row was written */
};

/* A row in the making. */
typedef struct {
    float sum[TR_ROW_AXES];
    uint32_t readings; /* in the sum */
    uint32_t due;      /* when the slot ends, by the clock that counts microseconds */
    int right_arm;
} tr_rows;

/* Begin a new window: the row in the making is dropped, the next reading starts a slot. */
static inline void tr_rows_restart(tr_rows *rows)
{
    rows->readings = 0;
}

/* Say on which arm the sensor is worn, and begin a new window. */
static inline void tr_rows_init(tr_rows *rows, int right_arm)
{
    rows->right_arm = right_arm;
    tr_rows_restart(rows);
}

/* One axis of a reading (g, degrees per second) in the frame and the units of the recordings (g,
 * radians per second). A right arm moves as a left one in a mirror whose plane is across x: that
 * turns acceleration x round, and the rotations about y and z. */
static inline float tr_rows_axis(const tr_rows *rows, const float *reading, int axis)
{
    const float unit = axis < 3 ? 1.0f : 0.0174532925f;
    const int turned = axis == 0 || axis == 4 || axis == 5;
    return reading[axis] * (rows->right_arm && turned ? -unit : unit);
}

/* Take a reading (TR_ROW_AXES), or NULL if it failed, at a time in microseconds; the clock may
 * wrap around. A reading that comes after the end of the slot completes the row and starts the
 * next one. Returns TR_ROW_DONE if `row` (TR_ROW_AXES) was written, else TR_ROW_OPEN; and
 * TR_ROW_FAILED, after tr_rows_restart, for a failed reading or one with NaN or an infinity. */
static inline int tr_rows_add(tr_rows *rows, float *row, const float *reading, uint32_t now)
{
    for (int i = 0; i < TR_ROW_AXES; i++) {
        if (!reading || !(reading[i] - reading[i] == 0.0f)) { /* false for NaN and infinities */
            tr_rows_restart(rows);
            return TR_ROW_FAILED;
        }
    }
    if (rows->readings == 0) {
        rows->due = now + TR_ROW_MICROSECONDS / 2;
    }
    const int done = rows->readings > 0 && (int32_t)(now - rows->due) >= 0;
    for (int i = 0; i < TR_ROW_AXES; i++) {
        const float value = tr_rows_axis(rows, reading, i);
        if (done) {
            row[i] = rows->sum[i] / (float)rows->readings;
        }
        rows->sum[i] = done || rows->readings == 0 ? value : rows->sum[i] + value;
    }
    rows->readings = done ? 1 : rows->readings + 1;
    rows->due += done ? TR_ROW_MICROSECONDS : 0;
    return done ? TR_ROW_DONE : TR_ROW_OPEN;
}

#ifdef __cplusplus
}
#endif

#endif
