/* tr_rows.h and its company as functions that Python can call. */
#include "tr_find_axes.h"
#include "tr_rows.h"

size_t rows_size(void) { return sizeof(tr_rows); }
int rows_init(tr_rows *rows, const char *text)
{
    tr_axes axes;
    if (!tr_axes_parse(&axes, text)) {
        return 0;
    }
    tr_rows_init(rows, &axes);
    return 1;
}
int rows_add(tr_rows *rows, float *row, const float *reading, uint32_t now)
{
    return tr_rows_add(rows, row, reading, now);
}
int rows_none(tr_rows *rows, uint32_t now) { return tr_rows_none(rows, now); }
int rows_fault(const tr_rows *rows) { return rows->fault; }
const float *rows_offset(const tr_rows *rows) { return rows->offset; }

/* Reads a map and writes it again, for the other arm if asked: 1, or 0 if the text is none. */
int axes_again(const char *text, int other_arm, char *again)
{
    tr_axes axes;
    if (!tr_axes_parse(&axes, text)) {
        return 0;
    }
    if (other_arm) {
        tr_axes_other_arm(&axes);
    }
    tr_axes_print(&axes, again);
    return 1;
}

size_t find_size(void) { return sizeof(tr_find); }
void find_begin(tr_find *find) { tr_find_begin(find); }
void find_pose(tr_find *find) { tr_find_pose(find); }
int find_add(tr_find *find, const float *reading, uint32_t now)
{
    return tr_find_add(find, reading, now);
}
void find_axes(const tr_find *find, char *text) { tr_axes_print(&find->axes, text); }

const char *sensor_text(int fault) { return tr_sensor_text(fault); }

/* Looks at readings (count, 6) one after the other: the first fault, or none. */
int sensor_judge(const float *readings, size_t count)
{
    tr_sensor sensor = {{0.0f}, 0.0f, {0.0f}, {0}, 0, 0};
    for (size_t i = 0; i < count; i++) {
        const int fault = tr_sensor_check(&sensor, readings + 6 * i);
        if (fault != TR_SENSOR_OK) {
            return fault;
        }
    }
    return TR_SENSOR_OK;
}
