/* How bytes come to the board and leave it: USB, or the Nordic UART Service over Bluetooth LE.
 * Both offer transportBegin, transportRead (a byte, or -1) and transportSend (one whole frame). */
#pragma once

#include <Arduino.h>

#ifndef TRANSPORT_BLE
#define TRANSPORT_BLE 0
#endif

#if TRANSPORT_BLE

#include <ArduinoBLE.h>

/* A frame stays under 200 bytes: longer writes are reported to hang ArduinoBLE. */
enum { chunkFloats = 47, chunkWindow = 32, longestFrame = 199, ringBytes = 8192 };

static BLEService uart("6e400001-b5a3-f393-e0a9-e50e24dcca9e");
static BLECharacteristic fromServer("6e400002-b5a3-f393-e0a9-e50e24dcca9e",
                                    BLEWrite | BLEWriteWithoutResponse, longestFrame);
static BLECharacteristic toServer("6e400003-b5a3-f393-e0a9-e50e24dcca9e", BLENotify, longestFrame);
static uint8_t ring[ringBytes];  // a window and more; what does not fit is lost, and sent again
static unsigned int ringIn = 0, ringOut = 0;

static void onWritten(BLEDevice, BLECharacteristic characteristic) {
  const uint8_t *bytes = characteristic.value();
  for (int i = 0; i < characteristic.valueLength() && ringIn - ringOut < ringBytes; i++) {
    ring[ringIn++ % ringBytes] = bytes[i];
  }
}

static bool transportBegin(const uint8_t *id) {
  if (!BLE.begin()) return false;
  static char name[] = "TinyReptile-0000";
  for (int i = 0; i < 4; i++) {
    name[12 + i] = "0123456789ABCDEF"[id[6 + i / 2] >> (i % 2 ? 0 : 4) & 15];
  }
  BLE.setLocalName(name);
  BLE.setAdvertisedService(uart);
  uart.addCharacteristic(fromServer);
  uart.addCharacteristic(toServer);
  BLE.addService(uart);
  fromServer.setEventHandler(BLEWritten, onWritten);
  return BLE.advertise() != 0;
}

static int transportRead() {
  BLE.poll();
  return ringIn == ringOut ? -1 : ring[ringOut++ % ringBytes];
}

static void transportSend(void *, const uint8_t *frame, size_t size) {
  toServer.writeValue(frame, (int)size);
}

#else

enum { chunkFloats = 256, chunkWindow = 32 };

static bool transportBegin(const uint8_t *) {
  Serial.begin(115200);
  return true;
}

static int transportRead() {
  return Serial.read();
}

static void transportSend(void *, const uint8_t *frame, size_t size) {
  Serial.write(frame, size);
}

#endif
