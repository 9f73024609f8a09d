/* SPDX-License-Identifier: Apache-2.0
 *
 * State machines that are compared while they run, in the simulator: equal ones are left alone,
 * whoever differs from a majority stops, and nobody stops when nobody can say who is right.
 */
#include "tests/unit/check.h"
#include "tests/unit/sim_cluster.h"

#define EVERY 10u

static struct sim_cluster cluster;

static void run_ms(uint64_t ms)
{
    sim_cluster_run_ms(&cluster, ms);
}

static struct sim_node *open_cluster(uint64_t seed, uint32_t node_count)
{
    sim_cluster_init(&cluster, seed, node_count);
    cluster.group_options.hash_entries = EVERY;
    sim_cluster_open(&cluster);
    struct sim_node *leader = sim_cluster_leader(&cluster, NULL);
    run_ms(100);
    return leader;
}

/* In portions that do not fit the interval, so that batches have to be cut. */
static void propose_many(struct sim_node *leader)
{
    for (uint32_t round = 0; round < 20; round++) {
        sim_cluster_propose(leader, 100 + round * 37, 37);
        run_ms(20);
    }
}

static const struct rr_event *alarm_at(const struct sim_node *node)
{
    return sim_cluster_event(node, RR_EVENT_DIVERGENCE);
}

static void test_equal_state_machines_are_left_alone(void)
{
    struct sim_node *leader = open_cluster(1, 3);
    propose_many(leader);
    CHECK_EQ_U64(leader->ok, 740);
    for (uint32_t i = 0; i < 3; i++) {
        CHECK(alarm_at(&cluster.nodes[i]) == NULL);
        CHECK(sim_cluster_status(&cluster.nodes[i]).error == 0);
        CHECK(cluster.nodes[i].hash_count >= 70); /* they were looked at */
    }
    sim_cluster_fini(&cluster);
}

static void test_follower_that_differs_stops(void)
{
    struct sim_node *leader = open_cluster(2, 3);
    struct sim_node *wrong = sim_cluster_next(leader, 1);
    struct sim_node *right = sim_cluster_next(leader, 2);
    wrong->twist = 1;
    propose_many(leader);
    CHECK(alarm_at(leader) && alarm_at(leader)->node == wrong->number);
    CHECK(alarm_at(leader)->index % EVERY == 0 && alarm_at(leader)->status == RR_E_DIVERGED);
    CHECK(alarm_at(wrong) && alarm_at(wrong)->node == wrong->number);
    CHECK(sim_cluster_status(wrong).error == RR_E_DIVERGED);
    CHECK(alarm_at(right) == NULL && sim_cluster_status(right).error == 0);
    CHECK_EQ_U64(leader->ok, 740); /* the others go on */
    sim_cluster_fini(&cluster);
}

static void test_leader_that_differs_stops_and_is_replaced(void)
{
    struct sim_node *wrong = open_cluster(3, 3);
    wrong->twist = 1;
    sim_cluster_propose(wrong, 1, 40);
    run_ms(200);
    CHECK(alarm_at(wrong) && alarm_at(wrong)->node == wrong->number);
    CHECK(sim_cluster_status(wrong).error == RR_E_DIVERGED);
    struct sim_node *next = sim_cluster_leader(&cluster, wrong);
    propose_many(next);
    CHECK_EQ_U64(next->ok, 740);
    CHECK(sim_cluster_status(next).error == 0);
    sim_cluster_fini(&cluster);
}

/* One against one: an alarm, once, and everything goes on. */
static void test_difference_without_a_majority_is_told_only(void)
{
    struct sim_node *leader = open_cluster(4, 2);
    struct sim_node *other = sim_cluster_next(leader, 1);
    other->twist = 1;
    propose_many(leader);
    uint32_t alarms = 0;
    for (uint32_t i = 0; i < leader->event_count; i++)
        alarms += leader->events[i].kind == RR_EVENT_DIVERGENCE;
    CHECK_EQ_U64(alarms, 1);
    CHECK(alarm_at(leader)->node == other->number);
    CHECK(sim_cluster_status(leader).error == 0 && sim_cluster_status(other).error == 0);
    CHECK_EQ_U64(leader->ok, 740);
    sim_cluster_fini(&cluster);
}

int main(void)
{
    RUN(test_equal_state_machines_are_left_alone);
    RUN(test_follower_that_differs_stops);
    RUN(test_leader_that_differs_stops_and_is_replaced);
    RUN(test_difference_without_a_majority_is_told_only);
    return 0;
}
