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
