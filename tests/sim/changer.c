/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/changer.h"

#include "tests/sim/failure.h"
#include "tests/sim/world.h"

typedef unsigned long long ull;

void changer_init(struct changer *changer, uint64_t seed)
{
    *changer = (struct changer){.chance = stream_make(seed, 0xc4a6)};
}

/* ---- the books ----------------------------------------------------------- */

static struct changer_call *find(struct changer *changer, uint64_t tag)
{
    for (uint32_t i = 0; i < CHANGER_PENDING_MAX; i++)
        if (changer->pending[i].tag == tag)
            return &changer->pending[i];
    return NULL;
}

void changer_complete(struct changer *changer, const struct workload_target *target,
                      const struct rr_completion *completion)
{
    struct changer_call *call = find(changer, completion->tag);
    if (!call || !workload_same_target(&call->target, target))
        failure_report("node %u completes a change of members that it was not asked for, or twice",
                       target->source.node);
    call->tag = 0;
    changer->pending_count--;
    changer->done_count += completion->status == RR_OK;
    changer->unknown_count += completion->status == RR_E_UNKNOWN_OUTCOME;
    changer->refused_count +=
        completion->status != RR_OK && completion->status != RR_E_UNKNOWN_OUTCOME;
}

void changer_forget(struct changer *changer, const struct workload_target *target)
{
    for (uint32_t i = 0; i < CHANGER_PENDING_MAX; i++) {
        struct changer_call *call = &changer->pending[i];
        if (call->tag == 0 || !workload_same_target(&call->target, target))
            continue;
        call->tag = 0;
        changer->pending_count--;
    }
}

/* The tag of a call that begins; 0: enough are pending. */
static uint64_t enter(struct changer *changer, const struct workload_target *target)
{
    struct changer_call *call = find(changer, 0);
    if (!call)
        return 0;
    *call = (struct changer_call){.tag = CHANGER_TAG | ++changer->last_tag, .target = *target};
    changer->pending_count++;
    return call->tag;
}

static void leave(struct changer *changer, uint64_t tag)
{
    find(changer, tag)->tag = 0;
    changer->pending_count--;
}

/* ---- acting -------------------------------------------------------------- */

static struct node *any_node(struct world *world)
{
    return &world->nodes[stream_below(&world->changer.chance, world->plan.node_count)];
}

static void transfer(struct world *world, const struct workload_target *leader)
{
    struct changer *changer = &world->changer;
    uint64_t to = any_node(world)->id, tag = enter(changer, leader);
    uint32_t timeout_ms = (uint32_t)stream_below(&changer->chance, 1000);

    world_say(world, "node %u is asked to let node %llu lead", leader->source.node, (ull)to);
    if (tag && rr_transfer_leadership(leader->group, to, timeout_ms, tag) != 0)
        leave(changer, tag);
}

/* May a voter go? What is asked for is one change at a time, but the one before may have an unknown
 * outcome, and come true yet. */
static bool can_spare_voter(const struct world *world, const struct config *config)
{
    return world->plan.voters_min == 0 ||
           (config->voter_count > world->plan.voters_min && world->changer.pending_count == 0);
}

static bool takes_voter(const struct rr_member_change *change, const struct config *config)
{
    return change->kind == RR_MEMBER_REMOVE && config_has_voter(config, change->node);
}

/* Mostly what is possible; the rest is to be refused. */
static struct rr_member_change draw(struct world *world, const struct config *config)
{
    struct sim_stream *chance = &world->changer.chance;
    const struct node *node = any_node(world), *other = any_node(world);
    bool is_member = config_has_member(config, node->id);
    struct rr_member_change change = {.size = sizeof(change), .node = node->id};

    if (stream_chance(chance, 1, 20))
        change.kind = (enum rr_member_change_kind)stream_between(chance, 1, 4);
    else if (is_member && !config_has_voter(config, node->id))
        change.kind = stream_chance(chance, 3, 4) ? RR_MEMBER_PROMOTE : RR_MEMBER_REMOVE;
    else if (is_member)
        change.kind = RR_MEMBER_REMOVE;
    else
        change.kind = stream_chance(chance, 1, 2) ? RR_MEMBER_ADD_LEARNER : RR_MEMBER_ADD;
    if (change.kind == RR_MEMBER_ADD && other != node && stream_chance(chance, 1, 2)) {
        change.kind = RR_MEMBER_REPLACE;
        change.replaced = other->id;
    }
    if (change.kind != RR_MEMBER_REMOVE && change.kind != RR_MEMBER_PROMOTE)
        change.address = node->address;
    return change;
}

static void ask(struct world *world, const struct workload_target *leader,
                const struct config *config)
{
    struct changer *changer = &world->changer;
    struct rr_member_change change = draw(world, config);
    struct rr_error error;

    if (takes_voter(&change, config) && !can_spare_voter(world, config))
        return;
    uint64_t tag = enter(changer, leader);
    world_say(world, "node %u is asked for change %d of node %llu (%llu)", leader->source.node,
              (int)change.kind, (ull)change.node, (ull)change.replaced);
    if (tag && rr_conf_change(leader->group, &change, tag, &error) != 0)
        leave(changer, tag);
}

struct gone {
    struct world *world;
    uint64_t id;
    uint32_t slot;
};

static bool knows_gone(void *ctx, uint64_t id)
{
    const struct gone *gone = ctx;
    const struct node *node = &gone->world->nodes[oracle_machine(id) - 1];
    struct rr_group_status status = {.size = sizeof(status)};

    const struct replica *replica = &node->replicas[gone->slot];
    if (node->id != id || !replica_listens(replica) ||
        rr_group_status(replica->group, &status) != 0)
        return false;
    for (uint32_t i = 0; i < status.peer_count; i++)
        if (status.peers[i].node == gone->id)
            return false;
    return true;
}

/* Was it a member of this group, and is its vote not needed any more for learning that it is none:
 * has a quorum applied the removal? */
static bool is_over(struct world *world, const struct node *node, uint32_t slot)
{
    const struct config *config = oracle_config(&world->oracle, slot);
    struct gone gone = {world, node->id, slot};
    return !config_has_member(config, node->id) && config_has_quorum(config, knows_gone, &gone);
}

static bool was_removed(const struct replica *replica)
{
    struct rr_group_status status = {.size = sizeof(status)};
    return replica->group && rr_group_status(replica->group, &status) == 0 &&
           status.error == RR_E_REMOVED;
}

/* A machine whose node was removed begins anew, if it is wanted nowhere. */
static bool renew_somebody(struct world *world)
{
    struct node *node = any_node(world);
    bool was_member = node->is_out || node->is_stranger;

    if ((node->engine && !node_listens(node)) || (!node->engine && !node->is_out) ||
        node->answer_at != 0)
        return false;
    for (uint32_t slot = 0; slot < world->plan.group_count; slot++) {
        if (!is_over(world, node, slot))
            return false;
        was_member |= was_removed(&node->replicas[slot]);
    }
    if (was_member)
        node_renew(node);
    return was_member;
}

void changer_act(struct world *world)
{
    uint32_t count = world->plan.group_count;
    uint32_t slot = count > 1 ? (uint32_t)stream_below(&world->changer.chance, count) : 0;
    const struct config *config = oracle_config(&world->oracle, slot);
    uint32_t number = world->leaders[slot];

    if (renew_somebody(world) || number == 0)
        return;
    const struct replica *replica = &world->nodes[number - 1].replicas[slot];
    if (!replica_listens(replica))
        return;
    struct workload_target leader = replica_target(replica);
    if (stream_chance(&world->changer.chance, 1, 5))
        transfer(world, &leader);
    else
        ask(world, &leader, config);
}
