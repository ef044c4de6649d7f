/* A thin Arduino API for the virtual Nano 33 BLE: what sketches use of the real core, with the
 * same names and meanings, on top of the virtual board's registers. */
#pragma once

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { LOW = 0, HIGH = 1, CHANGE = 2, FALLING = 3, RISING = 4 } PinStatus;
typedef enum {
  INPUT = 0,
  OUTPUT = 1,
  INPUT_PULLUP = 2,
  INPUT_PULLDOWN = 3,
  OUTPUT_OPENDRAIN = 4
} PinMode;

typedef bool boolean;
typedef uint8_t byte;
typedef uint16_t word;
typedef uint8_t pin_size_t;

#define PI 3.1415926535897932384626433832795
#define HALF_PI 1.5707963267948966192313216916398
#define TWO_PI 6.283185307179586476925286766559
#define DEG_TO_RAD 0.017453292519943295769236907684886
#define RAD_TO_DEG 57.295779513082320876798154814105
#define EULER 2.718281828459045235360287471352

#undef abs
#define abs(x) ((x) > 0 ? (x) : -(x))
#define constrain(x, low, high) ((x) < (low) ? (low) : ((x) > (high) ? (high) : (x)))
#define radians(deg) ((deg) * DEG_TO_RAD)
#define degrees(rad) ((rad) * RAD_TO_DEG)
#define sq(x) ((x) * (x))
#define lowByte(w) ((uint8_t)((w) & 0xff))
#define highByte(w) ((uint8_t)((w) >> 8))
#define bit(b) (1UL << (b))
#define bitRead(value, b) (((value) >> (b)) & 1)
#define bitSet(value, b) ((value) |= bit(b))
#define bitClear(value, b) ((value) &= ~bit(b))
#define bitToggle(value, b) ((value) ^= bit(b))
#define bitWrite(value, b, on) ((on) ? bitSet(value, b) : bitClear(value, b))
#define PROGMEM

enum {
  D0, D1, D2, D3, D4, D5, D6, D7, D8, D9, D10, D11, D12, D13,
  A0, A1, A2, A3, A4, A5, A6, A7
};
#define LED_BUILTIN (13u)
#define PIN_LED LED_BUILTIN
#define LEDR (22u) /* the three colours light up at LOW */
#define LEDG (23u)
#define LEDB (24u)
#define LED_PWR (25u)
#define digitalPinToInterrupt(pin) (pin)

void setup(void);
void loop(void);
void yield(void);

unsigned long millis(void);
unsigned long micros(void);
void delay(unsigned long milliseconds);
void delayMicroseconds(unsigned int microseconds);

void pinMode(pin_size_t pin, PinMode mode);
void digitalWrite(pin_size_t pin, PinStatus status);
PinStatus digitalRead(pin_size_t pin);
int analogRead(pin_size_t pin);
void analogWrite(pin_size_t pin, int value);
void analogReadResolution(int bits);
void analogWriteResolution(int bits);

/* The only interrupt of the virtual board is the microphone's. */
void interrupts(void);
void noInterrupts(void);

#ifdef __cplusplus
}

template <class T, class U>
constexpr auto min(const T &a, const U &b) -> decltype(b < a ? b : a) {
  return b < a ? b : a;
}
template <class T, class U>
constexpr auto max(const T &a, const U &b) -> decltype(a < b ? b : a) {
  return a < b ? b : a;
}

/* Arduino sketches pass 0 and 1, and expressions of them. */
void pinMode(pin_size_t pin, int mode);
void digitalWrite(pin_size_t pin, int status);

long random(long below);
long random(long from, long below);
void randomSeed(unsigned long seed);
long map(long x, long from_low, long from_high, long to_low, long to_high);

#include "WString.h"
#include "Print.h"
#include "Stream.h"
#include "VirtualSerial.h"
#endif
