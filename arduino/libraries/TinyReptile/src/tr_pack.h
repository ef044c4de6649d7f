/* Packed changes: what a board sends when it does not send all its weights.
 *
 * docs/wire-format.md is the specification; tinyreptile_lite/packing.py is the same in Python. A
 * board that shall send how its weights changed must know what they were. It keeps phi in float16,
 * half as large as the weights, and the packed changes take phi's place when the visit is over: no
 * other buffer is needed. With error feedback, what was not sent is kept in floats.
 *
 *     static uint32_t room[TR_PACK_WORDS(1153)];
 *     uint16_t *phi = tr_pack_phi(room, 1153);          // fill it, and the weights with the same
 *     ... learn ...
 *     const tr_packing packing = {8, 288, 1153, seed, NULL};
 *     size = tr_pack(room, weights, 1153, &packing);    // the bytes are at room
 */
#ifndef TR_PACK_H
#define TR_PACK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TR_PACK_MAX_WEIGHTS 65535
/* While the changes are packed, what is written must never overtake what is still to be read. So phi
 * begins some bytes behind the start: enough for the header and for the positions. */
#define TR_PACK_SLACK(weights) (((weights) / 8 + (weights) / 64 + 24) & ~3u)
#define TR_PACK_WORDS(weights) ((TR_PACK_SLACK(weights) + 2 * (weights) + 3) / 4)

typedef struct {
    uint8_t bits;    /* of each change: 8 or 16 */
    uint32_t count;  /* of changes to send, the largest; at most `limit`, which sends all */
    uint32_t limit;  /* only changes of the first so many weights are sent */
    uint32_t seed;   /* of the rounding to 8 bits */
    float *kept;     /* (limit) what was not sent so far, for error feedback; or NULL */
} tr_packing;

/* A float16 as a float, and a float as the nearest float16; what lies beyond them is cut to
 * +-65,504. NaN is not for these. */
float tr_from_half(uint16_t half);
uint16_t tr_to_half(float value);

/* Where phi in float16 (weights) has its place in a room of TR_PACK_WORDS(weights) words. */
uint16_t *tr_pack_phi(uint32_t *room, size_t weights);

/* Pack how the weights differ from phi into the beginning of the room; phi is lost. Returns the
 * number of bytes, or 0 if there are no such bits, too many weights or changes, or no weights. */
size_t tr_pack(uint32_t *room, const float *weights, size_t weight_count, const tr_packing *packing);

/* Add packed changes to target (size). Returns 1, or 0 if tr_pack never made these bytes: then the
 * target is as it was. */
int tr_unpack(float *target, size_t size, const uint8_t *bytes, size_t byte_count);

#ifdef __cplusplus
}
#endif

#endif
