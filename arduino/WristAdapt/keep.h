/* What was learnt outlives a reset, and can be sent to the computer.
 *
 * Writing takes about a second, in which the processor stands still, and wears the flash. So it is
 * done once nothing was learnt for ten seconds. The pages bear 20,000 times: with 100 pauses a day
 * that is 200 days of class, more than one school year; with 20 it is five. */
#pragma once

#include <tr_flash.h>
#include <tr_text.h>
#include <tr_wire.h>

#include "phi.h"

static const unsigned long keepMillis = 10000;
static const uint8_t keepNetwork[8] = PHI_ID;
// Kept with the weights: the map of axes as text, and at the end the CRC-32 of phi.
static uint8_t worn[TR_STORE_USER];
static uint8_t *const keptPhi = worn + TR_STORE_USER - sizeof(uint32_t);
static const char *keepRefusal;       // why nothing can be kept, or none
static bool keepWanted = false;
static unsigned long keepChanged;     // millis() of the last lesson

// Begin with what was kept, if it is sound and this network's, else with phi; say which in a line.
static tr_status keepBegin(tr_model *model) {
  tr_store_status found = TR_STORE_EMPTY;
  const float *kept = nullptr;
  keepRefusal = tr_flash_refusal();
  if (keepRefusal) Serial.println(keepRefusal);
  else kept = tr_store_find(&tr_flash_pages, keepNetwork, PHI_WEIGHTS, worn, &found);
  const uint32_t crc = tr_crc32(0, phi, sizeof phi);
  if (kept && memcmp(keptPhi, &crc, sizeof crc)) {
    Serial.println("what was kept began with another phi: this sketch begins with its own");
    kept = nullptr;
  }
  memcpy(keptPhi, &crc, sizeof crc);
  const tr_status status = kept ? tr_reset(model, kept) : TR_ERR_PHI;
  if (found != TR_STORE_OK && found != TR_STORE_EMPTY) Serial.println(tr_store_text(found));
  if (kept && status != TR_OK) Serial.println("what was kept holds NaN or huge numbers: back to phi");
  if (status != TR_OK) return tr_reset(model, phi);
  Serial.println("going on with what was learnt before; r forgets it");
  return TR_OK;
}

// Something has changed: keep it once it is quiet.
static void keepLater() {
  keepWanted = keepRefusal == nullptr;
  keepChanged = millis();
}

static tr_store_status keepNow(const tr_model *model) {
  return tr_store_keep(&tr_flash_pages, keepNetwork, model->weights, PHI_WEIGHTS, worn);
}

// Keep it, if it is time; true if the board stood still for that.
static bool keepIfQuiet(const tr_model *model) {
  if (!keepWanted || millis() - keepChanged < keepMillis) return false;
  keepWanted = false;
  const tr_store_status status = keepNow(model);
  Serial.println(status == TR_STORE_OK ? "kept: it outlives a reset" : tr_store_text(status));
  return true;
}

// Back to phi, here and in flash; how it is worn may stay. Then phi is written over both slots: if
// power fails, one of them still has the axes.
static void keepForget(tr_model *model, bool wornStays) {
  keepWanted = false;
  tr_reset(model, phi);
  tr_store_status status = TR_STORE_OK;
  const bool written = !keepRefusal && wornStays && keepNow(model) == TR_STORE_OK &&
                       keepNow(model) == TR_STORE_OK;
  if (!keepRefusal && !written) {  // no axes to keep, or a worn page
    status = tr_store_forget(&tr_flash_pages);
    if (status == TR_STORE_OK && wornStays) status = keepNow(model);
  }
  Serial.println(status == TR_STORE_OK ? "forgotten: back to phi" : tr_store_text(status));
}

// The beginning of phi.c: it describes the network, layer by layer.
static void sendNetwork(const tr_network *network) {
  char factor[TR_FLOAT_TEXT];
  Serial.println("/* What WristAdapt has learnt on a wrist: a file to take the place of phi.c. */");
  Serial.println("#include \"phi.h\"\n\nstatic const tr_layer layers[] = {");
  for (int i = 0; i < network->layer_count; i++) {
    const tr_layer &layer = network->layers[i];
    const char *const names[] = {"kind", "stride", "kernel", "time", "inputs", "outputs"};
    const int numbers[] = {layer.kind, layer.stride, layer.kernel, layer.time, layer.inputs,
                           layer.outputs};
    String line = "    {";
    for (int k = 0; k < 6; k++) line += String(".") + names[k] + " = " + String(numbers[k]) + ", ";
    Serial.println(line + ".factor = " + tr_float_text(factor, layer.factor) + "},");
  }
  Serial.println(String("};\n\nconst tr_network phi_network = {layers, ") +
                 String(network->layer_count) + ", " + String(network->inputs) + ", " +
                 String(network->loss) + "};\n\nconst float phi[PHI_WEIGHTS] = {");
}

// The weights as CSV, one in a line, or as a file phi.c; it stands between two lines with dashes.
static void sendWeights(const tr_model *model, bool asC) {
  char lines[256];  // several in one go: each goes over USB by itself
  size_t used = 0;
  Serial.println(asC ? "--- begin phi.c" : "--- begin weights.csv");
  if (asC) sendNetwork(model->network);
  for (uint32_t i = 0; i < model->weight_count; i++) {
    char *const line = tr_float_text(lines + used, model->weights[i]);
    if (asC) strcat(line, strpbrk(line, ".e") ? "f," : ".0f,");
    used += strlen(strcat(line, "\n"));
    if (used + TR_FLOAT_TEXT + 8 < sizeof lines && i + 1 < model->weight_count) continue;
    Serial.write((const uint8_t *)lines, used);
    used = 0;
  }
  if (asC) Serial.println("};");
  Serial.println("--- end");
}
