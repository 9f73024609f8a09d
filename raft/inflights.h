/* SPDX-License-Identifier: Apache-2.0
 *
 * The window of MsgApps that were sent to one follower and not yet acknowledged: a ring of (last
 * index, payload bytes), bounded in messages and in bytes. It is full as soon as the bytes reach
 * their bound, so one message may overshoot. The ring grows by doubling up to its bound and keeps
 * its memory on reset.
 */
#ifndef RR_RAFT_INFLIGHTS_H
#define RR_RAFT_INFLIGHTS_H

#include "raft/memory.h"

struct inflight {
    uint64_t index; /* of the last entry in the message */
    uint64_t bytes; /* payload bytes of its entries */
};

struct inflights {
    struct inflight *ring;
    uint64_t bytes;     /* sum over the ring */
    uint64_t max_bytes; /* 0: no bound */
    uint32_t start;     /* place of the oldest */
    uint32_t count;
    uint32_t cap;       /* room at `ring` */
    uint32_t max_count; /* > 0 */
};

static inline bool inflights_is_full(const struct inflights *in)
{
    return in->count == in->max_count || (in->max_bytes != 0 && in->bytes >= in->max_bytes);
}

static inline void inflights_reset(struct inflights *in)
{
    in->start = 0;
    in->count = 0;
    in->bytes = 0;
}

/* Doubles the room, up to the bound, and moves the oldest to the front. */
RR_COLD void inflights_grow(struct inflights *in, const struct rr_allocator *allocator);

/* The window must not be full; indexes must not decrease. */
static inline void inflights_add(struct inflights *in, const struct rr_allocator *allocator,
                                 uint64_t index, uint64_t bytes)
{
    RR_ASSERT_SAYS(!inflights_is_full(in),
                   "a full window, of % messages and % bytes, takes no more", in->count, in->bytes);
    if (RR_UNLIKELY(in->count == in->cap))
        inflights_grow(in, allocator);
    uint32_t at = in->start + in->count;
    if (at >= in->cap)
        at -= in->cap;
    in->ring[at] = (struct inflight){.index = index, .bytes = bytes};
    in->count++;
    in->bytes += bytes;
}

/* Frees everything up to and including index `to`. */
static inline void inflights_free_le(struct inflights *in, uint64_t to)
{
    while (in->count && in->ring[in->start].index <= to) {
        RR_ASSERT(in->bytes >= in->ring[in->start].bytes);
        in->bytes -= in->ring[in->start].bytes;
        in->count--;
        if (++in->start == in->cap)
            in->start = 0;
    }
}

void inflights_fini(struct inflights *in, const struct rr_allocator *allocator);

#endif
