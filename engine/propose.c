/* SPDX-License-Identifier: Apache-2.0
 *
 * From the proposal queue into the log. Hot: allocates nothing, one pass over the bytes.
 *
 * The loop knows the term and the next index, so it encodes waiting proposals straight into the
 * WAL's block: the same bytes are written, sent and applied. Then the core is asked; if it refuses,
 * the block's cursor goes back and the proposals stay in the queue.
 *
 * When is the queue cut? When the WAL can take a write now; or a message's worth waits and a
 * follower has room; or the oldest has waited batch_wait_max_us. What arrives while a write is in
 * flight becomes the next batch.
 */
#include "engine/group.h"
#include "engine/log_trim.h"

#include "proto/base.h"
#include "proto/codec.h"
#include "proto/crc32c.h"

#include <string.h>

/* A checksum is taken while the bytes are still in the nearest cache. */
#define CRC_STRIDE    (16u * 1024)
#define ENVELOPE_SIZE 1u

/* What waits for the second write in flight (wal_options.second_write_bytes_min). */
#define SECOND_WRITE_BYTES (64u * 1024)

static struct rr_completion refusal(uint64_t tag, int status)
{
    return (struct rr_completion){.tag = tag, .status = status};
}

void group_refuse_oldest(struct rr_group *group, uint32_t count, int status)
{
    struct proposal_cursor cursor = proposal_queue_begin(&group->queue);
    struct proposal_view view;
    while (count-- && proposal_queue_next(&group->queue, &cursor, &view)) {
        struct rr_completion completion = refusal(view.tag, status);
        /* Given back before it is answered: the answer may make room for the next proposal. */
        proposal_queue_release(&group->queue, cursor);
        if (RR_LIKELY(!view.is_canceled))
            group_complete(group, &completion);
    }
    group_place_deadlines(group);
    apply_flush(&group->apply);
}

void group_refuse_queued(struct rr_group *group, int status)
{
    /* Not those that the answers bring: somebody who tries again at once must not hold the loop. */
    group_refuse_oldest(group, proposal_queue_count(&group->queue), status);
}

/* Those at the head that were canceled leave the queue. */
static RR_COLD void pass_canceled(struct rr_group *group)
{
    struct proposal_cursor cursor = proposal_queue_begin(&group->queue);
    struct proposal_cursor next = cursor;
    struct proposal_view view;
    while (proposal_queue_next(&group->queue, &next, &view) && view.is_canceled)
        cursor = next;
    proposal_queue_release(&group->queue, cursor);
}

/* ---- when ---------------------------------------------------------------- */

static bool follower_has_room(const struct rr_group *group)
{
    struct rr_progress_status progress[CONFIG_PEERS_MAX];
    uint32_t count = rr_raw_node_progress(group->node, progress, CONFIG_PEERS_MAX);
    for (uint32_t i = 0; i < count && i < CONFIG_PEERS_MAX; i++)
        if (progress[i].id != group->engine->options.node_id &&
            progress[i].state == RR_PROGRESS_REPLICATE && !progress[i].is_paused)
            return true;
    return false;
}

static bool is_time_to_cut(struct rr_group *group, uint64_t now_ns)
{
    uint64_t waiting = proposal_queue_bytes(&group->queue);
    if (wal_can_write(group->engine->wal, waiting))
        return true;
    group->is_blocked = waiting >= group->options.max_size_per_msg;
    if (group->is_blocked && follower_has_room(group))
        return true;
    if (group->waiting_since_ns == 0)
        group->waiting_since_ns = now_ns;
    return now_ns - group->waiting_since_ns >= (uint64_t)group->options.batch_wait_max_us * 1000;
}

bool group_may_sleep(struct rr_group *group)
{
    struct wal *wal = group->engine->wal;
    bool is_proposing = group->outcomes.count > 0 || proposal_queue_count(&group->queue) > 0;
    uint64_t worth = 0;
    group->is_watched = true;
    if (!reads_may_sleep(&group->reads))
        return false;
    if (group->is_blocked) /* by something that ends with an event, not with more proposals */
        return true;
    /* Who begins is heard at once; what follows may wait for what the write in flight allows. */
    if (is_proposing && group->role == RR_STATE_LEADER && !wal_can_write(wal, 0))
        worth = wal_can_write(wal, SECOND_WRITE_BYTES) ? SECOND_WRITE_BYTES
                                                       : group->options.max_size_per_msg;
    group->is_watched = worth > 0;
    return proposal_queue_arm(&group->queue, worth);
}

/* May entries be logged? That the disk or the cache is full is told to the proposers only when it
 * lasts longer than an election timeout: until then a snapshot that is being taken, or a segment
 * that is being recycled, may end it. 0: yes; RR_E_PENDING: hold the queue; RR_E_BUSY: refuse what
 * it holds. */
static int admission(struct rr_group *group, uint64_t now_ns)
{
    if (RR_UNLIKELY(membership_is_over(&group->membership)))
        return RR_E_NOT_LEADER;
    if (RR_UNLIKELY(group->leadership.transfer.is_wanted))
        return RR_E_BUSY;
    int rc = wal_admits_proposals(group->engine->wal);
    const struct rr_engine *engine = group->engine;
    if (RR_UNLIKELY(rc == 0 && logs_are_too_large(engine))) {
        logs_trim(group->engine); /* what is not durable stays, and what is sent or applied now */
        rc = logs_are_too_large(engine) ? RR_E_NO_SPACE : 0;
    }
    if (RR_LIKELY(rc == 0)) {
        group->refused_since_ns = 0;
        return 0;
    }
    if (group->refused_since_ns == 0)
        group->refused_since_ns = now_ns;
    bool is_lasting =
        now_ns - group->refused_since_ns > group->options.election_ticks * group->tick_ns;
    return rc == RR_E_NO_SPACE && is_lasting ? RR_E_BUSY : RR_E_PENDING;
}

/* ---- how ----------------------------------------------------------------- */

/* Where the next entry goes, and what it must stay within. */
struct cut {
    struct rr_entry *entries;
    uint64_t *tags;
    uint8_t *start, *at, *end; /* of the reserved part of the log block */
    uint8_t *summed;           /* the checksum covers [start, summed) */
    struct rr_block *block;
    struct proposal_cursor cursor;
    uint64_t next_index;
    uint64_t term;
    uint64_t payload_left; /* of the uncommitted budget */
    bool is_tail_empty;    /* nothing is uncommitted */
    uint32_t count, count_max;
    uint32_t crc;
};

static void sum(struct cut *cut)
{
    cut->crc = crc32c(cut->crc, cut->summed, (size_t)(cut->at - cut->summed));
    cut->summed = cut->at;
}

static void place(struct cut *cut, const struct proposal_view *view)
{
    struct rr_entry *entry = &cut->entries[cut->count];
    *entry = (struct rr_entry){.term = cut->term,
                               .index = cut->next_index + cut->count,
                               .block = cut->block,
                               .size = view->size + ENVELOPE_SIZE,
                               .has = RR_ENTRY_HAS_TERM | RR_ENTRY_HAS_INDEX | RR_ENTRY_HAS_DATA};
    uint8_t *data = rr_entry_encode_head(entry, cut->at);
    data[0] = APPLY_ENVELOPE_USER;
    memcpy(data + ENVELOPE_SIZE, view->first, view->first_size);
    memcpy(data + ENVELOPE_SIZE + view->first_size, view->second, view->size - view->first_size);
    entry->data = data;
    entry->wire_size = (uint32_t)(data + entry->size - cut->at);
    cut->tags[cut->count++] = view->tag;
    cut->at = data + entry->size;
    if (cut->at - cut->summed >= CRC_STRIDE)
        sum(cut);
}

static uint64_t bound_of(uint32_t size)
{
    return (uint64_t)size + ENVELOPE_SIZE + CODEC_ENTRY_HEAD_MAX;
}

/* Encodes proposals until the room, the budget or the queue ends. */
static void place_all(struct rr_group *group, struct cut *cut)
{
    struct proposal_cursor next = cut->cursor;
    struct proposal_view view;
    while (cut->count < cut->count_max && proposal_queue_next(&group->queue, &next, &view)) {
        uint64_t payload = (uint64_t)view.size + ENVELOPE_SIZE;
        if (RR_UNLIKELY(view.is_canceled)) {
            cut->cursor = next;
            continue;
        }
        if (bound_of(view.size) > (uint64_t)(cut->end - cut->at))
            break;
        /* As in the core: the first entry of an empty tail is never too much. */
        if (payload > cut->payload_left && !(cut->is_tail_empty && cut->count == 0))
            break;
        place(cut, &view);
        cut->payload_left -= rr_min_u64(payload, cut->payload_left);
        cut->cursor = next;
    }
    sum(cut);
}

/* The bytes to reserve: all that waits, at most a message's worth, at least the first proposal. 0:
 * nothing is there. */
static uint64_t bytes_to_reserve(const struct rr_group *group, uint64_t bytes_max)
{
    struct proposal_cursor cursor = proposal_queue_begin(&group->queue);
    struct proposal_view first;
    if (!proposal_queue_next(&group->queue, &cursor, &first))
        return 0;
    uint64_t all = proposal_queue_bytes(&group->queue) +
                   (uint64_t)proposal_queue_count(&group->queue) * bound_of(0);
    uint64_t most =
        rr_min_u64(group->options.max_size_per_msg, wal_run_bytes_max(group->engine->wal));
    most = rr_min_u64(most, bytes_max);
    return rr_max_u64(bound_of(first.size), rr_min_u64(all, most));
}

/* The core took them: they are part of the log now, and no longer of the queue. */
static void enter_log(struct rr_group *group, const struct cut *cut, uint64_t commit)
{
    struct wal *wal = group->engine->wal;
    wal_commit_entries(wal, cut->next_index, cut->count, (uint32_t)(cut->at - cut->start), cut->crc,
                       commit);
    group->staged_seq = wal_staged_seq(wal);
    group->staged.commit = commit;
    group->placed_last = cut->next_index + cut->count - 1;
    group->placed_term = cut->term;
    int rc = log_cache_append(&group->log, cut->entries, cut->count);
    outcomes_put(&group->outcomes, cut->next_index, cut->term, cut->tags, cut->count);
    proposal_queue_release(&group->queue, cut->cursor);
    group_place_deadlines(group);
    if (rc != 0)
        group_stop(group, rc);
}

/* One MsgProp. Returns the bytes it takes in the log; 0: the budget, the tags or the queue are at
 * their end. */
static size_t cut_one(struct rr_group *group, uint64_t bytes_max)
{
    struct rr_basic_status core;
    rr_raw_node_basic_status(group->node, &core);
    uint64_t reserve = bytes_to_reserve(group, bytes_max);
    if (core.soft_state.raft_state != RR_STATE_LEADER || reserve == 0)
        return 0;
    uint64_t uncommitted = rr_min_u64(core.uncommitted_size, group->options.max_uncommitted_bytes);
    uint32_t room = outcomes_room(&group->outcomes, core.last_index + 1);
    struct cut cut = {.entries = group->engine->scratch->batch,
                      .tags = group->engine->scratch->tags,
                      .cursor = proposal_queue_begin(&group->queue),
                      .next_index = core.last_index + 1,
                      .term = core.hard_state.term,
                      .payload_left = group->options.max_uncommitted_bytes - uncommitted,
                      .is_tail_empty = uncommitted == 0,
                      .count_max = room < GROUP_BATCH_MAX ? room : GROUP_BATCH_MAX};
    RR_ASSERT(core.last_index == group->log.last && cut.term == group->staged.term);
    struct wal *wal = group->engine->wal;
    int rc = wal_reserve_entries(wal, group->options.group_id, (uint32_t)reserve, &cut.start,
                                 &cut.block);
    if (rc != 0) {
        group_stop(group, rc);
        return 0;
    }
    cut.at = cut.summed = cut.start;
    cut.end = cut.start + reserve;
    place_all(group, &cut);
    if (cut.count == 0 || rr_raw_node_propose_batch(group->node, cut.entries, cut.count) != 0) {
        wal_rollback_entries(wal);
        return 0;
    }
    enter_log(group, &cut, core.hard_state.commit);
    return (size_t)(cut.at - cut.start);
}

void group_propose(struct rr_group *group, uint64_t now_ns)
{
    group->is_blocked = false;
    if (proposal_queue_count(&group->queue) == 0) {
        group->waiting_since_ns = 0;
        group->has_canceled = false;
        return;
    }
    if (RR_UNLIKELY(group->has_canceled))
        pass_canceled(group);
    /* What the core decided before must be staged before: leadership, its first entry. */
    group_take_ready_if_unstaged(group);
    uint64_t left = group->engine->cut_bytes_max; /* what waits may be cut later */
    while (!group->error) {
        int admitted = group->role == RR_STATE_LEADER ? admission(group, now_ns) : RR_E_NOT_LEADER;
        group->is_blocked = admitted == RR_E_PENDING;
        if (admitted != 0 && admitted != RR_E_PENDING)
            group_refuse_queued(group, admitted);
        if (admitted != 0 || !is_time_to_cut(group, now_ns))
            return;
        size_t bytes = cut_one(group, left);
        if (RR_UNLIKELY(group->has_canceled))
            pass_canceled(group);
        group->is_blocked = bytes == 0 && bytes_to_reserve(group, left) != 0;
        group->waiting_since_ns = 0;
        if (bytes == 0 || bytes >= left)
            return;
        left -= bytes;
    }
}
