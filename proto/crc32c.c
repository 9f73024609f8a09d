/* SPDX-License-Identifier: Apache-2.0
 *
 * CRC32C. Hot. One algorithm on two sets of primitives: the processor's (crc32, pclmul), chosen
 * where it has them, and tables. The instruction takes 3 cycles for 8 bytes but can begin one each
 * cycle, so longer inputs are cut into three lanes that run side by side and are joined by a
 * multiplication each.
 */
#include "proto/crc32c.h"

#include "proto/base.h"

#include "crc32c_tables.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words are taken from bytes as they lie");

/* ---- tables -------------------------------------------------------------- */

static uint32_t table_word(uint32_t crc, uint64_t word)
{
    word ^= crc;
    crc = 0;
#pragma GCC unroll 8
    for (uint32_t i = 0; i < 8; i++)
        crc ^= crc32c_bytes[7 - i][(word >> 8 * i) & 0xff];
    return crc;
}

uint32_t crc32c_portable(uint32_t seed, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    uint32_t crc = ~seed;
    for (; size >= 8; size -= 8, at += 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        crc = table_word(crc, word);
    }
    for (; size > 0; size--)
        crc = (crc >> 8) ^ crc32c_bytes[0][(crc ^ *at++) & 0xff];
    return ~crc;
}

/* a * b * x^33 modulo P: a carry-less product of 63 bits, read as a reflected word of 64 (which is
 * times x), then reduced as if it were 8 bytes of input (which is times x^32). */
static uint32_t table_multiply(uint32_t a, uint32_t b)
{
    uint64_t product = 0;
    for (uint32_t i = 0; i < 32; i++)
        product ^= ((uint64_t)a << i) & (0 - (uint64_t)(b >> i & 1));
    return table_word(0, product);
}

uint32_t crc32c_shift_portable(uint32_t crc, uint64_t size)
{
    for (uint32_t digit = 0; size > 0; digit++, size >>= 8) {
        if (size & 0xff)
            crc = table_multiply(crc, crc32c_powers[digit][size & 0xff]);
    }
    return crc;
}

/* ---- instructions -------------------------------------------------------- */

#if defined(__x86_64__)

#define LANE_TARGET __attribute__((target("sse4.2,pclmul")))
#define LANE_INLINE LANE_TARGET static inline __attribute__((always_inline))

/* As table_multiply. */
LANE_INLINE uint32_t lane_multiply(uint32_t a, uint32_t b)
{
    __m128i product = _mm_clmulepi64_si128(_mm_cvtsi32_si128((int)a), _mm_cvtsi32_si128((int)b), 0);
    return (uint32_t)_mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

#define LANE_LONG  1024u
#define LANE_SHORT 128u

/* The power that moves a checksum `size` bytes ahead; size has one digit of base 256 that is not
 * zero. */
LANE_INLINE uint32_t lane_power(size_t size)
{
    return size < 256 ? crc32c_powers[0][size] : crc32c_powers[1][size / 256];
}

/* The eight bytes at `at`. `copy` is a constant wherever this is inlined; without it `to` is not
 * used. */
LANE_INLINE uint64_t lane_word(uint64_t crc, uint8_t *to, const uint8_t *from, size_t at, bool copy)
{
    uint64_t word;
    memcpy(&word, from + at, 8);
    if (copy)
        memcpy(to + at, &word, 8);
    return _mm_crc32_u64(crc, word);
}

/* Three lanes of `lane` bytes from `at` on, side by side. */
LANE_INLINE uint32_t three_lanes(uint32_t crc, uint8_t *to, const uint8_t *from, size_t at,
                                 size_t lane, bool copy)
{
    uint64_t a = crc;
    uint64_t b = 0;
    uint64_t c = 0;
    for (size_t end = at + lane; at < end; at += 8) {
        a = lane_word(a, to, from, at, copy);
        b = lane_word(b, to, from, at + lane, copy);
        c = lane_word(c, to, from, at + 2 * lane, copy);
    }
    return lane_multiply((uint32_t)a, lane_power(2 * lane)) ^
           lane_multiply((uint32_t)b, lane_power(lane)) ^ (uint32_t)c;
}

LANE_INLINE uint32_t lane_run(uint32_t seed, uint8_t *to, const uint8_t *from, size_t size,
                              bool copy)
{
    uint32_t crc = ~seed;
    size_t at = 0;
    for (; size - at >= 3 * LANE_LONG; at += 3 * LANE_LONG)
        crc = three_lanes(crc, to, from, at, LANE_LONG, copy);
    for (; size - at >= 3 * LANE_SHORT; at += 3 * LANE_SHORT)
        crc = three_lanes(crc, to, from, at, LANE_SHORT, copy);
    for (; size - at >= 8; at += 8)
        crc = (uint32_t)lane_word(crc, to, from, at, copy);
    for (; at < size; at++) {
        if (copy)
            to[at] = from[at];
        crc = _mm_crc32_u8(crc, from[at]);
    }
    return ~crc;
}

LANE_TARGET static uint32_t lane_crc(uint32_t seed, const uint8_t *bytes, size_t size)
{
    return lane_run(seed, NULL, bytes, size, false);
}

LANE_TARGET static uint32_t lane_crc_copy(uint32_t seed, uint8_t *to, const uint8_t *from,
                                          size_t size)
{
    return lane_run(seed, to, from, size, true);
}

LANE_TARGET static uint32_t lane_shift(uint32_t crc, uint64_t size)
{
    for (uint32_t digit = 0; size > 0; digit++, size >>= 8) {
        if (size & 0xff)
            crc = lane_multiply(crc, crc32c_powers[digit][size & 0xff]);
    }
    return crc;
}

/* The compiler's runtime asked the processor before main; this only reads its answer. */
static inline bool has_instructions(void)
{
    return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
}
#endif

/* ---- public -------------------------------------------------------------- */

uint32_t crc32c(uint32_t seed, const void *bytes, size_t size)
{
#if defined(__x86_64__)
    if (RR_LIKELY(has_instructions()))
        return lane_crc(seed, bytes, size);
#endif
    return crc32c_portable(seed, bytes, size);
}

uint32_t crc32c_copy(uint32_t seed, void *to, const void *from, size_t size)
{
#if defined(__x86_64__)
    if (RR_LIKELY(has_instructions()))
        return lane_crc_copy(seed, to, from, size);
#endif
    if (size > 0)
        memcpy(to, from, size);
    return crc32c_portable(seed, from, size);
}

uint32_t crc32c_shift(uint32_t crc, uint64_t size)
{
#if defined(__x86_64__)
    if (RR_LIKELY(has_instructions()))
        return lane_shift(crc, size);
#endif
    return crc32c_shift_portable(crc, size);
}

uint32_t crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t size_b)
{
    return crc32c_shift(crc_a, size_b) ^ crc_b;
}
