/* SPDX-License-Identifier: Apache-2.0
 *
 * The sink of all text forms, and its small formatter (raft/ has no printf). A sink is a caller's
 * buffer: bounded (grow is NULL: what does not fit is dropped and `truncated` is set) or growing.
 * Text is UTF-8 and not NUL-terminated; it is bytes[0 .. size). Any thread, one at a time.
 */
#ifndef RR_RAFT_DESCRIBE_TEXT_H
#define RR_RAFT_DESCRIBE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rr_text {
    char *bytes;
    size_t size;
    size_t cap;
    /* Makes room for at least `cap` bytes (bytes and cap of the sink change), or returns false. */
    bool (*grow)(struct rr_text *text, size_t cap);
    bool truncated;
};

void rr_text_bytes(struct rr_text *text, const void *bytes, size_t size);
void rr_text_char(struct rr_text *text, char c);
void rr_text_string(struct rr_text *text, const char *string);
void rr_text_spaces(struct rr_text *text, size_t count);
void rr_text_decimal(struct rr_text *text, uint64_t value);
void rr_text_hex(struct rr_text *text, uint64_t value);
void rr_text_bool(struct rr_text *text, bool value);
/* `label` and the number behind it. */
void rr_text_field(struct rr_text *text, const char *label, uint64_t value);
/* In double quotes, as Go's %q: printable UTF-8 as it is, everything else escaped. */
void rr_text_quoted(struct rr_text *text, const uint8_t *bytes, size_t size);

/* Is this code point, which is not ASCII, a letter, mark, number, punctuation or symbol? (Unicode
 * 15.0, in describe_unicode.c.) */
bool rr_rune_is_printable(uint32_t rune);

#endif
