/* SPDX-License-Identifier: Apache-2.0
 *
 * Small snapshots, and what they are for: a log that stays bounded. Every snapshot_log_bytes of
 * padded log the apply stage takes a snapshot of the state machine; it is staged, whole, in a
 * `state` section, whose first index is the compaction of log and cache alike. The last quarter
 * before it is kept, so that a follower that is merely behind needs no snapshot.
 *
 * A state machine whose snapshot is larger than 64 KiB is told so once per attempt (log line,
 * status); its log is not compacted, and at the budget of the WAL its proposals become busy.
 */
#include "engine/group.h"
#include "engine/log_rewrite.h"

#include "proto/base.h"
#include "proto/codec.h"

/* ---- between nodes ------------------------------------------------------- */

void snapshot_send_message(struct rr_group *group, const struct rr_message *message)
{
    struct rr_engine *engine = group->engine;
    const struct log_snapshot *snapshot = group->log.snapshot;
    int rc = RR_E_SNAP_OUT_OF_DATE; /* replaced since the core looked: it will ask again */
    /* Who is no member as of a snapshot ignores it: there has to be a newer one. */
    bool is_known = membership_is_in(&snapshot->snapshot.metadata.conf_state, message->to);
    group->must_snapshot |= !is_known;
    if (is_known && snapshot->snapshot.metadata.index == message->snapshot->metadata.index) {
        struct rr_message whole = *message;
        whole.context = snapshot->group_data;
        whole.context_size = snapshot->group_data_size;
        rc = transport_send(engine->transport, group->options.group_id, &whole);
    }
    engine->messages_sent += rc == 0;
    /* What was handed to the connection counts as sent: if it is lost with it, the probe that
     * follows is rejected and it is sent again. */
    rr_raw_node_report_snapshot(group->node, message->to, rc != 0);
}

int snapshot_arrives(struct rr_group *group, const struct rr_message *message)
{
    struct log_snapshot brought = {.kind = LOG_SNAPSHOT_INLINE,
                                   .snapshot = *message->snapshot,
                                   .group_data = message->context,
                                   .group_data_size = message->context_size};
    struct log_snapshot *snapshot = log_snapshot_new(&brought);
    if (!snapshot)
        return RR_E_NO_MEMORY;
    snapshot->next = group->arrived;
    group->arrived = snapshot;
    return 0;
}

struct log_snapshot *snapshot_take_arrived(struct rr_group *group,
                                           const struct rr_snapshot_metadata *metadata)
{
    struct log_snapshot **at = &group->arrived;
    while ((*at)->snapshot.metadata.index != metadata->index ||
           (*at)->snapshot.metadata.term != metadata->term)
        at = &(*at)->next; /* the core has no other source of snapshots: it is here */
    struct log_snapshot *found = *at;
    *at = found->next;
    found->next = NULL;
    return found;
}

void snapshot_drop_arrived(struct rr_group *group)
{
    struct log_snapshot *snapshot;
    while ((snapshot = group->arrived)) {
        group->arrived = snapshot->next;
        log_snapshot_put(snapshot);
    }
}

/* ---- on the apply stage -------------------------------------------------- */

void snapshot_take_now(const struct rr_state_machine *machine, struct snapshot_job *job)
{
    void *context = NULL;
    job->size = 0;
    job->is_too_large = false;
    job->result = machine->snapshot_begin(machine->ctx, &context);
    if (job->result != 0)
        return;
    size_t got = 1;
    while (job->result == 0 && got != 0 && job->size < sizeof(job->data)) {
        got = 0;
        job->result = machine->snapshot_read(machine->ctx, context, job->data + job->size,
                                             sizeof(job->data) - job->size, &got);
        RR_ASSERT(got <= sizeof(job->data) - job->size);
        job->size += (uint32_t)got;
    }
    machine->snapshot_end(machine->ctx, context);
    job->is_too_large = job->size > WAL_INLINE_SNAPSHOT_MAX;
}

int snapshot_restore_now(const struct rr_state_machine *machine, const struct rr_snapshot *snapshot)
{
    void *context = NULL;
    int rc = machine->restore_begin(machine->ctx, &context);
    if (rc != 0)
        return rc;
    if (snapshot->size)
        rc = machine->restore_write(machine->ctx, context, snapshot->data, snapshot->size);
    int end = machine->restore_end(machine->ctx, context, rc == 0);
    return rc ? rc : end;
}

static void take_run(struct io_job *io_job)
{
    struct snapshot_job *job = RR_CONTAINER_OF(io_job, struct snapshot_job, job);
    snapshot_take_now(&job->group->apply.options.state_machine, job);
}

static void take_done(struct io_job *io_job)
{
    struct snapshot_job *job = RR_CONTAINER_OF(io_job, struct snapshot_job, job);
    apply_posted_done(&job->group->apply);
    job->work = SNAPSHOT_TAKEN;
}

static void restore_run(struct io_job *io_job)
{
    struct snapshot_job *job = RR_CONTAINER_OF(io_job, struct snapshot_job, job);
    job->result =
        snapshot_restore_now(&job->group->apply.options.state_machine, &job->restore->snapshot);
}

static void restore_done(struct io_job *io_job)
{
    struct snapshot_job *job = RR_CONTAINER_OF(io_job, struct snapshot_job, job);
    apply_posted_done(&job->group->apply);
    job->work = SNAPSHOT_RESTORED;
}

/* ---- restore ------------------------------------------------------------- */

static void restore_start(struct rr_group *group, struct log_snapshot *snapshot)
{
    struct snapshot_job *job = &group->snapshot;
    uint64_t index = snapshot->snapshot.metadata.index;
    job->job = (struct io_job){.run = restore_run, .done = restore_done};
    job->work = SNAPSHOT_RESTORING;
    job->restore = snapshot;
    log_snapshot_get(snapshot);
    /* Of what was appended here and is covered by the snapshot, nobody can say any more what became
     * of it. */
    struct rr_completion completion = {.status = RR_E_UNKNOWN_OUTCOME};
    while (outcomes_fail_up_to(&group->outcomes, index, &completion.tag, &completion.index,
                               &completion.term))
        group_complete(group, &completion);
    membership_fail_change(group, 0, index);
    apply_flush(&group->apply);
    RR_ASSERT(group->apply.submitted_index < index);
    group->apply.submitted_index = index;
    apply_post(&group->apply, &job->job);
}

bool group_restore(struct rr_group *group, struct log_snapshot *snapshot)
{
    struct snapshot_job *job = &group->snapshot;
    if (job->work == SNAPSHOT_IDLE)
        restore_start(group, snapshot);
    if (job->work != SNAPSHOT_RESTORED)
        return false;
    RR_ASSERT(job->restore == snapshot);
    job->work = SNAPSHOT_IDLE;
    if (job->result != 0) {
        group_stop(group, RR_E_STATE_MACHINE);
    } else {
        group->applied = snapshot->snapshot.metadata.index;
        int rc = membership_restore(group, snapshot);
        if (rc != 0)
            group_stop(group, rc);
    }
    job->restore = NULL;
    log_snapshot_put(snapshot);
    return !group->error;
}

/* ---- taking -------------------------------------------------------------- */

void snapshot_capture(struct rr_group *group)
{
    struct snapshot_job *job = &group->snapshot;
    if (RR_LIKELY(job->index != group->applied || job->captured))
        return;
    uint8_t book[MEMBERS_ENCODED_MAX];
    struct log_snapshot now = {
        .group_data = book,
        .group_data_size = (uint32_t)(members_encode(&group->members, book) - book),
        .snapshot.metadata = {.conf_state = group->conf_state,
                              .index = job->index,
                              .term = log_cache_term(&group->log, job->index)}};
    job->captured = log_snapshot_new(&now);
    if (!job->captured)
        group_stop(group, RR_E_NO_MEMORY);
}

static void take_start(struct rr_group *group)
{
    struct snapshot_job *job = &group->snapshot;
    job->job = (struct io_job){.run = take_run, .done = take_done};
    job->work = SNAPSHOT_TAKING;
    group->must_snapshot = false;
    job->index = group->apply.submitted_index;
    snapshot_capture(group);
    apply_post(&group->apply, &job->job);
}

/* What was taken becomes the group's snapshot, and the log before it goes. */
static int adopt_snapshot(struct rr_group *group, const struct snapshot_job *job)
{
    struct log_cache *log = &group->log;
    if (job->index <= log->snapshot->snapshot.metadata.index)
        return 0; /* a received one was faster */
    RR_ASSERT(job->captured && job->index >= log->first && job->index <= group->applied);
    struct log_snapshot taken = *job->captured;
    taken.kind = LOG_SNAPSHOT_INLINE;
    taken.snapshot.data = job->data;
    taken.snapshot.size = job->size;
    struct log_snapshot *snapshot = log_snapshot_new(&taken);
    if (!snapshot)
        return RR_E_NO_MEMORY;
    log_cache_set_snapshot(log, snapshot);
    uint64_t first =
        group->trail_index ? rr_min_u64(group->trail_index, job->index + 1) : job->index + 1;
    log_cache_compact(log, rr_max_u64(first, log->first));
    return group_stage_state(group);
}

static void take_finish(struct rr_group *group, uint64_t padded_bytes)
{
    struct snapshot_job *job = &group->snapshot;
    job->work = SNAPSHOT_IDLE;
    group->is_snapshot_too_large = job->result == 0 && job->is_too_large;
    if (job->result != 0)
        engine_log(group->engine, ENGINE_LOG_WARN,
                   "group %llu: the state machine gave no snapshot (%d)",
                   (unsigned long long)group->options.group_id, job->result);
    else if (job->is_too_large)
        engine_log(
            group->engine, ENGINE_LOG_WARN,
            "group %llu: the state machine's snapshot is larger than %u bytes; the log is not "
            "compacted, and proposals will be refused at the log's budget",
            (unsigned long long)group->options.group_id, WAL_INLINE_SNAPSHOT_MAX);
    else {
        int rc = adopt_snapshot(group, job);
        if (rc != 0)
            group_stop(group, rc);
    }
    log_snapshot_put(job->captured);
    job->captured = NULL;
    job->index = 0;
    group->snapshot_padded_bytes = padded_bytes;
    group->trail_index = 0;
}

/* ---- recycling ----------------------------------------------------------- */

bool group_rewrite(struct rr_group *group)
{
    struct wal *wal = group->engine->wal;
    int rc = log_rewrite(&group->log, group->options.group_id, &group->staged, wal);
    if (rc == RR_E_TOO_LARGE)
        return false;
    group->staged_seq = wal_staged_seq(wal);
    if (rc != 0)
        group_stop(group, rc);
    return true;
}

/* The entries behind the snapshot are kept for slow followers as a courtesy. When they are what
 * holds the budget, and there is nothing newer to take a snapshot of, nothing else would ever end
 * it: no entry could be proposed. */
static void drop_trail(struct rr_group *group)
{
    struct log_cache *log = &group->log;
    uint64_t index = log->snapshot->snapshot.metadata.index;
    if (log->first > index || group->snapshot.work != SNAPSHOT_IDLE)
        return;
    log_cache_compact(log, index + 1);
    int rc = group_stage_state(group);
    if (rc != 0)
        group_stop(group, rc);
}

void group_snapshot_policy(struct rr_group *group)
{
    struct wal *wal = group->engine->wal;
    struct wal_stats stats;
    wal_stats(wal, &stats);
    if (group->snapshot.work == SNAPSHOT_TAKEN)
        take_finish(group, stats.padded_bytes);
    bool wants_rewrite = group->must_rewrite && !group->error && !group_rewrite(group);
    group->must_rewrite = false;
    uint64_t logged = stats.padded_bytes - group->snapshot_padded_bytes;
    if (group->trail_index == 0 && logged >= group->options.snapshot_log_bytes / 4 * 3)
        group->trail_index = group->log.last + 1;
    /* A cache that is getting full must not wait for the log: proposals would become busy. */
    uint64_t cache_bytes_max = group->engine->options.log_cache_bytes / 4 * 3;
    bool is_tight = group->log.memory->block_bytes >= cache_bytes_max && logged > 0 &&
                    !group->is_snapshot_too_large;
    if (is_tight)
        group->trail_index = 0;
    bool is_due = is_tight || logged >= group->options.snapshot_log_bytes;
    if (wants_rewrite && !is_due)
        group->trail_index = 0; /* only what lies behind the snapshot may stay */
    else if (group->must_snapshot && !is_due)
        group->trail_index = group->log.first; /* it is not there to compact anything */
    is_due |= group->must_snapshot;
    bool is_worth = group->apply.submitted_index > group->log.snapshot->snapshot.metadata.index;
    if (wants_rewrite && !is_worth && !group->error)
        drop_trail(group);
    /* While a received snapshot waits to be durable, the state machine is still behind it. */
    if ((is_due || (wants_rewrite && !group->is_snapshot_too_large)) && is_worth && !group->error &&
        group->snapshot.work == SNAPSHOT_IDLE)
        take_start(group);
}
