/* From reset to setup() and loop(). */
#include <Arduino.h>
#include <board_registers.h>

typedef void (*function)(void);

extern uint32_t __stack_top, __data_start, __data_end, __data_source, __bss_start, __bss_end;
extern function __init_array_start, __init_array_end;
void Reset_Handler(void);
int main(void);

/* What the processor reads first: the stack pointer, then the address of the first code. */
__attribute__((section(".vectors"), used)) static const void *const vectors[] = {
    &__stack_top, (const void *)Reset_Handler};

static void enable_fpu(void) {
  *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20; /* CPACR: full access to CP10 and CP11 */
  __asm volatile("dsb\n\tisb");
}

__attribute__((noreturn)) void Reset_Handler(void) {
  enable_fpu();
  memcpy(&__data_start, &__data_source, (size_t)((char *)&__data_end - (char *)&__data_start));
  memset(&__bss_start, 0, (size_t)((char *)&__bss_end - (char *)&__bss_start));
  for (const function *f = &__init_array_start; f < &__init_array_end; f++) (*f)();
  main();
  for (;;) {
  }
}

int main(void) {
  setup();
  for (;;) loop();
}

__attribute__((noreturn)) void abort(void) {
  REG_STOP = 1;
  for (;;) {
  }
}
