/* SPDX-License-Identifier: Apache-2.0
 *
 * A child process of rr-bench that is one replica: an engine with one group, a small state machine,
 * and the load generator that runs when this replica leads. Commands come over the control channel:
 * status, run, quit.
 */
#ifndef RR_BENCH_REPLICA_H
#define RR_BENCH_REPLICA_H

#include <stdbool.h>
#include <stdint.h>

#define BENCH_NODES_MAX 3

struct replica_options {
    uint64_t id;
    uint64_t cluster_id;
    const char *dir;
    uint32_t node_count;
    uint16_t ports[BENCH_NODES_MAX];
    bool apply_inline;
};

/* Returns the process's exit code. */
int replica_main(const struct replica_options *options);

#endif
