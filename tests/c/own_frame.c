/* tr_own_frame.h as a function that Python can call. */
#include "tr_own_frame.h"

void own_frame(float *rows, int count)
{
    tr_own_frame(rows, count);
}
