/* Packed changes: see tr_pack.h. */
#include "tr_pack.h"

#include <string.h>

/* As in tinyreptile_core.c. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("fp-contract=off")
#ifndef TR_PLAIN_OPTIONS
#pragma GCC optimize("O2")
#endif
#else
#pragma STDC FP_CONTRACT OFF
#endif

#if defined(__GNUC__)
#define TR_INLINE inline __attribute__((always_inline))
#define TR_OUTLINE __attribute__((noinline)) /* so that its loop has all registers */
#define AS_IT_IS __asm__ volatile("") /* stands where the compiler shall keep a jump or a loop */
#define AT_WORD(pointer) __builtin_assume_aligned(pointer, 4)
#define COPY __builtin_memcpy /* no call, whatever the compiler was told of the C library */
#else
#define TR_INLINE inline
#define TR_OUTLINE
#define AS_IT_IS (void)0
#define AT_WORD(pointer) (pointer)
#define COPY memcpy
#endif

#define BLOCK 64     /* changes that share a scale */
#define HEADER 6     /* bits, shift, count */
#define DENSE 255    /* instead of a shift: all changes, no distances */
#define MAX_SHIFT 6
#define LARGEST 127.0f
#define HALF_MAX_BITS 0x477fe000u /* of the float 65,504 */
#define INFINITE 0x7c00u          /* a size of float16 */
#define BUCKET_BITS 7             /* of the 15 of a size; the other 8 choose one of 256 buckets */
#define BUCKETS 256
#define FINEST 127u               /* largest number of those bits */

/* ---- Numbers --------------------------------------------------------------------------------- */

static uint32_t bits_of(float value)
{
    uint32_t bits;
    COPY(&bits, &value, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float value;
    COPY(&value, &bits, sizeof value);
    return value;
}

/* Two float16 lie in a word, the first in its lower half. What is beyond them becomes infinite. */
#if defined(__ARM_ARCH_7EM__) && defined(__ARM_FP) && !defined(TR_PLAIN)
/* The Cortex-M4 converts by itself: one instruction each, and the same bits as below. */
static TR_INLINE float from_half(uint32_t half)
{
    float value;
    __asm__("vmov %0, %1\n\tvcvtb.f32.f16 %0, %0" : "=t"(value) : "r"(half));
    return value;
}

static TR_INLINE void from_halves(uint32_t pair, float *first, float *second)
{
    float both;
    __asm__("vmov %0, %1" : "=t"(both) : "r"(pair));
    __asm__("vcvtb.f32.f16 %0, %1" : "=t"(*first) : "t"(both));
    __asm__("vcvtt.f32.f16 %0, %1" : "=t"(*second) : "t"(both));
}

static TR_INLINE uint32_t to_halves(float first, float second)
{
    uint32_t pair;
    __asm__("vcvtb.f16.f32 %1, %1\n\tvcvtt.f16.f32 %1, %2\n\tvmov %0, %1"
            : "=r"(pair), "+&t"(first)
            : "t"(second));
    return pair;
}
#else
static TR_INLINE float from_half(uint32_t half)
{
    const uint32_t size = half & 0x7fffu;
    /* The exponent is 112 too low; by a multiplication that is right for subnormal numbers too. */
    const float scaled = float_of(size << 13) * 5.192296858534828e33f; /* 2^112 */
    return half & 0x8000u ? -scaled : scaled;
}

static TR_INLINE uint32_t nearest(float value)
{
    const uint32_t sign = bits_of(value) >> 16 & 0x8000u;
    uint32_t size = bits_of(value) & 0x7fffffffu;
    if (size > HALF_MAX_BITS) {
        return sign | INFINITE;
    }
    if (size < 0x38800000u) { /* below 2^-14 the steps are 2^-24, as those of floats from 0.5 on */
        return sign | (bits_of(float_of(size) + 0.5f) - bits_of(0.5f));
    }
    size += 0xfffu + (size >> 13 & 1); /* to the nearest, of two to the even one */
    return sign | ((size >> 13) - (112u << 10));
}

static TR_INLINE void from_halves(uint32_t pair, float *first, float *second)
{
    *first = from_half(pair & 0xffffu);
    *second = from_half(pair >> 16);
}

static TR_INLINE uint32_t to_halves(float first, float second)
{
    return nearest(first) | nearest(second) << 16;
}
#endif

static TR_INLINE uint32_t to_half(float value)
{
    const uint32_t half = to_halves(value, 0.0f);
    return half - ((half & 0x7fffu) == INFINITE); /* cut */
}

static TR_INLINE uint32_t pair_at(const uint16_t *halves)
{
    uint32_t pair;
    COPY(&pair, AT_WORD(halves), sizeof pair);
    return pair;
}

float tr_from_half(uint16_t half)
{
    return from_half(half);
}

uint16_t tr_to_half(float value)
{
    return (uint16_t)to_half(value);
}

/* 0 to below 1, for each position of a seed: the last steps of MurmurHash3. */
static TR_INLINE float dice(uint32_t seed, uint32_t at)
{
    uint32_t x = seed ^ at * 0x9e3779b9u;
    x ^= x >> 16;
    x *= 0x85ebca6bu;
    x ^= x >> 13;
    x *= 0xc2b2ae35u;
    x ^= x >> 16;
    return (float)(x >> 8) * (1.0f / 16777216.0f);
}

/* ---- Selection ------------------------------------------------------------------------------- */

/* What is sent: all sizes above `last`, and of those equal to it the first `ties`. */
typedef struct {
    uint32_t count, last, ties;
} choice;

static TR_INLINE uint32_t bucket_of(uint32_t half)
{
    return half >> BUCKET_BITS & (BUCKETS - 1);
}

/* Four at a time; the memset of small C libraries takes byte after byte. */
static void clear(uint16_t *buckets, size_t count)
{
    for (size_t i = 0; i < count; i += 4) {
        buckets[i] = buckets[i + 1] = buckets[i + 2] = buckets[i + 3] = 0;
        AS_IT_IS;
    }
}

/* Cut what is beyond float16 to its largest number. */
static void cut_infinite(uint16_t *changes, uint16_t *buckets, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if ((changes[i] & 0x7fffu) == INFINITE) {
            changes[i]--;
            buckets[bucket_of(INFINITE)]--;
            buckets[bucket_of(INFINITE - 1)]++;
        }
    }
}

/* Put two changes, or the last one alone, in float16 in the place of phi; count their sizes. */
static TR_INLINE void note_two(uint16_t *phi, uint16_t *buckets, float first, float second)
{
    const uint32_t pair = to_halves(first, second);
    COPY(AT_WORD(phi), &pair, sizeof pair);
    buckets[bucket_of(pair)]++;
    buckets[bucket_of(pair >> 16)]++;
}

static TR_INLINE void note_one(uint16_t *phi, uint16_t *buckets, float change)
{
    *phi = (uint16_t)to_half(change);
    buckets[bucket_of(*phi)]++;
}

static TR_OUTLINE void find_changes(uint16_t *phi, uint16_t *buckets, const float *weights,
                                    size_t count)
{
    for (const uint16_t *end = phi + (count & ~(size_t)1); phi < end; phi += 2, weights += 2) {
        float first, second;
        from_halves(pair_at(phi), &first, &second);
        note_two(phi, buckets, weights[0] - first, weights[1] - second);
    }
    if (count & 1) {
        note_one(phi, buckets, weights[0] - from_half(*phi));
    }
}

/* The same with what was not sent: it is in `kept`, and so are the changes afterwards. */
static TR_OUTLINE void find_with_kept(uint16_t *phi, uint16_t *buckets, const float *weights,
                                      float *kept, size_t count)
{
    const uint16_t *end = phi + (count & ~(size_t)1);
    for (; phi < end; phi += 2, weights += 2, kept += 2) {
        float first, second;
        from_halves(pair_at(phi), &first, &second);
        kept[0] = weights[0] - first + kept[0];
        kept[1] = weights[1] - second + kept[1];
        note_two(phi, buckets, kept[0], kept[1]);
    }
    if (count & 1) {
        kept[0] = weights[0] - from_half(*phi) + kept[0];
        note_one(phi, buckets, kept[0]);
    }
}

/* From the last bucket down: the one in which the wanted number is reached; `wanted` becomes how many
 * are to be taken of that one. */
static uint32_t reached(const uint16_t *buckets, uint32_t from, uint32_t *wanted)
{
    uint32_t at = from;
    while (at > 0 && buckets[at] < *wanted) {
        *wanted -= buckets[at--];
    }
    return at;
}

/* Count the sizes of one bucket. */
static TR_OUTLINE void count_finely(uint16_t *fine, const uint16_t *changes, size_t count,
                                    uint32_t bucket)
{
    for (const uint16_t *end = changes + (count & ~(size_t)1); changes < end; changes += 2) {
        const uint32_t pair = pair_at(changes);
        if (bucket_of(pair) == bucket) {
            AS_IT_IS;
            fine[pair & FINEST]++;
        }
        if (bucket_of(pair >> 16) == bucket) {
            AS_IT_IS;
            fine[pair >> 16 & FINEST]++;
        }
    }
    if (count & 1 && bucket_of(*changes) == bucket) {
        fine[*changes & FINEST]++;
    }
}

static choice choose(const uint16_t *changes, uint16_t *buckets, uint32_t wanted, size_t limit)
{
    uint32_t left = wanted;
    const uint32_t bucket = reached(buckets, BUCKETS - 1, &left);
    clear(buckets, FINEST + 1); /* they are not needed any more */
    count_finely(buckets, changes, limit, bucket);
    const uint32_t at = reached(buckets, FINEST, &left);
    choice chosen = {wanted, bucket << BUCKET_BITS | at, left};
    if (chosen.last == 0) { /* zeros are never sent */
        chosen.count -= left;
        chosen.ties = 0;
    }
    return chosen;
}

/* ---- Bytes ----------------------------------------------------------------------------------- */

static uint8_t *put32(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        *to++ = (uint8_t)(value >> 8 * i);
    }
    return to;
}

static uint32_t get32(const uint8_t *from)
{
    return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16
           | (uint32_t)from[3] << 24;
}

static uint8_t rice_shift(uint32_t size, uint32_t count)
{
    uint8_t shift = 0;
    while (shift < MAX_SHIFT && 10 * ((uint64_t)count << (shift + 1)) <= 7 * (uint64_t)(size - count)) {
        shift++;
    }
    return shift;
}

/* Changes that are sent together. */
typedef struct {
    uint16_t at[BLOCK], half[BLOCK];
    uint32_t count, largest; /* size */
    uint32_t next;           /* position behind the change before them */
} block;

/* Ones, a zero and the low bits of each gap; the lowest bit of a byte first. */
static TR_OUTLINE uint8_t *put_gaps(uint8_t *to, const block *some, uint32_t shift)
{
    const uint32_t low = (1u << shift) - 1;
    uint32_t bits = 0, filled = 0;
    uint32_t next = some->next;
    for (const uint16_t *at = some->at, *end = at + some->count; at < end; at++) {
        const uint32_t gap = *at - next;
        uint32_t ones = gap >> shift;
        next = *at + 1u;
        for (; ones > 16; ones -= 8) { /* eight at a time, until the others fit into the word */
            *to++ = (uint8_t)(bits | 0xffu << filled);
            bits = 0xffu >> (8 - filled);
        }
        bits |= ((((gap & low) << 1 | 1u) << ones) - 1) << filled;
        for (filled += ones + 1 + shift; filled >= 8; filled -= 8, bits >>= 8) {
            *to++ = (uint8_t)bits;
        }
    }
    if (filled > 0) {
        *to++ = (uint8_t)bits;
    }
    return to;
}

static TR_OUTLINE uint8_t *put_halves(uint8_t *to, const block *some, const tr_packing *packing)
{
    for (uint32_t i = 0; i < some->count; i++) {
        *to++ = (uint8_t)some->half[i];
        *to++ = (uint8_t)(some->half[i] >> 8);
        if (packing->kept) {
            packing->kept[some->at[i]] -= from_half(some->half[i]);
        }
    }
    return to;
}

/* Round down after adding 0 to below 1 by chance: the mean is right. */
static TR_OUTLINE uint8_t *put_steps(uint8_t *to, const block *some, const tr_packing *packing, float largest)
{
    const float inverse = LARGEST / largest, scale = largest / LARGEST;
    const uint32_t count = some->count, seed = packing->seed;
    float *kept = packing->kept;
    for (uint32_t i = 0; i < count; i++) {
        const float value = from_half(some->half[i]) * inverse + dice(seed, some->at[i]);
        int32_t step = (int32_t)value;
        if ((float)step > value) {
            step--;
        }
        if ((uint32_t)(step + 127) > 254) {
            AS_IT_IS;
            step = step > 0 ? 127 : -127;
        }
        *to++ = (uint8_t)step;
        if (kept) {
            kept[some->at[i]] -= scale * (float)step;
        }
    }
    return to;
}

static uint8_t *put_block(uint8_t *to, const block *some, const tr_packing *packing, uint32_t shift)
{
    const float largest = some->largest > 0 ? from_half(some->largest) : LARGEST; /* all zeros */
    if (packing->bits == 8) {
        to = put32(to, bits_of(largest / LARGEST));
    }
    if (shift != DENSE) {
        to = put_gaps(to, some, shift);
    }
    return packing->bits == 8 ? put_steps(to, some, packing, largest)
                              : put_halves(to, some, packing);
}

/* Where the changes are read. */
typedef struct {
    const uint16_t *changes, *at; /* all of them, and those behind the last one that is sent */
    uint32_t left;                /* so many are still to be sent: they are there */
    uint32_t least, last, ties;
} position;

/* Fill a block with the changes that come next. */
static TR_OUTLINE void fill(block *some, position *now)
{
    const uint16_t *const changes = now->changes, *at = now->at;
    const uint32_t last = now->last, count = now->left < BLOCK ? now->left : BLOCK;
    uint32_t least = now->least, largest = 0;
    some->next = (uint32_t)(at - changes);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t half;
        do {
            half = *at++;
        } while ((half & 0x7fffu) < least);
        some->half[i] = (uint16_t)half;
        some->at[i] = (uint16_t)(at - changes - 1);
        half &= 0x7fffu;
        if (half == last && --now->ties == 0) {
            AS_IT_IS;
            least++;
        }
        largest = half > largest ? half : largest;
    }
    now->at = at;
    now->left -= count;
    now->least = least;
    some->count = count;
    some->largest = largest;
}

/* Everything behind the header. */
static uint8_t *put_blocks(uint8_t *to, const uint16_t *changes, const tr_packing *packing,
                           choice chosen, uint32_t shift)
{
    block some;
    position now = {changes, changes, chosen.count, chosen.last + (chosen.ties == 0), chosen.last,
                    chosen.ties};
    while (now.left > 0) {
        fill(&some, &now);
        to = put_block(to, &some, packing, shift);
    }
    return to;
}

uint16_t *tr_pack_phi(uint32_t *room, size_t weights)
{
    return (uint16_t *)(void *)((uint8_t *)room + TR_PACK_SLACK(weights));
}

size_t tr_pack(uint32_t *room, const float *weights, size_t weight_count, const tr_packing *packing)
{
    uint16_t buckets[BUCKETS];
    uint8_t *start = (uint8_t *)room, *to = start;
    if (!room || !weights || !packing || weight_count > TR_PACK_MAX_WEIGHTS
        || packing->limit > weight_count || packing->count > packing->limit || packing->count == 0
        || (packing->bits != 8 && packing->bits != 16)) {
        return 0;
    }
    uint16_t *changes = tr_pack_phi(room, weight_count);
    const int dense = packing->count == packing->limit;
    clear(buckets, BUCKETS);
    if (packing->kept) {
        find_with_kept(changes, buckets, weights, packing->kept, packing->limit);
    } else {
        find_changes(changes, buckets, weights, packing->limit);
    }
    if (buckets[bucket_of(INFINITE)] > 0) {
        cut_infinite(changes, buckets, packing->limit);
    }
    choice chosen = {packing->limit, 0, packing->limit + 1}; /* zeros too */
    if (!dense) {
        chosen = choose(changes, buckets, packing->count, packing->limit);
    }
    const uint8_t shift = dense ? DENSE : rice_shift(packing->limit, chosen.count);
    *to++ = packing->bits;
    *to++ = shift;
    to = put32(to, chosen.count);
    return (size_t)(put_blocks(to, changes, packing, chosen, shift) - start);
}

/* ---- Reading --------------------------------------------------------------------------------- */

typedef struct {
    const uint8_t *at, *end;
    uint32_t bit; /* of *at */
} reader;

/* The next bit, or -1 behind the end. */
static int next_bit(reader *from)
{
    if (from->at == from->end) {
        return -1;
    }
    const int bit = *from->at >> from->bit & 1;
    from->bit = (from->bit + 1) & 7;
    from->at += from->bit == 0;
    return bit;
}

/* A distance of at most `most`, or -1. */
static int32_t read_gap(reader *from, uint32_t shift, uint32_t most)
{
    uint32_t gap = 0;
    int bit = next_bit(from);
    for (; bit == 1 && gap <= most; bit = next_bit(from)) {
        gap += 1u << shift;
    }
    for (uint32_t i = 0; i < shift && bit >= 0; i++) {
        bit = next_bit(from);
        gap |= (uint32_t)bit << i;
    }
    return bit < 0 || gap > most ? -1 : (int32_t)gap;
}

/* The rest of a byte holds no bits. */
static int skip_to_byte(reader *from)
{
    while (from->bit != 0) {
        if (next_bit(from) != 0) {
            return 0;
        }
    }
    return 1;
}

/* One block of changes, the first at `next` or later. Returns where the next one may be, or -1. */
static int64_t read_block(reader *from, float *target, uint32_t size, uint32_t next, uint32_t count,
                          const uint8_t *header)
{
    uint16_t at[BLOCK];
    float scale = 1.0f;
    const uint32_t bytes = header[0] / 8;
    if (header[0] == 8) {
        if (from->end - from->at < 4) {
            return -1;
        }
        scale = float_of(get32(from->at));
        from->at += 4;
        if (!(scale >= 1e-12f && scale <= 65504.0f)) {
            return -1;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        const int32_t gap = header[1] == DENSE ? 0 : read_gap(from, header[1], size - 1 - next);
        if (gap < 0 || next >= size) {
            return -1;
        }
        next += (uint32_t)gap;
        at[i] = (uint16_t)next++;
    }
    if (!skip_to_byte(from) || (size_t)(from->end - from->at) < count * bytes) {
        return -1;
    }
    for (uint32_t i = 0; i < count; i++, from->at += bytes) {
        const uint32_t half = (uint32_t)from->at[0] | (uint32_t)from->at[bytes - 1] << 8;
        if (bytes == 1 ? *from->at == 0x80 : (half & 0x7c00u) == 0x7c00u) {
            return -1;
        }
        if (target) {
            target[at[i]] += bytes == 1 ? scale * (float)(int8_t)*from->at : from_half(half);
        }
    }
    return next;
}

/* With no target: only whether all of it can be read. */
static int read_all(float *target, uint32_t size, const uint8_t *bytes, size_t byte_count)
{
    const uint32_t count = get32(bytes + 2);
    reader from = {bytes + HEADER, bytes + byte_count, 0};
    int64_t next = 0;
    for (uint32_t done = 0; done < count && next >= 0; done += BLOCK) {
        const uint32_t left = count - done < BLOCK ? count - done : BLOCK;
        next = read_block(&from, target, size, (uint32_t)next, left, bytes);
    }
    return next >= 0 && from.at == from.end;
}

int tr_unpack(float *target, size_t size, const uint8_t *bytes, size_t byte_count)
{
    if (!target || !bytes || size > TR_PACK_MAX_WEIGHTS || byte_count < HEADER) {
        return 0;
    }
    const uint32_t count = get32(bytes + 2);
    const int bits = bytes[0] == 8 || bytes[0] == 16;
    const int code = bytes[1] <= MAX_SHIFT || (bytes[1] == DENSE && count == size);
    if (!bits || !code || count > size
        || !read_all(NULL, (uint32_t)size, bytes, byte_count)) {
        return 0;
    }
    return read_all(target, (uint32_t)size, bytes, byte_count);
}
