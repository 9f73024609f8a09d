/* SPDX-License-Identifier: Apache-2.0
 *
 * Nodes of a cluster scenario: creation from one shared start snapshot, bootstrap, crash and
 * restart, storage faults, compaction.
 */
#include "tests/conformance/cluster.h"

#include "tests/conformance/heap_allocator.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- creation ------------------------------------------------------------ */

/* A mistyped number is refused before it takes all memory. */
enum { NODES_MAX = 1000 };

struct start {
    struct rr_config config; /* for all nodes, but for what differs between them */
    const struct rr_snapshot *snapshot;
    bool has_snapshot;
};

static uint32_t draw_jitter(void *ctx, uint32_t bound)
{
    struct cluster *cluster = ctx;
    RR_ASSERT(cluster->jitter < bound);
    return cluster->jitter;
}

/* The core asks nothing of entries without a block: they are scenario memory. */
static struct rr_config default_config(struct cluster *cluster)
{
    return (struct rr_config){
        .size = sizeof(struct rr_config),
        .election_tick = 3,
        .heartbeat_tick = 1,
        .max_size_per_msg = UINT64_MAX,
        .max_inflight_msgs = INT32_MAX,
        .allocator = heap_allocator,
        .jitter = draw_jitter,
        .jitter_ctx = cluster,
        .log = cluster_log,
        .log_ctx = cluster,
        .log_level = RR_LOG_DEBUG,
    };
}

static enum outcome set_read_only(struct command *cmd, const char *name, struct rr_config *config)
{
    if (strcmp(name, "safe") == 0) {
        config->read_only_option = RR_READ_ONLY_SAFE;
    } else if (strcmp(name, "lease-based") == 0) {
        config->read_only_option = RR_READ_ONLY_LEASE_BASED;
    } else {
        char text[200];
        snprintf(text, sizeof(text), "invalid read-only option \"%s\"", name);
        return command_failed(cmd, text);
    }
    return OUTCOME_OK;
}

static const struct rr_snapshot *start_snapshot(struct command *cmd, const struct id_list *voters,
                                                const struct id_list *learners, uint64_t index)
{
    struct rr_snapshot *snapshot = scenario_alloc(cmd->memory, sizeof(*snapshot));
    snapshot->metadata.index = index;
    snapshot->metadata.term = index > 0 ? 1 : 0;
    snapshot->metadata.conf_state = (struct rr_conf_state){
        .voters = voters->ids,
        .voter_count = voters->count,
        .learners = learners->ids,
        .learner_count = learners->count,
        .has_auto_leave = true,
    };
    return snapshot;
}

static enum outcome parse_start(struct cluster *cluster, struct command *cmd, struct start *start)
{
    struct rr_config *config = &start->config;
    struct id_list voters = {0};
    struct id_list learners = {0};
    uint64_t index = 0;
    const char *applied = NULL;
    const char *read_only = "safe";
    *config = default_config(cluster);
    const struct option options[] = {
        {"voters", OPTION_IDS, &voters},
        {"learners", OPTION_IDS, &learners},
        {"index", OPTION_U64, &index},
        {"applied", OPTION_TEXT, &applied},
        {"inflight", OPTION_I32, &config->max_inflight_msgs},
        {"max-inflight", OPTION_I32, &config->max_inflight_msgs},
        {"async-storage-writes", OPTION_BOOL, &config->async_storage_writes},
        {"prevote", OPTION_BOOL, &config->pre_vote},
        {"checkquorum", OPTION_BOOL, &config->check_quorum},
        {"disable-conf-change-validation", OPTION_BOOL, &config->disable_conf_change_validation},
        {"step-down-on-removal", OPTION_BOOL, &config->step_down_on_removal},
        {"disable-proposal-forwarding", OPTION_BOOL, &config->disable_proposal_forwarding},
        {"max-committed-size-per-ready", OPTION_U64, &config->max_committed_size_per_ready},
        {"read-only", OPTION_TEXT, &read_only},
        {"election-tick", OPTION_I32, &config->election_tick},
        {"heartbeat-tick", OPTION_I32, &config->heartbeat_tick},
        {"max-size-per-msg", OPTION_U64, &config->max_size_per_msg},
        {"max-inflight-bytes", OPTION_U64, &config->max_inflight_bytes},
        {"max-uncommitted-size", OPTION_U64, &config->max_uncommitted_entries_size},
    };
    const struct command_shape shape = {options, RR_ARRAY_SIZE(options), 1, 1};
    enum outcome outcome = command_parse(cmd, &shape);
    if (outcome == OUTCOME_OK)
        outcome = set_read_only(cmd, read_only, config);
    config->applied = index;
    if (outcome == OUTCOME_OK && applied)
        outcome = command_u64(cmd, "applied", applied, &config->applied);
    start->has_snapshot = index > 0 || voters.count > 0 || learners.count > 0;
    start->snapshot = start_snapshot(cmd, &voters, &learners, index);
    return outcome;
}

/* Makes the core on what is stored; its log lines are the command's output. */
static enum outcome start_core(struct member *member, struct command *cmd)
{
    const char *reason = NULL;
    if (member->cluster->jitter >= (uint32_t)member->config.election_tick)
        return command_bad(cmd, "the election jitter must be less than every election-tick");
    int err = rr_raw_node_new(&member->config, &member->node, &reason);
    if (err < 0)
        return command_bad(cmd, "node %" PRIu64 ": %s", member->id,
                           reason ? reason : rr_err_sentence(err));
    return OUTCOME_OK;
}

static enum outcome add_member(struct cluster *cluster, struct command *cmd,
                               const struct start *start)
{
    struct member *member = scenario_alloc(cmd->memory, sizeof(*member));
    member->cluster = cluster;
    member->id = cluster->count + 1;
    member->storage = rr_memory_storage_new(&start->config.allocator);
    RR_ASSERT(member->storage != NULL);
    struct member **members = scenario_array(cmd->memory, member->id, sizeof(*members));
    if (cluster->count > 0)
        memcpy(members, cluster->members, cluster->count * sizeof(*members));
    members[cluster->count++] = member;
    cluster->members = members;

    member->stored = rr_memory_storage_interface(member->storage);
    member->conf_state = start->snapshot->metadata.conf_state;
    member->config = start->config;
    member->config.id = member->id;
    member->config.storage = member_storage(member);
    member_add_history(member, start->snapshot);
    if (start->has_snapshot) {
        int err = rr_memory_storage_apply_snapshot(member->storage, start->snapshot);
        if (err < 0)
            return command_bad(cmd, "start snapshot: %s", rr_err_sentence(err));
    }
    return start_core(member, cmd);
}

enum outcome run_add_nodes(struct cluster *cluster, struct command *cmd)
{
    struct start start;
    uint64_t count = 0;
    enum outcome outcome = parse_start(cluster, cmd, &start);
    if (outcome == OUTCOME_OK)
        outcome = command_u64(cmd, "number of nodes", cmd->positionals[0], &count);
    if (outcome == OUTCOME_OK && count > NODES_MAX - rr_min_u64(cluster->count, NODES_MAX))
        return command_bad(cmd, "more than %d nodes", NODES_MAX);
    if (outcome == OUTCOME_OK && start.has_snapshot && start.snapshot->metadata.index <= 1)
        outcome = command_failed(cmd, "index must be specified as > 1 due to bootstrap");
    for (uint64_t i = 0; outcome == OUTCOME_OK && i < count; i++)
        outcome = add_member(cluster, cmd, &start);
    return outcome;
}

void member_free(struct member *member)
{
    if (member->node)
        rr_raw_node_free(member->node);
    rr_memory_storage_free(member->storage);
}

enum outcome run_bootstrap(struct cluster *cluster, struct command *cmd)
{
    struct id_list ids = {0};
    const struct option options[] = {{"peers", OPTION_IDS, &ids}};
    const struct command_shape shape = {options, RR_ARRAY_SIZE(options), 1, 1};
    struct member *member = cluster_parse(cluster, cmd, &shape);
    if (!member)
        return OUTCOME_BAD;
    struct rr_peer *peers = scenario_array(cmd->memory, ids.count, sizeof(*peers));
    for (uint32_t i = 0; i < ids.count; i++)
        peers[i].id = ids.ids[i];
    const char *reason = NULL;
    int err = rr_raw_node_bootstrap(member->node, peers, ids.count, &reason);
    return err < 0 && reason ? command_failed(cmd, reason) : cluster_result(cmd, err);
}

/* ---- crash and restart --------------------------------------------------- */

/* What lived in the node's memory: internal messages to it, queued work, an open Ready. */
static void forget_volatile(struct member *member)
{
    struct mail *mail = &member->cluster->in_flight;
    for (size_t i = mail->count; i-- > 0;)
        if (mail->items[i]->to == member->id && message_is_internal(mail->items[i]))
            mail_take(mail, i);
    member->append_work.count = 0;
    member->apply_work.count = 0;
    member->has_open_ready = false;
}

/* The state machine falls back to its last state at or below `index`, or to its first. */
static void forget_states_after(struct member *member, uint64_t index)
{
    size_t keep = member->history_count;
    while (keep > 1 && member->history[keep - 1]->metadata.index > index)
        keep--;
    member->history_count = keep;
}

enum outcome run_restart(struct cluster *cluster, struct command *cmd)
{
    uint64_t applied = 0;
    const struct option options[] = {{"applied", OPTION_U64, &applied}};
    const struct command_shape shape = {options, RR_ARRAY_SIZE(options), 1, 1};
    struct member *member = cluster_parse(cluster, cmd, &shape);
    if (!member)
        return OUTCOME_BAD;
    uint64_t first = 0;
    struct rr_hard_state hard_state;
    struct rr_conf_state ignored;
    member->stored.ops->first_index(member->stored.ctx, &first);
    member->stored.ops->initial_state(member->stored.ctx, &hard_state, &ignored);
    if (applied != 0 && (applied < first - 1 || applied > rr_max_u64(hard_state.commit, first - 1)))
        return command_bad(cmd, "applied must be between the first index - 1 and the commit index");

    forget_volatile(member);
    forget_states_after(member, rr_max_u64(applied, first - 1));
    member->conf_state = member_state(member)->metadata.conf_state;
    member->config.applied = applied;
    rr_raw_node_free(member->node);
    member->node = NULL;
    return start_core(member, cmd);
}

/* ---- storage ------------------------------------------------------------- */

enum outcome run_storage_fault(struct cluster *cluster, struct command *cmd)
{
    const char *snapshot = NULL;
    const char *entries = NULL;
    const struct option options[] = {{"snapshot", OPTION_TEXT, &snapshot},
                                     {"entries", OPTION_TEXT, &entries}};
    const struct command_shape shape = {options, RR_ARRAY_SIZE(options), 1, 1};
    struct member *member = cluster_parse(cluster, cmd, &shape);
    if (!member)
        return OUTCOME_BAD;
    enum outcome outcome = OUTCOME_OK;
    if (snapshot)
        outcome = command_bool(cmd, "snapshot", snapshot, &member->has_snapshot_fault);
    if (outcome == OUTCOME_OK && entries)
        outcome = command_bool(cmd, "entries", entries, &member->has_entries_fault);
    return outcome;
}

enum outcome run_compact(struct cluster *cluster, struct command *cmd)
{
    uint64_t index;
    const struct command_shape shape = {.least = 2, .most = 2};
    struct member *member = cluster_parse(cluster, cmd, &shape);
    if (!member || command_u64(cmd, "index", cmd->positionals[1], &index) != OUTCOME_OK)
        return OUTCOME_BAD;
    uint64_t last = 0;
    member->stored.ops->last_index(member->stored.ctx, &last);
    if (index > last)
        return command_bad(cmd, "index %" PRIu64 " lies beyond the last one, %" PRIu64, index,
                           last);
    int err = rr_memory_storage_compact(member->storage, index);
    return err < 0 ? cluster_result(cmd, err) : look_at_raft_log(cluster, cmd, member);
}
