/* SPDX-License-Identifier: Apache-2.0
 *
 * The feature level that the directory needs (io/identity.h) rises when all members of all open
 * groups have builds of that level: until then nothing is written that an older build could not
 * read, so that whoever upgrades a cluster can go back; from then on the log may hold what is new.
 * Loop thread; the file is written by the snapshot worker.
 *
 * Failure path: what cannot be made durable stays as it is, and is tried again after a restart.
 */
#ifndef RR_ENGINE_DIRECTORY_LEVEL_H
#define RR_ENGINE_DIRECTORY_LEVEL_H

#include "io/identity.h"

struct rr_engine;

struct directory_level {
    struct io_job job;
    struct identity next;
    int result;
    bool is_asked; /* the worker has it, or had */
};

/* Once per tick. */
void engine_watch_level(struct rr_engine *engine);

#endif
