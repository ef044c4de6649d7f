#include <FlashIAP.h>
#include <board_registers.h>
#include <string.h>

int mbed::FlashIAP::read(void *buffer, uint32_t address, uint32_t size) {
  if (address > get_flash_size() || size > get_flash_size() - address) return -1;
  memcpy(buffer, (const void *)address, size);
  return 0;
}

int mbed::FlashIAP::program(const void *buffer, uint32_t address, uint32_t size) {
  REG_FLASH_ADDRESS = address;
  REG_FLASH_SOURCE = (uint32_t)buffer;
  REG_FLASH_PROGRAM = size;
  return REG_FLASH_DONE ? 0 : -1;
}

int mbed::FlashIAP::erase(uint32_t address, uint32_t size) {
  const uint32_t end = address + size;
  if (end % get_sector_size(address)) return -1;
  for (; address < end; address += get_sector_size(address)) {
    REG_FLASH_ERASE = address;
    if (!REG_FLASH_DONE) return -1;
  }
  return 0;
}
