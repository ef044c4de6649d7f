/* The front end for sound: samples of a microphone become rows of log-mel bands.
 *
 * A row is the spectrum of 512 samples at 16 kHz (32 ms), summed up in 16 bands; 50 rows begin each
 * second. One second of sound has 49 rows, a sample for a network of keywords. The kit's
 * tinyreptile_lite/sound.py does the same in NumPy, to the bit. Blocks may have any size, as they
 * come from a microphone:
 *
 *     static tr_sound sound;
 *     static float rows[49][TR_SOUND_BANDS];
 *
 *     tr_sound_restart(&sound);
 *     ...
 *     while (count > 0) {                                     // a block of samples came
 *         const size_t taken = tr_sound_take(&sound, block, count);
 *         block += taken, count -= taken;
 *         if (tr_sound_row(&sound, rows[n])) n++;
 *     }
 *     tr_sound_level(rows[0], 49 * TR_SOUND_BANDS);           // when the second is full
 *
 * Plain C99: no memory and no state but the struct, no C library but memmove and memcpy.
 */
#ifndef TR_SOUND_H
#define TR_SOUND_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TR_SOUND_RATE 16000 /* samples a second */
#define TR_SOUND_WINDOW 512 /* samples of a row */
#define TR_SOUND_HOP 320    /* samples from one row to the next */
#define TR_SOUND_BANDS 16
/* Rows of so many samples, at least TR_SOUND_WINDOW. */
#define TR_SOUND_ROWS(samples) (((samples) - TR_SOUND_WINDOW) / TR_SOUND_HOP + 1)

typedef struct {
    float re, im;
} tr_complex;

/* 3,076 bytes, most of them room to work in. */
typedef struct {
    tr_complex work[TR_SOUND_WINDOW / 2];
    int16_t samples[TR_SOUND_WINDOW];
    uint16_t held; /* of the samples */
} tr_sound;

/* Forget all samples; also to be called once before anything else. */
void tr_sound_restart(tr_sound *sound);

/* Take samples, up to what the next row needs. Returns how many were taken: at least one, if there
 * are any and tr_sound_row is called after each call. */
size_t tr_sound_take(tr_sound *sound, const int16_t *samples, size_t count);

/* If there are enough samples for a row, write it to bands (TR_SOUND_BANDS) and return 1, else
 * return 0. Any samples give a row of finite numbers, between 13 and 35. */
int tr_sound_row(tr_sound *sound, float *bands);

/* Subtract the mean of the values (count) from each: loud and soft become equal. */
void tr_sound_level(float *values, size_t count);

#ifdef __cplusplus
}
#endif

#endif
