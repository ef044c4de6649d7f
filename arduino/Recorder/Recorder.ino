/*
  Recorder: what the motion sensor reads, as a file on the computer.

  It sends each sample as a line of CSV, acceleration in g and rotation rate in degrees per second,
  as fast as the sensor gives them. `tinyreptile flash SKETCH --imu FILE` plays such a file on the
  virtual board. Axes and units are the sensor's own, as every sketch reads them.

  Circuit: Nano 33 BLE Sense. A button from pin 2 to ground starts and stops.
  Libraries: Arduino_LSM9DS1; for a board marked Rev2 Arduino_BMI270_BMM150, and set REV2 to 1.

  Use: upload, close the Serial Monitor, and run on the computer, for example
    tinyreptile record /dev/ttyACM0 waving.csv
  Or open the Serial Monitor with "New Line" and send
    r         record; the LED is on meanwhile
    s         stop
*/
#include <tr_imu.h>
#include <tr_text.h>

#ifndef REV2
#define REV2 0
#endif
#if REV2
#include <Arduino_BMI270_BMM150.h>
#else
#include <Arduino_LSM9DS1.h>
#endif

const int axes = 6, button = 2;
const unsigned long patienceMillis = 3000;  // for a monitor

static bool recording = false;
static unsigned long samples, firstMillis, lastMillis;

void setup() {
  Serial.begin(115200);
  while (!Serial && millis() < patienceMillis) delay(1);
  pinMode(LED_BUILTIN, OUTPUT);
  pinMode(button, INPUT_PULLUP);
  for (; !IMU.begin(); delay(patienceMillis)) Serial.println("no IMU: does REV2 suit your board?");
  Serial.println("ready: r records, s stops");
}

void loop() {
  while (Serial.available()) readCommand((char)Serial.read());
  readButton();
  float x[axes];
  if (tr_imu_read(IMU, x) && recording) sendSample(x);
}

// A reading that failed is a line of "nan": the samples stay evenly spaced.
void sendSample(const float *x) {
  char line[axes * TR_FLOAT_TEXT] = "";
  for (int i = 0; i < axes; i++) {
    if (i > 0) strcat(line, ",");
    tr_float_text(line + strlen(line), x[i]);
  }
  Serial.println(line);
  lastMillis = millis();
  if (samples++ == 0) firstMillis = lastMillis;
}

void start() {
  recording = true;
  samples = 0;
  digitalWrite(LED_BUILTIN, HIGH);
  Serial.println("--- begin recording");
  sendRate(IMU.accelerationSampleRate());
  Serial.println("ax,ay,az,gx,gy,gz");
}

void stop() {
  recording = false;
  digitalWrite(LED_BUILTIN, LOW);
  const float measured = measuredRate(), promised = IMU.accelerationSampleRate();
  if (fabsf(measured - promised) > 0.01f * promised) sendRate(measured);  // the last one counts
  Serial.println("--- end");
}

// Samples per second by the board's own clock: the sensor's may be off by some percent.
float measuredRate() {
  const unsigned long span = lastMillis - firstMillis;
  if (samples < 100 || span == 0) return IMU.accelerationSampleRate();  // too short to tell
  return 1000.0f * (float)(samples - 1) / (float)span;
}

void sendRate(float rate) {
  char text[TR_FLOAT_TEXT];
  Serial.println(String("# rate: ") + tr_float_text(text, rate) + " Hz");
}

// A line of one character that we know is a command; anything else gets one line of help.
void readCommand(char c) {
  static char first;
  static int length = 0;
  if (c == '\r') return;
  if (c != '\n' && length++ == 0) first = c;
  if (c != '\n' || length == 0) return;
  const char command = length == 1 ? first : '?';
  length = 0;
  if (command == 'r' && !recording) start();
  else if (command == 's' && recording) stop();
  else Serial.println("# r records, s stops");
}

void readButton() {
  static bool wasDown = false;
  const bool down = digitalRead(button) == LOW;
  if (down && !wasDown) (recording ? stop : start)();
  wasDown = down;
}
