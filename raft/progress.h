/* SPDX-License-Identifier: Apache-2.0
 *
 * What the leader knows of one follower's log (thesis 3.5, 10.2), and how it sends to it:
 *
 *      probe ──accepted──> replicate         probe: one MsgApp with entries, then wait
 *        ^ ^──rejected, unreachable─┘        replicate: optimistic, a window of messages
 *        │                    │              snapshot: nothing until it is reported or passed
 *        └──reported── snapshot <──compacted─┘
 *
 * Invariant: match < next. Hot: fields are read and written per message.
 */
#ifndef RR_RAFT_PROGRESS_H
#define RR_RAFT_PROGRESS_H

#include "raft/inflights.h"

struct progress {
    uint64_t id;
    uint64_t match;       /* the highest index known to be in the follower's log */
    uint64_t next;        /* the next index to send; > match */
    uint64_t sent_commit; /* the highest commit index sent since the last regress; <= next - 1 but
                             for heartbeats */
    uint64_t pending_snapshot; /* index of the snapshot under way; 0 outside RR_PROGRESS_SNAPSHOT */
    uint64_t pending_read; /* the storage answered "pending" for this index; 0: none. Sending waits
                              while it equals `next` */
    struct inflights inflights;
    uint8_t state;            /* enum rr_progress_state */
    bool recent_active;       /* heard of since the last CheckQuorum */
    bool msg_app_flow_paused; /* no MsgApp until the next response */
    bool is_learner;
    bool empty_append_due; /* what waits for pending_read may be sent without entries */
};

static inline bool progress_is_paused(const struct progress *pr)
{
    return pr->state == RR_PROGRESS_SNAPSHOT || pr->msg_app_flow_paused;
}

/* Does the follower lack a commit index that an empty MsgApp could carry? It does not if it will
 * learn it from what is in flight already. */
static inline bool progress_can_bump_commit(const struct progress *pr, uint64_t committed)
{
    return committed > pr->sent_commit && pr->sent_commit < pr->next - 1;
}

void progress_become_probe(struct progress *pr);
void progress_become_replicate(struct progress *pr);
void progress_become_snapshot(struct progress *pr, uint64_t index);

/* Records that a MsgApp with `count` > 0 entries of `bytes` payload bytes was sent. */
static inline void progress_sent_entries(struct progress *pr, const struct rr_allocator *allocator,
                                         uint64_t count, uint64_t bytes)
{
    if (RR_UNLIKELY(pr->state != RR_PROGRESS_REPLICATE)) {
        RR_ASSERT_SAYS(pr->state != RR_PROGRESS_SNAPSHOT,
                       "node % is sent entries behind % while a snapshot of % is under way", pr->id,
                       pr->next - 1, pr->pending_snapshot);
        pr->msg_app_flow_paused = true;
        return;
    }
    pr->next += count;
    inflights_add(&pr->inflights, allocator, pr->next - 1, bytes);
    /* A message that fills the window is a probe: wait for the answer. */
    pr->msg_app_flow_paused = inflights_is_full(&pr->inflights);
}

/* And one without entries. */
static inline void progress_sent_nothing(struct progress *pr)
{
    /* Into a full window: a probe, too. */
    if (pr->state == RR_PROGRESS_REPLICATE)
        pr->msg_app_flow_paused = inflights_is_full(&pr->inflights);
}

/* An acknowledgement up to `index`; false if it tells nothing new. */
static inline bool progress_maybe_update(struct progress *pr, uint64_t index)
{
    if (index <= pr->match)
        return false;
    pr->match = index;
    pr->next = rr_max_u64(pr->next, index + 1);
    pr->msg_app_flow_paused = false;
    return true;
}

/* A rejection of the MsgApp behind `rejected`, with the follower's hint where logs may match; false
 * if stale. */
bool progress_maybe_decr_to(struct progress *pr, uint64_t rejected, uint64_t match_hint);
/* As after a change of term: everything forgotten but id, role as learner, and the window's bounds.
 */
void progress_reset(struct progress *pr, uint64_t match, uint64_t next);

#endif
