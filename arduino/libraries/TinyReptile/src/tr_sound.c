/* The front end for sound: see tr_sound.h. The order of every sum is that of
 * tinyreptile_lite/sound.py, where the bits are defined; what the steps mean is told there.
 */
#include "tr_sound.h"

#include <string.h>

#include "tinyreptile_core.h"
#include "tr_sound_tables.h"

/* As in tinyreptile_core.c. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("fp-contract=off")
#ifndef TR_PLAIN_OPTIONS
#pragma GCC optimize("O3")
#endif
#else
#pragma STDC FP_CONTRACT OFF
#endif

#define POINTS 256 /* of the complex FFT */
#define FLOOR 524288.0f

/* Cosine and sine of k turns / 512. */
#define COS(k) tr_sound_cosine[k]
#define SIN(k) tr_sound_cosine[((k) + 3 * TR_SOUND_WINDOW / 4) & (TR_SOUND_WINDOW - 1)]

void tr_sound_restart(tr_sound *sound)
{
    sound->held = 0;
}

size_t tr_sound_take(tr_sound *sound, const int16_t *samples, size_t count)
{
    const size_t room = TR_SOUND_WINDOW - (size_t)sound->held;
    const size_t taken = count < room ? count : room;
    memcpy(sound->samples + sound->held, samples, taken * sizeof *samples);
    sound->held = (uint16_t)(sound->held + taken);
    return taken;
}

/* A sample, faded in and out by the Hann window. */
static inline float faded(const int16_t *samples, size_t i)
{
    return (float)samples[i] * (0.5f - 0.5f * COS(i));
}

/* The four-point transform of z[0], z[step], z[2 * step] and z[3 * step], in their place. */
static inline void butterfly(tr_complex *z, size_t step, tr_complex a, tr_complex b,
                             tr_complex c, tr_complex d)
{
    const tr_complex even = {a.re + c.re, a.im + c.im};
    const tr_complex odd = {b.re + d.re, b.im + d.im};
    const tr_complex left = {a.re - c.re, a.im - c.im};
    const tr_complex turned = {b.re - d.re, b.im - d.im};
    z[0].re = even.re + odd.re;
    z[0].im = even.im + odd.im;
    z[step].re = left.re + turned.im;
    z[step].im = left.im - turned.re;
    z[2 * step].re = even.re - odd.re;
    z[2 * step].im = even.im - odd.im;
    z[3 * step].re = left.re - turned.im;
    z[3 * step].im = left.im + turned.re;
}

/* First stage: windowed samples come in the order that reversed digits to the base of 4 give. */
static void first_stage(tr_complex *z, const int16_t *samples)
{
    for (size_t block = 0; block < POINTS / 4; block++, z += 4) {
        const size_t first = 2 * ((block & 3) << 4 | (block & 12) | block >> 4);
        tr_complex x[4];
        for (size_t r = 0; r < 4; r++) {
            const size_t i = first + r * (TR_SOUND_WINDOW / 4);
            x[r].re = faded(samples, i);
            x[r].im = faded(samples, i + 1);
        }
        butterfly(z, 1, x[0], x[1], x[2], x[3]);
    }
}

/* z, turned back by an angle whose cosine and sine are given. */
static inline tr_complex turn(tr_complex z, float c, float s)
{
    const tr_complex turned = {z.re * c + z.im * s, z.im * c - z.re * s};
    return turned;
}

/* A later stage: transforms of `quarter` points become transforms of four times as many. */
static void join_stage(tr_complex *z, size_t quarter)
{
    const size_t step = TR_SOUND_WINDOW / (4 * quarter);
    for (size_t j = 0, k = 0; j < quarter; j++, k += step) {
        const float c1 = COS(k), c2 = COS(2 * k), c3 = COS(3 * k);
        const float s1 = SIN(k), s2 = SIN(2 * k), s3 = SIN(3 * k);
        for (tr_complex *at = z + j; at < z + POINTS; at += 4 * quarter) {
            butterfly(at, quarter, at[0], turn(at[quarter], c1, s1),
                      turn(at[2 * quarter], c2, s2), turn(at[3 * quarter], c3, s3));
        }
    }
}

/* Four times the energy of bin k of the FFT of all 512 samples. */
static inline float energy(const tr_complex *z, size_t k)
{
    const tr_complex low = z[k], high = z[POINTS - k];
    const tr_complex odd = {low.im + high.im, high.re - low.re};
    const tr_complex turned = turn(odd, COS(k), SIN(k));
    const float re = (low.re + high.re) + turned.re;
    const float im = (low.im - high.im) + turned.im;
    return re * re + im * im;
}

/* Each bin belongs to the two bands that peak beside it. */
static void sum_bands(float *bands, const tr_complex *z)
{
    size_t k = TR_SOUND_LOW + 1;
    float below = 0.0f;
    for (size_t section = 0; section <= TR_SOUND_BANDS; section++) {
        float above = 0.0f;
        for (; k < tr_sound_sections[section + 1]; k++) {
            const float all = energy(z, k);
            const float upper = tr_sound_rise[k - TR_SOUND_LOW] * all;
            below += all - upper;
            above += upper;
        }
        if (section > 0) {
            bands[section - 1] = tr_logf(below + FLOOR);
        }
        below = above;
    }
}

int tr_sound_row(tr_sound *sound, float *bands)
{
    if (sound->held < TR_SOUND_WINDOW) {
        return 0;
    }
    tr_complex *z = sound->work;
    first_stage(z, sound->samples);
    for (size_t quarter = 4; quarter < POINTS; quarter *= 4) {
        join_stage(z, quarter);
    }
    sum_bands(bands, z);
    sound->held = TR_SOUND_WINDOW - TR_SOUND_HOP;
    memmove(sound->samples, sound->samples + TR_SOUND_HOP, sound->held * sizeof *sound->samples);
    return 1;
}

void tr_sound_level(float *values, size_t count)
{
    float sum = 0.0f;
    for (size_t i = 0; i < count; i++) {
        sum += values[i];
    }
    const float mean = sum / (float)count;
    for (size_t i = 0; i < count; i++) {
        values[i] -= mean;
    }
}
