/* A float as text that a computer reads back to the same bits.
 *
 * Arduino's print gives a fixed number of digits behind the point, and printf of the board's C
 * library may know no floats at all. Nine significant digits tell any two floats apart.
 *
 *     char text[TR_FLOAT_TEXT];
 *     Serial.println(tr_float_text(text, 0.1f));      // 0.100000001
 *
 * Header only, and plain C99.
 */
#ifndef TR_TEXT_H
#define TR_TEXT_H

#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TR_FLOAT_TEXT 20 /* bytes, the zero at the end included */

/* Digits of a decimal number d.dddddddd * 10^exponent, without zeros at the end; their count. */
static inline int tr_float_digits(char digits[9], int *exponent, float value)
{
    double scaled = (double)value; /* each step errs by 1e-16, far less than the ninth digit */
    int e = 0;
    for (; scaled >= 10.0; e++) {
        scaled /= 10.0;
    }
    for (; scaled < 1.0; e--) {
        scaled *= 10.0;
    }
    uint32_t whole = (uint32_t)(scaled * 1e8 + 0.5);
    if (whole >= 1000000000u) { /* rounded up to the next power of ten */
        whole /= 10;
        e++;
    }
    for (int i = 8; i >= 0; i--, whole /= 10) {
        digits[i] = (char)('0' + whole % 10);
    }
    int count = 9;
    while (count > 1 && digits[count - 1] == '0') {
        count--;
    }
    *exponent = e;
    return count;
}

/* Write a float as text and return the text, as printf does with "%.9g": "0.25", "-1.5e+12", "nan". */
static inline char *tr_float_text(char text[TR_FLOAT_TEXT], float value)
{
    uint32_t bits;
    char *to = text;
    memcpy(&bits, &value, sizeof bits);
    if (bits >> 31 && value == value) {
        *to++ = '-';
        value = -value;
    }
    if (!(value - value == 0.0f) || value == 0.0f) {
        strcpy(to, value == 0.0f ? "0" : value == value ? "inf" : "nan");
        return text;
    }
    char digits[9];
    int e;
    const int count = tr_float_digits(digits, &e, value);
    const int plain = -4 <= e && e < 9;
    const int point = plain ? e : 0; /* how many digits stand in front of it, less one */
    for (int i = point < 0 ? point : 0; i < count || i <= point; i++) {
        *to++ = i < 0 || i >= count ? '0' : digits[i];
        if (i == point && i + 1 < count) {
            *to++ = '.';
        }
    }
    if (!plain) {
        *to++ = 'e';
        *to++ = e < 0 ? '-' : '+';
        *to++ = (char)('0' + (e < 0 ? -e : e) / 10);
        *to++ = (char)('0' + (e < 0 ? -e : e) % 10);
    }
    *to = 0;
    return text;
}

#ifdef __cplusplus
}
#endif

#endif
