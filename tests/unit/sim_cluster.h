/* SPDX-License-Identifier: Apache-2.0
 *
 * Whole engines in the simulator for tests of one story: nodes of a cluster on one virtual clock,
 * with a state machine that counts and a record of what was completed and told. One cluster at a
 * time.
 */
#ifndef RR_TESTS_SIM_CLUSTER_H
#define RR_TESTS_SIM_CLUSTER_H

#include "engine/engine.h"
#include "io/sim/sim.h"

#include <ringraft/raft.h>
#include <ringraft/ringraft.h>

#define SIM_CLUSTER_NODES_MAX 7
#define SIM_CLUSTER_RECORDS   4096u

struct sim_node {
    struct sim_cluster *cluster;
    uint32_t number; /* its id, and the machine's number */
    struct rr_engine *engine;
    struct rr_group *group;
    /* The state machine: how many entries it applied, and the last one's index. */
    uint64_t applied_count, applied_index;
    bool fails_to_apply, fails_to_read;  /* its entries; its state, for a snapshot */
    uint64_t read_bytes, restored_bytes; /* of its state, by the snapshot in hand */
    uint32_t restores;                   /* snapshots that it has become */
    uint64_t twist;                      /* what its hash differs by from a right one */
    uint64_t hash_count;                 /* how often it was asked for its hash */
    uint64_t ok, failed;                 /* completions */
    int32_t last_failure;
    struct rr_completion completions[SIM_CLUSTER_RECORDS];
    uint64_t applied_counts[SIM_CLUSTER_RECORDS]; /* what had been applied at each of them */
    uint32_t completion_count;
    struct rr_event events[SIM_CLUSTER_RECORDS];
    uint32_t event_count;
};

struct sim_cluster {
    struct sim *sim;
    uint32_t node_count;
    uint32_t voter_count; /* the first of them are the initial voters; the others join */
    uint64_t state_bytes; /* of each snapshot */
    bool is_durable;      /* state machines keep what they applied when their node dies */
    uint64_t durable_applied[SIM_CLUSTER_NODES_MAX];
    struct sim_node nodes[SIM_CLUSTER_NODES_MAX];
    /* What every node is opened with; tests change them before sim_cluster_open. */
    struct rr_engine_options engine_options;
    struct rr_group_options group_options;
};

/* Makes the world; opens nothing. All nodes are initial voters. */
void sim_cluster_init(struct sim_cluster *cluster, uint64_t seed, uint32_t node_count);
/* Starts the process of each initial voter, or of one node. */
void sim_cluster_open(struct sim_cluster *cluster);
void sim_cluster_open_node(struct sim_cluster *cluster, uint32_t i);
/* The process of node `i` dies; its disk stays. */
void sim_cluster_kill(struct sim_cluster *cluster, uint32_t i);
/* Where node `i` listens. */
const char *sim_cluster_address(uint32_t i);
/* Kills what runs and frees the world. */
void sim_cluster_fini(struct sim_cluster *cluster);

void sim_cluster_run_ms(struct sim_cluster *cluster, uint64_t ms);
/* The node that leads, other than `other` (may be NULL), waiting for it. */
struct sim_node *sim_cluster_leader(struct sim_cluster *cluster, const struct sim_node *other);
/* The k-th node behind this one, around. */
struct sim_node *sim_cluster_next(struct sim_node *node, uint32_t k);
/* All links of the node, both ways. */
void sim_cluster_isolate(struct sim_node *node, bool isolated);
/* How many of `count` proposals with the tags from `first_tag` on were accepted. */
uint32_t sim_cluster_propose(struct sim_node *node, uint64_t first_tag, uint32_t count);
struct rr_group_status sim_cluster_status(const struct sim_node *node);
/* The completion with this tag, or NULL. */
const struct rr_completion *sim_cluster_completion(const struct sim_node *node, uint64_t tag);
/* How many entries the node had applied when the call with this tag was completed. */
uint64_t sim_cluster_applied_at(const struct sim_node *node, uint64_t tag);
/* The newest event of this kind, or NULL. */
const struct rr_event *sim_cluster_event(const struct sim_node *node, enum rr_event_kind kind);

#endif
