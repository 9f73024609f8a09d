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

#define PLAN_NODES_MAX  7u /* machines */
#define PLAN_GROUPS_MAX 8u

/* X(class of faults) */
#define PLAN_FAULTS(X)                                                                             \
    X(kills)                                                                                       \
    X(power_losses)                                                                                \
    X(crashes_of_all) /* some of those strike everybody */                                         \
    X(crashes_at_io)                                                                               \
    X(crashes_in_recovery)                                                                         \
    X(orderly_restarts)                                                                            \
    X(group_closes) /* and opened again while the node runs */                                     \
    X(pauses)       /* as SIGSTOP */                                                               \
    X(clock_skew)                                                                                  \
    X(clock_drift) /* the rates change while processes run */                                      \
    X(slow_jobs)   /* of the workers: apply, snapshots, spare segments */                          \
    X(slow_links)                                                                                  \
    X(cuts)                                                                                        \
    X(one_way_cuts)                                                                                \
    X(flaps)         /* links that come and go */                                                  \
    X(corrupt_bytes) /* on the way */                                                              \
    X(slow_disks)                                                                                  \
    X(hung_disks)                                                                                  \
    X(full_disks)                                                                                  \
    X(short_writes)                                                                                \
    X(disk_errors) /* of writes and syncs */                                                       \
    X(read_errors)                                                                                 \
    X(damage)            /* sectors rot, on a minority of the disks */                             \
    X(lost_writes)       /* acknowledged, and written nowhere or elsewhere; a minority */          \
    X(rollbacks)         /* an older copy takes a directory's place; a minority */                 \
    X(wipes)             /* an empty one does; a minority */                                       \
    X(sleeping_machines) /* state machines that take their time */                                 \
    X(machine_errors)    /* a callback of the state machine fails */                               \
    X(twists)            /* a state machine comes to differ, on a minority */

enum {
#define X(name) PLAN_FAULT_OF_##name,
    PLAN_FAULTS(X)
#undef X
        PLAN_FAULT_COUNT
};

struct plan {
    uint64_t seed;
    uint32_t node_count;  /* machines */
    uint32_t voter_count; /* initial ones, on the first machines; the others wait to be added */
    uint32_t voters_min;  /* where one of so many may be harmed, none is removed */
    uint32_t group_count; /* with ids from group.group_id on */

    /* limits of the nodes */
    struct rr_engine_options engine;
    struct rr_group_options group;
    uint32_t snapshot_bytes; /* of the state machine */

    /* faults */
    uint64_t fault_interval_ns; /* mean time between two; 0: none at all */
#define X(name) bool name;
    PLAN_FAULTS(X)
#undef X
    bool buffered_disks; /* no O_DIRECT */
    uint64_t down_max_ns;
    uint64_t closed_max_ns; /* of a group that is closed */
    uint64_t crash_at; /* node 1's first process dies at this I/O, its second in recovery; 0: no */

    /* clients */
    uint64_t propose_interval_ns;
    uint32_t outstanding_max; /* closed loop: so many at a time; 0: open loop */
    uint32_t burst_max;
    uint32_t size_max; /* of a proposal */
    bool proposes_in_callbacks;
    uint32_t proposals_max; /* of the hasty clients; then one per interval */
    bool reads;
    bool cancels; /* of proposals, now and then */
    bool snapshots_on_demand;
    uint64_t change_interval_ns; /* mean time between two changes of members; 0: none */
};

void plan_make(struct plan *plan, uint64_t seed);
/* One node and no other fault: small enough to crash at each of its I/Os in turn. */
void plan_make_crash_at(struct plan *plan, uint64_t seed, uint64_t crash_at);
void plan_print(const struct plan *plan);

static inline uint64_t plan_election_ns(const struct plan *plan)
{
    return (uint64_t)plan->group.election_ticks * plan->group.tick_ms * 1000000;
}

#endif
