/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/crc32c.h"

#include "proto/base.h"
#include "tests/unit/check.h"

/* Bit by bit from the definition: what the fast paths are compared with. */
static uint32_t reference(uint32_t seed, const uint8_t *bytes, size_t size)
{
    uint32_t crc = ~seed;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ ((crc & 1) ? 0x82f63b78u : 0);
    }
    return ~crc;
}

static void fill(uint8_t *bytes, size_t size)
{
    uint64_t state = 0x9e3779b97f4a7c15ull;
    for (size_t i = 0; i < size; i++) {
        state = state * 6364136223846793005ull + 1442695040888963407ull;
        bytes[i] = (uint8_t)(state >> 56);
    }
}

static void check_vector(const uint8_t *bytes, size_t size, uint32_t expected)
{
    CHECK_EQ_U64(reference(0, bytes, size), expected);
    CHECK_EQ_U64(crc32c(0, bytes, size), expected);
    CHECK_EQ_U64(crc32c_portable(0, bytes, size), expected);
}

/* RFC 3720, B.4, and the check value of the CRC catalogues. */
static void test_crc32c_of_known_vectors(void)
{
    uint8_t bytes[32];
    memset(bytes, 0, sizeof bytes);
    check_vector(bytes, 32, 0x8a9136aau);
    memset(bytes, 0xff, sizeof bytes);
    check_vector(bytes, 32, 0x62a8ab43u);
    for (uint8_t i = 0; i < 32; i++)
        bytes[i] = i;
    check_vector(bytes, 32, 0x46dd794eu);
    for (uint8_t i = 0; i < 32; i++)
        bytes[i] = (uint8_t)(31 - i);
    check_vector(bytes, 32, 0x113fdb5cu);
    const uint8_t iscsi_read[48] = {
        0x01, 0xc0, 0, 0,    0, 0, 0, 0,    0,    0, 0, 0, 0, 0, 0, 0, 0x14, 0, 0, 0, 0, 0, 0x04, 0,
        0,    0,    0, 0x14, 0, 0, 0, 0x18, 0x28, 0, 0, 0, 0, 0, 0, 0, 0x02, 0, 0, 0, 0, 0, 0,    0,
    };
    check_vector(iscsi_read, sizeof iscsi_read, 0xd9963a56u);
    check_vector((const uint8_t *)"123456789", 9, 0xe3069283u);
    check_vector((const uint8_t *)"", 0, 0);
}

static void test_crc32c_of_every_size_and_alignment_equals_the_definition(void)
{
    static uint8_t bytes[800 + 8];
    fill(bytes, sizeof bytes);
    for (size_t offset = 0; offset < 8; offset++) {
        for (size_t size = 0; size <= 800; size++) {
            uint32_t seed = (uint32_t)(size * 2654435761u);
            uint32_t expected = reference(seed, bytes + offset, size);
            CHECK_EQ_U64(crc32c(seed, bytes + offset, size), expected);
            CHECK_EQ_U64(crc32c_portable(seed, bytes + offset, size), expected);
        }
    }
}

/* Around the borders of the lanes (3 x 1024, 3 x 128) and with several long blocks. */
static void test_crc32c_of_large_sizes_equals_the_definition(void)
{
    static uint8_t bytes[64 * 1024];
    fill(bytes, sizeof bytes);
    const size_t sizes[] = {1024,       2048,         3071,  3072,  3073,
                            3072 + 384, 3 * 3072 - 1, 16384, 65535, 65536};
    for (size_t i = 0; i < RR_ARRAY_SIZE(sizes); i++) {
        uint32_t expected = reference(7, bytes, sizes[i]);
        CHECK_EQ_U64(crc32c(7, bytes, sizes[i]), expected);
        CHECK_EQ_U64(crc32c_portable(7, bytes, sizes[i]), expected);
    }
}

static void test_crc32c_copy_copies_exactly_and_gives_the_same_checksum(void)
{
    static uint8_t from[5000];
    static uint8_t to[5000 + 2];
    fill(from, sizeof from);
    const size_t sizes[] = {0, 1, 7, 8, 9, 37, 383, 384, 385, 1000, 3071, 3072, 3080, 4999};
    for (size_t i = 0; i < RR_ARRAY_SIZE(sizes); i++) {
        memset(to, 0xee, sizeof to);
        CHECK_EQ_U64(crc32c_copy(5, to + 1, from + 1, sizes[i]), reference(5, from + 1, sizes[i]));
        CHECK(memcmp(to + 1, from + 1, sizes[i]) == 0);
        CHECK_EQ_U64(to[0], 0xee);
        CHECK_EQ_U64(to[sizes[i] + 1], 0xee);
    }
    CHECK_EQ_U64(crc32c_copy(99, NULL, NULL, 0), 99);
}

static void test_crc32c_combine_of_any_cut_equals_the_whole(void)
{
    static uint8_t bytes[70000];
    fill(bytes, sizeof bytes);
    const size_t cuts[] = {0, 1, 2, 255, 256, 257, 4095, 4096, 65535, 65536, 69999, 70000};
    uint32_t whole = reference(0, bytes, sizeof bytes);
    for (size_t i = 0; i < RR_ARRAY_SIZE(cuts); i++) {
        uint32_t a = crc32c(0, bytes, cuts[i]);
        uint32_t b = crc32c(0, bytes + cuts[i], sizeof bytes - cuts[i]);
        CHECK_EQ_U64(crc32c_combine(a, b, sizeof bytes - cuts[i]), whole);
        /* The suffix from whole and prefix. */
        CHECK_EQ_U64(crc32c_shift(a, sizeof bytes - cuts[i]) ^ whole, b);
    }
}

static void test_crc32c_combine_with_a_seed_continues_it(void)
{
    uint8_t bytes[333];
    fill(bytes, sizeof bytes);
    uint32_t begun_at_zero = crc32c(0, bytes, sizeof bytes);
    CHECK_EQ_U64(crc32c_combine(0x12345678u, begun_at_zero, sizeof bytes),
                 reference(0x12345678u, bytes, sizeof bytes));
}

/* Beyond what can be computed directly: shifts add up, and both paths agree. */
static void test_crc32c_shift_by_huge_sizes_adds_up(void)
{
    const uint64_t sizes[] = {
        0, 1, 1ull << 24, (1ull << 32) - 1, 1ull << 32, (1ull << 40) + 12345, 1ull << 56};
    for (size_t i = 0; i < RR_ARRAY_SIZE(sizes); i++) {
        uint32_t once = crc32c_shift(0xdeadbeefu, sizes[i]);
        CHECK_EQ_U64(once, crc32c_shift_portable(0xdeadbeefu, sizes[i]));
        uint32_t halves =
            crc32c_shift(crc32c_shift(0xdeadbeefu, sizes[i] / 2), sizes[i] - sizes[i] / 2);
        CHECK_EQ_U64(once, halves);
    }
    CHECK_EQ_U64(crc32c_shift(0xdeadbeefu, 0), 0xdeadbeefu);
}

int main(void)
{
    RUN(test_crc32c_of_known_vectors);
    RUN(test_crc32c_of_every_size_and_alignment_equals_the_definition);
    RUN(test_crc32c_of_large_sizes_equals_the_definition);
    RUN(test_crc32c_copy_copies_exactly_and_gives_the_same_checksum);
    RUN(test_crc32c_combine_of_any_cut_equals_the_whole);
    RUN(test_crc32c_combine_with_a_seed_continues_it);
    RUN(test_crc32c_shift_by_huge_sizes_adds_up);
    return 0;
}
