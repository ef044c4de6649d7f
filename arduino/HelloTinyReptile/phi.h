/* Network and start weights phi, learnt by: tinyreptile train sine --rounds 20000 --seed 0
 * 1153 weights, input (1,), 1 outputs; network 8181a66ef2a558e3, SHA-256 of phi 8e2dc71a57b42787 */
#ifndef PHI_H
#define PHI_H
#include <TinyReptile.h>
#ifdef __cplusplus
extern "C" {
#endif
#define PHI_WEIGHTS 1153
#define PHI_WORKSPACE 230
#define PHI_INPUTS 1
#define PHI_OUTPUTS 1
extern const tr_network phi_network;
extern const float phi[PHI_WEIGHTS];
#ifdef __cplusplus
}
#endif
#endif
