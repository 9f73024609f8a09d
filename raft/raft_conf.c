/* SPDX-License-Identifier: Apache-2.0
 *
 * Configurations in force (thesis 4): what a node does when the application applies a change, or
 * when a snapshot or a restart brings a whole configuration.
 */
#include "raft/raft_core.h"

#include "raft/confchange.h"

/* New members are probed at once; a change may also have committed entries. */
static void replicate_to_new_config(struct raft *r)
{
    if (raft_maybe_commit(r)) {
        raft_broadcast_append(r);
        return;
    }
    for (uint32_t i = 0; i < r->tracker.progress_count; i++) {
        struct progress *pr = &r->tracker.progress[i];
        if (pr->id != r->id)
            raft_maybe_send_append(r, pr, false);
    }
}

/* To be called after the tracker's configuration was replaced. */
static void switched(struct raft *r)
{
    EVENT(&r->events, SWITCHED_CONFIG, r->id, event_pointer(&r->tracker.config));
    const struct progress *own = tracker_find(&r->tracker, r->id);
    r->is_learner = own && own->is_learner;
    if (r->state != RR_STATE_LEADER)
        return;
    if (!own || own->is_learner) {
        /* Removed or demoted. Who asked for it steps down; otherwise it leads on without counting
         * itself, so that the last change is committed by the new configuration (thesis 4.2.2). */
        if (r->step_down_on_removal)
            raft_become_follower(r, r->term, RR_NONE);
        return;
    }
    if (r->tracker.config.incoming.count == 0)
        return;
    replicate_to_new_config(r);
    if (r->lead_transferee != RR_NONE && !tracker_is_voter(&r->tracker, r->lead_transferee))
        raft_abort_leader_transfer(r);
}

void raft_apply_conf_change(struct raft *r, const struct rr_conf_change_v2 *change)
{
    const char *reason = confchange_apply(&r->tracker, change, raft_log_last_index(&r->log));
    /* Proposals are checked against the configuration in force, so this cannot fail. */
    RR_ASSERT_SAYS(reason == NULL, reason, 0);
    switched(r);
}

void raft_restore_config(struct raft *r, const struct rr_conf_state *state)
{
    tracker_clear(&r->tracker);
    const char *reason = confchange_restore(&r->tracker, state, raft_log_last_index(&r->log));
    RR_ASSERT_SAYS(reason == NULL, reason, 0);
    switched(r);
    struct rr_conf_state rebuilt;
    tracker_conf_state(&r->tracker, &rebuilt);
    RR_ASSERT_SAYS(confchange_equivalent(state, &rebuilt),
                   "node % cannot rebuild a configuration of %+% voters and %+% learners", r->id,
                   state->voter_count, state->voter_outgoing_count, state->learner_count,
                   state->learner_next_count);
}
