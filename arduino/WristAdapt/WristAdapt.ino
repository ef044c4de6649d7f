/*
  WristAdapt: the board on a wrist recognises shoulder exercises, and learns how YOU do them.

  It starts from phi, weights that TinyReptile has learnt on other people's wrists. Every two
  seconds it says what the last four seconds look like, and how sure it is in percent. Tell it the
  number of your exercise: the next four seconds are one sample, for one online SGD step; then it
  forgets the sample. Phi, see phi.h, is made for three rounds of all seven exercises.

  Circuit: Nano 33 BLE Sense on the back of the wrist, components outwards, USB plug towards the
  elbow (see docs/wear.md). For any other way the sketch FindAxes finds the map of its axes. A button from pin 2 to ground teaches 0, 1, 2 ...
  Libraries: Arduino_LSM9DS1; for a board marked Rev2 Arduino_BMI270_BMM150, and set REV2 to 1.

  Use: open the Serial Monitor with "New Line" and send
    0 ... 6   learn this exercise from the next four seconds; the LED is on meanwhile
    r         forget what was learnt, in flash too: back to phi; the axes stay
    m         change arms: it starts on the left one; on the right one it mirrors what it reads
    a+x-y-z-  take this map of axes, see FindAxes; a alone says which one it has
    w or c    send the weights as CSV, or as a file that can take the place of phi.c
  What it has learnt outlives a reset, once it has had ten seconds without a lesson: see keep.h.
*/
#include <TinyReptile.h>
#include <tr_imu.h>
#include <tr_rows.h>

#ifndef REV2
#define REV2 0
#endif
#include "keep.h"
#include "phi.h"
#include "seen.h"
#include "wear.h"
#if REV2
#include <Arduino_BMI270_BMM150.h>
#else
#include <Arduino_LSM9DS1.h>
#endif

const int axes = TR_ROW_AXES, window = 100, labels = 7, button = 2;  // a window is 4 seconds at 25 Hz
const char *const names[labels] = {"pendulum", "abduction", "forward elevation",
    "internal rotation", "external rotation", "trapezius row", "bent-over row"};
const unsigned long patienceMillis = 3000;  // for a monitor
const float rate = 0.03f;

static_assert(PHI_INPUTS == window * axes && PHI_OUTPUTS == labels, "phi.h has another network");
static float weights[PHI_WEIGHTS], workspace[PHI_WORKSPACE];
static float rows[window * axes];  // acceleration in g, rotation in rad/s; the oldest row first
static int filled = 0;    // rows since the last gap
static int wanted = -1;   // label to learn, or none
static tr_rows maker;     // of rows from readings
static tr_model model;

void setup() {
  Serial.begin(115200);
  while (!Serial && millis() < patienceMillis) delay(1);
  pinMode(LED_BUILTIN, OUTPUT);
  pinMode(button, INPUT_PULLUP);
  tr_status status = tr_init(&model, &phi_network, weights, PHI_WEIGHTS, workspace, PHI_WORKSPACE);
  if (status == TR_OK) status = keepBegin(&model);
  for (; status != TR_OK; delay(patienceMillis)) Serial.println(tr_status_text(status));
  if (!wear((const char *)worn)) wear(documented);
  sayOtherAxes();
  for (; !IMU.begin(); delay(patienceMillis)) Serial.println("no IMU: does REV2 suit your board?");
  Serial.println("ready: lay the arm still for a second; then do an exercise; 0 to 6 teaches it");
}

void loop() {
  while (Serial.available()) readCommand((char)Serial.read());
  readButton();
  if (wanted < 0 && keepIfQuiet(&model)) restart(-1);
  if (!readRow()) return;
  if (wanted >= 0 && filled == window) learn();
  else if (wanted < 0 && filled >= window && filled % (window / 2) == 0) recognise();
}

// Add a row to the window, if there is a new one. If the sensor fails, say why, and start again.
bool readRow() {
  float x[axes], row[axes];
  const int made = tr_imu_read(IMU, x) ? tr_rows_add(&maker, row, x, micros())
                                       : tr_rows_none(&maker, micros());
  if (made == TR_ROW_FAILED) {
    sayFault(maker.fault);
    restart(wanted);
  }
  if (made != TR_ROW_DONE) return false;
  memmove(rows, rows + axes, sizeof rows - sizeof row);
  memcpy(rows + (window - 1) * axes, row, sizeof row);
  if (++filled == window) faultSaid = TR_SENSOR_OK;
  return true;
}

void restart(int label) {  // a new window: to learn this label or, with -1, to recognise
  wanted = label;
  filled = 0;
  tr_rows_restart(&maker);
  digitalWrite(LED_BUILTIN, wanted >= 0 ? HIGH : LOW);
}

void want(int label) {
  restart(label);
  Serial.println(String("watching 4 s of ") + names[label]);
}

// Take a map of axes from text; false, and nothing changes, if it is none.
bool wear(const char *text) {
  tr_axes map;
  if (!tr_axes_parse(&map, text)) return false;
  maker.axes = map;  // what is known of the sensor stays
  memmove(worn, text, TR_AXES_TEXT);
  meetNobody();
  restart(wanted);
  return true;
}

void changeArm() {
  char text[TR_AXES_TEXT];
  tr_axes map = maker.axes;
  tr_axes_other_arm(&map);
  tr_axes_print(&map, text);
  wear(text);
  keepLater();
  sayAxes("the other arm: ");
}

void learn() {
  float loss, probability;
  int32_t label;
  const float *x = seen(rows, window);
  const bool right = tr_classify(&model, &label, &probability, x) == TR_OK && label == wanted;
  const tr_status status = tr_learn_label(&model, &loss, x, wanted, rate);
  if (status == TR_ERR_OVERFLOW) tr_reset(&model, phi);  // any other status kept the weights
  Serial.println(status == TR_OK ? String("learnt ") + names[wanted] + ", loss " + String(loss, 3)
                                 : String("not learnt: ") + tr_status_text(status));
  if (status == TR_OK) keepLater();
  meet(wanted, right);
  restart(-1);
}

void recognise() {
  int32_t label;
  float probability;
  const tr_status status = tr_classify(&model, &label, &probability, seen(rows, window));
  Serial.println(status == TR_OK ? String(names[label]) + ' ' + String(100.0f * probability, 0)
                                 : String(tr_status_text(status)));
}

void readCommand(char c) {
  static char line[TR_AXES_TEXT + 2];  // "a", a map, and room to see that a line is too long
  static size_t length = 0;
  if (c == '\r') return;
  if (c != '\n' && length < sizeof line - 1) line[length++] = c;
  if (c != '\n' || length == 0) return;
  line[length] = 0;
  length = 0;
  obey(line);
}

// A line that we know is a command; anything else gets one line of help.
void obey(const char *line) {
  const char command = line[1] ? '?' : line[0];
  if (command >= '0' && command < '0' + labels) want(command - '0');
  else if (command == 'r') forget();
  else if (command == 'm') changeArm();
  else if (command == 'w' || command == 'c') {
    sendWeights(&model, command == 'c');
    restart(wanted);  // no readings came meanwhile
  }
  else if (command == 'a') sayAxes("");
  else if (line[0] == 'a' && wear(line + 1)) takeAxes();
  else if (likeMap(line)) Serial.println("no map of axes: send one like a+x-y-z-, from FindAxes");
  else help();
}

void help() {
  Serial.println("unknown command: 0 to 6 teach an exercise, r forgets, m changes arms, a+x-y-z- takes "
                 "a map of axes, a alone says it, w sends the weights as CSV, c as C");
  sayOtherAxes();
}

void takeAxes() {
  keepLater();
  sayAxes("");
}

void forget() {
  meetNobody();
  keepForget(&model, !asDocumented());  // how it is worn is not forgotten
  sayOtherAxes();
  restart(wanted);
}

void readButton() {
  static int next = 0;
  static bool wasDown = false;
  const bool down = digitalRead(button) == LOW;
  if (down && !wasDown && wanted < 0) want(next++ % labels);
  wasDown = down;
}
