/* What was taught outlives a reset: the clips, 9 KB, and not the weights, which are eight times as
 * many. The board learns them again at its start, to the same bits, while the microphone settles;
 * so they also suit a new phi. When and how often flash is written: see keep.h of WristAdapt. */
#pragma once

#include <tr_flash.h>

#include "words.h"

static const unsigned long keepMillis = 10000;
static const uint8_t keepId[8] = {'c', 'l', 'i', 'p', 's', '1', (uint8_t)(PHI_INPUTS >> 8),
                                  (uint8_t)PHI_INPUTS};
static const uint32_t keepCount = sizeof words / sizeof(float);
static const char *keepRefusal;    // why nothing can be kept, or none
static bool keepWanted = false;
static unsigned long keepChanged;  // millis() of the last lesson or word

// Take the clips that were kept, if there are sound ones.
static bool keepBegin() {
  keepRefusal = tr_flash_refusal();
  if (keepRefusal) Serial.println(keepRefusal);
  if (keepRefusal) return false;
  tr_store_status found;
  const float *const kept = tr_store_find(&tr_flash_pages, keepId, keepCount, nullptr, &found);
  if (found != TR_STORE_OK && found != TR_STORE_EMPTY) Serial.println(tr_store_text(found));
  if (!kept) return false;
  memcpy(&words, kept, sizeof words);
  for (int i = 0; i < wordMost; i++) {
    if (!wordKnown(i)) words.counts[i] = 0;
  }
  return wordsKnown() > 0;
}

// Something has changed: keep it once it is quiet.
static void keepLater() {
  keepWanted = keepRefusal == nullptr;
  keepChanged = millis();
}

// Keep it, if it is time; true if the board stood still for that.
static bool keepIfQuiet() {
  if (!keepWanted || millis() - keepChanged < keepMillis) return false;
  keepWanted = false;
  const float *const numbers = (const float *)(const void *)&words;
  const tr_store_status status = tr_store_keep(&tr_flash_pages, keepId, numbers, keepCount, nullptr);
  Serial.println(status == TR_STORE_OK ? "kept: it outlives a reset" : tr_store_text(status));
  return true;
}

static void keepForget() {
  keepWanted = false;
  memset(&words, 0, sizeof words);
  const tr_store_status status = keepRefusal ? TR_STORE_OK : tr_store_forget(&tr_flash_pages);
  Serial.println(status == TR_STORE_OK ? "forgotten: no word is known" : tr_store_text(status));
}
