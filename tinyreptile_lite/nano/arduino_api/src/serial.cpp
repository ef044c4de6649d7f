#include <Arduino.h>
#include <board_registers.h>

VirtualSerial Serial;

VirtualSerial::operator bool() { return REG_SERIAL_CONNECTED != 0; }

void VirtualSerial::refill() {
  if (next_ < end_ || REG_SERIAL_RX_WAITING == 0) return;
  REG_SERIAL_RX_ADDRESS = (uint32_t)received_;
  REG_SERIAL_RX_LENGTH = capacity;
  next_ = 0;
  end_ = REG_SERIAL_RX_COUNT;
}

int VirtualSerial::available() {
  refill();
  return (int)(end_ - next_);
}

int VirtualSerial::peek() { return available() ? received_[next_] : -1; }

int VirtualSerial::read() { return available() ? received_[next_++] : -1; }

size_t VirtualSerial::write(uint8_t byte) { return write(&byte, 1); }

size_t VirtualSerial::write(const uint8_t *buffer, size_t size) {
  REG_SERIAL_TX_ADDRESS = (uint32_t)buffer;
  REG_SERIAL_TX_LENGTH = size;
  return size;
}
