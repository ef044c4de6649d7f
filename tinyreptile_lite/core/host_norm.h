/* Layer normalisation and SiLU for computers: a part of host_kernels.h. The plain forms are in
 * tinyreptile_layers.h; with AVX2 these take 10 us of a characters' step of 43 us. */
#ifndef TR_HOST_NORM_H
#define TR_HOST_NORM_H

/* ---- SiLU -------------------------------------------------------------------------------------- */

/* Two registers side by side, step by step, so that neither waits for itself. */
#define PAIR 2
#define BOTH \
    TR_UNROLL \
    for (int k = 0; k < PAIR; k++)

/* a where the bits of `where` are set, else b: `?:` for each lane. */
TR_INLINE wide choose(wide_places where, wide a, wide b)
{
    return (wide)(((wide_places)a & where) | ((wide_places)b & ~where));
}

/* sigmoid() of z, and the exp_inline() in it, in the same steps. The sign bit makes a number
 * negative. */
TR_INLINE void sigmoids(wide s[PAIR], const wide z[PAIR])
{
    const wide zero = WIDE_ALL(0.0f);
    const wide one = WIDE_ALL(1.0f);
    const wide least = WIDE_ALL(-86.0f);
    wide x[PAIR], shifted[PAIR], n[PAIR], r[PAIR], g[PAIR], e[PAIR];
    BOTH x[k] = (wide)((wide_places)z[k] | (wide_places)WIDE_ALL(-0.0f));
    BOTH x[k] = choose(x[k] > least, x[k], least);
    BOTH shifted[k] = x[k] * 1.44269504f + 12582912.0f;
    BOTH n[k] = shifted[k] - 12582912.0f;
    BOTH r[k] = x[k] - n[k] * LN2_HIGH;
    BOTH r[k] = r[k] - n[k] * LN2_LOW;
    BOTH g[k] = 1.38146128e-3f * r[k] + 8.36871006e-3f;
    BOTH g[k] = g[k] * r[k] + 4.1668389e-2f;
    BOTH g[k] = g[k] * r[k] + 0.166665211f;
    BOTH g[k] = g[k] * r[k] + 0.49999994f;
    BOTH e[k] = 1.0f + (r[k] + r[k] * r[k] * g[k]);
    BOTH e[k] = (e[k] + e[k]) * (wide)(((wide_places)shifted[k] + 126) << 23);
    BOTH s[k] = choose(z[k] < zero, e[k], one) / (1.0f + e[k]);
}

/* Returns how many numbers it has done. */
#define TR_HAS_SILU_LANES
static size_t silu_lanes(float *out, const float *x, size_t n)
{
    size_t i = 0;
    for (; i + PAIR * LANES <= n; i += PAIR * LANES) {
        wide z[PAIR], s[PAIR];
        BOTH z[k] = load_wide(x + i + k * LANES);
        sigmoids(s, z);
        BOTH store_wide(out + i + k * LANES, z[k] * s[k]);
    }
    return i;
}

/* ---- Layer normalisation ----------------------------------------------------------------------- */

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

#define NORM_CHANNELS 512 /* for more, the plain form serves */

/* delta (PAIR times LANES) times silu_slope() of the normalised x, with gain and bias. */
TR_INLINE void slope_pair(float *delta, const float *x, float mean, float root,
                          const float *const gain[PAIR], const float *const bias[PAIR])
{
    wide z[PAIR], s[PAIR];
    BOTH z[k] = (load_wide(x + k * LANES) - mean) * root;
    BOTH z[k] = load_wide(gain[k]) * z[k] + load_wide(bias[k]);
    sigmoids(s, z);
    BOTH s[k] = s[k] * (1.0f + z[k] * (1.0f - s[k]));
    BOTH store_wide(delta + k * LANES, load_wide(delta + k * LANES) * s[k]);
}

/* The same for all of delta (n), whatever the channels: gain and bias are laid out again and again,
 * so that a register finds those of any channel and of the ones after it. */
static void slope_all(float *delta, const float *x, const float *w, size_t n, size_t channels)
{
    float gains[NORM_CHANNELS + LANES];
    float biases[NORM_CHANNELS + LANES];
    float last[2][PAIR * LANES] = {{0.0f}};
    const float mean = delta[-2];
    const float root = delta[-1];
    const float *gain[PAIR];
    const float *bias[PAIR];
    size_t c = 0;
    for (size_t i = 0; i < channels + LANES; i++) {
        gains[i] = w[i % channels];
        biases[i] = w[channels + i % channels];
    }
    for (size_t i = 0; i < n; i += PAIR * LANES) {
        const size_t left = n - i;
        TR_UNROLL
        for (int k = 0; k < PAIR; k++) {
            gain[k] = gains + c;
            bias[k] = biases + c;
            for (c += LANES; c >= channels; c -= channels) {
            }
        }
        if (left >= PAIR * LANES) {
            slope_pair(delta + i, x + i, mean, root, gain, bias);
            continue;
        }
        memcpy(last[0], delta + i, left * sizeof *delta);
        memcpy(last[1], x + i, left * sizeof *x);
        slope_pair(last[0], last[1], mean, root, gain, bias);
        memcpy(delta + i, last[0], left * sizeof *delta);
    }
}

/* What norm_channels() does, but for the slope, to as many channels as the type has lanes. */
#define DEFINE_NORM(floats, lanes) \
    TR_INLINE void norm_##floats(const tr_change *change, const float *x, float *delta, size_t n, \
                                 size_t channels, size_t first, float sums[2]) \
    { \
        const float mean = delta[-2]; \
        const float root = delta[-1]; \
        float *target = change->target + first; \
        floats gain; \
        floats gains = {0.0f}; \
        floats biases = {0.0f}; \
        memcpy(&gain, change->weights + first, sizeof gain); \
        for (size_t at = first; at < n; at += channels) { \
            floats normal, d; \
            memcpy(&normal, x + at, sizeof normal); \
            memcpy(&d, delta + at, sizeof d); \
            gains += d * ((normal - mean) * root); \
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
typedef float single __attribute__((vector_size(4)));
DEFINE_NORM(single, 1)
DEFINE_NORM(four, FOUR)
#ifdef TR_EIGHT
DEFINE_NORM(eight, TR_EIGHT)
#endif

/* Returns how many channels it has done: norm_channels() does the rest. */
#define TR_HAS_NORM_LANES
static size_t norm_lanes(const tr_change *change, const float *x, float *delta, size_t n,
                         size_t channels, int silu, float sums[2])
{
    size_t c = 0;
    if (channels > NORM_CHANNELS) {
        return 0;
    }
    if (silu) {
        slope_all(delta, x, change->weights, n, channels);
    }
#ifdef TR_EIGHT
    for (; c + TR_EIGHT <= channels; c += TR_EIGHT) {
        norm_eight(change, x, delta, n, channels, c, sums);
    }
#endif
    for (; c + FOUR <= channels; c += FOUR) {
        norm_four(change, x, delta, n, channels, c, sums);
    }
    for (; c < channels; c++) {
        norm_single(change, x, delta, n, channels, c, sums);
    }
    return channels;
}

/* The gradient that norm_backward() sends back. Returns how many numbers it has done: none if an
 * activation made the input, as its derivative has to be applied. */
#define TR_HAS_NORM_BACK_LANES
static size_t norm_back_lanes(float *dx, const float *x, const float *delta, float mean,
                              float root, float same, float along, int gate, size_t n)
{
    size_t i = 0;
    if (gate == TR_KIND_TANH || gate == TR_KIND_RELU) {
        return 0;
    }
    for (; i + LANES <= n; i += LANES) {
        const wide distance = load_wide(x + i) - mean;
        store_wide(dx + i, root * (load_wide(delta + i) - same - distance * root * along));
    }
    return i;
}

#endif
