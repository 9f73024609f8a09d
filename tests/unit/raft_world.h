/* SPDX-License-Identifier: Apache-2.0
 *
 * A few nodes of the core in memory with a network between them that a test can cut. Every message
 * is delivered at once unless the test drops it; jitter is 0, so every election timeout is 10
 * ticks.
 */
#ifndef RR_TESTS_RAFT_WORLD_H
#define RR_TESTS_RAFT_WORLD_H

#include "raft/raw_node.h"
#include "tests/unit/raft_heap.h"

#define WORLD_NODES_MAX     7
#define WORLD_ELECTION_TICK 10

struct world_node {
    struct rr_raw_node *raw;
    struct rr_memory_storage *storage;
    struct rr_config config;
    uint64_t applied;       /* index of the last entry handed out to be applied */
    uint64_t applied_count; /* of entries handed out, without the empty ones of leaders */
    struct rr_ready ready;  /* the last one taken */
};

struct world {
    struct world_node nodes[WORLD_NODES_MAX]; /* node i has id i + 1 */
    uint32_t count;
    bool cut[WORLD_NODES_MAX + 1][WORLD_NODES_MAX + 1]; /* [from][to] */
    uint32_t sent[RR_MSG_FORGET_LEADER + 1];            /* messages between nodes, by type */
    struct rr_message
        last[RR_MSG_FORGET_LEADER + 1]; /* the newest of each type; pointers are gone */
    struct raft_heap heap;
};

/* `adjust` (may be NULL) changes a node's config before it is made. All nodes are voters and start
 * from a snapshot at index 1, term 1. */
void world_begin(struct world *w, uint32_t count, void (*adjust)(struct rr_config *config));
void world_end(struct world *w);

struct rr_raw_node *world_raw(struct world *w, uint64_t id);
struct raft *world_raft(struct world *w, uint64_t id);

/* Takes one Ready of a node and does what it says. */
void world_ready(struct world *w, uint64_t id);
/* Until nobody has a Ready. */
void world_settle(struct world *w);
void world_campaign(struct world *w, uint64_t id);
void world_tick(struct world *w, uint64_t id, int count);
int world_propose(struct world *w, uint64_t id, const char *text);
/* Both directions between a node and everybody else. */
void world_isolate(struct world *w, uint64_t id, bool is_cut);
/* Steps a message made by hand; its `to` is the node. */
int world_step(struct world *w, struct rr_message message);
/* A restart from what the storage holds. */
void world_restart(struct world *w, uint64_t id, uint64_t applied);

#endif
