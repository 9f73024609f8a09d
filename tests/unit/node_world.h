/* SPDX-License-Identifier: Apache-2.0
 *
 * Thread-safe nodes in memory, driven by one thread, with a network between them that a test can
 * look into and cut. Jitter is 0, so every election timeout is 10 ticks.
 */
#ifndef RR_TESTS_NODE_WORLD_H
#define RR_TESTS_NODE_WORLD_H

#include "proto/base.h"
#include "raft/log_event.h"
#include "tests/unit/raft_heap.h"

#include <ringraft/node.h>

#define NODE_WORLD_MAX        3
#define NODE_WORLD_APPLIED    64
#define NODE_WORLD_ELECTION   10
#define NODE_WORLD_EVENTS_MAX 4096

struct applied_entry {
    uint64_t index;
    uint8_t type;
    uint32_t size;
    char text[64]; /* of a normal entry, as far as it fits */
    uint8_t first; /* byte */
};

struct node_member {
    struct rr_node *node;
    struct rr_memory_storage *storage;
    struct rr_config config;
    struct applied_entry applied[NODE_WORLD_APPLIED];
    uint32_t applied_count; /* with the empty ones of leaders */
    uint64_t conf_voters;   /* count in the conf state that the last applied change gave */
    uint64_t conf_learners;
};

struct node_world {
    struct node_member members[NODE_WORLD_MAX]; /* member i has id i + 1 */
    uint32_t count;
    uint32_t events[RR_LOG_EVENT_COUNT]; /* how often each was seen */
    struct rr_log_event last[RR_LOG_EVENT_COUNT];
    /* Sees each message before it is delivered; false: it is lost. NULL: all are delivered. */
    bool (*filter)(struct node_world *w, const struct rr_message *m);
    struct raft_heap heap;
};

/* All nodes are voters and start from a snapshot at index 1, term 1. `adjust` (may be NULL) changes
 * configs and options before a node is made. */
typedef void (*node_world_adjust)(struct rr_config *config, struct rr_node_options *options);
void node_world_begin(struct node_world *w, uint32_t count, node_world_adjust adjust);
/* Stops and frees all; nothing may be left of the heap. */
void node_world_end(struct node_world *w);

struct rr_node *node_world_node(struct node_world *w, uint64_t id);
/* A config for a node with this storage, to be made by hand. */
struct rr_config node_world_config(struct node_world *w, uint64_t id,
                                   struct rr_memory_storage *storage);

/* Stores what a Ready says, under the node's lock. */
void node_world_store(struct node_member *member, const struct rr_ready *ready);
/* Takes one Ready of a node (there must be one), does what it says, advances. */
void node_world_ready(struct node_world *w, uint64_t id);
/* Until no node has a Ready. */
void node_world_settle(struct node_world *w);
void node_world_campaign(struct node_world *w, uint64_t id);
bool node_world_is_readable(struct node_world *w, uint64_t id);
struct rr_node_status node_world_status(struct node_world *w, uint64_t id);
/* The one outcome that waits at a node. */
struct rr_node_outcome node_world_outcome(struct node_world *w, uint64_t id);

#endif
