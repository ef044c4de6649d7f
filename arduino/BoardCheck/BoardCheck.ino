/*
  BoardCheck: is this board well, and what is on it?

  It finds out which revision of the Nano 33 BLE Sense this is, blinks the LEDs, learns two fixed
  trainings, takes the time of every step, and compares the weights with those that every other
  machine gets, to the last bit. Each result is one line, "name: value"; the last line is
    BoardCheck: all well
  or says what is not. Any key starts it again. At the end the green LED is lit, or the red one.

  Circuit: none. It suits both revisions, boards without a sensor, and the virtual Nano 33 BLE.
*/
#include <TinyReptile.h>
#include <tr_wire.h>

#include "board.h"
#include "memory.h"
#include "training.h"

const unsigned long patience = 3000;  // milliseconds to wait for a serial monitor

static float weights[mostWeights], workspace[mostWorkspace];
static tr_model model;
static uint32_t times[steps];  // microseconds
static bool fault;

void setup() {
  Serial.begin(115200);
  while (!Serial && millis() < patience) delay(1);
  boardBegin();
  check();
}

void loop() {
  if (!Serial.available()) return;
  while (Serial.available()) Serial.read();
  check();
}

void check() {
  fault = false;
  say("kit", "TinyReptile " TR_VERSION);
  say("compiler", __VERSION__);
  Serial.print("chip: ");
  for (const uint8_t byte : boardId) printHex(byte, 2);
  Serial.print("\r\nname over Bluetooth: TinyReptile-");
  printHex(boardId[6] << 8 | boardId[7], 4);
  Serial.println();
  say("last reset", lastReset);
  say("LEDs", "the built-in one blinks three times, then red, green and blue");
  blink();
  const char *sensor;
  const int revision = findRevision(&sensor);
  say("revision", revision == 1 ? "1" : revision == 2 ? "2" : "unknown");
  say("sensor", sensor);
  for (const training &t : trainings) report(t);
  Serial.print("free RAM: ");
  Serial.print((unsigned long)largestBlock());
  Serial.println(" bytes in one piece");
  digitalWrite(!fault && revision ? LEDG : LEDR, LOW);
  say("BoardCheck", fault      ? "the weights are not those of other machines"
                    : revision ? "all well"
                               : "no whole motion sensor found; all else is well");
}

void say(const char *name, const char *value) {
  Serial.print(name);
  Serial.print(": ");
  Serial.println(value);
}

void printHex(uint32_t number, int digits) {
  while (digits-- > 0) Serial.print((unsigned long)(number >> 4 * digits & 15), HEX);
}

// ---- Learning ------------------------------------------------------------------------------------

// Learn twice, so that interrupts are seen in the time, and only there.
void report(const training &t) {
  const uint32_t quiet = learn(t, false);
  reportTimes(t.name, "without interrupts");
  paintStack();
  const uint32_t usual = learn(t, true);
  const size_t stack = stackUsed();
  reportTimes(t.name, "with interrupts");
  Serial.print("stack, ");
  startLine(t.name);
  Serial.print((unsigned long)stack);
  Serial.println(" bytes");
  const bool equal = quiet == t.expected && usual == t.expected;
  fault = fault || !equal;
  Serial.print("equal bits, ");
  startLine(t.name);
  Serial.print(equal ? "yes, " : "no, expected ");
  printHex(t.expected, 8);
  if (!equal) Serial.print(", got ");
  if (!equal) printHex(quiet == t.expected ? usual : quiet, 8);
  Serial.println();
}

// One training from its start; the CRC-32 of the weights, or 0 if a step was refused.
uint32_t learn(const training &t, bool interrupted) {
  const uint32_t reading = clockReading();
  tr_status status = tr_init(&model, t.network, weights, t.weights, workspace, mostWorkspace);
  if (status == TR_OK) status = beginTraining(&model);
  for (int i = 0; i < steps && status == TR_OK; i++) {
    drawSample(&model);
    if (!interrupted) noInterrupts();
    const uint32_t start = micros();
    status = learnSample(&model);
    const uint32_t took = micros() - start;
    if (!interrupted) interrupts();
    times[i] = took > reading ? took - reading : 0;
  }
  return status == TR_OK ? tr_crc32(0, weights, t.weights * sizeof(float)) : 0;
}

// What reading the clock takes, in microseconds; it is no part of a step.
uint32_t clockReading() {
  uint32_t least = UINT32_MAX;
  for (int i = 0; i < 5; i++) {
    const uint32_t start = micros();
    least = min(least, (uint32_t)micros() - start);
  }
  return least;
}

void reportTimes(const char *name, const char *how) {
  for (int i = 1; i < steps; i++) {  // sort
    const uint32_t time = times[i];
    int j = i;
    for (; j > 0 && times[j - 1] > time; j--) times[j] = times[j - 1];
    times[j] = time;
  }
  Serial.print("us per step of ");
  Serial.print(name);
  Serial.print(", ");
  startLine(how);
  Serial.print((unsigned long)times[steps / 2]);
  Serial.print(" median, ");
  Serial.print((unsigned long)times[0]);
  Serial.print(" to ");
  Serial.println((unsigned long)times[steps - 1]);
}

// The end of a line's name.
void startLine(const char *name) {
  Serial.print(name);
  Serial.print(": ");
}
