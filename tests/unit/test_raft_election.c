/* SPDX-License-Identifier: Apache-2.0
 *
 * Elections, terms and votes where they are easy to get wrong (thesis 3.4, 4.2.3, 6.2, 9.6).
 */
#include "tests/unit/raft_world.h"

#include "tests/unit/check.h"

static struct world w;

static void pre_vote(struct rr_config *config)
{
    config->pre_vote = true;
}

static void check_quorum(struct rr_config *config)
{
    config->check_quorum = true;
}

static struct rr_message vote(enum rr_message_type type, uint64_t from, uint64_t term)
{
    return (struct rr_message){
        .type = (uint8_t)type, .to = 2, .from = from, .term = term, .index = 9, .log_term = 9};
}

static void test_three_nodes_elect_and_commit_the_empty_entry(void)
{
    world_begin(&w, 3, NULL);
    world_tick(&w, 1, WORLD_ELECTION_TICK);
    for (uint64_t id = 1; id <= 3; id++) {
        CHECK_EQ_U64(world_raft(&w, id)->lead, 1);
        CHECK_EQ_U64(world_raft(&w, id)->term, 1);
        CHECK_EQ_U64(world_raft(&w, id)->log.committed, 2);
    }
    world_end(&w);
}

static void test_single_node_leads_only_when_its_vote_is_durable(void)
{
    world_begin(&w, 1, NULL);
    rr_raw_node_campaign(world_raw(&w, 1));
    CHECK(world_raft(&w, 1)->state == RR_STATE_CANDIDATE);
    world_ready(&w, 1);
    CHECK(world_raft(&w, 1)->state == RR_STATE_LEADER);
    CHECK_EQ_U64(world_raft(&w, 1)->log.committed, 1);
    world_ready(&w, 1);
    CHECK_EQ_U64(world_raft(&w, 1)->log.committed, 2);
    world_end(&w);
}

static void test_vote_needs_a_log_as_good(void)
{
    static const struct {
        uint64_t log_term, index, voted_for;
        bool rejected;
    } rows[] = {
        {0, 1, 0, true},  {0, 9, 0, true},  {1, 1, 0, false}, {1, 0, 0, true},
        {2, 0, 0, false}, {1, 1, 1, false}, {1, 1, 3, true},
    };
    for (size_t i = 0; i < RR_ARRAY_SIZE(rows); i++) {
        world_begin(&w, 3, NULL);
        struct raft *r = world_raft(&w, 2);
        raft_become_follower(r, 1, RR_NONE);
        r->vote = rows[i].voted_for;
        struct rr_message m = vote(RR_MSG_VOTE, 1, 1);
        m.log_term = rows[i].log_term;
        m.index = rows[i].index;
        world_step(&w, m);
        world_isolate(&w, 2, true);
        world_settle(&w);
        CHECK(w.last[RR_MSG_VOTE_RESP].reject == rows[i].rejected);
        world_end(&w);
    }
}

static void test_unbound_voter_with_a_leader_refuses(void)
{
    world_begin(&w, 3, NULL);
    world_campaign(&w, 1);
    struct raft *r = world_raft(&w, 2);
    r->vote = RR_NONE; /* as after a restart that lost nothing but learnt of the leader later */
    world_step(&w, vote(RR_MSG_VOTE, 3, r->term));
    CHECK_EQ_U64(r->vote, RR_NONE);
    world_end(&w);
}

static void test_vote_resets_the_clock_pre_vote_does_not(void)
{
    world_begin(&w, 3, NULL);
    struct raft *r = world_raft(&w, 2);
    r->election_elapsed = 5;
    world_step(&w, vote(RR_MSG_PRE_VOTE, 1, 4));
    CHECK_EQ_U64(r->election_elapsed, 5);
    CHECK_EQ_U64(r->term, 0);
    CHECK_EQ_U64(r->vote, RR_NONE);
    raft_become_follower(r, 4, RR_NONE);
    r->election_elapsed = 5;
    world_step(&w, vote(RR_MSG_VOTE, 1, 4));
    CHECK_EQ_U64(r->election_elapsed, 0);
    CHECK_EQ_U64(r->vote, 1);
    world_end(&w);
}

static void test_pre_candidate_keeps_term_vote_and_clock(void)
{
    world_begin(&w, 3, pre_vote);
    world_campaign(&w, 1);
    struct raft *r = world_raft(&w, 2);
    uint64_t term = r->term;
    r->election_elapsed = 7;
    tracker_record_vote(&r->tracker, 3, false);
    rr_raw_node_campaign(world_raw(&w, 2));
    CHECK(r->state == RR_STATE_PRE_CANDIDATE);
    CHECK_EQ_U64(r->term, term);
    CHECK_EQ_U64(r->vote, 1);
    CHECK_EQ_U64(r->election_elapsed, 7);
    CHECK_EQ_U64(r->lead, RR_NONE);
    CHECK_EQ_U64(r->tracker.vote_count, 0);
    world_end(&w);
}

static void test_isolated_pre_candidate_does_not_raise_the_term(void)
{
    world_begin(&w, 3, pre_vote);
    world_campaign(&w, 1);
    world_isolate(&w, 3, true);
    world_tick(&w, 3, 50);
    CHECK_EQ_U64(world_raft(&w, 3)->term, 1);
    world_isolate(&w, 3, false);
    world_tick(&w, 1, 1);
    CHECK_EQ_U64(world_raft(&w, 3)->lead, 1);
    world_end(&w);
}

static void test_first_vote_of_a_voter_counts(void)
{
    world_begin(&w, 3, NULL);
    rr_raw_node_campaign(world_raw(&w, 2));
    struct rr_message no = {
        .type = RR_MSG_VOTE_RESP, .to = 2, .from = 1, .term = 1, .reject = true};
    struct rr_message yes = no;
    yes.reject = false;
    world_step(&w, no);
    world_step(&w, yes);
    uint32_t granted, rejected;
    tracker_tally_votes(&world_raft(&w, 2)->tracker, &granted, &rejected);
    CHECK_EQ_U64(granted, 0);
    CHECK_EQ_U64(rejected, 1);
    world_end(&w);
}

static void test_lost_election_steps_down_and_keeps_the_vote(void)
{
    world_begin(&w, 3, NULL);
    rr_raw_node_campaign(world_raw(&w, 2));
    for (uint64_t from = 1; from <= 3; from += 2)
        world_step(&w,
                   (struct rr_message){
                       .type = RR_MSG_VOTE_RESP, .to = 2, .from = from, .term = 1, .reject = true});
    struct raft *r = world_raft(&w, 2);
    CHECK(r->state == RR_STATE_FOLLOWER);
    CHECK_EQ_U64(r->term, 1);
    CHECK_EQ_U64(r->vote, 2);
    world_end(&w);
}

static void test_candidate_ignores_timeout_now_and_the_other_phase(void)
{
    world_begin(&w, 3, NULL);
    rr_raw_node_campaign(world_raw(&w, 2));
    struct raft *r = world_raft(&w, 2);
    world_step(&w, (struct rr_message){.type = RR_MSG_TIMEOUT_NOW, .to = 2, .from = 1, .term = 1});
    CHECK_EQ_U64(r->term, 1);
    for (uint64_t from = 1; from <= 3; from += 2)
        world_step(&w, (struct rr_message){
                           .type = RR_MSG_PRE_VOTE_RESP, .to = 2, .from = from, .term = 1});
    CHECK(r->state == RR_STATE_CANDIDATE);
    world_end(&w);
}

static void test_lower_term_is_answered_only_with_check_quorum_or_pre_vote(void)
{
    void (*const modes[])(struct rr_config *) = {NULL, check_quorum, pre_vote};
    for (size_t i = 0; i < RR_ARRAY_SIZE(modes); i++) {
        world_begin(&w, 3, modes[i]);
        raft_become_follower(world_raft(&w, 2), 5, RR_NONE);
        world_settle(&w);
        world_step(&w,
                   (struct rr_message){.type = RR_MSG_HEARTBEAT, .to = 2, .from = 1, .term = 1});
        world_settle(&w);
        CHECK_EQ_U64(w.sent[RR_MSG_APP_RESP], modes[i] ? 1 : 0);
        world_end(&w);
    }
}

static void test_lower_term_pre_vote_is_refused_aloud(void)
{
    world_begin(&w, 3, NULL);
    raft_become_follower(world_raft(&w, 2), 5, RR_NONE);
    world_step(&w, vote(RR_MSG_PRE_VOTE, 1, 3));
    world_isolate(&w, 2, true);
    world_settle(&w);
    CHECK(w.last[RR_MSG_PRE_VOTE_RESP].reject);
    CHECK_EQ_U64(w.last[RR_MSG_PRE_VOTE_RESP].term, 5);
    world_end(&w);
}

static void test_lease_needs_check_quorum_leader_and_time(void)
{
    static const struct {
        bool knows_leader;
        int32_t elapsed;
        const char *context;
        bool is_ignored;
    } rows[] = {
        {true, 9, "", true},
        {true, 10, "", false},
        {false, 0, "", false},
        {true, 0, CAMPAIGN_TRANSFER_CONTEXT, false},
        {true, 0, "CampaignTransfex", true},
    };
    for (size_t i = 0; i < RR_ARRAY_SIZE(rows); i++) {
        world_begin(&w, 3, check_quorum);
        struct raft *r = world_raft(&w, 2);
        raft_become_follower(r, 1, rows[i].knows_leader ? 1 : RR_NONE);
        r->election_elapsed = rows[i].elapsed;
        struct rr_message m = vote(RR_MSG_VOTE, 3, 2);
        m.context = (const uint8_t *)rows[i].context;
        m.context_size = (uint32_t)strlen(rows[i].context);
        world_step(&w, m);
        CHECK_EQ_U64(r->term, rows[i].is_ignored ? 1 : 2);
        world_end(&w);
    }
}

static void test_leader_without_a_quorum_steps_down_after_two_timeouts(void)
{
    world_begin(&w, 3, check_quorum);
    world_campaign(&w, 1);
    for (uint64_t id = 2; id <= 3; id++)
        world_isolate(&w, id, true);
    world_tick(&w, 1, WORLD_ELECTION_TICK); /* they were active in this one */
    CHECK(world_raft(&w, 1)->state == RR_STATE_LEADER);
    world_tick(&w, 1, WORLD_ELECTION_TICK);
    CHECK(world_raft(&w, 1)->state == RR_STATE_FOLLOWER);
    CHECK_EQ_U64(world_raft(&w, 1)->term, 1);
    world_end(&w);
}

static void test_hearing_the_leader_resets_the_clock(void)
{
    static const uint8_t types[] = {RR_MSG_APP, RR_MSG_HEARTBEAT, RR_MSG_SNAP};
    for (size_t i = 0; i < RR_ARRAY_SIZE(types); i++) {
        world_begin(&w, 3, NULL);
        world_campaign(&w, 1);
        struct raft *r = world_raft(&w, 2);
        r->election_elapsed = 8;
        world_step(&w, (struct rr_message){.type = types[i], .to = 2, .from = 1, .term = r->term});
        CHECK_EQ_U64(r->election_elapsed, 0);
        world_end(&w);
    }
}

static void test_unapplied_conf_change_forbids_a_campaign(void)
{
    world_begin(&w, 3, NULL);
    world_campaign(&w, 1);
    const struct rr_conf_change_single add = {.type = RR_CONF_CHANGE_ADD_LEARNER_NODE,
                                              .node_id = 9};
    CHECK(rr_raw_node_propose_conf_change_v2(
              world_raw(&w, 1), &(struct rr_conf_change_v2){.changes = &add, .change_count = 1}) ==
          0);
    world_ready(&w, 1);
    world_ready(&w, 2);
    world_ready(&w, 1);
    struct raft *r = world_raft(&w, 2);
    CHECK_EQ_U64(r->log.committed, 3); /* known here, not applied */
    rr_raw_node_campaign(world_raw(&w, 2));
    CHECK(r->state == RR_STATE_FOLLOWER);
    world_settle(&w);
    rr_raw_node_campaign(world_raw(&w, 2));
    CHECK(r->state == RR_STATE_CANDIDATE);
    world_end(&w);
}

static void test_step_down_keeps_term_and_vote(void)
{
    world_begin(&w, 3, NULL);
    world_campaign(&w, 1);
    rr_raw_node_step_down(world_raw(&w, 1));
    struct raft *r = world_raft(&w, 1);
    CHECK(r->state == RR_STATE_FOLLOWER);
    CHECK_EQ_U64(r->term, 1);
    CHECK_EQ_U64(r->vote, 1);
    CHECK_EQ_U64(r->lead, RR_NONE);
    CHECK(world_propose(&w, 1, "x") == RR_E_PROPOSAL_DROPPED);
    world_end(&w);
}

int main(void)
{
    RUN(test_three_nodes_elect_and_commit_the_empty_entry);
    RUN(test_single_node_leads_only_when_its_vote_is_durable);
    RUN(test_vote_needs_a_log_as_good);
    RUN(test_unbound_voter_with_a_leader_refuses);
    RUN(test_vote_resets_the_clock_pre_vote_does_not);
    RUN(test_pre_candidate_keeps_term_vote_and_clock);
    RUN(test_isolated_pre_candidate_does_not_raise_the_term);
    RUN(test_first_vote_of_a_voter_counts);
    RUN(test_lost_election_steps_down_and_keeps_the_vote);
    RUN(test_candidate_ignores_timeout_now_and_the_other_phase);
    RUN(test_lower_term_is_answered_only_with_check_quorum_or_pre_vote);
    RUN(test_lower_term_pre_vote_is_refused_aloud);
    RUN(test_lease_needs_check_quorum_leader_and_time);
    RUN(test_leader_without_a_quorum_steps_down_after_two_timeouts);
    RUN(test_hearing_the_leader_resets_the_clock);
    RUN(test_unapplied_conf_change_forbids_a_campaign);
    RUN(test_step_down_keeps_term_and_vote);
    return 0;
}
