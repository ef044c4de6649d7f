#include <Arduino.h>

size_t Print::write(const uint8_t *buffer, size_t size) {
  size_t sent = 0;
  while (sent < size && write(buffer[sent])) sent++;
  return sent;
}

size_t Print::print(unsigned long long value, int base) {
  if (base == 0) return write((uint8_t)value);
  if (base < 2 || base > 36) base = 10;
  char digits[64];
  size_t first = sizeof digits;
  do {
    const unsigned digit = value % (unsigned)base;
    digits[--first] = (char)(digit < 10 ? '0' + digit : 'A' + digit - 10);
    value /= (unsigned)base;
  } while (value);
  return write(digits + first, sizeof digits - first);
}

size_t Print::print(unsigned long value, int base) {
  return print((unsigned long long)value, base);
}

/* As on the real core: only decimal numbers have a sign. */
size_t Print::print(long value, int base) {
  if (base != DEC) return print((unsigned long)value, base);
  return print((long long)value, base);
}

size_t Print::print(long long value, int base) {
  if (base != DEC || value >= 0) return print((unsigned long long)value, base);
  const size_t sign = print('-');
  return sign + print(0ULL - (unsigned long long)value, base);
}

/* Rounded half up, at most what 32 bits hold before the point, like the real core. */
size_t Print::print(double value, int digits) {
  if (isnan(value)) return print("nan");
  if (isinf(value)) return print("inf");
  if (value > 4294967040.0 || value < -4294967040.0) return print("ovf");
  if (digits < 0) digits = 2;
  size_t written = value < 0 ? print('-') : 0;
  value = value < 0 ? -value : value;
  double half = 0.5;
  for (int i = 0; i < digits; i++) half /= 10;
  value += half;
  const unsigned long whole = (unsigned long)value;
  written += print(whole);
  if (digits == 0) return written;
  written += print('.');
  double rest = value - (double)whole;
  for (; digits > 0; digits--) {
    rest *= 10;
    const unsigned digit = (unsigned)rest;
    written += print((char)('0' + digit));
    rest -= digit;
  }
  return written;
}
