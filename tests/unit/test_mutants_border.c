/* SPDX-License-Identifier: Apache-2.0
 *
 * The border from its other side: what must not be refused because it does not count, and the
 * edges of every range. And snapshots that are half meant for this node.
 */
#include "tests/unit/raft_world.h"

#include "raft/confchange.h"
#include "tests/unit/check.h"

static struct world w;
static bool is_loud;

static void ignore_line(void *ctx, const struct rr_log_event *event)
{
    (void)ctx;
    (void)event;
}

static void adjust_log(struct rr_config *config)
{
    config->log = is_loud ? ignore_line : NULL;
}

/* Node 1 leads in term 1; everybody has the entries 1 and 2. */
static struct raft *begin(void)
{
    world_begin(&w, 3, adjust_log);
    world_campaign(&w, 1);
    return world_raft(&w, 1);
}

static struct rr_message message(enum rr_message_type type, uint64_t from, uint64_t to)
{
    return (struct rr_message){.type = (uint8_t)type, .to = to, .from = from, .term = 1};
}

static const char *verdict(struct rr_message m)
{
    const char *reason = "none";
    int err = rr_raw_node_validate_message(world_raw(&w, m.to), &m, &reason);
    CHECK(err == (reason ? RR_E_MALFORMED : 0));
    CHECK(rr_raw_node_validate_message(world_raw(&w, m.to), &m, NULL) == err);
    return reason;
}

static bool passes(struct rr_message m)
{
    return verdict(m) == NULL;
}

static bool is_refused(struct rr_message m, const char *sentence)
{
    const char *reason = verdict(m);
    return reason && strcmp(reason, sentence) == 0;
}

/* ---- who and when -------------------------------------------------------- */

static void test_envelope_edges(void)
{
    begin();
    struct rr_message m = message(RR_MSG_HEARTBEAT, RR_LOCAL_APPLY_THREAD, 2);
    CHECK(is_refused(m, "no sender"));
    m = message(RR_MSG_HEARTBEAT, 1, 2);
    m.term = UINT64_MAX / 2;
    CHECK(passes(m));
    m.term++;
    CHECK(is_refused(m, "term out of range"));
    m = message(RR_MSG_APP_RESP, 2, 1);
    m.responses = &m;
    m.response_count = 1;
    CHECK(is_refused(m, "responses are not for the network"));
    /* Requests that were forwarded may come back to where they began. */
    struct rr_entry entry = {.size = 0};
    m = message(RR_MSG_PROP, 1, 1);
    m.entries = &entry;
    m.entry_count = 1;
    CHECK(is_refused(m, "a forwarded request has no term"));
    m.term = 0;
    CHECK(passes(m));
    m.type = RR_MSG_READ_INDEX;
    CHECK(passes(m));
    m.entry_count = 0;
    CHECK(is_refused(m, "a read has exactly one context"));
    CHECK(passes(message(RR_MSG_TRANSFER_LEADER, 1, 1)));
    static const enum rr_message_type others[] = {RR_MSG_VOTE,        RR_MSG_VOTE_RESP,
                                                  RR_MSG_PRE_VOTE,    RR_MSG_PRE_VOTE_RESP,
                                                  RR_MSG_TIMEOUT_NOW, RR_MSG_TRANSFER_LEADER};
    for (size_t i = 0; i < RR_ARRAY_SIZE(others); i++) {
        CHECK(passes(message(others[i], 3, 1)));
        m = message(others[i], 3, 1);
        m.term = 0;
        CHECK(is_refused(m, "no term"));
    }
    world_end(&w);
}

/* ---- what does not count ------------------------------------------------- */

static void test_acknowledgements_count_at_the_leader_of_their_term(void)
{
    struct raft *r = begin();
    struct rr_message m = message(RR_MSG_APP_RESP, 2, 1);
    m.index = 3;
    CHECK(is_refused(m, "acknowledges entries that do not exist"));
    m.reject = true;
    CHECK(passes(m));
    m.reject = false;
    m.term = 2; /* it steps down first */
    CHECK(passes(m));
    m.term = 1;
    m.to = 3;
    CHECK(passes(m));
    m.to = 1;
    m.index = raft_log_last_index(&r->log);
    CHECK(passes(m));
    world_end(&w);
}

static void test_heartbeats_count_from_the_own_term_on(void)
{
    begin();
    struct rr_message m = message(RR_MSG_HEARTBEAT, 1, 2);
    m.context = (const uint8_t *)"\1\0\0\0\0\0\0";
    m.context_size = 8;
    m.commit = 2;
    CHECK(passes(m));
    m.commit = 3;
    CHECK(is_refused(m, "commit index beyond the log"));
    m.term = 2;
    CHECK(is_refused(m, "commit index beyond the log"));
    world_raft(&w, 2)->term = 3;
    CHECK(passes(m));
    world_end(&w);
}

static void test_read_positions_count_at_the_leader_of_their_term(void)
{
    begin();
    struct rr_message m = message(RR_MSG_HEARTBEAT_RESP, 2, 1);
    CHECK(passes(m));
    m.context = (const uint8_t *)"\1\0\0\0\0\0\0\0";
    m.context_size = 1;
    CHECK(is_refused(m, "read position of a wrong size"));
    m.context_size = 9;
    CHECK(is_refused(m, "read position of a wrong size"));
    m.context_size = 8;
    CHECK(is_refused(m, "read position beyond the queue"));
    m.term = 2;
    CHECK(passes(m));
    m.term = 1;
    m.to = 3;
    CHECK(passes(m));
    world_end(&w);
}

/* ---- entries ------------------------------------------------------------- */

static void test_append_edges(void)
{
    begin();
    struct rr_message m = message(RR_MSG_APP, 1, 2);
    m.log_term = 2;
    CHECK(is_refused(m, "entry of a later term than the message"));
    m.log_term = 1;
    m.index = UINT64_MAX / 2;
    CHECK(passes(m));
    m.index++;
    CHECK(is_refused(m, "index out of range"));
    static const uint8_t v1[] = {0x10, 0x00, 0x18, 0x02};
    static const uint8_t v2[] = {0x12, 0x04, 0x08, 0x00, 0x10, 0x02};
    struct rr_entry entries[] = {
        {.index = 3, .term = 1, .type = RR_ENTRY_CONF_CHANGE, .data = v1, .size = sizeof(v1)},
        {.index = 4, .term = 1, .type = RR_ENTRY_CONF_CHANGE_V2, .data = v2, .size = sizeof(v2)},
        {.index = 5, .term = 1, .type = RR_ENTRY_CONF_CHANGE_V2}};
    m.index = 2;
    m.entries = entries;
    m.entry_count = 3;
    CHECK(passes(m));
    entries[0].index = 2;
    CHECK(is_refused(m, "entries are not consecutive"));
    world_end(&w);
}

static const char *proposed(uint64_t to, enum rr_entry_type type, const uint8_t *data,
                            uint32_t size)
{
    struct rr_entry entry = {.type = (uint8_t)type,
                             .data = data,
                             .size = size,
                             .has = RR_ENTRY_HAS_TYPE | RR_ENTRY_HAS_DATA};
    struct rr_message m = message(RR_MSG_PROP, 2, to);
    m.term = 0;
    m.entries = &entry;
    m.entry_count = 1;
    return verdict(m);
}

/* Leaving a configuration that is not joint would stop whoever applies it; but only where the
 * leader would append it as it is. */
static void test_proposed_changes_are_tried_where_they_would_be_appended(void)
{
    struct raft *r = begin();
    static const uint8_t add_2[] = {0x10, 0x00, 0x18, 0x02};
    CHECK(proposed(1, RR_ENTRY_CONF_CHANGE, add_2, sizeof(add_2)) == NULL);
    CHECK(strcmp(proposed(1, RR_ENTRY_CONF_CHANGE, add_2, 3), "undecodable conf change") == 0);
    CHECK(strcmp(proposed(1, (enum rr_entry_type)3, NULL, 0), "unknown type of entry") == 0);
    CHECK(strcmp(proposed(1, RR_ENTRY_CONF_CHANGE_V2, NULL, 0), "can't leave a non-joint config") ==
          0);
    CHECK(proposed(3, RR_ENTRY_CONF_CHANGE_V2, NULL, 0) == NULL);
    r->pending_conf_index = r->log.applied + 1;
    CHECK(proposed(1, RR_ENTRY_CONF_CHANGE_V2, NULL, 0) == NULL);
    r->pending_conf_index = r->log.applied;
    CHECK(proposed(1, RR_ENTRY_CONF_CHANGE_V2, NULL, 0) != NULL);
    /* A transition nobody knows. */
    static const uint8_t unknown[] = {0x08, 0x03, 0x12, 0x04, 0x08, 0x00, 0x10, 0x02};
    CHECK(strcmp(proposed(1, RR_ENTRY_CONF_CHANGE_V2, unknown, sizeof(unknown)),
                 "unknown conf change transition") == 0);
    CHECK(rr_raw_node_check_conf_change_v2(world_raw(&w, 1),
                                           &(struct rr_conf_change_v2){.change_count = 0},
                                           NULL) == RR_E_CONF_REFUSED);
    world_end(&w);
}

/* One change that removes the only voter. */
static void test_last_voter_is_not_removed(void)
{
    world_begin(&w, 1, adjust_log);
    world_campaign(&w, 1);
    static const uint8_t remove_1[] = {0x10, 0x01, 0x18, 0x01};
    struct rr_entry entry = {
        .type = RR_ENTRY_CONF_CHANGE, .data = remove_1, .size = sizeof(remove_1)};
    struct rr_message m = {
        .type = RR_MSG_PROP, .to = 1, .from = 2, .entries = &entry, .entry_count = 1};
    CHECK(is_refused(m, "removed all voters"));
    world_end(&w);
}

/* ---- snapshots ------------------------------------------------------------ */

static uint64_t many[TRACKER_IDS_MAX + 1];

static const char *snapshot_verdict(struct rr_conf_state state)
{
    struct rr_snapshot snapshot = {.metadata = {.index = 9, .term = 1, .conf_state = state}};
    struct rr_message m = message(RR_MSG_SNAP, 1, 2);
    m.snapshot = &snapshot;
    const char *reason = verdict(m);
    return reason ? reason : "";
}

static void test_snapshot_edges(void)
{
    begin();
    static const uint64_t ids[] = {1, 2, 3};
    struct rr_snapshot snapshot = {
        .metadata = {.index = 9, .term = 0, .conf_state = {.voters = ids, .voter_count = 3}}};
    struct rr_message m = message(RR_MSG_SNAP, 1, 2);
    m.snapshot = &snapshot;
    CHECK(is_refused(m, "snapshot without a position"));
    snapshot.metadata.term = 1;
    CHECK(passes(m));
    snapshot.metadata.index = 0;
    CHECK(is_refused(m, "snapshot without a position"));
    snapshot.metadata.index = UINT64_MAX / 2;
    CHECK(passes(m));
    snapshot.metadata.index++;
    CHECK(is_refused(m, "index out of range"));
    world_end(&w);
}

static void test_configurations_of_snapshots(void)
{
    begin();
    static const uint64_t none[] = {0};
    static const uint64_t other[] = {500};
    const char *too_many = "too many members in one configuration";
    for (uint32_t i = 0; i <= TRACKER_IDS_MAX; i++)
        many[i] = i + 1;
    struct rr_conf_state full = {.voters = many, .voter_count = TRACKER_IDS_MAX};
    CHECK(strcmp(snapshot_verdict(full), "") == 0);
    struct rr_conf_state state = full;
    state.learners = other;
    state.learner_count = 1;
    CHECK(strcmp(snapshot_verdict(state), too_many) == 0);
    const uint32_t over = TRACKER_IDS_MAX + 1;
    state = (struct rr_conf_state){.voters = many, .voter_count = over};
    CHECK(strcmp(snapshot_verdict(state), too_many) == 0);
    state = (struct rr_conf_state){.learners = many, .learner_count = over};
    CHECK(strcmp(snapshot_verdict(state), too_many) == 0);
    state = (struct rr_conf_state){.voters_outgoing = many, .voter_outgoing_count = over};
    CHECK(strcmp(snapshot_verdict(state), too_many) == 0);
    state = (struct rr_conf_state){.learners_next = many, .learner_next_count = over};
    CHECK(strcmp(snapshot_verdict(state), too_many) == 0);
    /* An id that stands for nobody is no voter, in neither half. */
    state = (struct rr_conf_state){.voters = none, .voter_count = 1};
    CHECK(strcmp(snapshot_verdict(state), "removed all voters") == 0);
    state = (struct rr_conf_state){
        .voters = many, .voter_count = 1, .voters_outgoing = none, .voter_outgoing_count = 1};
    CHECK(strcmp(snapshot_verdict(state), "removed all voters") == 0);
    world_end(&w);
}

/* Every list counts when two configurations are compared. */
static void test_equivalent_configurations(void)
{
    static const uint64_t ids[] = {1, 2, 3, 4};
    const struct rr_conf_state base = {.voters = ids,
                                       .voter_count = 1,
                                       .learners = ids + 1,
                                       .learner_count = 1,
                                       .voters_outgoing = ids + 2,
                                       .voter_outgoing_count = 1,
                                       .learners_next = ids + 2,
                                       .learner_next_count = 1};
    struct rr_conf_state other = base;
    CHECK(confchange_equivalent(&base, &other));
    other.voters = ids + 3;
    CHECK(!confchange_equivalent(&base, &other));
    other = base;
    other.learners = ids + 3;
    CHECK(!confchange_equivalent(&base, &other));
    other = base;
    other.voter_outgoing_count = 2;
    CHECK(!confchange_equivalent(&base, &other));
    other = base;
    other.learner_next_count = 0;
    CHECK(!confchange_equivalent(&base, &other));
    other = base;
    other.auto_leave = true;
    CHECK(!confchange_equivalent(&base, &other));
}

/* A learner and an outgoing voter are members too. */
static void test_snapshot_for_a_learner_and_for_an_outgoing_voter(void)
{
    static const uint64_t ids[] = {1, 3, 2};
    const struct rr_conf_state states[] = {
        {.voters = ids, .voter_count = 2, .learners = ids + 2, .learner_count = 1},
        {.voters = ids, .voter_count = 2, .voters_outgoing = ids + 2, .voter_outgoing_count = 1},
        {.voters = ids, .voter_count = 2}};
    for (size_t i = 0; i < RR_ARRAY_SIZE(states); i++) {
        begin();
        struct rr_snapshot snapshot = {
            .metadata = {.index = 9, .term = 1, .conf_state = states[i]}};
        struct rr_message m = message(RR_MSG_SNAP, 1, 2);
        m.snapshot = &snapshot;
        CHECK(passes(m));
        CHECK(world_step(&w, m) == 0);
        CHECK_EQ_U64(world_raft(&w, 2)->log.committed, i < 2 ? 9 : 2);
        world_end(&w);
    }
}

/* The role has made a follower of this node before; should that ever fail, it steps down. */
static void test_leader_does_not_restore(void)
{
    struct raft *r = begin();
    static const uint64_t ids[] = {1, 2, 3};
    struct rr_snapshot snapshot = {
        .metadata = {.index = 9, .term = 1, .conf_state = {.voters = ids, .voter_count = 3}}};
    struct rr_message m = message(RR_MSG_SNAP, 2, 1);
    m.snapshot = &snapshot;
    raft_handle_snapshot(r, &m);
    CHECK(r->state == RR_STATE_FOLLOWER);
    CHECK_EQ_U64(r->term, 2);
    CHECK_EQ_U64(r->log.committed, 2);
    m.snapshot = NULL;
    raft_handle_snapshot(r, &m);
    CHECK_EQ_U64(r->log.committed, 2);
    world_end(&w);
}

static int busy_snapshot(void *ctx, const struct rr_snapshot **snapshot)
{
    (void)ctx;
    (void)snapshot;
    return RR_E_SNAPSHOT_TEMPORARILY_UNAVAILABLE;
}

static void test_snapshot_that_is_not_ready_is_tried_again(void)
{
    struct raft *r = begin();
    struct progress *pr = tracker_find(&r->tracker, 2);
    struct rr_storage storage = r->log.storage;
    struct rr_storage_ops ops = *storage.ops;
    ops.snapshot = busy_snapshot;
    r->log.storage.ops = &ops;
    CHECK(!raft_maybe_send_snapshot(r, pr));
    CHECK(pr->state == RR_PROGRESS_REPLICATE);
    r->log.storage = storage;
    CHECK(raft_maybe_send_snapshot(r, pr));
    CHECK(pr->state == RR_PROGRESS_SNAPSHOT);
    world_end(&w);
}

static void run_all(void)
{
    RUN(test_envelope_edges);
    RUN(test_acknowledgements_count_at_the_leader_of_their_term);
    RUN(test_heartbeats_count_from_the_own_term_on);
    RUN(test_read_positions_count_at_the_leader_of_their_term);
    RUN(test_append_edges);
    RUN(test_proposed_changes_are_tried_where_they_would_be_appended);
    RUN(test_last_voter_is_not_removed);
    RUN(test_snapshot_edges);
    RUN(test_configurations_of_snapshots);
    RUN(test_equivalent_configurations);
    RUN(test_snapshot_for_a_learner_and_for_an_outgoing_voter);
    RUN(test_leader_does_not_restore);
    RUN(test_snapshot_that_is_not_ready_is_tried_again);
}

int main(void)
{
    is_loud = false;
    run_all();
    is_loud = true;
    run_all();
    return 0;
}
