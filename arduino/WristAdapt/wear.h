/* Is the board worn as the network knows it? What there is to say about that: the map of axes,
 * exercises that the network did not know, and a sensor that fails. */
#pragma once

#include <tr_rows.h>

#include "keep.h"

static const char *const documented = REV2 ? TR_AXES_REV2 : TR_AXES_REV1;  // as drawn, left arm
static uint8_t met = 0;  // exercises that were taught since phi or the last map: a bit for each
static int known = 0;    // those that the network knew when they were taught first
static int faultSaid = TR_SENSOR_OK;

static bool asDocumented() { return !strcmp((const char *)worn, documented); }

// Say how the board is worn, after some words.
static void sayAxes(const char *words) {
  tr_axes map;
  tr_axes_parse(&map, (const char *)worn);
  String line = String(words) + "axes " + (const char *)worn + ", ";
  line += tr_axes_words(&map, documented);
  if (!asDocumented()) line += String("; as drawn for the left arm it is a") + documented;
  Serial.println(line);
}

// Another map than the documented one was sent at some time, perhaps by another wearer.
static void sayOtherAxes() {
  if (!asDocumented()) sayAxes("");
}

// Whether a line that is no command was meant as a map.
static bool likeMap(const char *line) {
  return line[0] == 'a' || line[0] == 'A' || (strpbrk(line, "+-") && strpbrk(line, "xyz"));
}

static void meetNobody() {
  met = 0;
  known = 0;
}

// An exercise is taught, and was known before or not. With fewer than four of the seven known at
// first sight the board is worn in another way: `tinyreptile bench axes`.
static void meet(int exercise, bool wasKnown) {
  const uint8_t before = met;
  met |= 1 << exercise;
  if (met == before) return;  // to repeat an exercise tells nothing
  known += wasKnown;
  if (met == 0x7f && known < 4) {
    Serial.println(String(known) + " of the 7 exercises were known when you taught them first: is it "
                   "worn as in training? Send m for the other arm, or find the axes with FindAxes");
  }
}

// A fault is said once, until four seconds were whole; another fault is said too.
static void sayFault(int fault) {
  if (fault == faultSaid) return;
  faultSaid = fault;
  Serial.println(String(tr_sensor_text(fault)) + ": the four seconds start again");
}
