/* What newlib (GCC's C library) asks of an operating system. There is none: the heap grows up to
 * the end of RAM, and files do not exist. */
#include <errno.h>
#include <stddef.h>
#include <sys/stat.h>

extern char __heap_start, __heap_end;

static char *heap = &__heap_start;

void *_sbrk(ptrdiff_t bytes) {
  if (bytes > &__heap_end - heap) {
    errno = ENOMEM;
    return (void *)-1;
  }
  heap += bytes;
  return heap - bytes;
}

int _write(int file, const char *data, int length) { (void)file, (void)data; return length; }
int _read(int file, char *data, int length) { (void)file, (void)data, (void)length; return 0; }
int _close(int file) { (void)file; return -1; }
int _lseek(int file, int offset, int from) { (void)file, (void)offset, (void)from; return 0; }
int _isatty(int file) { (void)file; return 1; }
int _getpid(void) { return 1; }
int _kill(int process, int signal) { (void)process, (void)signal; return -1; }

int _fstat(int file, struct stat *status) {
  (void)file;
  status->st_mode = S_IFCHR;
  return 0;
}

void _exit(int status) {
  (void)status;
  for (;;) {
  }
}
