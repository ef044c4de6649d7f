#include <Wire.h>
#include <board_registers.h>

VirtualWire Wire(0);
VirtualWire Wire1(1);

size_t VirtualWire::transfer(volatile unsigned int &order, uint8_t address, const uint8_t *bytes,
                             size_t size) {
  REG_WIRE_ADDRESS = (uint32_t)bytes;
  REG_WIRE_LENGTH = size;
  order = bus_ << 7 | (address & 127u);
  return REG_WIRE_COUNT;
}

void VirtualWire::beginTransmission(uint8_t address) {
  address_ = address;
  size_ = 0;
}

size_t VirtualWire::write(uint8_t byte) {
  if (size_ == capacity) return 0;
  sent_[size_++] = byte;
  return 1;
}

uint8_t VirtualWire::endTransmission(bool) {
  return transfer(REG_WIRE_SEND, address_, sent_, size_) ? 0 : 2;
}

size_t VirtualWire::requestFrom(uint8_t address, size_t size, bool) {
  next_ = 0;
  end_ = transfer(REG_WIRE_RECEIVE, address, received_, size < capacity ? size : capacity);
  return end_;
}
