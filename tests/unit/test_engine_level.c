/* SPDX-License-Identifier: Apache-2.0
 *
 * The feature level that directories need: it rises when every member has a build of that level,
 * and until then the log holds nothing that an older build could not read.
 */
#include "engine/group.h"
#include "io/transport_impl.h"
#include "io/wal_impl.h"
#include "tests/unit/check.h"
#include "tests/unit/sim_cluster.h"

#define NODES  3u
#define LONGER 5000u /* ms: many ticks, and a connection made again */

static struct sim_cluster cluster;

static struct identity identity_on_disk(uint32_t i)
{
    struct identity identity;
    struct rr_error error;
    CHECK(identity_read(sim_machine(cluster.sim, i + 1), cluster.engine_options.dir, &identity,
                        &error) == 0);
    return identity;
}

static bool may_write_moved(uint32_t i)
{
    return !cluster.nodes[i].engine->wal->options.forbids_moved;
}

/* A cluster whose directories an older build has made; nobody runs. */
static void begin(uint64_t seed)
{
    sim_cluster_init(&cluster, seed, NODES);
    sim_cluster_open(&cluster);
    sim_cluster_leader(&cluster, NULL);
    for (uint32_t i = 0; i < NODES; i++) {
        sim_cluster_kill(&cluster, i);
        struct identity identity = identity_on_disk(i);
        CHECK_EQ_U64(identity.feature_level, IDENTITY_DIRECTORY_LEVEL); /* of a new one */
        identity.feature_level = IDENTITY_DIRECTORY_LEVEL_MIN;
        CHECK(identity_write(sim_machine(cluster.sim, i + 1), cluster.engine_options.dir, &identity,
                             NULL) == 0);
    }
}

/* An older build runs at node 3, as far as the two others hear (its level is made up here). */
static void run_beside_an_older_build(uint32_t ms)
{
    for (; ms > 0; ms--) {
        for (uint32_t i = 0; i + 1 < NODES; i++) {
            struct peer *peer = transport_find_peer(cluster.nodes[i].engine->transport, NODES);
            if (peer && peer->feature_level != 0)
                peer->feature_level = IDENTITY_DIRECTORY_LEVEL - 1;
        }
        sim_cluster_run_ms(&cluster, 1);
    }
}

static void check_levels(uint32_t count, uint32_t level)
{
    for (uint32_t i = 0; i < count; i++) {
        CHECK_EQ_U64(identity_on_disk(i).feature_level, level);
        CHECK(may_write_moved(i) == (level == IDENTITY_DIRECTORY_LEVEL));
    }
}

static void test_level_waits_for_who_is_away(void)
{
    begin(1);
    sim_cluster_open_node(&cluster, 0);
    sim_cluster_open_node(&cluster, 1);
    sim_cluster_leader(&cluster, NULL);
    sim_cluster_run_ms(&cluster, LONGER);
    check_levels(2, IDENTITY_DIRECTORY_LEVEL_MIN);
    sim_cluster_open_node(&cluster, 2);
    sim_cluster_run_ms(&cluster, LONGER);
    check_levels(NODES, IDENTITY_DIRECTORY_LEVEL);
    sim_cluster_fini(&cluster);
}

static void test_level_waits_for_an_older_build(void)
{
    begin(2);
    sim_cluster_open_node(&cluster, 0);
    sim_cluster_open_node(&cluster, 1);
    run_beside_an_older_build(10);
    sim_cluster_open_node(&cluster, 2);
    run_beside_an_older_build(LONGER);
    check_levels(2, IDENTITY_DIRECTORY_LEVEL_MIN);
    sim_cluster_kill(&cluster, 2);
    sim_cluster_open_node(&cluster, 2); /* upgraded */
    sim_cluster_run_ms(&cluster, LONGER);
    check_levels(NODES, IDENTITY_DIRECTORY_LEVEL);
    sim_cluster_fini(&cluster);
}

/* Once it has risen it stays, whoever is there. */
static void test_level_outlives_the_process(void)
{
    begin(3);
    sim_cluster_open(&cluster);
    sim_cluster_run_ms(&cluster, LONGER);
    check_levels(NODES, IDENTITY_DIRECTORY_LEVEL);
    for (uint32_t i = 0; i < NODES; i++)
        sim_cluster_kill(&cluster, i);
    sim_cluster_open_node(&cluster, 0);
    check_levels(1, IDENTITY_DIRECTORY_LEVEL);
    sim_cluster_fini(&cluster);
}

int main(void)
{
    RUN(test_level_waits_for_who_is_away);
    RUN(test_level_waits_for_an_older_build);
    RUN(test_level_outlives_the_process);
    return 0;
}
