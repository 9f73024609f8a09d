/* SPDX-License-Identifier: Apache-2.0
 *
 * A log under test on a simulated machine: a random but repeatable workload in the engine's manner,
 * and a model of what it staged. After any crash, what recovery hands over must be the model's
 * state after some prefix of the workload that holds everything whose write was reported durable.
 */
#ifndef RR_TESTS_WAL_WORLD_H
#define RR_TESTS_WAL_WORLD_H

#include "io/sim/sim.h"
#include "io/wal_impl.h"

#define WORLD_GROUPS      2u
#define WORLD_PEERS       3u
#define WORLD_ENTRIES_MAX 100000u
#define WORLD_OPS_MAX     400000u
#define WORLD_BLOCKS_KEPT 8u
#define WORLD_RUN_MAX     12u

struct world_group {
    uint64_t id;
    uint64_t term, vote;
    uint64_t first, last;
    bool is_stated;
    uint64_t *terms; /* by index */
};

/* What the log holds, as the workload or recovery sees it. */
struct world_model {
    struct world_group groups[WORLD_GROUPS];
    uint64_t peer_boots[WORLD_PEERS];
};

struct world_op {
    uint64_t hash; /* of the model after it */
    uint64_t seq;  /* durable when this is */
};

struct wal_world {
    struct sim *sim;
    struct io *io;
    struct wal *wal;
    struct wal_options options;
    struct world_model model; /* as staged */
    struct world_model recovered;
    struct world_op *ops; /* of this incarnation; ops[0]: as recovered */
    uint32_t op_count;
    uint32_t acked;               /* ops[acked] and all before it were reported durable */
    uint64_t *seqs[WORLD_GROUPS]; /* by index: the write after which the entry is durable */
    uint64_t cut[WORLD_GROUPS];   /* lowest last index since the readers' last turn */
    /* Called in each turn, between staging and flushing; NULL: nobody reads. */
    void (*each_turn)(struct wal_world *world);
    void *reader;
    struct rr_block *kept[WORLD_BLOCKS_KEPT];
    uint32_t kept_at;
    uint32_t turns_left; /* of the workload; then it closes cleanly */
    uint32_t entry_bytes_max;
    uint32_t keep_max;     /* a group with more entries than this is compacted */
    bool ignores_rewrites; /* as an engine whose snapshots are too large */
    bool moves_groups;     /* which cannot take snapshots */
    bool only_group;       /* the second group is idle */
    bool removes_groups;   /* now and then; they begin anew */
    bool takes_in_place;   /* reserve and commit, too */
    bool is_quiet;         /* turns stage nothing */
    int poisoned;
    uint64_t entries_total; /* staged in all incarnations */
    uint64_t refused;       /* turns in which entries were not admitted */
    struct wal_stats stats; /* of the log at the end of the last run */
    struct rr_error error;
};

void world_init(struct wal_world *world, uint64_t seed);
void world_fini(struct wal_world *world);
/* mkdir and wal_create, in "/d". */
int world_create(struct wal_world *world);
/* wal_open; checks what was recovered against the previous incarnation. 0 or wal_open's error. */
int world_open(struct wal_world *world);
/* As many power losses as the simulator knows, and the death of the process. */
#define WORLD_CRASHES (SIM_POWER_LOSS_COUNT + 1)
/* The machine will crash at the n-th I/O from now on; `how` < WORLD_CRASHES. */
void world_crash_at(struct wal_world *world, uint64_t n, uint32_t how);
/* Runs the loop until the workload has ended and the log is closed, or the machine crashed; then
 * frees the log. */
void world_run(struct wal_world *world, uint32_t turns);
/* The machine comes up again after a crash. */
void world_reset(struct wal_world *world);
/* Stages one random operation. */
void world_stage(struct wal_world *world);
/* Stages the group's state, as it is in the model. */
void world_stage_state(struct wal_world *world, struct world_group *group);
/* Every entry's data are these bytes. */
void world_fill(uint8_t *data, uint32_t size, uint64_t group, uint64_t index, uint64_t term);

#endif
