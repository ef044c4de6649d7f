#include <ArduinoBLE.h>
#include <board_registers.h>
#include <mbed.h>

VirtualBle BLE;

static void (*ticking)() = nullptr;
static uint8_t packet[256];

void NVIC_SystemReset() {
  REG_RESET = 1;
  for (;;) {
  }
}

void mbed::LowPowerTicker::attach(void (*function)(), std::chrono::microseconds period) {
  ticking = function;
  REG_TICK_PERIOD = (uint32_t)period.count();
}

void callTicker() {
  if (!ticking) return;
  for (uint32_t due = REG_TICKS_DUE; due > 0; due--) ticking();
}

struct BLECharacteristic::State {
  uint16_t properties;
  int size, length;
  uint8_t *value;
  bool subscribed;
  BLECharacteristicEventHandler written;
};

BLECharacteristic::BLECharacteristic(const char *, uint16_t properties, int size)
    : state_((State *)calloc(1, sizeof(State))) {
  state_->properties = properties;
  state_->size = size;
  state_->value = (uint8_t *)malloc((size_t)size);
}

const uint8_t *BLECharacteristic::value() const { return state_->value; }
int BLECharacteristic::valueLength() const { return state_->length; }
bool BLECharacteristic::subscribed() { return state_->subscribed; }

int BLECharacteristic::writeValue(const uint8_t *value, int length) {
  state_->length = min(length, state_->size);
  memcpy(state_->value, value, (size_t)state_->length);
  if (!state_->subscribed) return state_->length;
  const int sent = min(state_->length, (int)REG_RADIO_MTU - 3);
  BLE.send(RADIO_NOTIFY, state_->value, (uint32_t)sent);
  return sent;
}

void BLECharacteristic::setEventHandler(int event, BLECharacteristicEventHandler handler) {
  if (event == BLEWritten) state_->written = handler;
}

void BLEService::addCharacteristic(BLECharacteristic &characteristic) {
  const bool notifies = characteristic.state_->properties & BLENotify;
  (notifies ? BLE.notifying_ : BLE.written_) = characteristic.state_;
}

int VirtualBle::begin() {
  delay(100);
  return 1;
}

void VirtualBle::setLocalName(const char *name) {
  REG_RADIO_NAME_ADDRESS = (uint32_t)name;
  REG_RADIO_NAME_LENGTH = strlen(name);
}

int VirtualBle::advertise() {
  REG_RADIO_ADVERTISE = 1;
  return 1;
}

void VirtualBle::setEventHandler(BLEDeviceEvent event, BLEDeviceEventHandler handler) {
  handlers_[event] = handler;
}

void VirtualBle::poll() {
  callTicker();
  REG_RADIO_RX_ADDRESS = (uint32_t)packet;
  for (uint32_t kind = REG_RADIO_RX_KIND; kind != 0; kind = REG_RADIO_RX_KIND) {
    handle(kind, REG_RADIO_RX_LENGTH);
  }
}

void VirtualBle::handle(uint32_t kind, uint32_t length) {
  if (kind == RADIO_COMPLETED) inRadio_ -= min(length, inRadio_);
  if (kind == RADIO_UP || kind == RADIO_LOST) {
    connected_ = kind == RADIO_UP;
    if (notifying_) notifying_->subscribed = false;
    const BLEDeviceEventHandler handler = handlers_[connected_ ? BLEConnected : BLEDisconnected];
    if (handler) handler(BLEDevice());
    if (!connected_) advertise(); /* what the radio held stays in inRadio_, as in the real library */
  }
  if (kind == RADIO_SUBSCRIBE && notifying_) notifying_->subscribed = true;
  if ((kind == RADIO_WRITE || kind == RADIO_COMMAND) && written_) {
    written_->length = min((int)length, written_->size);
    memcpy(written_->value, packet, (size_t)written_->length);
    if (written_->written) written_->written(BLEDevice(), BLECharacteristic(written_));
  }
  if (kind == RADIO_WRITE || kind == RADIO_SUBSCRIBE) send(RADIO_RESPONSE, nullptr, 0);
}

void VirtualBle::send(uint32_t kind, const uint8_t *bytes, uint32_t length) {
  while (inRadio_ >= REG_RADIO_SEND_PACKETS) poll();
  inRadio_++;
  REG_RADIO_TX_ADDRESS = (uint32_t)bytes;
  REG_RADIO_TX_LENGTH = length;
  REG_RADIO_TX_KIND = kind;
}
