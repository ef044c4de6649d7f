// Umbrella header for sketches: #include <TinyReptile.h>
#ifndef TINYREPTILE_ARDUINO_H
#define TINYREPTILE_ARDUINO_H

#include "tinyreptile_core.h"

#endif
