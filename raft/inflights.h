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

/* The window must not be full; indexes must not decrease. */
void inflights_add(struct inflights *in, const struct rr_allocator *allocator, uint64_t index,
                   uint64_t bytes);
/* Frees everything up to and including index `to`. */
void inflights_free_le(struct inflights *in, uint64_t to);
void inflights_fini(struct inflights *in, const struct rr_allocator *allocator);

#endif
