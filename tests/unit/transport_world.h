/* SPDX-License-Identifier: Apache-2.0
 *
 * A few transports on one fake net, and what tests of them need: turns, recorded messages, runs of
 * encoded entries, and a stranger's hand for writing hellos and frames byte by byte.
 */
#ifndef RR_TESTS_TRANSPORT_WORLD_H
#define RR_TESTS_TRANSPORT_WORLD_H

#include "io/hello.h"
#include "io/snapshot_stream.h"
#include "io/transport.h"
#include "tests/unit/check.h"
#include "tests/unit/fake_net.h"

#define WORLD_NODES_MAX 3
#define WORLD_CLUSTER   77u
#define MS              UINT64_C(1000000)

/* What a test compares of a received message. */
struct record {
    uint64_t from;
    uint64_t group;
    uint64_t index;
    uint64_t commit;
    uint64_t entry_bytes; /* of data, in all entries */
    uint32_t entry_count;
    uint32_t entry_crc; /* over the data of all entries */
    uint32_t context_size;
    uint8_t type;
};

struct world_node {
    struct fake_io fake;
    struct io *io; /* fake.io, unless a test brought a real one */
    struct transport *transport;
    struct snapshot_streams *streams; /* NULL, unless a test opened them */
    uint64_t id;
    uint64_t deadline_ns;   /* from the last flush */
    struct record *records; /* received, oldest first */
    uint32_t record_count;
    uint32_t record_cap;
    int check_result;   /* what check_peer says */
    int message_result; /* what on_message says */
    uint32_t ups, downs, checks;
    struct transport_peer last_checked;
    bool keeps_blocks; /* refers to the blocks of received entries until world_forget */
    struct rr_block *kept[64];
    uint32_t kept_count;
};

struct world {
    struct fake_net *net;
    struct world_node nodes[WORLD_NODES_MAX]; /* node i has id i + 1 */
    uint32_t count;
    uint64_t turn_count;
    struct transport_options options; /* for all nodes; may be changed before world_open */
};

/* world_init sets the options' defaults for tests; world_open opens `count` nodes that do not know
 * each other yet; world_connect lets all know all and settles. */
void world_init(struct world *world);
void world_open(struct world *world, uint32_t count);
void world_connect(struct world *world);
/* All three: the usual beginning. */
void world_start(struct world *world, uint32_t count);
void world_close(struct world *world);

void world_open_node(struct world *world, uint32_t i, uint64_t boot, uint16_t port);
void world_close_node(struct world *world, uint32_t i);
void world_know(struct world *world, uint32_t i, uint32_t other);
uint16_t world_port(const struct world *world, uint32_t i);
/* The options of node i, filled in from the world's. */
struct transport_options world_options(struct world *world, uint32_t i, uint64_t boot);
/* The callbacks behind the options: for tests with a backend of their own. */
void world_node_record(struct world_node *node, struct transport_options *options);

/* One turn of every node, then one step of the net; how many completions. */
int world_turn(struct world *world);
/* Turns until nothing happens any more at this moment. */
void world_settle(struct world *world);
/* Lets time pass, in steps of a millisecond, settling after each. */
void world_pass(struct world *world, uint64_t ns);
void world_forget(struct world_node *node);
struct transport_stats world_stats(const struct world *world, uint32_t i);
/* Are all n * (n - 1) * 2 ends of connections ready? */
bool world_is_connected(const struct world *world);

/* A run of `count` encoded entries of `size` data bytes each, indexes from `index` on, in one block
 * that is freed with its last reference; the caller holds the first. Data depends on the index. */
struct rr_block *make_run(struct rr_entry *entries, uint32_t count, uint64_t index, uint32_t size);
struct rr_message make_app(uint64_t from, uint64_t to, const struct rr_entry *entries,
                           uint32_t count);
struct rr_message make_message(uint8_t type, uint64_t from, uint64_t to);
/* Sends node i's message to node i's m->to; the result of transport_send. */
int world_send(struct world *world, uint32_t i, const struct rr_message *message);
/* Did the node receive exactly this message as its record number `at`? */
void check_received(const struct world_node *node, uint32_t at, const struct rr_message *message);

/* ---- strangers ----------------------------------------------------------------------- */

/* The hello that node `from` (an id) would say to node `to`, with a build that proves no past. */
struct hello make_hello(const struct world *world, uint64_t from, uint64_t to);
/* Connects to node i, says this hello, settles; the stranger's fd. */
int stranger_hello(struct world *world, uint32_t i, const struct hello *hello);
/* Reads what node i answered into `hello`; the result of hello_get, or RR_E_CLOSED: nothing. */
int stranger_answer(struct world *world, int fd, struct hello *hello);
/* A frame of one message, allocated; its size in *size. */
uint8_t *make_frame(uint64_t group, const struct rr_message *message, uint32_t *size);

#endif
