/* SPDX-License-Identifier: Apache-2.0
 *
 * Text forms of what travels: entries, states, snapshots, messages and Readys, as the reference
 * prints them. Which fields are shown, and when, is part of the format: a field that is zero or
 * absent is left out where the reference leaves it out.
 */
#include "raft/describe.h"

#include "proto/codec.h"

enum { INDENT = 2, DESCRIBED_CHANGES_MAX = 256 };

const char *rr_describe_message_type(uint8_t type)
{
    static const char *const names[] = {
        [RR_MSG_HUP] = "MsgHup",
        [RR_MSG_BEAT] = "MsgBeat",
        [RR_MSG_PROP] = "MsgProp",
        [RR_MSG_APP] = "MsgApp",
        [RR_MSG_APP_RESP] = "MsgAppResp",
        [RR_MSG_VOTE] = "MsgVote",
        [RR_MSG_VOTE_RESP] = "MsgVoteResp",
        [RR_MSG_SNAP] = "MsgSnap",
        [RR_MSG_HEARTBEAT] = "MsgHeartbeat",
        [RR_MSG_HEARTBEAT_RESP] = "MsgHeartbeatResp",
        [RR_MSG_UNREACHABLE] = "MsgUnreachable",
        [RR_MSG_SNAP_STATUS] = "MsgSnapStatus",
        [RR_MSG_CHECK_QUORUM] = "MsgCheckQuorum",
        [RR_MSG_TRANSFER_LEADER] = "MsgTransferLeader",
        [RR_MSG_TIMEOUT_NOW] = "MsgTimeoutNow",
        [RR_MSG_READ_INDEX] = "MsgReadIndex",
        [RR_MSG_READ_INDEX_RESP] = "MsgReadIndexResp",
        [RR_MSG_PRE_VOTE] = "MsgPreVote",
        [RR_MSG_PRE_VOTE_RESP] = "MsgPreVoteResp",
        [RR_MSG_STORAGE_APPEND] = "MsgStorageAppend",
        [RR_MSG_STORAGE_APPEND_RESP] = "MsgStorageAppendResp",
        [RR_MSG_STORAGE_APPLY] = "MsgStorageApply",
        [RR_MSG_STORAGE_APPLY_RESP] = "MsgStorageApplyResp",
        [RR_MSG_FORGET_LEADER] = "MsgForgetLeader",
    };
    return type < RR_ARRAY_SIZE(names) ? names[type] : "unknown";
}

const char *rr_describe_state(uint8_t state)
{
    static const char *const names[] = {
        [RR_STATE_FOLLOWER] = "StateFollower",
        [RR_STATE_CANDIDATE] = "StateCandidate",
        [RR_STATE_LEADER] = "StateLeader",
        [RR_STATE_PRE_CANDIDATE] = "StatePreCandidate",
    };
    return state < RR_ARRAY_SIZE(names) ? names[state] : "unknown";
}

void rr_describe_target(struct rr_text *text, uint64_t id)
{
    if (id == RR_NONE)
        rr_text_string(text, "None");
    else if (id == RR_LOCAL_APPEND_THREAD)
        rr_text_string(text, "AppendThread");
    else if (id == RR_LOCAL_APPLY_THREAD)
        rr_text_string(text, "ApplyThread");
    else
        rr_text_hex(text, id);
}

/* ---- entries ------------------------------------------------------------- */

static void describe_change(struct rr_text *text, uint8_t type, uint64_t node_id)
{
    static const char letters[] = {
        [RR_CONF_CHANGE_ADD_NODE] = 'v',
        [RR_CONF_CHANGE_REMOVE_NODE] = 'r',
        [RR_CONF_CHANGE_UPDATE_NODE] = 'u',
        [RR_CONF_CHANGE_ADD_LEARNER_NODE] = 'l',
    };
    rr_text_char(text, ' ');
    if (type < RR_ARRAY_SIZE(letters))
        rr_text_char(text, letters[type]);
    else
        rr_text_string(text, "unknown");
    rr_text_decimal(text, node_id);
}

/* Refused bytes are shown as they are: the core has its own opinion about them elsewhere. */
static void describe_undecodable(struct rr_text *text, const struct rr_entry *entry)
{
    rr_text_string(text, " undecodable ");
    rr_text_quoted(text, entry->data, entry->size);
}

static void describe_conf_change_entry(struct rr_text *text, const struct rr_entry *entry)
{
    struct rr_conf_change change;
    if (rr_conf_change_decode(entry->data, entry->size, &change) < 0)
        describe_undecodable(text, entry);
    else
        describe_change(text, change.type, change.node_id);
}

static void describe_conf_change_v2_entry(struct rr_text *text, const struct rr_entry *entry)
{
    struct rr_conf_change_single changes[DESCRIBED_CHANGES_MAX];
    struct codec_scratch scratch = {.bytes = (uint8_t *)changes, .cap = sizeof(changes)};
    struct rr_conf_change_v2 change;
    if (rr_conf_change_v2_decode(entry->data, entry->size, &scratch, &change) < 0) {
        describe_undecodable(text, entry);
        return;
    }
    for (uint32_t i = 0; i < change.change_count; i++)
        describe_change(text, change.changes[i].type, change.changes[i].node_id);
}

void rr_describe_entry(struct rr_text *text, const struct rr_entry *entry)
{
    rr_text_decimal(text, entry->term);
    rr_text_field(text, "/", entry->index);
    switch ((enum rr_entry_type)entry->type) {
    case RR_ENTRY_NORMAL:
        rr_text_string(text, " EntryNormal ");
        rr_text_quoted(text, entry->data, entry->size);
        return;
    case RR_ENTRY_CONF_CHANGE:
        rr_text_string(text, " EntryConfChange");
        describe_conf_change_entry(text, entry);
        return;
    case RR_ENTRY_CONF_CHANGE_V2:
        rr_text_string(text, " EntryConfChangeV2");
        describe_conf_change_v2_entry(text, entry);
        return;
    }
    rr_text_string(text, " unknown");
    describe_undecodable(text, entry);
}

void rr_describe_entries(struct rr_text *text, const struct rr_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        rr_describe_entry(text, &entries[i]);
        rr_text_char(text, '\n');
    }
}

/* ---- states and snapshots ------------------------------------------------ */

static void describe_ids(struct rr_text *text, const char *label, const uint64_t *ids,
                         uint32_t count)
{
    rr_text_string(text, label);
    rr_text_char(text, '[');
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0)
            rr_text_char(text, ' ');
        rr_text_decimal(text, ids[i]);
    }
    rr_text_char(text, ']');
}

void rr_describe_conf_state(struct rr_text *text, const struct rr_conf_state *state)
{
    describe_ids(text, "Voters:", state->voters, state->voter_count);
    describe_ids(text, " VotersOutgoing:", state->voters_outgoing, state->voter_outgoing_count);
    describe_ids(text, " Learners:", state->learners, state->learner_count);
    describe_ids(text, " LearnersNext:", state->learners_next, state->learner_next_count);
    rr_text_string(text, " AutoLeave:");
    rr_text_bool(text, state->auto_leave);
}

void rr_describe_snapshot(struct rr_text *text, const struct rr_snapshot *snapshot)
{
    rr_text_field(text, "Index:", snapshot->metadata.index);
    rr_text_field(text, " Term:", snapshot->metadata.term);
    rr_text_string(text, " ConfState:");
    rr_describe_conf_state(text, &snapshot->metadata.conf_state);
}

void rr_describe_soft_state(struct rr_text *text, const struct rr_soft_state *state)
{
    rr_text_field(text, "Lead:", state->lead);
    rr_text_string(text, " State:");
    rr_text_string(text, rr_describe_state(state->raft_state));
}

void rr_describe_hard_state(struct rr_text *text, const struct rr_hard_state *state)
{
    rr_text_field(text, "Term:", state->term);
    if (state->vote != 0)
        rr_text_field(text, " Vote:", state->vote);
    rr_text_field(text, " Commit:", state->commit);
}

/* ---- messages ------------------------------------------------------------ */

static void start_line(struct rr_text *text, size_t indent)
{
    rr_text_char(text, '\n');
    rr_text_spaces(text, indent);
}

static void describe_message_fields(struct rr_text *text, const struct rr_message *message)
{
    rr_describe_target(text, message->from);
    rr_text_string(text, "->");
    rr_describe_target(text, message->to);
    rr_text_char(text, ' ');
    rr_text_string(text, rr_describe_message_type(message->type));
    rr_text_field(text, " Term:", message->term);
    rr_text_field(text, " Log:", message->log_term);
    rr_text_field(text, "/", message->index);
    if (message->reject) {
        rr_text_field(text, " Rejected (Hint: ", message->reject_hint);
        rr_text_char(text, ')');
    }
    if (message->commit != 0)
        rr_text_field(text, " Commit:", message->commit);
    if (message->vote != 0)
        rr_text_field(text, " Vote:", message->vote);
}

static void describe_message_entries(struct rr_text *text, const struct rr_message *message,
                                     size_t indent)
{
    rr_text_string(text, " Entries:[");
    if (message->entry_count == 1) {
        rr_describe_entry(text, &message->entries[0]);
    } else {
        for (uint32_t i = 0; i < message->entry_count; i++) {
            start_line(text, indent + INDENT);
            rr_describe_entry(text, &message->entries[i]);
        }
        start_line(text, indent);
    }
    rr_text_char(text, ']');
}

/* Recursion ends at depth one: responses have no responses. */
static void describe_message(struct rr_text *text, const struct rr_message *message, size_t indent)
{
    rr_text_spaces(text, indent);
    describe_message_fields(text, message);
    if (message->entry_count > 0)
        describe_message_entries(text, message, indent);
    if (message->snapshot && message->snapshot->metadata.index != 0) {
        start_line(text, indent + INDENT);
        rr_text_string(text, "Snapshot: ");
        rr_describe_snapshot(text, message->snapshot);
    }
    if (message->response_count == 0)
        return;
    rr_text_string(text, " Responses:[");
    for (uint32_t i = 0; i < message->response_count; i++) {
        rr_text_char(text, '\n');
        describe_message(text, &message->responses[i], indent + INDENT);
    }
    start_line(text, indent);
    rr_text_char(text, ']');
}

void rr_describe_message(struct rr_text *text, const struct rr_message *message)
{
    describe_message(text, message, 0);
}

/* ---- Ready --------------------------------------------------------------- */

static void describe_read_state(struct rr_text *text, const struct rr_read_state *state)
{
    rr_text_field(text, "{", state->index);
    rr_text_string(text, " [");
    for (uint32_t i = 0; i < state->request_ctx_size; i++) {
        if (i > 0)
            rr_text_char(text, ' ');
        rr_text_decimal(text, state->request_ctx[i]);
    }
    rr_text_string(text, "]}");
}

static void describe_ready_states(struct rr_text *text, const struct rr_ready *ready)
{
    if (ready->soft_state) {
        rr_describe_soft_state(text, ready->soft_state);
        rr_text_char(text, '\n');
    }
    if (ready->hard_state) {
        rr_text_string(text, "HardState ");
        rr_describe_hard_state(text, ready->hard_state);
        rr_text_char(text, '\n');
    }
    if (ready->read_state_count == 0)
        return;
    rr_text_string(text, "ReadStates [");
    for (uint32_t i = 0; i < ready->read_state_count; i++) {
        if (i > 0)
            rr_text_char(text, ' ');
        describe_read_state(text, &ready->read_states[i]);
    }
    rr_text_string(text, "]\n");
}

void rr_describe_ready(struct rr_text *text, const struct rr_ready *ready)
{
    bool is_empty = !ready->soft_state && !ready->hard_state && ready->read_state_count == 0 &&
                    ready->entry_count == 0 && !ready->snapshot &&
                    ready->committed_entry_count == 0 && ready->message_count == 0;
    if (is_empty) {
        rr_text_string(text, "<empty Ready>");
        return;
    }
    rr_text_string(text, "Ready MustSync=");
    rr_text_bool(text, ready->must_sync);
    rr_text_string(text, ":\n");
    describe_ready_states(text, ready);
    if (ready->entry_count > 0) {
        rr_text_string(text, "Entries:\n");
        rr_describe_entries(text, ready->entries, ready->entry_count);
    }
    if (ready->snapshot) {
        rr_text_string(text, "Snapshot ");
        rr_describe_snapshot(text, ready->snapshot);
        rr_text_char(text, '\n');
    }
    if (ready->committed_entry_count > 0) {
        rr_text_string(text, "CommittedEntries:\n");
        rr_describe_entries(text, ready->committed_entries, ready->committed_entry_count);
    }
    if (ready->message_count > 0)
        rr_text_string(text, "Messages:\n");
    for (uint32_t i = 0; i < ready->message_count; i++) {
        describe_message(text, &ready->messages[i], 0);
        rr_text_char(text, '\n');
    }
}
