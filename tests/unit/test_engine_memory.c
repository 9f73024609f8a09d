/* SPDX-License-Identifier: Apache-2.0
 *
 * A follower that cannot get rid of what it is sent, because its disk or its state machine does not
 * go on: its memory stays within its part of the budget, the others do not notice, and it catches
 * up by itself.
 */
#include "engine/group.h"
#include "tests/unit/check.h"
#include "tests/unit/sim_cluster.h"

#define KIB  1024u
#define SIZE 4000u
#define MANY 3000u /* 12 MB: ten times what the log's part is */

static struct sim_cluster cluster;

static void begin(uint64_t seed, uint32_t node_count)
{
    sim_cluster_init(&cluster, seed, node_count);
    cluster.engine_options.wal_bytes_max = 256 << 20;
    cluster.engine_options.wal_write_bytes_max = 16 * KIB;
    cluster.engine_options.log_cache_bytes = 256 * KIB;
    cluster.engine_options.peer_queue_bytes_max = 64 * KIB;
    cluster.group_options.max_size_per_msg = 32 * KIB;
    cluster.group_options.max_inflight_bytes = 64 << 20; /* no help from the leader */
    cluster.group_options.max_inflight_msgs = 4096;
    cluster.group_options.snapshot_log_bytes = 1 << 30;
    sim_cluster_open(&cluster);
}

/* The most that the node's log took, looked at every millisecond, while the leader commits `count`
 * proposals; how long that took. */
static uint64_t commit(struct sim_node *leader, const struct sim_node *watched, uint32_t count,
                       uint64_t *most)
{
    static const uint8_t data[SIZE];
    uint64_t begun = sim_now(cluster.sim), target = leader->ok + leader->failed + count;
    while (leader->ok + leader->failed < target) {
        while (count > 0 && rr_propose(leader->group, data, SIZE, count) == 0)
            count--;
        sim_cluster_run_ms(&cluster, 1);
        uint64_t taken = sim_cluster_status(watched).memory.log;
        *most = taken > *most ? taken : *most;
    }
    CHECK_EQ_U64(leader->failed, 0);
    return (sim_now(cluster.sim) - begun) / 1000000;
}

static void check_catches_up(const struct sim_node *node, const struct sim_node *leader)
{
    for (uint32_t i = 0; node->applied_index < leader->applied_index; i++) {
        CHECK(i < 20000);
        sim_cluster_run_ms(&cluster, 1);
    }
    CHECK_EQ_U64(node->applied_count, leader->applied_count);
}

static void test_follower_with_a_hung_disk_keeps_within_its_memory(void)
{
    uint64_t most = 0;
    begin(1, 3);
    struct sim_node *leader = sim_cluster_leader(&cluster, NULL);
    struct sim_node *sick = sim_cluster_next(leader, 1);
    uint64_t healthy_ms = commit(leader, sick, MANY, &most);
    sim_disk_hang(cluster.sim, sick->number, true);
    uint64_t meanwhile_ms = commit(leader, sick, MANY, &most);
    struct rr_group_status status = sim_cluster_status(sick);
    printf("    %llu KiB of at most %llu; %llu ms, and %llu with all well\n",
           (unsigned long long)most / KIB, (unsigned long long)status.memory.log_max / KIB,
           (unsigned long long)meanwhile_ms, (unsigned long long)healthy_ms);
    CHECK(most <= status.memory.log_max);
    CHECK(meanwhile_ms <= healthy_ms + healthy_ms / 10);
    sim_disk_hang(cluster.sim, sick->number, false);
    check_catches_up(sick, leader);
    commit(leader, sick, 10, &most);
    check_catches_up(sick, leader);
    sim_cluster_fini(&cluster);
}

/* Who leads alone cannot hand over: it takes in no more than there is room for, and goes on. */
static void test_only_voter_with_a_hung_disk_keeps_within_its_memory(void)
{
    static const uint8_t data[SIZE];
    uint64_t most = 0, accepted = 0;
    begin(5, 1);
    struct sim_node *node = sim_cluster_leader(&cluster, NULL);
    commit(node, node, 100, &most);
    sim_disk_hang(cluster.sim, 1, true);
    for (uint32_t i = 0; i < 10 * MANY; i++) {
        accepted += rr_propose(node->group, data, SIZE, 1000 + i) == 0;
        if (i % 10 == 9)
            sim_cluster_run_ms(&cluster, 1);
        uint64_t taken = sim_cluster_status(node).memory.log;
        most = taken > most ? taken : most;
    }
    uint64_t limit = sim_cluster_status(node).memory.log_max;
    CHECK(most <= limit && most > cluster.engine_options.log_cache_bytes);
    uint64_t refused = node->failed;
    CHECK(refused > 0 && node->last_failure == RR_E_BUSY);
    sim_disk_hang(cluster.sim, 1, false);
    sim_cluster_run_ms(&cluster, 3000);
    CHECK_EQ_U64(node->ok + node->failed, 100 + accepted);
    node->failed = 0;
    commit(node, node, 100, &most);
    sim_cluster_fini(&cluster);
}

/* Its process stands still and its connections stay: what waits for it is the leader's memory. */
static void test_follower_that_stands_still_costs_the_others_nothing(void)
{
    uint64_t most = 0;
    begin(4, 3);
    struct sim_node *leader = sim_cluster_leader(&cluster, NULL);
    struct sim_node *still = sim_cluster_next(leader, 1);
    uint64_t healthy_ms = commit(leader, leader, MANY, &most);
    sim_pause(cluster.sim, still->number, true);
    uint64_t meanwhile_ms = 0;
    for (uint32_t i = 0; i < 3; i++) {
        uint64_t ms = commit(leader, leader, MANY, &most);
        meanwhile_ms = ms > meanwhile_ms ? ms : meanwhile_ms;
        /* Not the faster of two followers any more, but the one that is left. */
        CHECK(ms <= healthy_ms + healthy_ms / 5);
        sim_cluster_run_ms(&cluster, 3000); /* it is probed, or its connections are given up */
    }
    printf("    %llu ms, and %llu with all well\n", (unsigned long long)meanwhile_ms,
           (unsigned long long)healthy_ms);
    CHECK(most <= sim_cluster_status(leader).memory.log_max);
    CHECK(sim_cluster_status(leader).role == RR_STATE_LEADER);
    sim_pause(cluster.sim, still->number, false);
    check_catches_up(still, leader);
    sim_cluster_fini(&cluster);
}

static void test_follower_whose_state_machine_sleeps_keeps_within_its_memory(void)
{
    uint64_t most = 0;
    begin(2, 3);
    struct sim_node *leader = sim_cluster_leader(&cluster, NULL);
    struct sim_node *sleeper = sim_cluster_next(leader, 2);
    uint64_t healthy_ms = commit(leader, sleeper, MANY, &most);
    sim_hold_workers(cluster.sim, sleeper->number, "apply");
    uint64_t applied = sleeper->applied_count;
    uint64_t meanwhile_ms = commit(leader, sleeper, MANY, &most);
    struct rr_group_status status = sim_cluster_status(sleeper);
    CHECK_EQ_U64(sleeper->applied_count, applied);
    CHECK(status.last_index + 500 > sim_cluster_status(leader).last_index); /* it logs them */
    CHECK(most <= status.memory.log_max);
    CHECK(meanwhile_ms <= healthy_ms + healthy_ms / 10);
    sim_hold_workers(cluster.sim, sleeper->number, NULL);
    check_catches_up(sleeper, leader);
    CHECK(sim_cluster_status(sleeper).log_reads > 10); /* what it slept over had left its memory */
    sim_cluster_fini(&cluster);
}

/* One at a time, so that each is committed by itself: they are applied together all the same. */
static void test_trickle_into_a_sleeping_state_machine_needs_few_batches(void)
{
    begin(3, 3);
    struct sim_node *leader = sim_cluster_leader(&cluster, NULL);
    struct sim_node *sleeper = sim_cluster_next(leader, 1);
    sim_hold_workers(cluster.sim, sleeper->number, "apply");
    uint64_t before = sleeper->group->apply.batch_allocations;
    for (uint32_t i = 0; i < 2000; i++) {
        CHECK(rr_propose(leader->group, "x", 1, i) == 0);
        sim_cluster_run_ms(&cluster, 2);
    }
    CHECK_EQ_U64(leader->failed, 0);
    CHECK(sim_cluster_status(sleeper).commit >= 1990);
    CHECK(sleeper->group->apply.batch_allocations - before <= APPLY_BATCHES_KEPT);
    sim_hold_workers(cluster.sim, sleeper->number, NULL);
    check_catches_up(sleeper, leader);
    sim_cluster_fini(&cluster);
}

int main(void)
{
    RUN(test_follower_with_a_hung_disk_keeps_within_its_memory);
    RUN(test_only_voter_with_a_hung_disk_keeps_within_its_memory);
    RUN(test_follower_that_stands_still_costs_the_others_nothing);
    RUN(test_follower_whose_state_machine_sleeps_keeps_within_its_memory);
    RUN(test_trickle_into_a_sleeping_state_machine_needs_few_batches);
    return 0;
}
