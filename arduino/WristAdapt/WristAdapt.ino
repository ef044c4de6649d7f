/*
  WristAdapt: the board on a wrist recognises shoulder exercises, and learns how YOU do them.

  It starts from phi, weights that TinyReptile has learnt on other people's wrists. Every two
  seconds it says what the last four seconds look like, and how sure it is in percent. Tell it the
  number of the exercise that you do: the next four seconds are one sample, it makes one online
  SGD step, and forgets the sample. Phi is made for three rounds of all seven exercises.

  Circuit: Nano 33 BLE Sense, worn like a watch; if you like, a button between pin 2 and ground.
  Revision 1 needs the library Arduino_LSM9DS1. Rev2 needs Arduino_BMI270_BMM150; set REV2 to 1.

  Use: open the Serial Monitor with "New Line" and send
    0 ... 6   learn this exercise from the next four seconds (the LED is on meanwhile)
    r         forget what was learnt: back to phi
  The button learns 0, 1, 2 and so on, without a computer. phi.h names the command that made it.
*/
#include <TinyReptile.h>

#include "phi.h"

#ifndef REV2
#define REV2 0
#endif
#if REV2
#include <Arduino_BMI270_BMM150.h>
#else
#include <Arduino_LSM9DS1.h>
#endif

const char *const names[] = {"pendulum", "abduction", "forward elevation", "internal rotation",
                             "external rotation", "trapezius row", "bent-over row"};
const int labels = sizeof names / sizeof *names;
const int axes = 6, window = 100;     // 4 seconds at 25 Hz
const unsigned long slot = 40000;     // microseconds from one row of the window to the next
const unsigned long patience = 3000;  // milliseconds to wait for a serial monitor
const int button = 2;
const float rate = 0.03f;

static float weights[PHI_WEIGHTS], workspace[PHI_WORKSPACE];
static float rows[window * axes];  // acceleration in g, rotation in rad/s; the oldest row first
static int filled = 0, readings = 0;  // rows since the last gap; readings in the row in the making
static int wanted = -1;            // label to learn, or none
static tr_model model;

void setup() {
  Serial.begin(115200);
  while (!Serial && millis() < patience) delay(1);
  pinMode(LED_BUILTIN, OUTPUT);
  pinMode(button, INPUT_PULLUP);
  tr_status status = tr_init(&model, &phi_network, weights, PHI_WEIGHTS, workspace, PHI_WORKSPACE);
  if (status == TR_OK) status = tr_reset(&model, phi);
  for (; status != TR_OK; delay(patience)) Serial.println(tr_status_text(status));
  for (; !IMU.begin(); delay(patience)) Serial.println("no IMU: does REV2 suit your board?");
  Serial.println("ready: do an exercise; send its number, 0 to 6, to teach it");
}

void loop() {
  while (Serial.available()) readCommand((char)Serial.read());
  readButton();
  if (!readRow()) return;
  if (wanted >= 0 && filled == window) learn();
  else if (wanted < 0 && filled >= window && filled % (window / 2) == 0) recognise();
}

// Readings of one slot are averaged into one row of the window. True if a row is complete.
bool readRow() {
  static float sum[axes];
  static unsigned long due;  // end of the slot; half way between the readings of a slow sensor
  float x[axes];
  if (!IMU.accelerationAvailable() || !IMU.gyroscopeAvailable() || !readSensor(x)) return false;
  if (filled == 0 && readings == 0) due = micros() + slot / 2;
  const bool complete = readings > 0 && (long)(micros() - due) >= 0;
  if (complete) {
    memmove(rows, rows + axes, sizeof rows - sizeof sum);
    for (int i = 0; i < axes; i++) rows[(window - 1) * axes + i] = sum[i] / (float)readings;
    filled++;
    readings = 0;
    due += slot;
  }
  for (int i = 0; i < axes; i++) sum[i] = readings == 0 ? x[i] : sum[i] + x[i];
  readings++;
  return complete;
}

// One reading of the sensor. If it fails, say so once, and drop what the window holds.
bool readSensor(float *x) {
  static bool failed = false;
  const bool ok = IMU.readAcceleration(x[0], x[1], x[2]) && IMU.readGyroscope(x[3], x[4], x[5]) &&
                  isfinite(x[0] + x[1] + x[2] + x[3] + x[4] + x[5]);
  if (!ok && !failed) Serial.println("the sensor gave no number: the four seconds start again");
  if (!ok) restart();
  for (int i = 3; i < axes; i++) x[i] *= (float)DEG_TO_RAD;
  failed = !ok;
  return ok;
}

void restart() {
  filled = readings = 0;
  digitalWrite(LED_BUILTIN, wanted >= 0 ? HIGH : LOW);
}

void want(int label) {
  wanted = label;
  restart();
  Serial.println(String("watching 4 s of ") + names[label]);
}

void learn() {
  float loss = 0.0f;
  const tr_status status = tr_learn_label(&model, &loss, rows, wanted, rate);
  if (status == TR_ERR_OVERFLOW) tr_reset(&model, phi);  // any other status kept the weights
  Serial.print(status == TR_OK ? "learnt " : "not learnt: ");
  Serial.print(status == TR_OK ? names[wanted] : tr_status_text(status));
  Serial.print(", loss ");
  Serial.println(loss, 3);
  wanted = -1;
  restart();
}

void recognise() {
  int32_t label = 0;
  float probability = 0.0f;
  const tr_status status = tr_classify(&model, &label, &probability, rows);
  Serial.print(status == TR_OK ? names[label] : tr_status_text(status));
  Serial.print(' ');
  Serial.println(100.0f * probability, 0);
}

// A line of one character that we know is a command; anything else gets one line of help.
void readCommand(char c) {
  static char first;
  static int length = 0;
  if (c == '\r') return;
  if (length == 0) first = c;
  if (c != '\n') length++;
  if (c != '\n' || length == 0) return;
  if (length == 1 && first >= '0' && first < '0' + labels) want(first - '0');
  else if (length == 1 && first == 'r') Serial.println(tr_status_text(tr_reset(&model, phi)));
  else Serial.println("unknown command: send 0 to 6 to teach an exercise, r to forget");
  length = 0;
}

void readButton() {
  static int next = 0;
  static bool wasDown = false;
  const bool down = digitalRead(button) == LOW;
  if (down && !wasDown && wanted < 0) want(next++ % labels);
  wasDown = down;
}
