/* SPDX-License-Identifier: Apache-2.0
 *
 * The sink and the formatter behind all text forms; see describe_text.h. Quoting decodes UTF-8
 * strictly (no overlong forms, no surrogates): what does not decode is shown byte by byte.
 */
#include "raft/describe_text.h"

#include "proto/base.h"

#include <string.h>

enum { DECIMAL_DIGITS_MAX = 20, HEX_DIGITS_MAX = 16 };

static const char hex_digits[] = "0123456789abcdef";

void rr_text_bytes(struct rr_text *text, const void *bytes, size_t size)
{
    RR_ASSERT(text->size <= text->cap);
    if (size > text->cap - text->size && text->grow && !text->truncated)
        text->truncated = !text->grow(text, text->size + size);
    size_t room = text->cap - text->size;
    if (size > room) {
        text->truncated = true;
        size = room;
    }
    if (size > 0)
        memcpy(text->bytes + text->size, bytes, size);
    text->size += size;
}

void rr_text_char(struct rr_text *text, char c)
{
    rr_text_bytes(text, &c, 1);
}

void rr_text_string(struct rr_text *text, const char *string)
{
    rr_text_bytes(text, string, strlen(string));
}

void rr_text_spaces(struct rr_text *text, size_t count)
{
    for (size_t i = 0; i < count; i++)
        rr_text_char(text, ' ');
}

void rr_text_decimal(struct rr_text *text, uint64_t value)
{
    char digits[DECIMAL_DIGITS_MAX];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    rr_text_bytes(text, digits + at, sizeof(digits) - at);
}

void rr_text_hex(struct rr_text *text, uint64_t value)
{
    char digits[HEX_DIGITS_MAX];
    size_t at = sizeof(digits);
    do {
        digits[--at] = hex_digits[value % 16];
        value /= 16;
    } while (value > 0);
    rr_text_bytes(text, digits + at, sizeof(digits) - at);
}

void rr_text_bool(struct rr_text *text, bool value)
{
    rr_text_string(text, value ? "true" : "false");
}

void rr_text_field(struct rr_text *text, const char *label, uint64_t value)
{
    rr_text_string(text, label);
    rr_text_decimal(text, value);
}

/* `\x1f`, `\u0080` or `\U000e0001`: exactly `digits` of them. */
static void escape_number(struct rr_text *text, char kind, uint32_t value, int digits)
{
    rr_text_char(text, '\\');
    rr_text_char(text, kind);
    for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4)
        rr_text_char(text, hex_digits[(value >> shift) & 0xf]);
}

static void quote_ascii(struct rr_text *text, uint8_t c)
{
    static const char escaped[] = "\a\b\f\n\r\t\v\\\"";
    static const char letters[] = "abfnrtv\\\"";
    const char *found = c ? memchr(escaped, c, sizeof(escaped) - 1) : NULL;
    if (found) {
        rr_text_char(text, '\\');
        rr_text_char(text, letters[found - escaped]);
    } else if (c < 0x20 || c == 0x7f) {
        escape_number(text, 'x', c, 2);
    } else {
        rr_text_char(text, (char)c);
    }
}

/* The length of the multi-byte rune at `bytes` and its value, or 0 if it is not valid UTF-8. */
static size_t decode_rune(const uint8_t *bytes, size_t size, uint32_t *rune)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t lead = bytes[0];
    size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc0 || lead > 0xf7 || length > size)
        return 0;
    uint32_t value = lead & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (bytes[i] & 0x3fu);
    }
    bool is_surrogate = value >= 0xd800 && value <= 0xdfff;
    if (value < least[length] || value > 0x10ffff || is_surrogate)
        return 0;
    *rune = value;
    return length;
}

void rr_text_quoted(struct rr_text *text, const uint8_t *bytes, size_t size)
{
    rr_text_char(text, '"');
    for (size_t at = 0; at < size;) {
        uint32_t rune;
        size_t length = 1;
        if (bytes[at] < 0x80)
            quote_ascii(text, bytes[at]);
        else if ((length = decode_rune(bytes + at, size - at, &rune)) == 0)
            escape_number(text, 'x', bytes[at], 2), length = 1;
        else if (rr_rune_is_printable(rune))
            rr_text_bytes(text, bytes + at, length);
        else
            escape_number(text, rune < 0x10000 ? 'u' : 'U', rune, rune < 0x10000 ? 4 : 8);
        at += length;
    }
    rr_text_char(text, '"');
}
