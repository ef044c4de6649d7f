#include <Arduino.h>

int Stream::timed(bool peeking) {
  const unsigned long start = millis();
  do {
    const int c = peeking ? peek() : read();
    if (c >= 0) return c;
  } while (millis() - start < timeout_);
  return -1;
}

size_t Stream::readBytes(char *buffer, size_t length) {
  size_t count = 0;
  for (int c; count < length && (c = timedRead()) >= 0; count++) buffer[count] = (char)c;
  return count;
}

size_t Stream::readBytesUntil(char terminator, char *buffer, size_t length) {
  size_t count = 0;
  for (int c; count < length && (c = timedRead()) >= 0 && c != (uint8_t)terminator; count++)
    buffer[count] = (char)c;
  return count;
}

String Stream::readString() {
  String text;
  for (int c; (c = timedRead()) >= 0;) text += (char)c;
  return text;
}

String Stream::readStringUntil(char terminator) {
  String text;
  for (int c; (c = timedRead()) >= 0 && c != (uint8_t)terminator;) text += (char)c;
  return text;
}

/* How much of `target` the text seen so far ends with, once `c` has come. */
static size_t matched(const char *target, size_t length, size_t seen, char c) {
  while (seen > 0 && target[seen] != c) {
    size_t shorter = seen - 1;
    while (shorter > 0 && memcmp(target, target + seen - shorter, shorter) != 0) shorter--;
    seen = shorter;
  }
  return seen < length && target[seen] == c ? seen + 1 : seen;
}

bool Stream::find(const char *target, size_t length) {
  size_t seen = 0;
  while (seen < length) {
    const int c = timedRead();
    if (c < 0) return false;
    seen = matched(target, length, seen, (char)c);
  }
  return true;
}

bool Stream::findUntil(const char *target, const char *terminator) {
  const size_t length = strlen(target), end = terminator ? strlen(terminator) : 0;
  size_t seen = 0, seen_end = 0;
  while (seen < length) {
    const int c = timedRead();
    if (c < 0) return false;
    seen = matched(target, length, seen, (char)c);
    if (end && (seen_end = matched(terminator, end, seen_end, (char)c)) == end) return seen == length;
  }
  return true;
}

static bool is_digit(int c) { return c >= '0' && c <= '9'; }

/* Skip to where a number may begin; -1 if there is none in time. */
int Stream::nextNumberStart(LookaheadMode lookahead, bool point) {
  for (;;) {
    const int c = timedPeek();
    if (c < 0 || c == '-' || is_digit(c) || (point && c == '.')) return c;
    const bool space = c == ' ' || c == '\t' || c == '\r' || c == '\n';
    if (lookahead == SKIP_NONE || (lookahead == SKIP_WHITESPACE && !space)) return -1;
    read();
  }
}

double Stream::parseNumber(LookaheadMode lookahead, char ignore, bool point) {
  int c = nextNumberStart(lookahead, point);
  if (c < 0) return 0;
  double value = 0, unit = 1;
  bool negative = false, fraction = false;
  for (; c == '-' || c == (uint8_t)ignore || is_digit(c) || (point && c == '.' && !fraction);
       c = timedPeek()) {
    if (c == '-') negative = true;
    else if (c == '.') fraction = true;
    else if (is_digit(c)) {
      value = value * 10 + (c - '0');
      if (fraction) unit /= 10;
    }
    read();
  }
  return (negative ? -value : value) * unit;
}

long Stream::parseInt(LookaheadMode lookahead, char ignore) {
  return (long)parseNumber(lookahead, ignore, false);
}

float Stream::parseFloat(LookaheadMode lookahead, char ignore) {
  return (float)parseNumber(lookahead, ignore, true);
}
