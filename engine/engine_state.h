/* SPDX-License-Identifier: Apache-2.0
 *
 * What an engine is made of, for the files of engine/ only. Written while opening by the opening
 * thread, then by the loop thread alone; other threads reach the loop by the command stack and by a
 * group's proposal queue.
 */
#ifndef RR_ENGINE_ENGINE_STATE_H
#define RR_ENGINE_ENGINE_STATE_H

#include "engine/engine.h"
#include "engine/memory_budget.h"
#include "engine/directory_level.h"
#include "engine/disk_watch.h"
#include "engine/health.h"
#include "engine/peers.h"
#include "engine/registry.h"
#include "io/identity.h"
#include "io/lineage.h"
#include "io/snapshot_parts.h"
#include "io/transport.h"
#include "io/wal.h"

#include <stdatomic.h>

/* Something another thread wants done on the loop. Owned by the engine once posted. */
struct command {
    struct command *next;
    void (*run)(struct rr_engine *engine, struct command *command);
};

enum engine_phase {
    ENGINE_RUNNING,
    ENGINE_DRAINING, /* no new proposals; the others get their real outcome, until the deadline */
    ENGINE_MARKING,  /* every outcome is given; the log's tail is being proven */
    ENGINE_ENDED,    /* the turn has said so to the backend */
};

struct rr_engine {
    struct io *io;
    bool owns_io;
    struct rr_engine_options options; /* resolved; dir is a copy of ours */
    char *dir;
    int lock_fd;
    int loop_fd; /* of an embedded loop */
    struct identity identity;
    struct directory_level level;
    struct lineage lineage; /* with this boot's nonce */
    uint64_t core_seed;
    struct wal *wal;
    struct transport *transport;
    struct snapshot_streams *streams;
    struct snapshot_parts parts;
    struct io_worker *snapshot_worker; /* all work of snapshot files, in slices */
    struct peers peers;
    struct registry registry;
    struct log_memory log_memory;
    struct memory_budget memory;
    _Atomic(struct command *) commands;
    _Atomic(struct rr_group *) called; /* by other threads, through their proposal queues */

    /* The groups of the loop, by id, and those of them that are to be looked at, oldest first. */
    struct id_map groups;
    struct group_removal *removals; /* that wait for the disk */
    struct rr_group *busy, **busy_end;
    uint64_t cut_bytes_max;  /* what each may cut in this turn; one proposal at least */
    uint64_t tick_origin_ns; /* all ticks lie on grids that begin here */
    uint64_t next_tick_ns;   /* the earliest of any group */
    struct group_scratch *scratch;
    struct engine_observer observer;

    enum engine_phase phase;
    uint64_t close_deadline_ns;
    uint64_t now_ns; /* of this turn */
    int poisoned;    /* a durable write failed: RR_E_POISONED's cause, or 0 */
    struct disk_watch disk;
    struct health health;
    uint64_t messages_sent;
    uint64_t messages_received;
    uint64_t received_bytes; /* of entries, in this turn */
};

/* ---- loop.c -------------------------------------------------------------- */

/* Any thread. */
void engine_post(struct rr_engine *engine, struct command *command);

/* Any thread: the group's queue holds what its loop sleeps for. */
void engine_call(struct rr_engine *engine, struct rr_group *group);
/* The group is looked at in this turn, or the next if this one has passed it. Loop thread. */
void engine_touch(struct rr_engine *engine, struct rr_group *group);
/* A group begins to be the loop's. RR_E_NO_MEMORY. */
int engine_add_group(struct rr_engine *engine, struct rr_group *group);
/* The turn, given to io->ops->start. */
bool loop_turn(void *ctx, uint64_t now_ns, uint64_t *deadline_ns);
/* The transport's handlers. */
int loop_on_message(void *ctx, uint64_t from, uint64_t group, const struct rr_message *message);
void loop_on_peer_down(void *ctx, uint64_t node);
/* A MsgSnap whose file was received and published. RR_E_MALFORMED, or why it is not taken. */
int loop_on_snapshot_file(struct rr_engine *engine, uint64_t from,
                          const struct snapshot_offer *offer);

/* A rare line for humans; cold. */
enum { ENGINE_LOG_INFO = 1, ENGINE_LOG_WARN = 2, ENGINE_LOG_ERROR = 3 };
void engine_log(struct rr_engine *engine, int level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
