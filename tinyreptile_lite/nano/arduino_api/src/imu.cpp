#include <Arduino_BMI270_BMM150.h>
#include <Arduino_LSM9DS1.h>
#include <board_registers.h>

VirtualImu IMU_LSM9DS1(IMU_CHIP_LSM9DS1);
VirtualImu IMU_BMI270_BMM150(IMU_CHIP_BMI270);

static float as_float(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

/* Like the real libraries: NaN and 0 if the reading failed. */
static int latched(float &x, float &y, float &z) {
  x = as_float(REG_IMU_X);
  y = as_float(REG_IMU_Y);
  z = as_float(REG_IMU_Z);
  return !(isnan(x) || isnan(y) || isnan(z));
}

int VirtualImu::begin() {
  REG_IMU_BEGIN = chip_;
  return (int)REG_IMU_PRESENT;
}

int VirtualImu::accelerationAvailable() { return (int)REG_IMU_NEW_ACCELERATION; }
int VirtualImu::gyroscopeAvailable() { return (int)REG_IMU_NEW_ROTATION; }
float VirtualImu::accelerationSampleRate() { return as_float(REG_IMU_RATE); }
float VirtualImu::gyroscopeSampleRate() { return as_float(REG_IMU_RATE); }

int VirtualImu::readAcceleration(float &x, float &y, float &z) {
  REG_IMU_READ_ACCELERATION = 1;
  return latched(x, y, z);
}

int VirtualImu::readGyroscope(float &x, float &y, float &z) {
  REG_IMU_READ_ROTATION = 1;
  return latched(x, y, z);
}
