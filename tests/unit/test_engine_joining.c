/* SPDX-License-Identifier: Apache-2.0
 *
 * What a directory knows of its group: configuration and address book after restarts, snapshots and
 * compaction; who may come in, and who may not. In the simulator.
 */
#include "tests/unit/check.h"
#include "tests/unit/sim_cluster.h"

static uint64_t next_tag = 1u << 20;

static void change(struct sim_node *node, enum rr_member_change_kind kind, uint64_t id)
{
    bool is_new = kind == RR_MEMBER_ADD || kind == RR_MEMBER_ADD_LEARNER;
    struct rr_member_change change = {.size = sizeof(change),
                                      .kind = kind,
                                      .node = id,
                                      .address =
                                          is_new ? sim_cluster_address((uint32_t)id - 1) : NULL};
    uint64_t tag = next_tag++;
    const struct rr_completion *completion = NULL;
    CHECK(rr_conf_change(node->group, &change, tag, NULL) == 0);
    for (uint32_t waited = 0; waited < 2000 && !completion; waited++) {
        sim_cluster_run_ms(node->cluster, 10);
        completion = sim_cluster_completion(node, tag);
    }
    CHECK(completion && completion->status == RR_OK);
}

static struct sim_node *settled_leader(struct sim_cluster *cluster, const struct sim_node *other)
{
    struct sim_node *leader = sim_cluster_leader(cluster, other);
    sim_cluster_run_ms(cluster, 200);
    return leader;
}

static void propose(struct sim_node *leader, uint32_t count)
{
    for (uint32_t done = 0; done < count; done += 100) {
        uint64_t before = leader->ok;
        CHECK_EQ_U64(sim_cluster_propose(leader, next_tag, 100), 100);
        next_tag += 100;
        for (uint32_t waited = 0; waited < 1000 && leader->ok < before + 100; waited++)
            sim_cluster_run_ms(leader->cluster, 10);
        CHECK_EQ_U64(leader->ok, before + 100);
    }
}

/* The members as this node's status names them. */
static void check_members(const struct sim_node *node, const uint64_t *ids, uint32_t count)
{
    struct rr_group_status status = sim_cluster_status(node);
    CHECK_EQ_U64(status.peer_count, count);
    for (uint32_t i = 0; i < count; i++) {
        CHECK_EQ_U64(status.peers[i].node, ids[i]);
        CHECK(status.peers[i].role == RR_MEMBER_ROLE_VOTER);
        CHECK(strcmp(status.peers[i].address, sim_cluster_address((uint32_t)ids[i] - 1)) == 0);
    }
}

/* Node 4 came, and one of the first three went: 1, 2, 4 or so. */
static struct sim_node *reshuffle(struct sim_cluster *cluster, uint64_t ids[3])
{
    struct sim_node *leader = settled_leader(cluster, NULL);
    uint64_t gone = leader->number % 3 + 1;
    sim_cluster_open_node(cluster, 3);
    change(leader, RR_MEMBER_ADD, 4);
    change(leader, RR_MEMBER_REMOVE, gone);
    propose(leader, 100);
    sim_cluster_run_ms(cluster, 2000);
    sim_cluster_kill(cluster, (uint32_t)gone - 1);
    uint32_t count = 0;
    for (uint64_t id = 1; id <= 4; id++)
        if (id != gone)
            ids[count++] = id;
    return leader;
}

/* The state machine kept all it applied, so nothing is applied again: the configuration is told by
 * the conf changes between the snapshot and where the state machine is. */
static void test_durable_state_machine_opens_with_the_configuration_of_its_index(void)
{
    struct sim_cluster cluster;
    uint64_t ids[3];
    sim_cluster_init(&cluster, 1, 4);
    cluster.voter_count = 3;
    cluster.is_durable = true;
    sim_cluster_open(&cluster);
    struct sim_node *leader = reshuffle(&cluster, ids);
    uint32_t old_snapshots = 0;
    for (uint32_t i = 0; i < 3; i++)
        sim_cluster_kill(&cluster, (uint32_t)ids[i] - 1);
    for (uint32_t i = 0; i < 3; i++) {
        struct sim_node *node = &cluster.nodes[ids[i] - 1];
        sim_cluster_open_node(&cluster, (uint32_t)ids[i] - 1);
        old_snapshots += sim_cluster_status(node).snapshot_index == 1;
        CHECK_EQ_U64(sim_cluster_status(node).voter_count, 3);
    }
    CHECK(old_snapshots > 0); /* which do not know node 4 */
    leader = settled_leader(&cluster, NULL);
    propose(leader, 100);
    for (uint32_t i = 0; i < 3; i++)
        check_members(&cluster.nodes[ids[i] - 1], ids, 3);
    sim_cluster_fini(&cluster);
}

/* The conf changes are compacted away: the snapshots know. */
static void test_book_survives_compaction_and_restarts(void)
{
    struct sim_cluster cluster;
    uint64_t ids[3];
    sim_cluster_init(&cluster, 2, 4);
    cluster.voter_count = 3;
    cluster.group_options.snapshot_log_bytes = 64 << 10;
    sim_cluster_open(&cluster);
    struct sim_node *leader = reshuffle(&cluster, ids);
    propose(leader, 3000);
    for (uint32_t i = 0; i < 3; i++)
        CHECK(sim_cluster_status(&cluster.nodes[ids[i] - 1]).first_index > 200);
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < 3; i++)
            sim_cluster_kill(&cluster, (uint32_t)ids[i] - 1);
        for (uint32_t i = 0; i < 3; i++)
            sim_cluster_open_node(&cluster, (uint32_t)ids[i] - 1);
        leader = settled_leader(&cluster, NULL);
        propose(leader, 100);
        for (uint32_t i = 0; i < 3; i++)
            check_members(&cluster.nodes[ids[i] - 1], ids, 3);
    }
    /* Who was removed meanwhile hears it, though no log here has its removal any more. */
    uint64_t gone = 1 + 2 + 3 + 4 - ids[0] - ids[1] - ids[2];
    sim_cluster_open_node(&cluster, (uint32_t)gone - 1);
    sim_cluster_run_ms(&cluster, 5000);
    CHECK(sim_cluster_status(&cluster.nodes[gone - 1]).error == RR_E_REMOVED);
    sim_cluster_fini(&cluster);
}

/* All members it knew are gone when it comes back: those who replaced them find it. */
static void test_member_that_was_away_is_found_by_members_it_never_met(void)
{
    struct sim_cluster cluster;
    sim_cluster_init(&cluster, 3, 6);
    cluster.voter_count = 3;
    sim_cluster_open(&cluster);
    struct sim_node *leader = settled_leader(&cluster, NULL);
    struct sim_node *away = &cluster.nodes[leader->number % 3];
    sim_cluster_kill(&cluster, away->number - 1);
    for (uint64_t id = 4; id <= 6; id++) {
        sim_cluster_open_node(&cluster, (uint32_t)id - 1);
        change(leader, RR_MEMBER_ADD, id);
        propose(leader, 100);
        sim_cluster_run_ms(&cluster, 2000);
    }
    uint64_t first[2], count = 0;
    for (uint64_t id = 1; id <= 3; id++)
        if (id != away->number)
            first[count++] = id;
    for (uint32_t i = 0; i < 2; i++) {
        struct sim_node *now = settled_leader(&cluster, NULL);
        change(now, RR_MEMBER_REMOVE, first[i]);
        sim_cluster_run_ms(&cluster, 3000);
        sim_cluster_kill(&cluster, (uint32_t)first[i] - 1);
    }
    sim_cluster_open_node(&cluster, away->number - 1);
    leader = settled_leader(&cluster, away);
    propose(leader, 100);
    sim_cluster_run_ms(&cluster, 5000);
    CHECK_EQ_U64(sim_cluster_status(away).applied, sim_cluster_status(leader).applied);
    CHECK_EQ_U64(sim_cluster_status(away).peer_count, 4);
    sim_cluster_fini(&cluster);
}

/* Its directory was lost: under its old id nobody lets it in; it is removed, a new one added. */
static void test_wiped_node_comes_back_under_a_new_id_only(void)
{
    struct sim_cluster cluster;
    sim_cluster_init(&cluster, 4, 4);
    cluster.voter_count = 3;
    sim_cluster_open(&cluster);
    struct sim_node *leader = settled_leader(&cluster, NULL);
    struct sim_node *wiped = &cluster.nodes[leader->number % 3];
    propose(leader, 100);
    sim_cluster_kill(&cluster, wiped->number - 1);
    sim_disk_replace(cluster.sim, wiped->number, NULL);
    sim_cluster_open_node(&cluster, wiped->number - 1);
    sim_cluster_run_ms(&cluster, 3000);
    CHECK(sim_cluster_status(wiped).error == RR_E_INSTANCE);
    sim_cluster_kill(&cluster, wiped->number - 1);
    change(leader, RR_MEMBER_REMOVE, wiped->number);
    sim_cluster_open_node(&cluster, 3);
    change(leader, RR_MEMBER_ADD, 4);
    propose(leader, 100);
    sim_cluster_run_ms(&cluster, 3000);
    CHECK_EQ_U64(sim_cluster_status(&cluster.nodes[3]).applied, sim_cluster_status(leader).applied);
    sim_cluster_fini(&cluster);
}

/* A node that is new has met nobody; but the change that added it says who the members are. */
static void test_wiped_node_is_not_trusted_by_one_that_is_new(void)
{
    struct sim_cluster cluster;
    sim_cluster_init(&cluster, 6, 4);
    cluster.voter_count = 3;
    sim_cluster_open(&cluster);
    struct sim_node *leader = settled_leader(&cluster, NULL);
    struct sim_node *wiped = &cluster.nodes[leader->number % 3];
    propose(leader, 100);
    sim_cluster_kill(&cluster, wiped->number - 1);
    sim_disk_replace(cluster.sim, wiped->number, NULL);
    sim_cluster_open_node(&cluster, 3);
    change(leader, RR_MEMBER_ADD, 4);
    propose(leader, 100);
    sim_cluster_run_ms(&cluster, 3000);
    for (uint32_t i = 1; i <= 3; i++)
        if (i != wiped->number) { /* who remembers it cannot say so */
            sim_cut(cluster.sim, i, wiped->number, true);
            sim_cut(cluster.sim, wiped->number, i, true);
        }
    sim_cluster_open_node(&cluster, wiped->number - 1);
    sim_cluster_run_ms(&cluster, 5000);
    CHECK(!sim_cluster_status(&cluster.nodes[3]).peers[wiped->number - 1].connected);
    CHECK(sim_cluster_status(&cluster.nodes[3]).peers[wiped->number - 1].refusal == RR_E_INSTANCE);
    sim_cluster_fini(&cluster);
}

static void cut(struct sim_cluster *cluster, uint32_t a, uint32_t b, bool is_cut)
{
    sim_cut(cluster->sim, a, b, is_cut);
    sim_cut(cluster->sim, b, a, is_cut);
}

/* Node 1, which does not lead, lives on for a boot that nodes 2 and 3 see; then an older copy of
 * its directory takes its place and is started, cut off, until its boot count lies above theirs. */
static struct sim_node *outgrow(struct sim_cluster *cluster)
{
    sim_cluster_open(cluster);
    propose(settled_leader(cluster, NULL), 100);
    sim_cluster_kill(cluster, 0);
    struct sim_disk_image *image = sim_disk_copy(cluster->sim, 1);
    struct sim_node *leader = settled_leader(cluster, &cluster->nodes[0]);
    sim_cluster_open_node(cluster, 0);
    propose(leader, 100);
    sim_cluster_run_ms(cluster, 1000);
    sim_cluster_kill(cluster, 0);
    sim_disk_replace(cluster->sim, 1, image);
    sim_disk_image_free(image);
    cut(cluster, 1, 2, true);
    cut(cluster, 1, 3, true);
    for (uint32_t i = 0; i < 4; i++) {
        sim_cluster_open_node(cluster, 0);
        sim_cluster_run_ms(cluster, 20);
        sim_cluster_kill(cluster, 0);
    }
    return leader;
}

static void test_older_copy_does_not_outgrow_its_peers(void)
{
    struct sim_cluster cluster;
    sim_cluster_init(&cluster, 7, 3);
    struct sim_node *leader = outgrow(&cluster), *copy = &cluster.nodes[0];
    cut(&cluster, 1, 2, false);
    cut(&cluster, 1, 3, false);
    sim_cluster_open_node(&cluster, 0);
    sim_cluster_run_ms(&cluster, 3000);
    CHECK(!sim_cluster_status(leader).peers[0].connected);
    CHECK(sim_cluster_status(leader).peers[0].refusal == RR_E_INSTANCE);
    struct rr_group_status status = sim_cluster_status(copy);
    CHECK(status.error == RR_E_INSTANCE &&
          status.peers[leader->number - 1].refusal == status.error);
    struct rr_health health = {.size = sizeof(health)};
    CHECK(rr_engine_health(copy->engine, &health) == 0 && health.status == RR_E_INSTANCE);
    CHECK(strstr(health.text, "replace this node by a new one with a new id"));
    sim_cluster_fini(&cluster);
}

/* A joiner that meets the copy first has nothing to compare it with; once it knows the group's log
 * it has. */
static void test_older_copy_is_trusted_by_a_joiner_until_the_log_names_the_true_one(void)
{
    struct sim_cluster cluster;
    sim_cluster_init(&cluster, 8, 4);
    cluster.voter_count = 3;
    struct sim_node *leader = outgrow(&cluster), *joiner = &cluster.nodes[3];
    change(leader, RR_MEMBER_ADD_LEARNER, 4);
    CHECK(sim_machine(cluster.sim, 4));
    cut(&cluster, 4, 2, true);
    cut(&cluster, 4, 3, true);
    sim_cluster_open_node(&cluster, 0);
    sim_cluster_open_node(&cluster, 3); /* it dials node 1 */
    sim_cluster_run_ms(&cluster, 3000);
    CHECK(sim_cluster_status(&cluster.nodes[0]).error == 0);
    cut(&cluster, 4, 2, false);
    cut(&cluster, 4, 3, false);
    sim_cluster_run_ms(&cluster, 5000);
    CHECK_EQ_U64(sim_cluster_status(joiner).applied, sim_cluster_status(leader).applied);
    CHECK(!sim_cluster_status(joiner).peers[0].connected);
    CHECK(sim_cluster_status(joiner).peers[0].refusal == RR_E_INSTANCE);
    CHECK(sim_cluster_status(&cluster.nodes[0]).error == RR_E_INSTANCE);
    sim_cluster_fini(&cluster);
}

/* A fourth node was bootstrapped with another list of voters: three and four could both elect. */
static void test_nodes_with_differing_initial_voters_do_not_talk(void)
{
    struct sim_cluster cluster;
    sim_cluster_init(&cluster, 5, 4);
    cluster.voter_count = 3;
    sim_cluster_open(&cluster);
    struct sim_node *leader = settled_leader(&cluster, NULL);
    uint64_t term = sim_cluster_status(leader).term;
    cluster.voter_count = 4;
    sim_cluster_open_node(&cluster, 3);
    sim_cluster_run_ms(&cluster, 10000);
    struct rr_group_status stranger = sim_cluster_status(&cluster.nodes[3]);
    CHECK(stranger.lead == 0 && stranger.commit == 1 && stranger.peer_count == 4);
    for (uint32_t i = 0; i < 3; i++)
        CHECK(!stranger.peers[i].connected && stranger.peers[i].refusal == RR_E_IDENTITY);
    CHECK_EQ_U64(sim_cluster_status(leader).term, term);
    CHECK(sim_cluster_status(leader).role == RR_STATE_LEADER);
    sim_cluster_fini(&cluster);
}

int main(void)
{
    RUN(test_durable_state_machine_opens_with_the_configuration_of_its_index);
    RUN(test_book_survives_compaction_and_restarts);
    RUN(test_member_that_was_away_is_found_by_members_it_never_met);
    RUN(test_wiped_node_comes_back_under_a_new_id_only);
    RUN(test_wiped_node_is_not_trusted_by_one_that_is_new);
    RUN(test_older_copy_does_not_outgrow_its_peers);
    RUN(test_older_copy_is_trusted_by_a_joiner_until_the_log_names_the_true_one);
    RUN(test_nodes_with_differing_initial_voters_do_not_talk);
    return 0;
}
