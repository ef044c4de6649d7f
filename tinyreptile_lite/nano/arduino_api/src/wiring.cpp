/* Time, pins and random numbers. */
#include <Arduino.h>
#include <board_registers.h>

static uint64_t clock_us() {
  const uint32_t low = REG_CLOCK_LOW;
  return (uint64_t)REG_CLOCK_HIGH << 32 | low;
}

static void sleep_us(uint64_t microseconds) {
  for (; microseconds > 0xffffffffu; microseconds -= 0xffffffffu) REG_SLEEP = 0xffffffffu;
  REG_SLEEP = (uint32_t)microseconds;
}

static int read_bits = 10;
static int write_bits = 8;

extern "C" {
unsigned long millis() { return (unsigned long)(clock_us() / 1000); }
unsigned long micros() { return (unsigned long)clock_us(); }
void delay(unsigned long milliseconds) { sleep_us((uint64_t)milliseconds * 1000); }
void delayMicroseconds(unsigned int microseconds) { sleep_us(microseconds); }
void yield() {}
void interrupts() { REG_INTERRUPTS_OFF = 0; }
void noInterrupts() { REG_INTERRUPTS_OFF = 1; }

void pinMode(pin_size_t pin, PinMode mode) { REG_PIN_MODE(pin) = mode; }
void digitalWrite(pin_size_t pin, PinStatus status) { REG_PIN_LEVEL(pin) = status != LOW; }
PinStatus digitalRead(pin_size_t pin) { return REG_PIN_LEVEL(pin) ? HIGH : LOW; }

int analogRead(pin_size_t pin) {
  const int value = (int)REG_PIN_ANALOG(pin < A0 ? pin + A0 : pin);
  return read_bits > 10 ? value << (read_bits - 10) : value >> (10 - read_bits);
}

void analogWrite(pin_size_t pin, int value) {
  REG_PIN_PWM(pin) = write_bits > 8 ? value >> (write_bits - 8) : value << (8 - write_bits);
}

void analogReadResolution(int bits) { read_bits = bits; }
void analogWriteResolution(int bits) { write_bits = bits; }
}

void pinMode(pin_size_t pin, int mode) { pinMode(pin, (PinMode)mode); }
void digitalWrite(pin_size_t pin, int status) { digitalWrite(pin, status ? HIGH : LOW); }

/* Unseeded, the real board asks its hardware generator; the virtual one asks the host's seeded
 * generator, so that runs can be repeated. Seeded, xorshift32. */
static uint32_t random_state = 0;

static uint32_t random_bits() {
  if (random_state == 0) return REG_RANDOM;
  random_state ^= random_state << 13;
  random_state ^= random_state >> 17;
  random_state ^= random_state << 5;
  return random_state;
}

void randomSeed(unsigned long seed) {
  if (seed != 0) random_state = seed;
}

long random(long below) { return below > 0 ? (long)(random_bits() % (uint32_t)below) : 0; }

long random(long from, long below) {
  return from >= below ? from : from + random(below - from);
}

long map(long x, long from_low, long from_high, long to_low, long to_high) {
  return (x - from_low) * (to_high - to_low) / (from_high - from_low) + to_low;
}
