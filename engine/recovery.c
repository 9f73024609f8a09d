/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/recovery.h"

#include "engine/log_rewrite.h"
#include "engine/peers.h"
#include "io/lineage.h"
#include "proto/base.h"
#include "proto/codec.h"

#include <stdlib.h>
#include <string.h>

#define REWRITE_BYTES_MAX (1024u * 1024) /* wal_tail_bytes_max is not more */

static int on_state(void *ctx, const struct wal_state *state)
{
    struct recovery *recovery = ctx;
    struct registry_entry *entry = registry_add_recorded(recovery->registry, state->group);
    struct log_snapshot found = {.kind = LOG_SNAPSHOT_NONE,
                                 .snapshot.metadata = state->metadata,
                                 .group_data = state->group_data,
                                 .group_data_size = state->group_data_size};
    if (state->has_snapshot_data) {
        found.kind = LOG_SNAPSHOT_INLINE;
        found.snapshot.data = state->snapshot_data;
        found.snapshot.size = state->snapshot_size;
    } else if (state->has_snapshot_file) {
        found.kind = LOG_SNAPSHOT_FILE;
    }
    struct log_snapshot *snapshot = log_snapshot_new(&found);
    if (!entry || !snapshot)
        return RR_E_NO_MEMORY;
    log_cache_set_snapshot(&entry->dormant.log, snapshot);
    log_cache_reset(&entry->dormant.log, state->first_index - 1, state->first_prev_term);
    entry->dormant.hard_state = state->hard_state;
    return 0;
}

static int decode_run(struct recovery *recovery, uint32_t count, const uint8_t *bytes,
                      uint32_t size, struct rr_block *block)
{
    if (count > recovery->decoded_cap) {
        struct rr_entry *decoded = realloc(recovery->decoded, count * sizeof(*decoded));
        if (!decoded)
            return RR_E_NO_MEMORY;
        recovery->decoded = decoded;
        recovery->decoded_cap = count;
    }
    return rr_entries_decode(bytes, size, block, recovery->decoded, count) == 0 ? 0 : RR_E_CORRUPT;
}

/* The oldest entries are left to the disk if there are more than may be in memory; but not those of
 * a log that is small enough to be written again: that needs all of it. */
static RR_COLD void keep_within_budget(const struct recovery *recovery)
{
    const struct registry *registry = recovery->registry;
    uint64_t max = recovery->cache_bytes_max;
    bool has_more = true;
    while (has_more && log_memory_bytes(registry->memory) > max - max / 64) {
        struct registry_entry *entry;
        uint32_t at = 0;
        has_more = false;
        while ((entry = id_map_each(&registry->entries, &at))) {
            struct log_cache *log = &entry->dormant.log;
            if (log->cached > log->first || !log_is_small(log, REWRITE_BYTES_MAX))
                has_more |= log_cache_evict_some(log, log->durable + 1);
        }
    }
}

static int on_entries(void *ctx, uint64_t group, uint64_t first_index, uint32_t count,
                      uint64_t commit, const uint8_t *bytes, uint32_t size, struct rr_block *block)
{
    struct recovery *recovery = ctx;
    struct registry_entry *entry = id_map_find(&recovery->registry->entries, group);
    if (!entry)
        return RR_E_CORRUPT;
    struct dormant *dormant = &entry->dormant;
    struct log_cache *log = &dormant->log;
    int rc = decode_run(recovery, count, bytes, size, block);
    if (rc != 0)
        return rc;
    for (uint32_t i = 0; i < count; i++)
        if (recovery->decoded[i].index != first_index + i)
            return RR_E_CORRUPT;
    uint32_t dead =
        first_index < log->first ? (uint32_t)rr_min_u64(log->first - first_index, count) : 0;
    first_index += dead;
    if (first_index > log->last + 1)
        return RR_E_CORRUPT;
    log_cache_truncate(log, first_index);
    dormant->hard_state.commit = rr_max_u64(dormant->hard_state.commit, commit);
    rc = log_cache_append(log, recovery->decoded + dead, count - dead);
    if (rc != 0 || count == dead)
        return rc;
    log_cache_note_durable(log, log->last, log_cache_term(log, log->last));
    if (RR_UNLIKELY(log_memory_bytes(log->memory) > recovery->cache_bytes_max))
        keep_within_budget(recovery);
    return 0;
}

static int on_peer(void *ctx, const struct wal_peer *peer)
{
    return peers_recover(((struct recovery *)ctx)->peers, peer);
}

static int on_boot(void *ctx, uint64_t boot, struct rr_error *error)
{
    return lineage_begin(((struct recovery *)ctx)->lineage, boot, error);
}

struct wal_recovery recovery_handlers(struct recovery *recovery)
{
    return (struct wal_recovery){.ctx = recovery,
                                 .on_state = on_state,
                                 .on_entries = on_entries,
                                 .on_peer = on_peer,
                                 .on_boot = on_boot};
}

static int finish_group(struct dormant *dormant, uint64_t id, const char *dir,
                        struct rr_error *error)
{
    const struct log_cache *log = &dormant->log;
    const struct rr_snapshot_metadata *snapshot = &log->snapshot->snapshot.metadata;
    if (snapshot->index > log->last || snapshot->index + 1 < log->first)
        return rr_fail(
            error, RR_E_CORRUPT,
            "%.300s: group %llu: the snapshot at index %llu does not meet the log [%llu, "
            "%llu]; replace this node by a new one with a new id",
            dir, (unsigned long long)id, (unsigned long long)snapshot->index,
            (unsigned long long)log->first, (unsigned long long)log->last);
    /* A commit is recorded for the whole log in memory; only what was durable is here. Everything
     * above was not acknowledged. */
    uint64_t *commit = &dormant->hard_state.commit;
    *commit = rr_max_u64(rr_min_u64(*commit, log->last), snapshot->index);
    log_cache_check(log);
    return 0;
}

int recovery_finish(struct recovery *recovery, const char *dir, struct rr_error *error)
{
    uint32_t at = 0;
    struct registry_entry *entry;
    int rc = 0;
    while (rc == 0 && (entry = id_map_each(&recovery->registry->entries, &at)))
        rc = finish_group(&entry->dormant, entry->id, dir, error);
    return rc;
}

void recovery_fini(struct recovery *recovery)
{
    free(recovery->decoded);
}
