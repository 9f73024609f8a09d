/* SPDX-License-Identifier: Apache-2.0
 *
 * Keeps the logs of a loop within log_cache_bytes: when they take more, the oldest entries leave
 * memory, a few of each group at a time. First what nobody is known to need soon: applied here, and
 * acknowledged by every follower that keeps up; then whatever is durable, so that a follower that
 * falls behind, or a state machine that sleeps, costs reads from the disk instead of memory.
 */
#ifndef RR_ENGINE_LOG_TRIM_H
#define RR_ENGINE_LOG_TRIM_H

#include "engine/engine_state.h"

/* Do `bytes` more of entries fit into the log's part of memory_bytes_max? With them goes what else
 * a turn stages, into two blocks at most. */
static inline bool logs_have_room(const struct rr_engine *engine, uint64_t bytes)
{
    uint64_t taken = memory_of_log(&engine->log_memory, engine->wal);
    return taken + bytes + 2ull * wal_block_size(engine->wal) <= engine->memory.log_max;
}

static inline bool logs_are_too_large(const struct rr_engine *engine)
{
    return log_memory_bytes(&engine->log_memory) > engine->options.log_cache_bytes ||
           !logs_have_room(engine, engine->options.wal_write_bytes_max);
}

/* Loop thread, not within a call of the core. */
void logs_trim(struct rr_engine *engine);

#endif
