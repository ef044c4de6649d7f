/* Is a motion sensor broken? Readings that cannot be are found, and the reason has a name.
 *
 * A library may call numbers good that are none: Arduino_LSM9DS1 takes a failed transfer for
 * success and gives what was on the stack. So each reading is looked at beside those before it.
 * "Lately" means the last 16 readings or so. The limits leave all recordings of wrists alone, also
 * at 25 readings a second (the hardest: 2.1 g and 354 degrees/s from one to the next).
 *
 * What it cannot find: a single wrong number now and then, or a sensor that is merely inexact.
 *
 * Header only, C99, no library; tr_rows.h asks it about every reading.
 */
#ifndef TR_SENSOR_H
#define TR_SENSOR_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { /* faults; TR_SENSOR_OK is none */
    TR_SENSOR_OK = 0,
    TR_SENSOR_NO_NUMBER,   /* the reading failed, or has NaN or a huge number */
    TR_SENSOR_SILENT,      /* there was no reading for a second */
    TR_SENSOR_FROZEN,      /* the same numbers again and again; a real sensor has noise */
    TR_SENSOR_NO_GRAVITY,  /* lately less than 0.05 g: not even in free fall for so long */
    TR_SENSOR_TOO_STRONG,  /* lately more than 7 g, or at the end of the range: no arm does so */
    TR_SENSOR_JUMPS,       /* lately the numbers have nothing to do with each other */
    TR_SENSOR_GAP          /* there were no readings for a while: no fault of the sensor's */
};

/* In a row: all six numbers the same, or those of acceleration or of rotation alone, which may
 * move by less than their last digit for a while. */
#define TR_SENSOR_SAME 16
#define TR_SENSOR_SAME_ALONE 64
#define TR_SENSOR_HUGE 1e4f /* no sensor reads so much; it would spoil what is kept for ever */
/* Both libraries set a range of 4 g, so all three axes together reach 6.93 g at most, and an axis
 * that is stuck at its end only some 4. An axis at its end: this often in a row. The recordings of
 * wrists, cut off at 4 g, have it 9 times in a row at 100 readings a second, twice at 25. */
#define TR_SENSOR_END_G 3.99f
#define TR_SENSOR_END 32
/* Change from one reading to the next, all three axes together, lately: g, degrees per second. */
#define TR_SENSOR_JUMP_G 3.0f
#define TR_SENSOR_JUMP_DPS 600.0f

/* What is kept of the readings so far; all zero is none. */
typedef struct {
    float last[6];
    float missing_g2; /* 1 minus the mean square of acceleration, so that zero is a good start */
    float jump[2];    /* of acceleration and rotation: mean change */
    uint16_t same[2]; /* of acceleration and rotation: readings without a change */
    uint8_t started;
    uint8_t end; /* readings with an axis of acceleration at the end of its range, in a row */
} tr_sensor;

/* Look at a reading (acceleration x, y, z in g, rotation rate x, y, z in degrees per second), or
 * NULL if it failed. Returns TR_SENSOR_OK or the fault. */
static inline int tr_sensor_check(tr_sensor *sensor, const float *reading)
{
    for (int i = 0; i < 6; i++) {
        if (!reading || !(reading[i] <= TR_SENSOR_HUGE && reading[i] >= -TR_SENSOR_HUGE)) { /* NaN too */
            return TR_SENSOR_NO_NUMBER;
        }
    }
    float square = 0.0f;
    int end = 0;
    for (int part = 0; part < 2; part++) {
        float change = 0.0f;
        for (int i = 3 * part; i < 3 * part + 3; i++) {
            const float step = sensor->started ? reading[i] - sensor->last[i] : 0.0f;
            change += step < 0.0f ? -step : step;
            square += part == 0 ? reading[i] * reading[i] : 0.0f;
            end |= part == 0 && (reading[i] >= TR_SENSOR_END_G || reading[i] <= -TR_SENSOR_END_G);
            sensor->last[i] = reading[i];
        }
        sensor->jump[part] += (change - sensor->jump[part]) / 16.0f;
        if (change != 0.0f) {
            sensor->same[part] = 0;
        } else if (sensor->same[part] < TR_SENSOR_SAME_ALONE) {
            sensor->same[part]++;
        }
    }
    sensor->started = 1;
    if (!end) {
        sensor->end = 0;
    } else if (sensor->end < TR_SENSOR_END) {
        sensor->end++;
    }
    sensor->missing_g2 += (1.0f - square - sensor->missing_g2) / 16.0f;
    const int a = sensor->same[0], w = sensor->same[1];
    if ((a < w ? a : w) >= TR_SENSOR_SAME || (a < w ? w : a) >= TR_SENSOR_SAME_ALONE) {
        return TR_SENSOR_FROZEN;
    }
    if (sensor->jump[0] > TR_SENSOR_JUMP_G || sensor->jump[1] > TR_SENSOR_JUMP_DPS) {
        return TR_SENSOR_JUMPS;
    }
    if (1.0f - sensor->missing_g2 < 0.05f * 0.05f) {
        return TR_SENSOR_NO_GRAVITY;
    }
    const int strong = 1.0f - sensor->missing_g2 > 7.0f * 7.0f || sensor->end >= TR_SENSOR_END;
    return strong ? TR_SENSOR_TOO_STRONG : TR_SENSOR_OK;
}

/* A fault in words. */
static inline const char *tr_sensor_text(int fault)
{
    switch (fault) {
    case TR_SENSOR_OK: return "the sensor is fine";
    case TR_SENSOR_NO_NUMBER: return "the sensor gave no number";
    case TR_SENSOR_SILENT: return "the sensor gives no readings any more";
    case TR_SENSOR_FROZEN: return "the sensor is frozen: its numbers never change";
    case TR_SENSOR_NO_GRAVITY: return "the sensor feels no gravity";
    case TR_SENSOR_TOO_STRONG: return "the sensor reads more than 7 g, or the end of its range, on and on";
    case TR_SENSOR_JUMPS: return "the sensor's numbers jump as no arm can";
    default: return "readings of the sensor were missing";
    }
}

#ifdef __cplusplus
}
#endif

#endif
