/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/leadership.h"

#include "engine/group.h"
#include "proto/base.h"

#include <stdlib.h>

#define MS             (1000ull * 1000)
#define TIMEOUT_MS_MAX (60u * 1000)

struct transfer_call {
    struct command command;
    struct rr_group *group;
    uint64_t to;
    uint64_t tag;
    uint32_t timeout_ms;
};

static uint64_t election_timeout_ns(const struct rr_group *group)
{
    return group->options.election_ticks * group->tick_ns;
}

static void complete(struct rr_group *group, uint64_t tag, int status)
{
    struct rr_completion completion = {
        .tag = tag, .status = status, .kind = RR_COMPLETION_TRANSFER, .term = group->staged.term};
    group_complete(group, &completion);
}

/* ---- a transfer's life --------------------------------------------------- */

static void begin(struct rr_group *group, const struct leader_transfer *transfer)
{
    group->leadership.transfer = *transfer;
    group->leadership.transfer.is_wanted = true;
    group->leadership.transfer.term = group->staged.term;
    group->leadership.transfer.nudge_at_ns =
        group->engine->now_ns + group->options.heartbeat_ticks * group->tick_ns;
    rr_raw_node_transfer_leader(group->node, transfer->to);
}

/* A transfer to itself is none, but ends another. */
static void abort_in_core(struct rr_group *group)
{
    if (group->role == RR_STATE_LEADER && !group->error)
        rr_raw_node_transfer_leader(group->node, group->engine->options.node_id);
}

static void end(struct rr_group *group, int status)
{
    struct leader_transfer ended = group->leadership.transfer;
    group->leadership.transfer = (struct leader_transfer){.is_wanted = false};
    if (ended.is_asked_for)
        complete(group, ended.tag, status);
}

void leadership_fail_transfer(struct rr_group *group, int status)
{
    if (!group->leadership.transfer.is_wanted)
        return;
    abort_in_core(group);
    end(group, status);
}

/* At its deadline service resumes here, but for a node that should not lead. */
static void give_up(struct rr_group *group)
{
    bool is_asked_for = group->leadership.transfer.is_asked_for;
    leadership_fail_transfer(group, RR_E_DEADLINE);
    if (!is_asked_for && group->role == RR_STATE_LEADER)
        rr_raw_node_step_down(group->node);
}

/* The core sends one MsgTimeoutNow, when the target has all of the log. */
static void nudge(struct rr_group *group, uint64_t last_index)
{
    struct leader_transfer *transfer = &group->leadership.transfer;
    struct rr_progress_status progress[CONFIG_PEERS_MAX];
    uint32_t count = rr_raw_node_progress(group->node, progress, CONFIG_PEERS_MAX);
    transfer->nudge_at_ns = group->engine->now_ns + group->options.heartbeat_ticks * group->tick_ns;
    for (uint32_t i = 0; i < count && i < CONFIG_PEERS_MAX; i++) {
        struct rr_message now = {.type = RR_MSG_TIMEOUT_NOW,
                                 .to = transfer->to,
                                 .from = group->engine->options.node_id,
                                 .term = transfer->term};
        if (progress[i].id == transfer->to && progress[i].match == last_index)
            (void)transport_send(group->engine->transport, group->options.group_id, &now);
    }
}

void leadership_turn(struct rr_group *group, uint64_t now_ns)
{
    const struct leader_transfer *transfer = &group->leadership.transfer;
    if (RR_LIKELY(!transfer->is_wanted))
        return;
    struct rr_basic_status core;
    rr_raw_node_basic_status(group->node, &core);
    bool is_over = group->role != RR_STATE_LEADER || group->staged.term != transfer->term;
    if (is_over && group->lead == transfer->to)
        end(group, RR_OK);
    else if (is_over && group->lead != RR_NONE)
        end(group, RR_E_NOT_LEADER); /* another one was faster, or this node leads again */
    else if (now_ns >= transfer->deadline_ns)
        give_up(group);
    else if (core.soft_state.raft_state == RR_STATE_LEADER && core.lead_transferee == RR_NONE)
        rr_raw_node_transfer_leader(group->node, transfer->to);
    else if (core.lead_transferee == transfer->to && now_ns >= transfer->nudge_at_ns)
        nudge(group, core.last_index);
}

/* 0: none. */
static uint64_t successor(const struct rr_group *group)
{
    struct rr_progress_status peers[CONFIG_PEERS_MAX];
    uint32_t count = rr_raw_node_progress(group->node, peers, CONFIG_PEERS_MAX);
    const struct rr_progress_status *best = NULL;
    for (uint32_t i = 0; i < count && i < CONFIG_PEERS_MAX; i++) {
        const struct rr_progress_status *peer = &peers[i];
        if (membership_role(group, peer->id) == RR_MEMBER_ROLE_VOTER &&
            transport_peer_is_up(group->engine->transport, peer->id) &&
            (!best || peer->match > best->match))
            best = peer;
    }
    return best ? best->id : RR_NONE;
}

void leadership_hand_over(struct rr_group *group, uint64_t timeout_ns)
{
    uint64_t to = successor(group);
    leadership_fail_transfer(group, RR_E_NOT_LEADER);
    engine_log(group->engine, ENGINE_LOG_WARN, "group %llu: node %llu is to lead instead",
               (unsigned long long)group->options.group_id, (unsigned long long)to);
    if (to == RR_NONE)
        rr_raw_node_step_down(group->node);
    else
        begin(group, &(struct leader_transfer){.to = to,
                                               .deadline_ns = group->engine->now_ns + timeout_ns});
}

/* ---- elections ----------------------------------------------------------- */

static uint64_t draw(struct leadership *leadership)
{
    uint64_t z = leadership->chance += 0x9e3779b97f4a7c15u; /* splitmix64 */
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

uint32_t leadership_jitter(void *ctx, uint32_t bound)
{
    struct rr_group *group = ctx;
    const struct rr_conf_state *conf = &group->conf_state;
    uint64_t number = draw(&group->leadership);
    uint32_t rank = 0;
    while (rank < conf->voter_count && conf->voters[rank] != group->engine->options.node_id)
        rank++;
    if (rank == conf->voter_count || conf->voter_count > bound)
        return (uint32_t)(number % bound);
    return (uint32_t)(number % (bound / conf->voter_count)) * conf->voter_count + rank;
}

/* ---- rr_transfer_leadership ---------------------------------------------- */

static int transfer_now(struct rr_group *group, const struct transfer_call *call)
{
    uint64_t timeout_ns = call->timeout_ms ? call->timeout_ms * MS : election_timeout_ns(group);
    if (group->error || proposal_queue_is_closed(&group->queue))
        return RR_E_CLOSED;
    group_take_ready_if_unstaged(group);
    if (group->error)
        return RR_E_CLOSED;
    if (group->role != RR_STATE_LEADER || membership_is_over(&group->membership))
        return RR_E_NOT_LEADER;
    if (membership_role(group, call->to) != RR_MEMBER_ROLE_VOTER)
        return RR_E_NOT_VOTER;
    if (call->to == group->engine->options.node_id)
        return RR_OK;
    if (group->leadership.transfer.is_wanted)
        return RR_E_BUSY;
    begin(group, &(struct leader_transfer){.is_asked_for = true,
                                           .to = call->to,
                                           .tag = call->tag,
                                           .deadline_ns = group->engine->now_ns + timeout_ns});
    return RR_E_PENDING;
}

static void run_transfer(struct rr_engine *engine, struct command *command)
{
    struct transfer_call *call = RR_CONTAINER_OF(command, struct transfer_call, command);
    struct rr_group *group = call->group;
    int status = transfer_now(group, call);
    engine_touch(engine, group);
    if (status != RR_E_PENDING) {
        complete(group, call->tag, status);
        apply_flush(&group->apply);
    }
    group_call_end(group);
    free(call);
}

int rr_transfer_leadership(struct rr_group *group, uint64_t to, uint32_t timeout_ms, uint64_t tag)
{
    if (to == RR_NONE || timeout_ms > TIMEOUT_MS_MAX)
        return RR_E_INVALID;
    struct transfer_call *call = malloc(sizeof(*call));
    if (!call)
        return RR_E_NO_MEMORY;
    if (!group_call_begin(group)) {
        free(call);
        return RR_E_CLOSED;
    }
    *call = (struct transfer_call){.command.run = run_transfer,
                                   .group = group,
                                   .to = to,
                                   .tag = tag,
                                   .timeout_ms = timeout_ms};
    engine_post(group->engine, &call->command);
    return 0;
}
