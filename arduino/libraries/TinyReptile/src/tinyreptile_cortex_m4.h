/* Faster forms of the core's kernels for the Cortex-M4 with FPU; included by tinyreptile_core.c.
 *
 * They give the same bits as the plain forms there, which say what each kernel does. TR_PLAIN
 * switches them off. What makes them fast:
 *
 * - Loads and stores of several registers at once. VLDM of n registers takes 1 + n cycles, n VLDR
 *   take 2 n; compilers do not write it.
 * - What is used again stays in the FPU's 32 registers: sixteen outputs' sums over all inputs, or
 *   sixteen deltas over all rows, or the sums of four rows of weights.
 * - VMUL and VADD, 2 cycles together; the fused VFMA takes 3, and would round once.
 * - No instruction needs what the one right before it has computed, which costs the FPU a cycle.
 *   Not counted below, but a real core feels it.
 *
 * The costs in the comments are modelled cycles per weight, without what is done once for each row
 * or call; "plain" is what GCC 12.2 makes of the plain form, with the flags of the Arduino core.
 * FPU registers are named by number, so that whoever reads can follow who lies where.
 */
#ifndef TINYREPTILE_CORTEX_M4_H
#define TINYREPTILE_CORTEX_M4_H

/* d = a * b and d = a + b */
#define MUL(d, a, b) "vmul.f32 s" #d ", s" #a ", s" #b "\n\t"
#define ADD(d, a, b) "vadd.f32 s" #d ", s" #a ", s" #b "\n\t"
/* Registers first to last from or to memory; the pointer moves on, or stays. */
#define LOAD(pointer, first, last) "vldmia %[" #pointer "]!, {s" #first "-s" #last "}\n\t"
#define PEEK(pointer, first, last) "vldmia %[" #pointer "], {s" #first "-s" #last "}\n\t"
#define STORE(pointer, first, last) "vstmia %[" #pointer "]!, {s" #first "-s" #last "}\n\t"
#define PUT(pointer, first, last) "vstmia %[" #pointer "], {s" #first "-s" #last "}\n\t"

/* Four at once: all of one kind before the next, so that nobody waits. */
#define SCALE4(a, b, c, d, by) MUL(a, a, by) MUL(b, b, by) MUL(c, c, by) MUL(d, d, by)
#define MUL4(a, b, c, d, a1, b1, c1, d1, a2, b2, c2, d2) \
    MUL(a, a1, a2) MUL(b, b1, b2) MUL(c, c1, c2) MUL(d, d1, d2)
#define ADD4(a, b, c, d, a1, b1, c1, d1) ADD(a, a, a1) ADD(b, b, b1) ADD(c, c, c1) ADD(d, d, d1)

#define LOW_REGISTERS \
    "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "s12", "s13", "s14", \
        "s15"
#define HIGH_REGISTERS \
    "s16", "s17", "s18", "s19", "s20", "s21", "s22", "s23", "s24", "s25", "s26", "s27", "s28", \
        "s29", "s30", "s31"

#define TR_KERNEL static __attribute__((noinline))

/* ---- Sums of scaled rows ---------------------------------------------------------------------- */

/* s0 ... += x * the next floats at w, which moves on: the inner part of a forward pass. */
#define ADD_ROW_1(x) "vldmia %[w]!, {s20}\n\t" MUL(20, 20, x) ADD(0, 0, 20)
#define ADD_ROW_2(x) LOAD(w, 20, 21) MUL(20, 20, x) MUL(21, 21, x) ADD(0, 0, 20) ADD(1, 1, 21)
#define ADD_ROW_4(x) LOAD(w, 20, 23) SCALE4(20, 21, 22, 23, x) ADD4(0, 1, 2, 3, 20, 21, 22, 23)
#define ADD_ROW_8(x) \
    LOAD(w, 20, 27) SCALE4(20, 21, 22, 23, x) SCALE4(24, 25, 26, 27, x) \
    ADD4(0, 1, 2, 3, 20, 21, 22, 23) ADD4(4, 5, 6, 7, 24, 25, 26, 27)
#define ADD_ROW_16(x) \
    ADD_ROW_8(x) \
    LOAD(w, 20, 27) SCALE4(20, 21, 22, 23, x) SCALE4(24, 25, 26, 27, x) \
    ADD4(8, 9, 10, 11, 20, 21, 22, 23) ADD4(12, 13, 14, 15, 24, 25, 26, 27)
#define NEXT_ROW "add %[w], %[w], %[skip]\n\t"

/* `width` neighbouring outputs of a dense layer, their sums in registers over all inputs. */
#define DEFINE_FORWARD(width, sums) \
    TR_INLINE void forward_##width(float *out, const float *x, const float *w, const float *bias, \
                                   size_t inputs, size_t outputs) \
    { \
        __asm__ volatile( \
            "vldmia %[bias], {" sums "}\n\t" \
            "subs %[n], %[n], #4\n\t" \
            "blt 2f\n" \
            "1:\n\t" \
            LOAD(x, 16, 19) \
            ADD_ROW_##width(16) NEXT_ROW ADD_ROW_##width(17) NEXT_ROW \
            ADD_ROW_##width(18) NEXT_ROW ADD_ROW_##width(19) NEXT_ROW \
            "subs %[n], %[n], #4\n\t" \
            "bge 1b\n" \
            "2:\n\t" \
            "adds %[n], %[n], #4\n\t" \
            "beq 4f\n" \
            "3:\n\t" \
            "vldmia %[x]!, {s16}\n\t" \
            ADD_ROW_##width(16) NEXT_ROW \
            "subs %[n], %[n], #1\n\t" \
            "bne 3b\n" \
            "4:\n\t" \
            "vstmia %[out], {" sums "}\n\t" \
            : [x] "+r"(x), [w] "+r"(w), [n] "+r"(inputs) \
            : [out] "r"(out), [bias] "r"(bias), [skip] "r"((outputs - width) * sizeof *w) \
            : "cc", "memory", LOW_REGISTERS, HIGH_REGISTERS); \
    }
DEFINE_FORWARD(16, "s0-s15")
DEFINE_FORWARD(8, "s0-s7")
DEFINE_FORWARD(4, "s0-s3")
DEFINE_FORWARD(2, "s0-s1")
DEFINE_FORWARD(1, "s0")

/* ---- dot and add_scaled ----------------------------------------------------------------------- */

#define TR_HAS_DOT
TR_KERNEL float dot(const float *a, const float *b, size_t n)
{
    float sum = 0.0f;
    if (n >= 4) {
        size_t fours = n / 4 - 1;
        register float total __asm__("s0");
        __asm__ volatile(
            LOAD(a, 0, 3) LOAD(b, 4, 7) MUL4(0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7)
            "lsrs %[n], %[n], #1\n\t"
            "bcc 1f\n\t"
            LOAD(a, 4, 7) LOAD(b, 8, 11) MUL4(4, 5, 6, 7, 4, 5, 6, 7, 8, 9, 10, 11)
            ADD4(0, 1, 2, 3, 4, 5, 6, 7) "\n"
            "1:\n\t"
            "cbz %[n], 3f\n"
            "2:\n\t"
            LOAD(a, 4, 11) LOAD(b, 16, 23)
            MUL4(4, 5, 6, 7, 4, 5, 6, 7, 16, 17, 18, 19)
            MUL4(8, 9, 10, 11, 8, 9, 10, 11, 20, 21, 22, 23)
            ADD4(0, 1, 2, 3, 4, 5, 6, 7) ADD4(0, 1, 2, 3, 8, 9, 10, 11)
            "subs %[n], %[n], #1\n\t"
            "bne 2b\n"
            "3:\n\t"
            ADD(0, 0, 2) ADD(1, 1, 3) ADD(0, 0, 1)
            : [a] "+r"(a), [b] "+r"(b), [n] "+l"(fours), "=t"(total)
            :
            : "cc", "memory", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11",
              "s16", "s17", "s18", "s19", "s20", "s21", "s22", "s23");
        sum = total;
    }
    for (n %= 4; n > 0; n--) {
        sum += *a++ * *b++;
    }
    return sum;
}

#define TR_HAS_ADD_SCALED
TR_KERNEL void add_scaled(float *target, float c, const float *values, size_t n)
{
    register float factor __asm__("s0") = c;
    for (; n >= 8; n -= 8) {
        __asm__ volatile(
            LOAD(values, 8, 15) PEEK(target, 16, 23)
            SCALE4(8, 9, 10, 11, 0) SCALE4(12, 13, 14, 15, 0)
            ADD4(16, 17, 18, 19, 8, 9, 10, 11) ADD4(20, 21, 22, 23, 12, 13, 14, 15)
            STORE(target, 16, 23)
            : [target] "+r"(target), [values] "+r"(values)
            : "t"(factor)
            : "memory", "s8", "s9", "s10", "s11", "s12", "s13", "s14", "s15", "s16", "s17", "s18",
              "s19", "s20", "s21", "s22", "s23");
    }
    for (; n > 0; n--) {
        *target++ += c * *values++;
    }
}

/* ---- Dense layers ----------------------------------------------------------------------------- */

#define TR_HAS_DENSE_FORWARD
TR_KERNEL void dense_forward(float *out, const float *x, const float *w, size_t inputs,
                             size_t outputs)
{
    const float *bias = w + inputs * outputs;
    size_t left = outputs;
    if (outputs == 1) {
        *out = *bias + dot(x, w, inputs);
        return;
    }
    for (; left >= 16; left -= 16, out += 16, w += 16, bias += 16) {
        forward_16(out, x, w, bias, inputs, outputs);
    }
    if (left & 8) {
        forward_8(out, x, w, bias, inputs, outputs);
        out += 8, w += 8, bias += 8;
    }
    if (left & 4) {
        forward_4(out, x, w, bias, inputs, outputs);
        out += 4, w += 4, bias += 4;
    }
    if (left & 2) {
        forward_2(out, x, w, bias, inputs, outputs);
        out += 2, w += 2, bias += 2;
    }
    if (left & 1) {
        forward_1(out, x, w, bias, inputs, outputs);
    }
}

/* Four columns of one row: w in s24 ... s27, delta in s20 ... s23, the row's c in a register of its
 * own. The dot product's four partial sums p gain w * delta, then w += c * delta. */
#define LEARN_ROW(row, c) \
    MUL4(28, 29, 30, 31, c, c, c, c, 20, 21, 22, 23) ADD4(24, 25, 26, 27, 28, 29, 30, 31) \
    STORE(row, 24, 27)
#define FIRST_FOUR(row, p0, p1, p2, p3, c) \
    PEEK(row, 24, 27) MUL4(p0, p1, p2, p3, 24, 25, 26, 27, 20, 21, 22, 23) LEARN_ROW(row, c)
#define NEXT_FOUR(row, p0, p1, p2, p3, c) \
    PEEK(row, 24, 27) MUL4(28, 29, 30, 31, 24, 25, 26, 27, 20, 21, 22, 23) \
    ADD4(p0, p1, p2, p3, 28, 29, 30, 31) LEARN_ROW(row, c)
#define FOUR_ROWS(FOUR) \
    LOAD(delta, 20, 23) FOUR(row0, 0, 1, 2, 3, 16) FOUR(row1, 4, 5, 6, 7, 17) \
    FOUR(row2, 8, 9, 10, 11, 18) FOUR(row3, 12, 13, 14, 15, 19)

/* Four rows of a weight matrix at once, so that each delta is loaded once for all: their dot
 * products with delta (n) into dx, then each row += c * delta. */
TR_INLINE void send_back_and_learn(float dx[4], float *w, float scale, const float *x,
                                   const float *delta, size_t n)
{
    float *row0 = w;
    float *row1 = w + n;
    float *row2 = w + 2 * n;
    float *row3 = w + 3 * n;
    const float c[4] = {scale * x[0], scale * x[1], scale * x[2], scale * x[3]};
    float d0 = 0.0f;
    float d1 = 0.0f;
    float d2 = 0.0f;
    float d3 = 0.0f;
    if (n >= 4) {
        size_t fours = n / 4 - 1;
        register float c0 __asm__("s16") = c[0];
        register float c1 __asm__("s17") = c[1];
        register float c2 __asm__("s18") = c[2];
        register float c3 __asm__("s19") = c[3];
        register float sum0 __asm__("s0");
        register float sum1 __asm__("s4");
        register float sum2 __asm__("s8");
        register float sum3 __asm__("s12");
        __asm__ volatile(
            FOUR_ROWS(FIRST_FOUR)
            "lsrs %[n], %[n], #1\n\t"
            "bcc 1f\n\t"
            FOUR_ROWS(NEXT_FOUR)
            "1:\n\t"
            "cmp %[n], #0\n\t"
            "beq 3f\n"
            "2:\n\t"
            FOUR_ROWS(NEXT_FOUR) FOUR_ROWS(NEXT_FOUR)
            "subs %[n], %[n], #1\n\t"
            "bne 2b\n"
            "3:\n\t"
            ADD(0, 0, 2) ADD(1, 1, 3) ADD(4, 4, 6) ADD(5, 5, 7)
            ADD(8, 8, 10) ADD(9, 9, 11) ADD(12, 12, 14) ADD(13, 13, 15)
            ADD(0, 0, 1) ADD(4, 4, 5) ADD(8, 8, 9) ADD(12, 12, 13)
            : [row0] "+r"(row0), [row1] "+r"(row1), [row2] "+r"(row2), [row3] "+r"(row3),
              [delta] "+r"(delta), [n] "+l"(fours), "=t"(sum0), "=t"(sum1), "=t"(sum2), "=t"(sum3)
            : "t"(c0), "t"(c1), "t"(c2), "t"(c3)
            : "cc", "memory", "s1", "s2", "s3", "s5", "s6", "s7", "s9", "s10", "s11", "s13", "s14",
              "s15", "s20", "s21", "s22", "s23", "s24", "s25", "s26", "s27", "s28", "s29", "s30",
              "s31");
        d0 = sum0;
        d1 = sum1;
        d2 = sum2;
        d3 = sum3;
    }
    for (n %= 4; n > 0; n--) {
        const float d = *delta++;
        d0 += *row0 * d;
        d1 += *row1 * d;
        d2 += *row2 * d;
        d3 += *row3 * d;
        *row0++ += scale * x[0] * d;
        *row1++ += scale * x[1] * d;
        *row2++ += scale * x[2] * d;
        *row3++ += scale * x[3] * d;
    }
    dx[0] = d0;
    dx[1] = d1;
    dx[2] = d2;
    dx[3] = d3;
}

/* A layer with one output, the last one of a regression. */
TR_INLINE float single_backward(const tr_change *change, int gate, float *x, float d, size_t inputs)
{
    const float *w = change->weights;
    float *target = change->target;
    const float c = change->scale * d;
    float squares = 0.0f;
    for (size_t i = 0; i < inputs; i++) {
        const float input = x[i];
        const float dx = gated(gate, w[i] * d, input);
        x[i] = dx;
        squares += dx * dx;
        target[i] += c * input;
    }
    target[inputs] += c;
    return squares;
}

#define TR_HAS_DENSE_BACKWARD
TR_KERNEL float dense_backward(const tr_change *change, float *x, const float *delta,
                               size_t inputs, size_t outputs)
{
    const int gate = change->gate;
    const float scale = change->scale;
    const float *w = change->weights;
    float *target = change->target;
    float squares = 0.0f;
    if (outputs == 1) {
        switch (gate) { /* a loop for each, as the gate would be asked for every weight */
        case TR_KIND_TANH: return single_backward(change, TR_KIND_TANH, x, *delta, inputs);
        case TR_KIND_RELU: return single_backward(change, TR_KIND_RELU, x, *delta, inputs);
        default: return single_backward(change, 0, x, *delta, inputs);
        }
    }
    for (; target == w && inputs >= 4; inputs -= 4, x += 4, w += 4 * outputs) {
        float dx[4];
        send_back_and_learn(dx, target, scale, x, delta, outputs);
        target += 4 * outputs;
        for (int r = 0; r < 4; r++) {
            x[r] = gated(gate, dx[r], x[r]);
            squares += x[r] * x[r];
        }
    }
    for (; inputs > 0; inputs--, x++, w += outputs, target += outputs) {
        const float c = scale * *x;
        *x = gated(gate, dot(w, delta, outputs), *x);
        squares += *x * *x;
        add_scaled(target, c, delta, outputs);
    }
    add_scaled(target, scale, delta, outputs);
    return squares;
}

/* The next floats at w += c * s0 ...; w moves on. */
#define LEARN_4(c) \
    PEEK(w, 20, 23) MUL4(28, 29, 30, 31, c, c, c, c, 0, 1, 2, 3) \
    ADD4(20, 21, 22, 23, 28, 29, 30, 31) STORE(w, 20, 23)
#define LEARN_8(c) \
    PEEK(w, 20, 27) MUL4(28, 29, 30, 31, c, c, c, c, 0, 1, 2, 3) \
    ADD4(20, 21, 22, 23, 28, 29, 30, 31) MUL4(28, 29, 30, 31, c, c, c, c, 4, 5, 6, 7) \
    ADD4(24, 25, 26, 27, 28, 29, 30, 31) STORE(w, 20, 27)
#define LEARN_16(c) \
    LEARN_8(c) \
    PEEK(w, 20, 27) MUL4(28, 29, 30, 31, c, c, c, c, 8, 9, 10, 11) \
    ADD4(20, 21, 22, 23, 28, 29, 30, 31) MUL4(28, 29, 30, 31, c, c, c, c, 12, 13, 14, 15) \
    ADD4(24, 25, 26, 27, 28, 29, 30, 31) STORE(w, 20, 27)

/* `width` columns of a layer whose inputs need no gradient, their deltas in registers. */
#define DEFINE_LEARN(width, last) \
    TR_INLINE void learn_##width(float *w, float scale, const float *x, const float *delta, \
                                 size_t inputs, size_t outputs) \
    { \
        __asm__ volatile( \
            "vldmia %[delta], {s0-s" #last "}\n\t" \
            "subs %[n], %[n], #4\n\t" \
            "blt 2f\n" \
            "1:\n\t" \
            "vmov s28, %[scale]\n\t" \
            LOAD(x, 16, 19) SCALE4(16, 17, 18, 19, 28) \
            LEARN_##width(16) NEXT_ROW LEARN_##width(17) NEXT_ROW \
            LEARN_##width(18) NEXT_ROW LEARN_##width(19) NEXT_ROW \
            "subs %[n], %[n], #4\n\t" \
            "bge 1b\n" \
            "2:\n\t" \
            "vmov s17, %[scale]\n\t" \
            "adds %[n], %[n], #4\n\t" \
            "beq 4f\n" \
            "3:\n\t" \
            "vldmia %[x]!, {s16}\n\t" \
            MUL(16, 16, 17) LEARN_##width(16) NEXT_ROW \
            "subs %[n], %[n], #1\n\t" \
            "bne 3b\n" \
            "4:\n\t" \
            LEARN_##width(17) /* the bias */ \
            : [x] "+r"(x), [w] "+r"(w), [n] "+r"(inputs) \
            : [delta] "r"(delta), [scale] "r"(scale), [skip] "r"((outputs - width) * sizeof *w) \
            : "cc", "memory", LOW_REGISTERS, HIGH_REGISTERS); \
    }
DEFINE_LEARN(16, 15)
DEFINE_LEARN(8, 7)
DEFINE_LEARN(4, 3)

#define TR_HAS_DENSE_BACKWARD_FIRST
TR_KERNEL void dense_backward_first(const tr_change *change, const float *x, const float *delta,
                                    size_t inputs, size_t outputs)
{
    float *target = change->target;
    const float scale = change->scale;
    size_t left = outputs;
    for (; left >= 16; left -= 16, target += 16, delta += 16) {
        learn_16(target, scale, x, delta, inputs, outputs);
    }
    if (left & 8) {
        learn_8(target, scale, x, delta, inputs, outputs);
        target += 8, delta += 8;
    }
    if (left & 4) {
        learn_4(target, scale, x, delta, inputs, outputs);
        target += 4, delta += 4;
    }
    for (left &= 3; left > 0; left--, target++, delta++) {
        for (size_t i = 0; i < inputs; i++) {
            target[i * outputs] += scale * x[i] * *delta;
        }
        target[inputs * outputs] += scale * *delta;
    }
}

/* ---- Convolutions ----------------------------------------------------------------------------- */

/* Steps from one position of a convolution to the next, in bytes. */
typedef struct {
    size_t positions;
    size_t x;
    size_t column;
    size_t delta; /* from the end of what was read */
} tr_steps;

/* `width` outputs of a row without a column: their gradients in registers over all positions. */
#define DEFINE_CONV_FIRST(width) \
    TR_INLINE void conv_first_##width(float *target, float scale, const float *x, \
                                      const float *w, const tr_layer *layer) \
    { \
        size_t n = positions_of(layer); \
        __asm__ volatile( \
            "vmov s0, %[zero]\n\t" CLEAR_##width \
            "1:\n\t" \
            "vldr s16, [%[x]]\n\t" \
            "add %[x], %[x], %[step]\n\t" \
            ADD_ROW_##width(16) NEXT_ROW \
            "subs %[n], %[n], #1\n\t" \
            "bne 1b\n\t" \
            "vmov s28, %[scale]\n\t" \
            ADD_ALL_##width \
            : [x] "+r"(x), [w] "+r"(w), [n] "+r"(n), [target] "+r"(target) \
            : [scale] "r"(scale), [zero] "r"(0), \
              [step] "r"((size_t)layer->stride * layer->inputs * sizeof *x), \
              [skip] "r"(((size_t)layer->outputs - width) * sizeof *w) \
            : "cc", "memory", LOW_REGISTERS, HIGH_REGISTERS); \
    }
#define COPY(a) "vmov.f32 s" #a ", s0\n\t"
#define CLEAR_4 COPY(1) COPY(2) COPY(3)
#define CLEAR_8 CLEAR_4 COPY(4) COPY(5) COPY(6) COPY(7)
#define CLEAR_16 \
    CLEAR_8 COPY(8) COPY(9) COPY(10) COPY(11) COPY(12) COPY(13) COPY(14) COPY(15)
/* target += s28 * s0 ... */
#define ADD_ALL_4 \
    PEEK(target, 20, 23) SCALE4(0, 1, 2, 3, 28) ADD4(20, 21, 22, 23, 0, 1, 2, 3) \
    STORE(target, 20, 23)
#define ADD_ALL_8 \
    PEEK(target, 20, 27) SCALE4(0, 1, 2, 3, 28) SCALE4(4, 5, 6, 7, 28) \
    ADD4(20, 21, 22, 23, 0, 1, 2, 3) ADD4(24, 25, 26, 27, 4, 5, 6, 7) STORE(target, 20, 27)
#define ADD_ALL_16 \
    ADD_ALL_8 PEEK(target, 20, 27) SCALE4(8, 9, 10, 11, 28) SCALE4(12, 13, 14, 15, 28) \
    ADD4(20, 21, 22, 23, 8, 9, 10, 11) ADD4(24, 25, 26, 27, 12, 13, 14, 15) STORE(target, 20, 27)
DEFINE_CONV_FIRST(16)
DEFINE_CONV_FIRST(8)
DEFINE_CONV_FIRST(4)

/* Eight outputs of a row with a column. Gradients in s0 ... s7, weights in s8 ... s15, the deltas of
 * a position in s16 ... s23, its input in s24, its place in the column in s25. */
TR_INLINE void conv_row_8(float *target, float scale, const float *w, float *column,
                          const float *x, const float *delta, const tr_layer *layer)
{
    size_t n = positions_of(layer);
    __asm__ volatile(
        "vmov s0, %[zero]\n\t" CLEAR_8
        PEEK(weights, 8, 15)
        "1:\n\t"
        LOAD(delta, 16, 23)
        "vldr s24, [%[x]]\n\t"
        "vldr s25, [%[column]]\n\t"
        MUL4(26, 27, 28, 29, 24, 24, 24, 24, 16, 17, 18, 19) ADD4(0, 1, 2, 3, 26, 27, 28, 29)
        MUL4(26, 27, 28, 29, 24, 24, 24, 24, 20, 21, 22, 23) ADD4(4, 5, 6, 7, 26, 27, 28, 29)
        MUL4(16, 17, 18, 19, 16, 17, 18, 19, 8, 9, 10, 11)
        MUL4(20, 21, 22, 23, 20, 21, 22, 23, 12, 13, 14, 15)
        ADD(16, 16, 18) ADD(17, 17, 19) ADD(20, 20, 22) ADD(21, 21, 23) ADD(16, 16, 17)
        "add %[x], %[x], %[x_step]\n\t"
        ADD(25, 25, 16) ADD(20, 20, 21)
        "add %[delta], %[delta], %[skip]\n\t"
        ADD(25, 25, 20)
        "subs %[n], %[n], #1\n\t"
        "vstr s25, [%[column]]\n\t"
        "add %[column], %[column], %[column_step]\n\t"
        "bne 1b\n\t"
        "vmov s28, %[scale]\n\t"
        ADD_ALL_8
        : [x] "+r"(x), [delta] "+r"(delta), [column] "+r"(column), [n] "+r"(n),
          [target] "+r"(target)
        : [weights] "r"(w), [scale] "r"(scale), [zero] "r"(0),
          [x_step] "r"((size_t)layer->stride * layer->inputs * sizeof *x),
          [column_step] "r"(layer->stride * sizeof *column),
          [skip] "r"(((size_t)layer->outputs - 8) * sizeof *delta)
        : "cc", "memory", LOW_REGISTERS, HIGH_REGISTERS);
}

/* One, or four, without the help of an assembler. */
TR_INLINE void conv_row_few(float *target, float scale, const float *w, float *column,
                            const float *x, const float *delta, const tr_layer *layer,
                            const int width)
{
    const size_t step = (size_t)layer->stride * layer->inputs;
    float gradient[4] = {0.0f};
    for (size_t t = positions_of(layer); t > 0; t--, x += step, delta += layer->outputs) {
        for (int j = 0; j < width; j++) {
            gradient[j] += *x * delta[j];
        }
        if (column) {
            *column += width == 1 ? *w * *delta
                                  : (w[0] * delta[0] + w[2] * delta[2])
                                        + (w[1] * delta[1] + w[3] * delta[3]);
            column += layer->stride;
        }
    }
    for (int j = 0; j < width; j++) {
        target[j] += scale * gradient[j];
    }
}

#define TR_HAS_CONV_ROW
TR_KERNEL void conv_row(float *target, float scale, const float *w, float *column, const float *x,
                        const float *delta, const tr_layer *layer)
{
    size_t left = layer->outputs;
    for (; !column && left >= 16; left -= 16, target += 16, w += 16, delta += 16) {
        conv_first_16(target, scale, x, delta, layer);
    }
    for (; left >= 8; left -= 8, target += 8, w += 8, delta += 8) {
        if (column) {
            conv_row_8(target, scale, w, column, x, delta, layer);
        } else {
            conv_first_8(target, scale, x, delta, layer);
        }
    }
    if (left & 4) {
        conv_row_few(target, scale, w, column, x, delta, layer, 4);
        target += 4, w += 4, delta += 4;
    }
    for (left &= 3; left > 0; left--, target++, w++, delta++) {
        conv_row_few(target, scale, w, column, x, delta, layer, 1);
    }
}

#endif
