/* SPDX-License-Identifier: Apache-2.0
 *
 * Snapshots, and what they are for: a log that stays bounded. One is taken after snapshot_log_bytes
 * of padded log or snapshot_entries entries, and sooner when the log gets tight. Its
 * state section says what is kept of the log, and is the compaction of log and cache alike:
 * trailing_entries before the snapshot, or else the last quarter, so that a follower that is merely
 * behind needs no snapshot.
 *
 * Failure path: an attempt that failed (the state machine's error, a full disk) is reported in the
 * status and repeated after a second, as long as there is a reason for it.
 */
#include "engine/group.h"
#include "engine/log_rewrite.h"

#include "proto/base.h"

#define RETRY_NS (1000ull * 1000 * 1000)

/* ---- what was taken ------------------------------------------------------ */

/* Who was sent a file and is still about to become what it says goes on from there: of those files
 * the one of the lowest index; UINT64_MAX: none. */
static uint64_t lowest_awaited(struct rr_group *group)
{
    struct group_snapshots *snapshots = &group->snapshots;
    struct rr_progress_status peers[CONFIG_PEERS_MAX];
    uint32_t peer_count =
        snapshots->awaited_count ? rr_raw_node_progress(group->node, peers, CONFIG_PEERS_MAX) : 0;
    uint64_t lowest = UINT64_MAX;
    for (uint32_t i = snapshots->awaited_count; i-- > 0;) {
        struct snapshot_awaited *awaited = &snapshots->awaited[i];
        bool is_needed = false;
        for (uint32_t k = 0; k < peer_count && k < CONFIG_PEERS_MAX; k++)
            is_needed |= peers[k].id == awaited->node && peers[k].match < awaited->index &&
                         transport_peer_is_up(group->engine->transport, awaited->node);
        if (is_needed)
            lowest = rr_min_u64(lowest, awaited->index);
        else
            *awaited = snapshots->awaited[--snapshots->awaited_count];
    }
    return lowest;
}

/* The first entry that stays: also what a node lacks to which an older file is being sent, or was
 * until now. */
static uint64_t first_kept(struct rr_group *group, uint64_t index)
{
    uint64_t trailing = group->options.trailing_entries;
    uint64_t sent = snapshot_streams_lowest_sent(group->engine->streams, group->options.group_id);
    uint64_t first = index + 1;
    if (group->snapshots.keeps_no_trail)
        return first;
    sent = rr_min_u64(sent, lowest_awaited(group));
    if (sent < index)
        first = sent + 1;
    if (trailing)
        first = rr_min_u64(first, index + 1 - rr_min_u64(trailing, index));
    else if (group->snapshots.trail_index)
        first = rr_min_u64(group->snapshots.trail_index, first);
    return rr_max_u64(first, group->log.first);
}

bool snapshot_file_is_lost(const struct rr_group *group)
{
    const struct log_snapshot *snapshot = group->log.snapshot;
    return snapshot->kind == LOG_SNAPSHOT_FILE && snapshot->file.file_bytes == 0;
}

/* What was taken becomes the group's snapshot, and the log before it goes. */
static int adopt(struct rr_group *group, struct log_snapshot *snapshot)
{
    struct log_cache *log = &group->log;
    uint64_t index = snapshot->snapshot.metadata.index;
    uint64_t newest = log->snapshot->snapshot.metadata.index;
    if (index < newest || (index == newest && !snapshot_file_is_lost(group))) {
        log_snapshot_put(snapshot); /* a received one was faster */
        return 0;
    }
    RR_ASSERT(index + 1 >= log->first && index <= group->applied);
    log_cache_set_snapshot(log, snapshot);
    log_cache_compact(log, first_kept(group, index));
    return group_stage_state(group);
}

static RR_COLD void note_failure(struct rr_group *group, int result, const char *why)
{
    struct group_snapshots *snapshots = &group->snapshots;
    if (snapshots->failure != result && result != RR_E_CANCELED) {
        engine_log(group->engine, ENGINE_LOG_WARN,
                   "group %llu: no snapshot was taken: %s; the log is not compacted meanwhile",
                   (unsigned long long)group->options.group_id, why);
        snapshot_tell(group,
                      &(struct rr_event){.snapshot_step = RR_SNAPSHOT_TAKEN, .status = result});
    }
    snapshots->failure = result == RR_E_CANCELED ? 0 : result;
    if (snapshots->failure)
        snapshot_requests_fail_waiting(group, result);
    snapshots->retry_ns = group->engine->now_ns + RETRY_NS;
}

static void finish(struct rr_group *group, uint64_t padded_bytes)
{
    struct group_snapshots *snapshots = &group->snapshots;
    struct rr_error error = snapshots->take.error;
    int rc;
    struct log_snapshot *snapshot = snapshot_take_finish(group, &rc);
    if (rc != 0) {
        note_failure(group, rc, error.message);
        return;
    }
    snapshots->failure = 0;
    const struct rr_event taken = {.snapshot_step = RR_SNAPSHOT_TAKEN,
                                   .index = snapshot->snapshot.metadata.index,
                                   .term = snapshot->snapshot.metadata.term,
                                   .bytes = log_snapshot_bytes(snapshot)};
    rc = adopt(group, snapshot);
    if (rc == 0)
        snapshot_tell(group, &taken);
    if (rc != 0)
        group_stop(group, rc);
    snapshots->padded_bytes = padded_bytes;
    snapshots->trail_index = 0;
    snapshots->keeps_no_trail = false;
}

/* ---- recycling ----------------------------------------------------------- */

bool group_rewrite(struct rr_group *group)
{
    struct wal *wal = group->engine->wal;
    int rc = log_rewrite(&group->log, group->options.group_id, &group->staged, wal);
    if (rc == RR_E_TOO_LARGE)
        return false;
    group->staged_seq = group->snapshots.state_seq = wal_staged_seq(wal);
    if (rc != 0)
        group_stop(group, rc);
    return true;
}

void group_move_log(struct rr_group *group)
{
    struct wal *wal = group->engine->wal;
    if (!wal_wants_move(wal, group->options.group_id))
        return;
    int rc = group_stage_state(group);
    if (rc == 0)
        wal_move_start(wal, group->options.group_id);
    else
        group_stop(group, rc);
}

bool group_drop_trail(struct rr_group *group)
{
    struct log_cache *log = &group->log;
    uint64_t index = log->snapshot->snapshot.metadata.index;
    if (log->first > index)
        return false;
    if (group->snapshots.take.phase != TAKE_IDLE)
        return true;
    log_cache_compact(log, index + 1);
    int rc = group_stage_state(group);
    if (rc != 0)
        group_stop(group, rc);
    return true;
}

/* There is nothing newer to take a snapshot of. When the trail has gone, what else holds the budget
 * is not applied yet, and without a quorum will not be: then it must not keep the log of others
 * from being recycled. */
static void drop_trail_or_move(struct rr_group *group)
{
    if (!group_drop_trail(group) && group->snapshots.take.phase == TAKE_IDLE)
        group_move_log(group);
}

/* ---- when ---------------------------------------------------------------- */

/* How far it is to the next one, in quarters: 4 and more is due. */
static uint64_t quarters(const struct rr_group *group, uint64_t logged)
{
    uint64_t entries = group->apply.submitted_index - group->log.snapshot->snapshot.metadata.index;
    uint64_t by_bytes = logged / (group->options.snapshot_log_bytes / 4);
    uint64_t wanted = group->options.snapshot_entries;
    return wanted ? rr_max_u64(by_bytes, entries * 4 / wanted) : by_bytes;
}

/* Is there a reason to take one? Settles what is kept of the log before it. */
static bool is_due(struct rr_group *group, uint64_t logged, bool wants_rewrite)
{
    struct group_snapshots *snapshots = &group->snapshots;
    uint64_t done = quarters(group, logged);
    if (snapshots->trail_index == 0 && done >= 3)
        snapshots->trail_index = group->log.last + 1;
    snapshots->keeps_no_trail |= wants_rewrite && done < 4;
    bool is_wanted =
        group->must_snapshot || snapshot_file_is_lost(group) || snapshot_requests_wait(group);
    if (is_wanted && done < 3)
        snapshots->trail_index = group->log.first; /* it is not there to compact anything */
    return wants_rewrite || done >= 4 || is_wanted;
}

/* While a received snapshot waits to be durable, the state machine is still behind it. */
static bool has_news(const struct rr_group *group)
{
    uint64_t newest = group->log.snapshot->snapshot.metadata.index;
    uint64_t now = group->apply.submitted_index;
    return now > newest || (now == newest && snapshot_file_is_lost(group));
}

/* Not while one is received: it will be newer, and both could be of the same index. */
static bool may_start(const struct rr_group *group)
{
    return has_news(group) &&
           !snapshot_streams_is_receiving(group->engine->streams, group->options.group_id) &&
           !group->error && group->snapshots.take.phase == TAKE_IDLE &&
           group->snapshots.restore.phase == RESTORE_IDLE &&
           (group->snapshots.failure == 0 || group->engine->now_ns >= group->snapshots.retry_ns);
}

void group_snapshot_policy(struct rr_group *group)
{
    uint64_t padded_bytes = wal_group_bytes(group->engine->wal, group->options.group_id);
    if (group->snapshots.take.phase == TAKE_ENDED)
        finish(group, padded_bytes);
    bool wants_rewrite = group->must_rewrite && !group->error && !group_rewrite(group);
    group->must_rewrite = false;
    if (wants_rewrite && !has_news(group) && !group->error)
        drop_trail_or_move(group);
    bool is_ending = group_is_ending(group);
    if (is_ending) {
        group->snapshots.take.is_canceled = true;
        snapshot_restore_give_up(group);
        snapshot_cancel_transfers(group);
        snapshot_requests_fail(group, RR_E_CLOSED);
    } else if (is_due(group, padded_bytes - group->snapshots.padded_bytes, wants_rewrite) &&
               may_start(group)) {
        snapshot_take_start(group);
    }
    snapshot_take_advance(group);
    snapshot_requests_advance(group);
    snapshot_watch_advance(group, is_ending);
    snapshot_files_sweep(group);
}

/* ---- the end ------------------------------------------------------------- */

void snapshot_wind_down(struct rr_group *group)
{
    snapshot_take_give_up(group);
    snapshot_restore_give_up(group);
    snapshot_requests_advance(group);
    snapshot_watch_advance(group, true);
}

bool snapshots_are_quiet(const struct rr_group *group)
{
    const struct group_snapshots *snapshots = &group->snapshots;
    bool is_restoring =
        snapshots->restore.phase == RESTORE_RUNNING || snapshots->restore.phase == RESTORE_WAITING;
    return snapshots->take.phase == TAKE_IDLE && !is_restoring &&
           snapshots->watch.phase == WATCH_IDLE && snapshots->files.removals == 0 &&
           !snapshots->requests &&
           snapshot_streams_is_idle(group->engine->streams, group->options.group_id);
}

void snapshots_fini(struct rr_group *group)
{
    struct group_snapshots *snapshots = &group->snapshots;
    snapshot_take_fini(group);
    snapshot_restore_fini(group);
    snapshot_watch_fini(group);
    snapshot_drop_arrived(group);
    snapshot_requests_fini(group);
    snapshot_files_fini(&snapshots->files);
}
