/* TinyReptile's core in plain C99; tinyreptile_core.h says what every function promises.
 *
 * The heart is learn_one(): a forward pass, the gradient of the loss, a backward pass that ends in
 * weights -= rate * gradient. To follow it, read dense_forward() and dense_backward() first.
 *
 * One online step needs no memory besides the weights and one float per activation, because the
 * backward pass goes through a weight matrix row by row. Row i first sends the gradient back to
 * input i, then is updated with input i. Now input i is not needed any more, so its gradient takes
 * its place: the activations of a layer turn into their gradients while its rows are updated.
 *
 * This file defines the order of every sum, and so every bit of every result. A processor may have
 * faster forms of the functions marked "kernel": see there.
 */
#include "tinyreptile_core.h"

#include <string.h>

/* ---- Equal bits everywhere ------------------------------------------------------------------- */

/* A fused multiply-add rounds once where a multiplication and an addition round twice. GCC ignores
 * the standard's pragma and clang ignores GCC's. Sketches are compiled with -Os, too little for the
 * loops below; TR_PLAIN_OPTIONS keeps the command line's own level, for tests. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("fp-contract=off")
#ifndef TR_PLAIN_OPTIONS
#pragma GCC optimize("O3")
#endif
#else
#pragma STDC FP_CONTRACT OFF
#endif

#if defined(__GNUC__)
#define TR_INLINE static inline __attribute__((always_inline))
#define TR_OUTLINE static __attribute__((noinline)) /* so that no caller stands on its frame */
#else
#define TR_INLINE static inline
#define TR_OUTLINE static
#endif

/* Inlined, but at the command line's -Os GCC 12 has not enough registers for its assembly then. */
#ifdef TR_PLAIN_OPTIONS
#define TR_ROOMY TR_OUTLINE
#else
#define TR_ROOMY TR_INLINE
#endif

/* What runs once, or prepares, had rather be small than fast; no result depends on it. */
#if defined(__GNUC__) && !defined(__clang__) && !defined(TR_PLAIN_OPTIONS)
#define TR_SMALL __attribute__((optimize("Os", "fp-contract=off")))
#else
#define TR_SMALL
#endif

#if defined(__FAST_MATH__)
#error "compile TinyReptile without -ffast-math: it would give other bits, and miss a NaN"
#endif
#if defined(__FLT_EVAL_METHOD__) && (__FLT_EVAL_METHOD__ == 1 || __FLT_EVAL_METHOD__ == 2)
#error "compile TinyReptile with float arithmetic in float, for example -msse2 -mfpmath=sse"
#endif

/* Largest sum of squares of a layer's values that counts as sound. */
#define TR_BOUND (TR_LIMIT * TR_LIMIT)

const char *tr_status_text(tr_status status)
{
    switch (status) {
    case TR_OK: return "ok";
    case TR_ERR_NULL: return "a needed pointer is NULL";
    case TR_ERR_NETWORK: return "the network's layers do not fit together";
    case TR_ERR_WEIGHTS: return "the weight array has the wrong size for this network";
    case TR_ERR_WORKSPACE: return "the workspace is too small for this network";
    case TR_ERR_PHI: return "the start weights hold NaN or a huge number";
    case TR_ERR_RATE: return "the learning rate is out of range";
    case TR_ERR_SAMPLE: return "the sample holds NaN or a huge number";
    case TR_ERR_TARGET: return "the target is missing, NaN or huge";
    case TR_ERR_LABEL: return "the label is missing or out of range";
    case TR_ERR_DIVERGED: return "the output is out of bounds; weights kept, lower the rate";
    case TR_ERR_OVERFLOW: return "a gradient is out of bounds; reset to phi and lower the rate";
    case TR_ERR_ALIGNMENT: return "weights or workspace do not begin at a multiple of 4 bytes";
    }
    return "unknown status";
}

/* ---- Mathematics ----------------------------------------------------------------------------- */

/* A float and its bits. C99 lets a union be read as another member than was written; a memcpy would
 * be a call where the compiler is told that there may be no C library. */
typedef union {
    float value;
    uint32_t bits;
} float_bits;

TR_INLINE float float_from_bits(uint32_t bits)
{
    const float_bits both = {.bits = bits};
    return both.value;
}

TR_INLINE uint32_t bits_from_float(float value)
{
    const float_bits both = {.value = value};
    return both.bits;
}

/* x P(x^2) / Q(x^2), fitted to tanh by extras/fit_math.py; one division, which IEEE 754 rounds
 * alike everywhere. Beyond TANH_ONE it is 1, before rounding could lift it above 1; the jump there
 * is smaller than the largest error elsewhere. No branch, so that compilers can use SIMD. */
#define TANH_ONE 7.9f
TR_INLINE float tanh_inline(float x)
{
    const float u = x * x;
    const float p = (((1.56273021e-8f * u + 2.21517603e-5f) * u + 3.58634582e-3f) * u
                     + 0.134567007f) * u + 1.0f;
    const float q = (((8.67539086e-7f * u + 3.43596563e-4f) * u + 2.62198523e-2f) * u
                     + 0.467900306f) * u + 1.0f;
    const float y = x * p / q;
    const float saturated = x < 0.0f ? -1.0f : 1.0f;
    return u > TANH_ONE * TANH_ONE ? saturated : y;
}

float tr_tanhf(float x)
{
    return tanh_inline(x);
}

/* ln(2) in two parts: the first has so few bits that its multiples are exact. */
#define LN2_HIGH 0.693145752f
#define LN2_LOW 1.42860682e-6f

/* exp(x) = 2^n exp(r), |r| <= ln(2) / 2. Adding 1.5 * 2^23 rounds to a whole number n, and leaves
 * it in the lowest bits. The last factor is 2^(n - 1), as 2^128 is no float. */
TR_INLINE float exp_inline(float x)
{
    const float shifted = x * 1.44269504f + 12582912.0f;
    const float n = shifted - 12582912.0f;
    const float r = (x - n * LN2_HIGH) - n * LN2_LOW;
    const float g = (((1.38146128e-3f * r + 8.36871006e-3f) * r + 4.1668389e-2f) * r
                     + 0.166665211f) * r + 0.49999994f;
    const float y = 1.0f + (r + r * r * g);
    return (y + y) * float_from_bits((bits_from_float(shifted) + 126u) << 23);
}

float tr_expf(float x)
{
    if (x < -86.5f) {
        return 0.0f;
    }
    if (x > 88.72f) {
        return float_from_bits(0x7f800000u);
    }
    return exp_inline(x);
}

/* log(x) = k ln(2) + log(m), m in sqrt(1/2) ... sqrt(2). */
float tr_logf(float x)
{
    const uint32_t bits = bits_from_float(x);
    const uint32_t offset = bits - 0x3f3504f3u; /* sqrt(1/2) */
    const int32_t k = (int32_t)offset >> 23;
    const float f = float_from_bits((offset & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
    const float h = ((((((-7.63449743e-2f * f + 0.127615824f) * f - 0.13160184f) * f
                        + 0.142017573f) * f - 0.166233569f) * f + 0.200012267f) * f
                     - 0.250008196f) * f + 0.333333313f;
    const float square = f * f;
    const float tail = square * f * h + (float)k * LN2_LOW - 0.5f * square;
    return (f + tail) + (float)k * LN2_HIGH;
}

/* Newton's method from a first guess that halves the exponent. */
float tr_rsqrtf(float x)
{
    const float half = 0.5f * x;
    float y = float_from_bits(0x5f3759dfu - (bits_from_float(x) >> 1));
    for (int i = 0; i < 3; i++) {
        y = y * (1.5f - half * y * y);
    }
    return y + y * (0.5f - half * y * y); /* once more, rounded only at the end */
}

/* ---- Layers ---------------------------------------------------------------------------------- */

/* Where a layer's backward pass finds its weights and puts the change of each: in an online step
 * target is weights and scale is -rate; otherwise target is the gradient and scale is 1. */
typedef struct {
    const float *weights; /* (inputs, outputs), then the bias (outputs) */
    float *target;        /* the same; gains scale * gradient */
    float scale;
    int gate; /* kind of the layer that made the inputs: if it is an activation, its derivative
                 is applied to the gradient that is sent back */
} tr_change;

/* A gradient, times the derivative of the activation whose output was y. */
TR_INLINE float gated(int gate, float gradient, float y)
{
    if (gate == TR_KIND_TANH) {
        return gradient * (1.0f - y * y);
    }
    if (gate == TR_KIND_RELU) {
        return y > 0.0f ? gradient : 0.0f;
    }
    return gradient;
}

/* Zero for a negative x, without a comparison. */
TR_INLINE float relu(float x)
{
    const uint32_t bits = bits_from_float(x);
    return float_from_bits(bits & ~(0u - (bits >> 31)));
}

/* Number of positions of a convolution. */
TR_INLINE size_t positions_of(const tr_layer *layer)
{
    return ((size_t)layer->time - layer->kernel) / layer->stride + 1;
}

/* The part of a convolution's window over an image that lies within the image, and its weights. */
typedef struct {
    const float *x;
    const float *w;
    size_t rows;
    size_t n;      /* numbers in each row */
    size_t x_step; /* from the end of a row to the next one */
    size_t w_step;
} tr_window;

/* Where one tap of a convolution meets the image: `rows` times `n` positions. From a position to the
 * next, and from the end of a row to the next row, the pointers move by ... */
typedef struct {
    size_t rows;
    size_t n;
    size_t x_step; /* numbers of the input */
    size_t x_jump;
    size_t column_step; /* partial sums of the column */
    size_t column_jump;
    size_t delta_jump; /* gradients of the output, after `outputs` for each position */
    float scale;       /* of the change of each weight */
} tr_map;
#define COLUMN_PARTS 4 /* partial sums for each pixel of the gradient that is sent back */

/* The functions marked "kernel" do nearly all the work. TR_KERNELS names a file with faster forms of
 * some of them, for one processor; it defines TR_HAS_... for each that it brings, and here that one
 * is left out. The bits are the same. TR_PLAIN switches all fast forms off. */
#if !defined(TR_KERNELS) && defined(__ARM_ARCH_7EM__) && defined(__ARM_FP) && defined(__OPTIMIZE__)
#define TR_KERNELS "tinyreptile_cortex_m4.h"
#endif
#if defined(TR_KERNELS) && !defined(TR_PLAIN)
#include TR_KERNELS
#endif

#ifndef TR_HAS_DOT
/* Kernel: the dot product of a (n) and b (n), in four partial sums that are added pairwise, then
 * what is left in order. */
static float dot(const float *a, const float *b, size_t n)
{
    float sum = 0.0f;
    size_t i = 0;
    if (n >= 4) {
        float p0 = a[0] * b[0];
        float p1 = a[1] * b[1];
        float p2 = a[2] * b[2];
        float p3 = a[3] * b[3];
        for (i = 4; i + 4 <= n; i += 4) {
            p0 += a[i] * b[i];
            p1 += a[i + 1] * b[i + 1];
            p2 += a[i + 2] * b[i + 2];
            p3 += a[i + 3] * b[i + 3];
        }
        sum = (p0 + p2) + (p1 + p3);
    }
    for (; i < n; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}
#endif

#ifndef TR_HAS_SQUARES
/* Kernel: the sum of squares of x (n) by dot(), or in any order where TR_BOUND is far away. */
TR_INLINE float bounded_squares(const float *x, size_t n)
{
    return dot(x, x, n);
}
#endif

#ifndef TR_HAS_ADD_SCALED
/* Kernel: target (n) += c * values (n) */
static void add_scaled(float *target, float c, const float *values, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        target[i] += c * values[i];
    }
}
#endif

#ifndef TR_HAS_DENSE_FORWARD
/* Kernel: out (outputs) = x (inputs) @ w (inputs, outputs) + bias (outputs), which follows w. Each
 * output starts with its bias and adds the inputs from first to last. */
static void dense_forward(float *out, const float *x, const float *w, size_t inputs, size_t outputs)
{
    const float *bias = w + inputs * outputs;
    if (outputs == 1) {
        *out = *bias + dot(x, w, inputs);
        return;
    }
    memcpy(out, bias, outputs * sizeof *out);
    for (size_t i = 0; i < inputs; i++) {
        add_scaled(out, x[i], w + i * outputs, outputs);
    }
}
#endif

#ifndef TR_HAS_DENSE_BACKWARD
/* Kernel: backward pass of a dense layer; delta (outputs) is the gradient of its output. The
 * gradient of its inputs takes the place of x (inputs). Returns that gradient's sum of squares. */
static float dense_backward(const tr_change *change, float *x, const float *delta, size_t inputs,
                            size_t outputs)
{
    const float *w = change->weights;
    float *target = change->target;
    float squares = 0.0f;
    for (size_t i = 0; i < inputs; i++, w += outputs, target += outputs) {
        const float input = x[i];
        x[i] = gated(change->gate, dot(w, delta, outputs), input);
        squares += x[i] * x[i];
        if (outputs == 1) { /* rounded in another order */
            *target += change->scale * *delta * input;
        } else {
            add_scaled(target, change->scale * input, delta, outputs);
        }
    }
    add_scaled(target, change->scale, delta, outputs); /* the bias */
    return squares;
}
#endif

#ifndef TR_HAS_DENSE_BACKWARD_FIRST
/* Kernel: the same for the first layer that learns, whose inputs x (inputs) need no gradient. */
static void dense_backward_first(const tr_change *change, const float *x, const float *delta,
                                 size_t inputs, size_t outputs)
{
    float *target = change->target;
    for (size_t i = 0; i < inputs; i++, target += outputs) {
        add_scaled(target, change->scale * x[i], delta, outputs);
    }
    add_scaled(target, change->scale, delta, outputs); /* the bias */
}
#endif

/* out (positions, outputs) = a dense layer on each window of x (time, channels) */
static void conv_forward(float *out, const float *x, const float *w, const tr_layer *layer)
{
    const size_t window = (size_t)layer->kernel * layer->inputs;
    const size_t step = (size_t)layer->stride * layer->inputs;
    for (size_t t = positions_of(layer); t > 0; t--, x += step, out += layer->outputs) {
        dense_forward(out, x, w, window, layer->outputs);
    }
}

#ifndef TR_HAS_CONV_ROW
/* Kernel: one row w (outputs) of a convolution's weight, four outputs at a time, then the rest one
 * by one. Each weight's gradient is summed over all positions, then target (outputs) gains scale
 * times it; each position's share of dx is added to column (time), or not if that is NULL. x is the
 * row's input at the first position, delta (positions, outputs) the gradient of the output. */
static void conv_row(float *target, float scale, const float *w, float *column, const float *x,
                     const float *delta, const tr_layer *layer)
{
    const size_t outputs = layer->outputs;
    const size_t step = (size_t)layer->stride * layer->inputs;
    for (size_t o = 0, width; o < outputs; o += width) {
        float gradient[4] = {0.0f};
        width = outputs - o < 4 ? 1 : 4;
        for (size_t t = 0; t < positions_of(layer); t++) {
            const float *d = delta + t * outputs + o;
            add_scaled(gradient, x[t * step], d, width);
            if (column) {
                column[t * layer->stride] += dot(w + o, d, width);
            }
        }
        add_scaled(target + o, scale, gradient, width);
    }
}
#endif

/* Each position's gradient goes to the bias, which lies behind the weight (inputs, outputs). */
static void conv_bias_backward(const tr_change *change, const float *delta, const tr_layer *layer)
{
    const size_t inputs = (size_t)layer->kernel * layer->inputs;
    float *bias = change->target + inputs * layer->outputs;
    for (size_t t = positions_of(layer); t > 0; t--, delta += layer->outputs) {
        add_scaled(bias, change->scale, delta, layer->outputs);
    }
}

/* Backward pass of a convolution, one input channel after the other: when all rows of a channel are
 * done, its gradients, collected in column (time), take the place of its inputs in x (time,
 * channels). delta (positions, outputs) is the gradient of the output. A processor may have a kernel
 * conv_back() that does all of this if it has the room. */
TR_ROOMY void conv_backward(const tr_change *change, float *x, float *column, const float *delta,
                             const tr_layer *layer)
{
    const size_t channels = layer->inputs;
#ifdef TR_HAS_CONV_BACK
    if (conv_back(change, x, x, delta, layer)) {
        return;
    }
#endif
    for (size_t channel = 0; channel < channels; channel++) {
        memset(column, 0, layer->time * sizeof *column);
        for (size_t k = 0; k < layer->kernel; k++) {
            const size_t row = k * channels + channel;
            const size_t at = row * layer->outputs;
            conv_row(change->target + at, change->scale, change->weights + at, column + k, x + row,
                     delta, layer);
        }
        for (size_t t = 0; t < layer->time; t++) {
            float *value = x + t * channels + channel;
            *value = gated(change->gate, column[t], *value);
        }
    }
    conv_bias_backward(change, delta, layer);
}

/* The same for the first layer that learns, whose inputs need no gradient. */
TR_INLINE void conv_backward_first(const tr_change *change, const float *x, const float *delta,
                                   const tr_layer *layer)
{
#ifdef TR_HAS_CONV_BACK
    if (conv_back(change, NULL, x, delta, layer)) {
        return;
    }
#endif
    for (size_t row = 0; row < (size_t)layer->kernel * layer->inputs; row++) {
        const size_t at = row * layer->outputs;
        conv_row(change->target + at, change->scale, change->weights + at, NULL, x + row, delta,
                 layer);
    }
    conv_bias_backward(change, delta, layer);
}

/* out (channels) = mean over time of x (time, channels) */
static void pool_forward(float *out, const float *x, size_t time,
                         size_t channels)
{
    const float share = 1.0f / (float)time;
    for (size_t c = 0; c < channels; c++) {
        float sum = 0.0f;
        for (size_t t = 0; t < time; t++) {
            sum += x[t * channels + c];
        }
        out[c] = sum * share;
    }
}

TR_INLINE void pool_backward(float *x, const float *delta, size_t time,
                          size_t channels, int gate)
{
    const float share = 1.0f / (float)time;
    for (size_t t = 0; t < time; t++, x += channels) {
        for (size_t c = 0; c < channels; c++) {
            x[c] = gated(gate, delta[c] * share, x[c]);
        }
    }
}

#ifndef TR_HAS_RELU_FORWARD
/* Kernel: out (n) = x (n), or zero where that is negative; out may be x. Returns the sum of squares
 * of x, as the output would hide a NaN. */
static float relu_forward(float *out, const float *x, size_t n)
{
    float squares = 0.0f;
    for (size_t i = 0; i < n; i++) {
        squares += x[i] * x[i];
        out[i] = relu(x[i]);
    }
    return squares;
}
#endif

/* What a network needs, or its first layers do; see tr_workspace_size(). */
typedef struct {
    size_t weights;
    size_t activations; /* floats of all layers' outputs */
    size_t scratch;     /* floats that the layers use in turn */
    size_t outputs;
    size_t first; /* index of the first layer with weights */
} tr_sizes;

static size_t add_layer(tr_sizes *sizes, const tr_network *network, const tr_layer *layer,
                        size_t size);

#include "tinyreptile_layers.h"

/* out (n) = layer(x (n)) of an elementwise layer; out may be x. Returns the sum of squares of what
 * could be out of bounds: nothing for a tanh. */
TR_OUTLINE float elementwise_forward(float *out, const float *x, const tr_layer *layer, size_t n)
{
    float squares = 0.0f;
    if (layer->kind == TR_KIND_RELU) {
        return relu_forward(out, x, n);
    }
    if (layer->kind == TR_KIND_TANH) {
        for (size_t i = 0; i < n; i++) {
            out[i] = tanh_inline(x[i]);
        }
        return 0.0f;
    }
    for (size_t i = 0; i < n; i++) {
        out[i] = layer->factor * x[i];
        squares += out[i] * out[i];
    }
    return squares;
}

/* ---- Networks -------------------------------------------------------------------------------- */

/* Whether it is a kind of tinyreptile_layers.h. */
TR_INLINE int is_linked(const tr_layer *layer)
{
    return layer->kind >= TR_KIND_SILU;
}

TR_INLINE int is_activation(const tr_layer *layer)
{
    return layer->kind == TR_KIND_TANH || layer->kind == TR_KIND_RELU;
}

TR_INLINE int is_elementwise(const tr_layer *layer)
{
    return is_activation(layer) || layer->kind == TR_KIND_SCALE;
}

/* An elementwise layer overwrites what it reads, unless that is the sample, or the output of an
 * activation, which the backward pass needs. */
TR_INLINE int works_in_place(const tr_network *network, const tr_layer *layer)
{
    return is_elementwise(layer) && layer > network->layers && !is_activation(layer - 1);
}

TR_INLINE size_t weights_of(const tr_layer *layer)
{
    const size_t fan_in = (size_t)layer->inputs * (layer->kernel ? layer->kernel : 1u);
    const int has_weights = layer->kind == TR_KIND_DENSE || layer->kind == TR_KIND_CONV1D;
    return has_weights ? fan_in * layer->outputs + layer->outputs : 0;
}

/* Numbers in a layer's output, from the numbers in its input. */
TR_INLINE size_t output_size(const tr_layer *layer, size_t size)
{
    if (is_elementwise(layer)) {
        return size;
    }
    return layer->kind == TR_KIND_CONV1D ? positions_of(layer) * layer->outputs : layer->outputs;
}

/* Numbers in a layer's input, from the numbers in its output. */
TR_INLINE size_t input_size(const tr_layer *layer, size_t size)
{
    return is_elementwise(layer) ? size : (size_t)layer->time * layer->inputs;
}

/* Whether one layer is well formed and takes `size` numbers. All products stay below 2^32: size is
 * at most TR_MAX_FLOATS = 2^24, and each field is checked against it before it multiplies. */
TR_SMALL static int layer_fits(const tr_layer *layer, size_t size)
{
    if (is_linked(layer)) {
        return layer->functions && layer->functions->fits(layer, size);
    }
    if (is_elementwise(layer)) {
        return layer->kind != TR_KIND_SCALE
            || (layer->factor == layer->factor && layer->factor != 0.0f
                && layer->factor <= TR_LIMIT && layer->factor >= -TR_LIMIT);
    }
    if (layer->inputs == 0 || layer->outputs == 0
        || (size_t)layer->time * layer->inputs != size) {
        return 0;
    }
    switch (layer->kind) {
    case TR_KIND_DENSE:
        return layer->kernel == 0 && layer->time == 1
            && (size_t)layer->inputs * layer->outputs < (size_t)TR_MAX_FLOATS;
    case TR_KIND_CONV1D:
        return layer->kernel > 0 && layer->stride > 0 && layer->kernel <= layer->time
            && (size_t)layer->outputs
                   < (size_t)TR_MAX_FLOATS / ((size_t)layer->kernel * layer->inputs)
            && (size_t)layer->outputs * positions_of(layer) < (size_t)TR_MAX_FLOATS;
    case TR_KIND_GLOBAL_AVERAGE_POOL:
        return layer->inputs == layer->outputs;
    default:
        return 0;
    }
}

/* Add a layer that takes `size` numbers, and return how many it gives. */
TR_SMALL static size_t add_layer(tr_sizes *sizes, const tr_network *network, const tr_layer *layer,
                                 size_t size)
{
    if (is_linked(layer)) {
        return layer->functions->add(sizes, network, layer, size);
    }
    sizes->weights += weights_of(layer);
    size = output_size(layer, size);
    sizes->activations += works_in_place(network, layer) ? 0 : size;
    return size;
}

/* Check a network in full and measure it. */
TR_SMALL static tr_status measure(tr_sizes *sizes, const tr_network *network)
{
    if (!network || !network->layers) {
        return TR_ERR_NULL;
    }
    if (network->loss != TR_MSE && network->loss != TR_CROSS_ENTROPY) {
        return TR_ERR_NETWORK;
    }
    tr_sizes found = {0, 0, 0, 0, 0};
    size_t size = network->inputs;
    for (size_t i = 0; i < network->layer_count; i++) {
        const tr_layer *layer = &network->layers[i];
        if (size == 0 || !layer_fits(layer, size)) {
            return TR_ERR_NETWORK;
        }
        if (found.weights == 0) {
            found.first = i;
        } else if (layer->kind == TR_KIND_CONV1D && layer->time > found.scratch) {
            found.scratch = layer->time;
        }
        size = add_layer(&found, network, layer, size);
        if (found.weights > (size_t)TR_MAX_FLOATS || found.activations > (size_t)TR_MAX_FLOATS) {
            return TR_ERR_NETWORK;
        }
    }
    found.outputs = size;
    if (found.weights == 0 || size > UINT16_MAX) {
        return TR_ERR_NETWORK;
    }
    *sizes = found;
    return TR_OK;
}

tr_status tr_weight_count(size_t *weights, const tr_network *network)
{
    tr_sizes sizes;
    const tr_status status = weights ? measure(&sizes, network) : TR_ERR_NULL;
    if (status == TR_OK) {
        *weights = sizes.weights;
    }
    return status;
}

tr_status tr_workspace_size(size_t *floats, const tr_network *network)
{
    tr_sizes sizes;
    const tr_status status = floats ? measure(&sizes, network) : TR_ERR_NULL;
    if (status == TR_OK) {
        *floats = sizes.activations + sizes.scratch;
    }
    return status;
}

tr_status tr_output_count(size_t *outputs, const tr_network *network)
{
    tr_sizes sizes;
    const tr_status status = outputs ? measure(&sizes, network) : TR_ERR_NULL;
    if (status == TR_OK) {
        *outputs = sizes.outputs;
    }
    return status;
}

/* ---- Models ---------------------------------------------------------------------------------- */

TR_SMALL tr_status tr_init(tr_model *model, const tr_network *network, float *weights, size_t weight_count,
                  float *workspace, size_t workspace_floats)
{
    if (!model || !weights || !workspace) {
        return TR_ERR_NULL;
    }
    tr_sizes sizes;
    const tr_status status = measure(&sizes, network);
    if (status != TR_OK) {
        return status;
    }
    if (weight_count != sizes.weights) {
        return TR_ERR_WEIGHTS;
    }
    if ((uintptr_t)weights % sizeof *weights || (uintptr_t)workspace % sizeof *workspace) {
        return TR_ERR_ALIGNMENT;
    }
    if (workspace_floats < sizes.activations + sizes.scratch) {
        return TR_ERR_WORKSPACE;
    }
    model->network = network;
    model->weights = weights;
    model->workspace = workspace;
    model->output = workspace + (sizes.activations - sizes.outputs);
    model->weight_count = (uint32_t)sizes.weights;
    model->steps = 0;
    model->outputs = (uint16_t)sizes.outputs;
    model->first = (uint16_t)sizes.first;
    model->held = network->layer_count;
    return TR_OK;
}

/* Whether no value is NaN, infinite, or beyond TR_LIMIT together with the others. */
TR_INLINE int is_sound(const float *values, size_t n)
{
    return bounded_squares(values, n) <= TR_BOUND; /* a NaN compares as false */
}

tr_status tr_reset(tr_model *model, const float *phi)
{
    if (!model || !phi) {
        return TR_ERR_NULL;
    }
    if (!is_sound(phi, model->weight_count)) {
        return TR_ERR_PHI;
    }
    memcpy(model->weights, phi, model->weight_count * sizeof *phi);
    model->steps = 0;
    return TR_OK;
}

static int has_weights(const tr_layer *layer)
{
    return (is_linked(layer) ? layer->functions->weights(layer) : weights_of(layer)) > 0;
}

TR_SMALL tr_status tr_freeze(tr_model *model, size_t layers)
{
    if (!model) {
        return TR_ERR_NULL;
    }
    const tr_network *network = model->network;
    for (size_t i = layers; i < network->layer_count; i++) {
        if (has_weights(&network->layers[i])) {
            model->first = (uint16_t)i;
            return TR_OK;
        }
    }
    return TR_ERR_NETWORK;
}

TR_SMALL tr_status tr_learn_part(tr_model *model, tr_part part)
{
    if (!model) {
        return TR_ERR_NULL;
    }
    const tr_network *network = model->network;
    size_t head = network->layer_count;
    while (head > 0 && !has_weights(&network->layers[head - 1])) {
        head--;
    }
    tr_status status = tr_freeze(model, part == TR_HEAD && head > 0 ? head - 1 : 0);
    if (status == TR_OK && part == TR_BODY && model->first == head - 1) {
        status = TR_ERR_NETWORK; /* the head is all there is */
    }
    if (status == TR_OK) {
        model->held = (uint16_t)(part == TR_BODY ? head - 1 : network->layer_count);
    }
    return status;
}

/* ---- Forward pass ---------------------------------------------------------------------------- */

/* All layers for one sample. Checks the sample, and all activations that the backward pass will
 * multiply by, so that a step that goes wrong is refused before it has moved a weight. The output
 * itself is left to the caller to check. */
#ifdef TR_HAS_SQUARES /* `surely` refuses whatever is near the bound, so that any order will do */
TR_INLINE tr_status pass_forward(const tr_model *model, const float *x, const int surely)
#else
enum { surely = 0 };
static tr_status forward_pass(const tr_model *model, const float *x)
#endif
{
    const tr_network *network = model->network;
    const float *w = model->weights;
    const float *in = x;
    float *out = model->workspace;
    size_t size = network->inputs;
    float squares = 0.0f;
    if (!is_sound(x, size)) {
        return TR_ERR_SAMPLE;
    }
    const tr_layer *end = &network->layers[network->layer_count];
    for (const tr_layer *layer = network->layers; layer < end; layer++) {
        if (works_in_place(network, layer)) {
            out -= size;
        }
        switch (layer->kind) {
        case TR_KIND_DENSE:
            dense_forward(out, in, w, layer->inputs, layer->outputs);
            w += weights_of(layer);
            size = layer->outputs;
            break;
        case TR_KIND_CONV1D:
            conv_forward(out, in, w, layer);
            w += weights_of(layer);
            size = output_size(layer, size);
            break;
        case TR_KIND_GLOBAL_AVERAGE_POOL:
            pool_forward(out, in, layer->time, layer->inputs);
            size = layer->outputs;
            break;
        case TR_KIND_TANH:
        case TR_KIND_RELU:
        case TR_KIND_SCALE:
            squares += elementwise_forward(out, in, layer, size);
            break;
        default:
            out = layer->functions->turn(model, layer, in, out, w, size);
            w += layer->functions->weights(layer);
            size = layer->functions->outputs(layer, size);
            break;
        }
        /* What an in-place layer is about to overwrite, it checks itself; the output is checked
         * by the callers. */
        if (layer + 1 < end && !is_elementwise(layer) && !works_in_place(network, layer + 1)) {
            squares += surely ? bounded_squares(out, size) : dot(out, out, size);
        }
        in = out;
        out += size;
    }
    return squares <= (surely ? 0.5f * TR_BOUND : TR_BOUND) ? TR_OK : TR_ERR_DIVERGED;
}

#ifdef TR_HAS_SQUARES
static tr_status forward_pass(const tr_model *model, const float *x)
{
    const tr_status status = pass_forward(model, x, 1);
    return status == TR_ERR_DIVERGED ? pass_forward(model, x, 0) : status;
}
#endif

/* The forward pass, and a check of the output. */
static tr_status checked_forward_pass(const tr_model *model, const float *x)
{
    const tr_status status = forward_pass(model, x);
    if (status == TR_OK && !is_sound(model->output, model->outputs)) {
        return TR_ERR_DIVERGED;
    }
    return status;
}

tr_status tr_forward(tr_model *model, float *output, const float *x)
{
    if (!model || !output || !x) {
        return TR_ERR_NULL;
    }
    const tr_status status = checked_forward_pass(model, x);
    if (status == TR_OK) {
        memcpy(output, model->output, model->outputs * sizeof *output);
    }
    return status;
}

/* Index of the largest of n values; the first of equals, as in NumPy. */
static size_t largest(const float *values, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++) {
        if (values[i] > values[best]) {
            best = i;
        }
    }
    return best;
}

/* Turn n logits into exp(logit - top), top the largest; returns their sum, between 1 and n. */
static float exponentials(float *logits, float top, size_t n)
{
    float sum = 0.0f;
    for (size_t i = 0; i < n; i++) {
        logits[i] = tr_expf(logits[i] - top);
        sum += logits[i];
    }
    return sum;
}

tr_status tr_classify(tr_model *model, int32_t *label, float *probability, const float *x)
{
    if (!model || !label || !x) {
        return TR_ERR_NULL;
    }
    const tr_status status = checked_forward_pass(model, x);
    if (status == TR_OK) {
        const size_t best = largest(model->output, model->outputs);
        *label = (int32_t)best;
        if (probability) {
            *probability = 1.0f / exponentials(model->output, model->output[best], model->outputs);
        }
    }
    return status;
}

/* ---- Losses ---------------------------------------------------------------------------------- */

TR_INLINE const tr_layer *last_layer(const tr_model *model)
{
    return &model->network->layers[model->network->layer_count - 1u];
}

/* What a sample should give: `values` for TR_MSE, `label` for TR_CROSS_ENTROPY. */
typedef struct {
    const float *values;
    int32_t label;
} tr_answer;

/* Turn the model's output into share * the gradient of the mean squared error. */
static tr_status squared_error(const tr_model *model, float *loss, const float *values, float share)
{
    float *output = model->output;
    const size_t n = model->outputs;
    const int gate = last_layer(model)->kind;
    const float factor = 2.0f * share / (float)n;
    float sum = 0.0f;
    for (size_t i = 0; i < n; i++) {
        const float error = output[i] - values[i];
        sum += error * error;
        output[i] = gated(gate, error * factor, output[i]);
    }
    if (!(sum <= TR_BOUND)) {
        return is_sound(values, n) ? TR_ERR_DIVERGED : TR_ERR_TARGET;
    }
    if (loss) {
        *loss = sum / (float)n;
    }
    return TR_OK;
}

/* The gradient of the cross-entropy where the last layer is an activation, whose output is needed
 * to the end, for its derivative. Returns the sum of the exponentials. */
TR_SMALL TR_OUTLINE float activated_softmax(const tr_model *model, float top, int32_t label,
                                            float share)
{
    float *output = model->output;
    float sum = 0.0f;
    for (size_t i = 0; i < model->outputs; i++) {
        sum += tr_expf(output[i] - top);
    }
    for (size_t i = 0; i < model->outputs; i++) {
        const float hit = i == (size_t)label ? share : 0.0f;
        const float softmax = tr_expf(output[i] - top) * (share / sum);
        output[i] = gated(last_layer(model)->kind, softmax - hit, output[i]);
    }
    return sum;
}

/* Turn the model's output into share * the gradient of the cross-entropy. */
static tr_status cross_entropy(const tr_model *model, float *loss, int32_t label, float share)
{
    float *output = model->output;
    const size_t n = model->outputs;
    if (!is_sound(output, n)) {
        return TR_ERR_DIVERGED;
    }
    if (label < 0 || label >= (int32_t)n) {
        return TR_ERR_LABEL;
    }
    const float top = output[largest(output, n)];
    const float margin = top - output[label];
    float sum = 0.0f;
    if (is_activation(last_layer(model))) {
        sum = activated_softmax(model, top, label, share);
    } else {
        sum = exponentials(output, top, n);
        const float factor = share / sum;
        for (size_t i = 0; i < n; i++) {
            output[i] *= factor;
        }
        output[label] -= share;
    }
    if (loss) {
        *loss = tr_logf(sum) + margin;
    }
    return TR_OK;
}

/* Turn the model's output into share * the gradient of the loss, times the derivative of the last
 * layer if that is an activation. Checks output, target and label; `loss` may be NULL. */
static tr_status loss_gradient(const tr_model *model, float *loss, tr_answer answer, float share)
{
    return model->network->loss == TR_MSE ? squared_error(model, loss, answer.values, share)
                                          : cross_entropy(model, loss, answer.label, share);
}

/* Forward pass of one sample, then the gradient of its loss in model->output. */
static tr_status forward_and_loss(const tr_model *model, float *loss, const float *x,
                                  tr_answer answer, float share)
{
    const tr_status status = forward_pass(model, x);
    return status == TR_OK ? loss_gradient(model, loss, answer, share) : status;
}

/* ---- Backward pass --------------------------------------------------------------------------- */

TR_SMALL TR_OUTLINE void scale_in_place(float *values, float factor, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        values[i] *= factor;
    }
}

/* An elementwise layer that did not work in place: its gradient (n) lies behind dx (n). */
TR_SMALL TR_OUTLINE void elementwise_backward(float *dx, const tr_layer *layer, int gate, size_t n)
{
    const float factor = layer->kind == TR_KIND_SCALE ? layer->factor : 1.0f;
    for (size_t i = 0; i < n; i++) {
        dx[i] = gated(gate, dx[n + i] * factor, dx[i]);
    }
}

/* From the gradient in model->output down to the first layer that learns. Every gradient takes the
 * place of the activation it belongs to; target (weight_count) gains scale * the weights' gradients
 * and may be the weights themselves. Not inlined: the forward pass need not stand on its frame. */
TR_OUTLINE tr_status backward_pass(const tr_model *model, const float *x, float *target, float scale)
{
    const size_t count = model->weight_count;
    tr_change change = {model->weights + count, target + count, scale, 0};
    float *delta = model->output; /* (size) the gradient of the layer's output */
    size_t size = model->outputs;
    const tr_layer *layer = &model->network->layers[model->network->layer_count];
    while (layer > &model->network->layers[model->first]) {
        layer--;
        change.scale = layer < &model->network->layers[model->held] ? scale : 0.0f;
        if (is_linked(layer)) {
            delta = layer->functions->turn_back(model, &change, layer, x);
            if (!delta) {
                return TR_ERR_OVERFLOW;
            }
            size = layer->functions->inputs(layer, size);
            continue;
        }
        const size_t inputs = input_size(layer, size);
        change.weights -= weights_of(layer);
        change.target -= weights_of(layer);
        change.gate = layer > model->network->layers ? layer[-1].kind : 0;
        if (works_in_place(model->network, layer)) {
            if (layer->kind == TR_KIND_SCALE) {
                scale_in_place(delta, layer->factor, size);
            }
            continue; /* an activation's derivative was applied by whoever wrote delta */
        }
        if (layer == &model->network->layers[model->first]) {
            const float *input =
                layer > model->network->layers ? delta - inputs : x;
            if (layer->kind == TR_KIND_DENSE) {
                dense_backward_first(&change, input, delta, inputs, size);
            } else {
                conv_backward_first(&change, input, delta, layer);
            }
            break;
        }
        float *dx = delta - inputs; /* (inputs) takes the place of the layer's input */
        float squares;
        if (layer->kind == TR_KIND_DENSE) {
            squares = dense_backward(&change, dx, delta, inputs, size);
        } else {
            if (layer->kind == TR_KIND_CONV1D) {
                conv_backward(&change, dx, model->output + model->outputs, delta, layer);
            } else if (layer->kind == TR_KIND_GLOBAL_AVERAGE_POOL) {
                pool_backward(dx, delta, layer->time, layer->inputs, change.gate);
            } else {
                elementwise_backward(dx, layer, change.gate, size);
            }
            squares = bounded_squares(dx, inputs);
        }
        if (!(squares <= TR_BOUND)) { /* a NaN compares as false */
            return TR_ERR_OVERFLOW;
        }
        delta = dx;
        size = inputs;
    }
    return TR_OK;
}

/* ---- Learning -------------------------------------------------------------------------------- */

static int is_rate(float rate)
{
    return rate >= 0.0f && rate <= TR_MAX_RATE;
}

static tr_status learn_one(tr_model *model, float *loss, const float *x, tr_answer answer,
                           float rate)
{
    tr_status status = forward_and_loss(model, loss, x, answer, 1.0f);
    if (status == TR_OK) {
        status = backward_pass(model, x, model->weights, -rate); /* weights -= rate * gradient */
    }
    model->steps += status == TR_OK;
    return status;
}

tr_status tr_learn_value(tr_model *model, float *loss, const float *x, const float *target,
                         float rate)
{
    if (!model || !x || !target) {
        return TR_ERR_NULL;
    }
    if (model->network->loss != TR_MSE) {
        return TR_ERR_LABEL;
    }
    const tr_answer answer = {target, 0};
    return is_rate(rate) ? learn_one(model, loss, x, answer, rate) : TR_ERR_RATE;
}

tr_status tr_learn_label(tr_model *model, float *loss, const float *x, int32_t label, float rate)
{
    if (!model || !x) {
        return TR_ERR_NULL;
    }
    if (model->network->loss != TR_CROSS_ENTROPY) {
        return TR_ERR_TARGET;
    }
    const tr_answer answer = {NULL, label};
    return is_rate(rate) ? learn_one(model, loss, x, answer, rate) : TR_ERR_RATE;
}

/* NULL pointers, and whether the samples carry the kind of answer that the loss needs. */
static tr_status check_samples(const tr_model *model, const tr_samples *samples)
{
    if (!model || !samples || !samples->x) {
        return TR_ERR_NULL;
    }
    if (model->network->loss == TR_MSE) {
        return samples->targets ? TR_OK : TR_ERR_TARGET;
    }
    return samples->labels ? TR_OK : TR_ERR_LABEL;
}

TR_INLINE const float *sample_at(const tr_model *model, const tr_samples *samples, size_t i)
{
    return samples->x + i * model->network->inputs;
}

TR_INLINE tr_answer answer_at(const tr_model *model, const tr_samples *samples, size_t i)
{
    const int regression = model->network->loss == TR_MSE;
    const tr_answer answer = {regression ? samples->targets + i * model->outputs : NULL,
                              regression ? 0 : samples->labels[i]};
    return answer;
}

tr_status tr_learn_online(tr_model *model, float *losses, const tr_samples *samples, float rate)
{
    tr_status status = check_samples(model, samples);
    if (status == TR_OK && !is_rate(rate)) {
        status = TR_ERR_RATE;
    }
    for (size_t i = 0; status == TR_OK && i < samples->count; i++) {
        status = learn_one(model, losses ? losses + i : NULL, sample_at(model, samples, i),
                           answer_at(model, samples, i), rate);
    }
    return status;
}

tr_status tr_gradient(tr_model *model, float *loss, float *gradient, const tr_samples *samples)
{
    tr_status status = check_samples(model, samples);
    if (status != TR_OK || !gradient) {
        return status != TR_OK ? status : TR_ERR_NULL;
    }
    const float share = 1.0f / (float)samples->count;
    float mean = 0.0f;
    memset(gradient, 0, model->weight_count * sizeof *gradient);
    for (size_t i = 0; status == TR_OK && i < samples->count; i++) {
        const float *x = sample_at(model, samples, i);
        float one;
        status = forward_and_loss(model, &one, x, answer_at(model, samples, i), share);
        if (status == TR_OK) {
            mean += one * share;
            status = backward_pass(model, x, gradient, 1.0f);
        }
    }
    if (status == TR_OK && loss) {
        *loss = mean;
    }
    return status == TR_ERR_OVERFLOW ? TR_ERR_DIVERGED : status;
}

tr_status tr_learn_minibatch(tr_model *model, float *loss, float *gradient,
                             const tr_samples *samples, float rate)
{
    if (!is_rate(rate)) {
        return TR_ERR_RATE;
    }
    const tr_status status = tr_gradient(model, loss, gradient, samples);
    if (status == TR_OK) {
        add_scaled(model->weights, -rate, gradient, model->weight_count);
        model->steps++;
    }
    return status;
}

tr_status tr_evaluate(tr_model *model, float *loss, size_t *correct, const tr_samples *samples)
{
    tr_status status = check_samples(model, samples);
    float sum = 0.0f;
    size_t right = 0;
    for (size_t i = 0; status == TR_OK && i < samples->count; i++) {
        const tr_answer answer = answer_at(model, samples, i);
        status = forward_pass(model, sample_at(model, samples, i));
        if (status == TR_OK) {
            const size_t best = largest(model->output, model->outputs);
            float one;
            status = loss_gradient(model, &one, answer, 1.0f);
            right += !answer.values && best == (size_t)answer.label;
            sum += status == TR_OK ? one : 0.0f;
        }
    }
    if (status == TR_OK && loss) {
        *loss = samples->count > 0 ? sum / (float)samples->count : 0.0f;
    }
    if (status == TR_OK && correct) {
        *correct = right;
    }
    return status;
}

/* ---- Class means ----------------------------------------------------------------------------- */

/* The first weight of the last layer; NULL if that cannot hold class means. */
TR_SMALL static float *means_of(const tr_model *model)
{
    const tr_layer *head = last_layer(model);
    if (head->kind != TR_KIND_DENSE || model->network->loss != TR_CROSS_ENTROPY) {
        return NULL;
    }
    return model->weights + (model->weight_count - weights_of(head));
}

TR_SMALL tr_status tr_reset_prototypes(tr_model *model, tr_prototypes *prototypes)
{
    if (!model || !prototypes || !prototypes->counts) {
        return TR_ERR_NULL;
    }
    float *w = means_of(model);
    if (!w) {
        return TR_ERR_NETWORK;
    }
    float *bias = model->weights + (model->weight_count - model->outputs);
    memset(w, 0, (size_t)(bias - w) * sizeof *w);
    for (size_t o = 0; o < model->outputs; o++) {
        bias[o] = TR_UNSEEN;
        prototypes->counts[o] = 0;
    }
    prototypes->seen = 0;
    return TR_OK;
}

/* The cross-entropy of model->output, which turns into its gradient. A class without a mean has so low
 * an output that its share is 0. */
TR_SMALL static float prototype_loss(const tr_model *model, int32_t label)
{
    float top = model->output[0];
    for (size_t o = 1; o < model->outputs; o++) {
        top = model->output[o] > top ? model->output[o] : top;
    }
    const float margin = top - model->output[label];
    return tr_logf(activated_softmax(model, top, label, 1.0f)) + margin;
}

/* Let the mean of a class take in features (n). If `dx` (n) is not NULL, which may be the features
 * themselves, it receives the gradient of the features, times the derivative of the layer that made
 * them; delta (outputs) is the gradient of the last layer's output. Returns the gradient's sum of
 * squares without that derivative. */
TR_SMALL static float take_in(const tr_model *model, const tr_prototypes *prototypes, float *dx,
                              const float *features, size_t label)
{
    const tr_layer *head = last_layer(model);
    const float share = 1.0f / (float)prototypes->counts[label];
    const float twice = 2.0f * prototypes->scale;
    float *row = means_of(model);
    float squares = 0.0f;
    float length = 0.0f;
    for (size_t i = 0; i < head->inputs; i++, row += head->outputs) {
        const float feature = features[i];
        if (dx) {
            const float gradient = dot(row, model->output, head->outputs);
            squares += gradient * gradient;
            dx[i] = gated(head[-1].kind, gradient, feature);
        }
        row[label] += share * (twice * feature - row[label]);
        length += row[label] * row[label];
    }
    row[label] = -length / (2.0f * twice); /* the biases come after the last row */
    for (size_t o = 0; o < head->outputs; o++) {
        const float unseen = TR_UNSEEN + 8.0f * row[label];
        row[o] = prototypes->counts[o] == 0 && unseen < row[o] ? unseen : row[o];
    }
    return squares;
}

/* The backward pass of all layers but the last; dx is the gradient of that one's inputs. */
TR_SMALL static tr_status body_backward(const tr_model *model, const float *x, float *dx, float rate)
{
    tr_network network = *model->network;
    tr_model body = *model;
    const tr_layer *head = last_layer(model);
    network.layer_count--;
    body.network = &network;
    body.weight_count -= (uint32_t)weights_of(head);
    body.output = dx;
    body.outputs = head->inputs;
    return backward_pass(&body, x, model->weights, -rate);
}

TR_SMALL tr_status tr_learn_prototype(tr_model *model, tr_prototypes *prototypes, float *loss,
                                      const float *x, int32_t label, float rate)
{
    if (!model || !prototypes || !prototypes->counts || !x) {
        return TR_ERR_NULL;
    }
    if (!means_of(model)) {
        return TR_ERR_NETWORK;
    }
    const float scale = prototypes->scale;
    const float clip = prototypes->clip;
    if (!(rate >= 0.0f && rate <= TR_MAX_RATE) || !(scale >= 1e-6f && scale <= 100.0f)
        || !(clip >= 1e-6f && clip <= TR_LIMIT)) {
        return TR_ERR_RATE;
    }
    if (label < 0 || label >= (int32_t)model->outputs) {
        return TR_ERR_LABEL;
    }
    uint16_t *count = prototypes->counts + label;
    const int learns = *count > 0 && prototypes->seen > 1;
    tr_status status = forward_pass(model, x);
    if (status == TR_OK && !is_sound(model->output, model->outputs)) {
        status = TR_ERR_DIVERGED;
    }
    if (status != TR_OK) {
        return status;
    }
    const float before = learns ? prototype_loss(model, label) : -1.0f;
    if (loss) {
        *loss = before;
    }
    const tr_network *network = model->network;
    const size_t last = network->layer_count - 1u;
    const size_t inputs = last_layer(model)->inputs;
    float *features = model->output - inputs; /* unless the sample is its own features */
    float *dx = learns && rate > 0.0f && model->first < last ? features : NULL;
    prototypes->seen = (uint16_t)(prototypes->seen + (*count == 0));
    *count = (uint16_t)(*count + (*count < UINT16_MAX));
    const float squares = take_in(model, prototypes, dx, last > 0 ? features : x, (size_t)label);
    if (dx) {
        if (squares > clip * clip) {
            scale_in_place(dx, clip * tr_rsqrtf(squares), inputs);
        }
        status = body_backward(model, x, dx, rate);
    }
    model->steps += status == TR_OK;
    return status;
}

TR_SMALL tr_status tr_cosine_prototypes(tr_model *model, const tr_prototypes *prototypes)
{
    if (!model || !prototypes || !prototypes->counts) {
        return TR_ERR_NULL;
    }
    float *w = means_of(model);
    if (!w) {
        return TR_ERR_NETWORK;
    }
    const size_t outputs = model->outputs;
    const float *end = model->weights + (model->weight_count - outputs);
    for (size_t o = 0; o < outputs; o++) {
        float squares = 0.0f;
        for (const float *mean = w + o; mean < end; mean += outputs) {
            squares += *mean * *mean;
        }
        const float factor = squares > 1e-30f ? tr_rsqrtf(squares) : 0.0f;
        for (float *mean = w + o; mean < end; mean += outputs) {
            *mean *= factor;
        }
        if (prototypes->counts[o] > 0) {
            model->weights[model->weight_count - outputs + o] = 0.0f;
        }
    }
    return TR_OK;
}
