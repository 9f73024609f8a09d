/* SPDX-License-Identifier: Apache-2.0
 *
 * Thread-safe nodes as a group: messages of bounded size, membership, reads, transfers, reports,
 * and the log lines about leaders.
 */
#include "tests/unit/node_world.h"

#include "proto/codec.h"
#include "tests/unit/check.h"

static struct node_world w;

static int propose(uint64_t id, const char *text, const struct rr_node_wait *wait)
{
    return rr_node_propose(node_world_node(&w, id), (const uint8_t *)text, (uint32_t)strlen(text),
                           wait);
}

static const struct applied_entry *last_applied(uint64_t id)
{
    const struct node_member *member = &w.members[id - 1];
    CHECK(member->applied_count > 0);
    return &member->applied[member->applied_count - 1];
}

/* ---- pages on the wire (TestAppendPagination) ------------------------------ */

static void small_messages(struct rr_config *config, struct rr_node_options *options)
{
    (void)options;
    config->max_size_per_msg = 2048;
}

static bool is_cut, saw_full;

static bool check_size(struct node_world *world, const struct rr_message *m)
{
    (void)world;
    if (is_cut && (m->from == 1 || m->to == 1))
        return false;
    size_t size = 0;
    for (uint32_t i = 0; i < m->entry_count && m->type == RR_MSG_APP; i++)
        size += rr_entry_body_size(&m->entries[i]);
    CHECK(size <= 2048);
    saw_full = saw_full || size > 1024;
    return true;
}

static void test_appends_are_cut_to_the_size_of_messages(void)
{
    static uint8_t blob[1000];
    node_world_begin(&w, 3, small_messages);
    w.filter = check_size;
    node_world_campaign(&w, 1);
    is_cut = true;
    for (int i = 0; i < 5; i++)
        CHECK(rr_node_propose(node_world_node(&w, 1), blob, sizeof(blob), NULL) == 0);
    node_world_settle(&w);
    is_cut = saw_full = false;
    rr_node_tick(node_world_node(&w, 1)); /* a heartbeat restarts replication */
    node_world_settle(&w);
    CHECK(saw_full);
    CHECK_EQ_U64(w.members[2].applied_count, 6);
    node_world_end(&w);
}

/* ---- membership (TestNodeProposeConfig, …AddDuplicateNode, …AddLearner) ---- */

static int propose_member(uint64_t id, uint8_t type)
{
    const struct rr_conf_change change = {.type = type, .node_id = id};
    return rr_node_propose_conf_change(node_world_node(&w, 1), &change, NULL);
}

static void test_added_learner_is_in_the_conf_state(void)
{
    node_world_begin(&w, 1, NULL);
    node_world_campaign(&w, 1);
    CHECK(propose_member(2, RR_CONF_CHANGE_ADD_LEARNER_NODE) == 0);
    node_world_settle(&w);
    CHECK(last_applied(1)->type == RR_ENTRY_CONF_CHANGE);
    CHECK_EQ_U64(w.members[0].conf_voters, 1);
    CHECK_EQ_U64(w.members[0].conf_learners, 1);
    struct rr_progress_status progress[3];
    uint32_t count;
    CHECK(rr_node_progress(node_world_node(&w, 1), progress, 3, &count) == 0);
    CHECK(count == 2 && progress[1].id == 2 && progress[1].is_learner);
    node_world_end(&w);
}

static void test_given_conf_state_outlives_the_configuration(void)
{
    node_world_begin(&w, 1, NULL);
    const struct rr_conf_change add = {.type = RR_CONF_CHANGE_ADD_NODE, .node_id = 2};
    struct rr_conf_state state;
    CHECK(rr_node_apply_conf_change(node_world_node(&w, 1), &add, &state) == 0);
    static const uint64_t voters[] = {1, 8, 9};
    const struct rr_snapshot snapshot = {
        .metadata = {.index = 9, .term = 7, .conf_state = {.voters = voters, .voter_count = 3}}};
    const struct rr_message m = {
        .type = RR_MSG_SNAP, .to = 1, .from = 8, .term = 7, .snapshot = &snapshot};
    CHECK(rr_node_step(node_world_node(&w, 1), &m) == 0);
    CHECK(state.voter_count == 2 && state.voters[0] == 1 && state.voters[1] == 2);
    node_world_end(&w);
}

static void test_adding_a_member_twice_changes_nothing(void)
{
    node_world_begin(&w, 1, NULL);
    node_world_campaign(&w, 1);
    for (int i = 0; i < 2; i++) {
        CHECK(propose_member(1, RR_CONF_CHANGE_ADD_NODE) == 0);
        node_world_settle(&w);
        CHECK(last_applied(1)->type == RR_ENTRY_CONF_CHANGE);
        CHECK_EQ_U64(w.members[0].conf_voters, 1);
    }
    CHECK(propose_member(2, RR_CONF_CHANGE_ADD_NODE) == 0);
    node_world_settle(&w);
    CHECK_EQ_U64(w.members[0].conf_voters, 2);
    CHECK_EQ_U64(w.members[0].applied_count, 4);
    node_world_end(&w);
}

static void test_change_to_no_voter_at_all_is_refused(void)
{
    node_world_begin(&w, 1, NULL);
    node_world_campaign(&w, 1);
    CHECK(propose_member(1, RR_CONF_CHANGE_REMOVE_NODE) == RR_E_CONF_REFUSED);
    const struct rr_conf_change change = {.type = RR_CONF_CHANGE_REMOVE_NODE, .node_id = 1};
    CHECK(rr_node_propose_conf_change(node_world_node(&w, 1), &change,
                                      &(struct rr_node_wait){.tag = 5}) == 0);
    CHECK(node_world_outcome(&w, 1).status == RR_E_CONF_REFUSED);
    node_world_settle(&w);
    CHECK_EQ_U64(w.members[0].applied_count, 1);
    node_world_end(&w);
}

static void test_conf_change_waits_for_a_leader_too(void)
{
    node_world_begin(&w, 1, NULL);
    const struct rr_conf_change_single add = {.node_id = 2,
                                              .type = RR_CONF_CHANGE_ADD_LEARNER_NODE};
    const struct rr_conf_change_v2 change = {.changes = &add, .change_count = 1};
    CHECK(rr_node_propose_conf_change_v2(node_world_node(&w, 1), &change, NULL) ==
          RR_E_PROPOSAL_DROPPED);
    CHECK(rr_node_propose_conf_change_v2(node_world_node(&w, 1), &change,
                                         &(struct rr_node_wait){.tag = 5}) == 0);
    CHECK(rr_node_campaign(node_world_node(&w, 1)) == 0);
    node_world_ready(&w, 1);
    CHECK(node_world_outcome(&w, 1).status == 0);
    node_world_settle(&w);
    CHECK(last_applied(1)->type == RR_ENTRY_CONF_CHANGE_V2);
    CHECK_EQ_U64(w.members[0].conf_learners, 1);
    node_world_end(&w);
}

static bool drop_to_1(struct node_world *world, const struct rr_message *m)
{
    (void)world;
    return m->to != 1;
}

static void test_removed_node_takes_no_proposals_until_the_leader_changes(void)
{
    node_world_begin(&w, 3, NULL);
    node_world_campaign(&w, 2);
    const struct rr_conf_change change = {.type = RR_CONF_CHANGE_REMOVE_NODE, .node_id = 1};
    CHECK(rr_node_propose_conf_change(node_world_node(&w, 2), &change, NULL) == 0);
    node_world_settle(&w);
    CHECK_EQ_U64(w.members[0].conf_voters, 2); /* it heard of its own removal */
    CHECK(node_world_status(&w, 1).is_removed);
    CHECK(propose(1, "a", NULL) == RR_E_PROPOSAL_DROPPED);
    const struct rr_entry entry = {
        .data = (const uint8_t *)"p", .size = 1, .has = RR_ENTRY_HAS_DATA};
    const struct rr_message forwarded = {
        .type = RR_MSG_PROP, .to = 1, .from = 3, .entries = &entry, .entry_count = 1};
    CHECK(rr_node_step(node_world_node(&w, 1), &forwarded) == RR_E_PROPOSAL_DROPPED);
    CHECK(propose(1, "b", &(struct rr_node_wait){.tag = 5}) == 0);
    CHECK_EQ_U64(node_world_status(&w, 1).waiting_count, 1);
    /* Another leader: it may have been added again. */
    w.filter = drop_to_1;
    const struct rr_message beat = {.type = RR_MSG_HEARTBEAT, .to = 1, .from = 3, .term = 9};
    CHECK(rr_node_step(node_world_node(&w, 1), &beat) == 0);
    CHECK(!node_world_status(&w, 1).is_removed);
    CHECK(node_world_outcome(&w, 1).status == 0);
    node_world_end(&w);
}

static void be_a_stranger(struct rr_config *config, struct rr_node_options *options)
{
    (void)options;
    config->id = 9;
}

static void test_node_that_is_not_yet_a_member_is_not_removed(void)
{
    node_world_begin(&w, 2, be_a_stranger);
    const struct rr_conf_change change = {.type = RR_CONF_CHANGE_REMOVE_NODE, .node_id = 2};
    CHECK(rr_node_apply_conf_change(node_world_node(&w, 1), &change, NULL) == 0);
    CHECK(!node_world_status(&w, 1).is_removed);
    node_world_end(&w);
}

/* ---- reads (TestNodeReadIndexToOldLeader) ----------------------------------- */

static struct rr_message seen_reads[8];
static uint32_t seen_read_count;
static bool holds_reads;

static bool hold_reads(struct node_world *world, const struct rr_message *m)
{
    (void)world;
    if (m->type != RR_MSG_READ_INDEX)
        return true;
    CHECK(seen_read_count < RR_ARRAY_SIZE(seen_reads) && m->entry_count == 1);
    CHECK(m->entries[0].size == 8 && memcmp(m->entries[0].data, "testdata", 8) == 0);
    seen_reads[seen_read_count++] = *m;
    return !holds_reads;
}

static void test_reads_that_reach_an_old_leader_go_on_to_the_new_one(void)
{
    node_world_begin(&w, 3, NULL);
    node_world_campaign(&w, 1);
    seen_read_count = 0;
    holds_reads = true;
    w.filter = hold_reads;
    for (uint64_t id = 2; id <= 3; id++)
        CHECK(rr_node_read_index(node_world_node(&w, id), (const uint8_t *)"testdata", 8) == 0);
    node_world_settle(&w);
    CHECK_EQ_U64(seen_read_count, 2);
    node_world_campaign(&w, 3);
    const struct rr_entry context = {
        .data = (const uint8_t *)"testdata", .size = 8, .has = RR_ENTRY_HAS_DATA};
    for (uint32_t i = 0; i < 2; i++) {
        CHECK(seen_reads[i].to == 1 && seen_reads[i].from == i + 2 && seen_reads[i].term == 0);
        seen_reads[i].entries = &context;
        CHECK(rr_node_step(node_world_node(&w, 1), &seen_reads[i]) == 0);
    }
    node_world_settle(&w);
    CHECK_EQ_U64(seen_read_count, 4);
    for (uint32_t i = 0; i < 2; i++) {
        const struct rr_message *again = &seen_reads[2 + i];
        CHECK(again->to == 3 && again->from == i + 2 && again->term == 0);
    }
    node_world_end(&w);
}

static void test_read_is_answered_in_a_ready(void)
{
    node_world_begin(&w, 1, NULL);
    node_world_campaign(&w, 1);
    uint8_t context[] = {'c'};
    CHECK(rr_node_read_index(node_world_node(&w, 1), context, 1) == 0);
    context[0] = 'x';
    struct rr_ready ready;
    CHECK(rr_node_ready(node_world_node(&w, 1), &ready) == 0);
    CHECK(ready.read_state_count == 1 && ready.read_states[0].index == 2);
    CHECK(ready.read_states[0].request_ctx_size == 1 && ready.read_states[0].request_ctx[0] == 'c');
    CHECK(rr_node_advance(node_world_node(&w, 1)) == 0);
    node_world_end(&w);
}

/* ---- what it says about itself ---------------------------------------------- */

static void test_leaders_that_come_and_go_are_logged(void)
{
    node_world_begin(&w, 3, NULL);
    struct rr_node *node = node_world_node(&w, 1);
    struct rr_message beat = {.type = RR_MSG_HEARTBEAT, .to = 1, .from = 2, .term = 3};
    CHECK(rr_node_step(node, &beat) == 0);
    const struct rr_log_event *event = &w.last[RR_LOG_EVENT_NODE_ELECTED_LEADER];
    CHECK(event->args[0].u64 == 1 && event->args[1].u64 == 2 && event->args[2].u64 == 3);
    beat.from = 3;
    beat.term = 4;
    CHECK(rr_node_step(node, &beat) == 0);
    event = &w.last[RR_LOG_EVENT_NODE_CHANGED_LEADER];
    CHECK(event->args[1].u64 == 2 && event->args[2].u64 == 3 && event->args[3].u64 == 4);
    CHECK(rr_node_forget_leader(node) == 0);
    event = &w.last[RR_LOG_EVENT_NODE_LOST_LEADER];
    CHECK(event->args[1].u64 == 3 && event->args[2].u64 == 4);
    CHECK_EQ_U64(w.events[RR_LOG_EVENT_NODE_ELECTED_LEADER], 1);
    CHECK_EQ_U64(w.events[RR_LOG_EVENT_NODE_CHANGED_LEADER], 1);
    CHECK_EQ_U64(w.events[RR_LOG_EVENT_NODE_LOST_LEADER], 1);
    node_world_end(&w);
}

static void test_transfer_moves_leadership(void)
{
    node_world_begin(&w, 3, NULL);
    node_world_campaign(&w, 1);
    CHECK(rr_node_transfer_leader(node_world_node(&w, 1), 3) == 0);
    node_world_settle(&w);
    CHECK_EQ_U64(node_world_status(&w, 1).basic.soft_state.lead, 3);
    CHECK(node_world_status(&w, 3).basic.soft_state.raft_state == RR_STATE_LEADER);
    node_world_end(&w);
}

static struct rr_progress_status progress_of_3(void)
{
    struct rr_progress_status progress[3];
    uint32_t count;
    CHECK(rr_node_progress(node_world_node(&w, 1), progress, 3, &count) == 0);
    CHECK(count == 3 && progress[2].id == 3);
    return progress[2];
}

static void test_unreachable_peer_is_probed(void)
{
    node_world_begin(&w, 3, NULL);
    node_world_campaign(&w, 1);
    CHECK(progress_of_3().state == RR_PROGRESS_REPLICATE);
    CHECK(rr_node_report_unreachable(node_world_node(&w, 1), 3) == 0);
    CHECK(progress_of_3().state == RR_PROGRESS_PROBE);
    node_world_end(&w);
}

static bool lose_at_3(struct node_world *world, const struct rr_message *m)
{
    (void)world;
    return m->to != 3 || (!is_cut && m->type != RR_MSG_SNAP);
}

static void test_lost_snapshot_is_reported(void)
{
    node_world_begin(&w, 3, NULL);
    w.filter = lose_at_3;
    is_cut = false;
    node_world_campaign(&w, 1);
    is_cut = true;
    CHECK(propose(1, "a", NULL) == 0);
    node_world_settle(&w);
    rr_node_lock(node_world_node(&w, 1));
    struct rr_memory_storage *storage = w.members[0].storage;
    CHECK(rr_memory_storage_create_snapshot(storage, 3, NULL, NULL, 0, NULL) == 0);
    CHECK(rr_memory_storage_compact(storage, 3) == 0);
    rr_node_unlock(node_world_node(&w, 1));
    CHECK(rr_node_report_unreachable(node_world_node(&w, 1), 3) == 0);
    is_cut = false;
    rr_node_tick(node_world_node(&w, 1)); /* its answer shows that node 3 needs the snapshot */
    node_world_settle(&w);
    CHECK(progress_of_3().state == RR_PROGRESS_SNAPSHOT);
    CHECK(rr_node_report_snapshot(node_world_node(&w, 1), 3, true) == 0);
    CHECK(progress_of_3().state == RR_PROGRESS_PROBE);
    node_world_end(&w);
}

int main(void)
{
    RUN(test_appends_are_cut_to_the_size_of_messages);
    RUN(test_added_learner_is_in_the_conf_state);
    RUN(test_given_conf_state_outlives_the_configuration);
    RUN(test_adding_a_member_twice_changes_nothing);
    RUN(test_change_to_no_voter_at_all_is_refused);
    RUN(test_conf_change_waits_for_a_leader_too);
    RUN(test_removed_node_takes_no_proposals_until_the_leader_changes);
    RUN(test_node_that_is_not_yet_a_member_is_not_removed);
    RUN(test_reads_that_reach_an_old_leader_go_on_to_the_new_one);
    RUN(test_read_is_answered_in_a_ready);
    RUN(test_leaders_that_come_and_go_are_logged);
    RUN(test_transfer_moves_leadership);
    RUN(test_unreachable_peer_is_probed);
    RUN(test_lost_snapshot_is_reported);
    return 0;
}
