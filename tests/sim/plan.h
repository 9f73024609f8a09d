/* SPDX-License-Identifier: Apache-2.0
 *
 * What one seed plays: the cluster's size and limits, which classes of faults happen and how hard,
 * and what clients do. Each class is switched on or off by the seed (swarm testing), so that some
 * runs are calm and some see one class only.
 */
#ifndef RR_TESTS_SIM_PLAN_H
#define RR_TESTS_SIM_PLAN_H

#include <ringraft/ringraft.h>

#include <stdbool.h>

#define PLAN_NODES_MAX 5u

struct plan {
    uint64_t seed;
    uint32_t node_count;

    /* limits of the nodes */
    struct rr_engine_options engine;
    struct rr_group_options group;
    uint32_t snapshot_bytes; /* of the state machine */

    /* faults; an interval of 0: none of this class */
    uint64_t fault_interval_ns; /* mean time between two faults */
    bool kills;
    bool power_losses;
    bool crashes_of_all;
    bool crashes_at_io;
    bool crashes_in_recovery;
    bool cuts;
    bool one_way_cuts;
    bool slow_disks;
    bool short_writes;
    bool full_disks;
    bool disk_errors;
    bool orderly_restarts;
    bool buffered_disks; /* no O_DIRECT */
    uint64_t down_max_ns;
    uint64_t crash_at; /* node 1's first process dies at this I/O, its second in recovery; 0: no */

    /* clients */
    uint64_t propose_interval_ns;
    uint32_t outstanding_max; /* closed loop: so many at a time; 0: open loop */
    uint32_t burst_max;
    uint32_t size_max; /* of a proposal */
    bool proposes_in_callbacks;
    uint32_t proposals_max; /* of the hasty clients; then one per interval */
    bool reads;
};

void plan_make(struct plan *plan, uint64_t seed);
/* One node and no other fault: small enough to crash at each of its I/Os in turn. */
void plan_make_crash_at(struct plan *plan, uint64_t seed, uint64_t crash_at);
void plan_print(const struct plan *plan);

#endif
