/* SPDX-License-Identifier: Apache-2.0
 *
 * Nodes with many groups side by side, in the simulator. Every group has the state machine of
 * tests/sim (a hash chain), so that replicas can be compared.
 */
#ifndef RR_TESTS_GROUPS_WORLD_H
#define RR_TESTS_GROUPS_WORLD_H

#include "engine/engine_state.h"
#include "io/sim/sim.h"
#include "tests/sim/chain_machine.h"

#include <ringraft/raft.h>

#define WORLD_NODES_MAX  3u
#define WORLD_GROUPS_MAX 256u

struct world_group {
    struct rr_group *group; /* NULL: not open */
    struct chain_machine machine;
    uint64_t ok, failed;
    int32_t last_failure;
};

struct world_node {
    uint32_t number;
    struct rr_engine *engine; /* NULL: no process */
    struct world_group groups[WORLD_GROUPS_MAX];
};

struct groups_world {
    struct sim *sim;
    uint32_t node_count;
    uint32_t group_count;
    struct rr_engine_options engine_options;
    struct rr_group_options group_options;
    struct world_node nodes[WORLD_NODES_MAX];
};

void groups_world_init(struct groups_world *world, uint64_t seed, uint32_t node_count,
                       uint32_t group_count);
void groups_world_fini(struct groups_world *world);
/* Starts the process of node `i` (0…) without a group; of all, with all groups. */
void groups_world_start(struct groups_world *world, uint32_t i);
void groups_world_open(struct groups_world *world);
/* Opens group `g` (0…; its id is g + 1) on node `i`. */
int groups_world_try_open(struct groups_world *world, uint32_t i, uint32_t g,
                          struct rr_error *error);
void groups_world_open_group(struct groups_world *world, uint32_t i, uint32_t g);
void groups_world_kill(struct groups_world *world, uint32_t i);
void groups_world_run_ms(struct groups_world *world, uint64_t ms);
struct rr_group_status groups_world_status(const struct groups_world *world, uint32_t i,
                                           uint32_t g);
/* The node that leads the group, waiting for it. */
uint32_t groups_world_leader(struct groups_world *world, uint32_t g);
/* `count` proposals of `size` bytes to the group's leader, all acknowledged when it returns. */
void groups_world_write(struct groups_world *world, uint32_t g, uint32_t count, uint32_t size);
/* Waits until the replicas of every open group stand at one place. */
void groups_world_check_equal(struct groups_world *world);

#endif
