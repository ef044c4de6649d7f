/* The words: three clips of each, as rows of log-mel bands in int8, and how they are learnt.
 *
 * A float takes four times the room of an int8, and 12 clips as floats would be 37,632 bytes. Steps of
 * an eighth are 0.5 dB. */
#pragma once

#include <tr_sound.h>

#include "phi.h"

static const int wordMost = 4, wordClips = 3, wordHeadPasses = 8, wordPasses = 4;
static const float wordHeadRate = 0.1f, wordRate = 0.05f, wordSteps = 8.0f;
static_assert(PHI_OUTPUTS >= wordMost, "phi.h has too few outputs");

static struct {
  int8_t clips[wordMost][wordClips][PHI_INPUTS];
  uint8_t counts[wordMost];  // clips of each word
} words __attribute__((aligned(4)));
static_assert(sizeof words % sizeof(float) == 0, "words are kept in flash as whole words");

static bool wordKnown(int word) { return words.counts[word] == wordClips; }

static int wordsKnown() {
  int known = 0;
  for (int i = 0; i < wordMost; i++) known += wordKnown(i);
  return known;
}

// Keep a clip of a word; returns how many there are now.
static int wordKeep(int word, const float *x) {
  int8_t *const clip = words.clips[word][words.counts[word]++];
  for (int i = 0; i < PHI_INPUTS; i++) {
    const float steps = x[i] * wordSteps;
    clip[i] = (int8_t)constrain((int)(steps < 0.0f ? steps - 0.5f : steps + 0.5f), -127, 127);
  }
  return words.counts[word];
}

// One pass over all clips, the words in turn; adds up the losses.
static tr_status wordPass(tr_model *model, float *loss, float rate) {
  static float x[PHI_INPUTS];
  for (int clip = 0; clip < wordClips; clip++) {
    for (int word = 0; word < wordMost; word++) {
      if (!wordKnown(word)) continue;
      for (int i = 0; i < PHI_INPUTS; i++) x[i] = (float)words.clips[word][clip][i] / wordSteps;
      float one;
      const tr_status status = tr_learn_label(model, &one, x, word, rate);
      if (status != TR_OK) return status;
      *loss += one;
    }
  }
  return TR_OK;
}

// Learn all words from phi on, with a head of zeros: first the head alone, then all layers. The same
// clips always give the same weights. `loss` is the mean of the last pass, before its steps.
static tr_status wordsLearn(tr_model *model, float *loss) {
  const int last = phi_network.layer_count - 1;
  const int head = TR_DENSE_WEIGHTS(phi_network.layers[last].inputs, PHI_OUTPUTS);
  tr_status status = tr_reset(model, phi);
  memset(model->weights + PHI_WEIGHTS - head, 0, head * sizeof(float));
  for (int pass = 0; status == TR_OK && pass < wordHeadPasses + wordPasses; pass++) {
    const bool headOnly = pass < wordHeadPasses;
    *loss = 0.0f;
    status = tr_freeze(model, headOnly ? last : 0);
    if (status == TR_OK) status = wordPass(model, loss, headOnly ? wordHeadRate : wordRate);
  }
  if (wordsKnown()) *loss /= (float)(wordClips * wordsKnown());
  if (status != TR_OK) tr_reset(model, phi);
  return status;
}

// The most likely one of the words that are known, and its probability among these; -1 with none.
static tr_status wordOf(tr_model *model, int *word, float *probability, const float *x) {
  float outputs[PHI_OUTPUTS], sum = 0.0f;
  *word = -1;
  *probability = 0.0f;
  const tr_status status = tr_forward(model, outputs, x);
  if (status != TR_OK) return status;
  for (int i = 0; i < wordMost; i++) {
    if (wordKnown(i) && (*word < 0 || outputs[i] > outputs[*word])) *word = i;
  }
  for (int i = 0; i < wordMost; i++) {
    if (wordKnown(i)) sum += tr_expf(outputs[i] - outputs[*word]);
  }
  if (*word >= 0) *probability = 1.0f / sum;
  return TR_OK;
}
