/*
  FindAxes: how is the board strapped on? Three poses of the arm tell, for any way to wear it.

  The network of WristAdapt was trained on a watch. This sketch finds the map from the board's axes
  to those of the watch, as a text like +x-y-z-, and checks with gravity and rotation whether the
  board's frame is right-handed. It needs no more than the arm that wears the board.

  Circuit: Nano 33 BLE Sense, strapped to the forearm near the wrist, anyhow, but firmly.
  Libraries: Arduino_LSM9DS1; for a board marked Rev2 Arduino_BMI270_BMM150, and set REV2 to 1.

  Use: open the Serial Monitor with "New Line". Take each pose, drawn in docs/wear.md, then send an empty line, with the
  other hand, and hold still for a second. Go from pose to pose within some seconds.
*/
#include <tr_find_axes.h>
#include <tr_imu.h>
#include <tr_sensor.h>

#ifndef REV2
#define REV2 0
#endif
#if REV2
#include <Arduino_BMI270_BMM150.h>
#else
#include <Arduino_LSM9DS1.h>
#endif

const char *const poses[TR_FIND_POSES] = {
    "the forearm flat on a table, palm down", "the same, but the thumb up", "the arm hanging down"};
const unsigned long patienceMillis = 3000;  // for a monitor
static tr_find find;
static tr_sensor sensor;

void setup() {
  Serial.begin(115200);
  while (!Serial && millis() < patienceMillis) delay(1);
  for (; !IMU.begin(); delay(patienceMillis)) Serial.println("no IMU: does REV2 suit your board?");
  begin();
}

void loop() {
  if (Serial.available() && Serial.read() == '\n') {
    tr_find_pose(&find);
    Serial.println("hold still");
  }
  float x[6];
  static unsigned long heard = 0;
  if (!tr_imu_read(IMU, x)) {
    if (find.holding && millis() - heard > 1000) fail(tr_sensor_text(TR_SENSOR_SILENT));
    return;
  }
  heard = millis();
  const int fault = tr_sensor_check(&sensor, x);
  if (fault != TR_SENSOR_OK) {
    if (find.holding) fail(tr_sensor_text(fault));  // between poses it may mend
    return;
  }
  const int status = tr_find_add(&find, x, micros());
  if (status == TR_FIND_POSE) ask();
  if (status == TR_FIND_DONE) report();
  if (status > TR_FIND_DONE) fail(tr_find_text(status));
}

void begin() {
  tr_find_begin(&find);
  ask();
}

void ask() {
  Serial.println(String("pose ") + (find.pose + 1) + " of 3: " + poses[find.pose] +
                 "; then send an empty line");
}

void fail(const char *why) {
  Serial.println(String("no map: ") + why + "; from the beginning");
  begin();
}

void report() {
  char text[TR_AXES_TEXT];
  tr_axes_print(&find.axes, text);
  const char *const words = tr_axes_words(&find.axes, REV2 ? TR_AXES_REV2 : TR_AXES_REV1);
  Serial.println(String("axes ") + text + ": the board is worn " + words);
  Serial.println(String("for WristAdapt, as a line: a") + text);
  Serial.println(String("for FederatedClient, in source.h: #define AXES \"") + text + '"');
  begin();
}
