/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of a thread-safe node: a mutex around a raw node. Every call is enter, one call into
 * the core, leave. Leaving delivers the ticks that were kept meanwhile, lets waiting proposals go
 * if there is a leader now, and makes the fd say whether there is something for the consumer.
 *
 * Why the consumer may read a Ready without the lock: the core collects what it hands out in two
 * boxes and touches the closed one again only in Advance and in the next Ready, which the consumer
 * calls itself; payloads are immutable. So nothing has to be copied on the way out. On the way in
 * payloads are copied into blocks of our own, whose counts only change under the lock.
 */
#ifndef RR_ENGINE_NODE_STATE_H
#define RR_ENGINE_NODE_STATE_H

#include "engine/node_proposals.h"
#include "raft/raw_node.h"

#include <pthread.h>
#include <stdatomic.h>

struct rr_node {
    pthread_mutex_t lock;
    struct rr_raw_node *raw;
    struct node_proposals proposals;
    struct rr_allocator allocator;
    _Atomic uint32_t ticks_kept; /* <= TICKS_MAX; not under the lock */
    _Atomic uint32_t ticks_lost; /* and not yet logged; not under the lock */
    uint64_t ticks_missed;       /* logged */
    uint64_t tick_count;         /* delivered */
    uint64_t lead;               /* as last seen */
    int ready_fd;
    bool is_fd_readable;
    bool is_async;
    bool is_ready_out; /* never in asynchronous mode */
    bool is_removed;   /* by itself, and no other leader was seen since */
    bool is_stopped;
    uint64_t conf_ids[4 * TRACKER_IDS_MAX]; /* what the last conf state given out points to */
};

/* 0: the lock is held; RR_E_STOPPED: it is not. */
int node_enter(struct rr_node *node);
/* Gives `result` back. */
int node_leave(struct rr_node *node, int result);

static inline bool node_takes_proposals(const struct rr_node *node)
{
    return node->lead != RR_NONE && !node->is_removed;
}

static inline bool node_can_take_ready(const struct rr_node *node)
{
    return !node->is_ready_out && rr_raw_node_has_ready(node->raw);
}

/* Hands a proposal to the core, now. */
int node_step_proposal(struct rr_node *node, const struct rr_entry *entry);

#endif
