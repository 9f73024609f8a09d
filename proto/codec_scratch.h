/* SPDX-License-Identifier: Apache-2.0
 *
 * Taking arrays from a decoder's scratch. Private to proto/.
 */
#ifndef RR_PROTO_CODEC_SCRATCH_H
#define RR_PROTO_CODEC_SCRATCH_H

#include "proto/codec.h"

/* Bytes that an array takes: everything in the scratch begins at a multiple of 8. `count` is at
 * most that of the bytes decoded (below 2^32) and the elements are small, so nothing overflows. */
static inline size_t scratch_size(size_t count, size_t element_size)
{
    return (size_t)rr_align_up(count * element_size, 8);
}

/* Room for count elements, or NULL: not enough is left. */
static inline void *scratch_take(struct codec_scratch *scratch, size_t count, size_t element_size)
{
    RR_ASSERT(((uintptr_t)scratch->bytes & 7) == 0 && (scratch->used & 7) == 0);
    RR_ASSERT(scratch->used <= scratch->cap);
    size_t size = scratch_size(count, element_size);
    if (RR_UNLIKELY(size > scratch->cap - scratch->used))
        return NULL;
    void *array = scratch->bytes + scratch->used;
    scratch->used += size;
    return array;
}

/* Adds to `*need` what rr_snapshot_decode takes for these bytes; RR_E_MALFORMED. */
int codec_snapshot_scratch_need(const uint8_t *bytes, size_t size, size_t *need);

#endif
