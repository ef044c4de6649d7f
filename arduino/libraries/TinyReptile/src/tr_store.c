/* Records of weights in flash: see tr_store.h. */
#include "tr_store.h"

#include <stddef.h>
#include <string.h>

#include "tr_wire.h" /* tr_crc32 */

#define MAGIC 0x31535254u  /* "TRS1" */
#define FORMAT 1u
#define MARK 0x600d600du   /* written last */

/* What lies in front of the weights. All fields are words or bytes, so there are no gaps. */
typedef struct {
    uint32_t magic, format;
    uint8_t network[8];
    uint32_t sequence;     /* one more than that of the record before */
    uint32_t count;        /* weights */
    uint32_t weights_crc;
    uint8_t user[TR_STORE_USER];
    uint32_t header_crc;   /* of all that stands above */
    uint32_t mark;
} header;

typedef char header_has_no_gaps[sizeof(header) == TR_STORE_HEADER ? 1 : -1];
#define CHECKED ((uint32_t)offsetof(header, header_crc))
#define UNMARKED ((uint32_t)offsetof(header, mark))

const char *tr_store_text(tr_store_status status)
{
    switch (status) {
    case TR_STORE_OK: return "ok";
    case TR_STORE_ONE_LEFT: return "one of two stored records is damaged; the other one is used";
    case TR_STORE_EMPTY: return "nothing is stored";
    case TR_STORE_NETWORK: return "the stored weights belong to another network";
    case TR_STORE_CRC: return "the stored weights are damaged: wrong CRC";
    case TR_STORE_FORMAT: return "the stored weights have another format";
    case TR_STORE_SIZE: return "the weights are too large to be stored";
    case TR_STORE_FAILED: return "the flash could not be written; the last good weights stay";
    }
    return "unknown status";
}

static uint32_t slot_size(const tr_flash *flash)
{
    return flash->size / 2 / flash->page * flash->page;
}

static int fits(const tr_flash *flash, uint32_t count)
{
    const uint32_t slot = slot_size(flash);
    return slot > TR_STORE_HEADER && count > 0 && count <= (slot - TR_STORE_HEADER) / 4;
}

static const uint8_t *slot_at(const tr_flash *flash, int slot)
{
    return flash->memory + (uint32_t)slot * slot_size(flash);
}

/* Judge one slot, and copy its header. */
static tr_store_status check(header *record, const tr_flash *flash, int slot,
                             const uint8_t *network, uint32_t count)
{
    const uint8_t *from = slot_at(flash, slot);
    memcpy(record, from, sizeof *record);
    if (record->magic != MAGIC || record->mark != MARK) {
        return TR_STORE_EMPTY; /* or power failed before the record was complete */
    }
    if (record->format != FORMAT) {
        return TR_STORE_FORMAT;
    }
    if (tr_crc32(0, record, CHECKED) != record->header_crc) {
        return TR_STORE_CRC;
    }
    if (memcmp(record->network, network, sizeof record->network) != 0 || record->count != count) {
        return TR_STORE_NETWORK;
    }
    return tr_crc32(0, from + sizeof *record, 4 * count) == record->weights_crc ? TR_STORE_OK
                                                                              : TR_STORE_CRC;
}

/* The slot with the newest sound record, or -1. */
static int newest(header *record, tr_store_status *status, const tr_flash *flash,
                  const uint8_t *network, uint32_t count)
{
    header found[2];
    tr_store_status said[2];
    for (int slot = 0; slot < 2; slot++) {
        said[slot] = check(&found[slot], flash, slot, network, count);
    }
    const int both = said[0] == TR_STORE_OK && said[1] == TR_STORE_OK;
    const int second = both ? (int32_t)(found[1].sequence - found[0].sequence) > 0
                            : said[1] == TR_STORE_OK;
    const int damaged = said[0] == TR_STORE_CRC || said[1] == TR_STORE_CRC;
    if (said[second] == TR_STORE_OK) {
        *status = damaged ? TR_STORE_ONE_LEFT : TR_STORE_OK;
        *record = found[second];
        return second;
    }
    *status = damaged ? TR_STORE_CRC : said[0] == TR_STORE_EMPTY ? said[1] : said[0];
    return -1;
}

const float *tr_store_find(const tr_flash *flash, const uint8_t *network, uint32_t count,
                           uint8_t *user, tr_store_status *status)
{
    header record;
    if (!fits(flash, count)) {
        *status = TR_STORE_SIZE;
        return NULL;
    }
    const int slot = newest(&record, status, flash, network, count);
    if (slot < 0) {
        return NULL;
    }
    if (user) {
        memcpy(user, record.user, sizeof record.user);
    }
    return (const float *)(const void *)(slot_at(flash, slot) + sizeof record);
}

static int erase(const tr_flash *flash, uint32_t from, uint32_t bytes)
{
    for (uint32_t at = 0; at < bytes; at += flash->page) {
        if (flash->erase(flash->context, from + at) != 0) {
            return 0;
        }
    }
    return 1;
}

/* Write a record into a slot. Returns 1 if it is sound then. */
static int write(const tr_flash *flash, int slot, const header *record, const float *weights)
{
    header again;
    const uint32_t at = (uint32_t)slot * slot_size(flash), bytes = 4 * record->count;
    return erase(flash, at, TR_STORE_HEADER + bytes)
           && flash->program(flash->context, at + TR_STORE_HEADER, weights, bytes) == 0
           && flash->program(flash->context, at, record, UNMARKED) == 0
           && memcmp(slot_at(flash, slot), record, UNMARKED) == 0
           && memcmp(slot_at(flash, slot) + TR_STORE_HEADER, weights, bytes) == 0
           && flash->program(flash->context, at + UNMARKED, &record->mark, sizeof record->mark) == 0
           && check(&again, flash, slot, record->network, record->count) == TR_STORE_OK;
}

tr_store_status tr_store_keep(const tr_flash *flash, const uint8_t *network, const float *weights,
                              uint32_t count, const uint8_t *user)
{
    header record;
    tr_store_status status;
    if (!fits(flash, count)) {
        return TR_STORE_SIZE;
    }
    const int last = newest(&record, &status, flash, network, count);
    const uint32_t sequence = last < 0 ? 0 : record.sequence + 1;
    memset(&record, 0, sizeof record);
    record.magic = MAGIC;
    record.format = FORMAT;
    memcpy(record.network, network, sizeof record.network);
    record.sequence = sequence;
    record.count = count;
    record.weights_crc = tr_crc32(0, weights, 4 * count);
    if (user) {
        memcpy(record.user, user, sizeof record.user);
    }
    record.header_crc = tr_crc32(0, &record, CHECKED);
    record.mark = MARK;
    const int written = write(flash, last == 0, &record, weights)
                        || (last < 0 && write(flash, 1, &record, weights)); /* 0 is worn out */
    return written ? TR_STORE_OK : TR_STORE_FAILED;
}

static int is_blank(const uint8_t *bytes, uint32_t size)
{
    while (size > 0 && *bytes == 0xff) {
        bytes++;
        size--;
    }
    return size == 0;
}

tr_store_status tr_store_forget(const tr_flash *flash)
{
    const uint32_t slot = slot_size(flash);
    header record[2];
    for (int i = 0; i < 2; i++) {
        memcpy(&record[i], slot_at(flash, i), sizeof record[i]);
    }
    const int first = (int32_t)(record[1].sequence - record[0].sequence) < 0;
    for (int i = 0; i < 2; i++) {
        const uint32_t begin = (uint32_t)(first ^ i) * slot;
        for (uint32_t at = begin; at < begin + slot; at += flash->page) {
            if (!is_blank(flash->memory + at, flash->page) && !erase(flash, at, flash->page)) {
                return TR_STORE_FAILED;
            }
        }
    }
    return TR_STORE_OK;
}
