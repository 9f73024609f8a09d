/* SPDX-License-Identifier: Apache-2.0
 *
 * Base-128 varints, the integers of protobuf. Hot: inline, no calls. A varint of 64 bits takes at
 * most ten bytes, and the tenth may only be 0 or 1; anything longer is refused, never truncated.
 */
#ifndef RR_PROTO_VARINT_H
#define RR_PROTO_VARINT_H

#include "proto/base.h"

#define VARINT_SIZE_MAX 10u

/* Bytes of the shortest encoding: 1 + floor(log2(value) / 7); the division by 7 is a multiplication
 * that is exact for 0..63. */
static inline uint32_t varint_size(uint64_t value)
{
    uint32_t top_bit = 63u - (uint32_t)__builtin_clzll(value | 1);
    return (top_bit * 9u + 73u) / 64u;
}

/* Writes varint_size(value) bytes; returns the place behind them. */
static inline uint8_t *varint_put(uint8_t *at, uint64_t value)
{
    while (value >= 0x80) {
        *at++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *at++ = (uint8_t)value;
    return at;
}

/* Returns the place behind the varint at `at`, or NULL: it does not end before `end`, or does not
 * fit into 64 bits. Encodings longer than necessary are accepted, as protobuf demands. */
static inline const uint8_t *varint_get(const uint8_t *at, const uint8_t *end, uint64_t *value)
{
    if (RR_LIKELY(at < end && *at < 0x80)) {
        *value = *at;
        return at + 1;
    }
    uint64_t result = 0;
    for (uint32_t shift = 0; shift < 70; shift += 7) {
        if (RR_UNLIKELY(at == end))
            return NULL;
        uint64_t byte = *at++;
        if (RR_UNLIKELY(shift == 63 && byte > 1))
            return NULL;
        result |= (byte & 0x7f) << shift;
        if (RR_LIKELY(byte < 0x80)) {
            *value = result;
            return at;
        }
    }
    return NULL;
}

#endif
