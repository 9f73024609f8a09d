/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/varint.h"

#include "tests/unit/check.h"

static void check_round_trip(uint64_t value, uint32_t size)
{
    uint8_t bytes[VARINT_SIZE_MAX + 1];
    memset(bytes, 0xa5, sizeof bytes);
    CHECK_EQ_U64(varint_size(value), size);
    CHECK(varint_put(bytes, value) == bytes + size);
    CHECK_EQ_U64(bytes[size], 0xa5);

    uint64_t decoded = ~value;
    CHECK(varint_get(bytes, bytes + size, &decoded) == bytes + size);
    CHECK_EQ_U64(decoded, value);
    for (uint32_t cut = 0; cut < size; cut++)
        CHECK(varint_get(bytes, bytes + cut, &decoded) == NULL);
}

static void test_varint_at_each_border_of_size_round_trips(void)
{
    check_round_trip(0, 1);
    for (uint32_t bytes = 1; bytes < VARINT_SIZE_MAX; bytes++) {
        uint64_t border = 1ull << 7 * bytes;
        check_round_trip(border - 1, bytes);
        check_round_trip(border, bytes + 1);
    }
    check_round_trip(UINT64_MAX, 10);
}

static void test_varint_for_every_bit_has_the_least_size(void)
{
    for (uint32_t bit = 0; bit < 64; bit++)
        check_round_trip(1ull << bit, bit / 7 + 1);
}

static void test_varint_longer_than_necessary_is_accepted(void)
{
    const uint8_t bytes[] = {0x85, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00};
    uint64_t value;
    CHECK(varint_get(bytes, bytes + sizeof bytes, &value) == bytes + sizeof bytes);
    CHECK_EQ_U64(value, 5);
}

static void test_varint_above_64_bits_is_refused(void)
{
    uint8_t bytes[11];
    memset(bytes, 0xff, sizeof bytes);
    uint64_t value;
    bytes[9] = 0x02;
    CHECK(varint_get(bytes, bytes + sizeof bytes, &value) == NULL);
    bytes[9] = 0x80;
    bytes[10] = 0x00;
    CHECK(varint_get(bytes, bytes + sizeof bytes, &value) == NULL);
    bytes[9] = 0x81; /* a tenth byte that announces an eleventh */
    CHECK(varint_get(bytes, bytes + sizeof bytes, &value) == NULL);
    bytes[9] = 0x01;
    CHECK(varint_get(bytes, bytes + sizeof bytes, &value) == bytes + 10);
    CHECK_EQ_U64(value, UINT64_MAX);
}

int main(void)
{
    RUN(test_varint_at_each_border_of_size_round_trips);
    RUN(test_varint_for_every_bit_has_the_least_size);
    RUN(test_varint_longer_than_necessary_is_accepted);
    RUN(test_varint_above_64_bits_is_refused);
    return 0;
}
