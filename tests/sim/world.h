/* SPDX-License-Identifier: Apache-2.0
 *
 * One run of the simulation: whole nodes on the machines of a simulated world, clients, faults by a
 * plan, and at the end a world without faults in which everything must come right.
 */
#ifndef RR_TESTS_SIM_WORLD_H
#define RR_TESTS_SIM_WORLD_H

#include "io/sim/sim_random.h"
#include "tests/sim/chain_machine.h"
#include "tests/sim/oracle.h"
#include "tests/sim/plan.h"
#include "tests/sim/readers.h"
#include "tests/sim/workload.h"

struct world;

struct node {
    struct world *world;
    uint32_t number;
    uint32_t incarnation; /* of the process */
    struct io *io;
    struct rr_engine *engine; /* NULL: no process */
    struct rr_group *group;
    struct chain_machine machine;
    uint64_t committed; /* by this process: the newest index that it said */
    uint64_t restart_at;
    bool is_sick; /* a write or sync of its disk fails, or failed */
    bool is_full; /* its disk */
    char dir[16];
    char address[24];
};

struct world_counts {
    uint64_t kills, power_losses, crashes_at_io, cuts, slow_disks, full_disks, disk_errors;
    uint64_t orderly_restarts;
    uint64_t deaths;            /* for whatever reason */
    uint64_t restores;          /* of snapshots: at a start, and from a leader */
    uint64_t segments_recycled; /* as orderly processes report */
};

struct world {
    struct plan plan;
    struct sim *sim;
    struct sim_stream chance; /* of faults */
    struct node nodes[PLAN_NODES_MAX];
    struct rr_peer_address peers[PLAN_NODES_MAX];
    struct oracle oracle;
    struct workload workload;
    struct readers readers;
    struct world_counts counts;
    uint32_t leader; /* the newest that was heard of; 0: none */
    uint64_t leader_term;
    bool is_healed; /* no more faults */
    bool is_verbose;
};

struct world_result {
    struct world_counts counts;
    uint64_t trace;
    uint64_t events;
    uint64_t virtual_ns;
    uint64_t acknowledged;
    uint64_t reads; /* that succeeded; stale ones too */
    uint64_t elections;
};

/* Plays one seed; returns only if all went well. */
void world_play(const struct plan *plan, uint32_t seconds, bool is_verbose,
                struct world_result *result);

/* ---- world.c, for world_faults.c ----------------------------------------- */
void world_say(const struct world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The process is gone: its engine is given up, and it comes back after a while. */
void world_bury(struct world *world, struct node *node);
/* Ends the process in an orderly way: every accepted proposal must be completed, every file closed.
 */
void world_close(struct world *world, struct node *node);
void world_open(struct world *world, struct node *node);

/* ---- world_faults.c ------------------------------------------------------ */
/* Does one thing of the plan's, by chance. */
void faults_strike(struct world *world);
/* Ends everything that was done: links, disks, crashes to come. Processes are started by the world.
 */
void faults_heal(struct world *world);

#endif
