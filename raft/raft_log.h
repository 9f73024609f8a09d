/* SPDX-License-Identifier: Apache-2.0
 *
 * The log as Raft sees it: what the storage holds, then the unstable tail, and three cursors:
 *
 *      first … applied … applying … committed … last
 *
 * applied: the state machine has confirmed it; applying: handed out to be applied; committed: known
 * to be on a quorum. Hot: appended to and read per message.
 */
#ifndef RR_RAFT_RAFT_LOG_H
#define RR_RAFT_RAFT_LOG_H

#include "raft/unstable.h"

/* The position of an entry: the same pair is the same entry on every node (log matching). */
struct entry_id {
    uint64_t term;
    uint64_t index;
};

struct raft_log {
    struct rr_storage storage;
    struct unstable unstable;
    uint64_t committed; /* never decreases while running */
    uint64_t applying;  /* applied <= applying <= committed */
    uint64_t applied;
    uint64_t max_applying_ents_size; /* encoded bytes handed out to be applied and not confirmed */
    uint64_t applying_ents_size;
    uint64_t pending_apply; /* the storage answered "pending" for this index; 0: none. Nothing is
                               handed out while it is applying + 1 */
    bool applying_ents_paused;
};

struct raft_log_options {
    struct rr_storage storage;
    struct outbox *outbox;
    const struct event_sink *events;
    uint64_t max_applying_ents_size;
};

void raft_log_init(struct raft_log *log, const struct raft_log_options *options);
void raft_log_fini(struct raft_log *log);

uint64_t raft_log_first_index(const struct raft_log *log);
/* What is not unstable is the storage's, so the end is known without asking it. */
static inline uint64_t raft_log_last_index(const struct raft_log *log)
{
    return unstable_end(&log->unstable) - 1;
}
int raft_log_storage_term(const struct raft_log *log, uint64_t index, uint64_t *term);
/* RR_E_COMPACTED or RR_E_UNAVAILABLE outside [first - 1, last]. */
static inline int raft_log_term(const struct raft_log *log, uint64_t index, uint64_t *term)
{
    const struct unstable *u = &log->unstable;
    if (index - u->offset < u->count) {
        *term = unstable_at(u, index)->term;
        return 0;
    }
    if (index + 1 == u->offset && u->stable_term != 0) {
        *term = u->stable_term;
        return 0;
    }
    return raft_log_storage_term(log, index, term);
}
/* 0 outside. */
uint64_t raft_log_term_or_zero(const struct raft_log *log, uint64_t index);
static inline bool raft_log_match_term(const struct raft_log *log, struct entry_id id)
{
    uint64_t term;
    return raft_log_term(log, id.index, &term) == 0 && term == id.term;
}
static inline struct entry_id raft_log_last_id(const struct raft_log *log)
{
    struct entry_id id = {.index = raft_log_last_index(log)};
    int err = raft_log_term(log, id.index, &id.term);
    RR_ASSERT_SAYS(err == 0, "the last index, %, has no term: error -%", id.index, (uint64_t)-err);
    return id;
}
bool raft_log_is_up_to_date(const struct raft_log *log, struct entry_id other_last);

/* The largest index <= `index` whose term is <= `term`, and its term; (index, 0) where terms are
 * unknown. */
struct entry_id raft_log_find_conflict_by_term(const struct raft_log *log, uint64_t index,
                                               uint64_t term);

void raft_log_append(struct raft_log *log, const struct rr_entry *entries, uint32_t count);

/* The index of the first entry that differs from, or is missing in, the log; 0: none. */
uint64_t raft_log_find_conflict(const struct raft_log *log, const struct rr_entry *entries,
                                uint32_t count);

static inline void raft_log_commit_to(struct raft_log *log, uint64_t index)
{
    if (index <= log->committed)
        return;
    RR_ASSERT_SAYS(index <= raft_log_last_index(log),
                   "commit index % lies beyond the last index, %: was the log damaged or lost?",
                   index, raft_log_last_index(log));
    log->committed = index;
}

/* Does what a MsgApp carries go on right behind the last entry, the term of which is at hand? */
static inline bool raft_log_goes_on(const struct raft_log *log, const struct rr_message *message)
{
    return message->index == raft_log_last_index(log) && message->log_term != 0 &&
           message->log_term == unstable_last_term(&log->unstable) &&
           (message->entry_count == 0 || message->entries[0].index == message->index + 1);
}

bool raft_log_maybe_append_within(struct raft_log *log, const struct rr_message *message,
                                  uint64_t *last_new);
/* Appends what a MsgApp carries if it fits behind (message->log_term, message->index); the last new
 * index in `*last_new`. */
static inline bool raft_log_maybe_append(struct raft_log *log, const struct rr_message *message,
                                         uint64_t *last_new)
{
    if (RR_UNLIKELY(!raft_log_goes_on(log, message)))
        return raft_log_maybe_append_within(log, message, last_new);
    if (message->entry_count > 0)
        unstable_append(&log->unstable, message->entries, message->entry_count);
    *last_new = message->index + message->entry_count;
    raft_log_commit_to(log, rr_min_u64(message->commit, *last_new));
    return true;
}

static inline bool raft_log_maybe_commit(struct raft_log *log, struct entry_id at)
{
    /* Only entries of the own term are committed by counting (thesis 3.6.2); there is no term 0. */
    if (at.term == 0 || at.index <= log->committed || !raft_log_match_term(log, at))
        return false;
    raft_log_commit_to(log, at.index);
    return true;
}

static inline void raft_log_applied_to(struct raft_log *log, uint64_t index, uint64_t size)
{
    RR_ASSERT_SAYS(index >= log->applied && index <= log->committed,
                   "applied index % is out of range, % to %", index, log->applied, log->committed);
    log->applied = index;
    log->applying = rr_max_u64(log->applying, index);
    log->applying_ents_size -= rr_min_u64(log->applying_ents_size, size);
    log->applying_ents_paused = log->applying_ents_size >= log->max_applying_ents_size;
}
void raft_log_restore(struct raft_log *log, const struct rr_snapshot *snapshot);

/* [lo, hi) cut to `max_size` encoded bytes, but at least one entry. RR_E_COMPACTED, or
 * RR_E_PENDING. */
int raft_log_slice(const struct raft_log *log, uint64_t lo, uint64_t hi, uint64_t max_size,
                   struct entry_pieces *out);
/* The same as one run that can be handed out; of `out`, entries and count are set. */
int raft_log_read_stored(const struct raft_log *log, uint64_t lo, uint64_t hi, uint64_t max_size,
                         struct log_run *out);
static inline int raft_log_read(const struct raft_log *log, uint64_t lo, uint64_t hi,
                                uint64_t max_size, struct log_run *out)
{
    const struct unstable *u = &log->unstable;
    if (RR_UNLIKELY(lo < u->offset || u->snapshot))
        return raft_log_read_stored(log, lo, hi, max_size, out);
    uint64_t end = unstable_limit_run(u, lo, hi, max_size);
    out->count = (uint32_t)(end - lo);
    out->entries = unstable_run(u, lo, end);
    return 0;
}

/* Visits [lo, hi) in pages of at most `page_size` encoded bytes: is there a conf change? */
bool raft_log_has_conf_change(const struct raft_log *log, uint64_t lo, uint64_t hi,
                              uint64_t page_size);
/* The pending snapshot, or the storage's. Borrowed until the storage changes. */
int raft_log_snapshot(const struct raft_log *log, const struct rr_snapshot **snapshot);

/* Entries that are not durable here may be handed out only in sync mode, where the same Ready
 * stores them. */
static inline uint64_t raft_log_max_appliable(const struct raft_log *log, bool allow_unstable)
{
    if (allow_unstable)
        return log->committed;
    return rr_min_u64(log->committed, log->unstable.offset - 1);
}

static inline bool raft_log_has_next_committed(const struct raft_log *log, bool allow_unstable)
{
    if (log->applying_ents_paused)
        return false;
    /* A pending snapshot must be applied first. */
    if (log->unstable.snapshot)
        return false;
    if (log->pending_apply == log->applying + 1)
        return false;
    return log->applying < raft_log_max_appliable(log, allow_unstable);
}

/* Committed entries to be handed out; `allow_unstable`: also those that are not durable here yet.
 * Count 0: none. */
struct committed_run {
    const struct rr_entry *entries;
    uint32_t count;
    uint64_t size; /* encoded */
};
void raft_log_next_stored(struct raft_log *log, uint64_t hi, uint64_t max_size,
                          struct committed_run *out);
static inline void raft_log_next_committed(struct raft_log *log, bool allow_unstable,
                                           struct committed_run *out)
{
    out->count = 0;
    if (!raft_log_has_next_committed(log, allow_unstable))
        return;
    RR_ASSERT_SAYS(log->applying_ents_size < log->max_applying_ents_size,
                   "% bytes of entries are being applied and the limit is %",
                   log->applying_ents_size, log->max_applying_ents_size);
    const struct unstable *u = &log->unstable;
    uint64_t lo = log->applying + 1;
    uint64_t hi = raft_log_max_appliable(log, allow_unstable) + 1;
    uint64_t max_size = log->max_applying_ents_size - log->applying_ents_size;
    if (RR_UNLIKELY(lo < u->kept)) {
        raft_log_next_stored(log, hi, max_size, out);
        return;
    }
    hi = unstable_limit_run(u, lo, hi, max_size);
    out->entries = unstable_run(u, lo, hi);
    out->count = (uint32_t)(hi - lo);
    out->size = unstable_size(u, lo, hi);
}

/* Entries up to `index`, of `size` encoded bytes, were handed out. */
static inline void raft_log_accept_applying(struct raft_log *log, uint64_t index, uint64_t size,
                                            bool allow_unstable)
{
    RR_ASSERT_SAYS(index > log->applying && index <= log->committed,
                   "applying up to % is out of range, above % up to %", index, log->applying,
                   log->committed);
    log->applying = index;
    log->applying_ents_size += size;
    /* What did not fit now waits for the acknowledgement of what was handed out. */
    log->applying_ents_paused = log->applying_ents_size >= log->max_applying_ents_size ||
                                index < raft_log_max_appliable(log, allow_unstable);
}

/* Encoded bytes, as all size limits but those on payload count them. */
uint64_t raft_log_entries_size(const struct rr_entry *entries, uint32_t count);
/* The encoded size of entries that were handed out and are applied now. */
static inline uint64_t raft_log_applying_size(const struct raft_log *log,
                                              const struct rr_entry *entries, uint32_t count)
{
    uint64_t first = entries[0].index;
    uint64_t last = entries[count - 1].index;
    /* All that is outstanding comes back: its size was counted when it was handed out. */
    if (first == log->applied + 1 && last == log->applying && last - first + 1 == count)
        return log->applying_ents_size;
    return raft_log_entries_size(entries, count);
}
/* How many entries from the front fit into `max_size` encoded bytes; at least one, if there is one.
 */
uint32_t raft_log_limit_size(const struct rr_entry *entries, uint32_t count, uint64_t max_size);
static inline uint64_t raft_log_payload_size(const struct rr_entry *entries, uint32_t count)
{
    uint64_t size = 0;
    for (uint32_t i = 0; i < count; i++)
        size += entries[i].size;
    return size;
}

void raft_log_check(const struct raft_log *log);

#endif
