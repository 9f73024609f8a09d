/* SPDX-License-Identifier: Apache-2.0
 *
 * A failed durable write, in the simulator: no acknowledgement, no vote, no retry; every outcome is
 * given.
 */
#include "tests/unit/check.h"
#include "tests/unit/sim_cluster.h"

#include <errno.h>

static struct sim_cluster cluster;

static void run_ms(uint64_t ms)
{
    sim_cluster_run_ms(&cluster, ms);
}

static void open_cluster(uint64_t seed)
{
    sim_cluster_init(&cluster, seed, 3);
    sim_cluster_open(&cluster);
}

static void test_poisoned_leader_acknowledges_nothing_and_is_replaced(void)
{
    open_cluster(1);
    struct sim_node *leader = sim_cluster_leader(&cluster, NULL);
    CHECK_EQ_U64(sim_cluster_propose(leader, 1, 10), 10);
    run_ms(50);
    CHECK_EQ_U64(leader->ok, 10);
    sim_disk_error(cluster.sim, leader->number, EIO, 1);
    uint32_t accepted = sim_cluster_propose(leader, 11, 10);
    run_ms(50);
    CHECK_EQ_U64(leader->ok, 10); /* though the two others may well have them */
    CHECK_EQ_U64(leader->failed, accepted);
    CHECK(leader->last_failure == RR_E_UNKNOWN_OUTCOME);
    CHECK(sim_cluster_status(leader).error == RR_E_POISONED);
    CHECK(rr_propose(leader->group, "x", 1, 99) == RR_E_CLOSED);
    struct sim_node *next = sim_cluster_leader(&cluster, leader);
    CHECK_EQ_U64(sim_cluster_propose(next, 1, 10), 10);
    run_ms(100);
    CHECK_EQ_U64(next->ok, 10);
    CHECK(sim_cluster_status(leader).role == RR_STATE_FOLLOWER);
    sim_cluster_fini(&cluster);
}

static void test_poisoned_follower_neither_acks_nor_votes(void)
{
    open_cluster(2);
    struct sim_node *leader = sim_cluster_leader(&cluster, NULL);
    struct sim_node *poisoned = sim_cluster_next(leader, 1);
    struct sim_node *other = sim_cluster_next(leader, 2);
    run_ms(100);
    sim_disk_error(cluster.sim, poisoned->number, EIO, 1);
    CHECK_EQ_U64(sim_cluster_propose(leader, 1, 1), 1);
    run_ms(50);
    CHECK_EQ_U64(leader->ok, 1); /* by the other */
    CHECK(sim_cluster_status(poisoned).error == RR_E_POISONED);
    /* Without the other there is no quorum any more: the poisoned node counts for nothing. */
    sim_cluster_kill(&cluster, other->number - 1);
    CHECK_EQ_U64(sim_cluster_propose(leader, 2, 5), 5);
    run_ms(5000);
    CHECK_EQ_U64(leader->ok, 1);
    CHECK(sim_cluster_status(leader).role != RR_STATE_LEADER &&
          sim_cluster_status(poisoned).role == 0);
    sim_cluster_fini(&cluster);
}

int main(void)
{
    RUN(test_poisoned_leader_acknowledges_nothing_and_is_replaced);
    RUN(test_poisoned_follower_neither_acks_nor_votes);
    return 0;
}
