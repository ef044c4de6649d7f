/* tr_rows.h as functions that Python can call. */
#include "tr_rows.h"

void rows_init(tr_rows *rows, int right_arm) { tr_rows_init(rows, right_arm); }
int rows_add(tr_rows *rows, float *row, const float *reading, uint32_t now)
{
    return tr_rows_add(rows, row, reading, now);
}
