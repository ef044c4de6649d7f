/* Learning with several networks, from numbers that are the same everywhere. */
#ifndef TRAJECTORY_H
#define TRAJECTORY_H

#include "tinyreptile_core.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TRAJECTORIES 6
#define TRAJECTORY_STEPS 1000

/* Hash of all weights after so many samples of one network; 0 and a status if a step failed. */
uint32_t trajectory(int which, int steps, tr_status *status);

#ifdef __cplusplus
}
#endif

#endif
