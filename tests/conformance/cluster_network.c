/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages in flight: one FIFO list, from which commands deliver, lose, repeat and reorder.
 * Internal messages (to oneself, from and to storage threads) travel in the same list but only
 * delivery touches them: they never cross a network.
 */
#include "tests/conformance/cluster.h"

#include <string.h>

/* Which messages a command means. */
struct selection {
    uint64_t to;
    uint64_t from;
    uint64_t nth; /* of what is left, from 1; 0: all */
    uint8_t type;
    bool has_from;
    bool has_type;
    bool internal_too;
};

/* Places in the list, ascending. */
struct selected {
    size_t *places;
    size_t count;
};

static bool is_selected(const struct selection *selection, const struct rr_message *message)
{
    return message->to == selection->to &&
           (!selection->has_from || message->from == selection->from) &&
           (!selection->has_type || message->type == selection->type) &&
           (selection->internal_too || !message_is_internal(message));
}

static struct selected select_messages(struct cluster *cluster, const struct selection *selection)
{
    const struct mail *mail = &cluster->in_flight;
    struct selected selected = {scenario_array(cluster->memory, mail->count, sizeof(size_t)), 0};
    for (size_t i = 0; i < mail->count; i++)
        if (is_selected(selection, mail->items[i]))
            selected.places[selected.count++] = i;
    if (selection->nth == 0)
        return selected;
    if (selection->nth > selected.count)
        return (struct selected){NULL, 0};
    return (struct selected){selected.places + selection->nth - 1, 1};
}

/* Takes the selected messages out of the list, in order. */
static struct mail take_selected(struct cluster *cluster, const struct selection *selection)
{
    struct selected selected = select_messages(cluster, selection);
    struct mail taken = {0};
    for (size_t i = 0; i < selected.count; i++)
        mail_add(cluster->memory, &taken, mail_take(&cluster->in_flight, selected.places[i] - i));
    return taken;
}

static void describe_line(struct rr_text *out, const char *label, const struct rr_message *message)
{
    rr_text_string(out, label);
    rr_describe_message(out, message);
    rr_text_char(out, '\n');
}

static void deliver(struct member *member, const struct rr_message *message)
{
    struct rr_text *out = cluster_out(member->cluster);
    describe_line(out, "", message);
    int err = rr_raw_node_step(member->node, message);
    if (err < 0) {
        rr_text_string(out, rr_err_sentence(err));
        rr_text_char(out, '\n');
    }
}

/* ---- deliver-msgs -------------------------------------------------------- */

bool cluster_has_mail(const struct cluster *cluster, uint64_t id)
{
    for (size_t i = 0; i < cluster->in_flight.count; i++)
        if (cluster->in_flight.items[i]->to == id)
            return true;
    return false;
}

void cluster_deliver_all(struct cluster *cluster, struct member *member)
{
    struct selection all = {.to = member->id, .internal_too = true};
    struct mail taken = take_selected(cluster, &all);
    for (size_t i = 0; i < taken.count; i++)
        deliver(member, taken.items[i]);
}

struct recipient {
    uint64_t id;
    bool is_losing;
};

struct recipients {
    struct recipient *items;
    size_t count;
};

static enum outcome add_recipient(struct command *cmd, struct recipients *list, const char *id,
                                  bool is_losing)
{
    struct recipient *added = &list->items[list->count++];
    added->is_losing = is_losing;
    return command_u64(cmd, is_losing ? "drop" : "recipient", id, &added->id);
}

/* Recipients in the order of the arguments. Who loses first may receive what is left. */
static enum outcome parse_recipients(struct command *cmd, struct recipients *list)
{
    const struct dd_case *c = cmd->c;
    size_t most = 0;
    for (size_t i = 0; i < c->argument_count; i++)
        most += 1 + c->arguments[i].value_count;
    list->items = scenario_array(cmd->memory, most, sizeof(*list->items));
    enum outcome outcome = OUTCOME_OK;
    for (size_t i = 0; outcome == OUTCOME_OK && i < c->argument_count; i++) {
        const struct dd_argument *argument = &c->arguments[i];
        if (argument->is_positional)
            outcome = add_recipient(cmd, list, argument->key, false);
        for (size_t j = 0; strcmp(argument->key, "drop") == 0 && j < argument->value_count; j++)
            if (outcome == OUTCOME_OK)
                outcome = add_recipient(cmd, list, argument->values[j], true);
    }
    for (size_t i = 0; outcome == OUTCOME_OK && i < list->count; i++)
        for (size_t j = 0; j < i; j++)
            if (list->items[i].id == list->items[j].id && list->items[i].is_losing)
                return command_bad(cmd, "who was named before cannot lose");
    return outcome;
}

static enum outcome serve_recipient(struct cluster *cluster, struct command *cmd,
                                    const struct selection *selection, bool is_losing)
{
    struct mail taken = take_selected(cluster, selection);
    if (!is_losing && taken.count > 0 && (selection->to == 0 || selection->to > cluster->count))
        return command_bad(cmd, "there is no node %llu", (unsigned long long)selection->to);
    for (size_t i = 0; i < taken.count; i++) {
        if (is_losing)
            describe_line(cluster_out(cluster), "dropped: ", taken.items[i]);
        else
            deliver(cluster->members[selection->to - 1], taken.items[i]);
    }
    return OUTCOME_OK;
}

enum outcome run_deliver_msgs(struct cluster *cluster, struct command *cmd)
{
    const char *type = NULL;
    struct recipients recipients = {0};
    struct selection selection = {0};
    const struct option options[] = {{"type", OPTION_TEXT, &type}, {"drop", OPTION_LIST, NULL}};
    const struct command_shape shape = {options, RR_ARRAY_SIZE(options), 0, SIZE_MAX};
    enum outcome outcome = command_parse(cmd, &shape);
    if (outcome == OUTCOME_OK)
        outcome = parse_recipients(cmd, &recipients);
    selection.has_type = type != NULL;
    if (outcome == OUTCOME_OK && type)
        outcome = command_message_type(cmd, type, &selection.type);
    bool found = false;
    for (size_t i = 0; outcome == OUTCOME_OK && i < recipients.count; i++) {
        selection.to = recipients.items[i].id;
        selection.internal_too = !recipients.items[i].is_losing;
        found = found || select_messages(cluster, &selection).count > 0;
        outcome = serve_recipient(cluster, cmd, &selection, recipients.items[i].is_losing);
    }
    if (!found)
        rr_text_string(cluster_out(cluster), "no messages\n");
    return outcome;
}

/* ---- one recipient, narrowed --------------------------------------------- */

static enum outcome parse_selection(struct command *cmd, struct selection *selection)
{
    const char *from = NULL;
    const char *type = NULL;
    const char *nth = NULL;
    const struct option options[] = {
        {"from", OPTION_TEXT, &from}, {"type", OPTION_TEXT, &type}, {"nth", OPTION_TEXT, &nth}};
    const struct command_shape shape = {options, RR_ARRAY_SIZE(options), 1, 1};
    enum outcome outcome = command_parse(cmd, &shape);
    if (outcome == OUTCOME_OK)
        outcome = command_u64(cmd, "recipient", cmd->positionals[0], &selection->to);
    if (outcome == OUTCOME_OK && from)
        outcome = command_u64(cmd, "from", from, &selection->from);
    if (outcome == OUTCOME_OK && type)
        outcome = command_message_type(cmd, type, &selection->type);
    if (outcome == OUTCOME_OK && nth)
        outcome = command_u64(cmd, "nth", nth, &selection->nth);
    if (outcome == OUTCOME_OK && nth && selection->nth == 0)
        return command_bad(cmd, "nth counts from 1");
    selection->has_from = from != NULL;
    selection->has_type = type != NULL;
    return outcome;
}

static void say_if_none(struct cluster *cluster, size_t count)
{
    if (count == 0)
        rr_text_string(cluster_out(cluster), "no messages\n");
}

enum outcome run_drop_msgs(struct cluster *cluster, struct command *cmd)
{
    struct selection selection = {0};
    enum outcome outcome = parse_selection(cmd, &selection);
    if (outcome != OUTCOME_OK)
        return outcome;
    struct mail taken = take_selected(cluster, &selection);
    for (size_t i = 0; i < taken.count; i++)
        describe_line(cluster_out(cluster), "dropped: ", taken.items[i]);
    say_if_none(cluster, taken.count);
    return OUTCOME_OK;
}

enum outcome run_dup_msgs(struct cluster *cluster, struct command *cmd)
{
    struct selection selection = {0};
    enum outcome outcome = parse_selection(cmd, &selection);
    if (outcome != OUTCOME_OK)
        return outcome;
    struct selected selected = select_messages(cluster, &selection);
    for (size_t i = 0; i < selected.count; i++) {
        const struct rr_message *message = cluster->in_flight.items[selected.places[i]];
        mail_add(cluster->memory, &cluster->in_flight, message);
        describe_line(cluster_out(cluster), "duplicated: ", message);
    }
    say_if_none(cluster, selected.count);
    return OUTCOME_OK;
}

enum outcome run_reverse_msgs(struct cluster *cluster, struct command *cmd)
{
    struct selection selection = {0};
    enum outcome outcome = parse_selection(cmd, &selection);
    if (outcome != OUTCOME_OK)
        return outcome;
    struct selected selected = select_messages(cluster, &selection);
    const struct rr_message **items = cluster->in_flight.items;
    for (size_t i = 0, j = selected.count; i + 1 < j; i++) {
        j--;
        const struct rr_message *kept = items[selected.places[i]];
        items[selected.places[i]] = items[selected.places[j]];
        items[selected.places[j]] = kept;
    }
    if (selected.count > 0) {
        rr_text_field(cluster_out(cluster), "reversed ", selected.count);
        rr_text_string(cluster_out(cluster), " messages\n");
    }
    say_if_none(cluster, selected.count);
    return OUTCOME_OK;
}

enum outcome run_deliver_one(struct cluster *cluster, struct command *cmd)
{
    struct selection selection = {0};
    enum outcome outcome = parse_selection(cmd, &selection);
    if (outcome != OUTCOME_OK)
        return outcome;
    selection.internal_too = true;
    if (selection.nth == 0)
        selection.nth = 1;
    size_t count = select_messages(cluster, &selection).count;
    say_if_none(cluster, count);
    return count > 0 ? serve_recipient(cluster, cmd, &selection, false) : OUTCOME_OK;
}

/* ---- list-msgs ----------------------------------------------------------- */

static void describe_context(struct rr_text *out, const struct rr_message *message)
{
    static const char digits[] = "0123456789abcdef";
    if (message->context_size == 0)
        return;
    rr_text_string(out, " ctx=");
    for (uint32_t i = 0; i < message->context_size; i++) {
        rr_text_char(out, digits[message->context[i] >> 4]);
        rr_text_char(out, digits[message->context[i] & 0xf]);
    }
}

enum outcome run_list_msgs(struct cluster *cluster, struct command *cmd)
{
    const char *to = NULL;
    uint64_t id = 0;
    const struct option options[] = {{"to", OPTION_TEXT, &to}};
    const struct command_shape shape = {options, RR_ARRAY_SIZE(options), 0, 0};
    if (command_parse(cmd, &shape) != OUTCOME_OK ||
        (to && command_u64(cmd, "to", to, &id) != OUTCOME_OK))
        return OUTCOME_BAD;
    size_t count = 0;
    for (size_t i = 0; i < cluster->in_flight.count; i++) {
        const struct rr_message *message = cluster->in_flight.items[i];
        if (to && message->to != id)
            continue;
        rr_describe_message(cluster_out(cluster), message);
        describe_context(cluster_out(cluster), message);
        rr_text_char(cluster_out(cluster), '\n');
        count++;
    }
    say_if_none(cluster, count);
    return OUTCOME_OK;
}
