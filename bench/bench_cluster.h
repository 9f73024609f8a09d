/* SPDX-License-Identifier: Apache-2.0
 *
 * Three child processes of one kind (replicas of the engine, or nodes of the floor) on loopback,
 * seen from rr-bench.
 */
#ifndef RR_BENCH_BENCH_CLUSTER_H
#define RR_BENCH_BENCH_CLUSTER_H

#include "bench/control.h"
#include "bench/replica.h"

enum cluster_kind { CLUSTER_ENGINE, CLUSTER_ENGINE_INLINE, CLUSTER_FLOOR };

struct cluster_plan {
    enum cluster_kind kind;
    const char *dir; /* each node's files lie in n1… below it */
    uint32_t node_count;
    uint32_t group_count; /* of replicas; 0: one */
    uint64_t send_rate;   /* of replicas' snapshots, bytes a second; 0: as usual */
};

struct cluster {
    struct cluster_plan plan;
    struct control nodes[BENCH_NODES_MAX];
    char dir[512];
    char ports[32];
    uint32_t node_count; /* running */
    uint32_t leader;     /* index into nodes */
    char error[600];     /* why the last call failed, for a human */
};

/* One measured slice; a field that its kind does not report is 0. */
struct slice {
    uint64_t completed, failed, lag;
    double seconds, p50_us, p99_us, p999_us, max_us;
    uint64_t writes, entries, padded, recycled, zeroed, enters, wakes;
    uint64_t reads; /* beside what `completed` counts */
    double read_p50_us, read_p99_us;
    bool is_steady; /* one leader, one term */
};

/* Starts the processes and waits until they are ready and (engine) every group has a leader. */
bool cluster_start(struct cluster *cluster, const struct cluster_plan *plan);
void cluster_stop(struct cluster *cluster);

/* One node dies, and comes back. */
void cluster_kill(struct cluster *cluster, uint32_t node);
bool cluster_revive(struct cluster *cluster, uint32_t node);

/* Called now and then while a slice runs. */
typedef void (*cluster_progress)(void *ctx, uint64_t completed);

/* Sends `request` (a whole `run …` line) to the leader and waits for the result. */
bool cluster_run(struct cluster *cluster, const char *request, struct slice *slice,
                 cluster_progress progress, void *ctx);
/* The same in two steps, for a node or several at once. */
bool cluster_ask(struct cluster *cluster, uint32_t node, const char *request);
bool cluster_await(struct cluster *cluster, uint32_t node, struct slice *slice,
                   cluster_progress progress, void *ctx);
/* The leader takes a snapshot of so many bytes. */
bool cluster_snapshot(struct cluster *cluster, uint64_t bytes);
/* A node's answer to `status`. */
bool cluster_status(struct cluster *cluster, uint32_t node, char *line, size_t cap);
/* CPU seconds of all processes so far. */
double cluster_cpu_seconds(struct cluster *cluster);
/* Looks again who leads (after a change); false: nobody within ten seconds. */
bool cluster_find_leader(struct cluster *cluster);

#endif
