/* SPDX-License-Identifier: Apache-2.0
 *
 * A snapshot as a group refers to it: of which index and configuration it is, the group's metadata
 * as of then, and where the state machine's bytes are. Immutable and counted; the count is the loop
 * thread's (recovery: the opening thread's).
 */
#ifndef RR_ENGINE_LOG_SNAPSHOT_H
#define RR_ENGINE_LOG_SNAPSHOT_H

#include "io/snapshot_file.h"

#include <ringraft/types.h>

enum log_snapshot_kind {
    LOG_SNAPSHOT_NONE,   /* of a group that waits for its first one */
    LOG_SNAPSHOT_INLINE, /* small: snapshot.data, and in the log */
    LOG_SNAPSHOT_FILE,   /* in the group's file of this index */
};

struct log_snapshot {
    struct rr_block block;       /* owns everything below */
    struct log_snapshot *next;   /* whoever has it in a list */
    struct rr_snapshot snapshot; /* what the core sees; data: INLINE only */
    enum log_snapshot_kind kind;
    const uint8_t *group_data; /* opaque; NULL: none was recorded */
    uint32_t group_data_size;
    struct snapshot_file_info file; /* of a FILE; all zero: as yet unknown */
};

/* A copy of `from` and all it points to, with one reference, the caller's. NULL: no memory. */
struct log_snapshot *log_snapshot_new(const struct log_snapshot *from);

/* Of the state, as it lies in memory or in the file. */
static inline uint64_t log_snapshot_bytes(const struct log_snapshot *snapshot)
{
    return snapshot->kind == LOG_SNAPSHOT_FILE ? snapshot->file.file_bytes
                                               : snapshot->snapshot.size;
}

static inline void log_snapshot_get(struct log_snapshot *snapshot)
{
    rr_block_get(&snapshot->block, 1);
}

/* NULL is nothing. */
static inline void log_snapshot_put(struct log_snapshot *snapshot)
{
    if (snapshot)
        rr_block_put(&snapshot->block, 1);
}

#endif
