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

struct entry_id raft_log_last_id(const struct raft_log *log)
{
    struct entry_id id = {.index = raft_log_last_index(log)};
    int err = raft_log_term(log, id.index, &id.term);
    RR_ASSERT_SAYS(err == 0, "the last index, %, has no term: error -%", id.index, (uint64_t)-err);
    return id;
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

bool raft_log_match_term(const struct raft_log *log, struct entry_id id)
{
    uint64_t term;
    return raft_log_term(log, id.index, &term) == 0 && term == id.term;
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

bool raft_log_maybe_append(struct raft_log *log, const struct rr_message *message,
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

void raft_log_commit_to(struct raft_log *log, uint64_t index)
{
    if (index <= log->committed)
        return;
    RR_ASSERT_SAYS(index <= raft_log_last_index(log),
                   "commit index % lies beyond the last index, %: was the log damaged or lost?",
                   index, raft_log_last_index(log));
    log->committed = index;
}

bool raft_log_maybe_commit(struct raft_log *log, struct entry_id at)
{
    /* Only entries of the own term are committed by counting (thesis 3.6.2); there is no term 0. */
    if (at.term == 0 || at.index <= log->committed || !raft_log_match_term(log, at))
        return false;
    raft_log_commit_to(log, at.index);
    return true;
}

void raft_log_applied_to(struct raft_log *log, uint64_t index, uint64_t size)
{
    RR_ASSERT_SAYS(index >= log->applied && index <= log->committed,
                   "applied index % is out of range, % to %", index, log->applied, log->committed);
    log->applied = index;
    log->applying = rr_max_u64(log->applying, index);
    log->applying_ents_size -= rr_min_u64(log->applying_ents_size, size);
    log->applying_ents_paused = log->applying_ents_size >= log->max_applying_ents_size;
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

/* Entries that are not durable here may be handed out only in sync mode, where the same Ready
 * stores them. */
static uint64_t max_appliable_index(const struct raft_log *log, bool allow_unstable)
{
    if (allow_unstable)
        return log->committed;
    return rr_min_u64(log->committed, log->unstable.offset - 1);
}

bool raft_log_has_next_committed(const struct raft_log *log, bool allow_unstable)
{
    if (log->applying_ents_paused)
        return false;
    /* A pending snapshot must be applied first. */
    if (log->unstable.snapshot)
        return false;
    if (log->pending_apply == log->applying + 1)
        return false;
    return log->applying < max_appliable_index(log, allow_unstable);
}

uint64_t raft_log_next_committed(struct raft_log *log, bool allow_unstable,
                                 struct entry_pieces *out)
{
    *out = (struct entry_pieces){.count = 0};
    if (!raft_log_has_next_committed(log, allow_unstable))
        return 0;
    RR_ASSERT_SAYS(log->applying_ents_size < log->max_applying_ents_size,
                   "% bytes of entries are being applied and the limit is %",
                   log->applying_ents_size, log->max_applying_ents_size);
    uint64_t lo = log->applying + 1;
    uint64_t hi = max_appliable_index(log, allow_unstable) + 1;
    uint64_t max_size = log->max_applying_ents_size - log->applying_ents_size;
    if (RR_LIKELY(lo >= log->unstable.kept)) {
        raft_log_slice_tail(log, lo, hi, max_size, out);
        return unstable_size(&log->unstable, lo, lo + out->count);
    }
    int err = raft_log_slice(log, lo, hi, max_size, out);
    if (err == RR_E_PENDING) {
        log->pending_apply = lo;
        return 0;
    }
    RR_ASSERT_SAYS(err == 0, "committed entries from % to % cannot be read: error -%", lo, hi,
                   (uint64_t)-err);
    uint64_t size = 0;
    for (int i = 0; i < PIECES_MAX; i++)
        size += raft_log_entries_size(out->piece[i].entries, out->piece[i].count);
    return size;
}

void raft_log_accept_applying(struct raft_log *log, uint64_t index, uint64_t size,
                              bool allow_unstable)
{
    RR_ASSERT_SAYS(index > log->applying && index <= log->committed,
                   "applying up to % is out of range, above % up to %", index, log->applying,
                   log->committed);
    log->applying = index;
    log->applying_ents_size += size;
    /* What did not fit now waits for the acknowledgement of what was handed out. */
    log->applying_ents_paused = log->applying_ents_size >= log->max_applying_ents_size ||
                                index < max_appliable_index(log, allow_unstable);
}

uint64_t raft_log_applying_size(const struct raft_log *log, const struct rr_entry *entries,
                                uint32_t count)
{
    uint64_t first = entries[0].index;
    uint64_t last = entries[count - 1].index;
    /* All that is outstanding comes back: its size was counted when it was handed out. */
    if (first == log->applied + 1 && last == log->applying && last - first + 1 == count)
        return log->applying_ents_size;
    return raft_log_entries_size(entries, count);
}

void raft_log_check(const struct raft_log *log)
{
    RR_ASSERT(log->applied <= log->applying);
    RR_ASSERT(log->applying <= log->committed);
    unstable_check(&log->unstable);
    RR_ASSERT_SLOW(log->committed <= raft_log_last_index(log));
}
