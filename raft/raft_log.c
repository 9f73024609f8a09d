/* SPDX-License-Identifier: Apache-2.0
 *
 * Hot: no loop over entries but the ones that count encoded sizes and copy.
 */
#include "raft/raft_log.h"

#include "proto/codec.h"

static uint64_t ask_first_index(const struct raft_log *log)
{
    uint64_t index = 0;
    int err = log->storage.ops->first_index(log->storage.ctx, &index);
    RR_ASSERT_SAYS(err == 0, "the storage does not tell its first index: error -%", (uint64_t)-err);
    return index;
}

static uint64_t ask_last_index(const struct raft_log *log)
{
    uint64_t index = 0;
    int err = log->storage.ops->last_index(log->storage.ctx, &index);
    RR_ASSERT_SAYS(err == 0, "the storage does not tell its last index: error -%", (uint64_t)-err);
    return index;
}

void raft_log_init(struct raft_log *log, const struct raft_log_options *options)
{
    *log = (struct raft_log){.storage = options->storage,
                             .max_applying_ents_size = options->max_applying_ents_size};
    uint64_t first = ask_first_index(log);
    uint64_t last = ask_last_index(log);
    RR_ASSERT_SAYS(first > 0 && last + 1 >= first,
                   "the storage begins at index % and ends at index %", first, last);
    unstable_init(&log->unstable, options->outbox, options->events, last + 1);
    log->committed = first - 1;
    log->applying = first - 1;
    log->applied = first - 1;
}

void raft_log_fini(struct raft_log *log)
{
    unstable_fini(&log->unstable);
}

/* ---- positions and terms ------------------------------------------------- */

uint64_t raft_log_first_index(const struct raft_log *log)
{
    uint64_t index;
    return unstable_maybe_first_index(&log->unstable, &index) ? index : ask_first_index(log);
}

int raft_log_storage_term(const struct raft_log *log, uint64_t index, uint64_t *term)
{
    if (index > raft_log_last_index(log))
        return RR_E_UNAVAILABLE;
    RR_ASSERT(index < log->unstable.offset);
    if (log->unstable.snapshot)
        /* A snapshot that is to be stored hides what the storage still has. */
        return unstable_maybe_term(&log->unstable, index, term) ? 0 : RR_E_COMPACTED;
    /* The position before the first is known too: that is where the log was compacted. */
    int err = log->storage.ops->term(log->storage.ctx, index, term);
    RR_ASSERT_SAYS(err == 0 || err == RR_E_COMPACTED || err == RR_E_UNAVAILABLE,
                   "the storage does not tell the term at index %: error -%", index,
                   (uint64_t)-err);
    return err;
}

uint64_t raft_log_term_or_zero(const struct raft_log *log, uint64_t index)
{
    uint64_t term;
    return raft_log_term(log, index, &term) == 0 ? term : 0;
}

bool raft_log_is_up_to_date(const struct raft_log *log, struct entry_id other_last)
{
    struct entry_id own = raft_log_last_id(log);
    return other_last.term > own.term ||
           (other_last.term == own.term && other_last.index >= own.index);
}

struct entry_id raft_log_find_conflict_by_term(const struct raft_log *log, uint64_t index,
                                               uint64_t term)
{
    for (; index > 0; index--) {
        uint64_t own_term;
        if (raft_log_term(log, index, &own_term) != 0)
            return (struct entry_id){.index = index, .term = 0};
        if (own_term <= term)
            return (struct entry_id){.index = index, .term = own_term};
    }
    return (struct entry_id){.index = 0, .term = 0};
}

/* ---- appending and the cursors ------------------------------------------- */

uint64_t raft_log_find_conflict(const struct raft_log *log, const struct rr_entry *entries,
                                uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct entry_id id = {.term = entries[i].term, .index = entries[i].index};
        if (raft_log_match_term(log, id))
            continue;
        if (id.index <= raft_log_last_index(log))
            EVENT(log->unstable.events, FOUND_CONFLICT, id.index,
                  raft_log_term_or_zero(log, id.index), id.term);
        return id.index;
    }
    return 0;
}

void raft_log_append(struct raft_log *log, const struct rr_entry *entries, uint32_t count)
{
    if (count == 0)
        return;
    /* What is committed is never overwritten (leader completeness). */
    RR_ASSERT_SAYS(entries[0].index > log->committed,
                   "an entry at index % would overwrite what is committed up to %",
                   entries[0].index, log->committed);
    unstable_truncate_and_append(&log->unstable, entries, count);
}

bool raft_log_maybe_append_within(struct raft_log *log, const struct rr_message *message,
                                  uint64_t *last_new)
{
    struct entry_id previous = {.term = message->log_term, .index = message->index};
    if (!raft_log_match_term(log, previous))
        return false;
    *last_new = previous.index + message->entry_count;
    uint64_t conflict = raft_log_find_conflict(log, message->entries, message->entry_count);
    if (conflict != 0) {
        RR_ASSERT_SAYS(conflict > log->committed,
                       "an entry at index % conflicts with what is committed up to %", conflict,
                       log->committed);
        uint64_t skip = conflict - (previous.index + 1);
        RR_ASSERT_SAYS(skip <= message->entry_count,
                       "the conflict at index % lies outside of a message of % entries behind %",
                       conflict, message->entry_count, previous.index);
        raft_log_append(log, message->entries + skip, message->entry_count - (uint32_t)skip);
    }
    raft_log_commit_to(log, rr_min_u64(message->commit, *last_new));
    return true;
}

void raft_log_restore(struct raft_log *log, const struct rr_snapshot *snapshot)
{
    EVENT(log->unstable.events, RESTORE_STARTS, event_pointer(log), snapshot->metadata.index,
          snapshot->metadata.term);
    log->committed = snapshot->metadata.index;
    unstable_restore(&log->unstable, snapshot);
}

int raft_log_snapshot(const struct raft_log *log, const struct rr_snapshot **snapshot)
{
    if (log->unstable.snapshot) {
        *snapshot = &log->unstable.snapshot->snapshot;
        return 0;
    }
    return log->storage.ops->snapshot(log->storage.ctx, snapshot);
}

/* ---- committed entries --------------------------------------------------- */

void raft_log_next_stored(struct raft_log *log, uint64_t hi, uint64_t max_size,
                          struct committed_run *out)
{
    uint64_t lo = log->applying + 1;
    struct log_run run = {.count = 0};
    int err = raft_log_read(log, lo, hi, max_size, &run);
    if (err == RR_E_PENDING) {
        log->pending_apply = lo;
        return;
    }
    RR_ASSERT_SAYS(err == 0, "committed entries from % to % cannot be read: error -%", lo, hi,
                   (uint64_t)-err);
    out->entries = run.entries;
    out->count = run.count;
    out->size = raft_log_entries_size(run.entries, run.count);
}

void raft_log_check(const struct raft_log *log)
{
    RR_ASSERT(log->applied <= log->applying);
    RR_ASSERT(log->applying <= log->committed);
    unstable_check(&log->unstable);
    RR_ASSERT_SLOW(log->committed <= raft_log_last_index(log));
}
