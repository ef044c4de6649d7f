/* How bytes come to the board and leave it: USB, or the Nordic UART Service over Bluetooth LE.
 * Both offer transportBegin, transportRead (a byte, or -1) and transportSend (one whole frame). */
#pragma once

#include <Arduino.h>

#ifndef TRANSPORT_BLE
#define TRANSPORT_BLE 0
#endif

#if TRANSPORT_BLE

#include <ArduinoBLE.h>
#include <mbed.h>

/* ArduinoBLE's own receive ring holds 256 bytes, and a packet that does not fit is lost. So a frame
 * stays under 200 bytes: with its headers it fits, even in pieces of 27. And it has to be written
 * with a response: then the next one comes when this one is out of the ring. */
enum { chunkFloats = 47, chunkWindow = 32, longestFrame = 199, ringBytes = 1024 };

static BLEService uart("6e400001-b5a3-f393-e0a9-e50e24dcca9e");
static BLECharacteristic fromServer("6e400002-b5a3-f393-e0a9-e50e24dcca9e", BLEWrite, longestFrame);
static BLECharacteristic toServer("6e400003-b5a3-f393-e0a9-e50e24dcca9e", BLENotify, longestFrame);
static uint8_t ring[ringBytes];  // what came while the board learned
static unsigned int ringIn = 0, ringOut = 0;

/* A watchdog. If the link drops in the middle of a send, ArduinoBLE waits for ever; then only a
 * reset helps, and the server begins the visit again. The chip's own watchdog is no use here: once
 * started it runs on through the next upload and cuts it short. */
enum { hangSeconds = 5 };
static mbed::LowPowerTicker watchdog;
static volatile int quietSeconds = 0;

static void eachSecond() {
  quietSeconds = quietSeconds + 1;
  if (quietSeconds >= hangSeconds) NVIC_SystemReset();
}

static void feedWatchdog() {
  quietSeconds = 0;
}

static void onWritten(BLEDevice, BLECharacteristic characteristic) {
  const uint8_t *bytes = characteristic.value();
  for (int i = 0; i < characteristic.valueLength() && ringIn - ringOut < ringBytes; i++) {
    ring[ringIn++ % ringBytes] = bytes[i];
  }
}

/* Half a frame is no frame, and the weights are used only when all are there: nothing is spoilt. */
static void onDisconnected(BLEDevice) {
  if (Serial) Serial.println("The Bluetooth link is gone; the board waits for the server.");
}

static bool transportBegin(const uint8_t *id) {
  Serial.begin(115200);
  if (!BLE.begin()) return false;
  static char name[] = "TinyReptile-0000";
  for (int i = 0; i < 4; i++) {
    name[12 + i] = "0123456789ABCDEF"[id[6 + i / 2] >> (i % 2 ? 0 : 4) & 15];
  }
  BLE.setLocalName(name);           // what it advertises
  BLE.setDeviceName(name);          // what a computer remembers once it was connected
  BLE.setConnectionInterval(6, 12);  // please: 7.5 to 15 ms
  BLE.setAdvertisedService(uart);
  uart.addCharacteristic(fromServer);
  uart.addCharacteristic(toServer);
  BLE.addService(uart);
  fromServer.setEventHandler(BLEWritten, onWritten);
  BLE.setEventHandler(BLEDisconnected, onDisconnected);
  if (!BLE.advertise()) return false;  // from now on: after a drop it advertises again by itself
  watchdog.attach(eachSecond, std::chrono::seconds(1));
  return true;
}

/* Called in every loop, so it is between two samples at the latest that the radio is served. */
static int transportRead() {
  feedWatchdog();
  if (ringIn == ringOut) {
    yield();  // the radio's thread has its turn at once
    BLE.poll();
  }
  return ringIn == ringOut ? -1 : ring[ringOut++ % ringBytes];
}

/* In pieces that the connection can carry. Without a connection nothing is sent. */
static void transportSend(void *, const uint8_t *frame, size_t size) {
  BLE.poll();  // learn of a link that is gone
  for (size_t at = 0; at < size && toServer.subscribed();) {
    feedWatchdog();
    const int sent = toServer.writeValue(frame + at, (int)(size - at));
    if (sent <= 0) return;
    at += (size_t)sent;
  }
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
