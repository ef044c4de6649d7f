/* Readings of a motion sensor become the rows of a window, as the networks of wrists know them.
 *
 * A sensor gives readings at a rate of its own, about 100 a second. A row is the mean of all
 * readings of one slot of 40 ms, so there are 25 rows a second. The first reading lies in the middle
 * of its slot: a sensor that gives 25 readings a second then fills each slot with one.
 *
 *     static tr_rows rows;
 *     tr_axes axes;
 *     tr_axes_parse(&axes, TR_AXES_REV1);
 *     tr_rows_init(&rows, &axes);
 *     if (tr_imu_read(IMU, x)) switch (tr_rows_add(&rows, row, x, micros())) ...
 *     else switch (tr_rows_none(&rows, micros())) ...
 *
 * The readings are turned into the frame of the recordings, see tr_axes.h, a sensor that is broken
 * is found, see tr_sensor.h, and a gyroscope's offset is taken off, see tr_still.h.
 *
 * Header only, and plain C99: no memory, no state but the struct, no library.
 */
#ifndef TR_ROWS_H
#define TR_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "tr_axes.h"
#include "tr_sensor.h"
#include "tr_still.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TR_ROW_AXES 6 /* acceleration x, y, z, rotation rate x, y, z */
#define TR_ROW_MICROSECONDS 40000u
#define TR_ROW_SILENCE 1000000u /* microseconds without a reading after which a sensor is broken */
#define TR_ROW_GAP 200000u /* microseconds between two readings: after more a window has a hole */

enum {
    TR_ROW_FAILED = -1, /* `fault` says why: what the window held so far is worth nothing */
    TR_ROW_OPEN = 0,    /* the row is still in the making */
    TR_ROW_DONE = 1     /* a row was written */
};

/* A row in the making. */
typedef struct {
    float sum[TR_ROW_AXES];
    uint32_t readings; /* in the sum */
    uint32_t due;      /* when the slot ends, by the clock that counts microseconds */
    uint32_t heard;    /* when the last reading came, by the same clock */
    tr_axes axes;
    int8_t listening;  /* whether `heard` holds a time */
    int8_t fault;      /* why the last call failed, or TR_SENSOR_OK */
    tr_sensor sensor;
    tr_still still;
    float offset[3]; /* of the gyroscope, degrees per second */
} tr_rows;

/* Begin a new window: the row in the making is dropped, the next reading starts a slot. What is
 * known of the sensor stays. */
static inline void tr_rows_restart(tr_rows *rows)
{
    rows->readings = 0;
    rows->listening = 0;
}

/* Say where the reading's axes are in the recordings' frame, and begin afresh. */
static inline void tr_rows_init(tr_rows *rows, const tr_axes *axes)
{
    const tr_rows empty = {{0.0f}, 0, 0, 0, *axes, 0, TR_SENSOR_OK, {{0.0f}, 0.0f, {0.0f}, {0}, 0, 0},
                           {{0.0f}, {0.0f}, {0.0f}, 0, 0, 0}, {0.0f}};
    *rows = empty;
}

/* One axis of a reading (g, degrees per second) in the frame and the units of the recordings (g,
 * radians per second). */
static inline float tr_rows_axis(const tr_rows *rows, const float *reading, int axis)
{
    return tr_axes_value(&rows->axes, reading, axis) * (axis < 3 ? 1.0f : 0.0174532925f);
}

/* Say that a sensor has no new reading, at a time in microseconds. Returns TR_ROW_OPEN; and
 * TR_ROW_FAILED, after tr_rows_restart, if it has had none for a second. */
static inline int tr_rows_none(tr_rows *rows, uint32_t now)
{
    if (!rows->listening) {
        rows->listening = 1;
        rows->heard = now;
    }
    rows->fault = now - rows->heard > TR_ROW_SILENCE ? TR_SENSOR_SILENT : TR_SENSOR_OK;
    if (rows->fault == TR_SENSOR_OK) {
        return TR_ROW_OPEN;
    }
    tr_rows_restart(rows);
    return TR_ROW_FAILED;
}

/* Take a reading (TR_ROW_AXES), or NULL if it failed, at a time in microseconds; the clock may
 * wrap around. A reading that comes after the end of the slot completes the row and starts the
 * next one. Returns TR_ROW_DONE if `row` (TR_ROW_AXES) was written, else TR_ROW_OPEN; and
 * TR_ROW_FAILED, after tr_rows_restart, for a reading that shows a broken sensor, or that comes
 * so late that the window has a hole, as after something that keeps the sketch busy. */
static inline int tr_rows_add(tr_rows *rows, float *row, const float *reading, uint32_t now)
{
    const int gap = rows->readings > 0 && now - rows->heard > TR_ROW_GAP;
    rows->listening = 1;
    rows->heard = now;
    rows->fault = (int8_t)tr_sensor_check(&rows->sensor, reading);
    if (rows->fault != TR_SENSOR_OK) {
        rows->still.count = 0;
    } else {
        tr_still_offset(&rows->still, rows->offset, reading, now);
        rows->fault = gap ? TR_SENSOR_GAP : TR_SENSOR_OK; /* later rows would be too short */
    }
    if (rows->fault != TR_SENSOR_OK) {
        tr_rows_restart(rows);
        return TR_ROW_FAILED;
    }
    float steady[TR_ROW_AXES];
    for (int i = 0; i < TR_ROW_AXES; i++) {
        steady[i] = reading[i] - (i < 3 ? 0.0f : rows->offset[i - 3]);
    }
    if (rows->readings == 0) {
        rows->due = now + TR_ROW_MICROSECONDS / 2;
    }
    const int done = rows->readings > 0 && (int32_t)(now - rows->due) >= 0;
    for (int i = 0; i < TR_ROW_AXES; i++) {
        const float value = tr_rows_axis(rows, steady, i);
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
