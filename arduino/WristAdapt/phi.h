/* Network and start weights phi, learnt by: tinyreptile train wrist --seed 0 --fold 0
 * 8807 weights, input (100, 6), 7 outputs; network 76a0c01798725484, SHA-256 of phi dddbbb2dc9866e50 */
#ifndef PHI_H
#define PHI_H
#include <TinyReptile.h>
#ifdef __cplusplus
extern "C" {
#endif
#define PHI_WEIGHTS 8807
#define PHI_WORKSPACE 4491
#define PHI_INPUTS 600
#define PHI_OUTPUTS 7
extern const tr_network phi_network;
extern const float phi[PHI_WEIGHTS];
#ifdef __cplusplus
}
#endif
#endif
