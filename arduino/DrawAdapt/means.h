/* Class means: a character is recognised by the taught one whose mean is nearest.
 *
 * The network without its last layer, its body, turns a drawing into features; each character's
 * mean over its drawings is all that is learnt. That takes one forward pass, no gradient, and no
 * weights in RAM: the body stays phi's, in flash. */
#pragma once

#include "kept.h"

static const int features = 128;          // inputs of the last layer
static const float nearness = 0.05f;      // probabilities are softmax(-nearness * squared distance)
static const size_t headWeights = (features + 1) * labels;
static float means[labels][features], feature[features];
static int meant[labels];                 // drawings in each mean
static tr_network bodyNetwork;
static tr_model body;

static_assert(PHI_WEIGHTS > headWeights, "phi.h has another network");

// Bind phi's body to a workspace, which it shares with the whole network.
static tr_status meansBegin(float *workspace) {
  bodyNetwork = phi_network;
  bodyNetwork.layer_count--;
  if (phi_network.layers[bodyNetwork.layer_count].inputs != features) return TR_ERR_NETWORK;
  // It never learns, so its weights can lie in flash.
  return tr_init(&body, &bodyNetwork, const_cast<float *>(phi), PHI_WEIGHTS - headWeights,
                 workspace, PHI_WORKSPACE);
}

static void meansForget() {
  memset(means, 0, sizeof means);
  memset(meant, 0, sizeof meant);
}

static tr_status meansAdd(int label, const float *x) {
  const tr_status status = tr_forward(&body, feature, x);
  if (status != TR_OK) return status;
  const float share = 1.0f / ++meant[label];
  for (int i = 0; i < features; i++) means[label][i] += share * (feature[i] - means[label][i]);
  return TR_OK;
}

// A head that ranks features as their distances to the means do; one that was not taught never wins.
static void meansAsHead(float *head) {
  float *const bias = head + features * labels;
  for (int label = 0; label < labels; label++) {
    float square = 0.0f;
    for (int i = 0; i < features; i++) {
      head[i * labels + label] = 2.0f * nearness * means[label][i];
      square += means[label][i] * means[label][i];
    }
    bias[label] = meant[label] ? -nearness * square : -1e6f;
  }
}

// Scores (labels) of a drawing.
static tr_status meansScores(float *scores, const float *x) {
  const tr_status status = tr_forward(&body, feature, x);
  for (int label = 0; label < labels; label++) {
    float square = 0.0f;
    for (int i = 0; i < features; i++) {
      const float far = feature[i] - means[label][i];
      square += far * far;
    }
    scores[label] = meant[label] ? -nearness * square : -1e6f;
  }
  return status;
}
