/* SPDX-License-Identifier: Apache-2.0
 *
 * What the engine tells its application without being asked, in the simulator.
 */
#include "tests/unit/check.h"
#include "tests/unit/sim_cluster.h"

static struct sim_cluster cluster;

static void test_election_is_told_to_every_node(void)
{
    sim_cluster_init(&cluster, 1, 3);
    sim_cluster_open(&cluster);
    struct sim_node *leader = sim_cluster_leader(&cluster, NULL);
    sim_cluster_run_ms(&cluster, 100);
    for (uint32_t i = 0; i < 3; i++) {
        const struct rr_event *event = sim_cluster_event(&cluster.nodes[i], RR_EVENT_LEADER);
        CHECK(event != NULL && event->group == 1);
        CHECK_EQ_U64(event->node, leader->number);
        CHECK_EQ_U64(event->term, sim_cluster_status(leader).term);
    }
    sim_cluster_fini(&cluster);
}

static void test_lost_leader_is_told_as_nobody_and_then_the_next(void)
{
    sim_cluster_init(&cluster, 2, 3);
    sim_cluster_open(&cluster);
    struct sim_node *old = sim_cluster_leader(&cluster, NULL);
    sim_cluster_isolate(old, true);
    struct sim_node *next = sim_cluster_leader(&cluster, old);
    sim_cluster_run_ms(&cluster, 1500);
    CHECK_EQ_U64(sim_cluster_event(old, RR_EVENT_LEADER)->node, RR_NONE);
    CHECK_EQ_U64(sim_cluster_event(next, RR_EVENT_LEADER)->node, next->number);
    sim_cluster_isolate(old, false);
    sim_cluster_run_ms(&cluster, 3000);
    CHECK_EQ_U64(sim_cluster_event(old, RR_EVENT_LEADER)->node, sim_cluster_status(next).lead);
    sim_cluster_fini(&cluster);
}

int main(void)
{
    RUN(test_election_is_told_to_every_node);
    RUN(test_lost_leader_is_told_as_nobody_and_then_the_next);
    return 0;
}
