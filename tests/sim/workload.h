/* SPDX-License-Identifier: Apache-2.0
 *
 * The clients: they propose bytes made from a number (the tag), keep the books on every proposal,
 * and check what becomes of each: refused means never applied, accepted means exactly one
 * completion while the process lives, RR_OK means applied once, there, with these bytes.
 */
#ifndef RR_TESTS_SIM_WORKLOAD_H
#define RR_TESTS_SIM_WORKLOAD_H

#include "io/sim/sim_random.h"
#include "tests/check/history.h"
#include "tests/sim/oracle.h"
#include "tests/sim/plan.h"

enum proposal_state {
    PROPOSAL_PENDING, /* accepted, or being offered */
    PROPOSAL_REFUSED, /* certainly not in the log */
    PROPOSAL_UNKNOWN, /* perhaps: so it was told, or its process died */
    PROPOSAL_DONE,    /* RR_OK */
};

struct proposal {
    uint64_t hash;
    uint64_t index; /* where it was applied; 0: nowhere yet */
    uint32_t size;
    struct oracle_source source; /* to whom it was offered, and for which group */
    uint32_t incarnation;
    enum proposal_state state;
    size_t written; /* its place in the history */
};

struct workload {
    const struct plan *plan;
    struct oracle *oracle;
    const struct sim *sim;
    struct history histories[PLAN_GROUPS_MAX]; /* of the registers: all writes, and all reads */
    struct sim_stream chance;
    struct proposal *proposals; /* by tag */
    uint64_t count;             /* tags from 1 to this exist */
    uint64_t cap;
    uint64_t pending;
    uint64_t done_count, unknown_count, refused_count;
    uint64_t window_count; /* of histories, that were judged to the end */
    int last_refusal;      /* why */
    uint8_t *bytes;        /* of the proposals being made */
};

/* Who is spoken to. */
struct workload_target {
    struct rr_group *group;
    struct oracle_source source;
    uint32_t incarnation;
};

/* The same process, and the same group of it? */
static inline bool workload_same_target(const struct workload_target *a,
                                        const struct workload_target *b)
{
    return a->source.node == b->source.node && a->source.slot == b->source.slot &&
           a->incarnation == b->incarnation;
}

void workload_init(struct workload *workload, const struct plan *plan, struct oracle *oracle,
                   const struct sim *sim);
void workload_fini(struct workload *workload);
/* Is there an order that explains what was read from the registers of each group? Windows of the
 * histories are looked at, by chance. */
void workload_judge(struct workload *workload);
/* One proposal, or several in a call. */
void workload_propose(struct workload *workload, const struct workload_target *target,
                      uint32_t count);
void workload_complete(struct workload *workload, const struct workload_target *target,
                       const struct rr_completion *completion);
void workload_apply(struct workload *workload, uint32_t slot, const struct rr_apply_entry *entry);
/* This process is dead: what it had not told will never be told. */
void workload_forget(struct workload *workload, const struct workload_target *target);

#endif
