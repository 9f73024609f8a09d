/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads that leave nothing in the log (thesis 6.4), of one group. Hot: allocates nothing.
 *
 *      rr_read_index ──queue──▶ waiting ──request──▶ core ──▶ the leader asks a quorum who leads
 *      (any thread)                │                  │
 *                                  │  index ◀─────────┘ Ready's read_states
 *                                  └─▶ applied has reached the index ──▶ completion, apply thread
 *
 * Reads are numbered as they come. A request covers all reads that wait when it is made, also
 * those of older requests that have no answer yet: its answer is as good for them. So a lost
 * request costs nothing but time: the next one makes up for it. While two requests are unanswered
 * what arrives gathers for the next, as proposals do for a write.
 *
 * Failure path: a change of leader fails what has no index yet, a deadline the one read that
 * missed it; the end of the group fails all. Loop thread only, but for the queue and what
 * rr_read_stale looks at.
 */
#ifndef RR_ENGINE_READS_H
#define RR_ENGINE_READS_H

#include "engine/proposal_queue.h"

#include <ringraft/raft.h>

struct rr_group;

struct waiting_read {
    uint64_t tag;
    uint64_t deadline_ns; /* 0: it is completed already */
};

/* What travels: nobody else's, and no other boot's, can be taken for it. */
struct read_context {
    uint64_t nonce; /* of this boot */
    uint64_t id;    /* of the request; never used again */
};

struct read_request {
    uint64_t id;
    uint64_t next; /* it covers the waiting reads below this number */
    uint64_t sent_ns;
    uint64_t term;
    uint64_t index; /* the answer */
};

#define READ_REQUESTS_MAX 16u /* power of two */

struct reads {
    struct waiting_read *waiting; /* ring by number */
    uint32_t cap;                 /* power of two */
    uint64_t first;               /* the oldest that waits */
    uint64_t asked;               /* a request was made for those below */
    uint64_t next;                /* the number of the next to come; first <= asked <= next */
    uint64_t earliest_ns;         /* no waiting read's deadline is before this */
    struct read_request requests[READ_REQUESTS_MAX]; /* ring; ids ascend, `next` never falls */
    uint32_t request_head;
    uint32_t request_count;
    uint32_t answered_count; /* the oldest so many have their answer */
    uint64_t last_id;
    uint64_t asked_ns;       /* when the newest request was made */
    uint64_t lease_until_ns; /* nobody else leads before that; 0: no lease */
    uint64_t began_ns;       /* the group's first turn */
    uint64_t voided_term;    /* no lease in this term any more */
    uint64_t keep_fresh_ns;  /* until then requests are made for rr_read_stale */

    _Alignas(64) struct proposal_queue queue;
    /* For rr_read_stale: the loop writes, any thread reads. */
    _Alignas(64) _Atomic uint64_t fresh_ns; /* what was acknowledged before is applied; 0: unknown;
                                               READS_CLOSED: the group has stopped */
    _Atomic uint64_t fresh_applied;         /* … up to here at least; written first */
    _Atomic bool is_stale_asked;            /* any thread writes */
};
#define READS_CLOSED UINT64_MAX

int reads_init(struct reads *reads, uint32_t entries_max);
void reads_fini(struct reads *reads);
/* Any thread: nothing more is accepted. */
void reads_close(struct reads *reads);
/* Does nothing wait? */
bool reads_is_quiet(const struct reads *reads);
/* Before the loop sleeps: arms the queue's wake-up. False: there is work at once. */
bool reads_may_sleep(struct reads *reads);

/* In each turn of the group, so with its ticks at least: new reads are taken in, late ones failed,
 * a request is made. */
void group_read(struct rr_group *group, uint64_t now_ns);
/* The core's answers. */
void group_take_read_states(struct rr_group *group, const struct rr_read_state *states,
                            uint32_t count);
/* Can a read that a follower forwards be answered? Else it is lost, and asked again. */
bool group_serves_reads(const struct rr_group *group);
/* Under leases, a node that has just started may have promised a leader not to vote. */
bool group_owes_lease(const struct rr_group *group);
/* Completes the reads whose index is applied. */
void group_finish_reads(struct rr_group *group);
/* Another leader, or none: reads without an index fail. */
void group_fail_unanswered_reads(struct rr_group *group);
/* Everything that waits fails with `status`. */
void group_fail_reads(struct rr_group *group, int status);
/* A transfer of leadership in `term`: its target gets votes whatever the lease says. */
void reads_void_lease(struct reads *reads, uint64_t term);

#endif
