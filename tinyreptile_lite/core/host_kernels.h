/* Faster forms of the core's kernels for computers, in SIMD registers of four floats, and of eight
 * where there is AVX; tinyreptile_core.c includes this file where TR_KERNELS names it.
 *
 * They give the same bits as the plain forms there, which say what each kernel does. A sum of four
 * partial sums fits into one register of four; what has no such sum may be done at any width. For
 * GCC and clang; elsewhere nothing here is defined, and the plain forms serve.
 */
#ifndef TR_HOST_KERNELS_H
#define TR_HOST_KERNELS_H

#if defined(__GNUC__) && (defined(__SSE2__) || defined(__ARM_NEON))

#if defined(__clang__)
#define TR_UNROLL _Pragma("clang loop unroll(full)")
#elif __GNUC__ >= 8
#define TR_UNROLL _Pragma("GCC unroll 16")
#else
#define TR_UNROLL
#endif

#define FOUR 4
typedef float four __attribute__((vector_size(16)));
typedef int32_t four_places __attribute__((vector_size(16)));
#define FOUR_ALL(x) ((four){x, x, x, x})

TR_INLINE four load(const float *from)
{
    four value;
    memcpy(&value, from, sizeof value);
    return value;
}

TR_INLINE void store(float *to, four value)
{
    memcpy(to, &value, sizeof value);
}

/* Eight floats, where a register holds as many, for what gives the same bits at any width. */
#if defined(__AVX__)
#define TR_EIGHT 8
typedef float eight __attribute__((vector_size(32)));
typedef int32_t eight_places __attribute__((vector_size(32)));
#define EIGHT_ALL(x) ((eight){x, x, x, x, x, x, x, x})

TR_INLINE eight load_eight(const float *from)
{
    eight value;
    memcpy(&value, from, sizeof value);
    return value;
}

TR_INLINE void store_eight(float *to, eight value)
{
    memcpy(to, &value, sizeof value);
}

TR_INLINE four low_half(eight a)
{
    return (four){a[0], a[1], a[2], a[3]};
}

TR_INLINE four high_half(eight a)
{
    return (four){a[4], a[5], a[6], a[7]};
}
#endif

TR_INLINE float add_up(four part)
{
    return (part[0] + part[2]) + (part[1] + part[3]);
}

#define TR_HAS_DOT
static float dot(const float *a, const float *b, size_t n)
{
    float sum = 0.0f;
    if (n >= FOUR) {
        four part = load(a) * load(b);
        for (n -= FOUR, a += FOUR, b += FOUR; n >= FOUR; n -= FOUR, a += FOUR, b += FOUR) {
            part = part + load(a) * load(b);
        }
        sum = add_up(part);
    }
    for (; n > 0; n--) {
        sum += *a++ * *b++;
    }
    return sum;
}

#define TR_HAS_ADD_SCALED
static void add_scaled(float *restrict target, float c, const float *restrict delta, size_t n)
{
    for (; n >= FOUR; n -= FOUR, target += FOUR, delta += FOUR) {
        store(target, load(target) + FOUR_ALL(c) * load(delta));
    }
    for (; n > 0; n--) {
        *target++ += c * *delta++;
    }
}

/* sum (fours of four) += x * w (fours of four) */
TR_INLINE void add_row(four *sum, float x, const float *w, const int fours)
{
    TR_UNROLL
    for (int k = 0; k < fours; k++) {
        sum[k] += FOUR_ALL(x) * load(w + k * FOUR);
    }
}

/* 4 * fours neighbouring outputs at once, their sums in registers. Each output's sum runs over the
 * inputs from first to last, so the bits do not depend on how many are done at once. */
TR_INLINE void forward_block(float *restrict out, const float *restrict x,
                             const float *restrict w, const float *restrict bias, size_t inputs,
                             size_t outputs, const int fours)
{
    four sum[4];
    TR_UNROLL
    for (int k = 0; k < fours; k++) {
        sum[k] = load(bias + k * FOUR);
    }
    for (; inputs >= 4; inputs -= 4) {
        TR_UNROLL
        for (int i = 0; i < 4; i++, x++, w += outputs) {
            add_row(sum, *x, w, fours);
        }
    }
    for (; inputs > 0; inputs--, x++, w += outputs) {
        add_row(sum, *x, w, fours);
    }
    TR_UNROLL
    for (int k = 0; k < fours; k++) {
        store(out + k * FOUR, sum[k]);
    }
}

#ifdef TR_EIGHT
/* The same for 32 neighbouring outputs. */
TR_INLINE void forward_eights(float *restrict out, const float *restrict x,
                              const float *restrict w, const float *restrict bias, size_t inputs,
                              size_t outputs)
{
    eight sum[4];
    for (int k = 0; k < 4; k++) {
        sum[k] = load_eight(bias + k * TR_EIGHT);
    }
    for (; inputs > 0; inputs--, x++, w += outputs) {
        for (int k = 0; k < 4; k++) {
            sum[k] += EIGHT_ALL(*x) * load_eight(w + k * TR_EIGHT);
        }
    }
    for (int k = 0; k < 4; k++) {
        store_eight(out + k * TR_EIGHT, sum[k]);
    }
}
#endif

/* sum (width) += x * w (width) */
TR_INLINE void add_rest(float *sum, float x, const float *w, const int width)
{
    TR_UNROLL
    for (int j = 0; j < width; j++) {
        sum[j] += x * w[j];
    }
}

/* The same for the last one to three outputs. */
TR_INLINE void forward_rest(float *restrict out, const float *restrict x, const float *restrict w,
                            const float *restrict bias, size_t inputs, size_t outputs,
                            const int width)
{
    float sum[FOUR] = {0.0f};
    TR_UNROLL
    for (int j = 0; j < width; j++) {
        sum[j] = bias[j];
    }
    for (; inputs >= 4; inputs -= 4) {
        TR_UNROLL
        for (int i = 0; i < 4; i++, x++, w += outputs) {
            add_rest(sum, *x, w, width);
        }
    }
    for (; inputs > 0; inputs--, x++, w += outputs) {
        add_rest(sum, *x, w, width);
    }
    TR_UNROLL
    for (int j = 0; j < width; j++) {
        out[j] = sum[j];
    }
}

#define TR_HAS_DENSE_FORWARD
static void dense_forward(float *restrict out, const float *restrict x, const float *restrict w,
                          size_t inputs, size_t outputs)
{
    const float *bias = w + inputs * outputs;
    if (outputs == 1) {
        *out = *bias + dot(x, w, inputs);
        return;
    }
    size_t left = outputs;
#ifdef TR_EIGHT
    for (; left >= 32; left -= 32, out += 32, w += 32, bias += 32) {
        forward_eights(out, x, w, bias, inputs, outputs);
    }
#endif
    for (; left >= 16; left -= 16, out += 16, w += 16, bias += 16) {
        forward_block(out, x, w, bias, inputs, outputs, 4);
    }
    if (left >= 8) {
        forward_block(out, x, w, bias, inputs, outputs, 2);
        left -= 8, out += 8, w += 8, bias += 8;
    }
    if (left >= FOUR) {
        forward_block(out, x, w, bias, inputs, outputs, 1);
        left -= FOUR, out += FOUR, w += FOUR, bias += FOUR;
    }
    switch (left) {
    case 3: forward_rest(out, x, w, bias, inputs, outputs, 3); break;
    case 2: forward_rest(out, x, w, bias, inputs, outputs, 2); break;
    case 1: forward_rest(out, x, w, bias, inputs, outputs, 1); break;
    default: break;
    }
}

/* Rows of a weight matrix that are worked on together, so that each delta is read once for all. */
#define ROWS 4

/* Four columns of ROWS rows: their part of the rows' dot products with delta, then the rows += c
 * times delta. Moves the rows on. `first` starts the dot products. */
TR_INLINE void send_back_and_learn_four(four part[ROWS], float *row[ROWS], const float c[ROWS],
                                        const float *delta, const int first)
{
    const four d = load(delta);
    TR_UNROLL
    for (int r = 0; r < ROWS; r++) {
        const four weight = load(row[r]);
        part[r] = first ? weight * d : part[r] + weight * d;
        store(row[r], weight + FOUR_ALL(c[r]) * d);
        row[r] += FOUR;
    }
}

/* The same for eight columns. */
TR_INLINE void send_back_and_learn_eight(four part[ROWS], float *row[ROWS], const float c[ROWS],
                                         const float *delta, const int first)
{
#ifdef TR_EIGHT
    const eight d = load_eight(delta);
    TR_UNROLL
    for (int r = 0; r < ROWS; r++) {
        const eight weight = load_eight(row[r]);
        const eight terms = weight * d;
        part[r] = first ? low_half(terms) : part[r] + low_half(terms);
        part[r] += high_half(terms);
        store_eight(row[r], weight + EIGHT_ALL(c[r]) * d);
        row[r] += TR_EIGHT;
    }
#else
    send_back_and_learn_four(part, row, c, delta, first);
    send_back_and_learn_four(part, row, c, delta + FOUR, 0);
#endif
}

/* The heart of an online step: the dot products of ROWS rows of w (ROWS, n) with delta (n) into dx,
 * then the rows += c times delta, so that each weight is read and written once. */
TR_INLINE void send_back_and_learn(float dx[ROWS], float *w, const float c[ROWS],
                                   const float *delta, size_t n)
{
    float *row[ROWS] = {w, w + n, w + 2 * n, w + 3 * n};
    four part[ROWS] = {FOUR_ALL(0.0f), FOUR_ALL(0.0f), FOUR_ALL(0.0f), FOUR_ALL(0.0f)};
    if (n >= 2 * FOUR) {
        send_back_and_learn_eight(part, row, c, delta, 1);
        n -= 2 * FOUR, delta += 2 * FOUR;
    }
    for (; n >= 2 * FOUR; n -= 2 * FOUR, delta += 2 * FOUR) {
        send_back_and_learn_eight(part, row, c, delta, 0);
    }
    if (n >= FOUR) {
        send_back_and_learn_four(part, row, c, delta, 0);
        n -= FOUR, delta += FOUR;
    }
    TR_UNROLL
    for (int r = 0; r < ROWS; r++) {
        dx[r] = add_up(part[r]);
    }
    for (; n > 0; n--, delta++) {
        TR_UNROLL
        for (int r = 0; r < ROWS; r++) {
            const float weight = *row[r];
            dx[r] += weight * *delta;
            *row[r]++ = weight + c[r] * *delta;
        }
    }
}

/* Sum of squares, to compare with TR_BOUND. The plain form adds them up in order; that would
 * keep SIMD waiting. Only near the bound does the order matter, so only there it is kept to. */
TR_INLINE float bounded_squares(const float *x, size_t n)
{
    float squares = dot(x, x, n);
    if (!(squares <= 0.5f * TR_BOUND)) {
        squares = 0.0f;
        for (size_t i = 0; i < n; i++) {
            squares += x[i] * x[i];
        }
    }
    return squares;
}

/* Backward pass of a dense layer with one output, the last one of a regression: its weight is a
 * vector, and d the gradient of its output. Returns the sum of squares of dx. */
TR_INLINE float single_backward(const tr_change *change, int gate, float *restrict x, float d,
                                size_t inputs)
{
    const float *w = change->weights;
    float *target = change->target;
    const float c = change->scale * d;
    for (size_t i = 0; i < inputs; i++) {
        const float xi = x[i];
        const float dx = gated(gate, w[i] * d, xi);
        x[i] = dx;
        target[i] += c * xi;
    }
    target[inputs] += c;
    return bounded_squares(x, inputs);
}

#define TR_HAS_DENSE_BACKWARD
TR_INLINE float dense_backward(const tr_change *change, float *restrict x,
                               const float *restrict delta, size_t inputs, size_t outputs)
{
    if (outputs == 1) { /* a loop for each gate, as it would be asked for every weight */
        switch (change->gate) {
        case TR_KIND_TANH: return single_backward(change, TR_KIND_TANH, x, *delta, inputs);
        case TR_KIND_RELU: return single_backward(change, TR_KIND_RELU, x, *delta, inputs);
        default: return single_backward(change, 0, x, *delta, inputs);
        }
    }
    const float *w = change->weights;
    float *target = change->target;
    const size_t done = target == w ? inputs - inputs % ROWS : 0;
    size_t i = 0;
    for (; i < done; i += ROWS, target += ROWS * outputs) {
        float c[ROWS];
        float dx[ROWS];
        TR_UNROLL
        for (size_t r = 0; r < ROWS; r++) {
            c[r] = change->scale * x[i + r];
        }
        send_back_and_learn(dx, target, c, delta, outputs);
        TR_UNROLL
        for (size_t r = 0; r < ROWS; r++) {
            x[i + r] = gated(change->gate, dx[r], x[i + r]);
        }
    }
    for (w += i * outputs; i < inputs; i++, w += outputs, target += outputs) {
        const float xi = x[i];
        x[i] = gated(change->gate, dot(w, delta, outputs), xi);
        add_scaled(target, change->scale * xi, delta, outputs);
    }
    add_scaled(target, change->scale, delta, outputs); /* the bias */
    return bounded_squares(x, inputs);
}

/* row (fours of four) += c * d */
TR_INLINE void learn_row(float *row, float c, const four *d, const int fours)
{
    TR_UNROLL
    for (int k = 0; k < fours; k++) {
        store(row + k * FOUR, load(row + k * FOUR) + FOUR_ALL(c) * d[k]);
    }
}

/* 4 * fours columns of a layer whose inputs need no gradient: weight and bias += c times delta,
 * with the deltas in registers. */
TR_INLINE void learn_block(float *restrict target, float scale, const float *restrict x,
                           const float *restrict delta, size_t inputs, size_t outputs,
                           const int fours)
{
    four d[4];
    TR_UNROLL
    for (int k = 0; k < fours; k++) {
        d[k] = load(delta + k * FOUR);
    }
    for (; inputs >= 4; inputs -= 4) {
        TR_UNROLL
        for (int i = 0; i < 4; i++, x++, target += outputs) {
            learn_row(target, scale * *x, d, fours);
        }
    }
    for (; inputs > 0; inputs--, x++, target += outputs) {
        learn_row(target, scale * *x, d, fours);
    }
    learn_row(target, scale, d, fours); /* the bias */
}

#define TR_HAS_DENSE_BACKWARD_FIRST
TR_INLINE void dense_backward_first(const tr_change *change, const float *restrict x,
                                    const float *restrict delta, size_t inputs, size_t outputs)
{
    float *target = change->target;
    size_t o = 0;
    for (; o + 16 <= outputs; o += 16) {
        learn_block(target + o, change->scale, x, delta + o, inputs, outputs, 4);
    }
    for (; o + FOUR <= outputs; o += FOUR) {
        learn_block(target + o, change->scale, x, delta + o, inputs, outputs, 1);
    }
    for (; o < outputs; o++) {
        for (size_t i = 0; i < inputs; i++) {
            target[i * outputs + o] += change->scale * x[i] * delta[o];
        }
        target[inputs * outputs + o] += change->scale * delta[o];
    }
}

#define TR_HAS_RELU_FORWARD
static float relu_forward(float *out, const float *x, size_t n)
{
    float squares = 0.0f;
    for (; n >= 2 * FOUR; n -= 2 * FOUR, x += 2 * FOUR, out += 2 * FOUR) {
        TR_UNROLL
        for (int j = 0; j < 2 * FOUR; j++) {
            squares += x[j] * x[j];
            out[j] = relu(x[j]);
        }
    }
    for (; n > 0; n--, x++, out++) {
        squares += *x * *x;
        *out = relu(*x);
    }
    return squares;
}

/* 4 * fours outputs of a convolution at one position of an image, their sums in registers. */
TR_INLINE void window_block(float *out, const tr_window *window, const float *w, const float *bias,
                            size_t outputs, const int fours)
{
    const float *x = window->x;
    four sum[4];
    TR_UNROLL
    for (int k = 0; k < fours; k++) {
        sum[k] = load(bias + k * FOUR);
    }
    for (size_t row = window->rows; row > 0; row--, x += window->x_step, w += window->w_step) {
        for (size_t i = window->n; i > 0; i--, x++, w += outputs) {
            add_row(sum, *x, w, fours);
        }
    }
    TR_UNROLL
    for (int k = 0; k < fours; k++) {
        store(out + k * FOUR, sum[k]);
    }
}

/* The same for one output. */
TR_INLINE void window_one(float *out, const tr_window *window, const float *w, const float *bias,
                          size_t outputs)
{
    const float *x = window->x;
    float sum = *bias;
    for (size_t row = window->rows; row > 0; row--, x += window->x_step, w += window->w_step) {
        for (size_t i = window->n; i > 0; i--, x++, w += outputs) {
            sum += *x * *w;
        }
    }
    *out = sum;
}

#ifdef TR_EIGHT
/* The same for 32 outputs. */
TR_INLINE void window_eights(float *out, const tr_window *window, const float *w,
                             const float *bias, size_t outputs)
{
    const float *x = window->x;
    eight sum[4];
    for (int k = 0; k < 4; k++) {
        sum[k] = load_eight(bias + k * TR_EIGHT);
    }
    for (size_t row = window->rows; row > 0; row--, x += window->x_step, w += window->w_step) {
        for (size_t i = window->n; i > 0; i--, x++, w += outputs) {
            for (int k = 0; k < 4; k++) {
                sum[k] += EIGHT_ALL(*x) * load_eight(w + k * TR_EIGHT);
            }
        }
    }
    for (int k = 0; k < 4; k++) {
        store_eight(out + k * TR_EIGHT, sum[k]);
    }
}
#endif

#define TR_HAS_WINDOW_FORWARD
static void window_forward(float *out, const tr_window *window, const float *bias, size_t outputs)
{
    const float *w = window->w;
    size_t o = 0;
#ifdef TR_EIGHT
    for (; o + 32 <= outputs; o += 32) {
        window_eights(out + o, window, w + o, bias + o, outputs);
    }
#endif
    for (; o + 16 <= outputs; o += 16) {
        window_block(out + o, window, w + o, bias + o, outputs, 4);
    }
    for (; o + 12 <= outputs; o += 12) {
        window_block(out + o, window, w + o, bias + o, outputs, 3);
    }
    for (; o + 8 <= outputs; o += 8) {
        window_block(out + o, window, w + o, bias + o, outputs, 2);
    }
    for (; o + FOUR <= outputs; o += FOUR) {
        window_block(out + o, window, w + o, bias + o, outputs, 1);
    }
    for (; o < outputs; o++) {
        window_one(out + o, window, w + o, bias + o, outputs);
    }
}

/* ---- Backward pass of a normalisation ---------------------------------------------------------- */

/* Derivatives of a SiLU at z, in as many lanes as the type has: silu_slope(). The sign bit makes a
 * number negative, and the bits of a comparison choose, where there it is `?:`. */
#define DEFINE_NORM(floats, places, lanes) \
    TR_INLINE floats choose_##floats(places where, floats a, floats b) \
    { \
        return (floats)(((places)a & where) | ((places)b & ~where)); \
    } \
    TR_INLINE floats slopes_##floats(floats z) \
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
        const floats s = choose_##floats(z < zero, e, one) / (1.0f + e); \
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

/* ---- Backward pass of convolutions ------------------------------------------------------------
 *
 * Both kinds, over time and over an image, by the same two steps for LANES or twice as many input
 * channels at once. First each weight's gradient is summed in registers over all positions. Then
 * each pixel's gradient is summed in registers over all weights that it was multiplied by, as they
 * were before: these lie turned in `turned` (taps, outputs, channels). */

#ifdef TR_EIGHT
#define LANES 8
typedef eight wide;
#else
#define LANES 4
typedef four wide;
#endif
#define TURNED 16384 /* floats on the stack: where more are needed, the plain form serves */

TR_INLINE wide load_wide(const float *from)
{
    wide value;
    memcpy(&value, from, sizeof value);
    return value;
}

TR_INLINE void store_wide(float *to, wide value)
{
    memcpy(to, &value, sizeof value);
}

#ifdef TR_EIGHT
#define WIDE_ALL(x) EIGHT_ALL(x)
#else
#define WIDE_ALL(x) FOUR_ALL(x)
#endif

/* A convolution over an image, or over time as an image of one column. */
typedef struct {
    size_t height;
    size_t width;
    size_t inputs;
    size_t outputs;
    size_t down;   /* the kernel's height */
    size_t across; /* and width */
    size_t stride;
    size_t padding;
    size_t rows; /* of positions */
    size_t columns;
    int bias; /* whether there is one, behind the weight */
} tr_sweep;

/* `rows` neighbouring rows of the weight, whose inputs are neighbours as well, and `wides` times
 * LANES of their outputs: target += scale * the gradients. */
TR_INLINE void learn_tile(float *target, const float *x, const float *delta, const tr_map *map,
                          size_t outputs, const int rows, const int wides)
{
    wide gradient[2][4];
    TR_UNROLL
    for (int k = 0; k < rows * wides; k++) {
        gradient[k / wides][k % wides] = WIDE_ALL(0.0f);
    }
    for (size_t row = map->rows; row > 0; row--, x += map->x_jump, delta += map->delta_jump) {
        for (size_t i = map->n; i > 0; i--, x += map->x_step, delta += outputs) {
            TR_UNROLL
            for (int k = 0; k < wides; k++) {
                const wide d = load_wide(delta + k * LANES);
                TR_UNROLL
                for (int r = 0; r < rows; r++) {
                    gradient[r][k] += WIDE_ALL(x[r]) * d;
                }
            }
        }
    }
    TR_UNROLL
    for (int k = 0; k < rows * wides; k++) {
        float *to = target + (size_t)(k / wides) * outputs + k % wides * LANES;
        store_wide(to, load_wide(to) + WIDE_ALL(map->scale) * gradient[k / wides][k % wides]);
    }
}

/* The same for `fours` times four outputs. */
TR_INLINE void learn_fours(float *target, const float *x, const float *delta, const tr_map *map,
                           size_t outputs, const int rows, const int fours)
{
    four gradient[2][3];
    TR_UNROLL
    for (int k = 0; k < rows * fours; k++) {
        gradient[k / fours][k % fours] = FOUR_ALL(0.0f);
    }
    for (size_t row = map->rows; row > 0; row--, x += map->x_jump, delta += map->delta_jump) {
        for (size_t i = map->n; i > 0; i--, x += map->x_step, delta += outputs) {
            TR_UNROLL
            for (int k = 0; k < fours; k++) {
                const four d = load(delta + k * FOUR);
                TR_UNROLL
                for (int r = 0; r < rows; r++) {
                    gradient[r][k] += FOUR_ALL(x[r]) * d;
                }
            }
        }
    }
    TR_UNROLL
    for (int k = 0; k < rows * fours; k++) {
        float *to = target + (size_t)(k / fours) * outputs + k % fours * FOUR;
        store(to, load(to) + FOUR_ALL(map->scale) * gradient[k / fours][k % fours]);
    }
}

/* One. */
TR_INLINE void learn_weight(float *target, const float *x, const float *delta, const tr_map *map,
                            size_t outputs)
{
    float gradient = 0.0f;
    for (size_t row = map->rows; row > 0; row--, x += map->x_jump, delta += map->delta_jump) {
        for (size_t i = map->n; i > 0; i--, x += map->x_step, delta += outputs) {
            gradient += *x * *delta;
        }
    }
    *target += map->scale * gradient;
}

/* All outputs of `rows` neighbouring rows. */
TR_INLINE void learn_rows(float *target, const float *x, const float *delta, const tr_map *map,
                          size_t outputs, const int rows)
{
    size_t o = 0;
    for (; o + 4 * LANES <= outputs; o += 4 * LANES) {
        learn_tile(target + o, x, delta + o, map, outputs, rows, 4);
    }
    for (; o + 2 * LANES <= outputs; o += 2 * LANES) {
        learn_tile(target + o, x, delta + o, map, outputs, rows, 2);
    }
    for (; o + 3 * FOUR <= outputs; o += 3 * FOUR) {
        learn_fours(target + o, x, delta + o, map, outputs, rows, 3);
    }
    for (; o + FOUR <= outputs; o += FOUR) {
        learn_fours(target + o, x, delta + o, map, outputs, rows, 1);
    }
    for (; o < outputs; o++) {
        for (int r = 0; r < rows; r++) {
            learn_weight(target + (size_t)r * outputs + o, x + r, delta + o, map, outputs);
        }
    }
}

/* At how many of `all` positions a tap lies within a side, and the first of them. */
TR_INLINE size_t positions_on(size_t *first, const tr_sweep *sweep, size_t tap, size_t side,
                              size_t all)
{
    const size_t stride = sweep->stride;
    const size_t padding = sweep->padding;
    size_t stop = side + padding > tap ? (side + padding - tap - 1) / stride + 1 : 0;
    stop = stop < all ? stop : all;
    *first = tap < padding ? (padding - tap + stride - 1) / stride : 0;
    return stop > *first ? stop - *first : 0;
}

/* The weights of `count` input channels from `channel` on. */
TR_INLINE void learn_channels(const tr_change *change, const float *x, const float *delta,
                              const tr_sweep *sweep, size_t channel, size_t count)
{
    const size_t outputs = sweep->outputs;
    float *target = change->target + channel * outputs;
    for (size_t tap = 0; tap < sweep->down * sweep->across; tap++) {
        const size_t down = tap / sweep->across;
        const size_t across = tap % sweep->across;
        float *to = target + tap * sweep->inputs * outputs;
        size_t row;
        size_t column;
        tr_map map = {positions_on(&row, sweep, down, sweep->height, sweep->rows),
                      positions_on(&column, sweep, across, sweep->width, sweep->columns),
                      sweep->stride * sweep->inputs, 0, 0, 0, 0, change->scale};
        if (map.rows == 0 || map.n == 0) {
            continue;
        }
        map.x_jump = (sweep->width - map.n) * map.x_step;
        map.delta_jump = (sweep->columns - map.n) * outputs;
        const size_t pixel = (row * sweep->stride + down - sweep->padding) * sweep->width
            + column * sweep->stride + across - sweep->padding;
        const float *in = x + pixel * sweep->inputs + channel;
        const float *d = delta + (row * sweep->columns + column) * outputs;
        size_t left = count;
        for (; left >= 2; left -= 2, in += 2, to += 2 * outputs) {
            learn_rows(to, in, d, &map, outputs, 2);
        }
        if (left > 0) {
            learn_rows(to, in, d, &map, outputs, 1);
        }
    }
}

/* Four of the eight floats of a and b. */
#if defined(__clang__)
#define PICK(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#else
#define PICK(a, b, i, j, k, l) __builtin_shuffle(a, b, (four_places){i, j, k, l})
#endif

/* turned (outputs, lanes) = w (count, outputs), count at most the lanes; the rest is zero. */
TR_INLINE void turn(float *turned, const float *w, size_t count, size_t outputs, size_t lanes)
{
    for (size_t c = 0; c < lanes; c += FOUR, w += FOUR * outputs) {
        size_t o = 0;
        for (; c + FOUR <= count && o + FOUR <= outputs; o += FOUR) {
            const four a = load(w + o);
            const four b = load(w + outputs + o);
            const four d = load(w + 2 * outputs + o);
            const four e = load(w + 3 * outputs + o);
            const four p = PICK(a, b, 0, 4, 1, 5);
            const four q = PICK(a, b, 2, 6, 3, 7);
            const four r = PICK(d, e, 0, 4, 1, 5);
            const four s = PICK(d, e, 2, 6, 3, 7);
            float *to = turned + o * lanes + c;
            store(to, PICK(p, r, 0, 1, 4, 5));
            store(to + lanes, PICK(p, r, 2, 3, 6, 7));
            store(to + 2 * lanes, PICK(q, s, 0, 1, 4, 5));
            store(to + 3 * lanes, PICK(q, s, 2, 3, 6, 7));
        }
        for (; o < outputs; o++) {
            for (size_t j = 0; j < FOUR; j++) {
                turned[o * lanes + c + j] = c + j < count ? w[j * outputs + o] : 0.0f;
            }
        }
    }
}

/* What one position, by one tap, sends back to `wides` times LANES channels of a pixel. A pixel of
 * an image has four partial sums; one in time gets those of four outputs together. */
TR_INLINE void send_back(wide part[2][4], const float *w, const float *d, size_t outputs,
                         const int wides, const int is_image)
{
    const size_t lanes = (size_t)wides * LANES;
    for (; outputs >= 4; outputs -= 4, d += 4, w += 4 * lanes) {
        TR_UNROLL
        for (int v = 0; v < wides; v++) {
            const float *from = w + v * LANES;
            const wide a = WIDE_ALL(d[0]) * load_wide(from);
            const wide b = WIDE_ALL(d[1]) * load_wide(from + lanes);
            const wide c = WIDE_ALL(d[2]) * load_wide(from + 2 * lanes);
            const wide e = WIDE_ALL(d[3]) * load_wide(from + 3 * lanes);
            if (is_image) {
                part[v][0] += a;
                part[v][1] += b;
                part[v][2] += c;
                part[v][3] += e;
            } else {
                part[v][0] += (a + c) + (b + e);
            }
        }
    }
    TR_UNROLL
    for (size_t o = 0; o < 3; o++) {
        TR_UNROLL
        for (int v = 0; o < outputs && v < wides; v++) {
            part[v][is_image ? o : 0] += WIDE_ALL(d[o]) * load_wide(w + o * lanes + v * LANES);
        }
    }
}

/* Where a pixel lies in a side: the first tap that reaches it, and at which position. For each
 * `stride` taps more it is a position less; below zero, that is huge. */
typedef struct {
    size_t tap;
    size_t position;
} tr_place;

TR_INLINE void next_place(tr_place *place, size_t stride)
{
    if (++place->tap == stride) {
        place->tap = 0;
        place->position++;
    }
}

/* The gradient of `count` channels of the pixel at x, gated, takes their place. */
TR_INLINE void send_back_pixel(float *x, const float *turned, const float *delta,
                               const tr_sweep *sweep, tr_place row, tr_place column, size_t count,
                               int gate, const int wides, const int is_image)
{
    const size_t stride = sweep->stride;
    const size_t taps = sweep->outputs * (size_t)wides * LANES; /* from one to the next */
    wide part[2][4] = {{WIDE_ALL(0.0f), WIDE_ALL(0.0f), WIDE_ALL(0.0f), WIDE_ALL(0.0f)},
                       {WIDE_ALL(0.0f), WIDE_ALL(0.0f), WIDE_ALL(0.0f), WIDE_ALL(0.0f)}};
    float sums[2 * LANES];
    for (; row.tap < sweep->down; row.tap += stride, row.position--) {
        tr_place at = column;
        for (; row.position < sweep->rows && at.tap < sweep->across; at.tap += stride) {
            if (at.position < sweep->columns) {
                send_back(part, turned + (row.tap * sweep->across + at.tap) * taps,
                          delta + (row.position * sweep->columns + at.position) * sweep->outputs,
                          sweep->outputs, wides, is_image);
            }
            at.position--;
        }
    }
    TR_UNROLL
    for (int v = 0; v < wides; v++) {
        const wide sum = (part[v][0] + part[v][2]) + (part[v][1] + part[v][3]);
        store_wide(sums + v * LANES, is_image ? sum : part[v][0]);
    }
    for (size_t c = 0; c < count; c++) {
        x[c] = gated(gate, sums[c], x[c]);
    }
}

/* `count` input channels from `channel` on: all that the backward pass has to do for them. */
TR_INLINE void sweep_channels(const tr_change *change, float *dx, const float *delta,
                              const tr_sweep *sweep, size_t channel, size_t count, const int wides,
                              const int is_image)
{
    float turned[TURNED];
    const size_t outputs = sweep->outputs;
    const size_t lanes = (size_t)wides * LANES;
    for (size_t tap = 0; tap < sweep->down * sweep->across; tap++) {
        turn(turned + tap * outputs * lanes,
             change->weights + (tap * sweep->inputs + channel) * outputs, count, outputs, lanes);
    }
    learn_channels(change, dx, delta, sweep, channel, count);
    const tr_place first = {sweep->padding % sweep->stride, sweep->padding / sweep->stride};
    tr_place row = first;
    float *x = dx + channel;
    for (size_t i = 0; i < sweep->height; i++, next_place(&row, sweep->stride)) {
        tr_place column = first;
        for (size_t j = 0; j < sweep->width; j++, next_place(&column, sweep->stride)) {
            send_back_pixel(x, turned, delta, sweep, row, column, count, change->gate, wides,
                            is_image);
            x += sweep->inputs;
        }
    }
}

/* All channels, then the bias; dx is NULL if nobody needs the gradient that is sent back, and x
 * otherwise. Returns 0, with nothing done, if that is too large for the stack. */
TR_INLINE int sweep_back(const tr_change *change, float *dx, const float *x, const float *delta,
                         const tr_sweep *sweep, const int is_image)
{
    const size_t taps = sweep->down * sweep->across;
    float *bias = change->target + taps * sweep->inputs * sweep->outputs;
    if (dx && taps * sweep->outputs > TURNED / (2 * LANES)) {
        return 0;
    }
    for (size_t c = 0, count; c < sweep->inputs; c += count) {
        count = sweep->inputs - c;
        if (!dx) {
            learn_channels(change, x, delta, sweep, c, count);
        } else if (count > LANES) {
            count = count < 2 * LANES ? count : 2 * LANES;
            sweep_channels(change, dx, delta, sweep, c, count, 2, is_image);
        } else {
            sweep_channels(change, dx, delta, sweep, c, count, 1, is_image);
        }
    }
    for (size_t n = sweep->bias ? sweep->rows * sweep->columns : 0; n > 0; n--) {
        add_scaled(bias, change->scale, delta, sweep->outputs);
        delta += sweep->outputs;
    }
    return 1;
}

#define TR_HAS_CONV_BACK
static int conv_back(const tr_change *change, float *dx, const float *x, const float *delta,
                     const tr_layer *layer)
{
    const tr_sweep sweep = {layer->time, 1, layer->inputs, layer->outputs, layer->kernel, 1,
                            layer->stride, 0, positions_of(layer), 1, 1};
    return sweep_back(change, dx, x, delta, &sweep, 0);
}

#define TR_HAS_IMAGE_BACK
static int image_back(const tr_change *change, float *dx, const float *x, const float *delta,
                      const tr_layer *layer, size_t rows, size_t columns)
{
    const tr_sweep sweep = {layer->time, layer->width, layer->inputs, layer->outputs, layer->kernel,
                            layer->kernel, layer->stride, layer->padding, rows, columns,
                            layer->bias};
    return sweep_back(change, dx, x, delta, &sweep, 1);
}

#endif

#endif
