/* What the board is: its chip's own number, why it started, its LEDs, and which sensor it has. */
#pragma once

#include <Arduino.h>
#include <Wire.h>

#if __has_include(<nrf.h>)
#include <nrf.h>
#endif

static const pin_size_t colours[] = {LEDR, LEDG, LEDB};
static uint8_t boardId[8];  // as FederatedClient's
static const char *lastReset = "not known";

static void boardBegin() {
#ifdef NRF_FICR
  const uint32_t number[2] = {NRF_FICR->DEVICEID[0], NRF_FICR->DEVICEID[1]};
  memcpy(boardId, number, 8);
#else
  for (uint8_t &byte : boardId) byte = (uint8_t)random(256);
#endif
#ifdef NRF_POWER
  const uint32_t why = NRF_POWER->RESETREAS;
  NRF_POWER->RESETREAS = why;  // cleared, or the next start would see it too
  lastReset = why & POWER_RESETREAS_DOG_Msk        ? "the watchdog"
              : why & POWER_RESETREAS_LOCKUP_Msk   ? "the processor locked up"
              : why & POWER_RESETREAS_SREQ_Msk     ? "a program asked for it, as an upload does"
              : why & POWER_RESETREAS_RESETPIN_Msk ? "the button"
                                                   : "the power came";
#endif
  pinMode(LED_BUILTIN, OUTPUT);
  for (const pin_size_t pin : colours) pinMode(pin, OUTPUT);
}

// The three colours are on at LOW, and off after this.
static void blink() {
  for (const pin_size_t pin : colours) digitalWrite(pin, HIGH);
  for (int i = 0; i < 6; i++) {
    digitalWrite(LED_BUILTIN, i % 2 ? LOW : HIGH);
    delay(150);
  }
  for (const pin_size_t pin : colours) {
    digitalWrite(pin, LOW);
    delay(300);
    digitalWrite(pin, HIGH);
  }
}

// The number that a chip on the inner I2C bus has in one of its registers; -1 if none answers.
static int whoIs(uint8_t address, uint8_t where) {
  Wire1.beginTransmission(address);
  Wire1.write(where);
  if (Wire1.endTransmission() != 0 || Wire1.requestFrom(address, 1) != 1) return -1;
  return Wire1.read();
}

// 1 or 2, or 0 without a whole sensor, and the sensor in words. Both libraries' IMU.begin() fails
// without the magnetometer; Arduino_BMI270_BMM150's does not tell if the BMI270 itself is dead.
static int findRevision(const char **sensor) {
  Wire1.begin();
  Wire1.beginTransmission(0x10);  // a BMM150 sleeps, and has no number, until its power bit is set
  Wire1.write(0x4B);
  Wire1.write(0x01);
  Wire1.endTransmission();
  delay(4);
  const bool first = whoIs(0x6B, 0x0F) == 0x68, firstCompass = whoIs(0x1E, 0x0F) == 0x3D;
  const bool second = whoIs(0x68, 0x00) == 0x24, secondCompass = whoIs(0x10, 0x40) == 0x32;
  Wire1.end();
  const int revision = first && firstCompass ? 1 : second && secondCompass ? 2 : 0;
  *sensor = revision == 1                   ? "LSM9DS1"
            : revision == 2                 ? "BMI270"
            : first                         ? "LSM9DS1, but its magnetometer does not answer"
            : second                        ? "BMI270, but its magnetometer BMM150 does not answer"
            : firstCompass || secondCompass ? "only the magnetometer answers"
                                            : "none";
  return revision;
}
