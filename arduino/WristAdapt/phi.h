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
