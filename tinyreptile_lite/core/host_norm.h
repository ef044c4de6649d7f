/* Layer normalisation and SiLU for computers: a part of host_kernels.h. */
#ifndef TR_HOST_NORM_H
#define TR_HOST_NORM_H

/* For registers of `floats`: sigmoid() and silu_slope(), and the backward pass of as many channels
 * as there are lanes. The sign bit makes a number negative, and the bits of a comparison choose,
 * where there it is `?:`. */
#define DEFINE_NORM(floats, places, lanes) \
    TR_INLINE floats choose_##floats(places where, floats a, floats b) \
    { \
        return (floats)(((places)a & where) | ((places)b & ~where)); \
    } \
    TR_INLINE floats sigmoids_##floats(floats z) \
    { \
        const floats zero = {0.0f}; \
        const floats one = zero + 1.0f; \
        const floats least = zero - 86.0f; \
        floats x = (floats)((places)z | (places)(zero * -1.0f)); \
        x = choose_##floats(x > least, x, least); \
        const floats shifted = x * 1.44269504f + 12582912.0f; \
        const floats n = shifted - 12582912.0f; \
        const floats r = (x - n * LN2_HIGH) - n * LN2_LOW; \
        const floats g = (((1.38146128e-3f * r + 8.36871006e-3f) * r + 4.1668389e-2f) * r \
                          + 0.166665211f) * r + 0.49999994f; \
        const floats y = 1.0f + (r + r * r * g); \
        const floats e = (y + y) * (floats)(((places)shifted + 126) << 23); \
        return choose_##floats(z < zero, e, one) / (1.0f + e); \
    } \
    TR_INLINE floats slopes_##floats(floats z) \
    { \
        const floats s = sigmoids_##floats(z); \
        return s * (1.0f + z * (1.0f - s)); \
    } \
    TR_INLINE void norm_##floats(const tr_change *change, const float *x, float *delta, size_t n, \
                                 size_t channels, size_t first, int silu, float sums[2]) \
    { \
        const float mean = delta[-2]; \
        const float root = delta[-1]; \
        float *target = change->target + first; \
        floats gain, bias, gains, biases; \
        memcpy(&gain, change->weights + first, sizeof gain); \
        memcpy(&bias, change->weights + first + channels, sizeof bias); \
        gains = biases = (floats){0.0f}; \
        for (size_t at = first; at < n; at += channels) { \
            floats normal, d; \
            memcpy(&normal, x + at, sizeof normal); \
            memcpy(&d, delta + at, sizeof d); \
            normal = (normal - mean) * root; \
            d = silu ? d * slopes_##floats(gain * normal + bias) : d; \
            gains += d * normal; \
            biases += d; \
            d *= gain; \
            memcpy(delta + at, &d, sizeof d); \
        } \
        TR_UNROLL \
        for (size_t c = 0; c < lanes; c++) { \
            sums[0] += gain[c] * biases[c]; \
            sums[1] += gain[c] * gains[c]; \
            target[c] += change->scale * gains[c]; \
            target[c + channels] += change->scale * biases[c]; \
        } \
    }
DEFINE_NORM(four, four_places, FOUR)
#ifdef TR_EIGHT
DEFINE_NORM(eight, eight_places, TR_EIGHT)
#define sigmoids(z) sigmoids_eight(z)
#else
#define sigmoids(z) sigmoids_four(z)
#endif

/* Returns how many channels it has done: norm_channels() does the rest. */
#define TR_HAS_NORM_LANES
static size_t norm_lanes(const tr_change *change, const float *x, float *delta, size_t n,
                         size_t channels, int silu, float sums[2])
{
    size_t c = 0;
#ifdef TR_EIGHT
    for (; c + TR_EIGHT <= channels; c += TR_EIGHT) {
        norm_eight(change, x, delta, n, channels, c, silu, sums);
    }
#endif
    for (; c + FOUR <= channels; c += FOUR) {
        norm_four(change, x, delta, n, channels, c, silu, sums);
    }
    return c;
}
/* Returns how many numbers it has done. */
#define TR_HAS_SILU_LANES
static size_t silu_lanes(float *out, const float *x, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        const wide z = load_wide(x + i);
        store_wide(out + i, z * sigmoids(z));
    }
    return i;
}

/* All numbers of norm_forward(), if the channels fill a register: the last ones of a position share
 * one with some before them, which come out the same twice. */
#define TR_HAS_NORM_SCALE
static int norm_scale(float *restrict out, const float *restrict x, const float *restrict w,
                      float mean, float root, size_t n, size_t channels)
{
    if (channels < LANES) {
        return 0;
    }
    for (size_t at = 0; at < n; at += channels) {
        for (size_t c = 0; c < channels; c += LANES) {
            const size_t first = c + LANES <= channels ? c : channels - LANES;
            const wide normal = (load_wide(x + at + first) - mean) * root;
            store_wide(out + at + first,
                       load_wide(w + first) * normal + load_wide(w + channels + first));
        }
    }
    return 1;
}

/* The gradient that norm_backward() sends back. Returns how many numbers it has done: none if an
 * activation made the input, as its derivative has to be applied. */
#define TR_HAS_NORM_BACK_LANES
static size_t norm_back_lanes(float *dx, const float *delta, float mean, float root, float same,
                              float along, int gate, size_t n)
{
    size_t i = 0;
    if (gate == TR_KIND_TANH || gate == TR_KIND_RELU) {
        return 0;
    }
    for (; i + LANES <= n; i += LANES) {
        const wide distance = load_wide(dx + i) - mean;
        store_wide(dx + i, root * (load_wide(delta + i) - same - distance * root * along));
    }
    return i;
}

#endif
