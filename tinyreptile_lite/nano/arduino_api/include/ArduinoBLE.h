/* Bluetooth on the virtual board: of the real library's functions those for one service like a
 * serial port, which has one characteristic to write to and one that notifies. It hangs where the
 * real library does, too: in a send for which the radio never gets room. */
#pragma once

#include <Arduino.h>

enum BLEProperty { BLERead = 0x02, BLEWriteWithoutResponse = 0x04, BLEWrite = 0x08, BLENotify = 0x10 };
enum BLECharacteristicEvent { BLESubscribed, BLEUnsubscribed, BLEWritten };

enum BLEDeviceEvent { BLEConnected, BLEDisconnected };

class BLEDevice {};
class BLECharacteristic;
typedef void (*BLEDeviceEventHandler)(BLEDevice device);
typedef void (*BLECharacteristicEventHandler)(BLEDevice device, BLECharacteristic characteristic);

/* Copies are the same characteristic. */
class BLECharacteristic {
public:
  BLECharacteristic(const char *uuid, uint16_t properties, int size);
  const uint8_t *value() const;
  int valueLength() const;
  bool subscribed();
  int writeValue(const uint8_t *value, int length); /* bytes sent, at most what one packet holds */
  void setEventHandler(int event, BLECharacteristicEventHandler handler);

private:
  friend class BLEService;
  friend class VirtualBle;
  struct State;
  explicit BLECharacteristic(State *state) : state_(state) {}
  State *state_;
};

class BLEService {
public:
  explicit BLEService(const char *) {}
  void addCharacteristic(BLECharacteristic &characteristic);
};

class VirtualBle {
public:
  int begin();
  void poll();
  void setLocalName(const char *name);
  void setDeviceName(const char *) {}
  void setConnectionInterval(uint16_t, uint16_t) {} /* the host of the virtual board decides */
  void setAdvertisedService(const BLEService &) {}
  void addService(BLEService &) {}
  int advertise();
  bool connected() const { return connected_; }
  void setEventHandler(BLEDeviceEvent event, BLEDeviceEventHandler handler);

private:
  friend class BLECharacteristic;
  friend class BLEService;
  void handle(uint32_t kind, uint32_t length);
  void send(uint32_t kind, const uint8_t *bytes, uint32_t length);

  BLECharacteristic::State *written_ = nullptr, *notifying_ = nullptr;
  uint32_t inRadio_ = 0; /* packets */
  bool connected_ = false;
  BLEDeviceEventHandler handlers_[2] = {nullptr, nullptr};
};

extern VirtualBle BLE;
