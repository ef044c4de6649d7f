/* I2C. On Wire1 is the board's own sensor, which here tells only which chip it is; nothing is
 * connected to Wire. */
#pragma once

#include <Arduino.h>

class VirtualWire : public Stream {
public:
  explicit constexpr VirtualWire(unsigned int bus) : bus_(bus) {}
  void begin() {}
  void end() {}
  void setClock(uint32_t) {}

  void beginTransmission(uint8_t address);
  uint8_t endTransmission(bool stop = true); /* 0, or 2 if no device has the address */
  size_t requestFrom(uint8_t address, size_t size, bool stop = true);

  int available() override { return (int)(end_ - next_); }
  int read() override { return next_ < end_ ? received_[next_++] : -1; }
  int peek() override { return next_ < end_ ? received_[next_] : -1; }
  size_t write(uint8_t byte) override;
  size_t write(int byte) { return write((uint8_t)byte); }
  using Print::write;

private:
  size_t transfer(volatile unsigned int &order, uint8_t address, const uint8_t *bytes, size_t size);

  static constexpr size_t capacity = 256; /* as the real core's buffers */
  const unsigned int bus_;
  uint8_t address_ = 0;
  uint8_t sent_[capacity] = {}, received_[capacity] = {};
  size_t size_ = 0, next_ = 0, end_ = 0;
};

typedef VirtualWire TwoWire;
extern VirtualWire Wire, Wire1;
