/* SPDX-License-Identifier: Apache-2.0
 *
 * One budget for what grows with load: options.memory_bytes_max, cut up when the engine opens:
 *
 *      log         blocks of log bytes, whoever refers to them (cache, writes, sends, apply):
 *                  entries are not taken in while they are at their limit
 *      transport   blocks of frames, sent and received: nothing is lent beyond the limit
 *      snapshots   windows of the transfers that may run at a time
 *      groups      the rest: queues and tables of each group, claimed when it opens; a group that
 *                  does not fit is refused with a sentence
 *
 * Not counted: what the application's state machines take, code, stacks. Claims: any thread; the
 * rest of an engine's memory is the loop's to count.
 */
#ifndef RR_ENGINE_MEMORY_BUDGET_H
#define RR_ENGINE_MEMORY_BUDGET_H

#include "engine/log_cache.h"
#include "io/wal.h"

#include <ringraft/ringraft.h>
#include <stdatomic.h>

struct memory_budget {
    uint64_t all;
    uint64_t log_max;
    uint64_t transport_max;
    uint64_t snapshots_max;
    uint64_t groups_max;
    _Atomic uint64_t groups; /* claimed; <= groups_max */
};

/* Cuts the budget up. RR_E_INVALID: what is fixed leaves nothing for groups. */
int memory_budget_init(struct memory_budget *memory, const struct rr_engine_options *options,
                       struct rr_error *error);

/* What a group with these options takes at most, its share of the log and the transport apart. */
uint64_t memory_of_group(const struct rr_group_options *options);
/* A proposal queue of the default size: 64 MiB, or less where many groups share a budget. */
uint64_t memory_default_queue(const struct memory_budget *memory,
                              const struct rr_engine_options *options);
/* RR_E_NO_MEMORY, with a sentence: it does not fit. */
int memory_claim_group(struct memory_budget *memory, const struct rr_group_options *options,
                       struct rr_error *error);
void memory_release_group(struct memory_budget *memory, const struct rr_group_options *options);

/* Bytes of the log in memory, now. Loop thread. */
static inline uint64_t memory_of_log(const struct log_memory *log, const struct wal *wal)
{
    return wal_block_bytes(wal) + log->shared_bytes;
}

#endif
