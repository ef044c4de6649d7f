#pragma once

#include "virtual_imu.h"

extern VirtualImu IMU_BMI270_BMM150;
#undef IMU
#define IMU IMU_BMI270_BMM150
