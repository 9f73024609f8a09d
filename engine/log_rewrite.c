/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/log_rewrite.h"

#include "proto/base.h"
#include "proto/codec.h"

#include <stdlib.h>

int log_stage_state(const struct log_cache *log, uint64_t group,
                    const struct rr_hard_state *hard_state, struct wal *wal)
{
    const struct rr_snapshot *snapshot = &log->snapshot->snapshot;
    struct wal_state state = {.group = group,
                              .hard_state = *hard_state,
                              .metadata = snapshot->metadata,
                              .first_index = log->first,
                              .first_prev_term = log->prev_term,
                              .last_index = log->last,
                              .last_term = log_cache_term(log, log->last),
                              .snapshot_data = snapshot->data,
                              .snapshot_size = (uint32_t)snapshot->size,
                              .has_snapshot_data = log->snapshot->kind == LOG_SNAPSHOT_INLINE,
                              .has_snapshot_file = log->snapshot->kind == LOG_SNAPSHOT_FILE,
                              .group_data = log->snapshot->group_data,
                              .group_data_size = log->snapshot->group_data_size};
    return wal_append_state(wal, &state);
}

bool log_is_small(const struct log_cache *log, uint64_t room)
{
    uint64_t bytes = log->cached > log->first ? UINT64_MAX : 0;
    for (uint64_t index = log->first; index <= log->last && bytes <= room; index++)
        bytes += rr_entry_wire_size(log_cache_at(log, index));
    return bytes <= room;
}

int log_rewrite(const struct log_cache *log, uint64_t group, const struct rr_hard_state *hard_state,
                struct wal *wal)
{
    if (!log_is_small(log, wal_tail_bytes_max(wal)))
        return RR_E_TOO_LARGE;
    uint32_t count = (uint32_t)(log->last + 1 - log->first);
    if (count == 0)
        return log_stage_state(log, group, hard_state, wal);
    struct rr_entry *entries = malloc(count * sizeof(*entries));
    int rc = entries ? log_stage_state(log, group, hard_state, wal) : RR_E_NO_MEMORY;
    for (uint32_t i = 0; rc == 0 && i < count; i++)
        entries[i] = *log_cache_at(log, log->first + i);
    /* The cache keeps its own copies of the same bytes; the new places are of no use to it. */
    if (rc == 0)
        rc = wal_rewrite_tail(wal, group, entries, count, hard_state->commit, entries);
    free(entries);
    return rc;
}
