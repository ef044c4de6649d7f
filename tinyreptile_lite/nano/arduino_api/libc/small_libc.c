/* The pip compiler brings mathematics and memory functions, but no C library that is ready for a
 * board. These are the functions that sketches use most; a sketch that needs more is linked with
 * the compiler's full C library instead, which takes a minute the first time. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* ---- Memory: whole words where both sides are aligned; the compiler's own go byte by byte ----- */

typedef uint32_t __attribute__((may_alias)) memory_word;

static bool aligned(const void *a, const void *b) { return (((uintptr_t)a | (uintptr_t)b) & 3) == 0; }

void *memcpy(void *restrict to, const void *restrict from, size_t size) {
  unsigned char *out = to;
  const unsigned char *in = from;
  if (aligned(to, from)) {
    for (; size >= 16; size -= 16, out += 16, in += 16) {
      const memory_word *words = (const memory_word *)in;
      const uint32_t a = words[0], b = words[1], c = words[2], d = words[3];
      memory_word *there = (memory_word *)out;
      there[0] = a;
      there[1] = b;
      there[2] = c;
      there[3] = d;
    }
    for (; size >= 4; size -= 4, out += 4, in += 4)
      *(memory_word *)out = *(const memory_word *)in;
  }
  for (; size > 0; size--) *out++ = *in++;
  return to;
}

void *memmove(void *to, const void *from, size_t size) {
  unsigned char *out = to;
  const unsigned char *in = from;
  if (out + size <= in || in + size <= out) return memcpy(to, from, size);
  if (out < in)
    while (size-- > 0) *out++ = *in++;
  else
    while (size-- > 0) out[size] = in[size];
  return to;
}

void *memset(void *memory, int value, size_t size) {
  unsigned char *out = memory;
  const uint32_t word = 0x01010101u * (unsigned char)value;
  if (aligned(memory, memory))
    for (; size >= 4; size -= 4, out += 4) *(memory_word *)out = word;
  for (; size > 0; size--) *out++ = (unsigned char)value;
  return memory;
}

/* ---- Strings --------------------------------------------------------------------------------- */

size_t strlen(const char *text) {
  const char *end = text;
  while (*end) end++;
  return (size_t)(end - text);
}

int strncmp(const char *a, const char *b, size_t limit) {
  for (; limit > 0; a++, b++, limit--)
    if (*a != *b || !*a) return (unsigned char)*a - (unsigned char)*b;
  return 0;
}

int strcmp(const char *a, const char *b) { return strncmp(a, b, SIZE_MAX); }

char *strcpy(char *to, const char *from) { return memcpy(to, from, strlen(from) + 1); }

char *strncpy(char *to, const char *from, size_t limit) {
  size_t i = 0;
  for (; i < limit && from[i]; i++) to[i] = from[i];
  for (; i < limit; i++) to[i] = '\0';
  return to;
}

char *strcat(char *to, const char *from) {
  strcpy(to + strlen(to), from);
  return to;
}

void *memchr(const void *memory, int c, size_t size) {
  const unsigned char *bytes = memory;
  for (; size > 0; bytes++, size--)
    if (*bytes == (unsigned char)c) return (void *)bytes;
  return NULL;
}

char *strchr(const char *text, int c) { return memchr(text, c, strlen(text) + 1); }

char *strrchr(const char *text, int c) {
  for (size_t i = strlen(text) + 1; i > 0; i--)
    if (text[i - 1] == (char)c) return (char *)text + i - 1;
  return NULL;
}

char *strstr(const char *text, const char *find) {
  const size_t length = strlen(find);
  for (; *text || !length; text++)
    if (strncmp(text, find, length) == 0) return (char *)text;
  return NULL;
}

size_t strspn(const char *text, const char *of) {
  size_t count = 0;
  while (text[count] && strchr(of, text[count])) count++;
  return count;
}

size_t strcspn(const char *text, const char *of) {
  size_t count = 0;
  while (text[count] && !strchr(of, text[count])) count++;
  return count;
}

char *strtok(char *text, const char *separators) {
  static char *next;
  if (text) next = text;
  if (!next) return NULL;
  next += strspn(next, separators);
  if (!*next) return NULL;
  char *token = next;
  next += strcspn(next, separators);
  if (*next) *next++ = '\0';
  return token;
}

/* ---- Numbers --------------------------------------------------------------------------------- */

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'z') return c - 'a' + 10;
  if (c >= 'A' && c <= 'Z') return c - 'A' + 10;
  return 99;
}

static const char *skip_sign(const char *text, bool *negative) {
  while (is_space(*text)) text++;
  *negative = *text == '-';
  return *text == '-' || *text == '+' ? text + 1 : text;
}

static unsigned long magnitude(const char *text, char **end, int base, bool *negative) {
  const char *at = skip_sign(text, negative), *first;
  if ((base == 0 || base == 16) && at[0] == '0' && (at[1] | 32) == 'x' && digit(at[2]) < 16) {
    at += 2;
    base = 16;
  } else if (base == 0) {
    base = *at == '0' ? 8 : 10;
  }
  unsigned long value = 0;
  for (first = at; digit(*at) < base; at++) value = value * (unsigned)base + (unsigned)digit(*at);
  if (end) *end = (char *)(at == first ? text : at);
  return value;
}

unsigned long strtoul(const char *text, char **end, int base) {
  bool negative;
  const unsigned long value = magnitude(text, end, base, &negative);
  return negative ? 0 - value : value;
}

long strtol(const char *text, char **end, int base) { return (long)strtoul(text, end, base); }
int atoi(const char *text) { return (int)strtol(text, NULL, 10); }
long atol(const char *text) { return strtol(text, NULL, 10); }

double strtod(const char *text, char **end) {
  bool negative;
  const char *at = skip_sign(text, &negative);
  double value = 0;
  int exponent = 0, digits = 0;
  for (; digit(*at) < 10; at++, digits++) value = value * 10 + digit(*at);
  if (*at == '.')
    for (at++; digit(*at) < 10; at++, digits++, exponent--) value = value * 10 + digit(*at);
  if (end) *end = (char *)(digits ? at : text);
  if (digits && (*at | 32) == 'e') {
    char *rest;
    const long more = strtol(at + 1, &rest, 10);
    if (rest != at + 1) {
      exponent += (int)more;
      if (end) *end = rest;
    }
  }
  for (; exponent > 0; exponent--) value *= 10;
  for (; exponent < 0; exponent++) value /= 10;
  return negative ? -value : value;
}

float strtof(const char *text, char **end) { return (float)strtod(text, end); }
double atof(const char *text) { return strtod(text, NULL); }
