#include <stdio.h>

#include "trajectory.h"

int main(void)
{
    for (int which = 0; which < TRAJECTORIES; which++) {
        tr_status status;
        const uint32_t hash = trajectory(which, TRAJECTORY_STEPS, &status);
        printf("%d %08lx %s\n", which, (unsigned long)hash, tr_status_text(status));
    }
    return 0;
}
