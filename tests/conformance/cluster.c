/* SPDX-License-Identifier: Apache-2.0
 *
 * The cluster dialect: which command is run by what, where output goes, and the log lines of the
 * cores between it.
 */
#include "tests/conformance/cluster.h"

#include <string.h>
#include <strings.h>

/* ---- output -------------------------------------------------------------- */

static const char *const level_names[] = {"DEBUG", "INFO", "WARN", "ERROR", "FATAL", "NONE"};

_Static_assert(RR_ARRAY_SIZE(level_names) == LEVEL_NONE + 1, "a name for each level");

struct rr_text *cluster_out(struct cluster *cluster)
{
    return cluster->level == LEVEL_NONE ? &cluster->discard : cluster->output;
}

void cluster_log(void *ctx, const struct rr_log_event *event)
{
    struct cluster *cluster = ctx;
    if (event->level < cluster->level)
        return;
    struct rr_text *out = cluster_out(cluster);
    rr_text_string(out, rr_describe_log_level(event->level));
    rr_text_char(out, ' ');
    rr_describe_log_event(out, event);
    rr_text_char(out, '\n');
}

enum outcome cluster_set_level(struct cluster *cluster, struct command *cmd, const char *name)
{
    for (uint8_t level = 0; level < RR_ARRAY_SIZE(level_names); level++) {
        if (strcasecmp(level_names[level], name) == 0) {
            cluster->level = level;
            return OUTCOME_OK;
        }
    }
    return command_failed(cmd, "log levels must be either of [DEBUG INFO WARN ERROR FATAL NONE]");
}

void nested_begin(struct cluster *cluster, struct nested_output *nested)
{
    *nested = (struct nested_output){.inner = {.grow = heap_text_grow}, .outer = cluster->output};
    cluster->output = &nested->inner;
}

void nested_end(struct cluster *cluster, struct nested_output *nested)
{
    const char *at = nested->inner.bytes;
    size_t left = nested->inner.size;
    while (left > 0) {
        const char *newline = memchr(at, '\n', left);
        size_t size = newline ? (size_t)(newline - at) : left;
        rr_text_string(nested->outer, "  ");
        rr_text_bytes(nested->outer, at, size);
        rr_text_char(nested->outer, '\n');
        size_t step = newline ? size + 1 : size;
        at += step;
        left -= step;
    }
    cluster->output = nested->outer;
    heap_text_free(&nested->inner);
}

/* ---- helpers of all handlers --------------------------------------------- */

struct member *cluster_find(struct cluster *cluster, struct command *cmd, const char *id)
{
    uint64_t number;
    if (command_u64(cmd, "node", id, &number) != OUTCOME_OK)
        return NULL;
    if (number == 0 || number > cluster->count) {
        command_bad(cmd, "there is no node %s", id);
        return NULL;
    }
    return cluster->members[number - 1];
}

struct member *cluster_parse(struct cluster *cluster, struct command *cmd,
                             const struct command_shape *shape)
{
    RR_ASSERT(shape->least >= 1);
    return command_parse(cmd, shape) == OUTCOME_OK ? cluster_find(cluster, cmd, cmd->positionals[0])
                                                   : NULL;
}

enum outcome cluster_result(struct command *cmd, int err)
{
    return err == 0 ? OUTCOME_OK : command_failed(cmd, rr_err_sentence(err));
}

void mail_add(struct scenario_memory *memory, struct mail *mail, const struct rr_message *message)
{
    if (mail->count == mail->cap) {
        size_t cap = mail->cap ? 2 * mail->cap : 64;
        const struct rr_message **larger = scenario_array(memory, cap, sizeof(*larger));
        if (mail->count > 0)
            memcpy(larger, mail->items, mail->count * sizeof(*larger));
        mail->items = larger;
        mail->cap = cap;
    }
    mail->items[mail->count++] = message;
}

const struct rr_message *mail_take(struct mail *mail, size_t at)
{
    RR_ASSERT(at < mail->count);
    const struct rr_message *message = mail->items[at];
    mail->count--;
    memmove(&mail->items[at], &mail->items[at + 1], (mail->count - at) * sizeof(*mail->items));
    return message;
}

static bool is_thread(uint64_t id)
{
    return id == RR_LOCAL_APPEND_THREAD || id == RR_LOCAL_APPLY_THREAD;
}

bool message_is_internal(const struct rr_message *message)
{
    return message->from == message->to || is_thread(message->from) || is_thread(message->to);
}

/* ---- commands ------------------------------------------------------------ */

static enum outcome run_log_level(struct cluster *cluster, struct command *cmd)
{
    enum outcome outcome = command_parse(cmd, &(struct command_shape){.least = 1, .most = 1});
    return outcome == OUTCOME_OK ? cluster_set_level(cluster, cmd, cmd->positionals[0]) : outcome;
}

static enum outcome run_breakpoint(struct cluster *cluster, struct command *cmd)
{
    (void)cluster;
    return command_parse(cmd, &(struct command_shape){0});
}

struct cluster_command {
    const char *name;
    cluster_handler run;
};

static const struct cluster_command commands[] = {
    {"_breakpoint", run_breakpoint},
    {"add-nodes", run_add_nodes},
    {"begin-ready", run_begin_ready},
    {"bootstrap", run_bootstrap},
    {"campaign", run_campaign},
    {"compact", run_compact},
    {"deliver-msgs", run_deliver_msgs},
    {"deliver-one", run_deliver_one},
    {"describe", run_describe},
    {"drop-msgs", run_drop_msgs},
    {"dup-msgs", run_dup_msgs},
    {"election-jitter", run_election_jitter},
    {"end-ready", run_end_ready},
    {"forget-leader", run_forget_leader},
    {"list-msgs", run_list_msgs},
    {"log-level", run_log_level},
    {"process-append-thread", run_process_append_thread},
    {"process-apply-thread", run_process_apply_thread},
    {"process-ready", run_process_ready},
    {"propose", run_propose},
    {"propose-batch", run_propose_batch},
    {"propose-conf-change", run_propose_conf_change},
    {"propose-size", run_propose_size},
    {"raft-log", run_raft_log},
    {"raft-state", run_raft_state},
    {"read-index", run_read_index},
    {"report-snapshot", run_report_snapshot},
    {"report-unreachable", run_report_unreachable},
    {"restart", run_restart},
    {"reverse-msgs", run_reverse_msgs},
    {"send-snapshot", run_send_snapshot},
    {"set-randomized-election-timeout", run_set_timeout},
    {"stabilize", run_stabilize},
    {"status", run_status},
    {"step", run_step},
    {"storage-fault", run_storage_fault},
    {"tick", run_tick},
    {"tick-election", run_tick_election},
    {"tick-heartbeat", run_tick_heartbeat},
    {"tick-quiesced", run_tick_quiesced},
    {"transfer-leadership", run_transfer_leadership},
};

static cluster_handler find_handler(const char *name)
{
    for (size_t i = 0; i < RR_ARRAY_SIZE(commands); i++)
        if (strcmp(commands[i].name, name) == 0)
            return commands[i].run;
    return NULL;
}

static bool cluster_owns(const char *name)
{
    return find_handler(name) != NULL;
}

static void *cluster_open(struct scenario_memory *memory)
{
    struct cluster *cluster = scenario_alloc(memory, sizeof(*cluster));
    cluster->memory = memory;
    return cluster;
}

static enum outcome cluster_run(void *state, struct command *cmd, struct rr_text *output)
{
    struct cluster *cluster = state;
    cluster_handler run = find_handler(cmd->c->command);
    if (!run)
        return command_bad(cmd, "unknown command '%s'", cmd->c->command);
    cluster->output = output;
    enum outcome outcome = run(cluster, cmd);
    RR_ASSERT(cluster->output == output);
    if (outcome == OUTCOME_BAD)
        return outcome;
    if (outcome == OUTCOME_FAILED) {
        if (cluster->level == LEVEL_NONE)
            output->size = 0;
        rr_text_string(output, cmd->reason);
    }
    if (output->size == 0)
        rr_text_string(output, "ok");
    return OUTCOME_OK;
}

static void cluster_close(void *state)
{
    struct cluster *cluster = state;
    for (size_t i = 0; i < cluster->count; i++)
        member_free(cluster->members[i]);
}

const struct dialect cluster_dialect = {cluster_owns, cluster_open, cluster_run, cluster_close};
