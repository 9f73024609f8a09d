/* SPDX-License-Identifier: Apache-2.0
 *
 * One node alone: everything between a proposal and its outcome but the network.
 */
#include "tests/unit/check.h"
#include "tests/unit/engine_harness.h"

static void test_single_proposals_are_applied_in_order_exactly_once(void)
{
    struct harness harness;
    harness_init(&harness, 1);
    harness_open(&harness, 0);
    struct harness_node *node = harness_leader(&harness);
    harness_propose(node, 1000, 100);
    harness_wait_outcomes(node, 1000);
    CHECK_EQ_U64(node->ok, 1000);
    CHECK_EQ_U64(node->chain.count, 1000);
    harness_fini(&harness);
}

static void test_single_restart_finds_everything_acknowledged(void)
{
    struct harness harness;
    harness_init(&harness, 1);
    uint64_t hash = 0;
    for (uint32_t round = 0; round < 4; round++) {
        harness_open(&harness, 0);
        struct harness_node *node = harness_leader(&harness);
        harness_propose(node, 500, 10 + round);
        harness_wait_outcomes(node, 500 * (round + 1));
        CHECK_EQ_U64(node->ok, 500 * (round + 1));
        CHECK_EQ_U64(node->chain.count, 500 * (round + 1));
        CHECK(node->chain.hash != hash);
        hash = node->chain.hash;
        harness_close(&harness, 0, round % 2 ? RR_CLOSE_DRAIN : RR_CLOSE_ABORT);
    }
    harness_fini(&harness);
}

static void test_single_inline_completions_propose_the_next(void)
{
    struct harness harness;
    harness_init(&harness, 1);
    harness.group_options.apply_inline = true;
    harness_open(&harness, 0);
    struct harness_node *node = harness_leader(&harness);
    node->repropose = true;
    node->repropose_left = 300;
    harness_propose(node, 1, 128);
    harness_wait_outcomes(node, 301);
    CHECK_EQ_U64(node->chain.count, 301);
    harness_fini(&harness);
}

static void test_single_drain_gives_every_outcome_and_then_refuses(void)
{
    struct harness harness;
    harness_init(&harness, 1);
    harness_open(&harness, 0);
    struct harness_node *node = harness_leader(&harness);
    harness_propose(node, 20000, 50);
    harness_close(&harness, 0, RR_CLOSE_DRAIN);
    CHECK_EQ_U64(node->ok, 20000);
    harness_fini(&harness);
}

static void test_single_abort_still_gives_every_outcome(void)
{
    struct harness harness;
    harness_init(&harness, 1);
    harness_open(&harness, 0);
    struct harness_node *node = harness_leader(&harness);
    harness_propose(node, 20000, 50);
    harness_close(&harness, 0, RR_CLOSE_ABORT);
    CHECK_EQ_U64(node->ok + node->failed, 20000);
    CHECK_EQ_U64(node->chain.count, node->ok); /* nothing applied here was reported as lost */
    harness_fini(&harness);
}

static void test_single_sizes_at_the_limit(void)
{
    struct harness harness;
    harness_init(&harness, 1);
    harness.engine_options.entry_bytes_max = 100000;
    harness_open(&harness, 0);
    struct harness_node *node = harness_leader(&harness);
    uint8_t *bytes = calloc(1, 100001);
    CHECK(rr_propose(node->group, bytes, 100001, 0) == RR_E_TOO_LARGE);
    free(bytes);
    harness_propose(node, 20, 100000);
    harness_propose(node, 20, 99999);
    harness_propose(node, 20, 0);
    harness_propose(node, 20, 1);
    harness_wait_outcomes(node, 80);
    CHECK_EQ_U64(node->ok, 80);
    harness_close(&harness, 0, RR_CLOSE_ABORT);
    uint64_t hash = node->chain.hash;
    harness_open(&harness, 0);
    harness_leader(&harness);
    harness_check_equal(&harness);
    CHECK_EQ_U64(node->chain.hash, hash);
    harness_fini(&harness);
}

static void test_single_state_machine_error_stops_the_group(void)
{
    struct harness harness;
    harness_init(&harness, 1);
    harness_open(&harness, 0);
    struct harness_node *node = harness_leader(&harness);
    node->chain.fail_at = 50;
    for (uint32_t i = 0; i < 100; i++) {
        uint8_t byte = 0;
        int rc = rr_propose(node->group, &byte, 1, i);
        CHECK(rc == 0 || rc == RR_E_CLOSED);
        if (rc == 0)
            node->next_tag = i + 1;
        harness_sleep_ms(1);
    }
    harness_wait_outcomes(node, node->next_tag);
    CHECK(node->ok <= node->chain.count); /* the batch that failed may have begun well */
    CHECK(node->chain.count == 49 && node->failed > 0);
    CHECK(rr_propose(node->group, "x", 1, 1000) == RR_E_CLOSED);
    harness_sleep_ms(5);
    CHECK(harness_status(node).error == RR_E_STATE_MACHINE);
    harness_fini(&harness);
}

static void test_single_open_refusals_say_why(void)
{
    struct harness harness;
    struct rr_error error;
    harness_init(&harness, 1);
    harness.engine_options.create = RR_CREATE_NEVER;
    CHECK(harness_try_open(&harness, 0, &error) == RR_E_NOT_BOOTSTRAPPED && error.message[0]);
    harness.engine_options.create = RR_CREATE_BOOTSTRAP;
    harness.group_options.heartbeat_ticks = 30;
    CHECK(harness_try_open(&harness, 0, &error) == RR_E_INVALID && error.message[0]);
    harness.group_options.heartbeat_ticks = 0;
    harness_open(&harness, 0);
    /* A second engine on the directory, a group without a state machine, another cluster. */
    struct rr_engine *second;
    struct rr_engine_options options = harness.engine_options;
    options.dir = harness.dirs[0];
    options.listen = "127.0.0.1:0";
    options.node_id = 1;
    CHECK(rr_engine_open(&options, &second, &error) == RR_E_LOCKED && error.message[0]);
    struct rr_group *group;
    CHECK(rr_group_open(harness.nodes[0].engine, &harness.group_options, NULL, &group, &error) ==
          RR_E_INVALID);
    harness_close(&harness, 0, RR_CLOSE_DRAIN);
    options.cluster_id++;
    CHECK(rr_engine_open(&options, &second, &error) == RR_E_IDENTITY && error.message[0]);
    harness_fini(&harness);
}

static void test_single_joiner_waits_for_its_first_snapshot(void)
{
    struct harness harness;
    harness_init(&harness, 1);
    harness.engine_options.create = RR_CREATE_JOIN;
    for (uint32_t round = 0; round < 2; round++) {
        harness_open(&harness, 0);
        harness_sleep_ms(500); /* longer than an election timeout */
        struct rr_group_status status = harness_status(&harness.nodes[0]);
        CHECK(status.last_index == 0 && status.voter_count == 0);
        CHECK(status.role == RR_STATE_FOLLOWER && status.term == 0);
        harness_close(&harness, 0, RR_CLOSE_ABORT);
        harness.engine_options.create = RR_CREATE_BOOTSTRAP; /* it is a joiner already */
    }
    harness_fini(&harness);
}

static void test_single_snapshots_bound_the_log(void)
{
    struct harness harness;
    harness_init(&harness, 1);
    harness.engine_options.segment_bytes = 1 << 20;
    harness.engine_options.wal_bytes_max = 16 << 20;
    harness.engine_options.entry_bytes_max = 64 << 10;
    harness.group_options.snapshot_log_bytes = 2 << 20;
    harness_open(&harness, 0);
    struct harness_node *node = harness_leader(&harness);
    harness_propose(node, 16000, 4000); /* four times the budget */
    harness_wait_outcomes(node, 16000);
    CHECK_EQ_U64(node->ok, 16000);
    struct rr_group_status status = harness_status(node);
    CHECK(status.snapshot_index > 8000 && status.first_index > 8000);
    CHECK(status.segments_recycled > 30);
    uint64_t hash = node->chain.hash;
    harness_close(&harness, 0, RR_CLOSE_DRAIN);
    harness_open(&harness, 0);
    harness_leader(&harness);
    harness_check_equal(&harness);
    CHECK(node->chain.restores == 1 && node->chain.hash == hash);
    CHECK_EQ_U64(node->chain.count, 16000);
    harness_fini(&harness);
}

int main(void)
{
    RUN(test_single_proposals_are_applied_in_order_exactly_once);
    RUN(test_single_restart_finds_everything_acknowledged);
    RUN(test_single_inline_completions_propose_the_next);
    RUN(test_single_drain_gives_every_outcome_and_then_refuses);
    RUN(test_single_abort_still_gives_every_outcome);
    RUN(test_single_sizes_at_the_limit);
    RUN(test_single_state_machine_error_stops_the_group);
    RUN(test_single_open_refusals_say_why);
    RUN(test_single_joiner_waits_for_its_first_snapshot);
    RUN(test_single_snapshots_bound_the_log);
    return 0;
}
