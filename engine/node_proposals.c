/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/node_proposals.h"

#include "raft/memory.h"

#include <string.h>

static void check(const struct node_proposals *p)
{
    RR_ASSERT(p->waiting_count <= p->cap);
    RR_ASSERT(p->outcome_count <= p->cap - p->waiting_count);
    RR_ASSERT(p->waiting_bytes <= p->bytes_max);
    RR_ASSERT(p->waiting_count > 0 || p->waiting_bytes == 0);
}

void node_proposals_init(struct node_proposals *proposals, const struct rr_allocator *allocator,
                         uint32_t cap, uint64_t bytes_max)
{
    *proposals =
        (struct node_proposals){.cap = cap, .bytes_max = bytes_max, .allocator = *allocator};
    proposals->waiting = memory_alloc(allocator, cap * sizeof(*proposals->waiting));
    proposals->outcomes = memory_alloc(allocator, cap * sizeof(*proposals->outcomes));
}

void node_proposals_fini(struct node_proposals *proposals)
{
    struct node_proposals *p = proposals;
    for (uint32_t i = 0; i < p->waiting_count; i++)
        rr_block_put(p->waiting[i].entry.block, 1);
    memory_free(&p->allocator, p->waiting, p->cap * sizeof(*p->waiting));
    memory_free(&p->allocator, p->outcomes, p->cap * sizeof(*p->outcomes));
}

int node_proposals_add(struct node_proposals *proposals, const struct node_proposal *proposal)
{
    struct node_proposals *p = proposals;
    if (proposal->entry.size > p->bytes_max)
        return RR_E_TOO_LARGE;
    if (p->waiting_count + p->outcome_count == p->cap ||
        proposal->entry.size > p->bytes_max - p->waiting_bytes)
        return RR_E_BUSY;
    p->waiting[p->waiting_count++] = *proposal;
    p->waiting_bytes += proposal->entry.size;
    check(p);
    return 0;
}

uint32_t node_proposals_judge(struct node_proposals *proposals, node_proposal_judge judge,
                              void *ctx)
{
    struct node_proposals *p = proposals;
    uint32_t kept = 0;
    uint32_t count = p->waiting_count;
    for (uint32_t i = 0; i < count; i++) {
        struct node_proposal *proposal = &p->waiting[i];
        int status = judge(ctx, proposal);
        if (status == NODE_PROPOSAL_WAITS) {
            p->waiting[kept++] = *proposal;
            continue;
        }
        p->outcomes[p->outcome_count++] =
            (struct rr_node_outcome){.tag = proposal->tag, .status = status};
        p->waiting_bytes -= proposal->entry.size;
        p->waiting_count--;
        rr_block_put(proposal->entry.block, 1);
    }
    RR_ASSERT(p->waiting_count == kept);
    check(p);
    return count - kept;
}

uint32_t node_proposals_take(struct node_proposals *proposals, struct rr_node_outcome *out,
                             uint32_t cap)
{
    struct node_proposals *p = proposals;
    uint32_t count = (uint32_t)rr_min_u64(cap, p->outcome_count);
    if (count == 0)
        return 0;
    memcpy(out, p->outcomes, count * sizeof(*out));
    p->outcome_count -= count;
    memmove(p->outcomes, p->outcomes + count, p->outcome_count * sizeof(*out));
    return count;
}
