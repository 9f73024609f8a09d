/* SPDX-License-Identifier: Apache-2.0
 *
 * Whole engines for tests: nodes of one cluster in this process, on real files and loopback, with a
 * state machine that can be compared and a record of every outcome.
 */
#ifndef RR_TESTS_ENGINE_HARNESS_H
#define RR_TESTS_ENGINE_HARNESS_H

#include <ringraft/raft.h>
#include <ringraft/ringraft.h>

#include <pthread.h>
#include <stdatomic.h>

#define HARNESS_NODES_MAX 5
#define HARNESS_TAGS_MAX  (4u * 1024 * 1024)

/* Counts entries and chains their bytes into a hash; the snapshot is the three numbers and some
 * padding. */
struct chain {
    /* Atomic, since tests look at nodes that apply. */
    _Atomic uint64_t applied;
    _Atomic uint64_t count;
    _Atomic uint64_t hash;
    uint32_t snapshot_padding; /* bytes: makes the snapshot large */
    _Atomic uint32_t fail_at;  /* fails to apply the n-th entry; 0: never */
    _Atomic bool sleeps;       /* applies nothing */
    uint32_t restores;
    _Atomic uint32_t open_snapshots;
    _Atomic bool fail_reads; /* of a snapshot */
};

struct harness_node {
    struct harness *harness;
    uint64_t id;
    struct rr_engine *engine;
    struct rr_group *group;
    struct chain chain;
    uint64_t term;     /* when harness_leader found it */
    uint8_t *outcomes; /* by tag: 0 none, 1 RR_OK, else 1 - status */
    _Atomic uint64_t ok, failed;
    _Atomic int32_t last_failure;
    _Atomic bool repropose; /* each RR_OK proposes the next (depth 1) … */
    _Atomic uint64_t repropose_left;
    _Atomic uint64_t next_tag;
};

struct harness {
    uint32_t node_count;
    char root[64];
    char dirs[HARNESS_NODES_MAX][80];
    char addresses[HARNESS_NODES_MAX][32];
    struct harness_node nodes[HARNESS_NODES_MAX];
    /* What every node is opened with; tests change them before harness_open. */
    struct rr_engine_options engine_options;
    struct rr_group_options group_options;
};

/* The backend that a program's first argument names, uring or posix; skips the test where io_uring
 * is refused. */
enum rr_backend harness_backend_argument(int argc, char **argv);
/* Makes a directory and free ports; opens nothing. */
void harness_init(struct harness *harness, uint32_t node_count);
/* A closed node has another address from now on, which is told to everybody who is opened. */
void harness_move(struct harness *harness, uint32_t i);
/* Closes what is open, removes the files. */
void harness_fini(struct harness *harness);
/* Opens node `i` (0…); exits the test with the sentence if that fails. */
void harness_open(struct harness *harness, uint32_t i);
/* The same, but says what came of it. */
int harness_try_open(struct harness *harness, uint32_t i, struct rr_error *error);
void harness_close(struct harness *harness, uint32_t i, enum rr_close_mode mode);

/* The node that leads, waiting for it. */
struct harness_node *harness_leader(struct harness *harness);
/* Proposes `count` entries of `size` bytes with fresh tags, waiting when the queue is full. Returns
 * the first tag. */
uint64_t harness_propose(struct harness_node *node, uint32_t count, uint32_t size);
/* Waits until `count` outcomes have come on the node (RR_OK or not). */
void harness_wait_outcomes(struct harness_node *node, uint64_t count);
/* All `count` outcomes so far are RR_OK, or the node lost the term it led when it was found. */
void harness_check_ok(struct harness_node *node, uint64_t count);
/* Waits until all open nodes have applied as far as the furthest, and compares their state
 * machines. */
void harness_check_equal(struct harness *harness);
struct rr_group_status harness_status(const struct harness_node *node);
void harness_sleep_ms(uint32_t ms);

#endif
