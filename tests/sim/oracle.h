/* SPDX-License-Identifier: Apache-2.0
 *
 * What must hold, judged from outside of the nodes: from the durable images of their disks and from
 * what they say to others. Any break ends the run (failure.h).
 *
 * - acknowledged means durable on a quorum, in the disk model, at that moment;
 * - a vote is durable on the voter when it leaves; one vote per node and term, across restarts;
 * - one leader per term;
 * - one content per (index, term) on all disks; one term per committed index;
 * - state machines agree at every index; none skips or repeats.
 */
#ifndef RR_TESTS_SIM_ORACLE_H
#define RR_TESTS_SIM_ORACLE_H

#include "tests/sim/durable_log.h"
#include "tests/sim/plan.h"

/* What the cluster did at one index, once known. */
struct oracle_index {
    uint64_t committed_term; /* 0: not committed yet */
    uint64_t chain; /* of the state machine behind it; 0: no user entry, or not applied yet */
};

struct oracle_content; /* (index, term) → hash */

struct oracle {
    uint32_t node_count;
    struct durable_log logs[PLAN_NODES_MAX];
    uint64_t *votes[PLAN_NODES_MAX]; /* by term */
    uint64_t vote_cap[PLAN_NODES_MAX];
    uint64_t *leaders; /* by term */
    uint64_t leader_cap;
    struct oracle_index *indexes;
    uint64_t index_cap;
    struct oracle_content *contents; /* open addressing */
    uint64_t content_count;
    uint64_t content_cap;
    uint64_t commit_max;
    uint64_t acknowledged_max;
    uint64_t vote_count;
    uint64_t election_count;
};

void oracle_init(struct oracle *oracle, struct sim *sim, uint32_t node_count,
                 const char *const *dirs);
void oracle_fini(struct oracle *oracle);
/* Nodes count from 1 here, as machines do. */
void oracle_vote(struct oracle *oracle, uint32_t node, uint64_t term, uint64_t vote);
void oracle_leader(struct oracle *oracle, uint32_t node, uint64_t term);
void oracle_commit(struct oracle *oracle, uint32_t node, uint64_t index, uint64_t term);
void oracle_apply(struct oracle *oracle, uint32_t node, uint64_t index, uint64_t chain);
/* The state behind `index` was installed. */
void oracle_restore(struct oracle *oracle, uint32_t node, uint64_t index, uint64_t chain);
void oracle_acknowledge(struct oracle *oracle, uint32_t node, uint64_t index, uint64_t term,
                        uint64_t chain);

#endif
