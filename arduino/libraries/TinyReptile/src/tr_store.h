/* Weights that outlive a reset: records in flash, in portable C99.
 *
 * Two slots of equal size are used in turn. The last word of a record's header is written last: only
 * then does the record count. So if power fails at any moment, the record before it is still there.
 *
 *     tr_store_status status;
 *     const float *kept = tr_store_find(&flash, network, PHI_WEIGHTS, user, &status);
 *     tr_reset(&model, kept ? kept : phi);
 *     Serial.println(tr_store_text(status));
 *     ...
 *     status = tr_store_keep(&flash, network, weights, PHI_WEIGHTS, user);
 *
 * Flash has rules: erasing sets a whole page to 0xFF, programming only clears bits, whole words. A
 * page of the nRF52840 may be erased 10,000 times, which takes 85 ms, a word 41 microseconds; the
 * processor stands still meanwhile. So do not keep after each step, but when a lesson is over.
 * tr_flash.h gives a sketch the flash of the Nano 33 BLE.
 */
#ifndef TR_STORE_H
#define TR_STORE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Memory that stays. Addresses count from its beginning. */
typedef struct {
    const uint8_t *memory; /* where it can be read, aligned to 4 bytes */
    uint32_t size, page;   /* bytes; each slot is half of the size, rounded down to whole pages */
    void *context;         /* passed to the functions; both return 0 if it worked */
    int (*erase)(void *context, uint32_t address); /* one page */
    int (*program)(void *context, uint32_t address, const void *words, uint32_t bytes);
} tr_flash;

typedef enum {
    TR_STORE_OK = 0,
    TR_STORE_ONE_LEFT, /* one of two records is damaged; the other one was taken */
    TR_STORE_EMPTY,
    TR_STORE_NETWORK,  /* what is stored belongs to another network */
    TR_STORE_CRC,      /* ... is damaged */
    TR_STORE_FORMAT,   /* ... was written by another version of this file */
    TR_STORE_SIZE,     /* the weights do not fit into a slot */
    TR_STORE_FAILED    /* the flash did not take what was written; the last good record stays */
} tr_store_status;

#define TR_STORE_USER 32   /* bytes of the sketch's own, kept along with the weights */
#define TR_STORE_HEADER 68 /* bytes in front of the weights */

/* One short English line for a status; never NULL. */
const char *tr_store_text(tr_store_status status);

/* The newest sound record of a network (its id has 8 bytes): the weights (count), where they lie in
 * flash, or NULL. With weights, `status` is TR_STORE_OK or _ONE_LEFT, and `user` (TR_STORE_USER, or
 * NULL) is filled; else it is _EMPTY, _NETWORK, _CRC, _FORMAT or _SIZE, and `user` is untouched. */
const float *tr_store_find(const tr_flash *flash, const uint8_t *network, uint32_t count,
                           uint8_t *user, tr_store_status *status);

/* Write a record into the slot that does not hold the newest sound one; with none, into the first
 * that takes it. `user` may be NULL: zeros.
 * TR_STORE_SIZE: nothing was touched. TR_STORE_FAILED: the record before is still there. */
tr_store_status tr_store_keep(const tr_flash *flash, const uint8_t *network, const float *weights,
                              uint32_t count, const uint8_t *user);

/* Erase all records, the older one first, whatever network they belong to. */
tr_store_status tr_store_forget(const tr_flash *flash);

#ifdef __cplusplus
}
#endif

#endif
