/* SPDX-License-Identifier: Apache-2.0
 *
 * What a node says when it is asked how it is, in the simulator.
 */
#include "tests/unit/check.h"
#include "tests/unit/sim_cluster.h"

#include <errno.h>

static struct sim_cluster cluster;

static void run_ms(uint64_t ms)
{
    sim_cluster_run_ms(&cluster, ms);
}

static struct rr_health health_of(const struct sim_node *node)
{
    struct rr_health health = {.size = sizeof(health)};
    CHECK(rr_engine_health(node->engine, &health) == 0);
    return health;
}

static struct sim_node *open_cluster(uint64_t seed)
{
    sim_cluster_init(&cluster, seed, 3);
    sim_cluster_open(&cluster);
    struct sim_node *leader = sim_cluster_leader(&cluster, NULL);
    run_ms(200);
    for (uint32_t i = 0; i < 3; i++) {
        struct rr_health health = health_of(&cluster.nodes[i]);
        CHECK(health.status == 0 && health.group == 0 && strcmp(health.text, "well") == 0);
    }
    return leader;
}

static void test_health_names_a_disk(void)
{
    struct sim_node *leader = open_cluster(1);
    struct sim_node *stalled = sim_cluster_next(leader, 1);
    sim_disk_hang(cluster.sim, stalled->number, true);
    CHECK_EQ_U64(sim_cluster_propose(leader, 1, 1), 1);
    run_ms(800);
    CHECK(health_of(stalled).status == RR_E_STALLED && health_of(stalled).group == 0);
    CHECK(strstr(health_of(stalled).text, "disk") != NULL);
    CHECK(health_of(leader).status == 0);
    sim_disk_hang(cluster.sim, stalled->number, false);
    run_ms(100);
    CHECK(health_of(stalled).status == 0);
    sim_disk_error(cluster.sim, stalled->number, EIO, 1);
    CHECK_EQ_U64(sim_cluster_propose(leader, 2, 1), 1);
    run_ms(100);
    CHECK(health_of(stalled).status == RR_E_POISONED && health_of(stalled).group == 0);
    sim_cluster_fini(&cluster);
}

static void test_health_names_a_lost_quorum(void)
{
    struct sim_node *leader = open_cluster(2);
    sim_cluster_isolate(leader, true);
    run_ms(500);
    CHECK(health_of(leader).status == 0); /* it may be an election */
    run_ms(5000);
    CHECK(health_of(leader).status == RR_E_QUORUM_LOST && health_of(leader).group == 1);
    CHECK(strncmp(health_of(leader).text, "group 1: no quorum", 18) == 0);
    CHECK(health_of(sim_cluster_next(leader, 1)).status == 0);
    sim_cluster_isolate(leader, false);
    run_ms(5000);
    CHECK(health_of(leader).status == 0);
    sim_cluster_fini(&cluster);
}

static void test_health_names_a_group_that_stopped_and_forgets_it_closed(void)
{
    struct sim_node *leader = open_cluster(3);
    struct sim_node *failing = sim_cluster_next(leader, 1);
    failing->fails_to_apply = true;
    CHECK_EQ_U64(sim_cluster_propose(leader, 1, 1), 1);
    run_ms(100);
    CHECK(health_of(failing).status == RR_E_STATE_MACHINE && health_of(failing).group == 1);
    CHECK(health_of(leader).status == 0);
    CHECK(rr_group_close(failing->group, RR_CLOSE_DRAIN) == 0);
    CHECK(health_of(failing).status == 0);
    sim_cluster_fini(&cluster);
}

static void test_health_of_an_unknown_size_is_refused(void)
{
    struct sim_node *leader = open_cluster(4);
    struct rr_health health = {.size = 3};
    CHECK(rr_engine_health(leader->engine, &health) == RR_E_INVALID);
    health.size = sizeof(health) + 1;
    CHECK(rr_engine_health(leader->engine, &health) == RR_E_INVALID);
    sim_cluster_fini(&cluster);
}

int main(void)
{
    RUN(test_health_names_a_disk);
    RUN(test_health_names_a_lost_quorum);
    RUN(test_health_names_a_group_that_stopped_and_forgets_it_closed);
    RUN(test_health_of_an_unknown_size_is_refused);
    return 0;
}
