/* SPDX-License-Identifier: Apache-2.0
 *
 * Members come and go, in the simulator: whole engines on one virtual clock.
 */
#include "tests/unit/check.h"
#include "tests/unit/sim_cluster.h"

static uint64_t next_tag = 1u << 20;

/* Asks `node`, waits, and says what came of it; the call itself may refuse. */
static int32_t ask(struct sim_node *node, const struct rr_member_change *change)
{
    uint64_t tag = next_tag++;
    const struct rr_completion *completion = NULL;
    struct rr_error error;
    int rc = rr_conf_change(node->group, change, tag, &error);
    if (rc != 0) {
        CHECK(error.code == rc && error.message[0]);
        return rc;
    }
    for (uint32_t waited = 0; waited < 2000 && !completion; waited++) {
        sim_cluster_run_ms(node->cluster, 10);
        completion = sim_cluster_completion(node, tag);
    }
    CHECK(completion && completion->kind == RR_COMPLETION_CONF_CHANGE);
    return completion->status;
}

static struct rr_member_change change_of(enum rr_member_change_kind kind, uint64_t node)
{
    bool is_new = kind == RR_MEMBER_ADD || kind == RR_MEMBER_ADD_LEARNER;
    return (struct rr_member_change){.size = sizeof(struct rr_member_change),
                                     .kind = kind,
                                     .node = node,
                                     .address =
                                         is_new ? sim_cluster_address((uint32_t)node - 1) : NULL};
}

static int32_t change(struct sim_node *node, enum rr_member_change_kind kind, uint64_t id)
{
    struct rr_member_change change = change_of(kind, id);
    return ask(node, &change);
}

static int32_t replace(struct sim_node *node, uint64_t replaced, uint64_t id)
{
    struct rr_member_change change = change_of(RR_MEMBER_REPLACE, id);
    change.replaced = replaced;
    change.address = sim_cluster_address((uint32_t)id - 1);
    return ask(node, &change);
}

/* A leader whose first entry is applied, so that it takes changes. */
static struct sim_node *settled_leader(struct sim_cluster *cluster, const struct sim_node *other)
{
    struct sim_node *leader = sim_cluster_leader(cluster, other);
    sim_cluster_run_ms(cluster, 200);
    return leader;
}

static void begin(struct sim_cluster *cluster, uint64_t seed, uint32_t voters, uint32_t nodes)
{
    sim_cluster_init(cluster, seed, nodes);
    cluster->voter_count = voters;
    sim_cluster_open(cluster);
}

static uint8_t role_of(const struct sim_node *node, uint64_t id)
{
    struct rr_group_status status = sim_cluster_status(node);
    for (uint32_t i = 0; i < status.peer_count; i++)
        if (status.peers[i].node == id)
            return status.peers[i].role;
    return 0;
}

/* The leader serves, and whoever is a member follows as far. */
static void check_serves(struct sim_node *leader, uint32_t count)
{
    struct sim_cluster *cluster = leader->cluster;
    uint64_t before = leader->ok, tag = next_tag;
    next_tag += count;
    CHECK_EQ_U64(sim_cluster_propose(leader, tag, count), count);
    for (uint32_t waited = 0; waited < 1000 && leader->ok < before + count; waited++)
        sim_cluster_run_ms(cluster, 10);
    CHECK_EQ_U64(leader->ok, before + count);
    sim_cluster_run_ms(cluster, 2000);
    struct rr_group_status status = sim_cluster_status(leader);
    for (uint32_t i = 0; i < status.peer_count; i++) {
        const struct sim_node *member = &cluster->nodes[status.peers[i].node - 1];
        CHECK(status.peers[i].address[0]);
        if (!member->group)
            continue;
        CHECK_EQ_U64(sim_cluster_status(member).applied, status.applied);
        CHECK_EQ_U64(sim_cluster_status(member).peer_count, status.peer_count);
    }
}

static void check_removed_and_quiet(struct sim_node *node)
{
    struct rr_group_status status = sim_cluster_status(node);
    const struct rr_event *event = sim_cluster_event(node, RR_EVENT_REMOVED);
    CHECK(event && event->node == node->number && event->status == RR_E_REMOVED);
    CHECK(status.error == RR_E_REMOVED && status.role == RR_STATE_FOLLOWER);
    sim_cluster_run_ms(node->cluster, 20000);
    CHECK_EQ_U64(sim_cluster_status(node).term, status.term);
    /* No member lets it in; two that were removed while they were away may still hold on. */
    status = sim_cluster_status(node);
    for (uint32_t i = 0; i < status.peer_count; i++)
        CHECK(!status.peers[i].connected ||
              sim_cluster_status(&node->cluster->nodes[status.peers[i].node - 1]).error);
}

/* ---- growing and shrinking ----------------------------------------------- */

static void test_cluster_grows_from_one_to_five_and_shrinks_to_three(void)
{
    struct sim_cluster cluster;
    begin(&cluster, 1, 1, 5);
    struct sim_node *leader = settled_leader(&cluster, NULL);
    CHECK(change(leader, RR_MEMBER_ADD, 2) == RR_OK); /* it is not even there yet */
    for (uint32_t i = 1; i < 5; i++)
        sim_cluster_open_node(&cluster, i);
    leader = settled_leader(&cluster, NULL);
    check_serves(leader, 20);
    for (uint64_t id = 3; id <= 5; id++) {
        CHECK(change(leader, RR_MEMBER_ADD, id) == RR_OK);
        check_serves(leader, 20);
    }
    CHECK_EQ_U64(sim_cluster_status(leader).voter_count, 5);
    CHECK(sim_cluster_event(&cluster.nodes[4], RR_EVENT_CONFIGURATION));
    CHECK(change(leader, RR_MEMBER_REMOVE, 5) == RR_OK);
    CHECK(change(leader, RR_MEMBER_REMOVE, 2) == RR_OK);
    check_serves(leader, 20);
    CHECK_EQ_U64(sim_cluster_status(leader).voter_count, 3);
    check_removed_and_quiet(&cluster.nodes[4]);
    check_removed_and_quiet(&cluster.nodes[1]);
    /* What is left survives the loss of one. */
    sim_cluster_kill(&cluster, leader->number - 1);
    check_serves(settled_leader(&cluster, leader), 20);
    sim_cluster_fini(&cluster);
}

static void test_learner_receives_and_is_promoted_when_it_has_caught_up(void)
{
    struct sim_cluster cluster;
    begin(&cluster, 2, 3, 4);
    struct sim_node *leader = settled_leader(&cluster, NULL);
    sim_cluster_open_node(&cluster, 3);
    CHECK(change(leader, RR_MEMBER_ADD_LEARNER, 4) == RR_OK);
    check_serves(leader, 20);
    CHECK(role_of(leader, 4) == RR_MEMBER_ROLE_LEARNER);
    CHECK(role_of(&cluster.nodes[3], 4) == RR_MEMBER_ROLE_LEARNER);
    CHECK(rr_transfer_leadership(leader->group, 4, 0, 1) == 0);
    sim_cluster_run_ms(&cluster, 50);
    CHECK(sim_cluster_completion(leader, 1)->status == RR_E_NOT_VOTER);
    CHECK(change(leader, RR_MEMBER_PROMOTE, 4) == RR_OK);
    CHECK(role_of(leader, 4) == RR_MEMBER_ROLE_VOTER);
    check_serves(leader, 20);
    sim_cluster_fini(&cluster);
}

static void test_laggard_is_not_promoted(void)
{
    struct sim_cluster cluster;
    begin(&cluster, 3, 3, 4);
    struct sim_node *leader = settled_leader(&cluster, NULL);
    CHECK(change(leader, RR_MEMBER_ADD_LEARNER, 4) == RR_OK);
    sim_cluster_run_ms(&cluster, 2000);
    CHECK(change(leader, RR_MEMBER_PROMOTE, 4) == RR_E_LAGGING); /* never seen */
    sim_cluster_open_node(&cluster, 3);
    check_serves(leader, 10);
    sim_cluster_isolate(&cluster.nodes[3], true);
    sim_cluster_run_ms(&cluster, 5000);
    CHECK(change(leader, RR_MEMBER_PROMOTE, 4) == RR_E_LAGGING); /* away */
    sim_cluster_isolate(&cluster.nodes[3], false);
    sim_cluster_run_ms(&cluster, 5000);
    CHECK(change(leader, RR_MEMBER_PROMOTE, 4) == RR_OK);
    sim_cluster_fini(&cluster);
}

static void test_replacement_is_one_change(void)
{
    struct sim_cluster cluster;
    sim_cluster_init(&cluster, 4, 5);
    cluster.voter_count = 3;
    cluster.engine_options.entry_bytes_max = 64; /* a change is larger, and passes */
    sim_cluster_open(&cluster);
    struct sim_node *leader = settled_leader(&cluster, NULL);
    uint64_t gone = sim_cluster_next(leader, 1)->number % 3 + 1;
    gone = gone == leader->number ? gone % 3 + 1 : gone;
    sim_cluster_open_node(&cluster, 3);
    CHECK(replace(leader, gone, 4) == RR_OK);
    /* RR_OK says that the joint configuration was left. */
    CHECK(role_of(leader, gone) == 0 && role_of(leader, 4) == RR_MEMBER_ROLE_VOTER);
    CHECK_EQ_U64(sim_cluster_status(leader).voter_count, 3);
    check_serves(leader, 20);
    check_removed_and_quiet(&cluster.nodes[gone - 1]);
    /* A learner takes the place as well. */
    sim_cluster_open_node(&cluster, 4);
    CHECK(change(leader, RR_MEMBER_ADD_LEARNER, 5) == RR_OK);
    check_serves(leader, 20);
    struct rr_member_change swap = change_of(RR_MEMBER_REPLACE, 5);
    swap.replaced = 4;
    CHECK(ask(leader, &swap) == RR_OK);
    CHECK(role_of(leader, 4) == 0 && role_of(leader, 5) == RR_MEMBER_ROLE_VOTER);
    check_serves(leader, 20);
    sim_cluster_fini(&cluster);
}

/* ---- what is refused ----------------------------------------------------- */

static void test_senseless_changes_are_refused_and_not_logged(void)
{
    struct sim_cluster cluster;
    begin(&cluster, 5, 3, 5);
    struct sim_node *leader = settled_leader(&cluster, NULL);
    struct sim_node *follower = &cluster.nodes[leader->number % 3];
    CHECK(change(leader, RR_MEMBER_ADD_LEARNER, 4) == RR_OK);
    uint64_t last = sim_cluster_status(leader).last_index;
    CHECK(change(follower, RR_MEMBER_ADD, 5) == RR_E_NOT_LEADER);
    CHECK(change(leader, RR_MEMBER_ADD, follower->number) == RR_E_CONF_REFUSED);
    CHECK(change(leader, RR_MEMBER_ADD, 4) == RR_E_CONF_REFUSED); /* to be promoted */
    CHECK(change(leader, RR_MEMBER_ADD_LEARNER, follower->number) == RR_E_CONF_REFUSED);
    CHECK(change(leader, RR_MEMBER_PROMOTE, follower->number) == RR_E_CONF_REFUSED);
    CHECK(change(leader, RR_MEMBER_PROMOTE, 77) == RR_E_CONF_REFUSED);
    CHECK(change(leader, RR_MEMBER_REMOVE, 77) == RR_E_CONF_REFUSED);
    CHECK(replace(leader, 77, 5) == RR_E_CONF_REFUSED);
    struct rr_member_change same_address = change_of(RR_MEMBER_ADD, 5);
    same_address.address = sim_cluster_address(0);
    CHECK(ask(leader, &same_address) == RR_E_CONF_REFUSED);
    struct rr_member_change nowhere = change_of(RR_MEMBER_REPLACE, 5);
    nowhere.replaced = follower->number;
    CHECK(ask(leader, &nowhere) == RR_E_CONF_REFUSED); /* new, and without an address */
    CHECK_EQ_U64(sim_cluster_status(leader).last_index, last);
    sim_cluster_fini(&cluster);
}

static void test_bad_arguments_are_refused_at_once(void)
{
    struct sim_cluster cluster;
    begin(&cluster, 6, 1, 2);
    struct sim_node *leader = settled_leader(&cluster, NULL);
    const struct rr_member_change good = change_of(RR_MEMBER_ADD, 2);
    struct rr_member_change bad;
    CHECK(rr_conf_change(leader->group, NULL, 1, NULL) == RR_E_INVALID);
#define REFUSED(code, ...) (bad = good, __VA_ARGS__, CHECK(ask(leader, &bad) == (code)))
    REFUSED(RR_E_INVALID, bad.size = 8);
    REFUSED(RR_E_INVALID, bad.kind = (enum rr_member_change_kind)0);
    REFUSED(RR_E_INVALID, bad.kind = (enum rr_member_change_kind)6);
    REFUSED(RR_E_INVALID, bad.node = 0);
    REFUSED(RR_E_INVALID, bad.node = UINT64_MAX);
    REFUSED(RR_E_INVALID, bad.replaced = 1);
    REFUSED(RR_E_INVALID, bad.kind = RR_MEMBER_REPLACE);
    REFUSED(RR_E_INVALID, bad.kind = RR_MEMBER_REMOVE); /* with an address */
    REFUSED(RR_E_BAD_ADDRESS, bad.address = NULL);
    REFUSED(RR_E_BAD_ADDRESS, bad.address = "localhost:1");
    REFUSED(RR_E_BAD_ADDRESS, bad.address = "10.0.0.1:7001"); /* off loopback */
    REFUSED(RR_E_BAD_ADDRESS, bad.address = "127.0.0.1:0");
#undef REFUSED
    CHECK(change(leader, RR_MEMBER_REMOVE, 1) == RR_E_CONF_REFUSED); /* the last voter */
    sim_cluster_fini(&cluster);
}

static void test_second_change_in_flight_is_refused(void)
{
    struct sim_cluster cluster;
    begin(&cluster, 7, 3, 5);
    struct sim_node *leader = settled_leader(&cluster, NULL);
    struct rr_member_change first = change_of(RR_MEMBER_ADD_LEARNER, 4);
    struct rr_member_change second = change_of(RR_MEMBER_ADD_LEARNER, 5);
    CHECK(rr_conf_change(leader->group, &first, 1, NULL) == 0);
    CHECK(rr_conf_change(leader->group, &second, 2, NULL) == 0);
    sim_cluster_run_ms(&cluster, 500);
    CHECK(sim_cluster_completion(leader, 1)->status == RR_OK);
    CHECK(sim_cluster_completion(leader, 2)->status == RR_E_CONF_IN_FLIGHT);
    CHECK(ask(leader, &second) == RR_OK);
    sim_cluster_fini(&cluster);
}

static void test_removed_id_never_comes_back(void)
{
    struct sim_cluster cluster;
    begin(&cluster, 8, 3, 5);
    struct sim_node *leader = settled_leader(&cluster, NULL);
    sim_cluster_open_node(&cluster, 3);
    CHECK(change(leader, RR_MEMBER_ADD, 4) == RR_OK);
    CHECK(change(leader, RR_MEMBER_REMOVE, 4) == RR_OK);
    CHECK(change(leader, RR_MEMBER_ADD, 4) == RR_E_CONF_REFUSED);
    CHECK(change(leader, RR_MEMBER_ADD_LEARNER, 4) == RR_E_CONF_REFUSED);
    CHECK(replace(leader, leader->number, 4) == RR_E_CONF_REFUSED);
    /* Nor in another process, which has it from the log. */
    sim_cluster_kill(&cluster, leader->number - 1);
    struct sim_node *heir = settled_leader(&cluster, leader);
    CHECK(change(heir, RR_MEMBER_ADD, 4) == RR_E_CONF_REFUSED);
    sim_cluster_fini(&cluster);
}

/* ---- outcomes ------------------------------------------------------------ */

/* The leader loses its followers with a change in its log, and then its leadership. */
static void test_change_of_a_lost_leadership_is_of_unknown_outcome(void)
{
    struct sim_cluster cluster;
    begin(&cluster, 9, 3, 4);
    struct sim_node *leader = settled_leader(&cluster, NULL);
    struct rr_member_change add = change_of(RR_MEMBER_ADD, 4);
    sim_cluster_isolate(leader, true);
    CHECK(rr_conf_change(leader->group, &add, 1, NULL) == 0);
    sim_cluster_run_ms(&cluster, 3000);
    CHECK(sim_cluster_completion(leader, 1)->status == RR_E_UNKNOWN_OUTCOME);
    struct sim_node *heir = settled_leader(&cluster, leader);
    sim_cluster_isolate(leader, false);
    check_serves(heir, 10);
    CHECK(role_of(heir, 4) == 0 && role_of(leader, 4) == 0); /* it was truncated */
    uint32_t count = 0;
    for (uint32_t i = 0; i < leader->completion_count; i++)
        count += leader->completions[i].tag == 1;
    CHECK_EQ_U64(count, 1);
    sim_cluster_fini(&cluster);
}

/* ---- removal ------------------------------------------------------------- */

static void test_leader_that_removes_itself_hands_over(void)
{
    for (uint32_t voters = 2; voters <= 3; voters++) {
        struct sim_cluster cluster;
        begin(&cluster, 10 + voters, voters, voters);
        struct sim_node *leader = settled_leader(&cluster, NULL);
        uint64_t term = sim_cluster_status(leader).term;
        CHECK(change(leader, RR_MEMBER_REMOVE, leader->number) == RR_OK);
        sim_cluster_run_ms(&cluster, 500); /* an election timeout: no election was waited for */
        struct sim_node *heir = sim_cluster_leader(&cluster, leader);
        CHECK_EQ_U64(sim_cluster_status(heir).term, term + 1);
        check_serves(heir, 10);
        CHECK_EQ_U64(sim_cluster_status(heir).voter_count, voters - 1);
        CHECK_EQ_U64(sim_cluster_propose(leader, 5, 1), 1);
        sim_cluster_run_ms(&cluster, 100);
        CHECK(sim_cluster_completion(leader, 5)->status == RR_E_NOT_LEADER);
        CHECK(change(leader, RR_MEMBER_REMOVE, heir->number) == RR_E_NOT_LEADER);
        check_removed_and_quiet(leader);
        sim_cluster_fini(&cluster);
    }
}

/* Of two nodes the leader removes itself and dies before the other knows that this is committed:
 * the other needs its vote for learning it, and gets it. */
static void test_removed_leader_still_gives_the_vote_that_the_last_node_needs(void)
{
    struct sim_cluster cluster;
    begin(&cluster, 14, 2, 2);
    struct sim_node *leader = settled_leader(&cluster, NULL);
    struct sim_node *other = sim_cluster_next(leader, 1);
    struct rr_member_change remove = change_of(RR_MEMBER_REMOVE, leader->number);
    sim_disk_latency(cluster.sim, leader->number, 100000000, 100000001);
    CHECK(rr_conf_change(leader->group, &remove, 1, NULL) == 0);
    sim_cluster_run_ms(&cluster, 20);
    sim_cut(cluster.sim, leader->number, other->number, true); /* it has the entry, and answers */
    for (uint32_t waited = 0; waited < 100 && !sim_cluster_completion(leader, 1); waited++)
        sim_cluster_run_ms(&cluster, 10);
    CHECK(sim_cluster_completion(leader, 1) && sim_cluster_completion(leader, 1)->status == RR_OK);
    sim_cluster_kill(&cluster, leader->number - 1);
    sim_cluster_run_ms(&cluster, 10000);
    bool was_stuck = sim_cluster_status(other).voter_count == 2;
    sim_cut(cluster.sim, leader->number, other->number, false);
    sim_cluster_open_node(&cluster, leader->number - 1);
    sim_cluster_run_ms(&cluster, 5000);
    CHECK(sim_cluster_leader(&cluster, leader) == other);
    CHECK(was_stuck); /* or this has tested nothing */
    check_serves(other, 10);
    CHECK_EQ_U64(sim_cluster_status(other).voter_count, 1);
    check_removed_and_quiet(leader);
    sim_cluster_fini(&cluster);
}

static void test_node_removed_while_away_is_told_and_disturbs_nobody(void)
{
    struct sim_cluster cluster;
    begin(&cluster, 15, 5, 5);
    struct sim_node *leader = settled_leader(&cluster, NULL);
    struct sim_node *away = sim_cluster_next(leader, 1);
    struct sim_node *down = sim_cluster_next(leader, 2);
    sim_cluster_isolate(away, true);
    sim_cluster_kill(&cluster, down->number - 1);
    CHECK(change(leader, RR_MEMBER_REMOVE, away->number) == RR_OK);
    CHECK(change(leader, RR_MEMBER_REMOVE, down->number) == RR_OK);
    sim_cluster_run_ms(&cluster, 5000);
    uint64_t term = sim_cluster_status(leader).term;
    sim_cluster_isolate(away, false);
    sim_cluster_open_node(&cluster, down->number - 1);
    sim_cluster_run_ms(&cluster, 5000);
    check_removed_and_quiet(away);
    check_removed_and_quiet(down);
    CHECK_EQ_U64(sim_cluster_status(leader).term, term);
    check_serves(leader, 10);
    /* A new process is told again. */
    sim_cluster_kill(&cluster, away->number - 1);
    sim_cluster_open_node(&cluster, away->number - 1);
    sim_cluster_run_ms(&cluster, 5000);
    check_removed_and_quiet(away);
    sim_cluster_fini(&cluster);
}

/* Who waits to be joined has nothing to take a snapshot of, and says so. */
static void test_snapshot_of_a_group_that_waits_to_be_joined_is_answered(void)
{
    struct sim_cluster cluster;
    begin(&cluster, 24, 3, 4);
    sim_cluster_open_node(&cluster, 3);
    sim_cluster_run_ms(&cluster, 100);
    struct sim_node *joining = &cluster.nodes[3];
    CHECK(rr_snapshot(joining->group, 1) == 0 && rr_backup(joining->group, "/b", 2) == 0);
    sim_cluster_run_ms(&cluster, 50);
    for (uint64_t tag = 1; tag <= 2; tag++) {
        const struct rr_completion *completion = sim_cluster_completion(joining, tag);
        CHECK(completion && completion->kind == RR_COMPLETION_SNAPSHOT);
        CHECK(completion->status == RR_E_SNAPSHOT_TEMPORARILY_UNAVAILABLE);
    }
    CHECK(rr_group_close(joining->group, RR_CLOSE_DRAIN) == 0);
    sim_cluster_fini(&cluster);
}

int main(void)
{
    RUN(test_cluster_grows_from_one_to_five_and_shrinks_to_three);
    RUN(test_snapshot_of_a_group_that_waits_to_be_joined_is_answered);
    RUN(test_learner_receives_and_is_promoted_when_it_has_caught_up);
    RUN(test_laggard_is_not_promoted);
    RUN(test_replacement_is_one_change);
    RUN(test_senseless_changes_are_refused_and_not_logged);
    RUN(test_bad_arguments_are_refused_at_once);
    RUN(test_second_change_in_flight_is_refused);
    RUN(test_removed_id_never_comes_back);
    RUN(test_change_of_a_lost_leadership_is_of_unknown_outcome);
    RUN(test_leader_that_removes_itself_hands_over);
    RUN(test_removed_leader_still_gives_the_vote_that_the_last_node_needs);
    RUN(test_node_removed_while_away_is_told_and_disturbs_nobody);
    return 0;
}
