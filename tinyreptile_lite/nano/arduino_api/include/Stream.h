#pragma once

#include "Print.h"

enum LookaheadMode { SKIP_ALL, SKIP_NONE, SKIP_WHITESPACE };

class Stream : public Print {
public:
  virtual int available() = 0;
  virtual int read() = 0;
  virtual int peek() = 0;

  void setTimeout(unsigned long milliseconds) { timeout_ = milliseconds; }
  unsigned long getTimeout() { return timeout_; }

  bool find(const char *target) { return findUntil(target, nullptr); }
  bool find(const char *target, size_t length);
  bool find(char target) { return find(&target, 1); }
  bool findUntil(const char *target, const char *terminator);

  long parseInt(LookaheadMode lookahead = SKIP_ALL, char ignore = '\x01');
  float parseFloat(LookaheadMode lookahead = SKIP_ALL, char ignore = '\x01');

  size_t readBytes(char *buffer, size_t length);
  size_t readBytes(uint8_t *buffer, size_t length) { return readBytes((char *)buffer, length); }
  size_t readBytesUntil(char terminator, char *buffer, size_t length);
  size_t readBytesUntil(char terminator, uint8_t *buffer, size_t length) {
    return readBytesUntil(terminator, (char *)buffer, length);
  }
  String readString();
  String readStringUntil(char terminator);

protected:
  int timedRead() { return timed(false); }
  int timedPeek() { return timed(true); }

private:
  int timed(bool peeking);
  int nextNumberStart(LookaheadMode lookahead, bool point);
  double parseNumber(LookaheadMode lookahead, char ignore, bool point);

  unsigned long timeout_ = 1000; /* milliseconds */
};
