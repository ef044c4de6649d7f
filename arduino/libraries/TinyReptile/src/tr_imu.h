/* A reading of the motion sensor, from either library's IMU.
 *
 *     float x[6];
 *     if (tr_imu_read(IMU, x)) ...
 *
 * Both flags are remembered. Arduino_BMI270_BMM150 reads, and so clears, the chip's flags with every
 * question, and forgets those that it was not asked for; `accelerationAvailable() &&
 * gyroscopeAvailable()` may then never be true if the two come at different times.
 */
#ifndef TR_IMU_H
#define TR_IMU_H

#include <math.h>

/* Whether there is a new reading since the last one. If so, x holds acceleration x, y, z in g and
 * rotation rate x, y, z in degrees per second; six NaN if it failed. */
template <class Imu>
bool tr_imu_read(Imu &imu, float *x) {
  static bool acceleration = false, rotation = false;
  if (imu.accelerationAvailable()) acceleration = true;
  if (imu.gyroscopeAvailable()) rotation = true;
  if (!acceleration || !rotation) return false;
  acceleration = rotation = false;
  const bool ok = imu.readAcceleration(x[0], x[1], x[2]) && imu.readGyroscope(x[3], x[4], x[5]);
  for (int i = 0; i < 6 && !ok; i++) x[i] = NAN;
  return true;
}

#endif
