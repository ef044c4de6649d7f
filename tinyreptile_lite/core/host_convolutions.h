/* Convolutions for computers: a part of host_kernels.h.
 *
 * All of this works on tiles: a few sums in registers, for positions, pixels or weights side by
 * side, so that what is loaded once serves several of them and no addition waits for the one
 * before. Each sum still runs in its own order, as in the plain form.
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
                const wide weight = load_wide(w + (size_t)v * apart);
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

/* ---- Backward pass of convolutions ------------------------------------------------------------
 *
 * Both kinds, over time and over an image, by the same two steps for LANES or twice as many input
 * channels at once. First each weight's gradient is summed in registers over all positions. Then
 * each pixel's gradient is summed in registers over all weights that it was multiplied by, as they
 * were before: these lie turned in `turned` (taps, outputs, channels). */

#define TURNED 16384 /* floats on the stack: where more are needed, the plain form serves */

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
    const tr_sweep sweep = image_sweep(layer, rows, columns);
    return sweep_back(change, dx, x, delta, &sweep, 1);
}

#endif
