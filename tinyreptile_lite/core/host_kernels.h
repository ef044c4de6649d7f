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
#include <immintrin.h>
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

/* The widest register that is used. */
#ifdef TR_EIGHT
#define LANES 8
typedef eight wide;
typedef eight_places wide_places;
#define WIDE_ALL(x) EIGHT_ALL(x)
#else
#define LANES 4
typedef four wide;
typedef four_places wide_places;
#define WIDE_ALL(x) FOUR_ALL(x)
#endif

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

/* A value that is used several times: GCC would load it anew for each. */
#if defined(__x86_64__)
#define TR_IN_REGISTER(value) __asm__("" : "+x"(value))
#else
#define TR_IN_REGISTER(value) ((void)0)
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

/* Sum of squares in any order: four sums, so that no addition waits for the one before. */
TR_INLINE float quick_squares(const float *x, size_t n)
{
    wide sum[4] = {WIDE_ALL(0.0f), WIDE_ALL(0.0f), WIDE_ALL(0.0f), WIDE_ALL(0.0f)};
    float all = 0.0f;
    for (; n >= 4 * LANES; n -= 4 * LANES, x += 4 * LANES) {
        TR_UNROLL
        for (int k = 0; k < 4; k++) {
            const wide value = load_wide(x + k * LANES);
            sum[k] += value * value;
        }
    }
    sum[0] = (sum[0] + sum[2]) + (sum[1] + sum[3]);
    for (; n > 0; n--, x++) {
        all += *x * *x;
    }
    TR_UNROLL
    for (int k = 0; k < LANES; k++) {
        all += sum[0][k];
    }
    return all;
}

/* Half of the bound is so far away from it that no order of the sum can reach it. */
#define TR_HAS_SQUARES
TR_INLINE float bounded_squares(const float *x, size_t n)
{
    const float squares = quick_squares(x, n);
    return squares <= 0.5f * TR_BOUND ? squares : dot(x, x, n);
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

/* The same where the plain form adds one square after the other. */
TR_INLINE float squares_in_order(const float *x, size_t n)
{
    float squares = quick_squares(x, n);
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
    return squares_in_order(x, inputs);
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
    return squares_in_order(x, inputs);
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

#include "host_convolutions.h"
#include "host_norm.h"

#endif

#endif
