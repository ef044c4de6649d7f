/* A drawing that comes over serial: 28 lines of 28 signs, from 0, no ink, to f, all ink. For the
 * keyboard . is no ink as well, and # is all.
 *
 * Whatever else comes is said in one sentence, and then there is no drawing. */
#pragma once

#include <Arduino.h>
#include <string.h>

static const int side = 28, points = side * side;
static const unsigned long rowPatienceMillis = 10000;
static uint8_t drawn[points / 2];       // two points in a byte, the first in the low half
static bool hasDrawing = false;
static int rowsHere = -1;               // of the drawing that is coming, or -1
static String drawingFault;             // the first one
static unsigned long lastRow;           // millis()

// Ink of a sign, 0 to 15, or -1.
static int inkOf(char sign) {
  if (sign == '.') return 0;
  if (sign == '#') return 15;
  if (sign >= '0' && sign <= '9') return sign - '0';
  if (sign >= 'a' && sign <= 'f') return sign - 'a' + 10;
  if (sign >= 'A' && sign <= 'F') return sign - 'A' + 10;
  return -1;
}

static void drawingBegin() {
  memset(drawn, 0, sizeof drawn);
  hasDrawing = false;
  rowsHere = 0;
  drawingFault = "";
  lastRow = millis();
}

static bool drawingComes() { return rowsHere >= 0; }

// No drawing came of it; say why.
static void drawingFailed(const String &why) {
  rowsHere = -1;
  Serial.println("no drawing: " + why + "; send draw and its 28 rows again");
}

static void drawingEnd() {
  rowsHere = -1;
  int inked = 0;
  for (size_t i = 0; i < sizeof drawn; i++) inked += (drawn[i] & 15 ? 1 : 0) + (drawn[i] >> 4 ? 1 : 0);
  if (drawingFault.length() > 0) drawingFailed(drawingFault);
  else if (inked == 0) drawingFailed("it has no ink");
  else {
    hasDrawing = true;
    Serial.println(String("drawing: ink on ") + inked + " of 784 points");
  }
}

// What is wrong with a row, of which `length` signs came and the first 28 are kept; or nothing.
static String rowFault(const char *row, size_t length) {
  const String name = String("row ") + (rowsHere + 1);
  if (length != side) return name + " has " + (unsigned)length + " signs, not 28";
  for (int i = 0; i < side; i++) {
    if (inkOf(row[i]) < 0) return name + " has a sign that is not one of 0 to 9, a to f, . and #";
  }
  return "";
}

// Take the next row. Even if one is bad, the others are taken: else they would pass for commands.
static void drawingRow(const char *row, size_t length) {
  const String fault = rowFault(row, length);
  if (drawingFault.length() == 0) drawingFault = fault;
  for (int i = 0; i < side && fault.length() == 0; i++) {
    const int at = rowsHere * side + i;
    drawn[at / 2] |= inkOf(row[i]) << (at % 2 ? 4 : 0);
  }
  lastRow = millis();
  if (++rowsHere == side) drawingEnd();
}

static void drawingBroken() {
  drawingFailed(String("only ") + rowsHere + " of 28 rows came");
}

// Whether nothing has come for so long that the rest will not.
static bool drawingLate() { return drawingComes() && millis() - lastRow > rowPatienceMillis; }

// The drawing as the network wants it: 1 is ink.
static void drawingPoints(float *x, const uint8_t *ink) {
  for (int i = 0; i < points; i++) x[i] = (i % 2 ? ink[i / 2] >> 4 : ink[i / 2] & 15) / 15.0f;
}
