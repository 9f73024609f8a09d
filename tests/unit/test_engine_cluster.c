/* SPDX-License-Identifier: Apache-2.0
 *
 * Three nodes in one process, on real files and loopback.
 */
#include "tests/unit/check.h"
#include "tests/unit/engine_harness.h"

static void open_all(struct harness *harness)
{
    for (uint32_t i = 0; i < harness->node_count; i++)
        harness_open(harness, i);
}

static uint32_t number_of(const struct harness *harness, const struct harness_node *node)
{
    return (uint32_t)(node - harness->nodes);
}

static void test_cluster_replicates_to_all(void)
{
    struct harness harness;
    harness_init(&harness, 3);
    open_all(&harness);
    struct harness_node *leader = harness_leader(&harness);
    harness_propose(leader, 5000, 128);
    harness_propose(leader, 100, 20000);
    harness_wait_outcomes(leader, 5100);
    harness_check_ok(leader, 5100);
    harness_check_equal(&harness);
    CHECK(leader->chain.count >= leader->ok);
    harness_fini(&harness);
}

static void test_cluster_follower_refuses_with_not_leader(void)
{
    struct harness harness;
    harness_init(&harness, 3);
    open_all(&harness);
    struct harness_node *leader = harness_leader(&harness);
    struct harness_node *other = &harness.nodes[(number_of(&harness, leader) + 1) % 3];
    harness_propose(other, 10, 10);
    harness_wait_outcomes(other, 10);
    CHECK(other->failed == 10 && other->last_failure == RR_E_NOT_LEADER);
    CHECK_EQ_U64(other->chain.count, 0);
    harness_fini(&harness);
}

static void test_cluster_survives_its_leader_and_takes_it_back(void)
{
    struct harness harness;
    harness_init(&harness, 3);
    open_all(&harness);
    uint64_t acknowledged = 0;
    for (uint32_t round = 0; round < 3; round++) {
        struct harness_node *leader = harness_leader(&harness);
        uint64_t before = leader->ok + leader->failed, ok_before = leader->ok;
        harness_propose(leader, 1000, 100);
        harness_wait_outcomes(leader, before + 1000);
        acknowledged += leader->ok - ok_before;
        harness_propose(leader, 200, 100); /* on the way when it goes */
        uint32_t number = number_of(&harness, leader);
        harness_close(&harness, number, RR_CLOSE_ABORT);
        CHECK_EQ_U64(leader->ok + leader->failed, before + 1200);
        harness_leader(&harness);
        harness_open(&harness, number);
    }
    harness_leader(&harness);
    harness_check_equal(&harness);
    CHECK(harness.nodes[0].chain.count >= acknowledged);
    harness_fini(&harness);
}

static void test_cluster_minority_acknowledges_nothing(void)
{
    struct harness harness;
    harness_init(&harness, 3);
    open_all(&harness);
    struct harness_node *leader = harness_leader(&harness);
    uint32_t number = number_of(&harness, leader);
    harness_propose(leader, 10, 10);
    harness_wait_outcomes(leader, 10);
    uint64_t ok = leader->ok;
    harness_close(&harness, (number + 1) % 3, RR_CLOSE_ABORT);
    harness_close(&harness, (number + 2) % 3, RR_CLOSE_ABORT);
    harness_propose(leader, 10, 10);
    harness_wait_outcomes(leader, 20); /* when it has noticed that it leads nobody */
    CHECK_EQ_U64(leader->ok, ok);
    CHECK(leader->last_failure == RR_E_UNKNOWN_OUTCOME);
    harness_fini(&harness);
}

static void test_cluster_late_follower_gets_a_snapshot(void)
{
    struct harness harness;
    harness_init(&harness, 3);
    harness.engine_options.segment_bytes = 1 << 20;
    harness.engine_options.wal_bytes_max = 16 << 20;
    harness.engine_options.entry_bytes_max = 64 << 10;
    harness.group_options.snapshot_log_bytes = 1 << 20;
    open_all(&harness);
    struct harness_node *leader = harness_leader(&harness);
    uint32_t late = (number_of(&harness, leader) + 1) % 3;
    harness_propose(leader, 100, 1000);
    harness_wait_outcomes(leader, 100);
    harness_close(&harness, late, RR_CLOSE_ABORT);
    leader = harness_leader(&harness);
    uint64_t before = leader->ok + leader->failed;
    harness_propose(leader, 8000, 2000);
    harness_wait_outcomes(leader, before + 8000);
    CHECK(harness_status(leader).first_index > 1000);
    harness_open(&harness, late);
    harness_check_equal(&harness);
    CHECK(harness.nodes[late].chain.restores > 0);
    harness_propose(leader, 100, 100);
    harness_check_equal(&harness);
    harness_fini(&harness);
}

static void test_cluster_all_down_and_up_again_keep_everything(void)
{
    struct harness harness;
    harness_init(&harness, 3);
    uint64_t acknowledged = 0;
    for (uint32_t round = 1; round <= 3; round++) {
        open_all(&harness);
        struct harness_node *leader = harness_leader(&harness);
        uint64_t before = leader->ok + leader->failed, ok_before = leader->ok;
        harness_propose(leader, 500, 64);
        harness_wait_outcomes(leader, before + 500);
        acknowledged += leader->ok - ok_before;
        harness_check_equal(&harness);
        CHECK(leader->chain.count >= acknowledged);
        for (uint32_t i = 0; i < 3; i++)
            harness_close(&harness, i, i == round % 3 ? RR_CLOSE_DRAIN : RR_CLOSE_ABORT);
    }
    harness_fini(&harness);
}

/* Their directories hold the old addresses. */
static void test_cluster_moved_to_other_addresses_goes_on(void)
{
    struct harness harness;
    harness_init(&harness, 3);
    for (uint32_t round = 1; round <= 2; round++) {
        open_all(&harness);
        struct harness_node *leader = harness_leader(&harness);
        uint64_t before = leader->ok + leader->failed;
        harness_propose(leader, 100, 64);
        harness_wait_outcomes(leader, before + 100);
        harness_check_equal(&harness);
        for (uint32_t i = 0; i < 3; i++) {
            harness_close(&harness, i, RR_CLOSE_DRAIN);
            harness_move(&harness, i);
        }
    }
    harness_fini(&harness);
}

static void test_cluster_wiped_directory_is_refused_by_its_peers(void)
{
    struct harness harness;
    harness_init(&harness, 3);
    open_all(&harness);
    struct harness_node *leader = harness_leader(&harness);
    uint32_t wiped = (number_of(&harness, leader) + 1) % 3;
    harness_propose(leader, 10, 10);
    harness_wait_outcomes(leader, 10);
    harness_check_equal(&harness); /* everybody knows everybody */
    harness_close(&harness, wiped, RR_CLOSE_ABORT);
    snprintf(harness.dirs[wiped], sizeof(harness.dirs[wiped]), "%s/wiped", harness.root);
    harness_open(&harness, wiped);
    int32_t refusal = 0;
    for (uint32_t waited = 0; waited < 5000 && refusal != RR_E_INSTANCE; waited++) {
        struct rr_group_status status = harness_status(&harness.nodes[wiped]);
        for (uint32_t i = 0; i < status.peer_count; i++)
            if (status.peers[i].refusal == RR_E_INSTANCE)
                refusal = status.peers[i].refusal;
        harness_sleep_ms(1);
    }
    CHECK(refusal == RR_E_INSTANCE);
    CHECK_EQ_U64(harness_status(&harness.nodes[wiped]).last_index, 1);
    harness_fini(&harness);
}

int main(void)
{
    RUN(test_cluster_replicates_to_all);
    RUN(test_cluster_follower_refuses_with_not_leader);
    RUN(test_cluster_survives_its_leader_and_takes_it_back);
    RUN(test_cluster_minority_acknowledges_nothing);
    RUN(test_cluster_late_follower_gets_a_snapshot);
    RUN(test_cluster_all_down_and_up_again_keep_everything);
    RUN(test_cluster_moved_to_other_addresses_goes_on);
    RUN(test_cluster_wiped_directory_is_refused_by_its_peers);
    return 0;
}
