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

struct cluster {
    enum cluster_kind kind;
    struct control nodes[BENCH_NODES_MAX];
    uint32_t node_count;
    uint32_t leader; /* index into nodes */
    char error[600]; /* why the last call failed, for a human */
};

/* One measured slice; a field that its kind does not report is 0. */
struct slice {
    uint64_t completed, failed, lag;
    double seconds, p50_us, p99_us, p999_us, max_us;
    uint64_t writes, entries, padded, recycled, zeroed, enters, wakes;
    bool is_steady; /* one leader, one term */
};

/* Starts the processes below `dir`/n1…, and waits until they are ready and (engine) one leads. */
bool cluster_start(struct cluster *cluster, enum cluster_kind kind, const char *dir,
                   uint32_t node_count);
void cluster_stop(struct cluster *cluster);

/* Called now and then while a slice runs. */
typedef void (*cluster_progress)(void *ctx, uint64_t completed);

/* Sends `request` (a whole `run …` line) to the leader and waits for the result. */
bool cluster_run(struct cluster *cluster, const char *request, struct slice *slice,
                 cluster_progress progress, void *ctx);
/* The leader's answer to `status`. */
bool cluster_status(struct cluster *cluster, uint32_t node, char *line, size_t cap);
/* CPU seconds of all processes so far. */
double cluster_cpu_seconds(struct cluster *cluster);
/* Looks again who leads (after a change); false: nobody within ten seconds. */
bool cluster_find_leader(struct cluster *cluster);

#endif
