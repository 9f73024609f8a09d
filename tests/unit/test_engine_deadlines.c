/* SPDX-License-Identifier: Apache-2.0
 *
 * Proposals that nobody waits for any longer, in the simulator: what was queued is certainly not in
 * the log, what was logged may yet be applied, and every outcome comes once.
 */
#include "tests/unit/check.h"
#include "tests/unit/sim_cluster.h"

#define MS 1000000ull

static struct sim_cluster cluster;

static void run_ms(uint64_t ms)
{
    sim_cluster_run_ms(&cluster, ms);
}

static struct sim_node *open_cluster(uint64_t seed, uint32_t node_count, uint32_t timeout_ms)
{
    sim_cluster_init(&cluster, seed, node_count);
    cluster.group_options.proposal_timeout_ms = timeout_ms;
    sim_cluster_open(&cluster);
    struct sim_node *leader = sim_cluster_leader(&cluster, NULL);
    run_ms(100);
    return leader;
}

static int32_t status_of(const struct sim_node *node, uint64_t tag)
{
    const struct rr_completion *completion = sim_cluster_completion(node, tag);
    CHECK(completion != NULL && completion->kind == RR_COMPLETION_PROPOSAL);
    return completion->status;
}

/* A write is in flight on a slow disk: what comes then waits in the queue. */
static void propose_behind_a_write(struct sim_node *node, uint32_t queued)
{
    sim_disk_latency(cluster.sim, node->number, 200 * MS, 200 * MS);
    CHECK_EQ_U64(sim_cluster_propose(node, 1, 1), 1);
    run_ms(1);
    CHECK_EQ_U64(sim_cluster_propose(node, 2, queued), queued);
}

static void test_queued_proposal_is_canceled_for_certain(void)
{
    sim_cluster_init(&cluster, 1, 1);
    cluster.group_options.batch_wait_max_us = 1000 * 1000;
    sim_cluster_open(&cluster);
    struct sim_node *node = sim_cluster_leader(&cluster, NULL);
    run_ms(1000);
    propose_behind_a_write(node, 5);
    CHECK(rr_cancel(node->group, 2) == 0); /* the first, one in the middle, the last */
    CHECK(rr_cancel(node->group, 4) == 0);
    CHECK(rr_cancel(node->group, 6) == 0);
    run_ms(10);
    CHECK(status_of(node, 2) == RR_E_CANCELED && status_of(node, 4) == RR_E_CANCELED);
    CHECK(status_of(node, 6) == RR_E_CANCELED && node->completion_count == 3);
    run_ms(2000);
    CHECK(status_of(node, 3) == RR_OK && status_of(node, 5) == RR_OK);
    CHECK(status_of(node, 1) == RR_OK);
    CHECK_EQ_U64(node->applied_count, 3);
    /* What is canceled alone in the queue holds nobody up. */
    propose_behind_a_write(node, 0);
    CHECK_EQ_U64(sim_cluster_propose(node, 100, 1), 1);
    CHECK(rr_cancel(node->group, 100) == 0);
    run_ms(500);
    CHECK(status_of(node, 100) == RR_E_CANCELED);
    CHECK_EQ_U64(node->applied_count, 4);
    CHECK_EQ_U64(sim_cluster_propose(node, 101, 1), 1);
    run_ms(500);
    CHECK(status_of(node, 101) == RR_OK);
    sim_cluster_fini(&cluster);
}

static void test_logged_proposal_is_given_up_and_applied_all_the_same(void)
{
    struct sim_node *leader = open_cluster(2, 3, 0);
    sim_cluster_isolate(leader, true);
    CHECK_EQ_U64(sim_cluster_propose(leader, 1, 3), 3);
    run_ms(20);
    CHECK_EQ_U64(leader->completion_count, 0);
    CHECK(rr_cancel(leader->group, 2) == 0 && rr_cancel(leader->group, 2) == 0);
    CHECK(rr_cancel(leader->group, 77) == 0); /* nobody's */
    run_ms(5);
    CHECK(status_of(leader, 2) == RR_E_UNKNOWN_OUTCOME && leader->completion_count == 1);
    sim_cluster_isolate(leader, false);
    run_ms(3000);
    CHECK_EQ_U64(leader->completion_count, 3);
    CHECK(status_of(leader, 1) == status_of(leader, 3));
    if (status_of(leader, 1) == RR_OK)
        CHECK_EQ_U64(leader->applied_count, 3);
    sim_cluster_fini(&cluster);
}

static void test_cancel_of_what_is_done_changes_nothing(void)
{
    struct sim_node *leader = open_cluster(3, 3, 0);
    CHECK_EQ_U64(sim_cluster_propose(leader, 1, 1), 1);
    run_ms(50);
    CHECK(status_of(leader, 1) == RR_OK);
    CHECK(rr_cancel(leader->group, 1) == 0);
    run_ms(50);
    CHECK_EQ_U64(leader->completion_count, 1);
    CHECK(rr_group_close(leader->group, RR_CLOSE_DRAIN) == 0);
    CHECK(rr_cancel(leader->group, 1) == RR_E_CLOSED);
    sim_cluster_fini(&cluster);
}

static void test_logged_proposal_is_late_after_its_time(void)
{
    struct sim_node *leader = open_cluster(4, 3, 320);
    sim_cluster_isolate(leader, true); /* it leads on for an election timeout */
    CHECK_EQ_U64(sim_cluster_propose(leader, 1, 3), 3);
    run_ms(100);
    CHECK_EQ_U64(sim_cluster_propose(leader, 11, 3), 3);
    run_ms(215);
    CHECK_EQ_U64(leader->completion_count, 0);
    run_ms(75); /* a tick to find out, a tick between marks */
    CHECK_EQ_U64(leader->completion_count, 3);
    CHECK(status_of(leader, 1) == RR_E_UNKNOWN_OUTCOME);
    CHECK(sim_cluster_status(leader).role == RR_STATE_LEADER);
    run_ms(100);
    CHECK_EQ_U64(leader->completion_count, 6);
    sim_cluster_isolate(leader, false);
    run_ms(3000);
    CHECK_EQ_U64(leader->completion_count, 6);
    sim_cluster_fini(&cluster);
}

static void test_queued_proposal_is_late_for_certain(void)
{
    sim_cluster_init(&cluster, 5, 1);
    cluster.group_options.batch_wait_max_us = 1000 * 1000;
    cluster.group_options.proposal_timeout_ms = 320;
    sim_cluster_open(&cluster);
    struct sim_node *node = sim_cluster_leader(&cluster, NULL);
    run_ms(1000);
    sim_disk_hang(cluster.sim, node->number, true);
    CHECK_EQ_U64(sim_cluster_propose(node, 1, 1), 1);
    run_ms(1);
    CHECK_EQ_U64(sim_cluster_propose(node, 2, 5), 5);
    run_ms(320 + 75);
    CHECK(status_of(node, 1) == RR_E_UNKNOWN_OUTCOME);
    for (uint64_t tag = 2; tag <= 6; tag++)
        CHECK(status_of(node, tag) == RR_E_DEADLINE);
    sim_disk_hang(cluster.sim, node->number, false);
    run_ms(100);
    CHECK_EQ_U64(node->applied_count, 1);
    CHECK_EQ_U64(sim_cluster_propose(node, 7, 1), 1);
    run_ms(100);
    CHECK(status_of(node, 7) == RR_OK);
    sim_cluster_fini(&cluster);
}

static void test_proposal_in_time_is_left_alone(void)
{
    struct sim_node *leader = open_cluster(6, 3, 100);
    for (uint64_t tag = 1; tag <= 500; tag++) {
        CHECK_EQ_U64(sim_cluster_propose(leader, tag, 1), 1);
        run_ms(3);
    }
    run_ms(100);
    CHECK(leader->ok == 500 && leader->failed == 0);
    sim_cluster_fini(&cluster);
}

int main(void)
{
    RUN(test_queued_proposal_is_canceled_for_certain);
    RUN(test_logged_proposal_is_given_up_and_applied_all_the_same);
    RUN(test_cancel_of_what_is_done_changes_nothing);
    RUN(test_logged_proposal_is_late_after_its_time);
    RUN(test_queued_proposal_is_late_for_certain);
    RUN(test_proposal_in_time_is_left_alone);
    return 0;
}
