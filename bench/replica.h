/* SPDX-License-Identifier: Apache-2.0
 *
 * A child process of rr-bench that is one replica: an engine with one group or many, small state
 * machines, and the load generators. Writes run for the groups that this replica leads, reads for
 * all. Commands come over the control channel: status, run, snapshot (one of so many bytes), quit.
 */
#ifndef RR_BENCH_REPLICA_H
#define RR_BENCH_REPLICA_H

#include <stdbool.h>
#include <stdint.h>

#define BENCH_NODES_MAX  3
#define BENCH_GROUPS_MAX 64

struct replica_options {
    uint64_t id;
    uint64_t cluster_id;
    const char *dir;
    uint32_t node_count;
    uint16_t ports[BENCH_NODES_MAX];
    uint32_t group_count;
    uint64_t send_rate; /* of snapshots, bytes a second; 0: as usual; else they compact the log */
    bool apply_inline;
};

/* Returns the process's exit code. */
int replica_main(const struct replica_options *options);

#endif
