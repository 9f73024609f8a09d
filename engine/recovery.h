/* SPDX-License-Identifier: Apache-2.0
 *
 * Builds what the engine needs from what the log held: each group's log, hard state and snapshot,
 * and the peers' records. Opening thread only.
 *
 * The log hands over the newest state first, then runs of entries without gaps that only truncate
 * each other; what is here is therefore what was staged in the order in which it was staged, up to
 * the last durable write.
 */
#ifndef RR_ENGINE_RECOVERY_H
#define RR_ENGINE_RECOVERY_H

#include "engine/registry.h"

struct lineage;
struct peers;

struct recovery {
    struct peers *peers;
    struct registry *registry;
    struct lineage *lineage;
    uint64_t cache_bytes_max;
    struct rr_entry *decoded; /* scratch for a section's entries */
    uint32_t decoded_cap;
};

/* What wal_open is to call: `recovery` is zero but for its targets and cache_bytes_max. */
struct wal_recovery recovery_handlers(struct recovery *recovery);
/* After wal_open: is what was found a whole? RR_E_CORRUPT with a sentence. */
int recovery_finish(struct recovery *recovery, const char *dir, struct rr_error *error);
void recovery_fini(struct recovery *recovery);

#endif
