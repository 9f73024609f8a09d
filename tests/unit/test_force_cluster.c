/* SPDX-License-Identifier: Apache-2.0
 *
 * A lost quorum (docs/LOST_QUORUM.md): one survivor becomes a cluster of its own, loses nothing
 * that it had, and takes new members. In the simulator.
 */
#include "tests/unit/check.h"
#include "tests/unit/sim_cluster.h"

#define NEW_CLUSTER 99u

static uint64_t next_tag = 1u << 20;

static int32_t change(struct sim_node *node, enum rr_member_change_kind kind, uint64_t id)
{
    struct rr_member_change change = {
        .size = sizeof(change),
        .kind = kind,
        .node = id,
        .address = kind == RR_MEMBER_REMOVE ? NULL : sim_cluster_address((uint32_t)id - 1)};
    uint64_t tag = next_tag++;
    const struct rr_completion *completion = NULL;
    CHECK(rr_conf_change(node->group, &change, tag, NULL) == 0);
    for (uint32_t waited = 0; waited < 2000 && !completion; waited++) {
        sim_cluster_run_ms(node->cluster, 10);
        completion = sim_cluster_completion(node, tag);
    }
    CHECK(completion);
    return completion->status;
}

static void propose(struct sim_node *leader, uint32_t count)
{
    uint64_t before = leader->ok;
    CHECK_EQ_U64(sim_cluster_propose(leader, next_tag, count), count);
    next_tag += count;
    for (uint32_t waited = 0; waited < 1000 && leader->ok < before + count; waited++)
        sim_cluster_run_ms(leader->cluster, 10);
    CHECK_EQ_U64(leader->ok, before + count);
}

static int force(struct sim_cluster *cluster, uint32_t i, struct rr_force_options *options)
{
    struct rr_error error = {0};
    struct rr_force_options standard = {.size = sizeof(standard),
                                        .dir = cluster->engine_options.dir,
                                        .cluster_id = cluster->engine_options.cluster_id,
                                        .new_cluster_id = NEW_CLUSTER,
                                        .node_id = i + 1};
    int rc = engine_force_on(sim_machine(cluster->sim, i + 1), options ? options : &standard,
                             sim_cluster_address(i), &error);
    if (rc != 0)
        CHECK(error.code == rc && error.message[0]);
    return rc;
}

static void begin(struct sim_cluster *cluster, uint64_t seed)
{
    sim_cluster_init(cluster, seed, 6);
    cluster->voter_count = 3;
    sim_cluster_open(cluster);
}

/* The members changed before, and the last change is in the log alone: it brings nobody back. */
static void test_survivor_goes_on_alone_and_takes_new_members(void)
{
    struct sim_cluster cluster;
    begin(&cluster, 1);
    struct sim_node *leader = sim_cluster_leader(&cluster, NULL);
    sim_cluster_run_ms(&cluster, 200);
    propose(leader, 500);
    sim_cluster_open_node(&cluster, 3);
    CHECK(change(leader, RR_MEMBER_ADD, 4) == RR_OK);
    propose(leader, 200);
    sim_cluster_run_ms(&cluster, 2000);
    struct sim_node *survivor = &cluster.nodes[leader->number % 3];
    uint64_t applied = survivor->applied_index, term = sim_cluster_status(survivor).term;
    uint32_t i = survivor->number - 1;
    for (uint32_t k = 0; k < 4; k++)
        sim_cluster_kill(&cluster, k);

    CHECK(force(&cluster, i, NULL) == 0);
    cluster.engine_options.cluster_id = NEW_CLUSTER;
    sim_cluster_open_node(&cluster, i);
    survivor = &cluster.nodes[i];
    CHECK(sim_cluster_leader(&cluster, NULL) == survivor);
    sim_cluster_run_ms(&cluster, 200);
    struct rr_group_status status = sim_cluster_status(survivor);
    CHECK(survivor->applied_index >= applied && status.term > term);
    CHECK(status.voter_count == 1 && status.peer_count == 1 && status.peers[0].node == i + 1);
    propose(survivor, 100);

    /* The dead stay dead, also for the book. */
    uint64_t dead = i == 0 ? 2 : 1;
    CHECK(change(survivor, RR_MEMBER_ADD, dead) == RR_E_CONF_REFUSED);
    cluster.voter_count = 0; /* whoever is opened now joins */
    for (uint64_t id = 5; id <= 6; id++) {
        sim_cluster_open_node(&cluster, (uint32_t)id - 1);
        CHECK(change(survivor, RR_MEMBER_ADD, id) == RR_OK);
        propose(survivor, 100);
    }
    sim_cluster_run_ms(&cluster, 3000);
    CHECK_EQ_U64(sim_cluster_status(&cluster.nodes[5]).applied,
                 sim_cluster_status(survivor).applied);
    CHECK_EQ_U64(sim_cluster_status(survivor).voter_count, 3);
    /* And it lasts. */
    sim_cluster_kill(&cluster, i);
    CHECK(sim_cluster_leader(&cluster, survivor) != NULL);
    sim_cluster_open_node(&cluster, i);
    sim_cluster_run_ms(&cluster, 3000);
    CHECK_EQ_U64(sim_cluster_status(&cluster.nodes[i]).peer_count, 3);
    sim_cluster_fini(&cluster);
}

/* Of what was not committed, and of the old members when they come back after all. */
static void test_forced_node_commits_its_tail_and_hears_no_old_member(void)
{
    struct sim_cluster cluster;
    begin(&cluster, 2);
    struct sim_node *leader = sim_cluster_leader(&cluster, NULL);
    sim_cluster_run_ms(&cluster, 200);
    propose(leader, 100);
    uint32_t i = leader->number - 1;
    sim_cluster_isolate(leader, true);
    CHECK_EQ_U64(sim_cluster_propose(leader, next_tag, 10), 10);
    sim_cluster_run_ms(&cluster, 100);
    uint64_t last = sim_cluster_status(leader).last_index;
    CHECK(sim_cluster_status(leader).commit < last);
    sim_cluster_kill(&cluster, i);
    CHECK(force(&cluster, i, NULL) == 0);
    CHECK(force(&cluster, i, NULL) == 0); /* as after a crash */
    sim_cluster_isolate(leader, false);
    uint64_t old_cluster = cluster.engine_options.cluster_id;
    cluster.engine_options.cluster_id = NEW_CLUSTER;
    sim_cluster_open_node(&cluster, i);
    cluster.engine_options.cluster_id = old_cluster;
    sim_cluster_run_ms(&cluster, 5000); /* the other two are a quorum of the old cluster */
    struct rr_group_status status = sim_cluster_status(leader);
    CHECK(status.role == RR_STATE_LEADER && status.commit > last && status.voter_count == 1);
    struct sim_node *other = sim_cluster_leader(&cluster, leader);
    propose(other, 10);
    CHECK_EQ_U64(sim_cluster_status(other).voter_count, 3);
    for (uint32_t k = 0; k < 3; k++)
        if (sim_cluster_status(other).peers[k].node == i + 1)
            CHECK(!sim_cluster_status(other).peers[k].connected);
    sim_cluster_fini(&cluster);
}

static void test_what_cannot_be_forced_is_left_as_it_is(void)
{
    struct sim_cluster cluster;
    begin(&cluster, 3);
    struct sim_node *leader = sim_cluster_leader(&cluster, NULL);
    sim_cluster_run_ms(&cluster, 200);
    struct rr_force_options good = {.size = sizeof(good),
                                    .dir = cluster.engine_options.dir,
                                    .cluster_id = cluster.engine_options.cluster_id,
                                    .new_cluster_id = NEW_CLUSTER,
                                    .node_id = leader->number},
                            bad;
    uint32_t i = leader->number - 1;
#define REFUSED(code, ...) (bad = good, __VA_ARGS__, CHECK(force(&cluster, i, &bad) == (code)))
    REFUSED(RR_E_LOCKED, bad.size = sizeof(bad)); /* its process runs */
    REFUSED(RR_E_INVALID, bad.size = 3);
    REFUSED(RR_E_INVALID, bad.dir = NULL);
    REFUSED(RR_E_INVALID, bad.new_cluster_id = 0);
    REFUSED(RR_E_INVALID, bad.new_cluster_id = bad.cluster_id);
    sim_cluster_kill(&cluster, i);
    REFUSED(RR_E_IDENTITY, bad.node_id = 77);
    REFUSED(RR_E_IDENTITY, bad.cluster_id = 77);
    REFUSED(RR_E_NOT_FOUND, bad.dir = "/elsewhere");
#undef REFUSED
    sim_cluster_open_node(&cluster, i); /* under the old id */
    CHECK(sim_cluster_leader(&cluster, NULL) != NULL);
    sim_cluster_fini(&cluster);
}

int main(void)
{
    RUN(test_survivor_goes_on_alone_and_takes_new_members);
    RUN(test_forced_node_commits_its_tail_and_hears_no_old_member);
    RUN(test_what_cannot_be_forced_is_left_as_it_is);
    return 0;
}
