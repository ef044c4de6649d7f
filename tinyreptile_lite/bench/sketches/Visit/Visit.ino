/* One visit of a device: TinyReptile's, or Reptile's as it keeps its samples.
 *
 * phi.h, settings.h and samples.h are written beside it by bench/device.py, which runs it on the
 * virtual board. Where the RAM cannot hold the samples of a visit, they are in flash.
 */
#include <TinyReptile.h>
#include <stdlib.h>
#include <string.h>

#include "phi.h"
#include "settings.h"

static float weights[PHI_WEIGHTS];
static float workspace[PHI_WORKSPACE];
static tr_model model;
static volatile bool learnt;

// What the sensor will give: not counted as the learner's memory.
#if LABELS
typedef int32_t answer;
#else
typedef float answer;
#endif
const size_t answers = LABELS ? 1 : PHI_OUTPUTS;  // of one sample
#if IN_FLASH
#include "samples.h"
#else
static float sensor_x[SAMPLES * PHI_INPUTS];
static answer sensor_answers[SAMPLES * answers];
#endif

#if REPTILE
static float gradient[PHI_WEIGHTS];
#if IN_FLASH
static const float *kept_x = sensor_x;
static const answer *kept_answers = sensor_answers;
#else
static float kept_x[SAMPLES * PHI_INPUTS];
static answer kept_answers[SAMPLES * answers];
#endif

static tr_status visit() {
#if !IN_FLASH
  memcpy(kept_x, sensor_x, sizeof kept_x);
  memcpy(kept_answers, sensor_answers, sizeof kept_answers);
#endif
  tr_status status = TR_OK;
  for (int epoch = 0; epoch < EPOCHS && status == TR_OK; epoch++) {
    for (size_t i = 0; i < SAMPLES && status == TR_OK; i += BATCH) {
      tr_samples batch = {kept_x + i * PHI_INPUTS, NULL, NULL, BATCH};
      if (i + BATCH > SAMPLES) batch.count = SAMPLES - i;
#if LABELS
      batch.labels = kept_answers + i * answers;
#else
      batch.targets = kept_answers + i * answers;
#endif
      status = tr_learn_minibatch(&model, NULL, gradient, &batch, RATE);
    }
  }
  return status;
}
#else
static tr_status visit() {
  tr_status status = TR_OK;
  float loss;
  for (size_t i = 0; i < SAMPLES && status == TR_OK; i++) {
    const float *x = sensor_x + i * PHI_INPUTS;
#if LABELS
    status = tr_learn_label(&model, &loss, x, sensor_answers[i], RATE);
#else
    status = tr_learn_value(&model, &loss, x, sensor_answers + i * answers, RATE);
#endif
  }
  return status;
}
#endif

[[gnu::unused]] static float draw() {
  static uint32_t state = 1;
  state = state * 1664525u + 1013904223u;
  return (float)(state >> 8) * (2.0f / 16777216.0f) - 1.0f;
}

void setup() {
#if !IN_FLASH
  for (float &x : sensor_x) x = draw();
  for (answer &y : sensor_answers)
    y = LABELS ? (answer)((draw() + 1.0f) * 0.5f * PHI_OUTPUTS) : (answer)draw();
#endif
  tr_status status =
      tr_init(&model, &phi_network, weights, PHI_WEIGHTS, workspace, PHI_WORKSPACE);
  if (status == TR_OK) status = tr_reset(&model, phi);
  for (int i = 0; i < VISITS && status == TR_OK; i++) status = visit();
  learnt = status == TR_OK;
  abort();
}

void loop() {}
