/* The drawings that were taught, up to five of each character; they outlive a reset.
 *
 * The network's 92 KB of weights are too much for the pages of tr_flash.h, but the drawings, two
 * points in a byte, are not: the board learns from them again when it starts, and gets the same
 * weights to the last bit. They are written once nothing was taught for ten seconds. */
#pragma once

#include <tr_flash.h>

#include "drawing.h"
#include "phi.h"

static const int labels = PHI_OUTPUTS, mostOfEach = 5;
static const unsigned long keepMillis = 10000;
static const uint8_t keepName[8] = {'D', 'R', 'A', 'W', 'I', 'N', 'G', 'S'};

// Of each character the oldest drawing first. Aligned, as it is written in words.
alignas(4) static uint8_t kept[labels][mostOfEach][points / 2];
static const uint32_t keptWords = sizeof kept / 4;
static uint8_t about[TR_STORE_USER];            // kept with them: how many of each, then passes
static uint8_t *const counts = about, *const passes = about + labels;
static const char *keepRefusal;                 // why nothing can be kept, or none
static bool keepWanted = false;
static unsigned long keepChanged;               // millis() of the last lesson

static_assert(labels < TR_STORE_USER, "too many characters");
static_assert(sizeof kept % 4 == 0, "flash is written in words");

static int keptCount() {
  int sum = 0;
  for (int label = 0; label < labels; label++) sum += counts[label];
  return sum;
}

static int taughtLabels() {
  int found = 0;
  for (int label = 0; label < labels; label++) found += counts[label] > 0;
  return found;
}

// Read what was kept; a line says if it was there but is of no use.
static void keepBegin() {
  tr_store_status found = TR_STORE_EMPTY;
  const void *record = nullptr;
  keepRefusal = tr_flash_refusal();
  if (keepRefusal) Serial.println(keepRefusal);
  else record = tr_store_find(&tr_flash_pages, keepName, keptWords, about, &found);
  if (record) memcpy(kept, record, sizeof kept);
  if (found == TR_STORE_NETWORK) Serial.println("another sketch has kept something: not drawings");
  else if (found != TR_STORE_OK && found != TR_STORE_EMPTY) Serial.println(tr_store_text(found));
  for (int label = 0; label < labels; label++) {
    if (counts[label] > mostOfEach) memset(about, 0, sizeof about);  // never written by this sketch
  }
}

// Something has changed: keep it once it is quiet.
static void keepLater() {
  keepWanted = keepRefusal == nullptr;
  keepChanged = millis();
}

static void keepIfQuiet() {
  if (!keepWanted || millis() - keepChanged < keepMillis) return;
  keepWanted = false;
  const float *const words = (const float *)(const void *)kept;
  const tr_store_status status = tr_store_keep(&tr_flash_pages, keepName, words, keptWords, about);
  Serial.println(status == TR_STORE_OK ? "kept: it outlives a reset" : tr_store_text(status));
}

// Put a drawing to those of a character. With five already there the oldest goes: then true.
static bool keptAdd(int label, const uint8_t *ink) {
  const bool full = counts[label] == mostOfEach;
  if (full) memmove(kept[label][0], kept[label][1], sizeof kept[label] - sizeof kept[label][0]);
  else counts[label]++;
  memcpy(kept[label][counts[label] - 1], ink, sizeof kept[label][0]);
  return full;
}

static void keptForget() {
  memset(kept, 0, sizeof kept);
  memset(about, 0, sizeof about);
  keepWanted = false;
  const tr_store_status status = keepRefusal ? TR_STORE_OK : tr_store_forget(&tr_flash_pages);
  Serial.println(status == TR_STORE_OK ? "forgotten" : tr_store_text(status));
}
