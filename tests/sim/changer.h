/* SPDX-License-Identifier: Apache-2.0
 *
 * Who changes the members of the groups all the time, and who moves their leadership: asks a
 * leader for something that makes sense by what the oracle knows, now and then for something that
 * does not, and keeps the books on every call. A machine whose node was removed from its groups
 * comes back as a new node: an empty directory and another id.
 */
#ifndef RR_TESTS_SIM_CHANGER_H
#define RR_TESTS_SIM_CHANGER_H

#include "io/sim/sim_random.h"
#include "tests/sim/workload.h"

struct world;

/* Tags of the changer; below READERS_TAG, above those of proposals. */
#define CHANGER_TAG (1ull << 62)

#define CHANGER_PENDING_MAX 32u

struct changer_call {
    uint64_t tag; /* 0: free */
    struct workload_target target;
};

struct changer {
    struct sim_stream chance;
    struct changer_call pending[CHANGER_PENDING_MAX];
    uint32_t pending_count;
    uint64_t last_tag;
    uint64_t done_count, refused_count, unknown_count;
};

void changer_init(struct changer *changer, uint64_t seed);
/* One call, or a new node. */
void changer_act(struct world *world);
void changer_complete(struct changer *changer, const struct workload_target *target,
                      const struct rr_completion *completion);
/* This process is dead. */
void changer_forget(struct changer *changer, const struct workload_target *target);

#endif
