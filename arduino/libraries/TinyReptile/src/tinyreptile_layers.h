/* Kinds of layer that not every network has: convolution over an image, layer normalisation, SiLU.
 *
 * Part of tinyreptile_core.c, which includes it and defines what is used here. A kind is one
 * tr_functions; only layers point to it, so a sketch whose network has no such layer has none of
 * this in its flash. As there, this file defines the order of every sum, and a processor may have
 * faster forms of the functions marked "kernel".
 */
#ifndef TINYREPTILE_LAYERS_H
#define TINYREPTILE_LAYERS_H

/* A layer's turn in a backward pass. */
typedef struct {
    const tr_layer *layer;
    const float *x; /* its input */
    float *dx;      /* the input's place, for its gradient; NULL if nobody needs that */
    float *delta;   /* the gradient of its output; behind the floats that the layer keeps */
    float *scratch;
    size_t n; /* numbers in the input */
    int silu; /* whether a SiLU has taken the place of its output, and leaves its derivative to it */
} tr_step;

/* What a kind of layer can do; n is the numbers in its input. */
struct tr_functions {
    int (*fits)(const tr_layer *layer, size_t n); /* well formed, and takes n numbers? */
    size_t (*weights)(const tr_layer *layer);
    size_t (*inputs)(const tr_layer *layer, size_t outputs);
    size_t (*outputs)(const tr_layer *layer, size_t n);
    /* Floats that it keeps before its output for the backward pass; -n if it works in place. */
    ptrdiff_t (*kept)(const tr_layer *layer, const tr_layer *before, size_t n);
    size_t (*scratch)(const tr_layer *layer, int sends_back);
    void (*forward)(float *out, const float *x, const float *w, float *scratch,
                    const tr_layer *layer, size_t n);
    /* Writes dx and changes the weights. Returns the sum of squares of dx. */
    float (*backward)(const tr_change *change, const tr_step *step);
    /* What the core calls: these three do for a layer what measure(), forward_pass() and
     * backward_pass() do for a kind that they know. They are here to be linked with the kinds. */
    size_t (*add)(tr_sizes *sizes, const tr_network *network, const tr_layer *layer, size_t n);
    float *(*turn)(const tr_model *model, const tr_layer *layer, const float *in, float *out,
                   const float *w, size_t n);
    float *(*turn_back)(const tr_model *model, tr_change *change, const tr_layer *layer,
                        const float *x);
};
#define TURNS add_linked, take_turn, take_turn_back

static ptrdiff_t kept_by(const tr_network *network, const tr_layer *layer, size_t n)
{
    return layer->functions->kept(layer, layer > network->layers ? layer - 1 : NULL, n);
}

/* Add what the layer needs. Returns the numbers in its output. */
static size_t add_linked(tr_sizes *sizes, const tr_network *network, const tr_layer *layer, size_t n)
{
    const tr_functions *own = layer->functions;
    const size_t outputs = own->outputs(layer, n);
    const size_t scratch = own->scratch(layer, sizes->weights > 0);
    sizes->scratch = scratch > sizes->scratch ? scratch : sizes->scratch;
    sizes->weights += own->weights(layer);
    sizes->activations += (size_t)(kept_by(network, layer, n) + (ptrdiff_t)outputs);
    return outputs;
}

/* Forward pass; `out` is the end of all outputs before. Returns where this one lies. */
static float *take_turn(const tr_model *model, const tr_layer *layer, const float *in, float *out,
                        const float *w, size_t n)
{
    out += kept_by(model->network, layer, n);
    layer->functions->forward(out, in, w, model->output + model->outputs, layer, n);
    return out;
}

/* Backward pass; x is the sample. Where the layer's input and output lie is measured once more, which
 * spares backward_pass() the RAM to hand it over. Returns where the gradient of the input lies, or
 * NULL if that is out of bounds. */
static float *take_turn_back(const tr_model *model, tr_change *change, const tr_layer *layer,
                             const float *x)
{
    const tr_functions *own = layer->functions;
    const tr_network *network = model->network;
    const tr_layer *end = &network->layers[network->layer_count];
    tr_sizes before = {0, 0, 0, 0, 0};
    size_t n = network->inputs;
    for (const tr_layer *other = network->layers; other < layer; other++) {
        n = add_layer(&before, network, other, n);
    }
    const ptrdiff_t kept = kept_by(network, layer, n);
    const int is_first = layer == network->layers; /* then its input is the sample */
    float *end_before = model->workspace + before.activations;
    float *place = is_first ? end_before : end_before - n;
    change->weights -= own->weights(layer);
    change->target -= own->weights(layer);
    change->gate = is_first ? 0 : layer[-1].kind;
    if (kept < 0) { /* in place: the layer before does all, and this delta is its delta */
        return place;
    }
    const tr_step step = {
        layer,
        is_first ? x : place,
        layer > &network->layers[model->first] ? place : NULL,
        end_before + kept,
        model->output + model->outputs,
        n,
        layer + 1 < end && layer[1].kind == TR_KIND_SILU,
    };
    return own->backward(change, &step) <= TR_BOUND ? place : NULL; /* a NaN compares as false */
}

/* For kinds with neither weights nor scratch, and for those that keep the shape. */
static size_t no_weights(const tr_layer *layer)
{
    (void)layer;
    return 0;
}

static size_t no_scratch(const tr_layer *layer, int sends_back)
{
    (void)layer, (void)sends_back;
    return 0;
}

static size_t same_size(const tr_layer *layer, size_t n)
{
    (void)layer;
    return n;
}

/* ---- SiLU ------------------------------------------------------------------------------------ */

/* 1 / (1 + exp(-x)). No branch, and the exponential of a negative number, which cannot overflow. */
TR_INLINE float sigmoid(float x)
{
    const float negative = x < 0.0f ? x : -x;
    const float e = exp_inline(negative > -86.0f ? negative : -86.0f);
    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

/* Derivative of x * sigmoid(x). */
TR_INLINE float silu_slope(float x)
{
    const float s = sigmoid(x);
    return s * (1.0f + x * (1.0f - s));
}

static int silu_fits(const tr_layer *layer, size_t n)
{
    return layer->kind == TR_KIND_SILU && n > 0;
}

/* On a normalisation it works in place, as that one can make the input once more. */
static ptrdiff_t silu_kept(const tr_layer *layer, const tr_layer *before, size_t n)
{
    (void)layer;
    return before && before->kind == TR_KIND_LAYER_NORM ? -(ptrdiff_t)n : 0;
}

static void silu_forward(float *out, const float *x, const float *w, float *scratch,
                         const tr_layer *layer, size_t n)
{
    size_t i = 0;
    (void)w, (void)scratch, (void)layer;
#ifdef TR_HAS_SILU_LANES
    i = silu_lanes(out, x, n);
#endif
    for (; i < n; i++) {
        out[i] = x[i] * sigmoid(x[i]);
    }
}

static float silu_backward(const tr_change *change, const tr_step *step)
{
    for (size_t i = 0; i < step->n; i++) {
        const float x = step->x[i];
        step->dx[i] = gated(change->gate, step->delta[i] * silu_slope(x), x);
    }
    return bounded_squares(step->dx, step->n);
}

const tr_functions tr_silu = {silu_fits, no_weights, same_size,    same_size,
                              silu_kept, no_scratch, silu_forward, silu_backward, TURNS};

/* ---- Layer normalisation --------------------------------------------------------------------- */

#define NORM_EPSILON 1e-5f /* added to the variance */
#define NORM_KEPT 2        /* mean, and 1 / standard deviation */
#define NORM_WIDTH 8       /* channels side by side, for compilers that use SIMD */

static int norm_fits(const tr_layer *layer, size_t n)
{
    return layer->kind == TR_KIND_LAYER_NORM && layer->width == 1 && layer->inputs > 0
        && layer->inputs == layer->outputs && (size_t)layer->time * layer->inputs == n;
}

static size_t norm_weights(const tr_layer *layer)
{
    return 2 * (size_t)layer->inputs;
}

static ptrdiff_t norm_kept(const tr_layer *layer, const tr_layer *before, size_t n)
{
    (void)layer, (void)before, (void)n;
    return NORM_KEPT;
}

/* Sum of x (n), or of the squares of its distances from a mean, in four partial sums as in dot(). */
TR_INLINE float norm_sum(const float *x, float mean, int squares, size_t n)
{
    float part[4] = {0.0f};
    float sum;
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        for (size_t j = 0; j < 4; j++) {
            const float distance = x[i + j] - mean;
            part[j] += squares ? distance * distance : x[i + j];
        }
    }
    sum = (part[0] + part[2]) + (part[1] + part[3]);
    for (; i < n; i++) {
        const float distance = x[i] - mean;
        sum += squares ? distance * distance : x[i];
    }
    return sum;
}

/* out (positions, channels) = gain * (x - mean) / standard deviation + bias; keeps both. */
static void norm_forward(float *out, const float *x, const float *w, float *scratch,
                         const tr_layer *layer, size_t n)
{
    const size_t channels = layer->inputs;
    const float *bias = w + channels;
    const float share = 1.0f / (float)n;
    const float mean = norm_sum(x, 0.0f, 0, n) * share;
    const float root = tr_rsqrtf(norm_sum(x, mean, 1, n) * share + NORM_EPSILON);
    (void)scratch;
    out[-2] = mean;
    out[-1] = root;
#ifdef TR_HAS_NORM_SCALE
    if (norm_scale(out, x, w, mean, root, n, channels)) {
        return;
    }
#endif
    for (; n > 0; n -= channels, out += channels, x += channels) {
        for (size_t c = 0; c < channels; c++) {
            out[c] = w[c] * ((x[c] - mean) * root) + bias[c];
        }
    }
}

/* `width` channels from `first` on: each one's gain and bias learn; delta becomes delta * gain, and
 * sums gains the sum of that and of that times the normalised input. */
TR_INLINE void norm_channels(const tr_change *change, const tr_step *step, float sums[2],
                             size_t first, const size_t width)
{
    const size_t channels = step->layer->inputs;
    const float *gain = change->weights + first;
    const float *bias = gain + channels;
    float *target = change->target + first;
    const float mean = step->delta[-2];
    const float root = step->delta[-1];
    float gains[NORM_WIDTH] = {0.0f};
    float biases[NORM_WIDTH] = {0.0f};
    for (size_t at = first; at < step->n; at += channels) {
        const float *x = step->x + at;
        float *delta = step->delta + at;
        for (size_t c = 0; c < width; c++) {
            const float normal = (x[c] - mean) * root;
            const float slope = step->silu ? silu_slope(gain[c] * normal + bias[c]) : 1.0f;
            const float d = delta[c] * slope;
            gains[c] += d * normal;
            biases[c] += d;
            delta[c] = d * gain[c];
        }
    }
    for (size_t c = 0; c < width; c++) {
        sums[0] += gain[c] * biases[c];
        sums[1] += gain[c] * gains[c];
        target[c] += change->scale * gains[c];
        target[c + channels] += change->scale * biases[c];
    }
}

static float norm_backward(const tr_change *change, const tr_step *step)
{
    const size_t channels = step->layer->inputs;
    float sums[2] = {0.0f};
    size_t c = 0;
#ifdef TR_HAS_NORM_LANES
    c = norm_lanes(change, step->x, step->delta, step->n, channels, step->silu, sums);
#endif
    for (; c + NORM_WIDTH <= channels; c += NORM_WIDTH) {
        norm_channels(change, step, sums, c, NORM_WIDTH);
    }
    for (; c < channels; c++) {
        norm_channels(change, step, sums, c, 1);
    }
    if (!step->dx) {
        return 0.0f;
    }
    const float share = 1.0f / (float)step->n;
    const float mean = step->delta[-2];
    const float root = step->delta[-1];
    const float same = sums[0] * share;
    const float along = sums[1] * share;
    size_t i = 0;
#ifdef TR_HAS_NORM_BACK_LANES
    i = norm_back_lanes(step->dx, step->x, step->delta, mean, root, same, along, change->gate,
                        step->n);
#endif
    for (; i < step->n; i++) {
        const float x = step->x[i];
        const float d = step->delta[i] - same - (x - mean) * root * along;
        step->dx[i] = gated(change->gate, root * d, x);
    }
    return bounded_squares(step->dx, step->n);
}

const tr_functions tr_layer_norm = {norm_fits, norm_weights, same_size,    same_size,
                                    norm_kept, no_scratch,   norm_forward, norm_backward, TURNS};

/* ---- Convolution over an image ---------------------------------------------------------------- */

/* Positions along a side of the image, before the pooling. */
TR_INLINE size_t conv2d_positions(const tr_layer *layer, size_t side)
{
    return (side + 2u * layer->padding - layer->kernel) / layer->stride + 1;
}

/* The area is compared by division, as three sizes may overflow; all other products then stay
 * below 2^32 as well, as in layer_fits(). A padding below the kernel leaves no window empty. */
static int conv2d_fits(const tr_layer *layer, size_t n)
{
    const size_t area = (size_t)layer->time * layer->width;
    const size_t square = (size_t)layer->kernel * layer->kernel;
    const size_t most = (size_t)TR_MAX_FLOATS;
    if (layer->kind != TR_KIND_CONV2D || area == 0 || area > n || n % area != 0
        || layer->inputs != n / area || layer->outputs == 0 || layer->stride == 0
        || layer->kernel == 0 || layer->kernel > 4096 || layer->padding >= layer->kernel
        || layer->kernel > layer->time + 2u * layer->padding
        || layer->kernel > layer->width + 2u * layer->padding) {
        return 0;
    }
    const size_t rows = conv2d_positions(layer, layer->time);
    const size_t columns = conv2d_positions(layer, layer->width);
    return layer->bias <= 1 && layer->pool > 0 && layer->pool <= TR_MAX_POOL && layer->pool <= rows
        && layer->pool <= columns && layer->inputs < most / square
        && layer->outputs < most / (square * layer->inputs)
        && layer->outputs < most / (rows * columns);
}

/* Inputs of one window. */
TR_INLINE size_t conv2d_window(const tr_layer *layer)
{
    return (size_t)layer->kernel * layer->kernel * layer->inputs;
}

static size_t conv2d_weights(const tr_layer *layer)
{
    return (conv2d_window(layer) + (layer->bias ? 1u : 0u)) * layer->outputs;
}

static size_t conv2d_inputs(const tr_layer *layer, size_t outputs)
{
    (void)outputs;
    return (size_t)layer->time * layer->width * layer->inputs;
}

static size_t conv2d_outputs(const tr_layer *layer, size_t n)
{
    (void)n;
    return conv2d_positions(layer, layer->time) / layer->pool
        * (conv2d_positions(layer, layer->width) / layer->pool) * layer->outputs;
}

/* With a pool, a byte for each output: which position of its square it is from. */
static ptrdiff_t conv2d_kept(const tr_layer *layer, const tr_layer *before, size_t n)
{
    const size_t floats = (conv2d_outputs(layer, n) + sizeof(float) - 1) / sizeof(float);
    (void)before;
    return layer->pool > 1 ? (ptrdiff_t)floats : 0;
}

static size_t conv2d_scratch(const tr_layer *layer, int sends_back)
{
    const size_t column = sends_back ? COLUMN_PARTS * (size_t)layer->time * layer->width : 0;
    const size_t pooled = layer->pool > 1 ? layer->outputs : 0;
    return column > pooled ? column : pooled;
}

#ifndef TR_HAS_WINDOW_FORWARD
/* Kernel: out (outputs) = bias (outputs) + the window's numbers, from first to last, times their
 * weights (outputs). The bias may be out. */
static void window_forward(float *out, const tr_window *window, const float *bias, size_t outputs)
{
    const float *x = window->x;
    const float *w = window->w;
    for (size_t o = 0; o < outputs; o++) {
        out[o] = bias[o];
    }
    for (size_t row = 0; row < window->rows; row++, x += window->x_step, w += window->w_step) {
        for (size_t i = 0; i < window->n; i++, w += outputs) {
            add_scaled(out, *x++, w, outputs);
        }
    }
}
#endif

/* The taps of a kernel that lie within a side, at one position. */
typedef struct {
    size_t first;
    size_t count;
    size_t at; /* where the first one lies */
} tr_taps;

TR_INLINE tr_taps taps_within(const tr_layer *layer, size_t position, size_t side)
{
    const size_t start = position * layer->stride; /* padding included */
    const size_t first = start < layer->padding ? layer->padding - start : 0;
    const size_t end = side + layer->padding - start;
    const tr_taps taps = {first, (end < layer->kernel ? end : layer->kernel) - first,
                          start + first - layer->padding};
    return taps;
}

/* out (outputs) = the convolution at one position of x. */
TR_INLINE void conv2d_at(float *out, const float *x, const float *w, const tr_layer *layer,
                         const tr_taps *down, size_t column)
{
    const size_t inputs = layer->inputs;
    const tr_taps across = taps_within(layer, column, layer->width);
    const tr_window window = {
        x + (down->at * layer->width + across.at) * inputs,
        w + (down->first * layer->kernel + across.first) * inputs * layer->outputs,
        down->count,
        across.count * inputs,
        (layer->width - across.count) * inputs,
        (layer->kernel - across.count) * inputs * layer->outputs,
    };
    const float *bias = w + conv2d_window(layer) * layer->outputs;
    if (!layer->bias) {
        memset(out, 0, layer->outputs * sizeof *out);
    }
    window_forward(out, &window, layer->bias ? bias : out, layer->outputs);
}

/* out (outputs) = the larger of out and z, and place (outputs) where z is the larger. */
TR_INLINE void keep_larger(float *out, uint8_t *places, const float *z, uint8_t place,
                           size_t outputs)
{
    for (size_t o = 0; o < outputs; o++) {
        if (z[o] > out[o]) {
            out[o] = z[o];
            places[o] = place;
        }
    }
}

/* One output position (outputs): the largest of its square of convolutions, one after the other. */
TR_INLINE void conv2d_pooled(float *out, uint8_t *places, const float *x, const float *w,
                             float *scratch, const tr_layer *layer, size_t row, size_t column)
{
    const size_t pool = layer->pool;
    uint8_t place = 0;
    for (size_t i = 0; i < pool; i++) {
        const tr_taps down = taps_within(layer, row * pool + i, layer->time);
        for (size_t j = 0; j < pool; j++, place++) {
            conv2d_at(place ? scratch : out, x, w, layer, &down, column * pool + j);
            if (place) {
                keep_larger(out, places, scratch, place, layer->outputs);
            } else if (pool > 1) {
                memset(places, 0, layer->outputs);
            }
        }
    }
}

static void conv2d_forward(float *out, const float *x, const float *w, float *scratch,
                           const tr_layer *layer, size_t n)
{
    const size_t rows = conv2d_positions(layer, layer->time) / layer->pool;
    const size_t columns = conv2d_positions(layer, layer->width) / layer->pool;
    uint8_t *places = (uint8_t *)(out - conv2d_kept(layer, NULL, n));
#ifdef TR_HAS_IMAGE_FORWARD
    if (layer->pool == 1) {
        image_forward(out, x, w, layer, rows, columns);
        return;
    }
#endif
    for (size_t row = 0; row < rows; row++) {
        for (size_t column = 0; column < columns; column++) {
            conv2d_pooled(out, places, x, w, scratch, layer, row, column);
            out += layer->outputs;
            places += layer->outputs;
        }
    }
}

#ifndef TR_HAS_MAP_ROW
/* Kernel: one row w (outputs) of the weight. Each weight's gradient is summed over all positions,
 * then target (outputs) gains scale times it; each output's share of dx is added to partial sum
 * o % 4 of its pixel in column, if there is one. */
static void map_row(float *target, const float *w, float *column, const float *x,
                    const float *delta, const tr_map *map, size_t outputs)
{
    for (size_t o = 0; o < outputs; o++) {
        const float *input = x;
        const float *d = delta + o;
        float *sum = column ? column + o % COLUMN_PARTS : NULL;
        float gradient = 0.0f;
        for (size_t row = 0; row < map->rows; row++) {
            for (size_t i = 0; i < map->n; i++, input += map->x_step, d += outputs) {
                gradient += *input * *d;
                if (sum) {
                    *sum += w[o] * *d;
                    sum += map->column_step;
                }
            }
            input += map->x_jump;
            d += map->delta_jump;
            sum = sum ? sum + map->column_jump : NULL;
        }
        target[o] += map->scale * gradient;
    }
}
#endif

/* The positions at which one tap lies within a side. */
TR_INLINE tr_taps positions_within(const tr_layer *layer, size_t tap, size_t side)
{
    const size_t stride = layer->stride;
    const size_t padding = layer->padding;
    const size_t first = tap < padding ? (padding - tap + stride - 1) / stride : 0;
    const size_t all = conv2d_positions(layer, side);
    size_t end = side + padding > tap ? (side + padding - tap - 1) / stride + 1 : 0;
    end = end < all ? end : all;
    const tr_taps found = {first, end > first ? end - first : 0, first * stride + tap - padding};
    return found;
}

/* One row of the weight, for one input channel and one tap, by map_row(). */
TR_INLINE void conv2d_tap(const tr_change *change, const tr_step *step, size_t channel, size_t down,
                          size_t across)
{
    const tr_layer *layer = step->layer;
    const size_t columns = conv2d_positions(layer, layer->width);
    const tr_taps rows = positions_within(layer, down, layer->time);
    const tr_taps row = positions_within(layer, across, layer->width);
    const size_t at = ((down * layer->kernel + across) * layer->inputs + channel) * layer->outputs;
    const size_t pixel = rows.at * layer->width + row.at;
    const size_t jump = (size_t)layer->stride * (layer->width - row.count);
    const tr_map map = {rows.count,
                        row.count,
                        (size_t)layer->stride * layer->inputs,
                        jump * layer->inputs,
                        COLUMN_PARTS * (size_t)layer->stride,
                        COLUMN_PARTS * jump,
                        (columns - row.count) * layer->outputs,
                        change->scale};
    if (rows.count > 0 && row.count > 0) {
        map_row(change->target + at, change->weights + at,
                step->dx ? step->scratch + COLUMN_PARTS * pixel : NULL,
                step->x + pixel * layer->inputs + channel,
                step->delta + (rows.first * columns + row.first) * layer->outputs, &map,
                layer->outputs);
    }
}

/* The same with a pool: each gradient goes to the one position that it is from. */
TR_INLINE void pooled_tap(const tr_change *change, const tr_step *step, size_t channel, size_t down,
                          size_t across)
{
    const tr_layer *layer = step->layer;
    const size_t outputs = layer->outputs;
    const size_t pool = layer->pool;
    const size_t rows = conv2d_positions(layer, layer->time) / pool;
    const size_t columns = conv2d_positions(layer, layer->width) / pool;
    const size_t at = ((down * layer->kernel + across) * layer->inputs + channel) * outputs;
    const uint8_t *places = (const uint8_t *)(step->delta - conv2d_kept(layer, NULL, step->n));
    for (size_t o = 0; o < outputs; o++) {
        const float weight = change->weights[at + o];
        size_t i = o;
        float gradient = 0.0f;
        for (size_t row = 0; row < rows; row++) {
            for (size_t column = 0; column < columns; column++, i += outputs) {
                const size_t y = (row * pool + places[i] / pool) * layer->stride + down;
                const size_t x = (column * pool + places[i] % pool) * layer->stride + across;
                const size_t pixel = (y - layer->padding) * layer->width + (x - layer->padding);
                if (y - layer->padding >= layer->time || x - layer->padding >= layer->width) {
                    continue; /* in the padding; below zero, these are huge */
                }
                gradient += step->x[pixel * layer->inputs + channel] * step->delta[i];
                if (step->dx) {
                    step->scratch[pixel * COLUMN_PARTS + o % COLUMN_PARTS] +=
                        weight * step->delta[i];
                }
            }
        }
        change->target[at + o] += change->scale * gradient;
    }
}

/* One input channel after the other: when all its rows of the weight are done, its gradients,
 * collected in the scratch (height, width, parts), take the place of its inputs. A processor may
 * have a kernel image_back() that does all of this without a pool, if it has the room. */
static float conv2d_backward(const tr_change *change, const tr_step *step)
{
    const tr_layer *layer = step->layer;
    const size_t area = (size_t)layer->time * layer->width;
    float *bias = change->target + conv2d_window(layer) * layer->outputs;
#ifdef TR_HAS_IMAGE_BACK
    if (layer->pool == 1
        && image_back(change, step->dx, step->x, step->delta, layer,
                      conv2d_positions(layer, layer->time),
                      conv2d_positions(layer, layer->width))) {
        return step->dx ? bounded_squares(step->dx, step->n) : 0.0f;
    }
#endif
    for (size_t channel = 0; channel < layer->inputs; channel++) {
        if (step->dx) {
            memset(step->scratch, 0, COLUMN_PARTS * area * sizeof *step->scratch);
        }
        for (size_t tap = 0; tap < (size_t)layer->kernel * layer->kernel; tap++) {
            if (layer->pool > 1) {
                pooled_tap(change, step, channel, tap / layer->kernel, tap % layer->kernel);
            } else {
                conv2d_tap(change, step, channel, tap / layer->kernel, tap % layer->kernel);
            }
        }
        for (size_t i = 0; step->dx && i < area; i++) {
            const float *part = step->scratch + COLUMN_PARTS * i;
            float *value = step->dx + i * layer->inputs + channel;
            *value = gated(change->gate, (part[0] + part[2]) + (part[1] + part[3]), *value);
        }
    }
    const size_t outputs = layer->bias ? conv2d_outputs(layer, step->n) : 0;
    for (size_t i = 0; i < outputs; i += layer->outputs) {
        add_scaled(bias, change->scale, step->delta + i, layer->outputs);
    }
    return step->dx ? bounded_squares(step->dx, step->n) : 0.0f;
}

const tr_functions tr_conv2d = {conv2d_fits, conv2d_weights, conv2d_inputs,  conv2d_outputs,
                                conv2d_kept, conv2d_scratch, conv2d_forward, conv2d_backward, TURNS};

#endif
