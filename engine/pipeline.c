/* SPDX-License-Identifier: Apache-2.0
 *
 * What a Ready asks for: messages to the transport, appends to the WAL, committed entries to the
 * apply stage; and the way back, the responses. Hot.
 *
 * THE ACK RULE. A response in a MsgStorageAppend (an acknowledgement, a vote, the leader's own vote
 * for its entry) says that everything the core had appended by then is durable. All of them go into
 * one first-in-first-out here (hold), with the sequence number of the last WAL write that the group
 * had staged by then, and leave it by one door (group_release), when the contiguous durable_seq has
 * reached that number. The core counts its own log for a quorum, and hands entries out to be
 * applied, only by such a response. So no path can acknowledge anything earlier, and RR_OK means:
 * durable here and on a quorum.
 *
 * An append without entries, snapshot, term or vote is a barrier: it stages nothing, and its
 * responses leave at once if nothing is outstanding. A changed commit alone is never written; the
 * newest one rides in the next section's header.
 */
#include "engine/group.h"
#include "engine/log_rewrite.h"

#include "proto/base.h"
#include "proto/codec.h"

#include <stdlib.h>
#include <string.h>

#define HELD_CAP_FIRST 1024u

int held_init(struct held_responses *held)
{
    memset(held, 0, sizeof(*held));
    held->cap = HELD_CAP_FIRST;
    held->ring = malloc(held->cap * sizeof(*held->ring));
    return held->ring ? 0 : RR_E_NO_MEMORY;
}

static struct held_response *held_at(struct held_responses *held, uint32_t i)
{
    return &held->ring[(held->head + i) & (held->cap - 1)];
}

void held_fini(struct held_responses *held)
{
    for (uint32_t i = 0; held->ring && i < held->count; i++)
        log_snapshot_put(held_at(held, i)->restore);
    free(held->ring);
    held->ring = NULL;
}

static RR_COLD int held_grow(struct held_responses *held)
{
    struct held_response *ring = malloc(2 * held->cap * sizeof(*ring));
    if (!ring)
        return RR_E_NO_MEMORY;
    for (uint32_t i = 0; i < held->count; i++)
        ring[i] = *held_at(held, i);
    free(held->ring);
    held->ring = ring;
    held->cap *= 2;
    held->head = 0;
    return 0;
}

/* ---- staging an append --------------------------------------------------- */

int group_stage_state(struct rr_group *group)
{
    struct wal *wal = group->engine->wal;
    int rc = log_stage_state(&group->log, group->options.group_id, &group->staged, wal);
    group->staged_seq = group->snapshots.state_seq = wal_staged_seq(wal);
    return rc;
}

/* A received snapshot becomes the beginning of the log. */
static void install_snapshot(struct rr_group *group, const struct rr_snapshot *snapshot)
{
    log_cache_set_snapshot(&group->log, snapshot_take_arrived(group, &snapshot->metadata));
    log_cache_reset(&group->log, snapshot->metadata.index, snapshot->metadata.term);
    group->snapshots.trail_index = 0;
}

static int stage_entries(struct rr_group *group, const struct rr_entry *entries, uint32_t count)
{
    struct wal *wal = group->engine->wal;
    if (entries[0].index <= group->log.last)
        log_cache_truncate(&group->log, entries[0].index);
    struct rr_entry *staged = group->engine->scratch->batch;
    while (count) {
        uint32_t n = count < GROUP_BATCH_MAX ? count : GROUP_BATCH_MAX;
        int rc = wal_append_entries(wal, group->options.group_id, entries, n, group->staged.commit,
                                    staged);
        if (rc == 0)
            rc = log_cache_append(&group->log, staged, n);
        if (rc != 0)
            return rc;
        entries += n;
        count -= n;
    }
    group->staged_seq = wal_staged_seq(wal);
    return 0;
}

/* Everything of the append that is not staged yet goes into the WAL: the state first, then the
 * entries. */
static int stage_append(struct rr_group *group, const struct rr_message *append)
{
    bool is_hard_state = append->term || append->vote || append->commit;
    bool must_write = append->snapshot || (is_hard_state && (append->term != group->staged.term ||
                                                             append->vote != group->staged.vote));
    if (is_hard_state)
        group->staged = (struct rr_hard_state){
            .term = append->term, .vote = append->vote, .commit = append->commit};
    if (append->snapshot)
        install_snapshot(group, append->snapshot);
    int rc = must_write ? group_stage_state(group) : 0;
    const struct rr_entry *entries = append->entries;
    uint32_t count = append->entry_count;
    /* A leader's proposals were encoded in place before the core was asked (propose.c). */
    while (count && entries->term == group->placed_term && entries->index <= group->placed_last) {
        RR_ASSERT_SLOW(log_cache_term(&group->log, entries->index) == entries->term);
        entries++;
        count--;
    }
    if (rc == 0 && count)
        rc = stage_entries(group, entries, count);
    return rc;
}

/* ---- holding responses --------------------------------------------------- */

static bool is_small(const struct rr_message *append)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < append->entry_count && bytes < LOG_CACHE_SMALL_WRITE; i++)
        bytes += rr_entry_wire_size(&append->entries[i]);
    return append->entry_count && bytes < LOG_CACHE_SMALL_WRITE;
}

static int hold(struct rr_group *group, const struct rr_message *append)
{
    struct held_responses *held = &group->held;
    for (uint32_t i = 0; i < append->response_count; i++) {
        if (held->count == held->cap && held_grow(held) != 0)
            return RR_E_NO_MEMORY;
        struct held_response *item = held_at(held, held->count++);
        const struct rr_message *response = &append->responses[i];
        RR_ASSERT(response->entry_count == 0 && response->response_count == 0);
        *item = (struct held_response){.seq = group->staged_seq, .message = *response};
        item->message.context = NULL;
        item->message.context_size = 0;
        if (response->snapshot)
            item->snapshot =
                (struct rr_snapshot){.metadata.index = response->snapshot->metadata.index,
                                     .metadata.term = response->snapshot->metadata.term};
        if (append->snapshot && i == 0) {
            item->restore = group->log.snapshot;
            log_snapshot_get(item->restore);
        }
        if (response->type == RR_MSG_STORAGE_APPEND_RESP && is_small(append)) {
            item->small_first = append->entries[0].index;
            item->small_count = append->entry_count;
        }
    }
    return 0;
}

/* ---- releasing responses ------------------------------------------------- */

/* The newest snapshot that is durable and held something back. */
static struct log_snapshot *newest_to_restore(struct held_responses *held, uint64_t durable)
{
    struct log_snapshot *newest = NULL;
    for (uint32_t i = 0; i < held->count && held_at(held, i)->seq <= durable; i++)
        if (held_at(held, i)->restore)
            newest = held_at(held, i)->restore;
    return newest;
}

/* Is the item the state machine's to finish first? Starts that, once the snapshot is durable: of
 * several the newest, which is what the older ones wait for, too. */
static bool waits_for_restore(struct rr_group *group, struct held_response *item, uint64_t durable)
{
    if (RR_LIKELY(!item->restore))
        return false;
    if (group->applied < item->restore->snapshot.metadata.index &&
        !group_restore(group, newest_to_restore(&group->held, durable)))
        return true;
    log_snapshot_put(item->restore);
    item->restore = NULL;
    return false;
}

/* An acknowledgement is dropped if a later one of the same release, to the same peer in
 * the same term, reaches as far. */
static void mark_superseded(struct rr_group *group, uint32_t count)
{
    struct {
        uint64_t to, term, index;
    } newest[CONFIG_PEERS_MAX];
    uint32_t newest_count = 0;
    for (uint32_t i = count; i-- > 0;) {
        struct held_response *item = held_at(&group->held, i);
        const struct rr_message *m = &item->message;
        if (m->type != RR_MSG_APP_RESP || m->reject || m->index == 0)
            continue;
        uint32_t k = 0;
        while (k < newest_count && (newest[k].to != m->to || newest[k].term != m->term))
            k++;
        item->is_superseded = k < newest_count && newest[k].index >= m->index;
        if (k == newest_count && newest_count < CONFIG_PEERS_MAX) {
            newest[newest_count].to = m->to;
            newest[newest_count].term = m->term;
            newest[newest_count++].index = m->index;
        }
    }
}

static void send(struct rr_group *group, const struct rr_message *message)
{
    struct rr_engine *engine = group->engine;
    if (RR_UNLIKELY(message->type == RR_MSG_SNAP)) {
        snapshot_send_message(group, message);
        return;
    }
    int rc = transport_send(engine->transport, group->options.group_id, message);
    engine->messages_sent += rc == 0;
    if (RR_UNLIKELY(message->type == RR_MSG_TIMEOUT_NOW))
        reads_void_lease(&group->reads, message->term);
    if (rc != 0 && message->type == RR_MSG_APP)
        rr_raw_node_report_unreachable(group->node, message->to);
}

static void deliver(struct rr_group *group, struct held_response *item)
{
    struct rr_engine *engine = group->engine;
    struct rr_message *message = &item->message;
    if (message->type == RR_MSG_VOTE_RESP && !message->reject && engine->observer.on_vote_sent)
        engine->observer.on_vote_sent(engine->observer.ctx, group->options.group_id, message->term,
                                      message->to);
    if (message->type == RR_MSG_STORAGE_APPEND_RESP && message->snapshot)
        message->snapshot = &item->snapshot;
    if (message->type == RR_MSG_STORAGE_APPEND_RESP)
        log_cache_note_durable(&group->log, message->index, message->log_term);
    if (item->small_count)
        log_cache_move_small(&group->log, item->small_first, item->small_count);
    if (message->to != engine->options.node_id)
        send(group, message);
    else
        (void)rr_raw_node_step(group->node, message); /* refusals of stale answers are no events */
}

void group_release(struct rr_group *group)
{
    uint64_t durable = wal_durable_seq(group->engine->wal);
    struct held_responses *held = &group->held;
    uint32_t count = 0;
    while (count < held->count && held_at(held, count)->seq <= durable &&
           !waits_for_restore(group, held_at(held, count), durable))
        count++;
    mark_superseded(group, count);
    while (count-- && !group->error) {
        struct held_response item = *held_at(held, 0);
        held->head = (held->head + 1) & (held->cap - 1);
        held->count--;
        if (!item.is_superseded)
            deliver(group, &item);
    }
}

/* ---- the Ready ----------------------------------------------------------- */

/* Leadership ended: what was appended and is not known to be committed may or may not be. */
static void fail_uncommitted(struct rr_group *group)
{
    struct rr_basic_status core;
    rr_raw_node_basic_status(group->node, &core);
    struct rr_completion completion = {.status = RR_E_UNKNOWN_OUTCOME};
    while (outcomes_fail_after(&group->outcomes, core.hard_state.commit, &completion.tag,
                               &completion.index, &completion.term))
        group_complete(group, &completion);
    membership_fail_change(group, core.hard_state.commit + 1, UINT64_MAX);
}

static void note_soft_state(struct rr_group *group, const struct rr_soft_state *soft)
{
    struct rr_engine *engine = group->engine;
    if (soft->raft_state != RR_STATE_LEADER) {
        fail_uncommitted(group);
        snapshot_cancel_sends(group);
    }
    bool is_new_leader = soft->raft_state == RR_STATE_LEADER && group->role != RR_STATE_LEADER;
    group->role = soft->raft_state;
    group->status.published_ns = 0; /* tell readers soon */
    struct rr_basic_status core;
    rr_raw_node_basic_status(group->node, &core);
    group_note_lead(group, soft->lead, core.hard_state.term);
    if (!is_new_leader)
        return;
    engine_log(engine, ENGINE_LOG_INFO, "group %llu: leader in term %llu",
               (unsigned long long)group->options.group_id,
               (unsigned long long)core.hard_state.term);
    if (engine->observer.on_leader)
        engine->observer.on_leader(engine->observer.ctx, group->options.group_id,
                                   core.hard_state.term);
}

static int submit_apply(struct rr_group *group, const struct rr_message *message)
{
    const struct engine_observer *observer = &group->engine->observer;
    for (uint32_t i = 0; observer->on_commit && i < message->entry_count; i++)
        observer->on_commit(observer->ctx, group->options.group_id, message->entries[i].index,
                            message->entries[i].term);
    return apply_entries(&group->apply, &group->outcomes, message->entries, message->entry_count);
}

bool group_take_ready(struct rr_group *group)
{
    if (!rr_raw_node_has_ready(group->node))
        return false;
    struct rr_ready ready;
    rr_raw_node_ready(group->node, &ready);
    if (ready.read_state_count)
        group_take_read_states(group, ready.read_states, ready.read_state_count);
    if (ready.soft_state)
        note_soft_state(group, ready.soft_state);
    int rc = 0;
    for (uint32_t i = 0; i < ready.message_count && rc == 0; i++) {
        const struct rr_message *message = &ready.messages[i];
        if (message->type == RR_MSG_STORAGE_APPEND) {
            rc = stage_append(group, message);
            if (rc == 0)
                rc = hold(group, message);
        } else if (message->type == RR_MSG_STORAGE_APPLY) {
            rc = submit_apply(group, message);
        } else {
            send(group, message);
        }
    }
    if (rc != 0)
        group_stop(group, rc);
    return true;
}

void group_take_ready_if_unstaged(struct rr_group *group)
{
    struct rr_basic_status core;
    rr_raw_node_basic_status(group->node, &core);
    if (core.last_index != group->log.last || core.hard_state.term != group->staged.term ||
        core.hard_state.vote != group->staged.vote || core.soft_state.raft_state != group->role)
        group_take_ready(group);
}
