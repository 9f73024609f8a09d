/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/inspector.h"

#include "engine/engine_state.h"
#include "io/wal_impl.h"
#include "tests/sim/failure.h"
#include "tests/sim/world.h"

/* In which the entries of small writes lie together: the grain of what a log has in memory. */
#define SHARED_BLOCK_BYTES (256u * 1024)

typedef unsigned long long ull;

/* ---- bounds -------------------------------------------------------------- */

static void at_most(const struct node *node, const char *what, uint64_t value, uint64_t bound)
{
    if (value > bound)
        failure_report("node %u: %s: %llu, more than %llu", node->number, what, (ull)value,
                       (ull)bound);
}

/* Segments that the budget allows, and those beyond it: spares, and what is in the way of them. */
static uint64_t segments_max(const struct plan *plan)
{
    return plan->engine.wal_bytes_max / plan->engine.segment_bytes + 4;
}

static void inspect_memory(const struct node *node, const struct rr_group_status *status)
{
    const struct plan *plan = &node->world->plan;

    /* What is under way when the limit is met is still taken in. */
    at_most(node, "memory of the log", status->memory.log, status->memory.log_max * 3 / 2);
    at_most(node, "memory of the transport", status->memory.transport,
            status->memory.transport_max);
    at_most(node, "memory of groups", status->memory.groups, status->memory.groups_max);
    at_most(node, "entries in memory", status->log_memory_bytes,
            plan->engine.log_cache_bytes + 4ull * plan->engine.wal_write_bytes_max +
                (1ull + plan->group_count) * SHARED_BLOCK_BYTES);
}

/* Each peer may hold two connections each way while one follows another, and two transfers. */
static void inspect_machine(const struct node *node)
{
    const struct plan *plan = &node->world->plan;
    struct sim_usage usage = sim_usage(node->world->sim, node->number);
    uint64_t connections = 8ull * plan->node_count;

    at_most(node, "open descriptors", usage.descriptors,
            128 + 8 * segments_max(plan) + connections + 2 * plan->group_count);
    at_most(node, "operations in flight", usage.ops, 8 + 2 * connections + 4 * plan->group_count);
}

/* ---- the configuration --------------------------------------------------- */

static const struct config *config_at(struct world *world, uint32_t slot, uint64_t index)
{
    (void)oracle_config(&world->oracle, slot); /* reads what became durable */
    const struct configs *configs = &world->oracle.groups[slot].configs;
    uint32_t k = configs->count - 1;
    while (k > 0 && configs->list[k].index > index)
        k--;
    return &configs->list[k];
}

static uint8_t role_in(const struct config *config, uint64_t id)
{
    if (config_has_voter(config, id))
        return RR_MEMBER_ROLE_VOTER;
    for (uint32_t i = 0; i < config->learner_count; i++)
        if (config->learners[i] == id)
            return RR_MEMBER_ROLE_LEARNER;
    return config_has_member(config, id) ? RR_MEMBER_ROLE_LEAVING : 0;
}

/* A function of the snapshot and the log behind it, wherever either came from. */
static void inspect_members(const struct replica *replica, const struct rr_group_status *status)
{
    struct world *world = replica->node->world;

    if (status->applied == 0 || status->peer_count == 0 || replica->node->is_stranger)
        return;
    const struct config *config = config_at(world, replica->slot, status->applied);
    uint32_t voters = 0;
    for (uint32_t i = 0; i < status->peer_count; i++) {
        uint8_t role = status->peers[i].role;
        voters += role == RR_MEMBER_ROLE_VOTER;
        if (role != role_in(config, status->peers[i].node))
            failure_report("node %u: group %u: behind %llu node %llu has the role %u; by the log "
                           "it is %u",
                           replica->node->number, replica->slot, (ull)status->applied,
                           (ull)status->peers[i].node, role,
                           role_in(config, status->peers[i].node));
    }
    if (voters != config->voter_count)
        failure_report("node %u: group %u: behind %llu there are %u voters; by the log %u",
                       replica->node->number, replica->slot, (ull)status->applied, voters,
                       config->voter_count);
}

void inspect(struct world *world)
{
    for (uint32_t i = 0; i < world->plan.node_count; i++) {
        const struct node *node = &world->nodes[i];
        if (!node_listens(node))
            continue;
        inspect_machine(node);
        for (uint32_t slot = 0; slot < world->plan.group_count; slot++) {
            struct rr_group_status status = {.size = sizeof(status)};
            const struct replica *replica = &node->replicas[slot];
            if (!replica->group || rr_group_status(replica->group, &status) != 0 ||
                status.error != 0)
                continue;
            inspect_memory(node, &status);
            inspect_members(replica, &status);
        }
    }
}

/* ---- at rest ------------------------------------------------------------- */

/* Segments from the oldest in which something is live. Files beyond the budget, which were needed
 * while nothing could be compacted, stay as spares. */
static uint64_t held_segments(const struct rr_engine *engine)
{
    struct wal_segments *segments = &engine->wal->segments;
    uint64_t oldest = segments->oldest;
    while (oldest < segments->active && wal_segment_at(segments, oldest)->holders == 0)
        oldest++;
    return segments->active - oldest + 1;
}

void inspect_settled(struct world *world)
{
    inspect(world);
    for (uint32_t i = 0; i < world->plan.node_count; i++) {
        const struct node *node = &world->nodes[i];
        if (!node_listens(node))
            continue;
        at_most(node, "segments that are held", held_segments(node->engine),
                segments_max(&world->plan));
        for (uint32_t slot = 0; slot < world->plan.group_count; slot++) {
            struct rr_group_status status = {.size = sizeof(status)};
            const struct replica *replica = &node->replicas[slot];
            if (replica->group && rr_group_status(replica->group, &status) == 0)
                at_most(node, "proposals that it still has",
                        status.proposals_accepted - status.proposals_completed, 0);
        }
    }
}
