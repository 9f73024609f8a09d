/* SPDX-License-Identifier: Apache-2.0
 *
 * What is asked of a group: reads (thesis 6.4), transfers (3.10), configuration changes (4), and
 * what followers do with such requests.
 */
#include "tests/unit/raft_world.h"

#include "tests/unit/check.h"

static struct world w;

static void lease_reads(struct rr_config *config)
{
    config->check_quorum = true;
    config->read_only_option = RR_READ_ONLY_LEASE_BASED;
}

static void pre_vote(struct rr_config *config)
{
    config->pre_vote = true;
}

static void no_forwarding(struct rr_config *config)
{
    config->disable_proposal_forwarding = true;
}

static void step_down_on_removal(struct rr_config *config)
{
    config->step_down_on_removal = true;
}

static struct raft *begin(uint32_t count, void (*adjust)(struct rr_config *))
{
    world_begin(&w, count, adjust);
    world_campaign(&w, 1);
    CHECK(world_raft(&w, 1)->state == RR_STATE_LEADER);
    return world_raft(&w, 1);
}

/* ---- reads ---------------------------------------------------------------------- */

static void read_at(uint64_t id, const char *context)
{
    rr_raw_node_read_index(world_raw(&w, id), (const uint8_t *)context, (uint32_t)strlen(context));
}

/* The reads of the node's next Ready must be these, at `index`. */
static void check_reads(uint64_t id, uint64_t index, const char *contexts)
{
    CHECK(rr_raw_node_has_ready(world_raw(&w, id)));
    world_ready(&w, id);
    const struct rr_ready *ready = &w.nodes[id - 1].ready;
    CHECK_EQ_U64(ready->read_state_count, strlen(contexts));
    for (uint32_t i = 0; i < ready->read_state_count; i++) {
        CHECK_EQ_U64(ready->read_states[i].index, index);
        CHECK_EQ_U64(ready->read_states[i].request_ctx_size, 1);
        CHECK(ready->read_states[i].request_ctx[0] == (uint8_t)contexts[i]);
    }
}

static struct rr_message echo(uint64_t from, uint8_t position)
{
    static uint8_t context[8];
    context[0] = position;
    return (struct rr_message){.type = RR_MSG_HEARTBEAT_RESP,
                               .to = 1,
                               .from = from,
                               .term = world_raft(&w, 1)->term,
                               .context = context,
                               .context_size = sizeof(context)};
}

static void test_reads_are_answered_in_order_with_the_index_of_arrival(void)
{
    begin(5, NULL);
    for (uint64_t id = 2; id <= 5; id++)
        world_isolate(&w, id, true);
    read_at(1, "a");
    world_settle(&w);
    uint64_t index = world_raft(&w, 1)->log.committed;
    read_at(1, "b");
    read_at(1, "c");
    world_settle(&w);
    CHECK_EQ_U64(w.last[RR_MSG_HEARTBEAT].context_size, 8);
    /* Echoes are cumulative per peer, whatever order they come in: 2 and 3 have confirmed two. */
    world_step(&w, echo(2, 3));
    world_step(&w, echo(2, 1));
    CHECK(!rr_raw_node_has_ready(world_raw(&w, 1)));
    world_step(&w, echo(3, 2));
    check_reads(1, index, "ab");
    world_step(&w, echo(4, 3));
    check_reads(1, index, "c");
    CHECK_EQ_U64(world_raft(&w, 1)->read_only.queue.count, 0);
    world_end(&w);
}

static void test_ticks_repeat_the_position_while_reads_wait(void)
{
    begin(3, NULL);
    for (uint64_t id = 2; id <= 3; id++)
        world_isolate(&w, id, true);
    read_at(1, "a");
    world_settle(&w);
    for (uint64_t id = 2; id <= 3; id++)
        world_isolate(&w, id, false);
    rr_raw_node_tick(world_raw(&w, 1));
    world_ready(&w, 1);
    world_ready(&w, 2);
    check_reads(1, 2, "a");
    world_settle(&w);
    world_tick(&w, 1, 1);
    CHECK_EQ_U64(w.last[RR_MSG_HEARTBEAT].context_size, 0);
    world_end(&w);
}

static void test_reads_wait_for_the_first_commit_of_the_term_and_survive_a_reset(void)
{
    struct raft *r = begin(3, NULL);
    rr_raw_node_step_down(world_raw(&w, 1));
    rr_raw_node_campaign(world_raw(&w, 1));
    world_ready(&w, 1);
    world_ready(&w, 2);
    CHECK(r->state == RR_STATE_LEADER);
    read_at(1, "a");
    CHECK_EQ_U64(r->parked_reads.count, 1);
    CHECK_EQ_U64(r->read_only.queue.count, 0);
    rr_raw_node_step_down(world_raw(&w, 1));
    CHECK_EQ_U64(r->parked_reads.count, 1);
    world_campaign(&w, 1);
    CHECK_EQ_U64(r->parked_reads.count, 0);
    CHECK_EQ_U64(r->read_only.confirmed, 1);
    world_end(&w);
}

static void test_waiting_reads_are_dropped_by_a_change_of_role(void)
{
    struct raft *r = begin(3, NULL);
    world_isolate(&w, 1, true);
    read_at(1, "a");
    CHECK_EQ_U64(r->read_only.queue.count, 1);
    rr_raw_node_step_down(world_raw(&w, 1));
    CHECK_EQ_U64(r->read_only.queue.count, 0);
    world_isolate(&w, 1, false);
    world_end(&w);
}

static void test_reads_at_followers_are_forwarded_and_answered_there(void)
{
    begin(3, NULL);
    read_at(2, "f");
    world_ready(&w, 2);
    CHECK(w.last[RR_MSG_READ_INDEX].term == 0);
    world_ready(&w, 1);
    world_ready(&w, 3);
    world_ready(&w, 1);
    check_reads(2, 2, "f");
    world_end(&w);
}

static void test_single_voter_answers_at_once_unless_joint(void)
{
    struct raft *r = begin(1, NULL);
    read_at(1, "s");
    check_reads(1, 2, "s");
    id_set_add(&r->tracker.config.outgoing, 1);
    CHECK(!tracker_is_singleton(&r->tracker));
    r->tracker.config.outgoing.count = 0;
    world_end(&w);
}

static void test_reads_beyond_the_bound_are_dropped(void)
{
    struct raft *r = begin(3, NULL);
    world_isolate(&w, 1, true);
    enum { CONTEXT_SIZE = 8 << 20 };
    uint8_t *context = calloc(1, CONTEXT_SIZE);
    for (int i = 0; i < 10; i++)
        rr_raw_node_read_index(world_raw(&w, 1), context, CONTEXT_SIZE);
    free(context);
    CHECK_EQ_U64(r->read_only.queue.count, READ_QUEUE_BYTES_MAX / CONTEXT_SIZE - 1);
    world_settle(&w);
    world_end(&w);
}

static void test_lease_answers_at_once(void)
{
    begin(3, lease_reads);
    world_isolate(&w, 1, true);
    read_at(1, "l");
    check_reads(1, 2, "l");
    world_isolate(&w, 1, false);
    world_end(&w);
}

/* ---- transfers --------------------------------------------------------------------- */

static void test_transfer_to_a_peer_that_has_all_is_immediate_and_without_pre_vote(void)
{
    begin(3, pre_vote);
    uint32_t pre_votes = w.sent[RR_MSG_PRE_VOTE];
    rr_raw_node_transfer_leader(world_raw(&w, 1), 2);
    world_settle(&w);
    CHECK(world_raft(&w, 2)->state == RR_STATE_LEADER);
    CHECK_EQ_U64(w.sent[RR_MSG_PRE_VOTE], pre_votes);
    world_end(&w);
}

static void test_transfer_at_a_follower_reaches_the_leader(void)
{
    begin(3, NULL);
    rr_raw_node_transfer_leader(world_raw(&w, 3), 2);
    world_settle(&w);
    CHECK(world_raft(&w, 2)->state == RR_STATE_LEADER);
    world_end(&w);
}

static void test_transfer_waits_for_a_slow_peer_and_drops_proposals(void)
{
    struct raft *r = begin(3, NULL);
    world_isolate(&w, 2, true);
    CHECK(world_propose(&w, 1, "x") == 0);
    world_settle(&w);
    r->election_elapsed = 7;
    rr_raw_node_transfer_leader(world_raw(&w, 1), 2);
    CHECK_EQ_U64(r->election_elapsed, 0); /* a whole timeout for it */
    CHECK_EQ_U64(r->lead_transferee, 2);
    CHECK(world_propose(&w, 1, "y") == RR_E_PROPOSAL_DROPPED);
    CHECK_EQ_U64(w.sent[RR_MSG_TIMEOUT_NOW], 0);
    world_isolate(&w, 2, false);
    world_tick(&w, 1, 1);
    CHECK(world_raft(&w, 2)->state == RR_STATE_LEADER);
    world_end(&w);
}

static void test_transfer_is_given_up_after_a_timeout(void)
{
    struct raft *r = begin(3, NULL);
    world_isolate(&w, 2, true);
    rr_raw_node_transfer_leader(world_raw(&w, 1), 2);
    world_tick(&w, 1, WORLD_ELECTION_TICK - 1);
    CHECK_EQ_U64(r->lead_transferee, 2);
    world_tick(&w, 1, 1);
    CHECK_EQ_U64(r->lead_transferee, RR_NONE);
    CHECK(world_propose(&w, 1, "y") == 0);
    world_end(&w);
}

static void test_second_transfer_replaces_the_first_and_self_aborts(void)
{
    struct raft *r = begin(3, NULL);
    for (uint64_t id = 2; id <= 3; id++)
        world_isolate(&w, id, true);
    rr_raw_node_transfer_leader(world_raw(&w, 1), 2);
    rr_raw_node_transfer_leader(world_raw(&w, 1), 3);
    CHECK_EQ_U64(r->lead_transferee, 3);
    rr_raw_node_transfer_leader(world_raw(&w, 1), 1);
    CHECK_EQ_U64(r->lead_transferee, RR_NONE);
    rr_raw_node_transfer_leader(world_raw(&w, 1), 9);
    CHECK_EQ_U64(r->lead_transferee, RR_NONE);
    world_end(&w);
}

/* ---- configuration changes ----------------------------------------------------------- */

static int change(uint64_t at, enum rr_conf_change_type type, uint64_t id,
                  enum rr_conf_change_transition transition)
{
    const struct rr_conf_change_single single = {.node_id = id, .type = (uint8_t)type};
    const struct rr_conf_change_v2 v2 = {.changes = &single,
                                         .change_count = id != RR_NONE,
                                         .transition = (uint8_t)transition,
                                         .has_transition = true};
    return rr_raw_node_propose_conf_change_v2(world_raw(&w, at), &v2);
}

static void test_second_change_is_replaced_while_one_is_pending(void)
{
    struct raft *r = begin(3, NULL);
    CHECK(change(1, RR_CONF_CHANGE_ADD_LEARNER_NODE, 4, RR_CONF_CHANGE_TRANSITION_AUTO) == 0);
    CHECK_EQ_U64(r->pending_conf_index, 3);
    CHECK(change(1, RR_CONF_CHANGE_ADD_LEARNER_NODE, 5, RR_CONF_CHANGE_TRANSITION_AUTO) == 0);
    const struct rr_entry *replaced = unstable_at(&r->log.unstable, 4);
    CHECK_EQ_U64(replaced->type, RR_ENTRY_NORMAL);
    CHECK_EQ_U64(replaced->size, 0);
    CHECK(replaced->has == (RR_ENTRY_HAS_TYPE | RR_ENTRY_HAS_TERM | RR_ENTRY_HAS_INDEX));
    world_settle(&w);
    CHECK(tracker_find(&r->tracker, 4) && !tracker_find(&r->tracker, 5));
    world_end(&w);
}

static void test_joint_configuration_is_left_automatically(void)
{
    struct raft *r = begin(3, NULL);
    CHECK(change(1, RR_CONF_CHANGE_REMOVE_NODE, 3, RR_CONF_CHANGE_TRANSITION_JOINT_IMPLICIT) == 0);
    world_settle(&w);
    CHECK(!tracker_is_joint(&r->tracker));
    CHECK(tracker_find(&r->tracker, 3) == NULL);
    CHECK_EQ_U64(r->log.committed, 4); /* the change and the leave */
    world_end(&w);
}

static void test_auto_leave_waits_until_what_was_there_is_applied(void)
{
    struct raft *r = begin(3, NULL);
    r->tracker.config.outgoing = r->tracker.config.incoming;
    r->tracker.config.auto_leave = true;
    tracker_index(&r->tracker);
    r->pending_conf_index = 4;
    CHECK(world_propose(&w, 1, "x") == 0);
    world_settle(&w);
    CHECK_EQ_U64(r->log.applied, 3);
    CHECK(tracker_is_joint(&r->tracker));
    CHECK(world_propose(&w, 1, "x") == 0);
    world_ready(&w, 1);
    world_ready(&w, 2);
    world_ready(&w, 1);
    CHECK_EQ_U64(r->pending_conf_index, 5); /* the leave is proposed now */
    for (uint64_t id = 2; id <= 3; id++) {
        struct raft *other = world_raft(&w, id);
        other->tracker.config = r->tracker.config;
        tracker_index(&other->tracker);
    }
    world_settle(&w);
    CHECK(!tracker_is_joint(&r->tracker));
    world_end(&w);
}

static void test_removed_leader_leads_on_unless_told_to_step_down(void)
{
    void (*const modes[])(struct rr_config *) = {NULL, step_down_on_removal};
    for (size_t i = 0; i < RR_ARRAY_SIZE(modes); i++) {
        struct raft *r = begin(3, modes[i]);
        CHECK(change(1, RR_CONF_CHANGE_REMOVE_NODE, 1, RR_CONF_CHANGE_TRANSITION_AUTO) == 0);
        world_settle(&w);
        CHECK(tracker_find(&r->tracker, 1) == NULL);
        CHECK(r->state == (modes[i] ? RR_STATE_FOLLOWER : RR_STATE_LEADER));
        CHECK(world_propose(&w, 1, "x") == RR_E_PROPOSAL_DROPPED);
        world_end(&w);
    }
}

static void test_removal_commits_what_waited_for_the_removed(void)
{
    struct raft *r = begin(2, NULL);
    CHECK(change(1, RR_CONF_CHANGE_REMOVE_NODE, 2, RR_CONF_CHANGE_TRANSITION_AUTO) == 0);
    CHECK(world_propose(&w, 1, "x") == 0);
    world_ready(&w, 1);
    struct rr_message ack = {
        .type = RR_MSG_APP_RESP, .to = 1, .from = 2, .term = r->term, .index = 3};
    world_isolate(&w, 2, true);
    world_step(&w, ack);
    world_settle(&w);
    CHECK_EQ_U64(r->log.committed, 4);
    world_end(&w);
}

static void test_demotion_of_the_transferee_aborts_the_transfer(void)
{
    struct raft *r = begin(3, NULL);
    world_isolate(&w, 3, true);
    CHECK(change(1, RR_CONF_CHANGE_ADD_LEARNER_NODE, 3, RR_CONF_CHANGE_TRANSITION_AUTO) == 0);
    rr_raw_node_transfer_leader(world_raw(&w, 1), 3);
    CHECK_EQ_U64(r->lead_transferee, 3);
    world_settle(&w);
    CHECK_EQ_U64(r->lead_transferee, RR_NONE);
    CHECK(tracker_find(&r->tracker, 3)->is_learner);
    world_end(&w);
}

static void test_campaign_asks_both_halves_of_a_joint_configuration(void)
{
    struct raft *r = begin(3, NULL);
    CHECK(change(1, RR_CONF_CHANGE_REMOVE_NODE, 3, RR_CONF_CHANGE_TRANSITION_JOINT_EXPLICIT) == 0);
    world_settle(&w);
    CHECK(tracker_is_joint(&r->tracker));
    uint32_t votes = w.sent[RR_MSG_VOTE];
    world_campaign(&w, 2);
    CHECK_EQ_U64(w.sent[RR_MSG_VOTE], votes + 2);
    CHECK(world_raft(&w, 2)->state == RR_STATE_LEADER);
    CHECK(change(2, RR_CONF_CHANGE_ADD_NODE, RR_NONE, RR_CONF_CHANGE_TRANSITION_AUTO) == 0);
    world_settle(&w);
    CHECK(!tracker_is_joint(&world_raft(&w, 2)->tracker));
    world_end(&w);
}

/* ---- at followers ----------------------------------------------------------------------- */

static void test_proposals_at_followers_are_forwarded_unless_disabled(void)
{
    void (*const modes[])(struct rr_config *) = {NULL, no_forwarding};
    for (size_t i = 0; i < RR_ARRAY_SIZE(modes); i++) {
        begin(3, modes[i]);
        CHECK(world_propose(&w, 2, "x") == (modes[i] ? RR_E_PROPOSAL_DROPPED : 0));
        world_settle(&w);
        CHECK_EQ_U64(w.nodes[0].applied_count, modes[i] ? 0 : 1);
        world_end(&w);
    }
}

static void test_forget_leader_leaves_everything_else(void)
{
    begin(3, NULL);
    struct raft *r = world_raft(&w, 2);
    r->election_elapsed = 4;
    CHECK(rr_raw_node_forget_leader(world_raw(&w, 2)) == 0);
    CHECK_EQ_U64(r->lead, RR_NONE);
    CHECK_EQ_U64(r->term, 1);
    CHECK_EQ_U64(r->vote, 1);
    CHECK_EQ_U64(r->election_elapsed, 4);
    world_end(&w);
    begin(3, lease_reads);
    rr_raw_node_forget_leader(world_raw(&w, 2));
    CHECK_EQ_U64(world_raft(&w, 2)->lead, 1);
    world_end(&w);
}

static void test_quiesced_tick_only_counts(void)
{
    world_begin(&w, 3, NULL);
    for (int i = 0; i < 3 * WORLD_ELECTION_TICK; i++)
        rr_raw_node_tick_quiesced(world_raw(&w, 1));
    CHECK(!rr_raw_node_has_ready(world_raw(&w, 1)));
    CHECK_EQ_U64(world_raft(&w, 1)->election_elapsed, 3 * WORLD_ELECTION_TICK);
    world_end(&w);
}

static void test_status_shows_the_leaders_view(void)
{
    begin(3, NULL);
    struct rr_basic_status status;
    rr_raw_node_basic_status(world_raw(&w, 1), &status);
    CHECK_EQ_U64(status.soft_state.lead, 1);
    CHECK_EQ_U64(status.last_index, 2);
    CHECK_EQ_U64(status.applied, 2);
    struct rr_progress_status progress[2];
    CHECK_EQ_U64(rr_raw_node_progress(world_raw(&w, 1), progress, 2), 3);
    CHECK_EQ_U64(progress[1].id, 2);
    CHECK_EQ_U64(progress[1].match, 2);
    CHECK(progress[1].state == RR_PROGRESS_REPLICATE);
    CHECK_EQ_U64(rr_raw_node_progress(world_raw(&w, 2), progress, 2), 0);
    world_end(&w);
}

int main(void)
{
    RUN(test_reads_are_answered_in_order_with_the_index_of_arrival);
    RUN(test_ticks_repeat_the_position_while_reads_wait);
    RUN(test_reads_wait_for_the_first_commit_of_the_term_and_survive_a_reset);
    RUN(test_waiting_reads_are_dropped_by_a_change_of_role);
    RUN(test_reads_at_followers_are_forwarded_and_answered_there);
    RUN(test_single_voter_answers_at_once_unless_joint);
    RUN(test_reads_beyond_the_bound_are_dropped);
    RUN(test_lease_answers_at_once);
    RUN(test_transfer_to_a_peer_that_has_all_is_immediate_and_without_pre_vote);
    RUN(test_transfer_at_a_follower_reaches_the_leader);
    RUN(test_transfer_waits_for_a_slow_peer_and_drops_proposals);
    RUN(test_transfer_is_given_up_after_a_timeout);
    RUN(test_second_transfer_replaces_the_first_and_self_aborts);
    RUN(test_second_change_is_replaced_while_one_is_pending);
    RUN(test_joint_configuration_is_left_automatically);
    RUN(test_auto_leave_waits_until_what_was_there_is_applied);
    RUN(test_removed_leader_leads_on_unless_told_to_step_down);
    RUN(test_removal_commits_what_waited_for_the_removed);
    RUN(test_demotion_of_the_transferee_aborts_the_transfer);
    RUN(test_campaign_asks_both_halves_of_a_joint_configuration);
    RUN(test_proposals_at_followers_are_forwarded_unless_disabled);
    RUN(test_forget_leader_leaves_everything_else);
    RUN(test_quiesced_tick_only_counts);
    RUN(test_status_shows_the_leaders_view);
    return 0;
}
