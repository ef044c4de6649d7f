#pragma once

#include "virtual_imu.h"

extern VirtualImu IMU_LSM9DS1;
#undef IMU
#define IMU IMU_LSM9DS1
