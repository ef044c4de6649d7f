/* Two fixed trainings. All numbers come from one generator of whole numbers, and each is made a
 * float without rounding, so every machine draws the same bits. */
#pragma once

#include <tinyreptile_core.h>

enum { steps = 200, mostInputs = 64, mostWeights = 2410, mostWorkspace = 65 };
const float rate = 0.0625f;

struct training {
  const char *name;
  const tr_network *network;
  size_t weights;
  uint32_t expected;  // CRC-32 of the weights after the last step
};

static const tr_layer valueLayers[] = {TR_DENSE(1, 32), TR_RELU, TR_DENSE(32, 32), TR_RELU,
                                       TR_DENSE(32, 1)};
static const tr_network valueNetwork = {valueLayers, 5, 1, TR_MSE};
static const tr_layer labelLayers[] = {TR_DENSE(64, 32), TR_RELU, TR_DENSE(32, 10)};
static const tr_network labelNetwork = {labelLayers, 3, 64, TR_CROSS_ENTROPY};
static const training trainings[] = {{"1-32-32-1", &valueNetwork, 1153, 0x89A64E5E},
                                     {"64-32-10", &labelNetwork, 2410, 0x0EC9C751}};

static uint32_t drawn;
static float x[mostInputs], target;
static int32_t label;

// Evenly from -1 to 1, in steps of 2^-23.
static float draw() {
  drawn = drawn * 1664525u + 1013904223u;
  return (float)((int32_t)(drawn >> 8) - (1 << 23)) * (1.0f / (1 << 23));
}

static tr_status beginTraining(tr_model *model) {
  static float phi[mostWeights];
  drawn = 1;
  for (size_t i = 0; i < model->weight_count; i++) phi[i] = 0.25f * draw();
  return tr_reset(model, phi);
}

// The square of a number, or which of the first ten numbers is the largest.
static void drawSample(const tr_model *model) {
  for (uint16_t i = 0; i < model->network->inputs; i++) x[i] = draw();
  target = x[0] * x[0];
  label = 0;
  for (int32_t i = 1; i < 10; i++) {
    if (x[i] > x[label]) label = i;
  }
}

static tr_status learnSample(tr_model *model) {
  if (model->network->loss == TR_MSE) return tr_learn_value(model, nullptr, x, &target, rate);
  return tr_learn_label(model, nullptr, x, label, rate);
}
