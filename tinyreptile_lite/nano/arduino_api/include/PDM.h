/* The microphone of the virtual board: what Arduino's library PDM has for the Nano 33 BLE Sense.
 *
 * As with the real one, the function given to onReceive is called by an interrupt, and must read
 * all that is available: else the microphone stops. */
#pragma once

#include <Arduino.h>

class PDMClass {
public:
  int begin(int channels, int sampleRate); /* 0 if the library does not know them */
  void end();
  int available(); /* bytes */
  int read(void *buffer, size_t size);
  void onReceive(void (*function)(void));
  void setGain(int gain); /* 0 to 80, in half decibels; not modelled */
  void setBufferSize(int bytes);

private:
  int size_ = 512;
};

extern PDMClass PDM;
