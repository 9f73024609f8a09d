/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/frame.h"

#include "proto/crc32c.h"
#include "tests/unit/check.h"

static const struct frame_header example = {.group = 0x0102030405060708ull,
                                            .length = 0x00112233u,
                                            .body_crc = 0xaabbccddu,
                                            .kind = FRAME_MESSAGES};

static void test_frame_header_has_these_bytes(void)
{
    uint8_t bytes[FRAME_HEADER_SIZE];
    frame_header_put(&example, bytes);
    const uint8_t expected[28] = {
        'R',  'F',  'R',  'M',  1,    1,    0,    0,    0x08, 0x07, 0x06, 0x05, 0x04, 0x03,
        0x02, 0x01, 0x33, 0x22, 0x11, 0x00, 0xdd, 0xcc, 0xbb, 0xaa, 0,    0,    0,    0,
    };
    CHECK(memcmp(bytes, expected, sizeof expected) == 0);
    uint32_t crc = crc32c_portable(0, expected, sizeof expected);
    const uint8_t crc_bytes[4] = {(uint8_t)crc, (uint8_t)(crc >> 8), (uint8_t)(crc >> 16),
                                  (uint8_t)(crc >> 24)};
    CHECK(memcmp(bytes + 28, crc_bytes, 4) == 0);
}

static void test_frame_header_round_trips(void)
{
    uint8_t bytes[FRAME_HEADER_SIZE];
    struct frame_header header;
    frame_header_put(&example, bytes);
    CHECK(frame_header_get(bytes, example.length, &header) == 0);
    CHECK_EQ_U64(header.group, example.group);
    CHECK_EQ_U64(header.length, example.length);
    CHECK_EQ_U64(header.body_crc, example.body_crc);
    CHECK_EQ_U64(header.kind, example.kind);
}

static void test_frame_header_with_any_bit_flipped_is_refused(void)
{
    uint8_t bytes[FRAME_HEADER_SIZE];
    struct frame_header header;
    for (uint32_t bit = 0; bit < 8 * FRAME_HEADER_SIZE; bit++) {
        frame_header_put(&example, bytes);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        CHECK(frame_header_get(bytes, UINT32_MAX, &header) == RR_E_MALFORMED);
    }
}

/* A header that is changed and then sealed again: its checksum is right. */
static int get_resealed(uint32_t offset, uint8_t value, uint32_t length_max)
{
    uint8_t bytes[FRAME_HEADER_SIZE];
    struct frame_header header;
    frame_header_put(&example, bytes);
    bytes[offset] = value;
    uint32_t crc = crc32c(0, bytes, 28);
    memcpy(bytes + 28, &crc, 4);
    return frame_header_get(bytes, length_max, &header);
}

static void test_frame_header_that_is_sealed_but_foreign_is_refused(void)
{
    CHECK(get_resealed(4, 1, UINT32_MAX) == 0);
    CHECK(get_resealed(4, 2, UINT32_MAX) == RR_E_VERSION);
    CHECK(get_resealed(0, 'X', UINT32_MAX) == RR_E_MALFORMED);
    CHECK(get_resealed(5, 0, UINT32_MAX) == RR_E_MALFORMED);
    CHECK(get_resealed(5, FRAME_SNAPSHOT, UINT32_MAX) == 0);
    CHECK(get_resealed(5, FRAME_SNAPSHOT + 1, UINT32_MAX) == RR_E_MALFORMED);
    CHECK(get_resealed(6, 1, UINT32_MAX) == RR_E_MALFORMED);
    CHECK(get_resealed(7, 1, UINT32_MAX) == RR_E_MALFORMED);
    CHECK(get_resealed(24, 1, UINT32_MAX) == RR_E_MALFORMED);
    /* Heartbeats and addresses belong to no one group. */
    CHECK(get_resealed(5, FRAME_HEARTBEATS, UINT32_MAX) == RR_E_MALFORMED);
    CHECK(get_resealed(5, FRAME_ADDRESS, UINT32_MAX) == RR_E_MALFORMED);
}

static void test_frame_header_above_the_limit_is_refused(void)
{
    CHECK(get_resealed(4, 1, example.length) == 0);
    CHECK(get_resealed(4, 1, example.length - 1) == RR_E_TOO_LARGE);
    CHECK(get_resealed(4, 1, 0) == RR_E_TOO_LARGE);
}

static uint8_t *put_item(uint8_t *at, uint64_t group, const char *message)
{
    struct frame_item item = {.group = group, .size = (uint32_t)strlen(message)};
    frame_item_put(&item, at);
    memcpy(at + FRAME_ITEM_SIZE, message, item.size);
    return at + FRAME_ITEM_SIZE + item.size;
}

static void test_frame_items_are_walked_in_order(void)
{
    uint8_t body[128];
    struct frame_header header = {.kind = FRAME_HEARTBEATS};
    const uint8_t *end = put_item(put_item(put_item(body, 5, "abc"), 6, ""), 7, "de");
    const uint8_t *at = body;
    const uint8_t *message;
    struct frame_item item;
    CHECK(frame_item_next(&header, &at, end, &item, &message) == 0);
    CHECK(item.group == 5 && item.size == 3 && memcmp(message, "abc", 3) == 0);
    CHECK(frame_item_next(&header, &at, end, &item, &message) == 0);
    CHECK(item.group == 6 && item.size == 0);
    CHECK(frame_item_next(&header, &at, end, &item, &message) == 0);
    CHECK(item.group == 7 && item.size == 2 && memcmp(message, "de", 2) == 0);
    CHECK(at == end);
}

static void test_frame_item_that_does_not_fit_is_refused(void)
{
    uint8_t body[128];
    struct frame_header header = {.kind = FRAME_HEARTBEATS};
    const uint8_t *end = put_item(body, 5, "abc");
    for (const uint8_t *cut = body; cut < end; cut++) {
        const uint8_t *at = body;
        const uint8_t *message;
        struct frame_item item;
        CHECK(frame_item_next(&header, &at, cut, &item, &message) == RR_E_MALFORMED);
        CHECK(at == body);
    }
}

static void test_frame_item_of_another_group_or_with_reserved_bytes_is_refused(void)
{
    uint8_t body[128];
    struct frame_header header = {.kind = FRAME_MESSAGES, .group = 5};
    const uint8_t *end = put_item(body, 5, "abc");
    const uint8_t *at = body;
    const uint8_t *message;
    struct frame_item item;
    CHECK(frame_item_next(&header, &at, end, &item, &message) == 0);
    header.group = 6;
    at = body;
    CHECK(frame_item_next(&header, &at, end, &item, &message) == RR_E_MALFORMED);
    header.group = 5;
    body[12] = 1;
    CHECK(frame_item_next(&header, &at, end, &item, &message) == RR_E_MALFORMED);
}

int main(void)
{
    RUN(test_frame_header_has_these_bytes);
    RUN(test_frame_header_round_trips);
    RUN(test_frame_header_with_any_bit_flipped_is_refused);
    RUN(test_frame_header_that_is_sealed_but_foreign_is_refused);
    RUN(test_frame_header_above_the_limit_is_refused);
    RUN(test_frame_items_are_walked_in_order);
    RUN(test_frame_item_that_does_not_fit_is_refused);
    RUN(test_frame_item_of_another_group_or_with_reserved_bytes_is_refused);
    return 0;
}
