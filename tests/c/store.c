/* tr_text.h as functions that Python can call, and how large a tr_flash is. */
#include "tr_store.h"
#include "tr_text.h"

char *float_text(char *text, float value) { return tr_float_text(text, value); }
unsigned flash_size(void) { return sizeof(tr_flash); }
