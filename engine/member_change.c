/* SPDX-License-Identifier: Apache-2.0
 *
 * rr_conf_change: what can be told from the arguments is refused at once, on the caller's thread;
 * the rest is judged on the loop against configuration and address book, so that a change that
 * cannot work never enters the log; then it is proposed, as a MsgProp of its own. Cold.
 */
#include "engine/group.h"

#include "engine/config.h"
#include "proto/base.h"

#include <stdlib.h>
#include <string.h>

typedef unsigned long long ull;

/* What all members must have in common with this node. */
#define FEATURE_LEVEL_MEMBERS 2u
/* A learner that lacks more of what is committed is not promoted. */
#define LAG_ENTRIES_MAX 4096u

struct change_call {
    struct command command;
    struct rr_group *group;
    struct rr_member_change change; /* its address is a copy, below */
    uint64_t tag;
    char address[IO_ADDRESS_TEXT_SIZE];
};

/* ---- the caller's thread ------------------------------------------------- */

static bool brings_new_node(const struct rr_member_change *change)
{
    return change->kind == RR_MEMBER_ADD || change->kind == RR_MEMBER_ADD_LEARNER;
}

static int check_arguments(const struct rr_group *group, const struct rr_member_change *change,
                           struct rr_error *error)
{
    if (!change || change->size != sizeof(*change))
        return rr_fail(error, RR_E_INVALID, "set .size of the change to its sizeof (%zu)",
                       sizeof(*change));
    if (change->kind < RR_MEMBER_ADD || change->kind > RR_MEMBER_REPLACE)
        return rr_fail(error, RR_E_INVALID, "there is no kind of change %d", (int)change->kind);
    bool is_replace = change->kind == RR_MEMBER_REPLACE;
    if (!config_is_node_id(change->node) || (is_replace && !config_is_node_id(change->replaced)))
        return rr_fail(error, RR_E_INVALID,
                       "a node's id may not be 0 or one of the two highest numbers");
    if (is_replace ? change->replaced == change->node : change->replaced != 0)
        return rr_fail(error, RR_E_INVALID,
                       "set .replaced for a replacement only, to another node than .node");
    if (brings_new_node(change) && !change->address)
        return rr_fail(error, RR_E_BAD_ADDRESS, "node %llu: set .address, e.g. 127.0.0.1:7001",
                       (ull)change->node);
    if (!change->address)
        return 0;
    if (!brings_new_node(change) && !is_replace)
        return rr_fail(error, RR_E_INVALID, "set .address only for a node that is new");
    int rc = config_check_address(change->address, group->engine->options.insecure, error);
    struct io_address address;
    if (rc == 0)
        rc = io_address_parse(change->address, &address, error);
    if (rc == 0 && address.port == 0)
        rc = rr_fail(error, RR_E_BAD_ADDRESS, "%s: nobody can be reached at port 0",
                     change->address);
    return rc;
}

static void run_change(struct rr_engine *engine, struct command *command);

int rr_conf_change(struct rr_group *group, const struct rr_member_change *change, uint64_t tag,
                   struct rr_error *error)
{
    int rc = check_arguments(group, change, error);
    if (rc != 0)
        return rc;
    struct change_call *call = malloc(sizeof(*call));
    if (!call)
        return rr_fail(error, RR_E_NO_MEMORY, "out of memory");
    if (!group_call_begin(group)) {
        free(call);
        return rr_fail(error, RR_E_CLOSED, "the group is closed");
    }
    *call = (struct change_call){
        .command.run = run_change, .group = group, .change = *change, .tag = tag};
    if (change->address)
        memcpy(call->address, change->address, strlen(change->address));
    call->change.address = change->address ? call->address : NULL;
    engine_post(group->engine, &call->command);
    return 0;
}

/* ---- judging ------------------------------------------------------------- */

static int check_new(const struct rr_group *group, const struct rr_member_change *change,
                     struct rr_error *error)
{
    const struct members *members = &group->members;
    if (members_is_removed(members, change->node))
        return rr_fail(error, RR_E_CONF_REFUSED,
                       "node %llu was removed, and ids are never used again: give the node a new "
                       "id and an empty directory",
                       (ull)change->node);
    if (!change->address)
        return rr_fail(error, RR_E_CONF_REFUSED,
                       "node %llu is no member, and no address was given for it",
                       (ull)change->node);
    for (uint32_t i = 0; i < members->count; i++)
        if (strcmp(members->list[i].address, change->address) == 0)
            return rr_fail(error, RR_E_CONF_REFUSED, "%s is the address of node %llu",
                           change->address, (ull)members->list[i].node);
    if (members->count == CONFIG_PEERS_MAX)
        return rr_fail(error, RR_E_CONF_REFUSED, "the group has %u members, and no more fit",
                       members->count);
    return 0;
}

static int check_learner(const struct rr_group *group, uint64_t node, struct rr_error *error)
{
    struct rr_progress_status progress[CONFIG_PEERS_MAX];
    struct rr_basic_status core;
    uint32_t count = rr_raw_node_progress(group->node, progress, CONFIG_PEERS_MAX);
    rr_raw_node_basic_status(group->node, &core);
    for (uint32_t i = 0; i < count && i < CONFIG_PEERS_MAX; i++) {
        if (progress[i].id != node)
            continue;
        uint64_t lag =
            core.hard_state.commit - rr_min_u64(progress[i].match, core.hard_state.commit);
        if (progress[i].recent_active && progress[i].state == RR_PROGRESS_REPLICATE &&
            lag <= LAG_ENTRIES_MAX)
            return 0;
        return rr_fail(error, RR_E_LAGGING, "learner %llu %s: it lacks %llu committed entries",
                       (ull)node, progress[i].recent_active ? "is behind" : "does not answer",
                       (ull)lag);
    }
    return rr_fail(error, RR_E_LAGGING, "nothing is known of learner %llu yet", (ull)node);
}

static int check_against_book(const struct rr_group *group, const struct rr_member_change *change,
                              struct rr_error *error)
{
    uint8_t role = membership_role(group, change->node);
    bool is_replace = change->kind == RR_MEMBER_REPLACE;
    if (is_replace && membership_role(group, change->replaced) == 0)
        return rr_fail(error, RR_E_CONF_REFUSED, "node %llu, to be replaced, is no member",
                       (ull)change->replaced);
    if (brings_new_node(change) || (is_replace && role == 0)) {
        if (role == 0)
            return check_new(group, change, error);
        return rr_fail(error, RR_E_CONF_REFUSED, "node %llu is already a %s", (ull)change->node,
                       role == RR_MEMBER_ROLE_LEARNER ? "learner: promote it" : "voter");
    }
    if (role == 0)
        return rr_fail(error, RR_E_CONF_REFUSED, "node %llu is no member", (ull)change->node);
    if (change->kind == RR_MEMBER_REMOVE)
        return 0;
    if (role != RR_MEMBER_ROLE_LEARNER)
        return rr_fail(error, RR_E_CONF_REFUSED, "node %llu is already a voter", (ull)change->node);
    return check_learner(group, change->node, error);
}

/* A build that does not know members that come and go would neither dial a new one nor hand it the
 * book. Of a member that was not heard of nothing is known: it may be what is to be removed. */
static int check_builds(const struct rr_group *group, struct rr_error *error)
{
    const struct members *members = &group->members;
    for (uint32_t i = 0; i < members->count; i++) {
        uint64_t node = members->list[i].node;
        uint32_t level = transport_peer_feature_level(group->engine->transport, node);
        if (level != 0 && level < FEATURE_LEVEL_MEMBERS)
            return rr_fail(error, RR_E_CONF_REFUSED,
                           "node %llu runs a build that cannot change members: upgrade it first",
                           (ull)node);
    }
    return 0;
}

/* Is an earlier change not in effect yet? A new leader does not know before its first entry is
 * applied (and so committed: Ongaro's correction of 2015 to single-server changes). */
static bool has_change_in_flight(const struct rr_group *group)
{
    const struct log_cache *log = &group->log;
    bool is_waiting = log_index_has_conf_change(&log->index, group->applied + 1, UINT64_MAX);
    return group->membership.change.is_active || group->conf_state.voter_outgoing_count > 0 ||
           is_waiting || log_cache_term(log, group->applied) != group->staged.term;
}

/* ---- proposing ----------------------------------------------------------- */

/* What the change is to the core. */
struct encoded_change {
    struct rr_conf_change_single singles[2];
    struct rr_conf_change_v2 v2;
    uint8_t context[MEMBERS_CHANGE_MAX];
};

/* The news that a change brings: where the new node lives, and who the members are. */
static uint32_t encode_news(const struct rr_group *group, const struct rr_member_change *change,
                            uint8_t *context)
{
    struct rr_engine *engine = group->engine;
    struct members news;
    members_init(&news);
    for (uint32_t i = 0; i < group->members.count; i++) {
        struct member member = {.node = group->members.list[i].node};
        const struct wal_peer *known = peers_known(&engine->peers, member.node);
        if (known) {
            member.instance = known->instance;
            member.boot = known->boot;
            member.nonce = known->nonce;
        } else if (member.node == engine->options.node_id) {
            member.instance = engine->identity.instance;
            member.boot = wal_boot(engine->wal);
            member.nonce = engine->lineage.nonce;
        }
        (void)members_put(&news, &member);
    }
    struct member added = {.node = change->node};
    if (change->address) {
        memcpy(added.address, change->address, strlen(change->address));
        (void)members_put(&news, &added); /* there is room: check_new */
    }
    uint32_t size = (uint32_t)(members_encode(&news, context) - context);
    members_fini(&news);
    return size;
}

static void encode(const struct rr_group *group, const struct rr_member_change *change,
                   struct encoded_change *encoded)
{
    static const uint8_t types[] = {
        [RR_MEMBER_ADD] = RR_CONF_CHANGE_ADD_NODE,
        [RR_MEMBER_ADD_LEARNER] = RR_CONF_CHANGE_ADD_LEARNER_NODE,
        [RR_MEMBER_PROMOTE] = RR_CONF_CHANGE_ADD_NODE,
        [RR_MEMBER_REMOVE] = RR_CONF_CHANGE_REMOVE_NODE,
        [RR_MEMBER_REPLACE] = RR_CONF_CHANGE_ADD_NODE,
    };
    encoded->singles[0] =
        (struct rr_conf_change_single){.node_id = change->node, .type = types[change->kind]};
    encoded->singles[1] = (struct rr_conf_change_single){.node_id = change->replaced,
                                                         .type = RR_CONF_CHANGE_REMOVE_NODE};
    encoded->v2 =
        (struct rr_conf_change_v2){.changes = encoded->singles,
                                   .change_count = change->replaced ? 2 : 1,
                                   .context = encoded->context,
                                   .context_size = encode_news(group, change, encoded->context),
                                   .has_context = true};
}

static int propose(struct rr_group *group, const struct change_call *call, struct rr_error *error)
{
    struct encoded_change encoded;
    struct rr_basic_status core;
    const char *reason;
    encode(group, &call->change, &encoded);
    int rc = rr_raw_node_check_conf_change_v2(group->node, &encoded.v2, &reason);
    if (rc != 0)
        return rr_fail(error, rc, "%s", reason);
    if (wal_admits_proposals(group->engine->wal) != 0)
        return rr_fail(error, RR_E_BUSY, "the log takes no proposals now");
    rr_raw_node_basic_status(group->node, &core);
    rc = rr_raw_node_propose_conf_change_v2(group->node, &encoded.v2);
    if (rc != 0)
        return rr_fail(error, RR_E_BUSY, "leadership is being transferred, or too much waits");
    group->membership.change = (struct member_change){.is_active = true,
                                                      .tag = call->tag,
                                                      .index = core.last_index + 1,
                                                      .term = core.hard_state.term};
    return 0;
}

static int change_now(struct rr_group *group, const struct change_call *call,
                      struct rr_error *error)
{
    if (group->error || proposal_queue_is_closed(&group->queue))
        return rr_fail(error, RR_E_CLOSED, "the group has stopped or is being closed");
    /* What the core decided before must be staged before. */
    group_take_ready_if_unstaged(group);
    if (group->error)
        return rr_fail(error, RR_E_CLOSED, "the group has stopped");
    if (group->role != RR_STATE_LEADER || membership_is_over(&group->membership))
        return rr_fail(error, RR_E_NOT_LEADER, "this node does not lead");
    if (has_change_in_flight(group))
        return rr_fail(error, RR_E_CONF_IN_FLIGHT, "an earlier change is not in effect yet");
    int rc = check_builds(group, error);
    if (rc == 0)
        rc = check_against_book(group, &call->change, error);
    return rc == 0 ? propose(group, call, error) : rc;
}

static void run_change(struct rr_engine *engine, struct command *command)
{
    struct change_call *call = RR_CONTAINER_OF(command, struct change_call, command);
    struct rr_group *group = call->group;
    struct rr_error error = {0};
    int rc = change_now(group, call, &error);
    engine_touch(engine, group);
    if (rc != 0) {
        struct rr_completion completion = {
            .tag = call->tag, .status = rc, .kind = RR_COMPLETION_CONF_CHANGE};
        engine_log(engine, ENGINE_LOG_WARN, "group %llu: a change of members was refused: %s",
                   (ull)group->options.group_id, error.message);
        group_complete(group, &completion);
        apply_flush(&group->apply);
    }
    group_call_end(group);
    free(call);
}
