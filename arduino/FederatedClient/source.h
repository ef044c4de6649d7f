/* Where the samples come from. A network with one input gets points of this board's own sine wave.
 * A larger one gets windows of the IMU: live, or recorded ones if there is a recording.h.
 *
 * sourceSetup returns a bit for each source that there is, sourceBegin starts one, sourceSample
 * gives the next sample: 1, or 0 if it is not complete yet. */
#pragma once

#include <tr_imu.h>
#include <tr_rows.h>
#include <tr_wire.h>

#include "network.h"

static uint32_t dice = 1;  // xorshift: the same seed gives the same samples on every board

static uint32_t roll() {
  dice ^= dice << 13;
  dice ^= dice >> 17;
  dice ^= dice << 5;
  return dice;
}

static void seedDice(uint32_t seed) {
  dice = seed * 2654435761u ^ 0x9e3779b9u;  // neighbouring seeds shall not look alike
  if (dice == 0) dice = 1;
  for (int i = 0; i < 4; i++) roll();
}

#if NETWORK_INPUTS == 1

static float rollUnit() {  // 0 ... 1
  return (float)(roll() >> 8) * (1.0f / 16777216.0f);
}

static float amplitude, phase;  // of this board's wave: 0.1 ... 5, 0 ... 2 pi

static uint8_t sourceSetup(const uint8_t *id) {
  uint32_t seed;
  memcpy(&seed, id, sizeof seed);
  seedDice(seed);
  amplitude = 0.1f + 4.9f * rollUnit();
  phase = 6.2831853f * rollUnit();
  return 1 << TR_SOURCE_DATA;
}

static int sourceBegin(void *, uint8_t, uint32_t seed, uint16_t) {
  seedDice(seed);
  return 1;
}

static int sourceSample(void *, float *x, float *target, int32_t *) {
  x[0] = 10.0f * rollUnit() - 5.0f;
  target[0] = amplitude * sinf(x[0] + phase);
  return 1;
}

#else

#ifndef REV2
#define REV2 0
#endif
#ifndef RIGHT_ARM
#define RIGHT_ARM 0  // 1 if it is worn on the right arm, which is mirrored as in the recordings
#endif
#ifndef AXES  // where the board's axes are; from the sketch FindAxes if it is worn another way, on
              // either arm: then RIGHT_ARM stays 0
#define AXES (REV2 ? TR_AXES_REV2 : TR_AXES_REV1)
#endif
#if REV2
#include <Arduino_BMI270_BMM150.h>
#else
#include <Arduino_LSM9DS1.h>
#endif
#if __has_include("recording.h")
#include "recording.h"
#else
#define RECORDING_WINDOWS 0
#endif

enum { axes = TR_ROW_AXES, rowsInWindow = NETWORK_INPUTS / axes };
static const unsigned long pause = 2000;   // milliseconds to get ready for the next exercise
static bool live = false;
static uint32_t label = 0;                 // of the next window
static int rows = 0;                       // of the window, so far
static unsigned long ready = 0;            // when the window begins
static tr_rows maker;                      // of rows from readings
static const unsigned long patience = 10000;  // milliseconds for a sensor that fails to mend
static bool failing = false;
static unsigned long faulty = 0;           // when it began to fail

static uint8_t sourceSetup(const uint8_t *) {
  tr_axes map;
  const bool known = tr_axes_parse(&map, AXES);
  if (known && RIGHT_ARM) tr_axes_other_arm(&map);
  if (known) tr_rows_init(&maker, &map);
  const uint8_t sensor = known && IMU.begin() ? 1 << TR_SOURCE_SENSOR : 0;
  return sensor | (RECORDING_WINDOWS > 0 ? 1 << TR_SOURCE_DATA : 0);
}

static void beginWindow(unsigned long wait) {
  rows = 0;
  tr_rows_restart(&maker);
  ready = millis() + wait;
}

/* Live, the wearer does the exercises in turn, beginning with number seed % NETWORK_OUTPUTS. */
static int sourceBegin(void *, uint8_t source, uint32_t seed, uint16_t) {
  live = source == TR_SOURCE_SENSOR;
  label = seed % NETWORK_OUTPUTS;
  failing = false;
  seedDice(seed);
  beginWindow(pause);
  return 1;
}

/* Make a row of the window x, if there is a new one; in the pause before the window it is dropped,
 * and the sensor's offset is found if the arm rests. A sensor's fault starts the window again; 0, or
 * after some time without a window the answer that ends the visit. */
static int readRow(float *x) {
  float reading[axes];
  const int made = tr_imu_read(IMU, reading)
                       ? tr_rows_add(&maker, x + rows * axes, reading, micros())
                       : tr_rows_none(&maker, micros());
  const long early = (long)(ready - millis());
  if (early > 0) tr_rows_restart(&maker);
  else if (made == TR_ROW_DONE) rows++;
  if (made != TR_ROW_FAILED) return 0;
  if (!failing) faulty = millis();
  failing = true;
  beginWindow(early > 0 ? (unsigned long)early : 0);
  return millis() - faulty > patience ? -1 - maker.fault : 0;
}

static int sourceSample(void *, float *x, float *, int32_t *wanted) {
#if RECORDING_WINDOWS > 0
  if (!live) {
    const uint32_t window = roll() % RECORDING_WINDOWS;
    memcpy(x, recording[window], sizeof recording[window]);
    *wanted = recording_labels[window];
    return 1;
  }
#endif
  const int answer = readRow(x);
  if (rows < rowsInWindow) return answer;
  failing = false;
  *wanted = (int32_t)label;
  label = (label + 1) % NETWORK_OUTPUTS;
  beginWindow(pause);
  return 1;
}

#endif
