/* The flash of the Nano 33 BLE as a place for tr_store.h: 20 pages near its end. For sketches, C++.
 *
 *     if (const char *refusal = tr_flash_refusal()) Serial.println(refusal);
 *     else kept = tr_store_find(&tr_flash_pages, network, PHI_WEIGHTS, user, &status);
 *
 * Two slots of 10 pages hold networks of up to 10,223 weights. An upload erases only what the new
 * sketch covers, so the pages outlive it. They lie above any sketch of 876 KB or less, above the
 * boot loader at 0xE0000 that a board gets for OpenMV and MicroPython, and below the page at
 * 0xFF000 in which that boot loader looks for orders.
 */
#ifndef TR_FLASH_H
#define TR_FLASH_H

#include <FlashIAP.h>

#if __has_include(<nrf.h>)
#include <nrf.h>
#endif

#include "tr_store.h"

enum : uint32_t { TR_FLASH_START = 0xEB000, TR_FLASH_BYTES = 0x14000, TR_FLASH_PAGE = 4096 };

inline mbed::FlashIAP &tr_flash_driver() {
  static mbed::FlashIAP driver;
  static const int begun = driver.init();
  (void)begun;
  return driver;
}

inline int tr_flash_erase(void *, uint32_t address) {
  return tr_flash_driver().erase(TR_FLASH_START + address, TR_FLASH_PAGE);
}

inline int tr_flash_program(void *, uint32_t address, const void *words, uint32_t bytes) {
  return tr_flash_driver().program(words, TR_FLASH_START + address, bytes);
}

static const tr_flash tr_flash_pages = {(const uint8_t *)TR_FLASH_START, TR_FLASH_BYTES,
                                        TR_FLASH_PAGE, nullptr, tr_flash_erase, tr_flash_program};

/* Why the pages must not be used, one sentence, or NULL. */
inline const char *tr_flash_refusal() {
  if (FLASHIAP_APP_ROM_END_ADDR > TR_FLASH_START) {
    return "nothing can be kept: the sketch is so large that it covers the pages for it";
  }
#ifdef NRF_UICR
  const uint32_t loader = NRF_UICR->NRFFW[0];  // a boot loader's address, if it is not at 0
  if (loader != 0xFFFFFFFF && loader != 0 && loader != 0xE0000) {
    return "nothing can be kept: this boot loader may use the pages for it";
  }
#endif
  return nullptr;
}

#endif
