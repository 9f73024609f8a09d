/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/disk_watch.h"

#include "engine/engine_events.h"
#include "engine/group.h"
#include "proto/base.h"

/* ---- the disk ------------------------------------------------------------ */

/* The shortest election timeout of any group; UINT64_MAX: there is none. */
static uint64_t shortest_election_ns(const struct rr_engine *engine)
{
    const struct rr_group *group;
    uint64_t shortest = UINT64_MAX;
    uint32_t at = 0;
    while ((group = id_map_each(&engine->groups, &at)))
        shortest = rr_min_u64(shortest, group->options.election_ticks * group->tick_ns);
    return shortest;
}

static int32_t look(struct rr_engine *engine, uint64_t now_ns)
{
    struct disk_watch *disk = &engine->disk;
    uint64_t patience_ns = shortest_election_ns(engine);
    if (engine->poisoned)
        return RR_E_POISONED;
    if (!wal_is_full(engine->wal))
        disk->full_since_ns = 0;
    else if (disk->full_since_ns == 0)
        disk->full_since_ns = now_ns;
    uint64_t unfinished_ns = wal_oldest_unfinished_ns(engine->wal);
    if (unfinished_ns && unfinished_ns < now_ns && now_ns - unfinished_ns > patience_ns)
        return RR_E_STALLED;
    return disk->full_since_ns && now_ns - disk->full_since_ns > patience_ns ? RR_E_NO_SPACE : 0;
}

void engine_watch_disk(struct rr_engine *engine, uint64_t now_ns)
{
    int32_t status = look(engine, now_ns);
    if (RR_LIKELY(status == engine->disk.status))
        return;
    engine->disk.status = status;
    const char *text = status ? rr_err_sentence(status) : "the disk works again";
    engine_log(engine, status ? ENGINE_LOG_ERROR : ENGINE_LOG_INFO, "%s: %s", engine->dir, text);
    engine_event(engine, &(struct rr_event){.kind = RR_EVENT_DISK, .status = status, .text = text});
}

/* ---- the group ----------------------------------------------------------- */

void group_mind_disk(struct rr_group *group)
{
    if (RR_LIKELY(group_may_campaign(group)) || group->role != RR_STATE_LEADER ||
        leadership_is_ending(&group->leadership))
        return;
    leadership_hand_over(group, group->options.heartbeat_ticks * group->tick_ns);
}

bool group_may_campaign(const struct rr_group *group)
{
    return group->engine->disk.status == 0 || group->conf_state.voter_count == 1;
}

static void refuse_pre_vote(struct rr_group *group, const struct rr_message *message)
{
    struct rr_basic_status core;
    rr_raw_node_basic_status(group->node, &core);
    struct rr_message answer = {.type = RR_MSG_PRE_VOTE_RESP,
                                .to = message->from,
                                .from = message->to,
                                .term = core.hard_state.term,
                                .reject = true};
    int rc = transport_send(group->engine->transport, group->options.group_id, &answer);
    group->engine->messages_sent += rc == 0;
}

bool group_withholds(struct rr_group *group, const struct rr_message *message)
{
    int32_t status = group->engine->disk.status;
    if (RR_LIKELY(status == 0))
        return false;
    if (message->type == RR_MSG_TIMEOUT_NOW)
        return true;
    if (status == RR_E_NO_SPACE)
        return false;
    if (message->type == RR_MSG_PRE_VOTE)
        refuse_pre_vote(group, message);
    return message->type == RR_MSG_VOTE || message->type == RR_MSG_PRE_VOTE;
}
