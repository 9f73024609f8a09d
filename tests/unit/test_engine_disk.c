/* SPDX-License-Identifier: Apache-2.0
 *
 * Disks that hang, crawl or are full, in the simulator: who leads then, who votes, and that all is
 * well again when the disk is.
 */
#include "engine/group.h"
#include "tests/unit/check.h"
#include "tests/unit/sim_cluster.h"

#define MS          1000000ull
#define ELECTION_MS 500u /* by default */

static struct sim_cluster cluster;

static void run_ms(uint64_t ms)
{
    sim_cluster_run_ms(&cluster, ms);
}

static struct sim_node *open_cluster(uint64_t seed, uint32_t node_count)
{
    sim_cluster_init(&cluster, seed, node_count);
    sim_cluster_open(&cluster);
    struct sim_node *leader = sim_cluster_leader(&cluster, NULL);
    CHECK_EQ_U64(sim_cluster_propose(leader, 1000, 10), 10);
    run_ms(200);
    CHECK_EQ_U64(leader->ok, 10);
    return leader;
}

static int32_t disk_status(const struct sim_node *node)
{
    const struct rr_event *event = sim_cluster_event(node, RR_EVENT_DISK);
    return event ? event->status : 0;
}

static void check_converged(void)
{
    run_ms(3000);
    for (uint32_t i = 1; i < cluster.node_count; i++)
        CHECK_EQ_U64(cluster.nodes[i].applied_index, cluster.nodes[0].applied_index);
}

static void test_leader_whose_disk_hangs_hands_over(void)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct sim_node *old = open_cluster(seed, 3);
        sim_disk_hang(cluster.sim, old->number, true);
        CHECK_EQ_U64(sim_cluster_propose(old, 1, 5), 5);
        /* A stall is an election timeout old; then the most advanced is asked, and ready. */
        run_ms(ELECTION_MS + 150);
        CHECK(disk_status(old) == RR_E_STALLED);
        CHECK(sim_cluster_status(old).role == RR_STATE_FOLLOWER);
        bool has_next = false;
        for (uint32_t k = 1; k < 3; k++)
            has_next |= sim_cluster_status(sim_cluster_next(old, k)).role == RR_STATE_LEADER;
        CHECK(has_next); /* nobody waited for an election timeout */
        struct sim_node *next = sim_cluster_leader(&cluster, old);
        CHECK_EQ_U64(sim_cluster_propose(next, 1, 5), 5);
        run_ms(50);
        CHECK_EQ_U64(next->ok, 5);
        uint64_t term = sim_cluster_status(next).term;
        run_ms(5000);
        CHECK_EQ_U64(sim_cluster_status(next).term, term); /* nobody campaigned */
        sim_disk_hang(cluster.sim, old->number, false);
        check_converged();
        CHECK(disk_status(old) == 0);
        CHECK_EQ_U64(old->ok + old->failed, 15);
        CHECK_EQ_U64(old->applied_count, 20); /* the others had them */
        sim_cluster_fini(&cluster);
    }
}

/* Nobody can be reached that could take over: it steps down, and does not come back. */
static void test_stalled_leader_without_a_successor_steps_down(void)
{
    struct sim_node *old = open_cluster(21, 3);
    for (uint32_t k = 1; k < 3; k++)
        sim_cluster_kill(&cluster, sim_cluster_next(old, k)->number - 1);
    sim_disk_hang(cluster.sim, old->number, true);
    CHECK_EQ_U64(sim_cluster_propose(old, 1, 1), 1);
    run_ms(ELECTION_MS + 150);
    CHECK(sim_cluster_status(old).role == RR_STATE_FOLLOWER);
    run_ms(3000);
    CHECK(sim_cluster_status(old).role == RR_STATE_FOLLOWER);
    sim_disk_hang(cluster.sim, old->number, false);
    for (uint32_t k = 1; k < 3; k++)
        sim_cluster_open_node(&cluster, sim_cluster_next(old, k)->number - 1);
    sim_cluster_leader(&cluster, NULL);
    check_converged();
    sim_cluster_fini(&cluster);
}

static void test_stalled_follower_costs_nothing_and_grants_no_vote(void)
{
    struct sim_node *leader = open_cluster(22, 3);
    struct sim_node *stalled = sim_cluster_next(leader, 1);
    struct sim_node *other = sim_cluster_next(leader, 2);
    sim_disk_hang(cluster.sim, stalled->number, true);
    for (uint64_t tag = 1; tag <= 20; tag++) {
        CHECK_EQ_U64(sim_cluster_propose(leader, tag, 1), 1);
        run_ms(100);
        CHECK_EQ_U64(leader->ok, 10 + tag);
    }
    CHECK(disk_status(stalled) == RR_E_STALLED && disk_status(leader) == 0);
    uint64_t term = sim_cluster_status(leader).term;
    sim_cluster_isolate(leader, true);
    run_ms(2 * ELECTION_MS);
    uint64_t sent = sim_cluster_status(stalled).messages_sent;
    run_ms(8 * ELECTION_MS);
    CHECK(sim_cluster_status(stalled).messages_sent > sent); /* it said no */
    CHECK(sim_cluster_status(other).role != RR_STATE_LEADER);
    CHECK(sim_cluster_status(stalled).role == RR_STATE_FOLLOWER);
    CHECK_EQ_U64(sim_cluster_status(other).term, term); /* its pre-votes were refused */
    sim_disk_hang(cluster.sim, stalled->number, false);
    run_ms(4 * ELECTION_MS);
    CHECK(disk_status(stalled) == 0);
    CHECK(sim_cluster_leader(&cluster, leader) == other ||
          sim_cluster_leader(&cluster, leader) == stalled);
    sim_cluster_isolate(leader, false);
    check_converged();
    sim_cluster_fini(&cluster);
}

/* What hangs is the mark behind acknowledged entries: it looks like a good heir. */
static void test_stalled_follower_does_not_take_over(void)
{
    struct sim_node *leader = open_cluster(26, 3);
    struct sim_node *stalled = sim_cluster_next(leader, 1);
    CHECK_EQ_U64(sim_cluster_propose(leader, 1, 1), 1);
    run_ms(20);
    sim_disk_hang(cluster.sim, stalled->number, true);
    run_ms(2 * ELECTION_MS);
    CHECK(disk_status(stalled) == RR_E_STALLED);
    rr_raw_node_transfer_leader(leader->group->node, stalled->number);
    engine_touch(leader->engine, leader->group);
    run_ms(4 * ELECTION_MS);
    CHECK(sim_cluster_status(leader).role == RR_STATE_LEADER);
    CHECK(sim_cluster_status(stalled).role == RR_STATE_FOLLOWER);
    sim_disk_hang(cluster.sim, stalled->number, false);
    check_converged();
    sim_cluster_fini(&cluster);
}

static void test_slow_disk_is_no_stall(void)
{
    struct sim_node *leader = open_cluster(23, 3);
    for (uint32_t i = 1; i <= 3; i++)
        sim_disk_latency(cluster.sim, i, 50 * MS, 200 * MS);
    for (uint64_t tag = 1; tag <= 20; tag++) {
        CHECK_EQ_U64(sim_cluster_propose(leader, tag, 1), 1);
        run_ms(400);
    }
    CHECK_EQ_U64(leader->ok, 30);
    for (uint32_t i = 0; i < 3; i++)
        CHECK(sim_cluster_event(&cluster.nodes[i], RR_EVENT_DISK) == NULL);
    sim_cluster_fini(&cluster);
}

static void test_only_voter_waits_for_its_disk(void)
{
    struct sim_node *node = open_cluster(24, 1);
    sim_disk_hang(cluster.sim, node->number, true);
    CHECK_EQ_U64(sim_cluster_propose(node, 1, 5), 5);
    run_ms(5 * ELECTION_MS);
    CHECK(disk_status(node) == RR_E_STALLED);
    CHECK(sim_cluster_status(node).role == RR_STATE_LEADER && node->ok == 10);
    sim_disk_hang(cluster.sim, node->number, false);
    run_ms(100);
    CHECK_EQ_U64(node->ok, 15);
    CHECK(disk_status(node) == 0);
    sim_cluster_fini(&cluster);
}

/* Refused before anything is acknowledged; the leader moves to where there is room. */
static void test_leader_whose_disk_is_full_hands_over(void)
{
    struct sim_node *old = open_cluster(25, 3);
    uint64_t tag = 100000;
    sim_disk_capacity(cluster.sim, old->number, sim_disk_used(cluster.sim, old->number));
    for (uint32_t round = 0; round < 2000 && disk_status(old) == 0; round++) {
        static const char bytes[4096];
        for (uint32_t i = 0; i < 8; i++)
            (void)rr_propose(old->group, bytes, sizeof(bytes), tag++);
        run_ms(5);
        old->completion_count = 0;
    }
    CHECK(disk_status(old) == RR_E_NO_SPACE);
    run_ms(150);
    CHECK(sim_cluster_status(old).role == RR_STATE_FOLLOWER);
    struct sim_node *next = sim_cluster_leader(&cluster, old);
    CHECK_EQ_U64(sim_cluster_propose(next, 1, 5), 5);
    run_ms(50);
    CHECK_EQ_U64(next->ok, 5);
    run_ms(5000);
    CHECK(sim_cluster_status(next).role == RR_STATE_LEADER);
    sim_disk_capacity(cluster.sim, old->number, UINT64_MAX);
    check_converged();
    CHECK(disk_status(old) == 0);
    sim_cluster_fini(&cluster);
}

int main(void)
{
    RUN(test_leader_whose_disk_hangs_hands_over);
    RUN(test_stalled_leader_without_a_successor_steps_down);
    RUN(test_stalled_follower_costs_nothing_and_grants_no_vote);
    RUN(test_stalled_follower_does_not_take_over);
    RUN(test_slow_disk_is_no_stall);
    RUN(test_only_voter_waits_for_its_disk);
    RUN(test_leader_whose_disk_is_full_hands_over);
    return 0;
}
