/* SPDX-License-Identifier: Apache-2.0
 *
 * What stays in memory of every live entry, however long the log: its term, run-length coded, and
 * all of it if it is a conf change. So `term` never waits for a disk, a candidate need not read,
 * and a group that opens knows its configuration. Loop thread (recovery: the opening thread). It
 * grows when leaders or configurations change, not with entries.
 */
#ifndef RR_ENGINE_LOG_INDEX_H
#define RR_ENGINE_LOG_INDEX_H

#include <ringraft/raft.h>

struct log_term {
    uint64_t first; /* entries from here on, up to the next one's, … */
    uint64_t term;  /* … have this term */
};

/* All zero: of an empty log. */
struct log_index {
    struct log_term *terms; /* both in ascending order */
    uint32_t term_count;
    uint32_t term_cap;
    struct rr_entry *conf_changes; /* their data is ours; block NULL */
    uint32_t conf_change_count;
    uint32_t conf_change_cap;
    uint64_t last_term; /* of the newest entry; 0: there is none */
};

void log_index_fini(struct log_index *index);
/* Is there anything to note of an entry that is appended? */
static inline bool log_index_is_news(const struct log_index *index, const struct rr_entry *entry)
{
    return entry->term != index->last_term || entry->type != RR_ENTRY_NORMAL;
}
/* RR_E_NO_MEMORY. */
int log_index_note(struct log_index *index, const struct rr_entry *entry);
/* Entries from `from` on, or below `first`, are gone. */
void log_index_truncate(struct log_index *index, uint64_t from);
void log_index_compact(struct log_index *index, uint64_t first);
/* Of a live entry. */
uint64_t log_index_term(const struct log_index *index, uint64_t entry);
/* Is there a conf change in [lo, hi)? */
bool log_index_has_conf_change(const struct log_index *index, uint64_t lo, uint64_t hi);
void log_index_check(const struct log_index *index);

#endif
