/* SPDX-License-Identifier: Apache-2.0
 *
 * Readys and storage threads of cluster scenarios: the work that a program around a core does, one
 * piece at a time, and `stabilize`, which does all of it until nothing is left.
 */
#include "tests/conformance/cluster.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- one Ready ----------------------------------------------------------- */

/* What outlives the next call into the core. */
struct kept_ready {
    struct storing storing;
    struct entry_list committed;
    struct mail messages;
};

/* Takes and accepts a Ready and prints it. */
static struct kept_ready take_ready(struct member *member)
{
    struct scenario_memory *memory = member->cluster->memory;
    struct rr_ready ready;
    rr_raw_node_ready(member->node, &ready);
    rr_describe_ready(cluster_out(member->cluster), &ready);
    struct kept_ready kept = {
        .storing.entries = copy_entries(memory, ready.entries, ready.entry_count),
        .committed = copy_entries(memory, ready.committed_entries, ready.committed_entry_count),
    };
    if (ready.hard_state)
        kept.storing.hard_state = *ready.hard_state;
    if (ready.snapshot)
        kept.storing.snapshot = copy_snapshot(memory, ready.snapshot);
    for (uint32_t i = 0; i < ready.message_count; i++)
        mail_add(memory, &kept.messages, copy_message(memory, &ready.messages[i]));
    return kept;
}

/* Onto the list, or onto the queue of a storage thread. */
static void send_all(struct member *member, const struct mail *messages)
{
    struct cluster *cluster = member->cluster;
    for (size_t i = 0; i < messages->count; i++) {
        const struct rr_message *message = messages->items[i];
        struct mail *queue = message->to == RR_LOCAL_APPEND_THREAD  ? &member->append_work
                             : message->to == RR_LOCAL_APPLY_THREAD ? &member->apply_work
                                                                    : &cluster->in_flight;
        mail_add(cluster->memory, queue, message);
    }
}

static enum outcome process_ready(struct member *member, struct command *cmd)
{
    bool is_async = member->config.async_storage_writes;
    struct kept_ready kept = take_ready(member);
    enum outcome outcome = OUTCOME_OK;
    if (!is_async)
        outcome = member_store(member, cmd, &kept.storing);
    if (!is_async && outcome == OUTCOME_OK)
        outcome = member_apply(member, cmd, kept.committed);
    if (outcome != OUTCOME_OK)
        return outcome;
    send_all(member, &kept.messages);
    if (!is_async)
        rr_raw_node_advance(member->node);
    return OUTCOME_OK;
}

/* ---- one piece of a storage thread's work -------------------------------- */

static void describe_line(struct cluster *cluster, const struct rr_message *message)
{
    rr_describe_message(cluster_out(cluster), message);
    rr_text_char(cluster_out(cluster), '\n');
}

/* Prints the work without its responses. */
static void announce_work(struct cluster *cluster, const struct rr_message *work)
{
    struct rr_message bare = *work;
    bare.response_count = 0;
    rr_text_string(cluster_out(cluster), "Processing:\n");
    describe_line(cluster, &bare);
}

static void send_responses(struct cluster *cluster, const struct rr_message *work)
{
    rr_text_string(cluster_out(cluster), "Responses:\n");
    for (uint32_t i = 0; i < work->response_count; i++) {
        describe_line(cluster, &work->responses[i]);
        mail_add(cluster->memory, &cluster->in_flight, &work->responses[i]);
    }
}

static enum outcome process_append(struct member *member, struct command *cmd)
{
    struct cluster *cluster = member->cluster;
    if (member->append_work.count == 0) {
        rr_text_string(cluster_out(cluster), "no append work to perform");
        return OUTCOME_OK;
    }
    const struct rr_message *work = mail_take(&member->append_work, 0);
    announce_work(cluster, work);
    const struct storing storing = {
        .hard_state = {.term = work->term, .vote = work->vote, .commit = work->commit},
        .snapshot = work->snapshot,
        .entries = {work->entries, work->entry_count},
    };
    enum outcome outcome = member_store(member, cmd, &storing);
    if (outcome == OUTCOME_OK)
        send_responses(cluster, work);
    return outcome;
}

static enum outcome process_apply(struct member *member, struct command *cmd)
{
    struct cluster *cluster = member->cluster;
    if (member->apply_work.count == 0) {
        rr_text_string(cluster_out(cluster), "no apply work to perform");
        return OUTCOME_OK;
    }
    const struct rr_message *work = mail_take(&member->apply_work, 0);
    announce_work(cluster, work);
    struct entry_list entries = {work->entries, work->entry_count};
    enum outcome outcome = member_apply(member, cmd, entries);
    if (outcome == OUTCOME_OK)
        send_responses(cluster, work);
    return outcome;
}

/* ---- the commands -------------------------------------------------------- */

/* What is done to a node, and what it is called. */
struct work {
    enum outcome (*run)(struct member *member, struct command *cmd);
    const char *name;
};

static const struct work ready_work = {process_ready, "handling Ready"};
static const struct work append_work = {process_append, "processing append thread"};
static const struct work apply_work = {process_apply, "processing apply thread"};

static void announce(struct member *member, const char *what)
{
    struct rr_text *out = cluster_out(member->cluster);
    rr_text_field(out, "> ", member->id);
    rr_text_char(out, ' ');
    rr_text_string(out, what);
    rr_text_char(out, '\n');
}

static enum outcome run_nested(struct member *member, struct command *cmd, const struct work *work)
{
    struct nested_output nested;
    nested_begin(member->cluster, &nested);
    enum outcome outcome = work->run(member, cmd);
    nested_end(member->cluster, &nested);
    return outcome;
}

struct members {
    struct member **items;
    size_t count;
};

static enum outcome find_members(struct cluster *cluster, struct command *cmd, struct members *out)
{
    *out = (struct members){scenario_array(cmd->memory, cmd->positional_count, sizeof(void *)), 0};
    for (size_t i = 0; i < cmd->positional_count; i++) {
        struct member *member = cluster_find(cluster, cmd, cmd->positionals[i]);
        if (!member)
            return OUTCOME_BAD;
        out->items[out->count++] = member;
    }
    return OUTCOME_OK;
}

static enum outcome fail_for(struct command *cmd, const struct member *member, const char *problem)
{
    char text[100];
    snprintf(text, sizeof(text), "node %" PRIu64 " has %s", member->id, problem);
    return command_failed(cmd, text);
}

static enum outcome refuse_open_ready(struct command *cmd, const struct members *members)
{
    for (size_t i = 0; i < members->count; i++)
        if (members->items[i]->has_open_ready)
            return fail_for(cmd, members->items[i], "an open Ready");
    return OUTCOME_OK;
}

static enum outcome run_work(struct cluster *cluster, struct command *cmd, const struct work *work)
{
    struct members members;
    const struct command_shape shape = {.least = 0, .most = SIZE_MAX};
    enum outcome outcome = command_parse(cmd, &shape);
    if (outcome == OUTCOME_OK)
        outcome = find_members(cluster, cmd, &members);
    if (outcome == OUTCOME_OK && work->run == process_ready)
        outcome = refuse_open_ready(cmd, &members);
    if (outcome == OUTCOME_OK && members.count == 1)
        return work->run(members.items[0], cmd);
    for (size_t i = 0; outcome == OUTCOME_OK && i < members.count; i++) {
        announce(members.items[i], work->name);
        outcome = run_nested(members.items[i], cmd, work);
    }
    return outcome;
}

enum outcome run_process_ready(struct cluster *cluster, struct command *cmd)
{
    return run_work(cluster, cmd, &ready_work);
}

enum outcome run_process_append_thread(struct cluster *cluster, struct command *cmd)
{
    return run_work(cluster, cmd, &append_work);
}

enum outcome run_process_apply_thread(struct cluster *cluster, struct command *cmd)
{
    return run_work(cluster, cmd, &apply_work);
}

/* ---- the halves of a Ready ----------------------------------------------- */

static const struct command_shape one_node = {.least = 1, .most = 1};

enum outcome run_begin_ready(struct cluster *cluster, struct command *cmd)
{
    struct member *member = cluster_parse(cluster, cmd, &one_node);
    if (!member)
        return OUTCOME_BAD;
    if (member->config.async_storage_writes)
        return command_failed(cmd, "begin-ready needs a node without async-storage-writes");
    if (member->has_open_ready)
        return fail_for(cmd, member, "an open Ready");
    struct kept_ready kept = take_ready(member);
    kept.storing.both_allowed = true;
    enum outcome outcome = member_store(member, cmd, &kept.storing);
    if (outcome != OUTCOME_OK)
        return outcome;
    send_all(member, &kept.messages);
    member->open_entries = kept.committed;
    member->has_open_ready = true;
    return OUTCOME_OK;
}

enum outcome run_end_ready(struct cluster *cluster, struct command *cmd)
{
    struct member *member = cluster_parse(cluster, cmd, &one_node);
    if (!member)
        return OUTCOME_BAD;
    if (!member->has_open_ready)
        return fail_for(cmd, member, "no open Ready");
    enum outcome outcome = member_apply(member, cmd, member->open_entries);
    if (outcome != OUTCOME_OK)
        return outcome;
    rr_raw_node_advance(member->node);
    member->has_open_ready = false;
    return OUTCOME_OK;
}

/* ---- stabilize ----------------------------------------------------------- */

static enum outcome stabilize_readys(const struct members *members, struct command *cmd,
                                     bool *progressed)
{
    for (size_t i = 0; i < members->count; i++) {
        struct member *member = members->items[i];
        if (!rr_raw_node_has_ready(member->node))
            continue;
        *progressed = true;
        announce(member, ready_work.name);
        enum outcome outcome = run_nested(member, cmd, &ready_work);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
    return OUTCOME_OK;
}

static void stabilize_mail(const struct members *members, bool *progressed)
{
    for (size_t i = 0; i < members->count; i++) {
        struct member *member = members->items[i];
        if (!cluster_has_mail(member->cluster, member->id))
            continue;
        struct nested_output nested;
        *progressed = true;
        announce(member, "receiving messages");
        nested_begin(member->cluster, &nested);
        cluster_deliver_all(member->cluster, member);
        nested_end(member->cluster, &nested);
    }
}

static enum outcome stabilize_thread(const struct members *members, struct command *cmd,
                                     const struct work *work, bool *progressed)
{
    for (size_t i = 0; i < members->count; i++) {
        struct member *member = members->items[i];
        const struct mail *queue =
            work == &append_work ? &member->append_work : &member->apply_work;
        if (queue->count == 0)
            continue;
        *progressed = true;
        announce(member, work->name);
        while (queue->count > 0) {
            enum outcome outcome = run_nested(member, cmd, work);
            if (outcome != OUTCOME_OK)
                return outcome;
        }
    }
    return OUTCOME_OK;
}

static enum outcome stabilize(const struct members *members, struct command *cmd)
{
    enum outcome outcome = OUTCOME_OK;
    bool progressed = true;
    while (outcome == OUTCOME_OK && progressed) {
        progressed = false;
        outcome = stabilize_readys(members, cmd, &progressed);
        if (outcome == OUTCOME_OK)
            stabilize_mail(members, &progressed);
        if (outcome == OUTCOME_OK)
            outcome = stabilize_thread(members, cmd, &append_work, &progressed);
        if (outcome == OUTCOME_OK)
            outcome = stabilize_thread(members, cmd, &apply_work, &progressed);
    }
    return outcome;
}

enum outcome run_stabilize(struct cluster *cluster, struct command *cmd)
{
    const char *level = NULL;
    struct members members;
    uint8_t outer_level = cluster->level;
    const struct option options[] = {{"log-level", OPTION_TEXT, &level}};
    const struct command_shape shape = {options, RR_ARRAY_SIZE(options), 0, SIZE_MAX};
    enum outcome outcome = command_parse(cmd, &shape);
    if (outcome == OUTCOME_OK)
        outcome = find_members(cluster, cmd, &members);
    if (outcome == OUTCOME_OK && members.count == 0)
        members = (struct members){cluster->members, cluster->count};
    if (outcome == OUTCOME_OK)
        outcome = refuse_open_ready(cmd, &members);
    if (outcome == OUTCOME_OK && level)
        outcome = cluster_set_level(cluster, cmd, level);
    if (outcome == OUTCOME_OK)
        outcome = stabilize(&members, cmd);
    cluster->level = outer_level;
    return outcome;
}
