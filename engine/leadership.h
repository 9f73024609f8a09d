/* SPDX-License-Identifier: Apache-2.0
 *
 * Leadership that moves on purpose: at the application's wish (rr_transfer_leadership), or because
 * this node should not lead any more (leadership_hand_over). Loop thread only. Cold.
 *
 *      IDLE ──request──▶ WANTED ──the target has all: MsgTimeoutNow──▶ it campaigns
 *        ▲                 │
 *        └─────────────────┘ another leader is known, or the deadline
 *
 * Until the deadline a MsgTimeoutNow that was lost, or came when the target could not campaign yet,
 * is sent again, and the core, which gives up after an election timeout, is asked again.
 *
 * While one is wanted the core takes no proposals; they are answered with RR_E_BUSY at once and are
 * certainly not in the log. Service resumes at the deadline.
 */
#ifndef RR_ENGINE_LEADERSHIP_H
#define RR_ENGINE_LEADERSHIP_H

#include "engine/engine_state.h"

struct leader_transfer {
    bool is_wanted;
    bool is_asked_for; /* by rr_transfer_leadership: a completion is owed */
    uint64_t to;
    uint64_t tag;
    uint64_t term; /* this node's leadership that is to end */
    uint64_t deadline_ns;
    uint64_t nudge_at_ns; /* when the target, if it has all, is asked again */
};

struct leadership {
    struct leader_transfer transfer;
    uint64_t chance; /* of the election jitter */
};

struct rr_group;

/* This node, which leads, should not: to the voter that is furthest of those that can be reached;
 * after the timeout, or if there is none, it steps down anyway. */
void leadership_hand_over(struct rr_group *group, uint64_t timeout_ns);
/* The election jitter, for the core (rr_config.jitter; `ctx` is the group): at random, but no two
 * voters draw the same number, so that those who miss a leader together do not split the votes. */
uint32_t leadership_jitter(void *ctx, uint32_t bound);
/* Does it hand over already? */
static inline bool leadership_is_ending(const struct leadership *leadership)
{
    return leadership->transfer.is_wanted && !leadership->transfer.is_asked_for;
}
/* Every turn: is a transfer at its end? */
void leadership_turn(struct rr_group *group, uint64_t now_ns);
/* The transfer that is wanted ends, in these words. */
void leadership_fail_transfer(struct rr_group *group, int status);
#endif
