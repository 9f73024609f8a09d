/* SPDX-License-Identifier: Apache-2.0
 *
 * What the roles do at the edges of their rules: requests that are refused, repeated, late or
 * pointless. Everything runs twice, with a log and without: the log must change nothing.
 */
#include "tests/unit/raft_world.h"

#include "tests/unit/check.h"

static struct world w;
static bool is_loud;
static uint64_t lines;

static void count_line(void *ctx, const struct rr_log_event *event)
{
    (void)ctx;
    (void)event;
    lines++;
}

static void adjust_log(struct rr_config *config)
{
    config->log = is_loud ? count_line : NULL;
}

static void adjust_lease(struct rr_config *config)
{
    adjust_log(config);
    config->check_quorum = true;
    config->read_only_option = RR_READ_ONLY_LEASE_BASED;
}

static void adjust_pre_vote(struct rr_config *config)
{
    adjust_log(config);
    config->pre_vote = true;
}

static void adjust_no_validation(struct rr_config *config)
{
    adjust_log(config);
    config->disable_conf_change_validation = true;
}

static void adjust_slow_heartbeats(struct rr_config *config)
{
    adjust_log(config);
    config->heartbeat_tick = 2;
}

/* Node 1 of `count` leads. */
static struct raft *begin(uint32_t count, void (*adjust)(struct rr_config *config))
{
    world_begin(&w, count, adjust);
    world_campaign(&w, 1);
    CHECK(world_raft(&w, 1)->state == RR_STATE_LEADER);
    return world_raft(&w, 1);
}

static struct rr_message message(enum rr_message_type type, uint64_t from, uint64_t to)
{
    return (struct rr_message){
        .type = (uint8_t)type, .to = to, .from = from, .term = world_raft(&w, to)->term};
}

static struct rr_conf_change_v2 make_change(struct rr_conf_change_single *single,
                                            enum rr_conf_change_type type, uint64_t id)
{
    *single = (struct rr_conf_change_single){.node_id = id, .type = (uint8_t)type};
    return (struct rr_conf_change_v2){.changes = single, .change_count = id != RR_NONE};
}

static void propose_change(enum rr_conf_change_type type, uint64_t id,
                           enum rr_conf_change_transition transition)
{
    struct rr_conf_change_single single;
    struct rr_conf_change_v2 change = make_change(&single, type, id);
    change.transition = (uint8_t)transition;
    change.has_transition = true;
    CHECK(rr_raw_node_propose_conf_change_v2(world_raw(&w, 1), &change) == 0);
}

static void apply_change(uint64_t at, enum rr_conf_change_type type, uint64_t id)
{
    struct rr_conf_change_single single;
    struct rr_conf_change_v2 change = make_change(&single, type, id);
    rr_raw_node_apply_conf_change_v2(world_raw(&w, at), &change, NULL);
}

/* ---- campaigns ----------------------------------------------------------- */

static void test_leader_does_not_campaign(void)
{
    struct raft *r = begin(3, adjust_log);
    uint64_t term = r->term;
    world_campaign(&w, 1);
    CHECK(r->state == RR_STATE_LEADER);
    CHECK_EQ_U64(r->term, term);
    world_end(&w);
}

static void test_learners_and_strangers_do_not_campaign(void)
{
    begin(3, adjust_log);
    apply_change(3, RR_CONF_CHANGE_ADD_LEARNER_NODE, 3);
    world_campaign(&w, 3);
    CHECK(world_raft(&w, 3)->state == RR_STATE_FOLLOWER);
    apply_change(3, RR_CONF_CHANGE_REMOVE_NODE, 3);
    world_campaign(&w, 3);
    CHECK(world_raft(&w, 3)->state == RR_STATE_FOLLOWER);
    rr_raw_node_tick_quiesced(world_raw(&w, 3));
    world_tick(&w, 3, 3 * WORLD_ELECTION_TICK);
    CHECK(world_raft(&w, 3)->state == RR_STATE_FOLLOWER);
    CHECK_EQ_U64(w.sent[RR_MSG_VOTE], 2);
    world_end(&w);
}

/* As the reference does: the pre-votes are won, so it goes on, although it could not begin. */
static void test_pre_candidate_that_became_a_learner_goes_on(void)
{
    world_begin(&w, 3, adjust_pre_vote);
    struct raft *r = world_raft(&w, 2);
    world_isolate(&w, 2, true);
    world_campaign(&w, 2);
    CHECK(r->state == RR_STATE_PRE_CANDIDATE);
    apply_change(2, RR_CONF_CHANGE_ADD_LEARNER_NODE, 2);
    for (uint64_t id = 1; id <= 3; id += 2) {
        struct rr_message m = message(RR_MSG_PRE_VOTE_RESP, id, 2);
        m.term = 1;
        CHECK(world_step(&w, m) == 0);
    }
    CHECK(r->state == RR_STATE_CANDIDATE);
    world_end(&w);
}

static void test_candidate_follows_whoever_leads_its_term(void)
{
    static const uint64_t ids[] = {1, 2, 3};
    static const enum rr_message_type types[] = {RR_MSG_APP, RR_MSG_HEARTBEAT, RR_MSG_SNAP};
    const struct rr_snapshot snapshot = {
        .metadata = {.index = 9, .term = 1, .conf_state = {.voters = ids, .voter_count = 3}}};
    for (size_t i = 0; i < RR_ARRAY_SIZE(types); i++) {
        world_begin(&w, 3, adjust_log);
        struct raft *r = world_raft(&w, 2);
        world_isolate(&w, 2, true);
        world_campaign(&w, 2);
        CHECK(r->state == RR_STATE_CANDIDATE);
        struct rr_message m = message(types[i], 1, 2);
        m.index = 1;
        m.log_term = 1;
        m.snapshot = types[i] == RR_MSG_SNAP ? &snapshot : NULL;
        CHECK(world_step(&w, m) == 0);
        CHECK(r->state == RR_STATE_FOLLOWER);
        CHECK_EQ_U64(r->lead, 1);
        CHECK_EQ_U64(r->log.committed, types[i] == RR_MSG_SNAP ? 9 : 1);
        /* What a candidate has no opinion about changes nothing. */
        m = message(RR_MSG_TRANSFER_LEADER, 3, 3);
        world_isolate(&w, 3, true);
        world_campaign(&w, 3);
        CHECK(world_step(&w, m) == 0);
        CHECK(world_raft(&w, 3)->state == RR_STATE_CANDIDATE);
        world_end(&w);
    }
}

/* A pre-vote of the own term is a vote like any other, not one for a future term. */
static void test_pre_vote_of_the_own_term_is_refused_under_a_leader(void)
{
    begin(3, adjust_log);
    struct rr_message m = message(RR_MSG_PRE_VOTE, 3, 2);
    m.index = 9;
    m.log_term = m.term;
    CHECK(world_step(&w, m) == 0);
    world_settle(&w);
    CHECK(w.last[RR_MSG_PRE_VOTE_RESP].reject);
    world_end(&w);
}

/* ---- requests at a follower ---------------------------------------------- */

static void test_requests_without_a_leader_go_nowhere(void)
{
    world_begin(&w, 3, adjust_log);
    lines = 0;
    rr_raw_node_read_index(world_raw(&w, 2), NULL, 0);
    rr_raw_node_transfer_leader(world_raw(&w, 2), 3);
    CHECK(world_propose(&w, 2, "x") == RR_E_PROPOSAL_DROPPED);
    CHECK_EQ_U64(lines, is_loud ? 3 : 0);
    CHECK(rr_raw_node_forget_leader(world_raw(&w, 2)) == 0);
    CHECK(!rr_raw_node_has_ready(world_raw(&w, 2)));
    world_end(&w);
}

static void test_read_answer_has_one_context(void)
{
    begin(3, adjust_log);
    struct rr_entry contexts[2] = {{.data = (const uint8_t *)"r", .size = 1}, {.size = 0}};
    struct rr_message m = message(RR_MSG_READ_INDEX_RESP, 1, 2);
    m.entries = contexts;
    m.entry_count = 2;
    CHECK(world_step(&w, m) == 0);
    CHECK(!rr_raw_node_has_ready(world_raw(&w, 2)));
    m.entry_count = 1;
    m.index = 2;
    CHECK(world_step(&w, m) == 0);
    world_ready(&w, 2);
    CHECK_EQ_U64(w.nodes[1].ready.read_state_count, 1);
    CHECK_EQ_U64(w.nodes[1].ready.read_states[0].index, 2);
    world_end(&w);
}

/* ---- the leader: reads ---------------------------------------------------- */

static void test_forwarded_read_that_comes_back_is_answered_here(void)
{
    begin(3, adjust_log);
    struct rr_entry context = {.data = (const uint8_t *)"r", .size = 1};
    struct rr_message m = {
        .type = RR_MSG_READ_INDEX, .to = 1, .from = 1, .entries = &context, .entry_count = 1};
    CHECK(world_step(&w, m) == 0);
    uint32_t answers = w.sent[RR_MSG_READ_INDEX_RESP];
    bool is_answered = false;
    while (rr_raw_node_has_ready(world_raw(&w, 1)) || rr_raw_node_has_ready(world_raw(&w, 2))) {
        world_ready(&w, 1);
        is_answered |= w.nodes[0].ready.read_state_count == 1;
        world_ready(&w, 2);
    }
    CHECK(is_answered);
    CHECK_EQ_U64(w.sent[RR_MSG_READ_INDEX_RESP], answers);
    world_end(&w);
}

static void test_lease_reads_take_no_acknowledgements(void)
{
    struct raft *r = begin(3, adjust_lease);
    world_tick(&w, 1, 1);
    struct rr_message m = message(RR_MSG_HEARTBEAT_RESP, 2, 1);
    m.context = (const uint8_t *)"\1\0\0\0\0\0\0";
    m.context_size = 8;
    CHECK(world_step(&w, m) == 0);
    CHECK_EQ_U64(r->read_only.ack_count, 0);
    world_end(&w);
}

/* ---- the leader: transfers ----------------------------------------------- */

static void test_transfer_to_a_learner_to_itself_and_to_nobody(void)
{
    struct raft *r = begin(3, adjust_log);
    propose_change(RR_CONF_CHANGE_ADD_LEARNER_NODE, 3, RR_CONF_CHANGE_TRANSITION_AUTO);
    world_settle(&w);
    static const uint64_t targets[] = {3, 1, 9};
    for (size_t i = 0; i < RR_ARRAY_SIZE(targets); i++) {
        lines = 0;
        rr_raw_node_transfer_leader(world_raw(&w, 1), targets[i]);
        CHECK_EQ_U64(r->lead_transferee, RR_NONE);
        CHECK_EQ_U64(lines, is_loud ? 1 : 0);
        CHECK(!rr_raw_node_has_ready(world_raw(&w, 1)));
    }
    world_end(&w);
}

/* Asked again for the same target it does not begin anew; another target replaces it; an
 * acknowledgement that is not of everything does not set it off. */
static void test_transfer_is_repeated_replaced_and_set_off(void)
{
    struct raft *r = begin(3, adjust_log);
    world_isolate(&w, 3, true);
    CHECK(world_propose(&w, 1, "a") == 0);
    CHECK(world_propose(&w, 1, "b") == 0);
    world_settle(&w);
    rr_raw_node_transfer_leader(world_raw(&w, 1), 3);
    rr_raw_node_tick(world_raw(&w, 1));
    int32_t elapsed = r->election_elapsed;
    CHECK_EQ_U64(elapsed, 1);
    rr_raw_node_transfer_leader(world_raw(&w, 1), 3);
    CHECK_EQ_U64(r->election_elapsed, elapsed);
    CHECK_EQ_U64(r->lead_transferee, 3);
    struct rr_message m = message(RR_MSG_APP_RESP, 3, 1);
    m.index = 3;
    CHECK(world_step(&w, m) == 0);
    world_settle(&w);
    CHECK_EQ_U64(w.sent[RR_MSG_TIMEOUT_NOW], 0);
    world_isolate(&w, 2, true);
    rr_raw_node_transfer_leader(world_raw(&w, 1), 2);
    CHECK_EQ_U64(r->lead_transferee, 2);
    world_settle(&w);
    CHECK_EQ_U64(w.sent[RR_MSG_TIMEOUT_NOW], 1);
    CHECK_EQ_U64(w.last[RR_MSG_TIMEOUT_NOW].to, 2);
    world_end(&w);
}

/* ---- the leader: configurations ------------------------------------------ */

/* A proposal that enters a joint configuration, and what is refused inside of it and outside. With
 * the validation off everything is appended as it was proposed. */
static void run_refused_changes(void (*adjust)(struct rr_config *config), bool is_validated)
{
    struct raft *r = begin(3, adjust);
    uint8_t type = is_validated ? RR_ENTRY_NORMAL : RR_ENTRY_CONF_CHANGE_V2;
    propose_change(RR_CONF_CHANGE_ADD_NODE, RR_NONE, RR_CONF_CHANGE_TRANSITION_AUTO);
    CHECK_EQ_U64(unstable_at(&r->log.unstable, 3)->type, type);
    if (is_validated) {
        world_settle(&w);
        propose_change(RR_CONF_CHANGE_REMOVE_NODE, 3, RR_CONF_CHANGE_TRANSITION_JOINT_EXPLICIT);
        world_settle(&w);
        CHECK(tracker_is_joint(&r->tracker));
        propose_change(RR_CONF_CHANGE_ADD_NODE, 3, RR_CONF_CHANGE_TRANSITION_AUTO);
        CHECK_EQ_U64(unstable_at(&r->log.unstable, 5)->type, type);
        CHECK_EQ_U64(r->pending_conf_index, 4);
    } else {
        /* The first is still pending here. */
        CHECK_EQ_U64(r->pending_conf_index, 3);
        propose_change(RR_CONF_CHANGE_ADD_NODE, 3, RR_CONF_CHANGE_TRANSITION_AUTO);
        CHECK_EQ_U64(unstable_at(&r->log.unstable, 4)->type, type);
        CHECK_EQ_U64(r->pending_conf_index, 4);
    }
    world_end(&w);
}

static void test_changes_that_do_not_fit_are_replaced(void)
{
    run_refused_changes(adjust_log, true);
}

static void test_nothing_is_replaced_without_validation(void)
{
    run_refused_changes(adjust_no_validation, false);
}

static void test_joint_change_is_kept_without_validation(void)
{
    struct raft *r = begin(3, adjust_no_validation);
    apply_change(1, RR_CONF_CHANGE_ADD_NODE, 4);
    r->tracker.config.outgoing = r->tracker.config.incoming;
    tracker_index(&r->tracker);
    propose_change(RR_CONF_CHANGE_REMOVE_NODE, 3, RR_CONF_CHANGE_TRANSITION_AUTO);
    CHECK_EQ_U64(unstable_at(&r->log.unstable, 3)->type, RR_ENTRY_CONF_CHANGE_V2);
    r->tracker.config.outgoing.count = 0;
    tracker_index(&r->tracker);
    world_end(&w);
}

static void test_v1_change_is_checked_like_v2(void)
{
    struct raft *r = begin(3, adjust_log);
    const struct rr_conf_change change = {.type = RR_CONF_CHANGE_ADD_LEARNER_NODE, .node_id = 4};
    CHECK(rr_raw_node_propose_conf_change(world_raw(&w, 1), &change) == 0);
    CHECK(rr_raw_node_propose_conf_change(world_raw(&w, 1), &change) == 0);
    CHECK_EQ_U64(unstable_at(&r->log.unstable, 3)->type, RR_ENTRY_CONF_CHANGE);
    CHECK_EQ_U64(unstable_at(&r->log.unstable, 4)->type, RR_ENTRY_NORMAL);
    CHECK_EQ_U64(r->pending_conf_index, 3);
    world_end(&w);
}

static void test_demoted_leader_leads_on(void)
{
    struct raft *r = begin(3, adjust_log);
    propose_change(RR_CONF_CHANGE_ADD_LEARNER_NODE, 1, RR_CONF_CHANGE_TRANSITION_AUTO);
    world_settle(&w);
    CHECK(r->is_learner);
    CHECK(r->state == RR_STATE_LEADER);
    world_end(&w);
}

static void test_auto_leave_waits_for_a_transfer(void)
{
    struct raft *r = begin(3, adjust_log);
    world_isolate(&w, 3, true);
    propose_change(RR_CONF_CHANGE_ADD_LEARNER_NODE, 4, RR_CONF_CHANGE_TRANSITION_JOINT_IMPLICIT);
    rr_raw_node_transfer_leader(world_raw(&w, 1), 3);
    world_settle(&w);
    CHECK(tracker_is_joint(&r->tracker));
    CHECK(r->lead_transferee == 3);
    raft_abort_leader_transfer(r);
    CHECK(world_propose(&w, 1, "x") == 0);
    world_settle(&w);
    CHECK(!tracker_is_joint(&r->tracker));
    world_end(&w);
}

/* ---- the leader: followers ----------------------------------------------- */

static void test_reports_about_other_states_change_nothing(void)
{
    struct raft *r = begin(3, adjust_log);
    struct progress *pr = tracker_find(&r->tracker, 2);
    rr_raw_node_report_snapshot(world_raw(&w, 1), 2, true);
    CHECK(pr->state == RR_PROGRESS_REPLICATE && !progress_is_paused(pr));
    rr_raw_node_report_unreachable(world_raw(&w, 1), 2);
    CHECK(pr->state == RR_PROGRESS_PROBE);
    uint64_t next = pr->next;
    rr_raw_node_report_unreachable(world_raw(&w, 1), 2);
    CHECK(pr->state == RR_PROGRESS_PROBE);
    CHECK_EQ_U64(pr->next, next);
    world_end(&w);
}

static void test_repeated_acknowledgement_is_no_news(void)
{
    (void)begin(3, adjust_log);
    struct rr_message m = message(RR_MSG_APP_RESP, 2, 1);
    m.index = 2;
    CHECK(world_step(&w, m) == 0);
    CHECK(!rr_raw_node_has_ready(world_raw(&w, 1)));
    world_end(&w);
}

/* A hint without a term is taken as it is. */
static void test_hint_without_a_term_is_not_refined(void)
{
    struct raft *r = begin(3, adjust_log);
    struct progress *pr = tracker_find(&r->tracker, 2);
    pr->match = 0;
    pr->next = 3;
    pr->state = RR_PROGRESS_PROBE;
    struct rr_message m = message(RR_MSG_APP_RESP, 2, 1);
    m.reject = true;
    m.index = 2;
    m.reject_hint = 1;
    CHECK(world_step(&w, m) == 0);
    CHECK_EQ_U64(pr->next, 2);
    world_settle(&w);
    CHECK_EQ_U64(pr->match, 2);
    world_end(&w);
}

static void test_slow_heartbeats_leave_ticks_out(void)
{
    begin(3, adjust_slow_heartbeats);
    uint32_t sent = w.sent[RR_MSG_HEARTBEAT];
    world_tick(&w, 1, 1);
    CHECK_EQ_U64(w.sent[RR_MSG_HEARTBEAT], sent);
    world_tick(&w, 1, 1);
    CHECK_EQ_U64(w.sent[RR_MSG_HEARTBEAT], sent + 2);
    world_end(&w);
}

/* The clock's own messages can also be stepped, as a local thread's. */
static void test_messages_of_the_clock(void)
{
    struct raft *r = begin(3, adjust_lease);
    uint32_t sent = w.sent[RR_MSG_HEARTBEAT];
    struct rr_message m = {.type = RR_MSG_BEAT, .to = 1, .from = RR_LOCAL_APPEND_THREAD};
    CHECK(world_step(&w, m) == 0);
    world_settle(&w);
    CHECK_EQ_U64(w.sent[RR_MSG_HEARTBEAT], sent + 2);
    m.type = RR_MSG_FORGET_LEADER;
    CHECK(world_step(&w, m) == 0);
    CHECK_EQ_U64(r->lead, 1);
    m.type = RR_MSG_CHECK_QUORUM;
    CHECK(world_step(&w, m) == 0);
    CHECK(r->state == RR_STATE_LEADER);
    CHECK(world_step(&w, m) == 0);
    CHECK(r->state == RR_STATE_FOLLOWER);
    m = (struct rr_message){
        .type = RR_MSG_STORAGE_APPLY_RESP, .to = 1, .from = RR_LOCAL_APPLY_THREAD};
    CHECK(world_step(&w, m) == 0);
    CHECK_EQ_U64(r->log.applied, 2);
    world_end(&w);
}

static void test_what_strangers_say_of_themselves_is_not_heard(void)
{
    static const uint8_t types[] = {
        RR_MSG_APP_RESP,        RR_MSG_HEARTBEAT_RESP,    RR_MSG_SNAP_STATUS, RR_MSG_UNREACHABLE,
        RR_MSG_TRANSFER_LEADER, RR_MSG_FORGET_LEADER + 1, UINT8_MAX};
    struct raft *r = begin(3, adjust_log);
    for (size_t i = 0; i < RR_ARRAY_SIZE(types); i++) {
        struct rr_message m = message((enum rr_message_type)types[i], 9, 1);
        m.index = 2;
        CHECK(raft_step(r, &m) == 0);
        if (types[i] > RR_MSG_FORGET_LEADER)
            CHECK(world_step(&w, m) == 0);
    }
    CHECK(!rr_raw_node_has_ready(world_raw(&w, 1)));
    world_end(&w);
}

/* Who is probed, or sent a snapshot, says again what was known. */
static void test_old_acknowledgements_change_no_state(void)
{
    struct raft *r = begin(3, adjust_log);
    struct progress *pr = tracker_find(&r->tracker, 2);
    struct rr_message m = message(RR_MSG_APP_RESP, 2, 1);
    m.index = 1;
    progress_become_probe(pr);
    CHECK(world_step(&w, m) == 0);
    CHECK(pr->state == RR_PROGRESS_PROBE);
    progress_become_snapshot(pr, 9);
    CHECK(world_step(&w, m) == 0);
    CHECK(pr->state == RR_PROGRESS_SNAPSHOT);
    CHECK(!rr_raw_node_has_ready(world_raw(&w, 1)));
    progress_become_probe(pr);
    progress_become_replicate(pr);
    world_end(&w);
}

static void run_all(void)
{
    RUN(test_leader_does_not_campaign);
    RUN(test_learners_and_strangers_do_not_campaign);
    RUN(test_pre_candidate_that_became_a_learner_goes_on);
    RUN(test_candidate_follows_whoever_leads_its_term);
    RUN(test_pre_vote_of_the_own_term_is_refused_under_a_leader);
    RUN(test_requests_without_a_leader_go_nowhere);
    RUN(test_read_answer_has_one_context);
    RUN(test_forwarded_read_that_comes_back_is_answered_here);
    RUN(test_lease_reads_take_no_acknowledgements);
    RUN(test_transfer_to_a_learner_to_itself_and_to_nobody);
    RUN(test_transfer_is_repeated_replaced_and_set_off);
    RUN(test_changes_that_do_not_fit_are_replaced);
    RUN(test_nothing_is_replaced_without_validation);
    RUN(test_joint_change_is_kept_without_validation);
    RUN(test_v1_change_is_checked_like_v2);
    RUN(test_demoted_leader_leads_on);
    RUN(test_auto_leave_waits_for_a_transfer);
    RUN(test_reports_about_other_states_change_nothing);
    RUN(test_repeated_acknowledgement_is_no_news);
    RUN(test_what_strangers_say_of_themselves_is_not_heard);
    RUN(test_old_acknowledgements_change_no_state);
    RUN(test_hint_without_a_term_is_not_refined);
    RUN(test_slow_heartbeats_leave_ticks_out);
    RUN(test_messages_of_the_clock);
}

int main(void)
{
    is_loud = false;
    run_all();
    is_loud = true;
    run_all();
    return 0;
}
