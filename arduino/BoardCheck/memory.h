/* How much of the stack a function uses, and what is left of the heap. */
#pragma once

#include <Arduino.h>

const size_t painted = 4096;  // bytes of the stack that are watched
const size_t margin = 64;     // of paintStack itself
const uint8_t paint = 0x5A;
static volatile uint8_t *stackTop;

// Mark the stack below this function; what is used later overwrites the marks.
__attribute__((noinline)) static void paintStack() {
  stackTop = (volatile uint8_t *)((uintptr_t)__builtin_frame_address(0) - margin);
  for (size_t i = 1; i <= painted; i++) *(stackTop - i) = paint;
}

static size_t stackUsed() {
  size_t used = painted;
  while (used > 0 && *(stackTop - used) == paint) used--;
  return used + margin;
}

// Asked of malloc, as nobody else knows what an operating system has taken.
static size_t largestBlock() {
  size_t fits = 0, fails = 262144;
  while (fails - fits > 64) {
    const size_t size = (fits + fails) / 2;
    void *volatile block = malloc(size);
    (block ? fits : fails) = size;
    free(block);
  }
  return fits;
}
