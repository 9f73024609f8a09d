/* SPDX-License-Identifier: Apache-2.0
 *
 * A snapshot file that arrives from another node, byte range by byte range, in order: kept under
 * `<path>.recv` until it is whole, and verified before it gets its name. Blocking; one thread at a
 * time.
 *
 * Happy path: open, resume, write…, publish, close; resume and publish read what is there a slice
 * at a time (RR_E_PENDING: call again), so that whoever closes never waits for all of it. Failure
 * path: what was written and is sound is found again by the next open of the very same file, which
 * cuts it behind its last sound chunk (a power loss may have left holes) and says where to go on.
 * Nothing is installed from a part.
 */
#ifndef RR_IO_SNAPSHOT_PART_H
#define RR_IO_SNAPSHOT_PART_H

#include "io/snapshot_file.h"

struct snapshot_part;

/* Which file is expected. */
struct snapshot_part_options {
    struct io *io;
    const char *path; /* of the file when it is published; copied */
    uint64_t group;
    uint64_t index;
    uint64_t term;
    uint64_t file_bytes;
    uint32_t head_crc;
};

/* RR_E_NO_MEMORY, RR_E_NO_SPACE, RR_E_IO. */
int snapshot_part_open(const struct snapshot_part_options *options, struct snapshot_part **part,
                       struct rr_error *error);
/* Before the first write. `*offset`: how much of it is there and sound. RR_E_PENDING. */
int snapshot_part_resume(struct snapshot_part *part, uint64_t *offset, struct rr_error *error);
/* `offset` is where the last write ended. RR_E_TOO_LARGE: more than the file was to have. */
int snapshot_part_write(struct snapshot_part *part, uint64_t offset, const void *bytes, size_t size,
                        struct rr_error *error);
/* All of it was written: verified whole, durable, under its name; or RR_E_CORRUPT, and of no use
 * any more. RR_E_PENDING. */
int snapshot_part_publish(struct snapshot_part *part, struct rr_error *error);
/* What was not published stays if `keep`. */
void snapshot_part_close(struct snapshot_part *part, bool keep);

#endif
