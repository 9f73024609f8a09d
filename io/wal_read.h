/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading entries back that were durable long ago, without blocking the loop. Loop thread only.
 *
 * A read names an entry; it is answered with a run of entries around it: what one buffer (256 KiB,
 * or one write that is larger) of the segment holds of the group. Few are in flight at a time, the
 * others queue; the segment that is read is not recycled meanwhile. Everything that was checked
 * before it was written is checked again: the writes' headers, their place in the order, the
 * payload's CRC, that the sections are the ones that the index in memory expects.
 *
 * Failure path: a read error, or bytes that are not what was written, is RR_E_CORRUPT with file,
 * offset, sequence and remedy. Nothing that could not be verified is handed out.
 */
#ifndef RR_IO_WAL_READ_H
#define RR_IO_WAL_READ_H

#include "io/wal.h"

/* Owned by its caller until `done` was called or wal_read_forget has returned. */
struct wal_read {
    uint64_t group;
    uint64_t index;      /* wanted: this entry, which is durable and not compacted … */
    uint64_t last_index; /* … and of what follows, what is at hand up to here */
    /* Loop thread, from a completion; may only record. */
    void (*done)(struct wal_read *read);

    /* The answer: 0, RR_E_CORRUPT, RR_E_NO_MEMORY, or RR_E_CANCELED (the loop ends). */
    int err;
    struct rr_error error; /* if RR_E_CORRUPT */
    /* `count` encoded elements from first_index on, the wanted one among them, one behind the
     * other; the caller's reference on the block that holds them and nothing else. */
    uint64_t first_index;
    uint32_t count;
    uint32_t size;
    const uint8_t *bytes;
    struct rr_block *block;

    struct wal_read *next; /* the log's, while it waits */
};

/* The answer comes with `done`, never before this returns. */
void wal_read_start(struct wal *wal, struct wal_read *read);
/* Of a read that was started and whose `done` was not called: it will not be called. */
void wal_read_forget(struct wal *wal, struct wal_read *read);

#endif
