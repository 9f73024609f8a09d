/* SPDX-License-Identifier: Apache-2.0
 *
 * A group's state section, and its whole log written again when it is small, so that old segments
 * hold nothing of it any more. Loop thread only. For open groups and for those that are not.
 */
#ifndef RR_ENGINE_LOG_REWRITE_H
#define RR_ENGINE_LOG_REWRITE_H

#include "engine/log_cache.h"
#include "io/wal.h"

/* Stages a state section of the group as of now. */
int log_stage_state(const struct log_cache *log, uint64_t group,
                    const struct rr_hard_state *hard_state, struct wal *wal);
/* Are all entries of the log in memory, and at most `room` encoded bytes? */
bool log_is_small(const struct log_cache *log, uint64_t room);
/* State and entries. RR_E_TOO_LARGE: there are more entries than may be written again; nothing was
 * staged, a snapshot has to come first. */
int log_rewrite(const struct log_cache *log, uint64_t group, const struct rr_hard_state *hard_state,
                struct wal *wal);

#endif
