/* The block hook of counter.py in C. One `counter` per emulator; counter.py has the same fields. */
#include <stdint.h>

typedef struct {
    uint64_t instructions; /* executed, those of the running block included */
    uint64_t limit;        /* stop at the first block that begins with this many or more */
    const uint8_t *flash;
    int (*stop)(void *emulator);
    uint32_t *known; /* per halfword of flash: bytes of the block << 16 | instructions */
    uint32_t *runs;  /* per halfword of flash, or NULL while nobody profiles */
    uint32_t *falls;
    uint32_t last;     /* address of the block before */
    uint32_t last_end; /* and of what lies behind it */
} counter;

/* A Thumb instruction has four bytes if its first halfword is 0xE800 or more. */
static uint32_t instructions_in(const uint8_t *code, uint32_t size) {
    uint32_t at = 0, count = 0;
    for (; at < size; count++) at += code[at + 1] >= 0xE8 ? 4 : 2;
    return count;
}

#ifdef _WIN32
__declspec(dllexport)
#endif
void count_block(void *emulator, uint64_t address, uint32_t size, counter *c) {
    const uint32_t at = (uint32_t)address >> 1;
    if (c->instructions >= c->limit) {
        c->stop(emulator);
        return;
    }
    if (c->known[at] >> 16 != size)
        c->known[at] = size << 16 | instructions_in(c->flash + address, size);
    c->instructions += c->known[at] & 0xFFFF;
    if (!c->runs) return;
    c->runs[at]++;
    if (c->last_end == address) c->falls[c->last >> 1]++;
    c->last = (uint32_t)address;
    c->last_end = (uint32_t)address + size;
}
