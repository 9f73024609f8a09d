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

static inline bool logs_are_too_large(const struct rr_engine *engine)
{
    return log_memory_bytes(&engine->log_memory) > engine->options.log_cache_bytes ||
           memory_of_log(&engine->log_memory, engine->wal) > engine->memory.log_max;
}

/* Loop thread, not within a call of the core. */
void logs_trim(struct rr_engine *engine);

#endif
