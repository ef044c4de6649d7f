#ifndef SOUND_H
#define SOUND_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Fill samples (count) with noise that is loud now and then; state goes on. */
void sound_samples(int16_t *samples, size_t count, uint32_t *state);

/* Rows of the first samples (count, up to a second), through blocks of 1 to `most` samples. */
size_t sound_rows(int16_t *block, size_t most, size_t count);

/* FNV-1a of so many rows. */
uint32_t sound_hash(size_t found);

#ifdef __cplusplus
}
#endif

#endif
