/* SPDX-License-Identifier: Apache-2.0
 *
 * The command line of rr-bench.
 */
#ifndef RR_BENCH_OPTIONS_H
#define RR_BENCH_OPTIONS_H

#include "bench/replica.h"

#include <stdbool.h>
#include <stdint.h>

enum bench_command {
    BENCH_RUN,
    BENCH_FLOOR,
    BENCH_READS,
    BENCH_GROUPS,
    BENCH_FAILOVER,
    BENCH_SNAPSHOT,
    BENCH_REPLICA,
    BENCH_FLOOR_NODE,
};

struct bench_options {
    enum bench_command command;
    const char
        *dir; /* where the replicas' files go; NULL: a directory of its own below the current one */
    const char *out;  /* where results go; NULL: nowhere */
    const char *only; /* a shape's name; NULL: all */
    uint32_t pairs;
    uint32_t slice_ms;
    uint32_t state_mib; /* of the snapshot's bench */
    bool quick;
    bool allow_ram;
    struct replica_options child;
};

/* 0: go on; 1: help was printed; 2: usage, and a sentence was printed. */
int bench_options_parse(int argc, char **argv, struct bench_options *options);

#endif
