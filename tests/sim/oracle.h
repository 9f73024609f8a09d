/* SPDX-License-Identifier: Apache-2.0
 *
 * What must hold, judged from outside of the nodes: from the durable images of their disks and from
 * what they say to others. Any break ends the run (failure.h).
 *
 * - acknowledged means durable on a quorum of the entry's configuration, in the disk model, at that
 *   moment;
 * - a vote is durable on the voter when it leaves; one vote per node and term, across restarts;
 * - one leader per term, and its log holds all that is committed;
 * - one content per (index, term) on all disks; one term per committed index;
 * - state machines agree at every index; none skips or repeats.
 */
#ifndef RR_TESTS_SIM_ORACLE_H
#define RR_TESTS_SIM_ORACLE_H

#include "tests/sim/configs.h"
#include "tests/sim/durable_log.h"
#include "tests/sim/plan.h"

/* What a group did at one index, once known. */
struct oracle_index {
    uint64_t committed_term; /* 0: not committed yet */
    uint64_t chain; /* of the state machine behind it; 0: no user entry, or not applied yet */
};

struct oracle_content; /* (index, term) → hash */

/* A table by number that only ever grows. */
struct oracle_table {
    uint64_t *values;
    uint64_t cap;
};

struct oracle_group {
    struct oracle_table votes[PLAN_NODES_MAX]; /* by term */
    struct oracle_table leaders;               /* by term */
    struct oracle_index *indexes;
    uint64_t index_cap;
    struct oracle_content *contents; /* open addressing */
    uint64_t content_count;
    uint64_t content_cap;
    struct configs configs;
    uint64_t commit_max;
    uint64_t acknowledged_max;
};

struct oracle {
    uint32_t node_count;
    bool has_changes; /* of members */
    struct durable_log logs[PLAN_NODES_MAX];
    uint64_t ids[PLAN_NODES_MAX]; /* of the nodes that live on the machines now */
    struct oracle_group groups[PLAN_GROUPS_MAX];
    uint64_t vote_count;
    uint64_t election_count;
};

/* Ids begin with the machines' numbers; each renewal adds so many. */
#define ORACLE_IDS_STEP 16u
static inline uint32_t oracle_machine(uint64_t id)
{
    return (uint32_t)((id - 1) % ORACLE_IDS_STEP) + 1;
}

/* Who speaks, and about which group. Nodes count from 1, as machines do. */
struct oracle_source {
    uint32_t node;
    uint32_t slot;
};

void oracle_init(struct oracle *oracle, struct sim *sim, const struct plan *plan,
                 const char *const *dirs);
void oracle_fini(struct oracle *oracle);
/* Another node lives on this machine from now on. */
void oracle_renew(struct oracle *oracle, uint32_t machine, uint64_t id);
/* The newest that is committed. */
const struct config *oracle_config(struct oracle *oracle, uint32_t slot);
void oracle_vote(struct oracle *oracle, struct oracle_source from, uint64_t term, uint64_t vote);
/* Its log holds all that was committed in earlier terms: term_at gives the term of an entry of it
 * (0: it has none there) from `first` on; what lies before is in its snapshot. */
struct oracle_log {
    uint64_t first;
    uint64_t (*term_at)(void *ctx, uint64_t index);
    void *ctx;
};
void oracle_leader(struct oracle *oracle, struct oracle_source from, uint64_t term,
                   const struct oracle_log *log);
void oracle_commit(struct oracle *oracle, struct oracle_source from, uint64_t index, uint64_t term);
void oracle_apply(struct oracle *oracle, struct oracle_source from, uint64_t index, uint64_t chain);
/* The state behind `index` was installed. */
void oracle_restore(struct oracle *oracle, struct oracle_source from, uint64_t index,
                    uint64_t chain);
void oracle_acknowledge(struct oracle *oracle, struct oracle_source from, uint64_t index,
                        uint64_t term, uint64_t chain);

#endif
