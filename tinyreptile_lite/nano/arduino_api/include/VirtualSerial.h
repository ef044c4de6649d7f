/* Serial over USB. As on the real board the baud rate means nothing, and `if (Serial)` is true
 * while a serial monitor is open. */
#pragma once

#include "Stream.h"

class VirtualSerial : public Stream {
public:
  void begin(unsigned long) {}
  void begin(unsigned long, uint16_t) {}
  void end() {}
  int available() override;
  int read() override;
  int peek() override;
  size_t write(uint8_t byte) override;
  size_t write(const uint8_t *buffer, size_t size) override;
  int availableForWrite() override { return 256; }
  using Print::write;
  explicit operator bool();

private:
  void refill();

  static constexpr unsigned int capacity = 256; /* as the real core's receive buffer */
  uint8_t received_[capacity];
  unsigned int next_ = 0;
  unsigned int end_ = 0;
};

extern VirtualSerial Serial;
