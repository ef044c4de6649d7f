/* Convolutions for computers: a part of host_kernels.h.
 *
 * All of this works on tiles: a few sums in registers, for positions, pixels or weights side by
 * side, so that what is loaded once serves several of them and no addition waits for the one
 * before. Each sum still runs in its own order, as in the plain form: window_forward(), map_row() and
 * conv_row(), with what calls them. With AVX2 the two passes over the characters' four convolutions
 * take 30 us, and the whole step 43 us instead of 329 us in the plain form.
 */
#ifndef TR_HOST_CONVOLUTIONS_H
#define TR_HOST_CONVOLUTIONS_H

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

TR_INLINE tr_sweep image_sweep(const tr_layer *layer, size_t rows, size_t columns)
{
    const tr_sweep sweep = {layer->time, layer->width, layer->inputs, layer->outputs, layer->kernel,
                            layer->kernel, layer->stride, layer->padding, rows, columns,
                            layer->bias};
    return sweep;
}

/* ---- Forward pass over an image ---------------------------------------------------------------- */

/* `places` positions side by side, whose windows hold the same taps and lie `step` apart, and LANES
 * outputs, or twice as many, the others `apart` from the first. The bias may be NULL. */
TR_INLINE void window_tile(float *out, const tr_window *window, const float *x, const float *w,
                           const float *bias, size_t step, size_t outputs, size_t apart,
                           const int places, const int wides)
{
    wide sum[8];
    TR_UNROLL
    for (int k = 0; k < places * wides; k++) {
        sum[k] = bias ? load_wide(bias + (size_t)(k % wides) * apart) : WIDE_ALL(0.0f);
    }
    for (size_t row = window->rows; row > 0; row--, x += window->x_step, w += window->w_step) {
        for (size_t i = window->n; i > 0; i--, x++, w += outputs) {
            TR_UNROLL
            for (int v = 0; v < wides; v++) {
                wide weight = load_wide(w + (size_t)v * apart);
                TR_IN_REGISTER(weight);
                TR_UNROLL
                for (int p = 0; p < places; p++) {
                    sum[p * wides + v] += WIDE_ALL(x[(size_t)p * step]) * weight;
                }
            }
        }
    }
    TR_UNROLL
    for (int k = 0; k < places * wides; k++) {
        store_wide(out + (size_t)(k / wides) * outputs + (size_t)(k % wides) * apart, sum[k]);
    }
}

/* Four outputs at one position. */
TR_INLINE void window_four(float *out, const tr_window *window, const float *w, const float *bias,
                           size_t outputs)
{
    const float *x = window->x;
    four sum = bias ? load(bias) : FOUR_ALL(0.0f);
    for (size_t row = window->rows; row > 0; row--, x += window->x_step, w += window->w_step) {
        for (size_t i = window->n; i > 0; i--, x++, w += outputs) {
            sum += FOUR_ALL(*x) * load(w);
        }
    }
    store(out, sum);
}

/* One. */
TR_INLINE void window_one(float *out, const tr_window *window, const float *w, const float *bias,
                          size_t outputs)
{
    const float *x = window->x;
    float sum = bias ? *bias : 0.0f;
    for (size_t row = window->rows; row > 0; row--, x += window->x_step, w += window->w_step) {
        for (size_t i = window->n; i > 0; i--, x++, w += outputs) {
            sum += *x * *w;
        }
    }
    *out = sum;
}

/* All outputs, fewer than LANES, at one position. */
TR_INLINE void window_narrow(float *out, const tr_window *window, const float *bias,
                             size_t outputs)
{
    size_t o = 0;
    for (; o + FOUR <= outputs; o += FOUR) {
        window_four(out + o, window, window->w + o, bias ? bias + o : NULL, outputs);
    }
    for (; o < outputs; o++) {
        window_one(out + o, window, window->w + o, bias ? bias + o : NULL, outputs);
    }
}

/* All outputs, LANES or more, at `places` positions. Where the last register would reach beyond
 * them, it takes some outputs once more, which come out the same. */
TR_INLINE void window_places(float *out, const tr_window *window, const float *x,
                             const float *bias, size_t step, size_t outputs, const int places)
{
    size_t o = 0;
    for (; places <= 2 && o + 4 * LANES <= outputs; o += 4 * LANES) {
        window_tile(out + o, window, x, window->w + o, bias ? bias + o : NULL, step, outputs,
                    LANES, places, 4);
    }
    for (size_t left = outputs - o; left > LANES; left = outputs - o) {
        const size_t apart = left < 2 * LANES ? left - LANES : LANES;
        window_tile(out + o, window, x, window->w + o, bias ? bias + o : NULL, step, outputs,
                    apart, places, 2);
        o += LANES + apart;
    }
    if (o < outputs) {
        o = outputs - LANES;
        window_tile(out + o, window, x, window->w + o, bias ? bias + o : NULL, step, outputs,
                    LANES, places, 1);
    }
}

/* All outputs at `count` neighbouring positions whose windows hold the same taps. */
TR_INLINE void windows(float *out, const tr_window *window, const float *bias, size_t step,
                       size_t outputs, size_t count)
{
    const float *x = window->x;
    for (; outputs < 4 * LANES && count >= 4; count -= 4, x += 4 * step, out += 4 * outputs) {
        window_places(out, window, x, bias, step, outputs, 4);
    }
    for (; count >= 2; count -= 2, x += 2 * step, out += 2 * outputs) {
        window_places(out, window, x, bias, step, outputs, 2);
    }
    if (count > 0) {
        window_places(out, window, x, bias, step, outputs, 1);
    }
}

#define TR_HAS_WINDOW_FORWARD
static void window_forward(float *out, const tr_window *window, const float *bias, size_t outputs)
{
    bias = bias == out ? NULL : bias; /* zeros, until some outputs are taken once more */
    if (outputs < LANES) {
        window_narrow(out, window, bias, outputs);
    } else {
        window_places(out, window, window->x, bias, 0, outputs, 1);
    }
}

/* Neighbouring positions in a side whose windows hold the same taps of the kernel. */
typedef struct {
    size_t count;
    size_t tap; /* the first one within the side */
    size_t taps;
    size_t at; /* where it lies */
} tr_span;

TR_INLINE tr_span span_from(const tr_sweep *sweep, size_t position, size_t positions,
                            size_t kernel, size_t side)
{
    const size_t start = position * sweep->stride; /* padding included, as is the end */
    const size_t end = side + sweep->padding;
    tr_span span = {1, start < sweep->padding ? sweep->padding - start : 0, 0, 0};
    span.taps = (end - start < kernel ? end - start : kernel) - span.tap;
    span.at = start + span.tap - sweep->padding;
    if (span.taps == kernel) {
        const size_t whole = (end - kernel - start) / sweep->stride + 1;
        span.count = whole < positions - position ? whole : positions - position;
    }
    return span;
}

/* One row of positions. */
TR_INLINE void image_row(float *out, const float *x, const float *w, const tr_sweep *sweep,
                         const tr_span *down)
{
    const size_t inputs = sweep->inputs;
    const size_t outputs = sweep->outputs;
    const float *bias = sweep->bias ? w + sweep->down * sweep->across * inputs * outputs : NULL;
    tr_span span;
    for (size_t column = 0; column < sweep->columns; column += span.count) {
        span = span_from(sweep, column, sweep->columns, sweep->across, sweep->width);
        tr_window window = {x + (down->at * sweep->width + span.at) * inputs,
                            w + (down->tap * sweep->across + span.tap) * inputs * outputs,
                            down->taps,
                            span.taps * inputs,
                            (sweep->width - span.taps) * inputs,
                            (sweep->across - span.taps) * inputs * outputs};
        float *to = out + column * outputs;
        if (outputs >= LANES) {
            windows(to, &window, bias, sweep->stride * inputs, outputs, span.count);
            continue;
        }
        for (size_t i = 0; i < span.count; i++, to += outputs) {
            window_narrow(to, &window, bias, outputs);
            window.x += sweep->stride * inputs;
        }
    }
}

#define TR_HAS_IMAGE_FORWARD
static void image_forward(float *out, const float *x, const float *w, const tr_layer *layer,
                          size_t rows, size_t columns)
{
    const tr_sweep sweep = image_sweep(layer, rows, columns);
    for (size_t row = 0; row < rows; row++, out += columns * sweep.outputs) {
        const tr_span down = span_from(&sweep, row, rows, sweep.down, sweep.height);
        image_row(out, x, w, &sweep, &down);
    }
}

/* ---- Backward pass -----------------------------------------------------------------------------
 *
 * Both kinds, over time and over an image, by the same two steps for LANES or twice as many input
 * channels at once. First each weight's gradient is summed in registers over all positions. Then
 * each pixel's gradient is summed in registers over all weights that it was multiplied by, as they
 * were before: these lie turned in `turned` (taps, outputs, channels). */

#define TURNED 16384 /* floats on the stack: where more are needed, the plain form serves */

/* `rows` neighbouring rows of the weight, whose inputs are neighbours as well, and `wides` times
 * LANES of their outputs, each `apart` from the one before: target += scale * the gradients. If the
 * last two overlap, some outputs come out the same twice, as all are loaded before one is stored. */
TR_INLINE void learn_tile(float *target, const float *x, const float *delta, const tr_map *map,
                          size_t outputs, size_t apart, const int rows, const int wides)
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
                wide d = load_wide(delta + (size_t)k * apart);
                TR_IN_REGISTER(d);
                TR_UNROLL
                for (int r = 0; r < rows; r++) {
                    gradient[r][k] += WIDE_ALL(x[r]) * d;
                }
            }
        }
    }
    TR_UNROLL
    for (int k = 0; k < rows * wides; k++) {
        const float *from = target + (size_t)(k / wides) * outputs + (size_t)(k % wides) * apart;
        wide *sum = &gradient[k / wides][k % wides];
        *sum = load_wide(from) + WIDE_ALL(map->scale) * *sum;
    }
    TR_UNROLL
    for (int k = 0; k < rows * wides; k++) {
        store_wide(target + (size_t)(k / wides) * outputs + (size_t)(k % wides) * apart,
                   gradient[k / wides][k % wides]);
    }
}

/* The same for four outputs. */
TR_INLINE void learn_four(float *target, const float *x, const float *delta, const tr_map *map,
                          size_t outputs, const int rows)
{
    four gradient[2] = {FOUR_ALL(0.0f), FOUR_ALL(0.0f)};
    for (size_t row = map->rows; row > 0; row--, x += map->x_jump, delta += map->delta_jump) {
        for (size_t i = map->n; i > 0; i--, x += map->x_step, delta += outputs) {
            const four d = load(delta);
            TR_UNROLL
            for (int r = 0; r < rows; r++) {
                gradient[r] += FOUR_ALL(x[r]) * d;
            }
        }
    }
    TR_UNROLL
    for (int r = 0; r < rows; r++) {
        float *to = target + (size_t)r * outputs;
        store(to, load(to) + FOUR_ALL(map->scale) * gradient[r]);
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
        learn_tile(target + o, x, delta + o, map, outputs, LANES, rows, 4);
    }
    for (size_t left = outputs - o; left > LANES; left = outputs - o) {
        const size_t apart = left < 2 * LANES ? left - LANES : LANES;
        learn_tile(target + o, x, delta + o, map, outputs, apart, rows, 2);
        o += LANES + apart;
    }
    for (; o + FOUR <= outputs; o += FOUR) {
        learn_four(target + o, x, delta + o, map, outputs, rows);
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

/* The weights of one tap for `count` input channels from `channel` on. */
TR_OUTLINE void learn_tap(const tr_change *change, const float *x, const float *delta,
                         const tr_sweep *sweep, size_t tap, size_t channel, size_t count)
{
    const size_t outputs = sweep->outputs;
    const size_t down = tap / sweep->across;
    const size_t across = tap % sweep->across;
    float *to = change->target + (tap * sweep->inputs + channel) * outputs;
    size_t row;
    size_t column;
    tr_map map = {positions_on(&row, sweep, down, sweep->height, sweep->rows),
                  positions_on(&column, sweep, across, sweep->width, sweep->columns),
                  sweep->stride * sweep->inputs, 0, 0, 0, 0, change->scale};
    if (map.rows == 0 || map.n == 0) {
        return;
    }
    map.x_jump = (sweep->width - map.n) * map.x_step;
    map.delta_jump = (sweep->columns - map.n) * outputs;
    const size_t pixel = (row * sweep->stride + down - sweep->padding) * sweep->width
        + column * sweep->stride + across - sweep->padding;
    const float *in = x + pixel * sweep->inputs + channel;
    const float *d = delta + (row * sweep->columns + column) * outputs;
    for (; count >= 2; count -= 2, in += 2, to += 2 * outputs) {
        learn_rows(to, in, d, &map, outputs, 2);
    }
    if (count > 0) {
        learn_rows(to, in, d, &map, outputs, 1);
    }
}

#define TAPS 3 /* neighbouring taps of a row of the kernel, learnt at once */

/* Their sums at one position; `pixel` is where the first tap lies, below zero huge. If not `inside`,
 * some taps may lie beyond the image. */
TR_INLINE void add_taps(wide gradient[2 * TAPS], const float *x, const float *delta, size_t apart,
                        const tr_sweep *sweep, size_t pixel, const int inside)
{
    const wide d[2] = {load_wide(delta), load_wide(delta + apart)};
    TR_UNROLL
    for (size_t t = 0; t < TAPS; t++) {
        if (inside || pixel + t < sweep->width) {
            const wide value = WIDE_ALL(x[(pixel + t) * sweep->inputs]);
            gradient[2 * t] += value * d[0];
            gradient[2 * t + 1] += value * d[1];
        }
    }
}

/* TAPS weights of one input channel and two registers of outputs, `apart` from each other: what
 * learn_tile() does for neighbouring channels. x and delta are the first row that the taps reach. */
TR_OUTLINE void learn_taps(float *target, const float *x, const float *delta,
                           const tr_sweep *sweep, size_t rows, size_t across, size_t apart,
                           float scale)
{
    const size_t outputs = sweep->outputs;
    const size_t tap = sweep->inputs * outputs;
    size_t first;
    size_t last;
    const size_t stop = positions_on(&last, sweep, across + TAPS - 1, sweep->width, sweep->columns);
    positions_on(&first, sweep, across, sweep->width, sweep->columns);
    last = stop > 0 ? last + stop : 0; /* from `first` to `last` all taps are inside */
    wide gradient[2 * TAPS];
    TR_UNROLL
    for (int k = 0; k < 2 * TAPS; k++) {
        gradient[k] = WIDE_ALL(0.0f);
    }
    for (; rows > 0; rows--, x += sweep->stride * sweep->width * sweep->inputs) {
        size_t pixel = across - sweep->padding;
        for (size_t i = 0; i < sweep->columns; i++, pixel += sweep->stride, delta += outputs) {
            if (i >= first && i < last) {
                add_taps(gradient, x, delta, apart, sweep, pixel, 1);
            } else {
                add_taps(gradient, x, delta, apart, sweep, pixel, 0);
            }
        }
    }
    TR_UNROLL
    for (int k = 0; k < 2 * TAPS; k++) {
        gradient[k] = load_wide(target + (size_t)(k / 2) * tap + (size_t)(k % 2) * apart)
            + WIDE_ALL(scale) * gradient[k];
    }
    TR_UNROLL
    for (int k = 0; k < 2 * TAPS; k++) {
        store_wide(target + (size_t)(k / 2) * tap + (size_t)(k % 2) * apart, gradient[k]);
    }
}

/* All weights of one input channel, if the outputs fill pairs of registers. */
static void learn_channel(const tr_change *change, const float *x, const float *delta,
                          const tr_sweep *sweep, size_t channel)
{
    const size_t outputs = sweep->outputs;
    const size_t rest = outputs % (2 * LANES);
    for (size_t down = 0; down < sweep->down; down++) {
        size_t across = 0;
        size_t row;
        const size_t rows = positions_on(&row, sweep, down, sweep->height, sweep->rows);
        const size_t line = row * sweep->stride + down - sweep->padding;
        for (; (rest == 0 || rest > LANES) && across + TAPS <= sweep->across; across += TAPS) {
            const size_t tap = down * sweep->across + across;
            float *target = change->target + (tap * sweep->inputs + channel) * outputs;
            for (size_t o = 0; rows > 0 && o < outputs; o += 2 * LANES) {
                learn_taps(target + o, x + line * sweep->width * sweep->inputs + channel,
                           delta + row * sweep->columns * outputs + o, sweep, rows, across,
                           outputs - o < 2 * LANES ? rest - LANES : LANES, change->scale);
            }
        }
        for (; across < sweep->across; across++) {
            learn_tap(change, x, delta, sweep, down * sweep->across + across, channel, 1);
        }
    }
}

TR_INLINE void learn_channels(const tr_change *change, const float *x, const float *delta,
                              const tr_sweep *sweep, size_t channel, size_t count)
{
    for (size_t tap = 0; count > 1 && tap < sweep->down * sweep->across; tap++) {
        learn_tap(change, x, delta, sweep, tap, channel, count - count % 2);
    }
    if (count % 2) {
        learn_channel(change, x, delta, sweep, channel + count - 1);
    }
}

/* bias (outputs) += scale * each position's delta (outputs), LANES outputs at once in a register. */
static void learn_bias(float *bias, const float *delta, size_t positions, size_t outputs,
                       float scale)
{
    size_t o = 0;
    for (; o + LANES <= outputs; o += LANES) {
        wide sum = load_wide(bias + o);
        for (size_t i = 0; i < positions; i++) {
            sum += WIDE_ALL(scale) * load_wide(delta + i * outputs + o);
        }
        store_wide(bias + o, sum);
    }
    for (size_t i = 0; o < outputs && i < positions; i++) {
        add_scaled(bias + o, scale, delta + i * outputs + o, outputs - o);
    }
}

/* Of every four floats of a and b, four. */
#ifdef TR_EIGHT
#define PICKED(i) ((i) < FOUR ? (i) : (i) + FOUR)
#define PICKS(i, j, k, l) PICKED(i), PICKED(j), PICKED(k), PICKED(l), \
    PICKED(i) + FOUR, PICKED(j) + FOUR, PICKED(k) + FOUR, PICKED(l) + FOUR
#else
#define PICKS(i, j, k, l) i, j, k, l
#endif
#if defined(__clang__)
#define PICK(a, b, ...) __builtin_shufflevector(a, b, PICKS(__VA_ARGS__))
#else
#define PICK(a, b, ...) __builtin_shuffle(a, b, (wide_places){PICKS(__VA_ARGS__)})
#endif

/* Four floats of a row of the weight and, in a register of eight, of the fourth row after it, or
 * zeros if that is none of the `rows` that are left. */
TR_INLINE wide load_turning(const float *w, size_t rows, size_t outputs)
{
#ifdef TR_EIGHT
    const four low = load(w);
    const four high = rows < TR_EIGHT ? FOUR_ALL(0.0f) : load(w + FOUR * outputs);
    return _mm256_insertf128_ps(_mm256_castps128_ps256(low), high, 1);
#else
    (void)rows, (void)outputs;
    return load(w);
#endif
}

/* turned (outputs, lanes) = w (count, outputs), count at most the lanes; the rest is zero. */
TR_INLINE void turn(float *turned, const float *w, size_t count, size_t outputs, size_t lanes)
{
    for (size_t c = 0; c < lanes; c += LANES, w += LANES * outputs) {
        const size_t left = count > c ? count - c : 0;
        const int in_fours = left >= LANES || left == FOUR;
        size_t o = 0;
        for (; in_fours && o + FOUR <= outputs; o += FOUR) {
            const wide a = load_turning(w + o, left, outputs);
            const wide b = load_turning(w + o + outputs, left, outputs);
            const wide d = load_turning(w + o + 2 * outputs, left, outputs);
            const wide e = load_turning(w + o + 3 * outputs, left, outputs);
            const wide p = PICK(a, b, 0, 4, 1, 5);
            const wide q = PICK(a, b, 2, 6, 3, 7);
            const wide r = PICK(d, e, 0, 4, 1, 5);
            const wide s = PICK(d, e, 2, 6, 3, 7);
            float *to = turned + o * lanes + c;
            store_wide(to, PICK(p, r, 0, 1, 4, 5));
            store_wide(to + lanes, PICK(p, r, 2, 3, 6, 7));
            store_wide(to + 2 * lanes, PICK(q, s, 0, 1, 4, 5));
            store_wide(to + 3 * lanes, PICK(q, s, 2, 3, 6, 7));
        }
        for (; o < outputs; o++) {
            for (size_t j = 0; j < LANES; j++) {
                turned[o * lanes + c + j] = j < left ? w[j * outputs + o] : 0.0f;
            }
        }
    }
}

/* Neighbouring pixels in a side, `stride` apart, that the same taps of the kernel reach. */
typedef struct {
    size_t count;
    size_t tap;      /* the first one, ... */
    size_t taps;     /* ... and how many, `stride` apart */
    size_t position; /* that the first tap reaches the first pixel from; a tap more, one less */
} tr_reach;

TR_INLINE tr_reach reach_from(const tr_sweep *sweep, size_t pixel, size_t side, size_t kernel,
                              size_t positions)
{
    const size_t stride = sweep->stride;
    const size_t last = (pixel + sweep->padding) / stride; /* position, by the first tap ... */
    const size_t first_tap = (pixel + sweep->padding) % stride;
    const size_t all = first_tap < kernel ? (kernel - first_tap - 1) / stride + 1 : 0;
    const size_t skipped = last < positions ? 0 : last - positions + 1; /* ... beyond the image */
    const size_t stop = all < last + 1 ? all : last + 1;
    tr_reach reach = {1, first_tap + skipped * stride, stop > skipped ? stop - skipped : 0,
                      last - skipped};
    if (reach.taps == all && skipped == 0) {
        const size_t pixels = (side - pixel - 1) / stride + 1;
        reach.count = positions - last < pixels ? positions - last : pixels;
    }
    return reach;
}

/* What sends a gradient back to `count` channels of the pixels that the same taps reach. */
typedef struct {
    const float *turned;
    const tr_sweep *sweep;
    tr_reach row;
    tr_reach column;
    size_t count;
    int gate;
} tr_sender;

/* Some of these pixels; `delta` is the gradient at the first position of each. */
typedef struct {
    float *x[4];
    const float *delta[4];
} tr_pixels;

/* The gradient of a pixel's channels, gated, takes their place. */
TR_INLINE void put_gradient(float *x, const wide *gradient, const tr_sender *sender,
                            const int wides)
{
    float values[2 * LANES] = {0.0f};
    TR_UNROLL
    for (int v = 0; v < wides; v++) {
        store_wide(values + v * LANES, gradient[v]);
    }
    if (sender->gate == TR_KIND_TANH || sender->gate == TR_KIND_RELU) {
        for (size_t c = 0; c < sender->count; c++) {
            x[c] = gated(sender->gate, values[c], x[c]);
        }
        return;
    }
    size_t c = 0;
    for (; c + FOUR <= sender->count; c += FOUR) {
        store(x + c, load(values + c));
    }
    for (; c < sender->count; c++) {
        x[c] = values[c];
    }
}

/* One tap's share of the partial sums from `part` on: pixels, times wides, times `parts`. */
TR_INLINE void add_tap(wide sum[8], const float *w, const float *const from[4], size_t left,
                       const int pixels, const int wides, const int parts)
{
    size_t o = 0;
    for (size_t n = (left + COLUMN_PARTS - (size_t)parts) / COLUMN_PARTS; n > 0; n--) {
        TR_UNROLL
        for (int k = 0; k < parts * wides; k++) {
            wide weight = load_wide(w + k * LANES);
            TR_IN_REGISTER(weight);
            TR_UNROLL
            for (int p = 0; p < pixels; p++) {
                sum[k * pixels + p] += WIDE_ALL(from[p][o + (size_t)(k / wides)]) * weight;
            }
        }
        o += COLUMN_PARTS;
        w += COLUMN_PARTS * wides * LANES;
    }
    TR_UNROLL
    for (int k = 0; k < (parts - 1) * wides; k++) {
        if (o + (size_t)(k / wides) >= left) {
            break;
        }
        TR_UNROLL
        for (int p = 0; p < pixels; p++) {
            sum[k * pixels + p] +=
                WIDE_ALL(from[p][o + (size_t)(k / wides)]) * load_wide(w + k * LANES);
        }
    }
}

/* What a few pixels of an image get, in four partial sums for each channel, of which `parts` are in
 * registers at once. */
TR_INLINE void image_tile(const tr_sender *sender, const tr_pixels *at, const int pixels,
                          const int wides, const int parts)
{
    const tr_sweep *sweep = sender->sweep;
    const size_t outputs = sweep->outputs;
    const float *const turned = sender->turned;
    wide found[COLUMN_PARTS][8];
    for (size_t part = 0; part < COLUMN_PARTS; part += (size_t)parts) {
        wide sum[8];
        TR_UNROLL
        for (int k = 0; k < parts * pixels * wides; k++) {
            sum[k] = WIDE_ALL(0.0f);
        }
        for (size_t i = 0; i < sender->row.taps && part < outputs; i++) {
            for (size_t j = 0; j < sender->column.taps; j++) {
                const size_t down = sender->row.tap + i * sweep->stride;
                const size_t tap = down * sweep->across + sender->column.tap + j * sweep->stride;
                const size_t back = (i * sweep->columns + j) * outputs;
                const float *from[4];
                TR_UNROLL
                for (int p = 0; p < pixels; p++) {
                    from[p] = at->delta[p] + part - back;
                }
                add_tap(sum, turned + (tap * outputs + part) * (size_t)wides * LANES, from,
                        outputs - part, pixels, wides, parts);
            }
        }
        TR_UNROLL
        for (int k = 0; k < parts * pixels * wides; k++) {
            found[part + (size_t)(k / (pixels * wides))][k % (pixels * wides)] = sum[k];
        }
    }
    TR_UNROLL
    for (int p = 0; p < pixels; p++) {
        wide gradient[2];
        TR_UNROLL
        for (int v = 0; v < wides; v++) {
            const int k = v * pixels + p;
            gradient[v] = (found[0][k] + found[2][k]) + (found[1][k] + found[3][k]);
        }
        put_gradient(at->x[p], gradient, sender, wides);
    }
}

/* The same in time, where a pixel gets what four outputs send it together. */
TR_INLINE void time_tile(const tr_sender *sender, const tr_pixels *at, const int pixels,
                         const int wides)
{
    const size_t lanes = (size_t)wides * LANES;
    const size_t outputs = sender->sweep->outputs;
    wide sum[8];
    TR_UNROLL
    for (int k = 0; k < pixels * wides; k++) {
        sum[k] = WIDE_ALL(0.0f);
    }
    for (size_t i = 0; i < sender->row.taps; i++) {
        const size_t tap = sender->row.tap + i * sender->sweep->stride;
        const float *w = sender->turned + tap * outputs * lanes;
        size_t o = 0;
        for (; o + 4 <= outputs; o += 4, w += 4 * lanes) {
            TR_UNROLL
            for (int k = 0; k < pixels * wides; k++) {
                const float *d = at->delta[k / wides] + o - i * outputs;
                const float *from = w + k % wides * LANES;
                const wide a = WIDE_ALL(d[0]) * load_wide(from);
                const wide b = WIDE_ALL(d[1]) * load_wide(from + lanes);
                const wide c = WIDE_ALL(d[2]) * load_wide(from + 2 * lanes);
                const wide e = WIDE_ALL(d[3]) * load_wide(from + 3 * lanes);
                sum[k] += (a + c) + (b + e);
            }
        }
        for (; o < outputs; o++, w += lanes) {
            TR_UNROLL
            for (int k = 0; k < pixels * wides; k++) {
                const float *d = at->delta[k / wides] + o - i * outputs;
                sum[k] += WIDE_ALL(*d) * load_wide(w + k % wides * LANES);
            }
        }
    }
    TR_UNROLL
    for (int p = 0; p < pixels; p++) {
        put_gradient(at->x[p], sum + p * wides, sender, wides);
    }
}

/* Four, two or one pixels, and eight sums at once where there are as many. Not inlined, so that
 * each has all registers to itself. */
#define DEFINE_TILES(name, wides) \
    TR_OUTLINE void name##_four_##wides(const tr_sender *sender, const tr_pixels *at) \
    { \
        DO_##name(sender, at, 4, wides, 1); \
    } \
    TR_OUTLINE void name##_two_##wides(const tr_sender *sender, const tr_pixels *at) \
    { \
        DO_##name(sender, at, 2, wides, 2); \
    } \
    TR_OUTLINE void name##_one_##wides(const tr_sender *sender, const tr_pixels *at) \
    { \
        DO_##name(sender, at, 1, wides, 4); \
    }
#define DO_image(sender, at, pixels, wides, parts) image_tile(sender, at, pixels, wides, parts)
#define DO_time(sender, at, pixels, wides, parts) time_tile(sender, at, pixels, wides)
DEFINE_TILES(image, 1)
DEFINE_TILES(image, 2)
DEFINE_TILES(time, 1)
DEFINE_TILES(time, 2)

typedef void (*tr_tile)(const tr_sender *sender, const tr_pixels *at);

/* All these pixels, the first at x. `tiles` are for four, two and one. */
static void send_back(const tr_sender *sender, float *x, const float *delta,
                      const tr_tile tiles[3])
{
    const tr_sweep *sweep = sender->sweep;
    size_t i = 0;
    size_t j = 0;
    for (size_t left = sender->row.count * sender->column.count, n; left > 0; left -= n) {
        tr_pixels at;
        n = left >= 4 ? 4 : left >= 2 ? 2 : 1;
        for (size_t p = 0; p < n; p++) {
            const size_t position = (sender->row.position + i) * sweep->columns
                + sender->column.position + j;
            at.x[p] = x + (i * sweep->width + j) * sweep->stride * sweep->inputs;
            at.delta[p] = delta + position * sweep->outputs;
            j++;
            i += j == sender->column.count;
            j = j == sender->column.count ? 0 : j;
        }
        tiles[2 - n / 2](sender, &at);
    }
}

/* The pixels of a side in groups that the same taps reach: first those `stride` apart from the first
 * one, then from the second, and so on. Returns the next group's first pixel. */
TR_INLINE size_t next_group(size_t pixel, const tr_reach *reach, size_t stride, size_t side)
{
    const size_t next = pixel + reach->count * stride;
    return next < side ? next : pixel % stride + 1 < stride ? pixel % stride + 1 : side;
}

/* `count` input channels from `channel` on: all that the backward pass has to do for them. */
static void sweep_channels(const tr_change *change, float *dx, const float *delta,
                           const tr_sweep *sweep, size_t channel, size_t count, int is_image)
{
    static const tr_tile tiles[2][2][3] = {
        {{time_four_1, time_two_1, time_one_1}, {time_four_2, time_two_2, time_one_2}},
        {{image_four_1, image_two_1, image_one_1}, {image_four_2, image_two_2, image_one_2}},
    };
    float turned[TURNED];
    const size_t outputs = sweep->outputs;
    const size_t stride = sweep->stride;
    const int two = count > LANES;
    const size_t lanes = two ? 2 * LANES : LANES;
    for (size_t tap = 0; tap < sweep->down * sweep->across; tap++) {
        turn(turned + tap * outputs * lanes,
             change->weights + (tap * sweep->inputs + channel) * outputs, count, outputs, lanes);
    }
    learn_channels(change, dx, delta, sweep, channel, count);
    tr_sender sender = {turned, sweep, {0, 0, 0, 0}, {0, 0, 0, 0}, count, change->gate};
    tr_reach *row = &sender.row;
    tr_reach *column = &sender.column;
    for (size_t i = 0; i < sweep->height; i = next_group(i, row, stride, sweep->height)) {
        *row = reach_from(sweep, i, sweep->height, sweep->down, sweep->rows);
        for (size_t j = 0; j < sweep->width; j = next_group(j, column, stride, sweep->width)) {
            *column = reach_from(sweep, j, sweep->width, sweep->across, sweep->columns);
            send_back(&sender, dx + (i * sweep->width + j) * sweep->inputs + channel, delta,
                      tiles[is_image][two]);
        }
    }
}

/* All channels, then the bias; dx is NULL if nobody needs the gradient that is sent back, and x
 * otherwise. Returns 0, with nothing done, if that is too large for the stack. */
TR_INLINE int sweep_back(const tr_change *change, float *dx, const float *x, const float *delta,
                         const tr_sweep *sweep, int is_image)
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
        } else {
            count = count < 2 * LANES ? count : 2 * LANES;
            sweep_channels(change, dx, delta, sweep, c, count, is_image);
        }
    }
    if (sweep->bias) {
        learn_bias(bias, delta, sweep->rows * sweep->columns, sweep->outputs, change->scale);
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
    const tr_sweep sweep = image_sweep(layer, rows, columns);
    return sweep_back(change, dx, x, delta, &sweep, 1);
}

#endif
