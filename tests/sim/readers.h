/* SPDX-License-Identifier: Apache-2.0
 *
 * Clients that read of one group. A state here is a prefix of the log, so reads are linearizable if
 * and only if each sees at least what was acknowledged, and what any completed read had seen, when
 * it was asked: the floor. A stale read is held to the floor of its bound before. A snapshot that
 * was asked for holds all that the node itself had applied.
 */
#ifndef RR_TESTS_SIM_READERS_H
#define RR_TESTS_SIM_READERS_H

#include "io/sim/sim_random.h"
#include "tests/sim/chain_machine.h"
#include "tests/sim/oracle.h"
#include "tests/sim/workload.h"

/* Proposals' tags are below it. */
#define READERS_TAG (1ull << 63)

#define READERS_PENDING_MAX 64u
#define READERS_HISTORY     4096u

struct reading {
    uint64_t tag; /* 0: free */
    uint64_t floor;
    struct workload_target target;
    uint32_t key; /* the register that is read */
    uint64_t invoked_ns;
    bool is_snapshot; /* no read: one was asked for, of at least `floor` */
};

struct floor_sample {
    uint64_t time_ns;
    uint64_t floor;
};

struct readers {
    const struct oracle_group *oracle;
    const struct sim *sim;
    struct history *calls; /* to the registers */
    struct sim_stream chance;
    bool takes_snapshots;
    struct reading pending[READERS_PENDING_MAX];
    uint32_t pending_count;
    uint64_t last_tag;
    uint64_t seen;                                /* the furthest state that a completed read saw */
    struct floor_sample history[READERS_HISTORY]; /* ring */
    uint64_t history_count;
    uint64_t done_count, failed_count, stale_count; /* stale_count: that were allowed */
    uint64_t snapshot_count;                        /* that were asked for, and taken */
};

void readers_init(struct readers *readers, struct workload *workload, uint32_t slot);
/* A read, or a stale one, of the process whose state machine's last user entry is `state`. */
void readers_ask(struct readers *readers, const struct workload_target *target, uint64_t now_ns,
                 uint64_t state);
void readers_complete(struct readers *readers, const struct workload_target *target,
                      const struct rr_completion *completion, const struct chain_machine *machine);
/* This process is dead: its reads will never be answered. */
void readers_forget(struct readers *readers, const struct workload_target *target);

#endif
