/* The block hook of counter.py in C. One `counter` per emulator; counter.py has the same fields. */
#include <stdint.h>

typedef struct {
    uint16_t size; /* bytes; 0: not seen yet */
    uint16_t instructions;
    uint32_t cycles;
} block;

typedef struct {
    uint64_t instructions; /* executed, those of the running block included */
    uint64_t cycles;       /* modelled, likewise */
    uint64_t limit;        /* stop at the first block that begins with this many cycles or more */
    int (*stop)(void *emulator);
    void (*learn)(uint32_t address, uint32_t size); /* fills in known */
    block *known;                                   /* per halfword of flash */
    uint32_t *runs; /* per halfword of flash, or NULL while nobody profiles */
    uint32_t *falls;
    uint32_t last;     /* address of the block before, 0 for none while profiling */
    uint32_t last_end; /* what lies behind it */
    uint32_t refill;   /* cycles of a jump elsewhere */
} counter;

#ifdef _WIN32
__declspec(dllexport)
#endif
void count_block(void *emulator, uint64_t address, uint32_t size, counter *c) {
    const uint32_t at = (uint32_t)address >> 1;
    const int falls = c->last_end == address;
    const block *b = c->known + at;
    if (c->cycles >= c->limit) {
        c->stop(emulator);
        return;
    }
    if (b->size != size) c->learn((uint32_t)address, size);
    c->instructions += b->instructions;
    c->cycles += b->cycles + (falls ? 0 : c->refill);
    c->last_end = (uint32_t)address + size;
    if (!c->runs) return;
    c->runs[at]++;
    if (falls && c->last) c->falls[c->last >> 1]++;
    c->last = (uint32_t)address;
}
