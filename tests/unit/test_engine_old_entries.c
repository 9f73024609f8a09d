/* SPDX-License-Identifier: Apache-2.0
 *
 * Logs that are longer than what may be in memory, in the simulator: who lags behind gets old
 * entries from the disk, and nobody else notices.
 */
#include "tests/unit/check.h"
#include "tests/unit/sim_cluster.h"

#include <stdio.h>
#include <stdlib.h>

#define KIB           1024u
#define CACHE_BYTES   (256u * KIB)
#define PROPOSAL_SIZE 400u
#define MANY          4000u /* proposals: seven times what the cache holds */

static struct sim_cluster cluster;
static char last_error[512];

static void on_log(void *ctx, int level, const char *line)
{
    (void)ctx;
    if (level >= 3)
        snprintf(last_error, sizeof(last_error), "%s", line);
}

static void begin(uint64_t seed, uint32_t node_count, uint64_t cache_bytes)
{
    sim_cluster_init(&cluster, seed, node_count);
    cluster.engine_options.wal_bytes_max = 64 << 20;
    cluster.engine_options.wal_write_bytes_max = 16 * KIB;
    cluster.engine_options.log_cache_bytes = cache_bytes;
    cluster.engine_options.log = on_log;
    cluster.group_options.snapshot_log_bytes = 1 << 30; /* none: entries alone must do */
    cluster.group_options.max_size_per_msg = 32 * KIB;
    last_error[0] = 0;
    sim_cluster_open(&cluster);
}

/* Proposes and waits until all are committed; returns how many milliseconds that took. */
static uint64_t commit(struct sim_node *leader, uint32_t count)
{
    static const uint8_t data[PROPOSAL_SIZE];
    uint64_t begun = sim_now(cluster.sim), target = leader->ok + leader->failed + count;
    while (leader->ok + leader->failed < target) {
        while (count > 0 && rr_propose(leader->group, data, PROPOSAL_SIZE, count) == 0)
            count--;
        sim_cluster_run_ms(&cluster, 1);
    }
    if (leader->failed)
        fprintf(stderr, "failure %d\n", leader->last_failure);
    CHECK_EQ_U64(leader->failed, 0);
    return (sim_now(cluster.sim) - begun) / 1000000;
}

/* Until the node has applied as much as the leader. */
static void wait_caught_up(const struct sim_node *node, const struct sim_node *leader)
{
    for (uint32_t i = 0; node->applied_index < leader->applied_index; i++) {
        CHECK(i < 20000);
        sim_cluster_run_ms(&cluster, 1);
    }
}

/* Nothing but what is in flight goes beyond the bound. */
static void check_memory(const struct sim_node *node)
{
    CHECK(sim_cluster_status(node).log_memory_bytes <= CACHE_BYTES + 128 * KIB);
}

/* How long the others take with one node down, and while it catches up. */
static void measure_with_a_dead_follower(uint64_t cache_bytes, uint64_t *without,
                                         uint64_t *meanwhile)
{
    begin(1, 3, cache_bytes);
    struct sim_node *leader = sim_cluster_leader(&cluster, NULL);
    struct sim_node *other = sim_cluster_next(leader, 1);
    commit(leader, 500);
    wait_caught_up(other, leader);
    sim_cluster_kill(&cluster, other->number - 1);
    *without = commit(leader, MANY);
    struct rr_group_status before = sim_cluster_status(leader);
    sim_cluster_open_node(&cluster, other->number - 1);
    *meanwhile = commit(leader, MANY);
    wait_caught_up(other, leader);
    CHECK(other->applied_count == leader->applied_count);
    CHECK_EQ_U64(sim_cluster_status(other).snapshot_index, 1); /* by entries */
    struct rr_group_status after = sim_cluster_status(leader);
    if (cache_bytes == CACHE_BYTES) {
        CHECK(before.cached_index > before.last_index - MANY / 2);
        CHECK(after.log_reads > before.log_reads + 10);
        check_memory(leader);
        check_memory(other);
    } else {
        CHECK(after.log_reads == 0 && after.cached_index == after.first_index);
    }
    sim_cluster_fini(&cluster);
}

static void test_dead_follower_costs_the_others_nothing_and_catches_up_from_disk(void)
{
    uint64_t without[2], meanwhile[2];
    measure_with_a_dead_follower(64 << 20, &without[0], &meanwhile[0]);
    measure_with_a_dead_follower(CACHE_BYTES, &without[1], &meanwhile[1]);
    printf("    all in memory: %llu ms, then %llu; with a small cache %llu, then %llu\n",
           (unsigned long long)without[0], (unsigned long long)meanwhile[0],
           (unsigned long long)without[1], (unsigned long long)meanwhile[1]);
    CHECK(without[1] <= without[0] + without[0] / 10);
    CHECK(meanwhile[1] <= meanwhile[0] + meanwhile[0] / 10);
}

static void test_two_laggards_at_different_places_catch_up(void)
{
    begin(2, 5, CACHE_BYTES);
    struct sim_node *leader = sim_cluster_leader(&cluster, NULL);
    struct sim_node *first = sim_cluster_next(leader, 1), *second = sim_cluster_next(leader, 3);
    commit(leader, 300);
    sim_cluster_isolate(first, true);
    commit(leader, MANY / 2);
    sim_cluster_isolate(second, true);
    commit(leader, MANY / 2);
    sim_cluster_isolate(first, false);
    sim_cluster_isolate(second, false);
    sim_cluster_run_ms(&cluster, 5000);
    leader = sim_cluster_leader(&cluster, NULL);
    for (uint32_t i = 0; i < 5; i++) {
        wait_caught_up(&cluster.nodes[i], leader);
        CHECK_EQ_U64(cluster.nodes[i].applied_count, leader->applied_count);
        check_memory(&cluster.nodes[i]);
    }
    CHECK(leader->applied_count >= 300 + MANY);
    sim_cluster_fini(&cluster);
}

/* The state machine is empty after a restart and needs all entries again. */
static void test_log_longer_than_the_cache_opens_and_is_applied_from_disk(void)
{
    begin(3, 1, CACHE_BYTES);
    struct sim_node *node = sim_cluster_leader(&cluster, NULL);
    commit(node, MANY);
    sim_cluster_kill(&cluster, 0);
    sim_cluster_open_node(&cluster, 0);
    struct rr_group_status status = sim_cluster_status(node);
    CHECK(status.last_index >= MANY && status.cached_index > MANY / 2);
    check_memory(node);
    sim_cluster_leader(&cluster, NULL);
    commit(node, 1);
    CHECK_EQ_U64(node->applied_count, MANY + 1);
    CHECK(sim_cluster_status(node).log_reads > 5);
    check_memory(node);
    sim_cluster_fini(&cluster);
}

/* A leader that is alone appends more than its cache holds; the next leader replaces all of it. */
static void test_tail_that_left_memory_is_truncated(void)
{
    static const uint8_t data[PROPOSAL_SIZE];
    begin(4, 3, CACHE_BYTES);
    struct sim_node *old = sim_cluster_leader(&cluster, NULL);
    commit(old, 100);
    sim_cluster_isolate(old, true);
    for (uint32_t i = 0; i < 1000; i++) {
        CHECK(rr_propose(old->group, data, sizeof(data), i) == 0);
        if (i % 100 == 99)
            sim_cluster_run_ms(&cluster, 2);
    }
    sim_cluster_run_ms(&cluster, 20);
    struct rr_group_status status = sim_cluster_status(old);
    CHECK(status.last_index > 1000 && status.cached_index > status.commit + 10);
    struct sim_node *next = sim_cluster_leader(&cluster, old);
    commit(next, 50);
    sim_cluster_isolate(old, false);
    sim_cluster_run_ms(&cluster, 3000);
    wait_caught_up(old, next);
    CHECK_EQ_U64(old->applied_count, next->applied_count);
    CHECK(sim_cluster_status(old).last_index < 1000);
    commit(sim_cluster_leader(&cluster, NULL), MANY / 4);
    sim_cluster_fini(&cluster);
}

static void rot(struct sim_node *node, enum sim_damage how)
{
    for (uint32_t sector = 0; sector < 64; sector++)
        CHECK(sim_damage(cluster.sim, node->number, "/data/wal-0000000000000002",
                         64 * KIB + sector * 512u, how) == 0);
}

/* An old entry rots, or cannot be read: its node may not send it, lead or vote any more; the others
 * go on, and the laggard gets everything from them. */
static void test_rotten_old_entry_stops_the_node_that_needs_it(void)
{
    static const enum sim_damage kinds[] = {SIM_DAMAGE_FLIP, SIM_DAMAGE_UNREADABLE};
    for (uint32_t k = 0; k < 2; k++) {
        begin(5 + k, 3, CACHE_BYTES);
        struct sim_node *leader = sim_cluster_leader(&cluster, NULL);
        struct sim_node *other = sim_cluster_next(leader, 1);
        commit(leader, 100);
        sim_cluster_kill(&cluster, other->number - 1);
        commit(leader, MANY);
        rot(leader, kinds[k]);
        sim_cluster_open_node(&cluster, other->number - 1);
        struct sim_node *next = sim_cluster_leader(&cluster, leader);
        sim_cluster_run_ms(&cluster, 2000);
        CHECK(sim_cluster_status(leader).error == RR_E_CORRUPT);
        CHECK(rr_propose(leader->group, "x", 1, 1) == RR_E_CLOSED);
        CHECK(strstr(last_error, "stops on this node"));
        next = sim_cluster_leader(&cluster, leader);
        commit(next, 10);
        wait_caught_up(other, next);
        CHECK_EQ_U64(other->applied_count, next->applied_count);
        sim_cluster_fini(&cluster);
    }
}

int main(void)
{
    RUN(test_dead_follower_costs_the_others_nothing_and_catches_up_from_disk);
    RUN(test_two_laggards_at_different_places_catch_up);
    RUN(test_log_longer_than_the_cache_opens_and_is_applied_from_disk);
    RUN(test_tail_that_left_memory_is_truncated);
    RUN(test_rotten_old_entry_stops_the_node_that_needs_it);
    return 0;
}
