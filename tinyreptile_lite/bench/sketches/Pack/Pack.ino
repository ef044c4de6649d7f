/* Packing the changes of a visit. settings.h is written beside it by bench/packing.py, which runs it on
 * the virtual board twice: with the packing and without. */
#include <stdlib.h>
#include <tr_pack.h>

#include "settings.h"

static float weights[WEIGHTS];
static uint32_t room[TR_PACK_WORDS(WEIGHTS)];
#if FEEDBACK
static float kept[WEIGHTS];
#else
static float *const kept = NULL;
#endif
static volatile size_t packed;
static volatile int packs = PACKS;  // not a constant: without the packing all else must stay

static float draw() {
  static uint32_t state = 1;
  state = state * 1664525u + 1013904223u;
  return (float)(state >> 8) * (2.0f / 16777216.0f) - 1.0f;
}

void setup() {
  uint16_t *phi = tr_pack_phi(room, WEIGHTS);
  for (int i = 0; i < WEIGHTS; i++) {
    const float change = draw();
    phi[i] = tr_to_half(draw());
    weights[i] = tr_from_half(phi[i]) + 0.1f * change * change * change;
  }
  const tr_packing packing = {BITS, COUNT, LIMIT, 1, kept};
  for (int left = packs; left > 0; left--) packed = tr_pack(room, weights, WEIGHTS, &packing);
  abort();
}

void loop() {}
