/* The flash memory of the virtual board, as Mbed OS lets a sketch write to it: erase whole pages,
 * program whole words. Functions that can fail return 0 if they did not, else -1. */
#pragma once

#include <stdint.h>

/* Where the sketch ends in flash: its code, then the start values of its variables. */
extern "C" uint32_t __data_source, __data_start, __data_end;
#define FLASHIAP_APP_ROM_END_ADDR \
  ((uint32_t)&__data_source + ((uint32_t)&__data_end - (uint32_t)&__data_start))

namespace mbed {

class FlashIAP {
public:
  int init() { return 0; }
  int deinit() { return 0; }
  int read(void *buffer, uint32_t address, uint32_t size);
  int program(const void *buffer, uint32_t address, uint32_t size);
  int erase(uint32_t address, uint32_t size);
  uint32_t get_sector_size(uint32_t) const { return 4096; }
  uint32_t get_flash_start() const { return 0; }
  uint32_t get_flash_size() const { return 0x100000; }
  uint32_t get_page_size() const { return 4; }
  uint8_t get_erase_value() const { return 0xFF; }
};

}  // namespace mbed
