/* SPDX-License-Identifier: Apache-2.0
 *
 * The data directory's identity: cluster, node and instance id, format, feature
 * level and number of loops, in one checksummed file `identity`, published by write, fsync, rename,
 * sync_dir; and the lock that keeps a second process out. Blocking; called once when an engine
 * opens.
 */
#ifndef RR_IO_IDENTITY_H
#define RR_IO_IDENTITY_H

#include "io/io.h"

#include <ringraft/error.h>

struct identity {
    uint64_t cluster;
    uint64_t node;
    uint64_t instance; /* random at creation, never 0 */
    uint32_t format;
    uint32_t feature_level; /* on disk: what the directory needs */
    uint32_t loop_count;
};
#define IDENTITY_FORMAT 1u
/* What this build understands of the wire and of a directory. 1: the first build. 2: addresses,
 * state hashes and snapshot files between nodes, membership changes by their entries. 3: nodes
 * prove their past to each other (lineage.h). Nodes of different levels work together by the lower
 * one. */
#define IDENTITY_FEATURE_LEVEL 3u
/* What a build must understand to open a directory: this level for new ones, and for those whose
 * cluster has it (engine/directory_level.h); older builds refuse it. 3: the log's MOVED sections.
 */
#define IDENTITY_DIRECTORY_LEVEL 3u
/* At least this much, once this build has opened it. */
#define IDENTITY_DIRECTORY_LEVEL_MIN 2u

/* Creates the directory if missing and locks it (`lock` file). RR_E_LOCKED names the directory. On
 * success *lock_fd stays open. */
int identity_lock(struct io *io, const char *dir, int *lock_fd, struct rr_error *error);
/* 0; RR_E_NOT_FOUND (no identity: an empty or half-created directory); RR_E_CORRUPT, RR_E_VERSION.
 */
int identity_read(struct io *io, const char *dir, struct identity *identity,
                  struct rr_error *error);
/* The last step of creation: once it is durable the directory holds a node. */
int identity_write(struct io *io, const char *dir, const struct identity *identity,
                   struct rr_error *error);
/* RR_E_IDENTITY with both values named when cluster, node or loop count differ from what was asked
 * for. */
int identity_check(const struct identity *found, const struct identity *asked, const char *dir,
                   struct rr_error *error);

#endif
