#include <stdio.h>
#include <stdlib.h>

#include "trajectory.h"

int main(int count, char **arguments)
{
    const int steps = count > 1 ? (int)strtol(arguments[1], NULL, 10) : TRAJECTORY_STEPS;
    for (int which = 0; which < TRAJECTORIES; which++) {
        tr_status status;
        const uint32_t hash = trajectory(which, steps, &status);
        printf("%d %08lx %s\n", which, (unsigned long)hash, tr_status_text(status));
    }
    return 0;
}
