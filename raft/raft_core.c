/* SPDX-License-Identifier: Apache-2.0
 *
 * Construction, changes of role, and time (thesis 3.3, 3.4, 6.2, 9.6).
 *
 *                      majority of pre-votes           majority of votes
 *   follower --timeout--> pre-candidate --------> candidate ----------> leader
 *      ^  └─────────(without pre-vote)───────────────^  │                 │
 *      └── a leader is heard, a higher term is seen, the election is lost ┘
 */
#include "raft/raft_core.h"

static uint64_t or_default(uint64_t value, uint64_t when_zero)
{
    return value ? value : when_zero;
}

static void init_options(struct raft *r, const struct rr_config *config)
{
    *r = (struct raft){
        .id = config->id,
        .check_quorum = config->check_quorum,
        .pre_vote = config->pre_vote,
        .disable_proposal_forwarding = config->disable_proposal_forwarding,
        .disable_conf_change_validation = config->disable_conf_change_validation,
        .step_down_on_removal = config->step_down_on_removal,
        .async_storage_writes = config->async_storage_writes,
        .election_timeout = config->election_tick,
        .heartbeat_timeout = config->heartbeat_tick,
        .max_msg_size = config->max_size_per_msg,
        .max_uncommitted_size = or_default(config->max_uncommitted_entries_size, UINT64_MAX),
        .read_only = {.option = config->read_only_option},
        .tracker = {.max_inflight_msgs = (uint32_t)config->max_inflight_msgs,
                    .max_inflight_bytes = config->max_inflight_bytes,
                    .allocator = config->allocator},
        .events = {.log = config->log,
                   .ctx = config->log_ctx,
                   .level = config->log ? config->log_level : UINT8_MAX},
        .allocator = config->allocator,
        .jitter = config->jitter,
        .jitter_ctx = config->jitter_ctx,
        .random = config->seed ^ config->id,
    };
    outbox_init(&r->outbox, config);
}

void raft_init(struct raft *r, const struct rr_config *config)
{
    init_options(r, config);
    struct raft_log_options options = {
        .storage = config->storage,
        .outbox = &r->outbox,
        .events = &r->events,
        /* A limit of 0 lets one entry through at a time, wherever it applies. */
        .max_applying_ents_size = or_default(
            or_default(config->max_committed_size_per_ready, config->max_size_per_msg), 1),
    };
    raft_log_init(&r->log, &options);

    struct rr_hard_state hard = {0};
    struct rr_conf_state conf_state = {0};
    int err = config->storage.ops->initial_state(config->storage.ctx, &hard, &conf_state);
    RR_ASSERT_SAYS(err == 0, "node %: the storage does not tell its initial state: error -%", r->id,
                   (uint64_t)-err);
    raft_restore_config(r, &conf_state);
    if (hard.term != 0 || hard.vote != RR_NONE || hard.commit != 0) {
        RR_ASSERT_SAYS(hard.commit >= r->log.committed &&
                           hard.commit <= raft_log_last_index(&r->log),
                       "node %: the stored commit index, %, is out of range, % to %", r->id,
                       hard.commit, r->log.committed, raft_log_last_index(&r->log));
        r->log.committed = hard.commit;
        r->term = hard.term;
        r->vote = hard.vote;
    }
    if (config->applied > 0)
        raft_log_applied_to(&r->log, config->applied, 0);
    raft_become_follower(r, r->term, RR_NONE);

    struct entry_id last = raft_log_last_id(&r->log);
    EVENT(&r->events, NEW_RAFT, r->id, event_pointer(&r->tracker.config), r->term, r->log.committed,
          r->log.applied, last.index, last.term);
}

void raft_fini(struct raft *r)
{
    read_queue_fini(&r->read_only.queue, &r->allocator);
    read_queue_fini(&r->parked_reads, &r->allocator);
    tracker_fini(&r->tracker);
    raft_log_fini(&r->log);
    outbox_fini(&r->outbox);
}

/* ---- roles --------------------------------------------------------------- */

/* splitmix64: statistically good, and one word of state. */
static uint32_t own_jitter(struct raft *r, uint32_t bound)
{
    uint64_t z = (r->random += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (uint32_t)(((z >> 32) * bound) >> 32);
}

static void reset_randomized_election_timeout(struct raft *r)
{
    uint32_t bound = (uint32_t)r->election_timeout;
    uint32_t jitter = r->jitter ? r->jitter(r->jitter_ctx, bound) : own_jitter(r, bound);
    RR_ASSERT(jitter < bound);
    r->randomized_election_timeout = r->election_timeout + (int32_t)jitter;
}

void raft_abort_leader_transfer(struct raft *r)
{
    r->lead_transferee = RR_NONE;
}

/* What every change of role but becoming a pre-candidate begins with. */
static void reset(struct raft *r, uint64_t term)
{
    if (r->term != term) {
        r->term = term;
        r->vote = RR_NONE;
    }
    r->lead = RR_NONE;
    r->election_elapsed = 0;
    r->heartbeat_elapsed = 0;
    reset_randomized_election_timeout(r);
    raft_abort_leader_transfer(r);
    tracker_reset_votes(&r->tracker);
    uint64_t last = raft_log_last_index(&r->log);
    for (uint32_t i = 0; i < r->tracker.progress_count; i++) {
        struct progress *pr = &r->tracker.progress[i];
        progress_reset(pr, pr->id == r->id ? last : 0, last + 1);
    }
    r->pending_conf_index = 0;
    r->uncommitted_size = 0;
    read_only_reset(&r->read_only);
}

void raft_become_follower(struct raft *r, uint64_t term, uint64_t lead)
{
    reset(r, term);
    r->lead = lead;
    r->state = RR_STATE_FOLLOWER;
    EVENT(&r->events, BECAME_FOLLOWER, r->id, r->term);
}

void raft_become_candidate(struct raft *r)
{
    RR_ASSERT_SAYS(r->state != RR_STATE_LEADER, "node %, leader of term %, becomes a candidate",
                   r->id, r->term);
    reset(r, r->term + 1);
    r->vote = r->id;
    r->state = RR_STATE_CANDIDATE;
    EVENT(&r->events, BECAME_CANDIDATE, r->id, r->term);
}

void raft_become_pre_candidate(struct raft *r)
{
    RR_ASSERT_SAYS(r->state != RR_STATE_LEADER, "node %, leader of term %, becomes a pre-candidate",
                   r->id, r->term);
    /* Neither term nor vote nor timers change: a pre-vote leaves no trace (thesis 9.6). */
    tracker_reset_votes(&r->tracker);
    r->lead = RR_NONE;
    r->state = RR_STATE_PRE_CANDIDATE;
    EVENT(&r->events, BECAME_PRE_CANDIDATE, r->id, r->term);
}

void raft_become_leader(struct raft *r)
{
    RR_ASSERT_SAYS(r->state != RR_STATE_FOLLOWER, "node %, follower in term %, becomes leader",
                   r->id, r->term);
    reset(r, r->term);
    r->lead = r->id;
    r->state = RR_STATE_LEADER;
    struct progress *own = tracker_find(&r->tracker, r->id);
    RR_ASSERT_SAYS(own != NULL, "node % becomes leader of term % and is no member", r->id, r->term);
    progress_become_replicate(own);
    own->recent_active = true;
    /* There may be conf changes in the log that are not applied: to be sure, refuse new ones until
     * all that is there now is applied. */
    r->pending_conf_index = raft_log_last_index(&r->log);
    raft_append_empty_entry(r);
    EVENT(&r->events, BECAME_LEADER, r->id, r->term);
}

bool raft_is_promotable(const struct raft *r)
{
    const struct progress *own = tracker_find(&r->tracker, r->id);
    return own && !own->is_learner && !r->log.unstable.snapshot;
}

/* ---- time ---------------------------------------------------------------- */

static void tick_election(struct raft *r)
{
    r->election_elapsed++;
    if (raft_is_promotable(r) && r->election_elapsed >= r->randomized_election_timeout) {
        r->election_elapsed = 0;
        raft_hup(r, r->pre_vote ? CAMPAIGN_PRE_ELECTION : CAMPAIGN_ELECTION);
    }
}

static void tick_heartbeat(struct raft *r)
{
    r->heartbeat_elapsed++;
    r->election_elapsed++;
    if (r->election_elapsed >= r->election_timeout) {
        r->election_elapsed = 0;
        if (r->check_quorum)
            raft_check_quorum(r);
        /* A transfer that took this long is given up: proposals are accepted again. */
        if (r->state == RR_STATE_LEADER)
            raft_abort_leader_transfer(r);
    }
    if (r->state != RR_STATE_LEADER)
        return;
    if (r->heartbeat_elapsed >= r->heartbeat_timeout) {
        r->heartbeat_elapsed = 0;
        raft_broadcast_heartbeat(r);
    }
}

void raft_tick(struct raft *r)
{
    if (r->state == RR_STATE_LEADER)
        tick_heartbeat(r);
    else
        tick_election(r);
}

void raft_check(const struct raft *r)
{
    tracker_check(&r->tracker);
    raft_log_check(&r->log);
    RR_ASSERT(r->state != RR_STATE_LEADER || r->lead == r->id);
    RR_ASSERT(r->state != RR_STATE_CANDIDATE || r->vote == r->id);
    RR_ASSERT(r->lead_transferee == RR_NONE || r->state == RR_STATE_LEADER);
}
