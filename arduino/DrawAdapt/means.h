/* Class means: a character is recognised by the taught one whose mean is nearest.
 *
 * The network without its last layer, its body, turns a drawing into features; each character's
 * mean over its drawings is all that is learnt. That takes one forward pass, no gradient, and no
 * weights in RAM: the body stays phi's, in flash. The means are the last layer of a model of its own. */
#pragma once

#include "kept.h"

static const int features = 128;  // inputs of the last layer
static const size_t headWeights = TR_DENSE_WEIGHTS(features, labels);
static float feature[features], means[headWeights], headSpace[labels];
static uint16_t meant[labels];    // drawings in each mean
static tr_prototypes prototypes = {meant, 0.05f, 1.0f, 0};
static tr_network bodyNetwork, headNetwork;
static tr_model body, head;

static_assert(PHI_WEIGHTS > headWeights, "phi.h has another network");

// Bind phi's body to a workspace, which it shares with the whole network.
static tr_status meansBegin(float *workspace) {
  bodyNetwork = headNetwork = phi_network;
  headNetwork.layers += --bodyNetwork.layer_count;
  headNetwork.layer_count = 1;
  headNetwork.inputs = features;
  // The body never learns, so its weights can lie in flash.
  tr_status status = tr_init(&body, &bodyNetwork, const_cast<float *>(phi), PHI_WEIGHTS - headWeights,
                             workspace, PHI_WORKSPACE);
  if (status == TR_OK) status = tr_init(&head, &headNetwork, means, headWeights, headSpace, labels);
  return status == TR_OK ? tr_reset_prototypes(&head, &prototypes) : status;
}

static void meansForget() { tr_reset_prototypes(&head, &prototypes); }

static tr_status meansAdd(int label, const float *x) {
  const tr_status status = tr_forward(&body, feature, x);
  return status == TR_OK ? tr_learn_prototype(&head, &prototypes, nullptr, feature, label, 0.0f) : status;
}

// Scores (labels) of a drawing; one that was not taught never wins.
static tr_status meansScores(float *scores, const float *x) {
  const tr_status status = tr_forward(&body, feature, x);
  return status == TR_OK ? tr_forward(&head, scores, feature) : status;
}
