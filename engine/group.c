/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/group.h"

#include "engine/engine_events.h"
#include "proto/base.h"

#include <stdlib.h>
#include <string.h>

/* A Ready's responses may be deliverable at once and make another Ready; a turn follows so many of
 * them before it flushes. */
#define TURN_ROUNDS_MAX 4

/* What was read back of a group's old entries and is kept for those who lag behind. */
#define READ_WINDOW_BYTES_MAX (8ull * 1024 * 1024)

void group_complete(struct rr_group *group, const struct rr_completion *completion)
{
    int rc = apply_complete(&group->apply, completion);
    RR_ASSERT(rc ==
              0); /* an outcome may not be lost: without memory for it the process has to stop */
}

void group_set_conf_state(struct rr_group *group, const struct rr_conf_state *conf_state,
                          uint64_t index)
{
    uint64_t *at = group->conf_ids;
    group->conf_state = *conf_state;
    group->conf_index = index;
    const struct {
        const uint64_t *from;
        const uint64_t **to;
        uint32_t count;
    } lists[] = {
        {conf_state->voters, &group->conf_state.voters, conf_state->voter_count},
        {conf_state->learners, &group->conf_state.learners, conf_state->learner_count},
        {conf_state->voters_outgoing, &group->conf_state.voters_outgoing,
         conf_state->voter_outgoing_count},
        {conf_state->learners_next, &group->conf_state.learners_next,
         conf_state->learner_next_count},
    };
    for (size_t i = 0; i < RR_ARRAY_SIZE(lists); i++) {
        RR_ASSERT(lists[i].count <= CONFIG_PEERS_MAX);
        if (lists[i].count)
            memcpy(at, lists[i].from, lists[i].count * sizeof(*at));
        *lists[i].to = at;
        at += lists[i].count;
    }
}

/* ---- beginning and end --------------------------------------------------- */

static void reach_peers(struct rr_group *group)
{
    struct rr_engine *engine = group->engine;
    transport_limit_silence(engine->transport, group->options.election_ticks * group->tick_ns);
    membership_adopt(group);
}

/* A state machine that may be slow gets a thread of its own, so that it delays no other group. */
static int start_worker(struct rr_group *group)
{
    struct io *io = group->engine->io;
    if (group->options.apply_inline)
        return 0;
    struct io_worker *worker = io->ops->worker_new(io, "apply");
    group->apply.options.worker = worker;
    group->apply.options.is_inline = !worker; /* the outcomes are given all the same */
    return worker ? 0 : RR_E_NO_MEMORY;
}

void group_stop_worker(struct rr_group *group)
{
    struct io *io = group->engine->io;
    apply_start_all(&group->apply);
    if (group->apply.options.worker)
        io->ops->worker_free(group->apply.options.worker);
    group->apply.options.worker = NULL;
}

static void reads_came_back(void *ctx)
{
    struct rr_group *group = ctx;
    engine_touch(group->engine, group);
}

static int start_reader(struct rr_group *group)
{
    struct rr_engine *engine = group->engine;
    struct log_reader_options options = {
        .wal = engine->wal,
        .group = group->options.group_id,
        .bytes_max = rr_min_u64(READ_WINDOW_BYTES_MAX, engine->options.log_cache_bytes / 8),
        .bytes_sum = &engine->log_memory.window_bytes,
        .came_back = reads_came_back,
        .ctx = group};
    group->log.reader = log_reader_new(&options);
    return group->log.reader ? 0 : RR_E_NO_MEMORY;
}

void group_adopt(struct rr_engine *engine, struct command *command)
{
    struct rr_group *group = RR_CONTAINER_OF(command, struct rr_group, open_command);
    group->snapshots.padded_bytes = wal_group_bytes(engine->wal, group->options.group_id);
    group->reads.began_ns = group->leaderless_ns = engine->now_ns;
    int rc = start_worker(group);
    if (rc == 0)
        rc = start_reader(group);
    if (rc == 0)
        rc = engine_add_group(engine, group);
    if (rc == 0)
        reach_peers(group);
    /* Nothing of the core is delivered before this is durable: the log keeps the order. */
    if (rc == 0 && group->must_stage_first_state)
        rc = group_stage_state(group);
    if (rc != 0)
        group_stop(group, rc);
    free(group->shell);
    group->shell = NULL;
}

uint64_t group_patience_ns(const struct rr_group *group)
{
    return 2 * group->options.election_ticks * group->tick_ns;
}

void group_note_lead(struct rr_group *group, uint64_t lead, uint64_t term)
{
    if (group->lead == lead)
        return;
    group->lead = lead;
    group->hashes.alarmed_count = 0;
    group->leaderless_ns = group->engine->now_ns;
    group_fail_unanswered_reads(group);
    engine_event(group->engine, &(struct rr_event){.kind = RR_EVENT_LEADER,
                                                   .group = group->options.group_id,
                                                   .node = lead,
                                                   .term = term,
                                                   .status = group->error});
}

void group_stop(struct rr_group *group, int error)
{
    if (!group->error)
        engine_log(group->engine, ENGINE_LOG_ERROR, "group %llu stops on this node: %s",
                   (unsigned long long)group->options.group_id, rr_err_sentence(error));
    group_halt(group, error);
}

void group_halt(struct rr_group *group, int error)
{
    if (group->error)
        return;
    group->error = error;
    group->role = RR_STATE_FOLLOWER;
    group->status.published_ns = 0;
    rr_raw_node_step_down(group->node);
    proposal_queue_close(&group->queue);
    reads_close(&group->reads);
    group_note_lead(group, RR_NONE, group->staged.term);
    group_fail_all(group, RR_E_CLOSED);
    snapshot_cancel_transfers(group);
    engine_watch_health(group->engine);
}

void group_fail_all(struct rr_group *group, int queued)
{
    struct rr_completion completion = {.status = RR_E_UNKNOWN_OUTCOME};
    while (outcomes_fail_up_to(&group->outcomes, UINT64_MAX, &completion.tag, &completion.index,
                               &completion.term))
        group_complete(group, &completion);
    membership_fail_change(group, 0, UINT64_MAX);
    leadership_fail_transfer(group, RR_E_CLOSED);
    snapshot_requests_fail(group, RR_E_CLOSED);
    group_refuse_queued(group, queued);
    group_fail_reads(group, queued);
}

bool group_owes_nothing(const struct rr_group *group)
{
    return group->outcomes.count == 0 && proposal_queue_count(&group->queue) == 0 &&
           !group->membership.change.is_active && !group->leadership.transfer.is_asked_for &&
           reads_is_quiet(&group->reads) && atomic_load(&group->calls) == 0;
}

bool group_is_quiet(const struct rr_group *group)
{
    return group_owes_nothing(group) && apply_is_idle(&group->apply) && snapshots_are_quiet(group);
}

void group_fini_core(struct rr_group *group)
{
    apply_fini(&group->apply);
    snapshots_fini(group);
    if (group->node)
        rr_raw_node_free(group->node);
    group->node = NULL;
    held_fini(&group->held);
    outcomes_fini(&group->outcomes);
    members_fini(&group->members);
}

void group_fini_shared(struct rr_group *group)
{
    if (group->has_claim)
        memory_release_group(&group->engine->memory, &group->options);
    group->has_claim = false;
    proposal_queue_fini(&group->queue);
    reads_fini(&group->reads);
    free(group->peers);
    group->peers = NULL;
}

void group_free(struct rr_group *group)
{
    group_fini_core(group);
    log_cache_fini(&group->log);
    group_fini_shared(group);
    free(group->shell);
    free(group);
}

/* ---- a turn -------------------------------------------------------------- */

/* Time comes from the clock, not from counting: late turns deliver what is due. After a stall
 * longer than an election timeout only one tick, or this node would campaign against a leader it
 * had no chance to hear. */
static void deliver_ticks(struct rr_group *group, uint64_t now_ns)
{
    uint64_t due = (now_ns - group->last_tick_ns) / group->tick_ns;
    if (RR_LIKELY(due == 0))
        return;
    /* Under leases a late tick may not count against what was heard in the same turn: it promised
     * the leader an election timeout. */
    bool is_bound = group->options.lease_reads && group->role != RR_STATE_LEADER;
    group->last_tick_ns += due * group->tick_ns;
    if (due > (is_bound ? 1 : group->options.election_ticks))
        due = 1;
    /* Who was removed never campaigns; it leads only until somebody else does. */
    if (membership_is_over(&group->membership) && group->role != RR_STATE_LEADER)
        return;
    bool may_campaign = group->role == RR_STATE_LEADER || group_may_campaign(group);
    while (due--) {
        if (RR_LIKELY(may_campaign))
            rr_raw_node_tick(group->node);
        else
            rr_raw_node_tick_quiesced(group->node);
    }
}

static int answer_applied(struct rr_group *group, const struct apply_batch *batch)
{
    if (batch->failure)
        return batch->failure;
    for (uint32_t i = 0; i < batch->entry_count; i++) {
        const struct rr_entry *entry = &batch->entries[i];
        if (RR_LIKELY(entry->type == RR_ENTRY_NORMAL &&
                      entry->index != group->membership.change.index))
            continue;
        int rc = membership_apply(group, entry);
        if (rc != 0)
            return rc;
    }
    group->applied = batch->entries[batch->entry_count - 1].index;
    snapshot_capture(group);
    struct rr_message response = {.type = RR_MSG_STORAGE_APPLY_RESP,
                                  .to = group->engine->options.node_id,
                                  .from = RR_LOCAL_APPLY_THREAD,
                                  .entries = batch->entries,
                                  .entry_count = batch->entry_count};
    return rr_raw_node_step(group->node, &response);
}

static void collect_applied(struct rr_group *group)
{
    struct apply_batch *batch;
    while ((batch = apply_take_done(&group->apply))) {
        int rc = batch->entry_count && !group->error ? answer_applied(group, batch) : 0;
        if (RR_UNLIKELY(batch->takes_hash) && rc == 0 && !group->error)
            group_take_hash(group, group->applied, batch->hash);
        apply_put_back(&group->apply, batch);
        if (rc != 0)
            group_stop(group, rc);
    }
}

/* Old entries were read back: whoever waits for them goes on. What cannot be given back was
 * acknowledged here and is lost: this node must not lead or vote with it. */
static RR_COLD void collect_read(struct rr_group *group)
{
    struct rr_error error;
    struct log_cache *log = &group->log;
    int rc = log_reader_collect(log->reader, &log->index, log->first, &error);
    if (rc == 0)
        rr_raw_node_storage_ready(group->node, 0, UINT64_MAX);
    if (rc != RR_E_CORRUPT)
        return;
    engine_log(group->engine, ENGINE_LOG_ERROR, "%s", error.message);
    group_stop(group, rc);
}

/* Proposals, Readys, and what comes of them at once. */
static void drive(struct rr_group *group, uint64_t now_ns)
{
    group_propose(group, now_ns);
    for (int round = 0; round < TURN_ROUNDS_MAX && !group->error && group_take_ready(group);
         round++) {
        uint64_t completed = group->apply.completed_count;
        collect_applied(group);
        group_release(group);
        /* An inline group's completions may have proposed: that belongs into the same write. */
        if (group->apply.options.is_inline && group->apply.completed_count != completed &&
            !group->error)
            group_propose(group, now_ns);
    }
    group_finish_reads(group);
    snapshot_drop_arrived(group);
    apply_flush(&group->apply);
}

static uint64_t next_deadline(const struct rr_group *group, uint64_t now_ns)
{
    if (rr_raw_node_has_ready(group->node))
        return now_ns;
    if (RR_UNLIKELY(group->closing))
        return group_close_deadline(group, now_ns);
    uint64_t batch_wait_ns = (uint64_t)group->options.batch_wait_max_us * 1000;
    if (group->waiting_since_ns)
        return group->waiting_since_ns + batch_wait_ns;
    if (group->role == RR_STATE_LEADER && !wal_can_write(group->engine->wal, 0))
        return now_ns + batch_wait_ns; /* for what arrives while a write lasts */
    return UINT64_MAX;
}

bool group_rests(const struct rr_group *group)
{
    return !group->is_watched && group->held.count == 0 && !group->closing &&
           (group->error || !rr_raw_node_has_ready(group->node));
}

/* A group that stopped does nothing any more, but it may not stand in the way of others. */
static RR_COLD void turn_stopped(struct rr_group *group)
{
    group_refuse_queued(group, RR_E_CLOSED);
    group_fail_reads(group, RR_E_CLOSED);
    snapshot_wind_down(group);
    bool must_rewrite =
        group->must_rewrite && !group->engine->poisoned && group->error != RR_E_CORRUPT;
    if (must_rewrite && !group->is_large)
        group->is_large = !group_rewrite(group);
    if (must_rewrite && group->is_large)
        group_move_log(group);
    group->must_rewrite = false;
}

uint64_t group_turn(struct rr_group *group, uint64_t now_ns)
{
    proposal_queue_disarm(&group->queue);
    proposal_queue_disarm(&group->reads.queue);
    if (group->engine->poisoned)
        group_stop(group, RR_E_POISONED);
    collect_applied(group);
    if (RR_UNLIKELY(group->log.reader && group->log.reader->has_news) && !group->error)
        collect_read(group);
    if (!group->error) {
        group_mind_disk(group);
        deliver_ticks(group, now_ns);
        membership_turn(group, now_ns);
        leadership_turn(group, now_ns);
        group_release(group);
        group_snapshot_policy(group);
    }
    if (!group->error)
        group_expire_proposals(group, now_ns);
    if (!group->error)
        group_read(group, now_ns);
    if (!group->error)
        drive(group, now_ns);
    if (group->error)
        turn_stopped(group);
    group_publish_status(group, now_ns, false);
    if (group->error)
        return group->closing ? group_close_deadline(group, now_ns) : UINT64_MAX;
    return next_deadline(group, now_ns);
}
