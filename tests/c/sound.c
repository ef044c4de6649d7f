/* A second of made-up sound goes through tr_sound.c in blocks of all sizes. */
#include "sound.h"

#include "tr_sound.h"

static tr_sound sound;
static float rows[TR_SOUND_ROWS(TR_SOUND_RATE) + 1][TR_SOUND_BANDS];

void sound_samples(int16_t *samples, size_t count, uint32_t *state)
{
    for (size_t i = 0; i < count; i++) {
        *state = *state * 1664525u + 1013904223u;
        const int32_t noise = (int32_t)(*state >> 16) - 32768;
        samples[i] = (int16_t)(noise >> (*state >> 8 & 7)); /* seldom loud */
    }
}

size_t sound_rows(int16_t *block, size_t most, size_t count)
{
    uint32_t state = 1;
    size_t found = 0;
    tr_sound_restart(&sound);
    for (size_t done = 0, size = 1; done < count; done += size, size = 1 + size * 7 % most) {
        size = size < count - done ? size : count - done;
        sound_samples(block, size, &state);
        for (size_t at = 0; at < size;) {
            at += tr_sound_take(&sound, block + at, size - at);
            found += (size_t)tr_sound_row(&sound, rows[found]);
        }
    }
    tr_sound_level(rows[0], found * TR_SOUND_BANDS);
    return found;
}

uint32_t sound_hash(size_t found)
{
    uint32_t hash = 2166136261u;
    const uint8_t *byte = (const uint8_t *)rows;
    for (size_t i = 0; i < found * sizeof rows[0]; i++) {
        hash = (hash ^ byte[i]) * 16777619u;
    }
    return hash;
}
