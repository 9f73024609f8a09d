/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages and proposals made by hand: only the fields that are given are set.
 */
#include "tests/conformance/cluster.h"

#include "proto/codec.h"

#include <stdlib.h>
#include <string.h>

enum outcome command_message_type(struct command *cmd, const char *name, uint8_t *type)
{
    for (uint8_t i = RR_MSG_HUP; i <= RR_MSG_FORGET_LEADER; i++) {
        if (strcmp(rr_describe_message_type(i), name) == 0) {
            *type = i;
            return OUTCOME_OK;
        }
    }
    return command_bad(cmd, "there is no message type '%s'", name);
}

/* ---- step ---------------------------------------------------------------- */

/* What a step command says, before it becomes a message. */
struct hand_made {
    struct rr_message message;
    const char *type;
    const char *from;
    const char *context;
    const char *position;
    const char *snapshot;
    struct id_list voters;
    struct id_list learners;
};

static enum outcome parse_sender(struct command *cmd, const char *name, uint64_t *from)
{
    if (strcmp(name, "append-thread") == 0)
        *from = RR_LOCAL_APPEND_THREAD;
    else if (strcmp(name, "apply-thread") == 0)
        *from = RR_LOCAL_APPLY_THREAD;
    else
        return command_u64(cmd, "from", name, from);
    return OUTCOME_OK;
}

static enum outcome parse_context(struct command *cmd, struct hand_made *hand)
{
    if (hand->context) {
        hand->message.context = (const uint8_t *)hand->context;
        hand->message.context_size = (uint32_t)strlen(hand->context);
    }
    if (!hand->position)
        return OUTCOME_OK;
    uint64_t position;
    uint8_t *bytes = scenario_alloc(cmd->memory, sizeof(position));
    if (command_u64(cmd, "position", hand->position, &position) != OUTCOME_OK)
        return OUTCOME_BAD;
    for (size_t i = 0; i < sizeof(position); i++)
        bytes[i] = (uint8_t)(position >> 8 * i);
    hand->message.context = bytes;
    hand->message.context_size = sizeof(position);
    return OUTCOME_OK;
}

/* `t/i` */
static enum outcome parse_position(struct command *cmd, const char *what, const char *text,
                                   struct rr_snapshot_metadata *position)
{
    const char *slash = strchr(text, '/');
    if (!slash)
        return command_bad(cmd, "%s: '%s' is not term/index", what, text);
    const char *term = scenario_copy(cmd->memory, text, (size_t)(slash - text));
    const char *index = slash + 1;
    enum outcome outcome = command_u64(cmd, what, term, &position->term);
    return outcome == OUTCOME_OK ? command_u64(cmd, what, index, &position->index) : outcome;
}

static enum outcome parse_snapshot(struct command *cmd, struct hand_made *hand)
{
    if (!hand->snapshot) {
        if (hand->voters.is_given || hand->learners.is_given)
            return command_bad(cmd, "voters and learners belong to a snapshot");
        return OUTCOME_OK;
    }
    struct rr_snapshot *snapshot = scenario_alloc(cmd->memory, sizeof(*snapshot));
    if (parse_position(cmd, "snapshot", hand->snapshot, &snapshot->metadata) != OUTCOME_OK)
        return OUTCOME_BAD;
    snapshot->metadata.conf_state = (struct rr_conf_state){
        .voters = hand->voters.ids,
        .voter_count = hand->voters.count,
        .learners = hand->learners.ids,
        .learner_count = hand->learners.count,
        .has_auto_leave = true,
    };
    hand->message.snapshot = snapshot;
    return OUTCOME_OK;
}

/* `t/i:data`: what is zero or empty stays absent, the type always. */
static enum outcome parse_entry(struct command *cmd, const char *text, struct rr_entry *entry)
{
    struct rr_snapshot_metadata position = {0};
    const char *colon = strchr(text, ':');
    if (!colon)
        return command_bad(cmd, "entries: '%s' is not term/index:data", text);
    const char *before = scenario_copy(cmd->memory, text, (size_t)(colon - text));
    if (parse_position(cmd, "entries", before, &position) != OUTCOME_OK)
        return OUTCOME_BAD;
    entry->term = position.term;
    entry->index = position.index;
    entry->data = (const uint8_t *)colon + 1;
    entry->size = (uint32_t)strlen(colon + 1);
    entry->has =
        (uint8_t)((entry->term ? RR_ENTRY_HAS_TERM : 0) | (entry->index ? RR_ENTRY_HAS_INDEX : 0) |
                  (entry->size ? RR_ENTRY_HAS_DATA : 0));
    return OUTCOME_OK;
}

static enum outcome parse_entries(struct command *cmd, struct hand_made *hand)
{
    for (size_t i = 0; i < cmd->c->argument_count; i++) {
        const struct dd_argument *argument = &cmd->c->arguments[i];
        if (strcmp(argument->key, "entries") != 0)
            continue;
        struct rr_entry *entries =
            scenario_array(cmd->memory, argument->value_count, sizeof(*entries));
        for (size_t j = 0; j < argument->value_count; j++)
            if (parse_entry(cmd, argument->values[j], &entries[j]) != OUTCOME_OK)
                return OUTCOME_BAD;
        hand->message.entries = entries;
        hand->message.entry_count = (uint32_t)argument->value_count;
    }
    return OUTCOME_OK;
}

static enum outcome parse_message(struct command *cmd, struct hand_made *hand)
{
    if (!hand->type)
        return command_bad(cmd, "step needs type=T");
    if (hand->context && hand->position)
        return command_bad(cmd, "context and position exclude each other");
    enum outcome outcome = command_message_type(cmd, hand->type, &hand->message.type);
    if (outcome == OUTCOME_OK && hand->from)
        outcome = parse_sender(cmd, hand->from, &hand->message.from);
    if (outcome == OUTCOME_OK)
        outcome = parse_context(cmd, hand);
    if (outcome == OUTCOME_OK)
        outcome = parse_snapshot(cmd, hand);
    return outcome == OUTCOME_OK ? parse_entries(cmd, hand) : outcome;
}

enum outcome run_step(struct cluster *cluster, struct command *cmd)
{
    struct hand_made hand = {0};
    struct rr_message *m = &hand.message;
    const struct option options[] = {
        {"type", OPTION_TEXT, &hand.type},
        {"from", OPTION_TEXT, &hand.from},
        {"term", OPTION_U64, &m->term},
        {"logterm", OPTION_U64, &m->log_term},
        {"index", OPTION_U64, &m->index},
        {"commit", OPTION_U64, &m->commit},
        {"vote", OPTION_U64, &m->vote},
        {"reject", OPTION_FLAG, &m->reject},
        {"rejecthint", OPTION_U64, &m->reject_hint},
        {"context", OPTION_TEXT, &hand.context},
        {"position", OPTION_TEXT, &hand.position},
        {"entries", OPTION_LIST, NULL}, /* see parse_entries */
        {"snapshot", OPTION_TEXT, &hand.snapshot},
        {"voters", OPTION_IDS, &hand.voters},
        {"learners", OPTION_IDS, &hand.learners},
    };
    const struct command_shape shape = {options, RR_ARRAY_SIZE(options), 1, 1};
    struct member *member = cluster_parse(cluster, cmd, &shape);
    if (!member || parse_message(cmd, &hand) != OUTCOME_OK)
        return OUTCOME_BAD;
    m->to = member->id;
    int err = rr_raw_node_step(member->node, copy_message(cmd->memory, m));
    if (err < 0) {
        rr_text_string(cluster_out(cluster), rr_err_sentence(err));
        rr_text_char(cluster_out(cluster), '\n');
    }
    return OUTCOME_OK;
}

/* ---- propose-batch ------------------------------------------------------- */

static void encode_v1(struct command *cmd, const struct rr_conf_change_single *change,
                      struct rr_entry *entry)
{
    struct rr_conf_change v1 = {.type = change->type, .node_id = change->node_id};
    entry->size = (uint32_t)rr_conf_change_size(&v1);
    uint8_t *bytes = scenario_alloc(cmd->memory, entry->size);
    rr_conf_change_encode(&v1, bytes);
    entry->data = bytes;
    entry->type = RR_ENTRY_CONF_CHANGE;
}

static void encode_v2(struct command *cmd, const struct conf_ops *ops, struct rr_entry *entry)
{
    struct rr_conf_change_v2 v2 = {
        .changes = ops->changes, .change_count = ops->count, .has_transition = true};
    entry->size = (uint32_t)rr_conf_change_v2_size(&v2);
    uint8_t *bytes = scenario_alloc(cmd->memory, entry->size);
    rr_conf_change_v2_encode(&v2, bytes);
    entry->data = bytes;
    entry->type = RR_ENTRY_CONF_CHANGE_V2;
}

static enum outcome parse_item(struct command *cmd, const char *item, struct rr_entry *entry)
{
    struct conf_ops ops;
    bool is_v1 = strncmp(item, "cc1:", 4) == 0;
    bool is_v2 = strncmp(item, "cc:", 3) == 0;
    if (!is_v1 && !is_v2) {
        bool has_data = strcmp(item, "-") != 0;
        entry->data = has_data ? (const uint8_t *)item : NULL;
        entry->size = has_data ? (uint32_t)strlen(item) : 0;
        entry->has = has_data ? RR_ENTRY_HAS_DATA : 0;
        return OUTCOME_OK;
    }
    if (command_conf_ops(cmd, strchr(item, ':') + 1, '+', &ops) != OUTCOME_OK)
        return OUTCOME_BAD;
    entry->has = RR_ENTRY_HAS_TYPE | RR_ENTRY_HAS_DATA;
    if (is_v2)
        encode_v2(cmd, &ops, entry);
    else if (ops.count == 1)
        encode_v1(cmd, &ops.changes[0], entry);
    else
        return command_bad(cmd, "cc1: takes one operation");
    return OUTCOME_OK;
}

enum outcome run_propose_batch(struct cluster *cluster, struct command *cmd)
{
    const struct command_shape shape = {.least = 2, .most = SIZE_MAX};
    struct member *member = cluster_parse(cluster, cmd, &shape);
    if (!member)
        return OUTCOME_BAD;
    size_t count = cmd->positional_count - 1;
    struct rr_entry *entries = scenario_array(cmd->memory, count, sizeof(*entries));
    for (size_t i = 0; i < count; i++)
        if (parse_item(cmd, cmd->positionals[i + 1], &entries[i]) != OUTCOME_OK)
            return OUTCOME_BAD;
    struct rr_message message = {.type = RR_MSG_PROP,
                                 .from = member->id,
                                 .entries = entries,
                                 .entry_count = (uint32_t)count};
    return cluster_result(cmd, rr_raw_node_step(member->node, &message));
}

/* ---- send-snapshot ------------------------------------------------------- */

enum outcome run_send_snapshot(struct cluster *cluster, struct command *cmd)
{
    uint64_t to;
    const struct command_shape shape = {.least = 2, .most = 2};
    struct member *member = cluster_parse(cluster, cmd, &shape);
    if (!member || command_u64(cmd, "recipient", cmd->positionals[1], &to) != OUTCOME_OK)
        return OUTCOME_BAD;
    struct rr_basic_status status;
    rr_raw_node_basic_status(member->node, &status);
    struct rr_message *message = scenario_alloc(cmd->memory, sizeof(*message));
    *message = (struct rr_message){.type = RR_MSG_SNAP,
                                   .from = member->id,
                                   .to = to,
                                   .term = status.hard_state.term,
                                   .snapshot = member_state(member)};
    mail_add(cluster->memory, &cluster->in_flight, message);
    rr_describe_message(cluster_out(cluster), message);
    return OUTCOME_OK;
}
