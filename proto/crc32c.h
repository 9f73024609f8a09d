/* SPDX-License-Identifier: Apache-2.0
 *
 * CRC32C (Castagnoli, RFC 3720), as every checksum of the log and of the wire. Hot. The processor's
 * instruction is used where there is one (x86 with SSE 4.2 and PCLMUL), tables elsewhere; the
 * results are equal. Checksums of parts combine into that of the whole without touching the bytes.
 *
 * All functions take and return finished checksums (with the inversions), so that a checksum can be
 * continued: crc32c(crc32c(0, a), b) is the checksum of a followed by b.
 */
#ifndef RR_PROTO_CRC32C_H
#define RR_PROTO_CRC32C_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Continues `seed` (0: begins) over `size` bytes. */
uint32_t crc32c(uint32_t seed, const void *bytes, size_t size);

/* As crc32c over `from`, and copies the bytes to `to` in the same pass. They may not overlap. */
uint32_t crc32c_copy(uint32_t seed, void *to, const void *from, size_t size);

/* The checksum of A followed by B, from crc_a = crc32c(0, A), crc_b = crc32c(0, B) and B's size.
 * With crc_a = seed it also turns a checksum begun at 0 into one that continues `seed`. A few
 * multiplications. */
uint32_t crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t size_b);

/* What the first size_a bytes contribute: crc32c_combine(a, b, n) == crc32c_shift(a, n) ^ b.
 * Linear, and its own inverse in the sense that B's checksum is crc32c_shift(a, n) ^ ab; so a
 * suffix's checksum comes from whole and prefix. */
uint32_t crc32c_shift(uint32_t crc, uint64_t size);

/* The table path, whatever the processor: for tests and benches. */
uint32_t crc32c_portable(uint32_t seed, const void *bytes, size_t size);
uint32_t crc32c_shift_portable(uint32_t crc, uint64_t size);

#ifdef __cplusplus
}
#endif
#endif
