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
 * - In the long loops no instruction needs what the one right before it has computed, which costs a
 *   real core's FPU a cycle; of the modelled cycles only the highest ones count that.
 *
 * "Gains" in the comments is what one online step takes less than with the plain form of that kernel
 * alone, in instructions and modelled cycles (the middle ones), by GCC 12.2 with the flags of the
 * Arduino core. FPU registers are named by number, so that whoever reads can follow who lies where.
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

/* Four at once: all of one kind before the next, so that none waits for the one before. */
#define SCALE4(a, b, c, d, by) MUL(a, a, by) MUL(b, b, by) MUL(c, c, by) MUL(d, d, by)
#define MUL4(a, b, c, d, a1, b1, c1, d1, a2, b2, c2, d2) \
    MUL(a, a1, a2) MUL(b, b1, b2) MUL(c, c1, c2) MUL(d, d1, d2)
#define ADD4(a, b, c, d, a1, b1, c1, d1) ADD(a, a, a1) ADD(b, b, b1) ADD(c, c, c1) ADD(d, d, d1)

#define LOW_REGISTERS \
    "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "s12", "s13", "s14", \
        "s15"
#define MIDDLE_REGISTERS \
    "s16", "s17", "s18", "s19", "s20", "s21", "s22", "s23", "s24", "s25", "s26", "s27", "s28", "s29"
#define HIGH_REGISTERS MIDDLE_REGISTERS, "s30", "s31"

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

/* Only s0 ... s15, which need not be saved: these two are called often, for short arrays. Gains 180
 * instructions and 205 cycles for 64-32-10. */
#define TR_HAS_DOT
TR_OUTLINE float dot(const float *a, const float *b, size_t n)
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
            "cmp %[n], #0\n\t"
            "beq 3f\n"
            "2:\n\t"
            LOAD(a, 4, 11)
            LOAD(b, 12, 15) MUL4(4, 5, 6, 7, 4, 5, 6, 7, 12, 13, 14, 15)
            LOAD(b, 12, 15) MUL4(8, 9, 10, 11, 8, 9, 10, 11, 12, 13, 14, 15)
            ADD4(0, 1, 2, 3, 4, 5, 6, 7) ADD4(0, 1, 2, 3, 8, 9, 10, 11)
            "subs %[n], %[n], #1\n\t"
            "bne 2b\n"
            "3:\n\t"
            ADD(0, 0, 2) ADD(1, 1, 3) ADD(0, 0, 1)
            : [a] "+r"(a), [b] "+r"(b), [n] "+r"(fours), "=t"(total)
            :
            : "cc", "memory", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11",
              "s12", "s13", "s14", "s15");
        sum = total;
    }
    for (n %= 4; n > 0; n--) {
        sum += *a++ * *b++;
    }
    return sum;
}

/* Gains 8,398 instructions and 11,585 cycles for the wrist's network. */
#define TR_HAS_ADD_SCALED
TR_OUTLINE void add_scaled(float *target, float c, const float *values, size_t n)
{
    register float factor __asm__("s0") = c;
    for (; n >= 8; n -= 8) {
        __asm__ volatile(
            PEEK(target, 8, 15)
            LOAD(values, 4, 7) SCALE4(4, 5, 6, 7, 0) ADD4(8, 9, 10, 11, 4, 5, 6, 7)
            LOAD(values, 4, 7) SCALE4(4, 5, 6, 7, 0) ADD4(12, 13, 14, 15, 4, 5, 6, 7)
            STORE(target, 8, 15)
            : [target] "+r"(target), [values] "+r"(values)
            : "t"(factor)
            : "memory", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "s12", "s13", "s14",
              "s15");
    }
    for (; n > 0; n--) {
        *target++ += c * *values++;
    }
}

/* ---- ReLU -------------------------------------------------------------------------------------- */

/* Four at x: squares into s4 ... s7, sums into s0, negative ones cleared by their sign. */
#define RELU_FOUR \
    PEEK(x, 4, 7) \
    "ldmia %[x]!, {r0-r3}\n\t" \
    MUL4(4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7) \
    ADD(0, 0, 4) "bic r0, r0, r0, asr #31\n\t" ADD(0, 0, 5) "bic r1, r1, r1, asr #31\n\t" \
    ADD(0, 0, 6) "bic r2, r2, r2, asr #31\n\t" ADD(0, 0, 7) "bic r3, r3, r3, asr #31\n\t" \
    "stmia %[out]!, {r0-r3}\n\t"

/* Gains 288 instructions and 376 cycles for 1-32-32-1. */
#define TR_HAS_RELU_FORWARD
TR_OUTLINE float relu_forward(float *out, const float *x, size_t n)
{
    register float squares __asm__("s0") = 0.0f;
    for (; n >= 8; n -= 8) {
        __asm__ volatile(RELU_FOUR RELU_FOUR
                         : [out] "+r"(out), [x] "+r"(x), "+t"(squares)
                         :
                         : "memory", "r0", "r1", "r2", "r3", "s4", "s5", "s6", "s7");
    }
    for (; n > 0; n--, x++) {
        squares += *x * *x;
        *out++ = relu(*x);
    }
    return squares;
}

/* ---- Dense layers ----------------------------------------------------------------------------- */

/* Gains 1,380 instructions and 3,857 cycles for 1-32-32-1; 260,290 and 771,548 for the wrist's
 * network, whose convolutions go through it. */
#define TR_HAS_DENSE_FORWARD
TR_OUTLINE void dense_forward(float *out, const float *x, const float *w, size_t inputs,
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

/* Four gradients times the derivative of the activation whose outputs are y, as gated() does; `one`
 * is a free register. `vmovle` takes the place of a branch: what is not positive of ReLU is +0. */
#define RELU_GATE(gradient, y) \
    "vcmp.f32 s" #y ", #0\n\tvmrs APSR_nzcv, fpscr\n\tit le\n\tvmovle.f32 s" #gradient ", s" #y "\n\t"
#define SUB(d, a, b) "vsub.f32 s" #d ", s" #a ", s" #b "\n\t"
#define GATE(kind, a, b, c, d, ya, yb, yc, yd, one) \
    "cmp %[" #kind "], %[relu]\n\t" \
    "beq 8f\n\t" \
    "cmp %[" #kind "], %[tanh]\n\t" \
    "bne 9f\n\t" \
    "vmov.f32 s" #one ", #1.0\n\t" \
    MUL4(ya, yb, yc, yd, ya, yb, yc, yd, ya, yb, yc, yd) \
    SUB(ya, one, ya) SUB(yb, one, yb) SUB(yc, one, yc) SUB(yd, one, yd) \
    MUL4(a, b, c, d, a, b, c, d, ya, yb, yc, yd) \
    "b 9f\n" \
    "8:\n\t" \
    RELU_GATE(a, ya) RELU_GATE(b, yb) RELU_GATE(c, yc) RELU_GATE(d, yd) \
    "\n9:\n\t"

/* Four columns of one row: w in s24 ... s27, delta in s20 ... s23, the row's c in a register of its
 * own. The dot product's four partial sums p gain w * delta, then w += c * delta. */
#define LEARN_FOUR(row, c) \
    MUL4(28, 29, 30, 31, c, c, c, c, 20, 21, 22, 23) ADD4(24, 25, 26, 27, 28, 29, 30, 31) \
    STORE(row, 24, 27)
#define FIRST_FOUR(row, p0, p1, p2, p3, c) \
    PEEK(row, 24, 27) MUL4(p0, p1, p2, p3, 24, 25, 26, 27, 20, 21, 22, 23) LEARN_FOUR(row, c)
#define NEXT_FOUR(row, p0, p1, p2, p3, c) \
    PEEK(row, 24, 27) MUL4(28, 29, 30, 31, 24, 25, 26, 27, 20, 21, 22, 23) \
    ADD4(p0, p1, p2, p3, 28, 29, 30, 31) LEARN_FOUR(row, c)
#define FOUR_ROWS(FOUR) \
    LOAD(delta, 20, 23) FOUR(row0, 0, 1, 2, 3, 16) FOUR(row1, 4, 5, 6, 7, 17) \
    FOUR(row2, 8, 9, 10, 11, 18) FOUR(row3, 12, 13, 14, 15, 19)
/* One column of one row. */
#define ONE(row, sum, c) \
    "vldr s24, [%[" #row "]]\n\t" MUL(28, 24, 20) MUL(29, c, 20) ADD(sum, sum, 28) \
    ADD(24, 24, 29) "vstmia %[" #row "]!, {s24}\n\t"

/* Four rows of a weight matrix at w (4, n), which moves on, at once, so that each delta is loaded
 * once for all: their dot products with delta (n), gated, take the place of x (4); each row +=
 * scale * x * delta. `squares` gains the squares of the new x; it is the bits of a float, as
 * the compiler would move a float to and fro between the two kinds of registers. */
TR_INLINE uint32_t learn_four_rows(const tr_change *change, uint32_t squares, float **w, float *x,
                                   const float *delta, size_t n)
{
    float *row1;
    float *row2;
    float *row3;
    __asm__ volatile(
        "add %[row1], %[row0], %[n], lsl #2\n\t"
        "add %[row2], %[row1], %[n], lsl #2\n\t"
        "add %[row3], %[row2], %[n], lsl #2\n\t"
        "vldr s20, [%[change], %[scale]]\n\t"
        PEEK(x, 16, 19) SCALE4(16, 17, 18, 19, 20)
        "subs %[n], %[n], #4\n\t"
        "blt 4f\n\t"
        FOUR_ROWS(FIRST_FOUR)
        "tst %[n], #4\n\t"
        "beq 1f\n\t"
        "sub %[n], %[n], #4\n\t"
        FOUR_ROWS(NEXT_FOUR) "\n"
        "1:\n\t"
        "subs %[n], %[n], #8\n\t"
        "blt 3f\n"
        "2:\n\t"
        FOUR_ROWS(NEXT_FOUR) FOUR_ROWS(NEXT_FOUR)
        "subs %[n], %[n], #8\n\t"
        "bge 2b\n"
        "3:\n\t"
        ADD(0, 0, 2) ADD(1, 1, 3) ADD(4, 4, 6) ADD(5, 5, 7)
        ADD(8, 8, 10) ADD(9, 9, 11) ADD(12, 12, 14) ADD(13, 13, 15)
        ADD(0, 0, 1) ADD(4, 4, 5) ADD(8, 8, 9) ADD(12, 12, 13)
        "adds %[n], %[n], #8\n\t"
        "beq 6f\n\t"
        "b 5f\n"
        "4:\n\t"
        SUB(0, 20, 20) /* zero */
        "adds %[n], %[n], #4\n\t"
        "vmov.f32 s4, s0\n\tvmov.f32 s8, s0\n\tvmov.f32 s12, s0\n"
        "5:\n\t"
        "vldmia %[delta]!, {s20}\n\t"
        ONE(row0, 0, 16) ONE(row1, 4, 17) ONE(row2, 8, 18) ONE(row3, 12, 19)
        "subs %[n], %[n], #1\n\t"
        "bne 5b\n"
        "6:\n\t"
        "ldr %[n], [%[change], %[gate]]\n\t"
        PEEK(x, 20, 23)
        GATE(n, 0, 4, 8, 12, 20, 21, 22, 23, 24)
        "vmov s24, %[squares]\n\t"
        MUL4(20, 21, 22, 23, 0, 4, 8, 12, 0, 4, 8, 12)
        ADD(24, 24, 20) "vstr s0, [%[x]]\n\t" ADD(24, 24, 21) "vstr s4, [%[x], #4]\n\t"
        ADD(24, 24, 22) "vstr s8, [%[x], #8]\n\t" ADD(24, 24, 23) "vstr s12, [%[x], #12]\n\t"
        "vmov %[squares], s24\n\t"
        : [row0] "+r"(*w), [row1] "=&r"(row1), [row2] "=&r"(row2), [row3] "=&r"(row3),
          [delta] "+r"(delta), [n] "+r"(n), [squares] "+r"(squares)
        : [x] "r"(x), [change] "r"(change), [scale] "n"(offsetof(tr_change, scale)),
          [gate] "n"(offsetof(tr_change, gate)), [relu] "n"(TR_KIND_RELU), [tanh] "n"(TR_KIND_TANH)
        : "cc", "memory", LOW_REGISTERS, HIGH_REGISTERS);
    *w = row3;
    return squares;
}

/* A layer with one output, the last one of a regression, whose gradient is d: w (fours, 4) +=
 * scale * d * x, and w * d, gated, takes the place of x (fours, 4). */
TR_INLINE float learn_single(float **w, float **x, const tr_change *change, float d, size_t fours)
{
    register float gradient __asm__("s0") = d;
    register float c __asm__("s1") = change->scale * d;
    register float squares __asm__("s2") = 0.0f;
    for (; fours > 0; fours--) {
        __asm__ volatile(
            PEEK(x, 4, 7) PEEK(w, 8, 11) MUL4(12, 13, 14, 15, 0, 0, 0, 0, 8, 9, 10, 11)
            MUL4(16, 17, 18, 19, 1, 1, 1, 1, 4, 5, 6, 7) ADD4(8, 9, 10, 11, 16, 17, 18, 19)
            STORE(w, 8, 11)
            GATE(gate, 12, 13, 14, 15, 4, 5, 6, 7, 16)
            MUL4(4, 5, 6, 7, 12, 13, 14, 15, 12, 13, 14, 15)
            STORE(x, 12, 15)
            ADD(2, 2, 4) ADD(2, 2, 5) ADD(2, 2, 6) ADD(2, 2, 7)
            : [x] "+r"(*x), [w] "+r"(*w), "+t"(squares)
            : "t"(gradient), "t"(c), [gate] "r"(change->gate), [relu] "n"(TR_KIND_RELU),
              [tanh] "n"(TR_KIND_TANH)
            : "cc", "memory", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "s12", "s13", "s14",
              "s15", "s16", "s17", "s18", "s19");
    }
    return squares;
}

/* Gains 3,277 instructions and 8,004 cycles for 1-32-32-1. */
#define TR_HAS_DENSE_BACKWARD
TR_INLINE float dense_backward(const tr_change *change, float *x, const float *delta,
                                size_t inputs, size_t outputs)
{
    const float *w = change->weights;
    float *target = change->target;
    float squares = 0.0f;
    if (target == w) {
        if (outputs == 1) {
            squares = learn_single(&target, &x, change, *delta, inputs / 4);
        } else {
            uint32_t bits = 0;
            for (size_t fours = inputs / 4; fours > 0; fours--, x += 4) {
                bits = learn_four_rows(change, bits, &target, x, delta, outputs);
            }
            squares = float_from_bits(bits);
        }
        w = target;
        inputs %= 4;
    }
    for (; inputs > 0; inputs--, x++, w += outputs, target += outputs) {
        const float input = *x;
        *x = gated(change->gate, dot(w, delta, outputs), input);
        squares += *x * *x;
        if (outputs == 1) {
            *target += change->scale * *delta * input;
        } else {
            add_scaled(target, change->scale * input, delta, outputs);
        }
    }
    add_scaled(target, change->scale, delta, outputs); /* the bias */
    return squares;
}

/* Four at w += c * d. Three registers hold products, so that s31 can keep the scale. */
#define GAIN4(c, wa, wb, wc, wd, da, db, dc, dd) \
    MUL(28, c, da) MUL(29, c, db) MUL(30, c, dc) ADD(wa, wa, 28) \
    MUL(28, c, dd) ADD(wb, wb, 29) ADD(wc, wc, 30) ADD(wd, wd, 28)
/* The next floats at w += c * s0 ...; w moves on. */
#define LEARN_4(c) PEEK(w, 20, 23) GAIN4(c, 20, 21, 22, 23, 0, 1, 2, 3) STORE(w, 20, 23)
#define LEARN_8(c) \
    PEEK(w, 20, 27) GAIN4(c, 20, 21, 22, 23, 0, 1, 2, 3) GAIN4(c, 24, 25, 26, 27, 4, 5, 6, 7) \
    STORE(w, 20, 27)
#define LEARN_16(c) \
    LEARN_8(c) \
    PEEK(w, 20, 27) GAIN4(c, 20, 21, 22, 23, 8, 9, 10, 11) \
    GAIN4(c, 24, 25, 26, 27, 12, 13, 14, 15) STORE(w, 20, 27)

/* `width` columns of a layer whose inputs need no gradient, their deltas in registers. */
#define DEFINE_LEARN(width, last) \
    TR_INLINE void learn_##width(float *w, float scale, const float *x, const float *delta, \
                                 size_t inputs, size_t outputs) \
    { \
        __asm__ volatile( \
            "vldmia %[delta], {s0-s" #last "}\n\t" \
            "vmov s31, %[scale]\n\t" \
            "subs %[n], %[n], #4\n\t" \
            "blt 2f\n" \
            "1:\n\t" \
            LOAD(x, 16, 19) SCALE4(16, 17, 18, 19, 31) \
            LEARN_##width(16) NEXT_ROW LEARN_##width(17) NEXT_ROW \
            LEARN_##width(18) NEXT_ROW LEARN_##width(19) NEXT_ROW \
            "subs %[n], %[n], #4\n\t" \
            "bge 1b\n" \
            "2:\n\t" \
            "adds %[n], %[n], #4\n\t" \
            "beq 4f\n" \
            "3:\n\t" \
            "vldmia %[x]!, {s16}\n\t" \
            MUL(16, 16, 31) LEARN_##width(16) NEXT_ROW \
            "subs %[n], %[n], #1\n\t" \
            "bne 3b\n" \
            "4:\n\t" \
            LEARN_##width(31) /* the bias */ \
            : [x] "+r"(x), [w] "+r"(w), [n] "+r"(inputs) \
            : [delta] "r"(delta), [scale] "r"(scale), [skip] "r"((outputs - width) * sizeof *w) \
            : "cc", "memory", LOW_REGISTERS, HIGH_REGISTERS); \
    }
DEFINE_LEARN(16, 15)
DEFINE_LEARN(8, 7)
DEFINE_LEARN(4, 3)

/* Gains 2,330 instructions and 5,465 cycles for 64-32-10. */
#define TR_HAS_DENSE_BACKWARD_FIRST
TR_INLINE void dense_backward_first(const tr_change *change, const float *x, const float *delta,
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

/* The scale waits in s30: with one more core register GCC 12 runs out of them at -Os. */

/* `width` outputs of a row without a column: their gradients in registers over all positions. */
#define DEFINE_CONV_FIRST(width) \
    TR_INLINE void conv_first_##width(float *target, float scale, const float *x, \
                                      const float *w, const tr_layer *layer) \
    { \
        size_t n = positions_of(layer); \
        register float by __asm__("s30") = scale; \
        __asm__ volatile( \
            CLEAR_##width "\n" \
            "1:\n\t" \
            "vldr s16, [%[x]]\n\t" \
            "add %[x], %[x], %[step]\n\t" \
            ADD_ROW_##width(16) NEXT_ROW \
            "subs %[n], %[n], #1\n\t" \
            "bne 1b\n\t" \
            ADD_ALL_##width \
            : [x] "+r"(x), [w] "+r"(w), [n] "+r"(n), [target] "+r"(target) \
            : [skip] "r"(((size_t)layer->outputs - width) * sizeof *w), "t"(by), \
              [step] "r"((size_t)layer->stride * layer->inputs * sizeof *x) \
            : "cc", "memory", LOW_REGISTERS, MIDDLE_REGISTERS); \
    }
#define COPY(a) "vmov.f32 s" #a ", s0\n\t"
#define CLEAR_4 "vmov.f32 s0, #1.0\n\t" SUB(0, 0, 0) COPY(1) COPY(2) COPY(3)
#define CLEAR_8 CLEAR_4 COPY(4) COPY(5) COPY(6) COPY(7)
#define CLEAR_16 \
    CLEAR_8 COPY(8) COPY(9) COPY(10) COPY(11) COPY(12) COPY(13) COPY(14) COPY(15)
/* target += s30 * s0 ... */
#define ADD_ALL_4 \
    PEEK(target, 20, 23) SCALE4(0, 1, 2, 3, 30) ADD4(20, 21, 22, 23, 0, 1, 2, 3) \
    STORE(target, 20, 23)
#define ADD_ALL_8 \
    PEEK(target, 20, 27) SCALE4(0, 1, 2, 3, 30) SCALE4(4, 5, 6, 7, 30) \
    ADD4(20, 21, 22, 23, 0, 1, 2, 3) ADD4(24, 25, 26, 27, 4, 5, 6, 7) STORE(target, 20, 27)
#define ADD_ALL_16 \
    ADD_ALL_8 PEEK(target, 20, 27) SCALE4(8, 9, 10, 11, 30) SCALE4(12, 13, 14, 15, 30) \
    ADD4(20, 21, 22, 23, 8, 9, 10, 11) ADD4(24, 25, 26, 27, 12, 13, 14, 15) STORE(target, 20, 27)
DEFINE_CONV_FIRST(16)
DEFINE_CONV_FIRST(8)
DEFINE_CONV_FIRST(4)

/* `width` outputs of a row with a column. Gradients in s0 ... s7, weights in s8 ... s15, the deltas
 * of a position in s16 ... s23, its input in s24, its place in the column in s25. */
#define CONV_4 \
    LOAD(delta, 16, 19) \
    "vldr s24, [%[x]]\n\tvldr s25, [%[column]]\n\t" \
    MUL4(26, 27, 28, 29, 24, 24, 24, 24, 16, 17, 18, 19) \
    MUL4(16, 17, 18, 19, 16, 17, 18, 19, 8, 9, 10, 11) ADD4(0, 1, 2, 3, 26, 27, 28, 29) \
    ADD(16, 16, 18) ADD(17, 17, 19) \
    "add %[x], %[x], %[x_step]\n\t" \
    ADD(16, 16, 17) \
    "add %[delta], %[delta], %[skip]\n\t" \
    ADD(25, 25, 16)
#define CONV_8 \
    LOAD(delta, 16, 23) \
    "vldr s24, [%[x]]\n\tvldr s25, [%[column]]\n\t" \
    MUL4(26, 27, 28, 29, 24, 24, 24, 24, 16, 17, 18, 19) ADD4(0, 1, 2, 3, 26, 27, 28, 29) \
    MUL4(26, 27, 28, 29, 24, 24, 24, 24, 20, 21, 22, 23) ADD4(4, 5, 6, 7, 26, 27, 28, 29) \
    MUL4(16, 17, 18, 19, 16, 17, 18, 19, 8, 9, 10, 11) \
    MUL4(20, 21, 22, 23, 20, 21, 22, 23, 12, 13, 14, 15) \
    ADD(16, 16, 18) ADD(17, 17, 19) ADD(20, 20, 22) ADD(21, 21, 23) ADD(16, 16, 17) \
    "add %[x], %[x], %[x_step]\n\t" \
    ADD(25, 25, 16) ADD(20, 20, 21) \
    "add %[delta], %[delta], %[skip]\n\t" \
    ADD(25, 25, 20)
#define DEFINE_CONV_ROW(width, weights) \
    TR_INLINE void conv_row_##width(float *target, float scale, const float *w, float *column, \
                                    const float *x, const float *delta, const tr_layer *layer) \
    { \
        size_t n = positions_of(layer); \
        register float by __asm__("s30") = scale; \
        __asm__ volatile( \
            CLEAR_##width \
            "vldmia %[w], {" weights "}\n" \
            "1:\n\t" \
            CONV_##width \
            "subs %[n], %[n], #1\n\t" \
            "vstr s25, [%[column]]\n\t" \
            "add %[column], %[column], %[column_step]\n\t" \
            "bne 1b\n\t" \
            ADD_ALL_##width \
            : [x] "+r"(x), [delta] "+r"(delta), [column] "+r"(column), [n] "+r"(n), \
              [target] "+r"(target) \
            : [w] "r"(w), "t"(by), \
              [x_step] "r"((size_t)layer->stride * layer->inputs * sizeof *x), \
              [column_step] "r"(layer->stride * sizeof *column), \
              [skip] "r"(((size_t)layer->outputs - width) * sizeof *delta) \
            : "cc", "memory", LOW_REGISTERS, MIDDLE_REGISTERS); \
    }
DEFINE_CONV_ROW(8, "s8-s15")
DEFINE_CONV_ROW(4, "s8-s11")

/* One output, of the last one to three. */
TR_INLINE void conv_row_1(float *target, float scale, const float *w, float *column,
                          const float *x, const float *delta, const tr_layer *layer)
{
    const size_t step = (size_t)layer->stride * layer->inputs;
    float gradient = 0.0f;
    for (size_t t = positions_of(layer); t > 0; t--, x += step, delta += layer->outputs) {
        gradient += *x * *delta;
        if (column) {
            *column += *w * *delta;
            column += layer->stride;
        }
    }
    *target += scale * gradient;
}

/* Gains 3,110,037 instructions and 5,789,620 cycles for the wrist's network. */
#define TR_HAS_CONV_ROW
TR_INLINE void conv_row(float *target, float scale, const float *w, float *column, const float *x,
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
    if (left >= 4) {
        if (column) {
            conv_row_4(target, scale, w, column, x, delta, layer);
        } else {
            conv_first_4(target, scale, x, delta, layer);
        }
        left -= 4, target += 4, w += 4, delta += 4;
    }
    for (; left > 0; left--, target++, w++, delta++) {
        conv_row_1(target, scale, w, column, x, delta, layer);
    }
}

/* ---- Convolutions over an image ---------------------------------------------------------------- */

/* A register gains the number of floats that a struct names; `n` is free. */
#define JUMP(pointer, structure, field) \
    "ldr %[n], [%[" #structure "], %[" #field "]]\n\t" \
    "add %[" #pointer "], %[" #pointer "], %[n], lsl #2\n\t"

/* `width` outputs at one position, their sums in registers over the whole window. */
#define DEFINE_WINDOW(width, sums) \
    TR_INLINE void window_##width(float *out, const tr_window *window, const float *w, \
                                  const float *bias, size_t outputs) \
    { \
        const float *x = window->x; \
        size_t rows = window->rows; \
        size_t n; \
        __asm__ volatile( \
            "vldmia %[bias], {" sums "}\n" \
            "1:\n\t" \
            "ldr %[n], [%[window], %[length]]\n\t" \
            "subs %[n], %[n], #4\n\t" \
            "blt 3f\n" \
            "2:\n\t" \
            LOAD(x, 16, 19) \
            ADD_ROW_##width(16) NEXT_ROW ADD_ROW_##width(17) NEXT_ROW \
            ADD_ROW_##width(18) NEXT_ROW ADD_ROW_##width(19) NEXT_ROW \
            "subs %[n], %[n], #4\n\t" \
            "bge 2b\n" \
            "3:\n\t" \
            "adds %[n], %[n], #4\n\t" \
            "beq 5f\n" \
            "4:\n\t" \
            "vldmia %[x]!, {s16}\n\t" \
            ADD_ROW_##width(16) NEXT_ROW \
            "subs %[n], %[n], #1\n\t" \
            "bne 4b\n" \
            "5:\n\t" \
            JUMP(x, window, x_step) JUMP(w, window, w_step) \
            "subs %[rows], %[rows], #1\n\t" \
            "bne 1b\n\t" \
            "vstmia %[out], {" sums "}\n\t" \
            : [x] "+r"(x), [w] "+r"(w), [rows] "+r"(rows), [n] "=&r"(n) \
            : [out] "r"(out), [bias] "r"(bias), [skip] "r"((outputs - width) * sizeof *w), \
              [window] "r"(window), [length] "n"(offsetof(tr_window, n)), \
              [x_step] "n"(offsetof(tr_window, x_step)), \
              [w_step] "n"(offsetof(tr_window, w_step)) \
            : "cc", "memory", LOW_REGISTERS, HIGH_REGISTERS); \
    }
DEFINE_WINDOW(16, "s0-s15")
DEFINE_WINDOW(8, "s0-s7")
DEFINE_WINDOW(4, "s0-s3")
DEFINE_WINDOW(1, "s0")

/* Gains 462,317 instructions and 1,320,435 cycles for an image of 28x28 with four convolutions. */
#define TR_HAS_WINDOW_FORWARD
TR_OUTLINE void window_forward(float *out, const tr_window *window, const float *bias,
                               size_t outputs)
{
    const float *w = window->w;
    size_t left = outputs;
    for (; left >= 16; left -= 16, out += 16, w += 16, bias += 16) {
        window_16(out, window, w, bias, outputs);
    }
    if (left & 8) {
        window_8(out, window, w, bias, outputs);
        out += 8, w += 8, bias += 8;
    }
    if (left & 4) {
        window_4(out, window, w, bias, outputs);
        out += 4, w += 4, bias += 4;
    }
    for (left &= 3; left > 0; left--) {
        window_1(out++, window, w++, bias++, outputs);
    }
}

/* `width` outputs of a row without a column: their gradients in registers over all positions. */
#define DEFINE_MAP_FIRST(width) \
    TR_INLINE void map_first_##width(float *target, const float *x, const float *w, \
                                     const tr_map *map, size_t outputs) \
    { \
        size_t rows = map->rows; \
        size_t n; \
        __asm__ volatile( \
            CLEAR_##width "\n" \
            "1:\n\t" \
            "ldr %[n], [%[map], %[length]]\n" \
            "2:\n\t" \
            "vldr s16, [%[x]]\n\t" \
            "add %[x], %[x], %[step]\n\t" \
            ADD_ROW_##width(16) NEXT_ROW \
            "subs %[n], %[n], #1\n\t" \
            "bne 2b\n\t" \
            JUMP(x, map, x_jump) JUMP(w, map, delta_jump) \
            "subs %[rows], %[rows], #1\n\t" \
            "bne 1b\n\t" \
            "vldr s30, [%[map], %[scale]]\n\t" \
            ADD_ALL_##width \
            : [x] "+r"(x), [w] "+r"(w), [rows] "+r"(rows), [n] "=&r"(n), [target] "+r"(target) \
            : [scale] "n"(offsetof(tr_map, scale)), [map] "r"(map), \
              [step] "r"(map->x_step * sizeof *x), \
              [skip] "r"((outputs - width) * sizeof *w), [length] "n"(offsetof(tr_map, n)), \
              [x_jump] "n"(offsetof(tr_map, x_jump)), \
              [delta_jump] "n"(offsetof(tr_map, delta_jump)) \
            : "cc", "memory", LOW_REGISTERS, HIGH_REGISTERS); \
    }
DEFINE_MAP_FIRST(16)
DEFINE_MAP_FIRST(8)
DEFINE_MAP_FIRST(4)

/* `width` outputs of a row with a column. Gradients in s0 ... s7, weights in s8 ... s15, the deltas
 * of a position in s16 ... s23, its partial sums in s24 ... s27, its input in s28. The rows
 * to come are counted in s30 and the target's address waits in s31: with more core registers GCC 12
 * runs out of them at -Os. The register of w counts the positions of a row. */
#define MAP_4 \
    LOAD(delta, 16, 19) "vldr s28, [%[x]]\n\t" PEEK(column, 24, 27) \
    MUL4(20, 21, 22, 23, 28, 28, 28, 28, 16, 17, 18, 19) ADD4(0, 1, 2, 3, 20, 21, 22, 23) \
    MUL4(16, 17, 18, 19, 16, 17, 18, 19, 8, 9, 10, 11) ADD4(24, 25, 26, 27, 16, 17, 18, 19)
#define MAP_8 \
    LOAD(delta, 16, 23) "vldr s28, [%[x]]\n\t" PEEK(column, 24, 27) \
    MUL(29, 28, 16) MUL(16, 16, 8) ADD(0, 0, 29) MUL(29, 28, 17) MUL(17, 17, 9) ADD(1, 1, 29) \
    MUL(29, 28, 18) MUL(18, 18, 10) ADD(2, 2, 29) MUL(29, 28, 19) MUL(19, 19, 11) ADD(3, 3, 29) \
    MUL(29, 28, 20) MUL(20, 20, 12) ADD(4, 4, 29) MUL(29, 28, 21) MUL(21, 21, 13) ADD(5, 5, 29) \
    MUL(29, 28, 22) MUL(22, 22, 14) ADD(6, 6, 29) MUL(29, 28, 23) MUL(23, 23, 15) ADD(7, 7, 29) \
    ADD4(24, 25, 26, 27, 16, 17, 18, 19) ADD4(24, 25, 26, 27, 20, 21, 22, 23)
#define MAP_END_4 \
    PEEK(n, 20, 23) SCALE4(0, 1, 2, 3, 28) ADD4(20, 21, 22, 23, 0, 1, 2, 3) PUT(n, 20, 23)
#define MAP_END_8 \
    PEEK(n, 20, 27) SCALE4(0, 1, 2, 3, 28) SCALE4(4, 5, 6, 7, 28) \
    ADD4(20, 21, 22, 23, 0, 1, 2, 3) ADD4(24, 25, 26, 27, 4, 5, 6, 7) PUT(n, 20, 27)
#define DEFINE_MAP_ROW(width, weights) \
    TR_INLINE void map_row_##width(float *target, const float *w, float *column, const float *x, \
                                   const float *delta, const tr_map *map, size_t outputs) \
    { \
        register float rows __asm__("s30") = float_from_bits((uint32_t)map->rows); \
        register float to __asm__("s31") = float_from_bits((uint32_t)(uintptr_t)target); \
        __asm__ volatile( \
            CLEAR_##width \
            "vldmia %[n], {" weights "}\n" \
            "1:\n\t" \
            "ldr %[n], [%[map], %[length]]\n" \
            "2:\n\t" \
            MAP_##width \
            "add %[x], %[x], %[x_step]\n\t" \
            "add %[delta], %[delta], %[skip]\n\t" \
            "vstmia %[column], {s24-s27}\n\t" \
            "subs %[n], %[n], #1\n\t" \
            "add %[column], %[column], %[column_step]\n\t" \
            "bne 2b\n\t" \
            JUMP(x, map, x_jump) JUMP(column, map, column_jump) JUMP(delta, map, delta_jump) \
            "vmov %[n], s30\n\t" \
            "subs %[n], %[n], #1\n\t" \
            "vmov s30, %[n]\n\t" \
            "bne 1b\n\t" \
            "vmov %[n], s31\n\t" \
            "vldr s28, [%[map], %[scale]]\n\t" \
            MAP_END_##width \
            : [x] "+r"(x), [delta] "+r"(delta), [column] "+r"(column), [n] "+r"(w), \
              "+t"(rows) \
            : "t"(to), [scale] "n"(offsetof(tr_map, scale)), [map] "r"(map), \
              [x_step] "r"(map->x_step * sizeof *x), \
              [column_step] "r"(map->column_step * sizeof *column), \
              [skip] "r"((outputs - width) * sizeof *delta), [length] "n"(offsetof(tr_map, n)), \
              [x_jump] "n"(offsetof(tr_map, x_jump)), \
              [column_jump] "n"(offsetof(tr_map, column_jump)), \
              [delta_jump] "n"(offsetof(tr_map, delta_jump)) \
            : "cc", "memory", LOW_REGISTERS, "s16", "s17", "s18", "s19", "s20", "s21", "s22", \
              "s23", "s24", "s25", "s26", "s27", "s28", "s29"); \
    }
DEFINE_MAP_ROW(8, "s8-s15")
DEFINE_MAP_ROW(4, "s8-s11")

/* One output, of the last one to three. */
TR_OUTLINE void map_row_1(float *target, float weight, float *column, const float *x,
                          const float *delta, const tr_map *map, size_t outputs)
{
    float gradient = 0.0f;
    for (size_t row = map->rows; row > 0; row--) {
        for (size_t i = map->n; i > 0; i--, x += map->x_step, delta += outputs) {
            gradient += *x * *delta;
            if (column) {
                *column += weight * *delta;
                column += map->column_step;
            }
        }
        x += map->x_jump;
        delta += map->delta_jump;
        column = column ? column + map->column_jump : NULL;
    }
    *target += map->scale * gradient;
}

/* Gains 5,511,469 instructions and 8,108,915 cycles for the same. */
#define TR_HAS_MAP_ROW
TR_OUTLINE void map_row(float *target, const float *w, float *column, const float *x,
                        const float *delta, const tr_map *map, size_t outputs)
{
    size_t left = outputs;
    for (; !column && left >= 16; left -= 16, target += 16, w += 16, delta += 16) {
        map_first_16(target, x, delta, map, outputs);
    }
    for (; left >= 8; left -= 8, target += 8, w += 8, delta += 8) {
        if (column) {
            map_row_8(target, w, column, x, delta, map, outputs);
        } else {
            map_first_8(target, x, delta, map, outputs);
        }
    }
    if (left >= 4) {
        if (column) {
            map_row_4(target, w, column, x, delta, map, outputs);
        } else {
            map_first_4(target, x, delta, map, outputs);
        }
        left -= 4, target += 4, w += 4, delta += 4;
    }
    for (size_t o = 0; o < left; o++) {
        map_row_1(target + o, w[o], column ? column + o : NULL, x, delta + o, map, outputs);
    }
}

#endif
