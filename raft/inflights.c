/* SPDX-License-Identifier: Apache-2.0 */
#include "raft/inflights.h"

#include <string.h>

#define INFLIGHTS_CAP_MIN 16u

RR_COLD void inflights_grow(struct inflights *in, const struct rr_allocator *allocator)
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

void inflights_fini(struct inflights *in, const struct rr_allocator *allocator)
{
    memory_free(allocator, in->ring, in->cap * sizeof(*in->ring));
    in->ring = NULL;
    in->cap = 0;
    inflights_reset(in);
}
