/*
  The window as the network knows it: as the rows are or, with OWN_FRAME 1, in a frame of its own, for
  phi of the family wrist-any. See "Worn anyhow" in docs/wear.md.
*/
#include <string.h>
#include <tr_own_frame.h>
#include <tr_rows.h>

#ifndef OWN_FRAME
#define OWN_FRAME 0
#endif

static inline const float *seen(const float *rows, int count) {
#if OWN_FRAME
  static float turned[100 * TR_ROW_AXES];  // as many rows as a window has
  memcpy(turned, rows, sizeof turned);
  tr_own_frame(turned, count);
  return turned;
#else
  (void)count;
  return rows;
#endif
}
