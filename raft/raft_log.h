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
struct entry_id raft_log_last_id(const struct raft_log *log);
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
bool raft_log_match_term(const struct raft_log *log, struct entry_id id);
bool raft_log_is_up_to_date(const struct raft_log *log, struct entry_id other_last);

/* The largest index <= `index` whose term is <= `term`, and its term; (index, 0) where terms are
 * unknown. */
struct entry_id raft_log_find_conflict_by_term(const struct raft_log *log, uint64_t index,
                                               uint64_t term);

/* Appends what a MsgApp carries if it fits behind (message->log_term, message->index); the last new
 * index in
 * `*last_new`. */
bool raft_log_maybe_append(struct raft_log *log, const struct rr_message *message,
                           uint64_t *last_new);

/* The index of the first entry that differs from, or is missing in, the log; 0: none. */
uint64_t raft_log_find_conflict(const struct raft_log *log, const struct rr_entry *entries,
                                uint32_t count);
void raft_log_append(struct raft_log *log, const struct rr_entry *entries, uint32_t count);

void raft_log_commit_to(struct raft_log *log, uint64_t index);
bool raft_log_maybe_commit(struct raft_log *log, struct entry_id at);
void raft_log_applied_to(struct raft_log *log, uint64_t index, uint64_t size);
void raft_log_restore(struct raft_log *log, const struct rr_snapshot *snapshot);

/* [lo, hi) cut to `max_size` encoded bytes, but at least one entry. RR_E_COMPACTED, or
 * RR_E_PENDING. */
int raft_log_slice(const struct raft_log *log, uint64_t lo, uint64_t hi, uint64_t max_size,
                   struct entry_pieces *out);
/* The same, behind what is in `out` already, where all of [lo, hi) lies in the tail, or is kept
 * there. */
void raft_log_slice_tail(const struct raft_log *log, uint64_t lo, uint64_t hi, uint64_t max_size,
                         struct entry_pieces *out);
/* Visits [lo, hi) in pages of at most `page_size` encoded bytes: is there a conf change? */
bool raft_log_has_conf_change(const struct raft_log *log, uint64_t lo, uint64_t hi,
                              uint64_t page_size);
/* The pending snapshot, or the storage's. Borrowed until the storage changes. */
int raft_log_snapshot(const struct raft_log *log, const struct rr_snapshot **snapshot);

/* Committed entries to be handed out, and their encoded size; `allow_unstable`: also those that
 * are not durable here yet. */
bool raft_log_has_next_committed(const struct raft_log *log, bool allow_unstable);
uint64_t raft_log_next_committed(struct raft_log *log, bool allow_unstable,
                                 struct entry_pieces *out);
/* Entries up to `index`, of `size` encoded bytes, were handed out. */
void raft_log_accept_applying(struct raft_log *log, uint64_t index, uint64_t size,
                              bool allow_unstable);

/* The encoded size of entries that were handed out and are applied now. */
uint64_t raft_log_applying_size(const struct raft_log *log, const struct rr_entry *entries,
                                uint32_t count);

/* Encoded bytes, as all size limits but those on payload count them. */
uint64_t raft_log_entries_size(const struct rr_entry *entries, uint32_t count);
/* How many entries from the front fit into `max_size` encoded bytes; at least one, if there is one.
 */
uint32_t raft_log_limit_size(const struct rr_entry *entries, uint32_t count, uint64_t max_size);
uint64_t raft_log_payload_size(const struct rr_entry *entries, uint32_t count);

void raft_log_check(const struct raft_log *log);

#endif
