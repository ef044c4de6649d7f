/* Find the map of axes (tr_axes.h) of a board that is strapped on: any mounting, revision, library.
 *
 * The arm takes three poses, and is held still in each for a second:
 *   1  the forearm flat on a table, palm down    gravity is -z of the recordings
 *   2  the thumb up                              gravity is +y, the little finger's side
 *   3  the arm hangs down                        gravity is +x, towards the hand
 * Where gravity is in the readings gives the three axes. From one pose to the next the rotation is
 * integrated, with either sign; that which leads to where gravity then is gives the rotation's
 * sign. A gyroscope's offset is taken from the pose before. On the right arm the same poses give a
 * map that mirrors, as the training did with right arms.
 *
 *     static tr_find find;
 *     tr_find_begin(&find);
 *     tr_find_pose(&find);                       // the arm is in the next pose: measure it
 *     const int status = tr_find_add(&find, reading, micros());  // every reading, also between poses
 *
 * Header only, C99, no library.
 */
#ifndef TR_FIND_AXES_H
#define TR_FIND_AXES_H

#include "tr_axes.h"
#include "tr_still.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TR_FIND_POSES 3
#define TR_FIND_PATIENCE 15000000u /* microseconds in which it must be held */
#define TR_FIND_GAP 200000u      /* microseconds between two readings: more is too long */
#define TR_FIND_SWAY_G 0.15f     /* most that an axis may change in a pose: no arm is a table */
#define TR_FIND_SWAY_DPS 25.0f

enum {
    TR_FIND_MOVING = 0, /* between two poses */
    TR_FIND_HOLDING,    /* the pose is being measured */
    TR_FIND_POSE,       /* the pose is measured; go to the next one */
    TR_FIND_DONE,       /* `axes` is the map */
    /* What went wrong; begin again. */
    TR_FIND_NOT_STILL,
    TR_FIND_NO_GRAVITY,
    TR_FIND_SKEW,
    TR_FIND_ALIKE,
    TR_FIND_TURN,
    TR_FIND_STOPPED
};

typedef struct {
    tr_still still;                /* the pose that is being measured */
    uint32_t asked, last;          /* when the pose was begun, and the time of the last reading */
    float offset[3];               /* of the gyroscope: its mean in the last pose */
    float before[3];               /* rotation rate of the last reading, without the offset */
    float carried[2][3];           /* gravity of the last pose, carried along: sign + and - */
    float fit[2];                  /* cosine between carried and found, the worst of all turns */
    int8_t from[TR_FIND_POSES];    /* axis of gravity in each pose, as in tr_axes */
    int8_t pose;                   /* poses measured so far */
    int8_t holding, started;
    tr_axes axes;                  /* the result */
} tr_find;

/* Begin with the first pose. */
static inline void tr_find_begin(tr_find *find)
{
    const tr_find empty = {{{0.0f}, {0.0f}, {0.0f}, 0, 0, 0}, 0, 0, {0.0f}, {0.0f},
                           {{0.0f}, {0.0f}}, {1.0f, 1.0f}, {0, 0, 0}, 0, 0, 0, {{0, 0, 0}, 0}};
    *find = empty;
}

/* The arm is in the next pose: measure it from now on. */
static inline void tr_find_pose(tr_find *find)
{
    find->holding = 1;
    find->asked = find->last;
    find->still.count = 0;
}

static inline float tr_find_dot(const float *a, const float *b)
{
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

/* Turn g by dg/dt = -w x g for a while (w times time is `turn`): the series up to its square. */
static inline void tr_find_turn(float *g, const float *turn)
{
    const float w = tr_find_dot(turn, g), ww = tr_find_dot(turn, turn), gg = tr_find_dot(g, g);
    float next[3];
    for (int i = 0; i < 3; i++) {
        const int j = (i + 1) % 3, k = (i + 2) % 3;
        next[i] = g[i] - (turn[j] * g[k] - turn[k] * g[j]) + 0.5f * (turn[i] * w - g[i] * ww);
    }
    const float grown = tr_find_dot(next, next) / gg; /* close to 1: one step of Newton's root */
    for (int i = 0; i < 3; i++) {
        g[i] = next[i] * (1.5f - 0.5f * grown);
    }
}

/* Carry the last pose's gravity along with the rotation. */
static inline void tr_find_carry(tr_find *find, const float *reading, uint32_t elapsed)
{
    float now[3], turn[3];
    for (int sign = 1; sign >= -1; sign -= 2) {
        for (int i = 0; i < 3; i++) {
            now[i] = (reading[3 + i] - find->offset[i]) * 0.0174532925f;
            turn[i] = (float)sign * 0.5f * (find->before[i] + now[i]) * (float)elapsed * 1e-6f;
        }
        tr_find_turn(find->carried[sign < 0], turn);
    }
    for (int i = 0; i < 3; i++) {
        find->before[i] = now[i];
    }
}

/* The map from the poses and the turns. */
static inline int tr_find_result(tr_find *find)
{
    const int minus = find->fit[1] > find->fit[0];
    if (find->fit[minus] < 0.7f || find->fit[minus] - find->fit[!minus] < 0.7f) {
        return TR_FIND_TURN;
    }
    find->axes.axis[0] = find->from[2];
    find->axes.axis[1] = find->from[1];
    find->axes.axis[2] = (int8_t)-find->from[0];
    /* The sign was found in the frame of the readings. From there to the frame of the recordings a
     * map that mirrors (determinant -1) turns the product w x g round once more. */
    int plus = minus;
    for (int i = 0; i < 3; i++) {
        const int a = find->axes.axis[i], b = find->axes.axis[(i + 1) % 3];
        plus ^= (a < 0) ^ ((a < 0 ? -a : a) > (b < 0 ? -b : b));
    }
    find->axes.rotation = plus ? 1 : -1;
    return TR_FIND_DONE;
}

/* Use a pose that was held. */
static inline int tr_find_use(tr_find *find)
{
    float g[6]; /* and the rotation, which is the offset */
    int largest = 0;
    if (!tr_still_mean(&find->still, g)) {
        return TR_FIND_NO_GRAVITY;
    }
    for (int i = 0; i < 3; i++) {
        find->offset[i] = g[3 + i];
        find->before[i] = 0.0f;
        largest = g[i] * g[i] > g[largest] * g[largest] ? i : largest;
    }
    if (g[largest] * g[largest] < 0.64f * tr_find_dot(g, g)) { /* more than 37 degrees from every axis */
        return TR_FIND_SKEW;
    }
    for (int i = 0; i < find->pose; i++) {
        const int from = find->from[i];
        if ((from < 0 ? -from : from) == largest + 1) {
            return TR_FIND_ALIKE;
        }
    }
    for (int sign = 0; sign < 2; sign++) {
        if (find->pose > 0) { /* both have about the length 1 */
            const float fit = tr_find_dot(find->carried[sign], g);
            find->fit[sign] = fit < find->fit[sign] ? fit : find->fit[sign];
        }
        for (int i = 0; i < 3; i++) {
            find->carried[sign][i] = g[i];
        }
    }
    find->from[find->pose] = (int8_t)(g[largest] < 0.0f ? -(largest + 1) : largest + 1);
    find->holding = 0;
    return ++find->pose < TR_FIND_POSES ? TR_FIND_POSE : tr_find_result(find);
}

/* Take a reading (acceleration x, y, z in g, rotation rate x, y, z in degrees per second) at a time
 * in microseconds. Returns a status; after one above TR_FIND_DONE begin again. */
static inline int tr_find_add(tr_find *find, const float *reading, uint32_t now)
{
    const uint32_t elapsed = find->started ? now - find->last : 0;
    find->asked = find->started ? find->asked : now;
    find->last = now;
    find->started = 1;
    if (find->pose > 0) {
        if (elapsed > TR_FIND_GAP) {
            return TR_FIND_STOPPED;
        }
        tr_find_carry(find, reading, elapsed);
    }
    if (!find->holding) {
        return TR_FIND_MOVING;
    }
    if (tr_still_add(&find->still, reading, now, TR_FIND_SWAY_G, TR_FIND_SWAY_DPS)) {
        return tr_find_use(find);
    }
    return now - find->asked > TR_FIND_PATIENCE ? TR_FIND_NOT_STILL : TR_FIND_HOLDING;
}

/* A status in words: what to do, or what went wrong. */
static inline const char *tr_find_text(int status)
{
    switch (status) {
    case TR_FIND_MOVING: return "go to the next pose";
    case TR_FIND_HOLDING: return "hold still";
    case TR_FIND_POSE: return "the pose is measured";
    case TR_FIND_DONE: return "the axes are found";
    case TR_FIND_NOT_STILL: return "the arm was not still for a second: rest it on something";
    case TR_FIND_NO_GRAVITY: return "gravity was not 1 g in this pose: hold still, or the sensor is broken";
    case TR_FIND_SKEW: return "gravity lay between two axes: strap the board on straight, or mind the pose";
    case TR_FIND_ALIKE: return "this pose is like one before: gravity lies along the same axis";
    case TR_FIND_TURN: return "the turns fit neither sign of rotation: turn slowly, from pose to pose";
    default: return "readings were missing: the rotation between two poses is not known";
    }
}

#ifdef __cplusplus
}
#endif

#endif
