/* SPDX-License-Identifier: Apache-2.0 */
#include "raft/inflights.h"

#include <string.h>

#define INFLIGHTS_CAP_MIN 16u

/* Doubles the room, up to the bound, and moves the oldest to the front. */
RR_COLD static void grow(struct inflights *in, const struct rr_allocator *allocator)
{
    uint64_t wanted = in->cap ? (uint64_t)in->cap * 2 : INFLIGHTS_CAP_MIN;
    uint32_t cap = (uint32_t)rr_min_u64(wanted, in->max_count);
    struct inflight *ring = memory_alloc(allocator, cap * sizeof(*ring));
    uint32_t head = (uint32_t)rr_min_u64(in->count, in->cap - in->start);
    if (in->count) {
        memcpy(ring, in->ring + in->start, head * sizeof(*ring));
        memcpy(ring + head, in->ring, (in->count - head) * sizeof(*ring));
    }
    memory_free(allocator, in->ring, in->cap * sizeof(*ring));
    in->ring = ring;
    in->cap = cap;
    in->start = 0;
}

void inflights_add(struct inflights *in, const struct rr_allocator *allocator, uint64_t index,
                   uint64_t bytes)
{
    RR_ASSERT_SAYS(!inflights_is_full(in),
                   "a full window, of % messages and % bytes, takes no more", in->count, in->bytes);
    if (RR_UNLIKELY(in->count == in->cap))
        grow(in, allocator);
    uint32_t at = in->start + in->count;
    if (at >= in->cap)
        at -= in->cap;
    in->ring[at] = (struct inflight){.index = index, .bytes = bytes};
    in->count++;
    in->bytes += bytes;
}

void inflights_free_le(struct inflights *in, uint64_t to)
{
    while (in->count && in->ring[in->start].index <= to) {
        RR_ASSERT(in->bytes >= in->ring[in->start].bytes);
        in->bytes -= in->ring[in->start].bytes;
        in->count--;
        if (++in->start == in->cap)
            in->start = 0;
    }
    if (in->count == 0)
        in->start = 0;
}

void inflights_fini(struct inflights *in, const struct rr_allocator *allocator)
{
    memory_free(allocator, in->ring, in->cap * sizeof(*in->ring));
    in->ring = NULL;
    in->cap = 0;
    inflights_reset(in);
}
