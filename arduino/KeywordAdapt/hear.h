/* From the microphone to rows of log-mel bands, and to the second with a word in its middle.
 *
 * Arduino's library calls an interrupt for each 16 ms of sound, in which all of it must be read: the
 * chip fills the same memory again, and a sample that is left makes the library stop. So samples
 * wait in a ring of 64 ms until the sketch makes rows of them; what finds no room is counted.
 *
 * In the first 3.5 seconds the samples are wrong, as reported for this core (ArduinoCore-mbed, issue
 * 674), so four seconds are dropped. */
#pragma once

#include <PDM.h>
#include <tr_sound.h>

static const int hearRows = TR_SOUND_ROWS(TR_SOUND_RATE), hearMiddle = hearRows / 2;
static const uint32_t hearRing = 1024, hearSettling = 4 * TR_SOUND_RATE;  // samples
static const float hearMargin = 1.0f;   // of loudness above the background: factor 2.7 of energy
static const int hearLeast = 8;         // loud rows of a word: 0.16 s; less is a click
static const float hearEnough = 20.0f;  // loudness of all its rows

static int16_t ring[hearRing];
static volatile uint32_t heard = 0, taken = 0;  // samples put into the ring, and taken out
static volatile uint32_t came = 0;              // in all
static volatile uint32_t dropped = 0;           // at the beginning, or while deaf
static volatile uint32_t lost = 0;              // there was no room
static volatile bool deaf = false;              // what comes is dropped on purpose
static volatile bool varied = false;            // the samples are not all alike
static tr_sound front;
static float rows[hearRows * TR_SOUND_BANDS];   // the last second, the oldest row first
static float loudness[hearRows];                // of each row, above background and margin
static float background = 0.0f;
static int rowCount = 0;                        // since the last gap
static int quiet = hearRows;                    // since the last loud one
static bool noise = false;                      // a sound longer than a second is not over

// The interrupt: it does nothing but read.
static void hearSamples() {
  int16_t block[256];
  while (PDM.available() > 0) {
    const uint32_t count = (uint32_t)PDM.read(block, sizeof block) / sizeof *block;
    if (memcmp(block, block + 1, sizeof *block * (count - 1))) varied = true;
    came = came + count;
    if (deaf || dropped < hearSettling) {
      dropped = dropped + count;
      continue;
    }
    if (hearRing - (heard - taken) < count) {
      lost = lost + count;
      continue;
    }
    const uint32_t at = heard % hearRing, first = min(count, hearRing - at);
    memcpy(ring + at, block, first * sizeof *block);
    memcpy(ring, block + first, (count - first) * sizeof *block);
    heard = heard + count;
  }
}

// Forget the last second, and hear or do not hear from now on.
static void hear(bool on) {
  deaf = true;
  taken = heard;
  tr_sound_restart(&front);
  rowCount = 0;
  quiet = hearRows;
  memset(loudness, 0, sizeof loudness);
  deaf = !on;
}

static bool hearBegin() {
  PDM.onReceive(hearSamples);
  PDM.setGain(80);  // the most, 20 dB: speech at an arm's length is soft
  hear(true);
  return PDM.begin(1, TR_SOUND_RATE) != 0;
}

// The library has stopped: begin anew.
static void hearAgain() {
  PDM.end();
  dropped = 0;  // it settles again
  hear(true);
  PDM.begin(1, TR_SOUND_RATE);
}

// How loud a row is above the background, which falls fast and rises slowly, in 4 seconds.
static float loud(const float *row) {
  float mean = 0.0f;
  for (int i = 0; i < TR_SOUND_BANDS; i++) mean += row[i] / TR_SOUND_BANDS;
  if (rowCount == 0) background = mean;
  background += (mean - background) * (mean < background ? 0.2f : 0.005f);
  return max(0.0f, mean - background - hearMargin);
}

// Add a row, if enough samples have come.
static bool hearRow() {
  float row[TR_SOUND_BANDS];
  bool made = false;
  while (!made && taken != heard) {
    const uint32_t at = taken % hearRing, count = min(heard - taken, hearRing - at);
    taken = taken + tr_sound_take(&front, ring + at, count);
    made = tr_sound_row(&front, row);
  }
  if (!made) return false;
  memmove(rows, rows + TR_SOUND_BANDS, sizeof rows - sizeof row);
  memcpy(rows + (hearRows - 1) * TR_SOUND_BANDS, row, sizeof row);
  memmove(loudness, loudness + 1, sizeof loudness - sizeof *loudness);
  const float now = loud(row);
  noise = noise && now > 0.0f;
  loudness[hearRows - 1] = noise ? 0.0f : now;
  quiet = loudness[hearRows - 1] > 0.0f ? 0 : quiet + 1;
  rowCount++;
  return true;
}

// Whether the last second had nothing loud.
static bool hearNothing() { return quiet >= hearRows; }

// Whether a word now stands in the middle of the last second. Each one is told once.
static bool hearWord() {
  if (hearNothing()) return false;
  float all = 0.0f, moment = 0.0f, most = 0.0f;
  int count = 0;
  for (int i = 0; i < hearRows; i++) {
    count += loudness[i] > 0.0f;
    most = max(most, loudness[i]);
    all += loudness[i];
    moment += loudness[i] * (float)(i - hearMiddle);
  }
  if (rowCount < hearRows || count < hearLeast || all < hearEnough || moment > 0.0f) return false;
  noise = loudness[hearRows - 1] > most / 2;  // half a second after its middle: no word is so long
  memset(loudness, 0, sizeof loudness);
  quiet = hearRows;
  return !noise;
}
