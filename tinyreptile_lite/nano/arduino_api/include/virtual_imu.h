/* The IMU of the virtual board. Two libraries serve the board's two revisions; both have the same
 * functions, and begin() fails if the other chip is fitted. */
#pragma once

#include <Arduino.h>

class VirtualImu {
public:
  explicit VirtualImu(unsigned int chip) : chip_(chip) {}
  int begin();
  void end() {}
  void setContinuousMode() {}
  void setOneShotMode() {}

  int accelerationAvailable();
  int readAcceleration(float &x, float &y, float &z); /* g */
  float accelerationSampleRate();                     /* Hz */
  int gyroscopeAvailable();
  int readGyroscope(float &x, float &y, float &z); /* degrees/s */
  float gyroscopeSampleRate();

private:
  unsigned int chip_;
};
