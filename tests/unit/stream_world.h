/* SPDX-License-Identifier: Apache-2.0
 *
 * A few machines of the simulator with a transport and snapshot streams each, and no engine: tests
 * make snapshot files, ask for them to be sent, and break things meanwhile. Heartbeats travel all
 * the time on the message connections. One world at a time.
 */
#ifndef RR_TESTS_STREAM_WORLD_H
#define RR_TESTS_STREAM_WORLD_H

#include "io/sim/sim.h"
#include "io/snapshot_file.h"
#include "io/snapshot_parts.h"
#include "tests/unit/check.h"

#define STREAM_NODES_MAX 4
#define STREAM_CLUSTER   77u
#define STREAM_PORT      7000
#define STREAM_SENT_MAX  64u
#define MS               UINT64_C(1000000)
#define SECOND           UINT64_C(1000000000)
#define STREAM_CHUNK     (256u * 1024) /* of a file, and of a transfer at the usual rate */

struct stream_file {
    char path[64];
    uint64_t group, index, term;
    struct snapshot_file_info info;
};

struct stream_node {
    struct stream_world *world;
    struct io *io;
    struct transport *transport; /* NULL: down */
    struct snapshot_streams *streams;
    uint32_t number; /* id, and the machine's number */
    uint64_t boot;
    uint64_t heartbeat_ns;                 /* when the next ones are due */
    uint64_t heartbeats[STREAM_NODES_MAX]; /* heard from node i + 1 */
    uint64_t heard_ns[STREAM_NODES_MAX];   /* when the last one came */
    uint64_t longest_ns;                   /* between two of one node, since stream_world_forget */
    int offer_result, received_result;     /* what the callbacks say */
    uint32_t offers, received, lost;       /* how often they were called */
    int lost_status;                       /* and what the last on_lost said */
    struct snapshot_sent sent[STREAM_SENT_MAX];
    uint32_t sent_count;
    struct snapshot_parts parts;
    struct snapshot_stream_options part_options; /* the part_* of it */
    uint32_t parts_open; /* written by worker jobs, which the simulator runs one by one */
};

struct stream_world {
    struct sim *sim;
    uint32_t count;
    struct stream_node nodes[STREAM_NODES_MAX];
    struct snapshot_stream_options options; /* of all; before stream_world_open */
};

void stream_world_init(struct stream_world *world, uint64_t seed);
/* Opens `count` nodes that know each other, and lets them connect. */
void stream_world_open(struct stream_world *world, uint32_t count);
void stream_world_fini(struct stream_world *world);
void stream_world_pass(struct stream_world *world, uint64_t ns);

void stream_node_boot(struct stream_node *node);
/* Its process dies; its disk stays. */
void stream_node_kill(struct stream_node *node);
void stream_node_lose_power(struct stream_node *node, enum sim_power_loss how);
/* After its machine crashed by itself. */
void stream_node_bury(struct stream_node *node);

/* A published file of about `bytes` on this node's disk. */
struct stream_file stream_file_make(struct stream_node *node, uint64_t group, uint64_t index,
                                    uint64_t bytes);
/* Asks for it to be sent to node `to` (a number); the result of snapshot_streams_send. */
int stream_file_send(struct stream_node *node, const struct stream_file *file, uint32_t to,
                     uint64_t term);
/* Does the node have the very same file, whole, under its final name? And a part of it? */
bool stream_file_is_at(struct stream_node *node, const struct stream_file *file);
bool stream_part_is_at(struct stream_node *node, const struct stream_file *file);

/* Lets time pass until `node` has heard how `count` sends ended, at most so long. */
bool stream_world_wait(struct stream_world *world, const struct stream_node *node, uint32_t count,
                       uint64_t ns);
struct snapshot_stream_stats stream_node_stats(const struct stream_node *node);

#endif
