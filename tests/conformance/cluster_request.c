/* SPDX-License-Identifier: Apache-2.0
 *
 * Time and requests in cluster scenarios: one command, one call into one core.
 */
#include "tests/conformance/cluster.h"

#include <string.h>

static const struct command_shape one_node = {.least = 1, .most = 1};
static const struct command_shape node_and_value = {.least = 2, .most = 2};

/* The node, and the number behind it. */
static struct member *parse_node_and_number(struct cluster *cluster, struct command *cmd,
                                            const char *what, uint64_t *number)
{
    struct member *member = cluster_parse(cluster, cmd, &node_and_value);
    if (member && command_u64(cmd, what, cmd->positionals[1], number) != OUTCOME_OK)
        return NULL;
    return member;
}

/* ---- time ---------------------------------------------------------------- */

/* A mistyped number is refused before it takes for ever. */
enum { TICKS_MAX = 10 * 1000 * 1000 };

static enum outcome tick(struct command *cmd, struct member *member, uint64_t count)
{
    if (count > TICKS_MAX)
        return command_bad(cmd, "more than %d ticks", TICKS_MAX);
    for (uint64_t i = 0; i < count; i++)
        rr_raw_node_tick(member->node);
    return OUTCOME_OK;
}

enum outcome run_tick_election(struct cluster *cluster, struct command *cmd)
{
    struct member *member = cluster_parse(cluster, cmd, &one_node);
    return member ? tick(cmd, member, (uint64_t)member->config.election_tick) : OUTCOME_BAD;
}

enum outcome run_tick_heartbeat(struct cluster *cluster, struct command *cmd)
{
    struct member *member = cluster_parse(cluster, cmd, &one_node);
    return member ? tick(cmd, member, (uint64_t)member->config.heartbeat_tick) : OUTCOME_BAD;
}

enum outcome run_tick(struct cluster *cluster, struct command *cmd)
{
    uint64_t count;
    struct member *member = parse_node_and_number(cluster, cmd, "ticks", &count);
    return member ? tick(cmd, member, count) : OUTCOME_BAD;
}

/* The reference's TickQuiesced is deprecated and not part of our interface. */
enum outcome run_tick_quiesced(struct cluster *cluster, struct command *cmd)
{
    uint64_t count;
    struct member *member = parse_node_and_number(cluster, cmd, "ticks", &count);
    if (!member)
        return OUTCOME_BAD;
    if (count > INT32_MAX / 2)
        return command_bad(cmd, "too many ticks");
    member->node->raft.election_elapsed += (int32_t)count;
    return OUTCOME_OK;
}

enum outcome run_set_timeout(struct cluster *cluster, struct command *cmd)
{
    int32_t timeout = 0;
    const struct option options[] = {{"timeout", OPTION_I32, &timeout}};
    const struct command_shape shape = {options, RR_ARRAY_SIZE(options), 1, 1};
    struct member *member = cluster_parse(cluster, cmd, &shape);
    if (!member)
        return OUTCOME_BAD;
    if (timeout == 0)
        return command_bad(cmd, "timeout=T is missing, or zero");
    member->node->raft.randomized_election_timeout = timeout;
    return OUTCOME_OK;
}

enum outcome run_election_jitter(struct cluster *cluster, struct command *cmd)
{
    uint64_t jitter;
    const struct command_shape shape = {.least = 1, .most = 1};
    if (command_parse(cmd, &shape) != OUTCOME_OK ||
        command_u64(cmd, "jitter", cmd->positionals[0], &jitter) != OUTCOME_OK)
        return OUTCOME_BAD;
    bool fits = jitter < INT32_MAX;
    for (size_t i = 0; i < cluster->count; i++)
        fits = fits && jitter < (uint64_t)cluster->members[i]->config.election_tick;
    if (!fits)
        return command_bad(cmd, "the election jitter must be less than every election-tick");
    cluster->jitter = (uint32_t)jitter;
    return OUTCOME_OK;
}

/* ---- elections ----------------------------------------------------------- */

enum outcome run_campaign(struct cluster *cluster, struct command *cmd)
{
    struct member *member = cluster_parse(cluster, cmd, &one_node);
    return member ? cluster_result(cmd, rr_raw_node_campaign(member->node)) : OUTCOME_BAD;
}

enum outcome run_transfer_leadership(struct cluster *cluster, struct command *cmd)
{
    const char *from = NULL;
    uint64_t to = 0;
    const struct option options[] = {{"from", OPTION_TEXT, &from}, {"to", OPTION_U64, &to}};
    const struct command_shape shape = {options, RR_ARRAY_SIZE(options), 0, 0};
    if (command_parse(cmd, &shape) != OUTCOME_OK)
        return OUTCOME_BAD;
    if (!from || to == 0)
        return command_bad(cmd, "transfer-leadership needs from=A and to=B");
    struct member *member = cluster_find(cluster, cmd, from);
    if (!member)
        return OUTCOME_BAD;
    rr_raw_node_transfer_leader(member->node, to);
    return OUTCOME_OK;
}

enum outcome run_forget_leader(struct cluster *cluster, struct command *cmd)
{
    struct member *member = cluster_parse(cluster, cmd, &one_node);
    if (!member)
        return OUTCOME_BAD;
    (void)rr_raw_node_forget_leader(member->node); /* the language ignores the error */
    return OUTCOME_OK;
}

/* ---- proposals and reads ------------------------------------------------- */

enum outcome run_propose(struct cluster *cluster, struct command *cmd)
{
    struct member *member = cluster_parse(cluster, cmd, &node_and_value);
    if (!member)
        return OUTCOME_BAD;
    const char *data = cmd->positionals[1];
    return cluster_result(cmd, rr_raw_node_propose(member->node, (const uint8_t *)data,
                                                   (uint32_t)strlen(data), NULL));
}

enum outcome run_propose_size(struct cluster *cluster, struct command *cmd)
{
    enum { SIZE_LIMIT = 64 * 1024 * 1024 };
    const char *fill = "x";
    uint64_t count;
    const struct option options[] = {{"fill", OPTION_TEXT, &fill}};
    const struct command_shape shape = {options, RR_ARRAY_SIZE(options), 2, 2};
    struct member *member = cluster_parse(cluster, cmd, &shape);
    if (!member || command_u64(cmd, "size", cmd->positionals[1], &count) != OUTCOME_OK)
        return OUTCOME_BAD;
    size_t width = strlen(fill);
    if (width == 0 || width > 4 || count > SIZE_LIMIT)
        return command_bad(cmd, "propose-size wants one character and at most 64 Mi of it");
    uint8_t *data = scenario_array(cmd->memory, count, width);
    for (uint64_t i = 0; i < count; i++)
        memcpy(data + i * width, fill, width);
    return cluster_result(cmd,
                          rr_raw_node_propose(member->node, data, (uint32_t)(count * width), NULL));
}

static enum outcome parse_transition(struct command *cmd, const char *name, uint8_t *transition)
{
    static const char *const names[] = {"auto", "implicit", "explicit"};
    for (uint8_t i = 0; i < RR_ARRAY_SIZE(names); i++) {
        if (strcmp(names[i], name) == 0) {
            *transition = i;
            return OUTCOME_OK;
        }
    }
    return command_bad(cmd, "transition: '%s' is not one of auto, implicit, explicit", name);
}

enum outcome run_propose_conf_change(struct cluster *cluster, struct command *cmd)
{
    bool is_v1 = false;
    const char *transition = "auto";
    struct conf_ops ops;
    struct rr_conf_change_v2 v2 = {.has_transition = true};
    const struct option options[] = {{"v1", OPTION_BOOL, &is_v1},
                                     {"transition", OPTION_TEXT, &transition}};
    const struct command_shape shape = {options, RR_ARRAY_SIZE(options), 1, 1};
    struct member *member = cluster_parse(cluster, cmd, &shape);
    if (!member || parse_transition(cmd, transition, &v2.transition) != OUTCOME_OK ||
        command_conf_ops(cmd, cmd->c->input, ' ', &ops) != OUTCOME_OK)
        return OUTCOME_BAD;
    if (!is_v1) {
        v2.changes = ops.changes;
        v2.change_count = ops.count;
        return cluster_result(cmd, rr_raw_node_propose_conf_change_v2(member->node, &v2));
    }
    if (ops.count != 1 || v2.transition != RR_CONF_CHANGE_TRANSITION_AUTO)
        return command_failed(cmd, "v1 conf change can only have one operation and no transition");
    struct rr_conf_change v1 = {.type = ops.changes[0].type, .node_id = ops.changes[0].node_id};
    return cluster_result(cmd, rr_raw_node_propose_conf_change(member->node, &v1));
}

enum outcome run_read_index(struct cluster *cluster, struct command *cmd)
{
    struct member *member = cluster_parse(cluster, cmd, &node_and_value);
    if (!member)
        return OUTCOME_BAD;
    const char *context = cmd->positionals[1];
    rr_raw_node_read_index(member->node, (const uint8_t *)context, (uint32_t)strlen(context));
    return OUTCOME_OK;
}

/* ---- reports ------------------------------------------------------------- */

enum outcome run_report_unreachable(struct cluster *cluster, struct command *cmd)
{
    uint64_t peer;
    const struct command_shape any = {.least = 0, .most = SIZE_MAX};
    if (command_parse(cmd, &any) != OUTCOME_OK)
        return OUTCOME_BAD;
    if (cmd->positional_count != 2)
        return command_failed(cmd, "must specify exactly two node indexes: node on which to "
                                   "report, and reported node");
    struct member *member = parse_node_and_number(cluster, cmd, "reported node", &peer);
    if (!member)
        return OUTCOME_BAD;
    rr_raw_node_report_unreachable(member->node, peer);
    return OUTCOME_OK;
}

enum outcome run_report_snapshot(struct cluster *cluster, struct command *cmd)
{
    static const char *const results[] = {"finish", "failure", NULL};
    uint64_t peer;
    const struct command_shape shape = {.least = 3, .most = 3};
    struct member *member = cluster_parse(cluster, cmd, &shape);
    if (!member || command_u64(cmd, "reported node", cmd->positionals[1], &peer) != OUTCOME_OK)
        return OUTCOME_BAD;
    const char *result = cmd->positionals[2];
    if (!name_is_in(result, results))
        return command_bad(cmd, "'%s' is not one of finish, failure", result);
    rr_raw_node_report_snapshot(member->node, peer, strcmp(result, "failure") == 0);
    return OUTCOME_OK;
}
