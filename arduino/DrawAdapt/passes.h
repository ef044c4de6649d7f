/* Passes over the kept drawings, one by one: all layers learn, from the class means on.
 *
 * One online step at a time, so that the sketch listens meanwhile. */
#pragma once

#include "means.h"

static const int mostPasses = 100;
static const float rate = 0.05f;
static float weights[PHI_WEIGHTS], workspace[PHI_WORKSPACE], x[points];
static tr_model model;
static int pass = 0;   // how many are over, of *passes
static int step = 0;   // of this pass: which drawing comes next
static float lossSum;  // of this pass

static tr_status passesBegin() {
  const tr_status status = tr_init(&model, &phi_network, weights, PHI_WEIGHTS, workspace, PHI_WORKSPACE);
  return status == TR_OK ? meansBegin(workspace) : status;
}

static bool training() { return pass < *passes; }

// Begin as many passes as *passes says, from phi and the class means.
static void startPasses() {
  pass = step = 0;
  lossSum = 0.0f;
  if (!training()) return;
  tr_reset(&model, phi);
  memcpy(weights + PHI_WEIGHTS - headWeights, means, sizeof means);
  digitalWrite(LED_BUILTIN, HIGH);
}

// Only the class means are left; say why, if there is a reason.
static void stopPasses(const char *why) {
  *passes = pass = step = 0;
  digitalWrite(LED_BUILTIN, LOW);
  if (why) Serial.println(String("the passes ended: ") + why + "; the class means are still there");
}

static void endPass() {
  pass++;
  Serial.println(String("pass ") + pass + " of " + *passes + ": loss " + String(lossSum / keptCount(), 4));
  step = 0;
  lossSum = 0.0f;
  if (training()) return;
  digitalWrite(LED_BUILTIN, LOW);
  keepLater();
}

// One online step: the first drawing of each character, then the second of each, and so on.
static void trainOnce() {
  while (step < labels * mostOfEach && step / labels >= counts[step % labels]) step++;
  if (step == labels * mostOfEach) return endPass();
  const int label = step % labels;
  float loss;
  drawingPoints(x, kept[label][step / labels]);
  const tr_status status = tr_learn_label(&model, &loss, x, label, rate);
  if (status != TR_OK) return stopPasses(tr_status_text(status));
  lossSum += loss;
  step++;
}
