/* SPDX-License-Identifier: Apache-2.0
 *
 * Text forms, held against literal lines of the reference: ids in hex and decimal, quoting, what is
 * left out when it is zero or absent, and the log events' wording with all their arguments.
 */
#include "raft/describe.h"

#include "proto/codec.h"
#include "raft/raft_log.h"
#include "raft/tracker.h"
#include "tests/unit/check.h"

static char room[4096];
static struct rr_text text;

static struct rr_text *fresh(void)
{
    text = (struct rr_text){.bytes = room, .cap = sizeof(room)};
    return &text;
}

static void check_text(const char *expected)
{
    if (text.size != strlen(expected) || memcmp(room, expected, text.size) != 0)
        fprintf(stderr, "expected: %s\ngot:      %.*s\n", expected, (int)text.size, room);
    CHECK(!text.truncated);
    CHECK_EQ_U64(text.size, strlen(expected));
    CHECK(memcmp(room, expected, text.size) == 0);
}

static struct rr_entry normal_entry(uint64_t term, uint64_t index, const char *data)
{
    return (struct rr_entry){.term = term,
                             .index = index,
                             .data = (const uint8_t *)data,
                             .size = data ? (uint32_t)strlen(data) : 0};
}

/* ---- the sink ------------------------------------------------------------ */

static void test_bounded_sink_drops_what_does_not_fit(void)
{
    char four[4];
    struct rr_text bounded = {.bytes = four, .cap = sizeof(four)};
    rr_text_string(&bounded, "abc");
    CHECK(!bounded.truncated);
    rr_text_string(&bounded, "def");
    CHECK(bounded.truncated);
    CHECK(bounded.size == 4 && memcmp(four, "abcd", 4) == 0);
    rr_text_char(&bounded, 'x');
    CHECK_EQ_U64(bounded.size, 4);
}

static void test_numbers_at_their_ends(void)
{
    struct rr_text *t = fresh();
    rr_text_decimal(t, 0);
    rr_text_field(t, " ", UINT64_MAX);
    rr_text_char(t, ' ');
    rr_text_hex(t, 0);
    rr_text_char(t, ' ');
    rr_text_hex(t, 10);
    rr_text_char(t, ' ');
    rr_text_hex(t, UINT64_MAX);
    check_text("0 18446744073709551615 0 a ffffffffffffffff");
}

/* ---- quoting ------------------------------------------------------------- */

static void check_quoted(const char *bytes, size_t size, const char *expected)
{
    rr_text_quoted(fresh(), (const uint8_t *)bytes, size);
    check_text(expected);
}

static void test_quoting_follows_go(void)
{
    check_quoted("", 0, "\"\"");
    check_quoted("it's", 4, "\"it's\"");
    check_quoted("\a\b\f\n\r\t\v\\\"", 9, "\"\\a\\b\\f\\n\\r\\t\\v\\\\\\\"\"");
    check_quoted("\0\x1f\x7f", 3, "\"\\x00\\x1f\\x7f\"");
    check_quoted("\xc3\xa9\xe2\x88\x9e\xf0\x9f\x98\x80", 9,
                 "\"\xc3\xa9\xe2\x88\x9e\xf0\x9f\x98\x80\"");
    check_quoted("\xc2\x80\xe2\x80\x8b", 5, "\"\\u0080\\u200b\""); /* control, zero width */
    check_quoted("\xf3\xa0\x80\x81", 4, "\"\\U000e0001\"");        /* a tag */
    check_quoted("\xc2\xa0\xe3\x80\x80", 5, "\"\\u00a0\\u3000\""); /* spaces beyond ASCII */
    check_quoted("\xef\xbf\xbd", 3, "\"\xef\xbf\xbd\"");           /* U+FFFD itself is valid */
}

static void test_invalid_utf8_is_quoted_byte_by_byte(void)
{
    check_quoted("\xff"
                 "a",
                 2, "\"\\xffa\"");
    check_quoted("\xc3", 1, "\"\\xc3\""); /* cut off */
    check_quoted("\xe2\x88", 2, "\"\\xe2\\x88\"");
    check_quoted("\xc0\x80", 2, "\"\\xc0\\x80\""); /* overlong */
    check_quoted("\xe0\x80\x80", 3, "\"\\xe0\\x80\\x80\"");
    check_quoted("\xed\xa0\x80", 3, "\"\\xed\\xa0\\x80\"");          /* surrogate */
    check_quoted("\xf4\x90\x80\x80", 4, "\"\\xf4\\x90\\x80\\x80\""); /* beyond Unicode */
}

/* ---- entries ------------------------------------------------------------- */

static void test_normal_entries_are_quoted(void)
{
    struct rr_entry some = normal_entry(1, 20, "foo");
    struct rr_entry none = normal_entry(2, 21, NULL);
    struct rr_entry both[] = {some, none};
    rr_describe_entries(fresh(), both, 2);
    check_text("1/20 EntryNormal \"foo\"\n2/21 EntryNormal \"\"\n");
}

static void test_conf_change_entries_show_their_operations(void)
{
    const struct rr_conf_change_single changes[] = {{3, RR_CONF_CHANGE_ADD_NODE},
                                                    {12, RR_CONF_CHANGE_ADD_LEARNER_NODE},
                                                    {1, RR_CONF_CHANGE_REMOVE_NODE},
                                                    {2, RR_CONF_CHANGE_UPDATE_NODE}};
    struct rr_conf_change_v2 v2 = {.changes = changes, .change_count = 4};
    uint8_t bytes[64];
    struct rr_entry entry = {.term = 1, .index = 4, .type = RR_ENTRY_CONF_CHANGE_V2, .data = bytes};
    entry.size = (uint32_t)(rr_conf_change_v2_encode(&v2, bytes) - bytes);
    rr_describe_entry(fresh(), &entry);
    check_text("1/4 EntryConfChangeV2 v3 l12 r1 u2");
}

static void test_empty_conf_changes(void)
{
    struct rr_entry v1 = {.term = 1, .index = 4, .type = RR_ENTRY_CONF_CHANGE};
    struct rr_entry v2 = {.term = 1, .index = 5, .type = RR_ENTRY_CONF_CHANGE_V2};
    rr_describe_entry(fresh(), &v1);
    check_text("1/4 EntryConfChange v0");
    rr_describe_entry(fresh(), &v2);
    check_text("1/5 EntryConfChangeV2");
}

static void test_undecodable_conf_change_shows_its_bytes(void)
{
    struct rr_entry entry = normal_entry(1, 4, "\xff");
    entry.type = RR_ENTRY_CONF_CHANGE_V2;
    rr_describe_entry(fresh(), &entry);
    check_text("1/4 EntryConfChangeV2 undecodable \"\\xff\"");
}

/* ---- messages ------------------------------------------------------------ */

static void test_plain_message_leaves_out_what_is_zero(void)
{
    struct rr_message m = {.type = RR_MSG_VOTE_RESP, .from = 10, .to = 31, .term = 12};
    rr_describe_message(fresh(), &m);
    check_text("a->1f MsgVoteResp Term:12 Log:0/0");
}

static void test_message_with_everything(void)
{
    const uint64_t voters[] = {10, 2};
    struct rr_entry entries[] = {normal_entry(1, 2, "a"), normal_entry(1, 3, "b")};
    struct rr_snapshot snapshot = {.metadata = {.index = 1, .term = 1}};
    snapshot.metadata.conf_state.voters = voters;
    snapshot.metadata.conf_state.voter_count = 2;
    struct rr_message responses[] = {
        {.type = RR_MSG_APP_RESP, .from = 2, .to = 1, .term = 1, .reject = true, .reject_hint = 7},
        {.type = RR_MSG_STORAGE_APPEND_RESP, .from = RR_LOCAL_APPEND_THREAD, .to = 2, .term = 1},
    };
    struct rr_message m = {.type = RR_MSG_STORAGE_APPEND,
                           .from = 2,
                           .to = RR_LOCAL_APPEND_THREAD,
                           .term = 1,
                           .commit = 3,
                           .vote = 11,
                           .entries = entries,
                           .entry_count = 2,
                           .snapshot = &snapshot,
                           .responses = responses,
                           .response_count = 2};
    rr_describe_message(fresh(), &m);
    check_text("2->AppendThread MsgStorageAppend Term:1 Log:0/0 Commit:3 Vote:11 Entries:[\n"
               "  1/2 EntryNormal \"a\"\n"
               "  1/3 EntryNormal \"b\"\n"
               "]\n"
               "  Snapshot: Index:1 Term:1 ConfState:Voters:[10 2] VotersOutgoing:[] Learners:[] "
               "LearnersNext:[] AutoLeave:false Responses:[\n"
               "  2->1 MsgAppResp Term:1 Log:0/0 Rejected (Hint: 7)\n"
               "  AppendThread->2 MsgStorageAppendResp Term:1 Log:0/0\n"
               "]");
}

static void test_single_entry_stays_on_the_line(void)
{
    struct rr_entry entry = normal_entry(1, 3, "");
    struct rr_message m = {.type = RR_MSG_PROP, .to = 1, .entries = &entry, .entry_count = 1};
    rr_describe_message(fresh(), &m);
    check_text("None->1 MsgProp Term:0 Log:0/0 Entries:[1/3 EntryNormal \"\"]");
}

static void test_snapshot_of_index_zero_is_not_shown(void)
{
    struct rr_snapshot snapshot = {0};
    struct rr_message m = {.type = RR_MSG_SNAP, .from = 1, .to = 2, .snapshot = &snapshot};
    rr_describe_message(fresh(), &m);
    check_text("1->2 MsgSnap Term:0 Log:0/0");
}

static void test_message_types_are_named(void)
{
    CHECK(strcmp(rr_describe_message_type(RR_MSG_HUP), "MsgHup") == 0);
    CHECK(strcmp(rr_describe_message_type(RR_MSG_FORGET_LEADER), "MsgForgetLeader") == 0);
    CHECK(strcmp(rr_describe_message_type(RR_MSG_FORGET_LEADER + 1), "unknown") == 0);
}

static void test_numbers_outside_their_enums_are_named_unknown(void)
{
    struct rr_entry entry = normal_entry(1, 2, "x");
    entry.type = 7;
    rr_describe_entry(fresh(), &entry);
    check_text("1/2 unknown undecodable \"x\"");

    const struct rr_conf_change_single odd = {.node_id = 3, .type = 9};
    struct rr_conf_change_v2 change = {.changes = &odd, .change_count = 1, .transition = 9};
    rr_describe_conf_change_v2(fresh(), &change);
    check_text("transition:unknown changes:{type:unknown node_id:3}");

    uint8_t bytes[16];
    struct rr_conf_change v1 = {.type = 9, .node_id = 3};
    entry.type = RR_ENTRY_CONF_CHANGE;
    entry.data = bytes;
    entry.size = (uint32_t)(rr_conf_change_encode(&v1, bytes) - bytes);
    rr_describe_entry(fresh(), &entry);
    check_text("1/2 EntryConfChange unknown3");

    CHECK(strcmp(rr_describe_state(9), "unknown") == 0);
    CHECK(strcmp(rr_describe_progress_state(9), "unknown") == 0);
    CHECK(strcmp(rr_describe_log_level(9), "unknown") == 0);
}

static bool refuse_to_grow(struct rr_text *full, size_t cap)
{
    (void)cap;
    CHECK(full->size == full->cap);
    return false;
}

static void test_sink_that_cannot_grow_is_truncated(void)
{
    char two[2];
    struct rr_text sink = {.bytes = two, .cap = sizeof(two), .grow = refuse_to_grow};
    rr_text_string(&sink, "ab");
    CHECK(!sink.truncated);
    rr_text_string(&sink, "cd");
    CHECK(sink.truncated && sink.size == 2);
    rr_text_string(&sink, "ef"); /* does not ask again */
    CHECK(sink.size == 2);
}

/* ---- Ready --------------------------------------------------------------- */

static void test_empty_ready(void)
{
    struct rr_ready ready = {0};
    rr_describe_ready(fresh(), &ready);
    check_text("<empty Ready>");
}

static void test_ready_with_everything(void)
{
    const struct rr_soft_state soft = {.lead = 12, .raft_state = RR_STATE_LEADER};
    const struct rr_hard_state hard = {.term = 2, .vote = 12, .commit = 5};
    const uint8_t context[] = {104, 0};
    const struct rr_read_state reads[] = {
        {.index = 5, .request_ctx = context, .request_ctx_size = 2}, {.index = 6}};
    const struct rr_entry entry = normal_entry(2, 6, "x");
    const struct rr_snapshot snapshot = {.metadata = {.index = 4, .term = 1}};
    const struct rr_message m = {.type = RR_MSG_BEAT, .from = 12, .to = 1, .term = 2};
    struct rr_ready ready = {.soft_state = &soft,
                             .hard_state = &hard,
                             .read_states = reads,
                             .read_state_count = 2,
                             .entries = &entry,
                             .entry_count = 1,
                             .snapshot = &snapshot,
                             .committed_entries = &entry,
                             .committed_entry_count = 1,
                             .messages = &m,
                             .message_count = 1,
                             .must_sync = true};
    rr_describe_ready(fresh(), &ready);
    check_text("Ready MustSync=true:\n"
               "Lead:12 State:StateLeader\n"
               "HardState Term:2 Vote:12 Commit:5\n"
               "ReadStates [{5 [104 0]} {6 []}]\n"
               "Entries:\n2/6 EntryNormal \"x\"\n"
               "Snapshot Index:4 Term:1 ConfState:Voters:[] VotersOutgoing:[] Learners:[] "
               "LearnersNext:[] AutoLeave:false\n"
               "CommittedEntries:\n2/6 EntryNormal \"x\"\n"
               "Messages:\nc->1 MsgBeat Term:2 Log:0/0\n");
}

static void test_hard_state_without_vote(void)
{
    const struct rr_hard_state state = {.term = 3};
    rr_describe_hard_state(fresh(), &state);
    check_text("Term:3 Commit:0");
}

/* ---- what the core says about itself ------------------------------------- */

static struct tracker_config joint_config(void)
{
    struct tracker_config config = {.auto_leave = true};
    id_set_add(&config.incoming, 2);
    id_set_add(&config.incoming, 17);
    id_set_add(&config.outgoing, 1);
    id_set_add(&config.outgoing, 2);
    id_set_add(&config.learners, 10);
    id_set_add(&config.learners_next, 1);
    return config;
}

static void test_configurations(void)
{
    struct tracker_config config = joint_config();
    rr_describe_config(fresh(), &config);
    check_text("voters=(2 11)&&(1 2) learners=(a) learners_next=(1) autoleave");
    struct tracker_config empty = {0};
    rr_describe_config(fresh(), &empty);
    check_text("voters=()");
}

static void test_progress_flags(void)
{
    struct progress quiet = {.match = 1, .next = 2, .recent_active = true};
    quiet.inflights.max_count = 2;
    rr_describe_progress(fresh(), &quiet);
    check_text("StateProbe match=1 next=2");
    struct progress all = {.match = 1, .next = 9, .pending_snapshot = 8, .is_learner = true};
    all.state = RR_PROGRESS_SNAPSHOT;
    all.inflights.count = all.inflights.max_count = 2;
    rr_describe_progress(fresh(), &all);
    check_text(
        "StateSnapshot match=1 next=9 learner paused pendingSnap=8 inactive inflight=2[full]");
}

static struct rr_log_event event_of(enum rr_log_event_id id)
{
    return (struct rr_log_event){.id = (uint8_t)id, .level = (uint8_t)rr_log_event_level(id)};
}

static void test_log_lines_of_the_reference(void)
{
    struct tracker_config config = joint_config();
    struct rr_log_event e = event_of(RR_LOG_EVENT_NEW_RAFT);
    const uint64_t numbers[] = {10, 0, 1, 4, 3, 2, 1};
    for (int i = 0; i < 7; i++)
        e.args[i] = rr_log_u64(numbers[i]);
    e.args[1] = rr_log_pointer(&config);
    rr_describe_log_event(fresh(), &e);
    check_text("newRaft a [peers: [1,2,11], term: 1, commit: 4, applied: 3, lastindex: 2, "
               "lastterm: 1]");

    e = event_of(RR_LOG_EVENT_AUTO_LEAVE_FAILED);
    e.args[0] = rr_log_pointer(&config);
    e.args[1] = rr_log_u64((uint64_t)(int64_t)RR_E_PROPOSAL_DROPPED);
    rr_describe_log_event(fresh(), &e);
    check_text("not initiating automatic transition out of joint configuration voters=(2 11)&&(1 2)"
               " learners=(a) learners_next=(1) autoleave: raft proposal dropped");
    CHECK_EQ_U64(e.level, RR_LOG_DEBUG);
    CHECK(strcmp(rr_describe_log_level(RR_LOG_WARN), "WARN") == 0);
}

static void test_refused_change_and_foreign_snapshot(void)
{
    const struct rr_conf_change_single changes[] = {{1, RR_CONF_CHANGE_REMOVE_NODE},
                                                    {10, RR_CONF_CHANGE_ADD_LEARNER_NODE}};
    struct rr_conf_change_v2 change = {.changes = changes,
                                       .change_count = 2,
                                       .transition = RR_CONF_CHANGE_TRANSITION_JOINT_EXPLICIT,
                                       .context = (const uint8_t *)"c\n",
                                       .context_size = 2};
    rr_describe_conf_change_v2(fresh(), &change);
    check_text("transition:ConfChangeTransitionJointExplicit "
               "changes:{type:ConfChangeRemoveNode node_id:1} "
               "changes:{type:ConfChangeAddLearnerNode node_id:10} context:\"c\\n\"");

    const uint64_t ids[] = {71, 72};
    struct rr_conf_state state = {.voters = ids,
                                  .voter_count = 2,
                                  .learners_next = ids,
                                  .learner_next_count = 1,
                                  .has_auto_leave = true};
    struct rr_log_event e = event_of(RR_LOG_EVENT_RESTORE_NOT_MEMBER);
    e.args[0] = rr_log_u64(16);
    e.args[1] = rr_log_pointer(&state);
    rr_describe_log_event(fresh(), &e);
    check_text(
        "10 attempted to restore snapshot but it is not in the ConfState voters:71 voters:72 "
        "learners_next:71 auto_leave:false; should never happen");
}

/* A pointer of the kind that the letter asks for, or a number. */
static union rr_log_arg argument_of(char kind)
{
    static struct tracker_config config;
    static struct progress progress;
    static struct raft_log log;
    static struct rr_conf_change_v2 change;
    static struct rr_conf_state state;
    progress.inflights.max_count = 1;
    switch (kind) {
    case 'c':
    case 'P':
        return rr_log_pointer(&config);
    case 'p':
        return rr_log_pointer(&progress);
    case 'l':
        return rr_log_pointer(&log);
    case 'v':
        return rr_log_pointer(&change);
    case 's':
        return rr_log_pointer(&state);
    default:
        return rr_log_u64(1);
    }
}

static void test_every_log_event_has_a_text_with_known_arguments(void)
{
    static const char *const texts[] = {
#define X(name, level, wording) wording,
        RR_LOG_EVENTS(X)
#undef X
    };
    for (uint8_t id = 0; id < RR_LOG_EVENT_COUNT; id++) {
        struct rr_log_event e = event_of((enum rr_log_event_id)id);
        size_t count = 0;
        for (const char *at = strchr(texts[id], '%'); at; at = strchr(at + 1, '%')) {
            CHECK(strchr("xdtrecPplvs", at[1]) != NULL);
            CHECK(count < RR_LOG_ARGS_MAX);
            e.args[count++] = argument_of(at[1]);
        }
        rr_describe_log_event(fresh(), &e);
        CHECK(text.size > 0 && memchr(room, '%', text.size) == NULL);
    }
}

int main(void)
{
    RUN(test_bounded_sink_drops_what_does_not_fit);
    RUN(test_numbers_at_their_ends);
    RUN(test_quoting_follows_go);
    RUN(test_invalid_utf8_is_quoted_byte_by_byte);
    RUN(test_normal_entries_are_quoted);
    RUN(test_conf_change_entries_show_their_operations);
    RUN(test_empty_conf_changes);
    RUN(test_undecodable_conf_change_shows_its_bytes);
    RUN(test_plain_message_leaves_out_what_is_zero);
    RUN(test_message_with_everything);
    RUN(test_single_entry_stays_on_the_line);
    RUN(test_snapshot_of_index_zero_is_not_shown);
    RUN(test_message_types_are_named);
    RUN(test_numbers_outside_their_enums_are_named_unknown);
    RUN(test_sink_that_cannot_grow_is_truncated);
    RUN(test_empty_ready);
    RUN(test_ready_with_everything);
    RUN(test_hard_state_without_vote);
    RUN(test_configurations);
    RUN(test_progress_flags);
    RUN(test_log_lines_of_the_reference);
    RUN(test_refused_change_and_foreign_snapshot);
    RUN(test_every_log_event_has_a_text_with_known_arguments);
    return 0;
}
