/* SPDX-License-Identifier: Apache-2.0
 *
 * Entries and their bytes, by literal numbers (as the reference has them) and by hand-made
 * encodings.
 */
#include "proto/codec.h"

#include "proto/crc32c.h"
#include "tests/unit/check.h"

#include <setjmp.h>

#define TERM_INDEX (RR_ENTRY_HAS_TERM | RR_ENTRY_HAS_INDEX)

static const uint8_t letters[200] = "abcdefgh";

/* Body size and element size are the literal numbers; encoding and decoding give the entry again.
 */
static void check_sizes(const struct rr_entry *entry, size_t body_size, size_t wire_size)
{
    CHECK_EQ_U64(rr_entry_body_size(entry), body_size);
    CHECK_EQ_U64(rr_entry_wire_size(entry), wire_size);

    uint8_t bytes[512];
    struct rr_entry staged;
    struct rr_entry decoded;
    memset(bytes, 0xee, sizeof bytes);
    uint8_t *end = rr_entry_encode(entry, bytes, NULL, &staged);
    CHECK(end == bytes + wire_size && *end == 0xee);
    CHECK_EQ_U64(staged.wire_size, wire_size);
    CHECK(staged.data + staged.size == end);
    CHECK(rr_entry_wire(&staged) == bytes);

    const uint8_t *at = bytes;
    CHECK(rr_entry_decode(&at, end, NULL, &decoded) == 0);
    CHECK(at == end);
    CHECK(decoded.term == entry->term && decoded.index == entry->index &&
          decoded.type == entry->type);
    CHECK(decoded.has == entry->has && decoded.size == entry->size);
    CHECK(decoded.size == 0 || memcmp(decoded.data, entry->data, decoded.size) == 0);
    CHECK_EQ_U64(decoded.wire_size, wire_size);
    CHECK(decoded.data + decoded.size == end);
}

static void test_entry_sizes_are_the_references(void)
{
    struct rr_entry entry = {0};
    check_sizes(&entry, 0, 2);
    entry.has = TERM_INDEX;
    check_sizes(&entry, 4, 6); /* explicit zeros count */
    entry.term = entry.index = 1;
    check_sizes(&entry, 4, 6);
    entry.has |= RR_ENTRY_HAS_TYPE;
    check_sizes(&entry, 6, 8);
    entry.has = TERM_INDEX | RR_ENTRY_HAS_DATA;
    check_sizes(&entry, 6, 8); /* empty but present: 2 */
    entry.data = letters;
    entry.size = 1;
    check_sizes(&entry, 7, 9);
    entry = (struct rr_entry){.term = 128,
                              .index = 300,
                              .data = letters,
                              .size = 200,
                              .has = TERM_INDEX | RR_ENTRY_HAS_DATA};
    check_sizes(&entry, 209, 212);
    entry = (struct rr_entry){.term = UINT64_MAX,
                              .index = UINT64_MAX,
                              .type = 255,
                              .data = letters,
                              .size = 128,
                              .has = TERM_INDEX | RR_ENTRY_HAS_DATA | RR_ENTRY_HAS_TYPE};
    check_sizes(&entry, 3 + 11 + 11 + 3 + 128, 3 + 3 + 11 + 11 + 3 + 128);
}

static void test_entry_bytes_are_the_references(void)
{
    const struct rr_entry entry = {.term = 128,
                                   .index = 300,
                                   .type = RR_ENTRY_CONF_CHANGE_V2,
                                   .data = letters,
                                   .size = 2,
                                   .has = TERM_INDEX | RR_ENTRY_HAS_DATA | RR_ENTRY_HAS_TYPE};
    const uint8_t expected[] = {0x3a, 12,   0x08, 2,    0x10, 0x80, 0x01,
                                0x18, 0xac, 0x02, 0x22, 2,    'a',  'b'};
    uint8_t bytes[64];
    struct rr_entry staged;
    CHECK(rr_entry_encode(&entry, bytes, NULL, &staged) == bytes + sizeof expected);
    CHECK(memcmp(bytes, expected, sizeof expected) == 0);
    CHECK(rr_entry_encode_head(&entry, bytes) == bytes + sizeof expected - 2);
}

static void check_checksum(uint32_t size)
{
    static uint8_t data[2000];
    static uint8_t first[2100];
    static uint8_t second[2100];
    for (uint32_t i = 0; i < size; i++)
        data[i] = (uint8_t)(i * 7);
    const struct rr_entry entry = {
        .term = 3, .index = 9, .data = data, .size = size, .has = TERM_INDEX | RR_ENTRY_HAS_DATA};
    struct rr_entry staged;
    struct rr_entry moved;
    uint32_t crc = 77;
    uint8_t *end = rr_entry_encode(&entry, first, &crc, &staged);
    CHECK_EQ_U64(crc, crc32c(77, first, (size_t)(end - first)));
    CHECK(memcmp(end - size, data, size) == 0);

    /* An entry that is already encoded is moved as it is, with the same bytes. */
    uint32_t crc_moved = 77;
    uint8_t *end_moved = rr_entry_encode(&staged, second, &crc_moved, &moved);
    CHECK_EQ_U64(crc_moved, crc);
    CHECK(end_moved - second == end - first);
    CHECK(memcmp(first, second, (size_t)(end - first)) == 0);
    CHECK(moved.data == end_moved - size && moved.wire_size == staged.wire_size);
    CHECK(moved.term == 3 && moved.index == 9 && moved.has == entry.has);
}

static void test_entry_encode_continues_the_checksum(void)
{
    const uint32_t sizes[] = {0, 1, 200, 511, 512, 513, 2000};
    for (size_t i = 0; i < RR_ARRAY_SIZE(sizes); i++)
        check_checksum(sizes[i]);
}

static jmp_buf broken;

static void leave(const char *file, int line, const char *expression)
{
    (void)file, (void)line, (void)expression;
    longjmp(broken, 1);
}

static void check_encode_stops(const struct rr_entry *entry)
{
    uint8_t bytes[64];
    rr_assert_set_hook(leave);
    bool stopped = true;
    if (setjmp(broken) == 0) {
        rr_entry_encode_head(entry, bytes);
        stopped = false;
    }
    rr_assert_set_hook(NULL);
    CHECK(stopped);
}

/* A conf change would become a normal entry, and nobody would notice. */
static void test_entry_value_without_presence_stops_the_process(void)
{
    const struct rr_entry type = {.type = RR_ENTRY_CONF_CHANGE, .has = TERM_INDEX};
    const struct rr_entry term = {.term = 1, .has = RR_ENTRY_HAS_INDEX};
    const struct rr_entry index = {.index = 1, .has = RR_ENTRY_HAS_TERM};
    const struct rr_entry data = {.data = letters, .size = 1, .has = TERM_INDEX};
    check_encode_stops(&type);
    check_encode_stops(&term);
    check_encode_stops(&index);
    check_encode_stops(&data);
}

struct decode_case {
    const char *what;
    int err;
    bool canonical;
    uint8_t size;
    uint8_t bytes[24];
};

static const struct decode_case decode_cases[] = {
    {"empty", 0, true, 2, {0x3a, 0}},
    {"term, index", 0, true, 6, {0x3a, 4, 0x10, 1, 0x18, 1}},
    {"only data", 0, true, 5, {0x3a, 3, 0x22, 1, 'x'}},
    {"length in two bytes", 0, false, 7, {0x3a, 0x84, 0x00, 0x10, 1, 0x18, 1}},
    {"tag in two bytes", 0, false, 7, {0xba, 0x00, 4, 0x10, 1, 0x18, 1}},
    {"term in two bytes", 0, false, 7, {0x3a, 5, 0x10, 0x81, 0x00, 0x18, 1}},
    {"index in two bytes", 0, false, 7, {0x3a, 5, 0x10, 1, 0x18, 0x81, 0x00}},
    {"type in two bytes", 0, false, 5, {0x3a, 3, 0x08, 0x81, 0x00}},
    {"data length in two bytes", 0, false, 6, {0x3a, 4, 0x22, 0x81, 0x00, 'x'}},
    {"inner tag in two bytes", 0, false, 5, {0x3a, 3, 0x90, 0x00, 1}},
    {"index before term", 0, false, 6, {0x3a, 4, 0x18, 1, 0x10, 1}},
    {"data before index", 0, false, 7, {0x3a, 5, 0x22, 1, 'x', 0x18, 1}},
    {"term twice", 0, false, 6, {0x3a, 4, 0x10, 9, 0x10, 1}},
    {"unknown varint", 0, false, 6, {0x3a, 4, 0x10, 1, 0x28, 1}},
    {"unknown bytes first", 0, false, 8, {0x3a, 6, 0x2a, 2, 'y', 'z', 0x10, 1}},
    {"unknown fixed32", 0, false, 7, {0x3a, 5, 0x2d, 1, 2, 3, 4}},
    {"unknown fixed64", 0, false, 11, {0x3a, 9, 0x29, 1, 2, 3, 4, 5, 6, 7, 8}},
    {"no bytes", RR_E_MALFORMED, false, 0, {0}},
    {"no length", RR_E_MALFORMED, false, 1, {0x3a}},
    {"another field", RR_E_MALFORMED, false, 2, {0x40, 1}},
    {"another field, tag in two bytes", RR_E_MALFORMED, false, 3, {0xc0, 0x00, 1}},
    {"tag cut", RR_E_MALFORMED, false, 1, {0xba}},
    {"body cut", RR_E_MALFORMED, false, 5, {0x3a, 4, 0x10, 1, 0x18}},
    {"huge length",
     RR_E_MALFORMED,
     false,
     11,
     {0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}},
    {"length above 64 bits",
     RR_E_MALFORMED,
     false,
     11,
     {0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2}},
    {"term reaches beyond the body", RR_E_MALFORMED, false, 5, {0x3a, 2, 0x10, 0x80, 0x01}},
    {"data reaches beyond the body", RR_E_MALFORMED, false, 6, {0x3a, 3, 0x22, 2, 'x', 'y'}},
    {"data as number", RR_E_MALFORMED, false, 4, {0x3a, 2, 0x20, 1}},
    {"term as bytes", RR_E_MALFORMED, false, 5, {0x3a, 3, 0x12, 1, 1}},
    {"type as fixed32", RR_E_MALFORMED, false, 7, {0x3a, 5, 0x0d, 1, 0, 0, 0}},
    {"type above a byte", RR_E_MALFORMED, false, 5, {0x3a, 3, 0x08, 0x80, 0x02}},
    {"field number 0", RR_E_MALFORMED, false, 4, {0x3a, 2, 0x00, 1}},
    {"group", RR_E_MALFORMED, false, 4, {0x3a, 2, 0x2b, 0x2c}},
    {"wire type 7", RR_E_MALFORMED, false, 4, {0x3a, 2, 0x2f, 1}},
    {"fixed32 cut", RR_E_MALFORMED, false, 5, {0x3a, 3, 0x2d, 1, 2}},
    {"tag above 32 bits", RR_E_MALFORMED, false, 9, {0x3a, 7, 0x88, 0x80, 0x80, 0x80, 0x10, 1, 0}},
};

static void test_entry_decode_of_each_form(void)
{
    for (size_t i = 0; i < RR_ARRAY_SIZE(decode_cases); i++) {
        const struct decode_case *c = &decode_cases[i];
        /* Exactly as long as the bytes, so that the address sanitizer sees a step beyond. */
        uint8_t *bytes = malloc(c->size ? c->size : 1);
        memcpy(bytes, c->bytes, c->size);
        const uint8_t *at = bytes;
        struct rr_entry entry;
        int err = rr_entry_decode(&at, bytes + c->size, NULL, &entry);
        if (err != c->err || (!err && (entry.wire_size > 0) != c->canonical)) {
            fprintf(stderr, "%s: err %d\n", c->what, err);
            exit(1);
        }
        CHECK(at == (err ? bytes : bytes + c->size));
        free(bytes);
    }
}

static void test_entry_decode_of_any_form_keeps_the_last_values(void)
{
    const uint8_t bytes[] = {0x3a, 15,   0x22, 1, 'x', 0x18, 7,    0x10, 9,
                             0x10, 0x03, 0x22, 2, 'y', 'z',  0x08, 1};
    const uint8_t *at = bytes;
    struct rr_block block = {.refs = 1};
    struct rr_entry entry;
    CHECK(rr_entry_decode(&at, bytes + sizeof bytes, &block, &entry) == 0);
    CHECK(entry.term == 3 && entry.index == 7 && entry.type == 1);
    CHECK(entry.has ==
          (RR_ENTRY_HAS_TYPE | RR_ENTRY_HAS_TERM | RR_ENTRY_HAS_INDEX | RR_ENTRY_HAS_DATA));
    CHECK(entry.size == 2 && memcmp(entry.data, "yz", 2) == 0);
    CHECK(entry.block == &block && block.refs == 1);
    CHECK_EQ_U64(entry.wire_size, 0);
}

static void test_entries_run_must_fill_its_bytes_exactly(void)
{
    const uint8_t bytes[] = {0x3a, 2, 0x18, 1, 0x3a, 2, 0x18, 2, 0x3a, 2, 0x18, 3};
    struct rr_entry entries[4];
    CHECK(rr_entries_decode(bytes, sizeof bytes, NULL, entries, 3) == 0);
    CHECK(entries[0].index == 1 && entries[1].index == 2 && entries[2].index == 3);
    CHECK(rr_entries_decode(bytes, sizeof bytes, NULL, entries, 2) == RR_E_MALFORMED);
    CHECK(rr_entries_decode(bytes, sizeof bytes, NULL, entries, 4) == RR_E_MALFORMED);
    CHECK(rr_entries_decode(bytes, sizeof bytes - 1, NULL, entries, 3) == RR_E_MALFORMED);
    CHECK(rr_entries_decode(bytes, 0, NULL, entries, 0) == 0);
}

int main(void)
{
    RUN(test_entry_sizes_are_the_references);
    RUN(test_entry_bytes_are_the_references);
    RUN(test_entry_encode_continues_the_checksum);
    RUN(test_entry_value_without_presence_stops_the_process);
    RUN(test_entry_decode_of_each_form);
    RUN(test_entry_decode_of_any_form_keeps_the_last_values);
    RUN(test_entries_run_must_fill_its_bytes_exactly);
    return 0;
}
