/* Learning with random networks, from numbers that are the same everywhere. */
#ifndef RANDOM_NETWORKS_H
#define RANDOM_NETWORKS_H

#include "tinyreptile_core.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Draw a network of any layers, either of those for images or of the others, and either loss; let it
 * learn in every way the core has, and hash all weights, losses, gradients and statuses that came. */
uint32_t random_network(uint32_t seed, int images);

#ifdef __cplusplus
}
#endif

#endif
