/*
  HelloTinyReptile: a sine wave is learnt on the board, from 32 points seen once each.

  The network (1-32-32-1, tanh) starts from phi, weights that TinyReptile has learnt from many
  other waves. Each point costs one online SGD step and is forgotten. After each step the board
  prints the loss on that point, and the error over the whole wave:

    loss:8.213,error:3.871

  Circuit: none. Works on any board with a few kilobytes of RAM, and on the virtual Nano 33 BLE.

  Use: open the Serial Plotter (or Monitor) and send
    n     a new wave, from phi
    f     a new wave, from where the weights are now instead of phi
    r0.02 another learning rate
  Each of them is a line: choose "New Line" in the Serial Monitor.

  phi.h and phi.c are generated; the first lines of phi.h name the command.
*/
#include <TinyReptile.h>

#include "phi.h"

const int points = 32;            // seen in one adaptation
const int grid = 50;              // points that the error is measured on
const float reach = 5.0f;         // x is in -reach ... reach
const unsigned long patience = 3000;  // milliseconds to wait for a serial monitor

static_assert(PHI_INPUTS == 1 && PHI_OUTPUTS == 1, "phi.h has another network");
static float weights[PHI_WEIGHTS];
static float workspace[PHI_WORKSPACE];
static tr_model model;

static float rate = 0.02f;
static float amplitude, phase;  // of the wave that is to be learnt
static int seen = points;       // points of this wave so far

void setup() {
  Serial.begin(115200);
  while (!Serial && millis() < patience) delay(1);
  pinMode(LED_BUILTIN, OUTPUT);
  tr_status status = tr_init(&model, &phi_network, weights, PHI_WEIGHTS, workspace, PHI_WORKSPACE);
  if (status == TR_OK) status = tr_reset(&model, phi);
  while (status != TR_OK) {  // nothing can be learnt: say so until somebody reads it
    Serial.println(tr_status_text(status));
    delay(patience);
  }
  newWave();
}

void loop() {
  if (seen < points) learnOnePoint();
  digitalWrite(LED_BUILTIN, seen < points ? HIGH : LOW);
  while (Serial.available()) readCommand((char)Serial.read());
  delay(20);  // slow enough to watch
}

// Draw a wave as the training did: amplitude 0.1 ... 5, phase 0 ... 2 pi.
void newWave() {
  amplitude = 0.1f + 0.001f * (float)random(4901);
  phase = 0.001f * (float)random(6284);
  seen = 0;
  const float error = waveError();
  report(error, error);
}

float wave(float x) {
  return amplitude * sinf(x + phase);
}

void learnOnePoint() {
  const float x = reach * (0.001f * (float)random(2001) - 1.0f);
  const float y = wave(x);
  float loss;
  const tr_status status = tr_learn_value(&model, &loss, &x, &y, rate);
  if (status == TR_OK) {
    seen++;
    report(loss, waveError());
    return;
  }
  seen = points;
  Serial.println(tr_status_text(status));
  if (status == TR_ERR_OVERFLOW) tr_reset(&model, phi);  // any other status kept the weights
}

// Mean squared error over the whole wave; NaN if the network's output is out of bounds.
float waveError() {
  float sum = 0.0f;
  for (int i = 0; i < grid; i++) {
    const float x = reach * (2.0f * (float)i / (grid - 1) - 1.0f);
    float y;
    if (tr_forward(&model, &y, &x) != TR_OK) return NAN;
    sum += (y - wave(x)) * (y - wave(x));
  }
  return sum / grid;
}

void report(float loss, float error) {
  Serial.print("loss:");
  Serial.print(loss, 4);
  Serial.print(",error:");
  Serial.println(error, 4);
}

// Collect one line, then obey it. A line that is too long is no command either.
void readCommand(char c) {
  static char line[16];
  static unsigned int length = 0;
  if (c == '\r') return;
  if (c != '\n') {
    if (length < sizeof line - 1) line[length] = c;
    length++;
    return;
  }
  const bool whole = length < sizeof line;
  line[whole ? length : 0] = '\0';
  length = 0;
  obey(line);
}

void obey(const char *line) {
  char *end;
  const float number = strtof(line + (*line == 'r'), &end);
  const bool isNumber = line[0] == 'r' && line[1] != '\0' && *end == '\0';
  if (strcmp(line, "n") == 0 || strcmp(line, "f") == 0) {
    if (*line == 'n') tr_reset(&model, phi);
    newWave();
  } else if (isNumber && number > 0.0f && number <= 1.0f) {
    rate = number;
  } else {
    Serial.println("send n (new wave), f (new wave, weights kept) or r and a rate, like r0.02");
  }
}
