/* SPDX-License-Identifier: Apache-2.0
 *
 * The proposals of a thread-safe node that wait for a leader, and the outcomes of those that do not
 * wait any more. A proposal keeps its place from the moment it is accepted until its outcome is
 * taken, so an outcome always has room. Under the node's lock.
 *
 *      add --> waiting [oldest … newest] -- judge --> outcomes [oldest … newest] --> take
 */
#ifndef RR_ENGINE_NODE_PROPOSALS_H
#define RR_ENGINE_NODE_PROPOSALS_H

#include <ringraft/node.h>

struct node_proposal {
    struct rr_entry entry; /* one reference of its block is ours */
    uint64_t tag;
    uint64_t deadline; /* in ticks of the node; UINT64_MAX: none */
};

struct node_proposals {
    struct node_proposal *waiting;
    struct rr_node_outcome *outcomes;
    uint64_t waiting_bytes; /* <= bytes_max */
    uint64_t bytes_max;
    uint32_t waiting_count; /* waiting_count + outcome_count <= cap */
    uint32_t outcome_count;
    uint32_t cap;
    struct rr_allocator allocator;
};

void node_proposals_init(struct node_proposals *proposals, const struct rr_allocator *allocator,
                         uint32_t cap, uint64_t bytes_max);
void node_proposals_fini(struct node_proposals *proposals);

/* Takes the entry's reference if it returns 0. RR_E_BUSY, RR_E_TOO_LARGE. */
int node_proposals_add(struct node_proposals *proposals, const struct node_proposal *proposal);

/* What becomes of a waiting proposal: NODE_PROPOSAL_WAITS on, or its outcome's status. */
#define NODE_PROPOSAL_WAITS 1
typedef int (*node_proposal_judge)(void *ctx, const struct node_proposal *proposal);
/* Judges each one, oldest first; returns how many have their outcome now. */
uint32_t node_proposals_judge(struct node_proposals *proposals, node_proposal_judge judge,
                              void *ctx);

uint32_t node_proposals_take(struct node_proposals *proposals, struct rr_node_outcome *out,
                             uint32_t cap);

#endif
