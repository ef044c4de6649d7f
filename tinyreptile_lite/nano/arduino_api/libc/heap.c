/* With the pip compiler: the heap, and the error number, both without an operating system.
 *
 * The heap is a row of blocks in the order of their addresses, up to the end of RAM. The first
 * free block that is large enough is taken; free neighbours are merged on the way. */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int *__errno_location(void) {
  static int error;
  return &error;
}

/* The full C library's own name for it. */
int *___errno_location(void) { return __errno_location(); }

typedef struct block {
  size_t size; /* of what follows, a multiple of 8 */
  size_t used;
} block;

extern char __heap_start, __heap_end;

static block *first_block(void) {
  block *first = (block *)(((uintptr_t)&__heap_start + 7) & ~(uintptr_t)7);
  static bool ready;
  if (!ready) *first = (block){(size_t)(&__heap_end - (char *)(first + 1)) & ~(size_t)7, 0};
  ready = true;
  return first;
}

static block *next_block(block *b) {
  block *next = (block *)((char *)(b + 1) + b->size);
  return (char *)(next + 1) < &__heap_end ? next : NULL;
}

void *malloc(size_t size) {
  if (size > SIZE_MAX / 2) return NULL;
  size = (size + 7) & ~(size_t)7;
  for (block *b = first_block(), *next; b; b = next_block(b)) {
    if (b->used) continue;
    while ((next = next_block(b)) && !next->used) b->size += sizeof *b + next->size;
    if (b->size < size) continue;
    if (b->size >= size + sizeof *b + 8) {
      const size_t rest = b->size - size - sizeof *b;
      b->size = size;
      *next_block(b) = (block){rest, 0};
    }
    b->used = 1;
    return b + 1;
  }
  errno = ENOMEM;
  return NULL;
}

void free(void *memory) {
  if (memory) ((block *)memory - 1)->used = 0;
}

void *calloc(size_t count, size_t size) {
  if (size && count > SIZE_MAX / size) return NULL;
  void *memory = malloc(count * size);
  return memory ? memset(memory, 0, count * size) : NULL;
}

void *realloc(void *memory, size_t size) {
  if (!memory) return malloc(size);
  const size_t old = ((block *)memory - 1)->size;
  if (size <= old) return memory;
  void *bigger = malloc(size);
  if (!bigger) return NULL;
  memcpy(bigger, memory, old);
  free(memory);
  return bigger;
}
