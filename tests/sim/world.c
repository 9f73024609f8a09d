/* SPDX-License-Identifier: Apache-2.0
 *
 * The run: clients propose, faults strike, the oracle watches. Between two events of the
 * simulation, and only there, the driver crashes, starts, proposes.
 */
#include "tests/sim/world.h"

#include "tests/sim/failure.h"
#include "tests/sim/inspector.h"

#include <stdio.h>

#define MS     1000000ull
#define SECOND 1000000000ull
/* So long nothing is asked of anybody before they are looked at for the last time: each has told
 * its status anew. */
#define SETTLED_TICKS 5u
/* A seed that is busier than most has its faults in less time. */
#define BUSY_EVENTS_MAX 400000u
/* Processes are looked at so often. */
#define INSPECTED_EVERY_NS (50 * MS)
/* After the last fault the cluster must have converged within this time: the longest wait of the
 * nodes is a connect that times out (3 s) and a reconnect after the longest backoff (1 s). */
#define HEALED_MAX_NS (30 * SECOND)
/* Until somebody leads: those two waits, and so many election timeouts. */
#define ELECTED_MAX_NS    (5 * SECOND)
#define ELECTION_TIMEOUTS 10u
/* So many leaders may follow the first one that all can reach. */
#define LEADER_CHANGES_MAX 3u

typedef unsigned long long ull;

/* ---- time ---------------------------------------------------------------- */

/* Opens the groups whose time has come on a node that runs. */
static void tend_groups(struct node *node)
{
    const struct world *world = node->world;
    for (uint32_t slot = 0; slot < world->plan.group_count; slot++) {
        struct replica *replica = &node->replicas[slot];
        if (node_listens(node) && node->answer_at == 0 && replica->reopen_at != 0 &&
            (world->is_healed || sim_now(world->sim) >= replica->reopen_at))
            replica_open(replica);
    }
}

/* Buries who died; closes who stopped; starts whose time has come. */
static void tend(struct world *world)
{
    for (uint32_t i = 0; i < world->plan.node_count; i++) {
        struct node *node = &world->nodes[i];
        if (node->engine && node_is_dead(node))
            node_bury(node);
        if (node->engine && node->resume_at == 0 && node->answer_at == 0 &&
            node_must_restart(node)) {
            node_close(node);
        }
        if (!node->engine && !node->is_out && node->answer_at == 0 &&
            (world->is_healed || sim_now(world->sim) >= node->restart_at))
            node_open(node);
        disks_keep_lonely(node);
        tend_groups(node);
    }
    faults_tend(world);
}

static bool has_dead(const struct world *world)
{
    for (uint32_t i = 0; i < world->plan.node_count; i++)
        if (world->nodes[i].engine && node_is_dead(&world->nodes[i]))
            return true;
    return false;
}

/* When something must be tended at the latest. */
static uint64_t next_care(const struct world *world)
{
    uint64_t next = faults_next_time(world);
    for (uint32_t i = 0; i < world->plan.node_count; i++) {
        const struct node *node = &world->nodes[i];
        if (!node->engine && !node->is_out && node->answer_at == 0)
            next = rr_min_u64(next, node->restart_at);
        for (uint32_t slot = 0; slot < world->plan.group_count; slot++)
            if (node_listens(node) && node->answer_at == 0 && node->replicas[slot].reopen_at != 0)
                next = rr_min_u64(next, node->replicas[slot].reopen_at);
    }
    return rr_max_u64(next, sim_now(world->sim));
}

/* To this moment, or to the next death, which is tended. */
static void run_until(struct world *world, uint64_t time)
{
    while (sim_now(world->sim) < time) {
        uint64_t until = rr_min_u64(time, next_care(world));
        while (sim_next_time(world->sim) <= until && !has_dead(world))
            sim_step(world->sim);
        if (!has_dead(world))
            sim_run_until(world->sim, until);
        tend(world);
    }
}

/* ---- clients ------------------------------------------------------------- */

static void propose(struct world *world, uint32_t slot)
{
    const struct plan *plan = &world->plan;
    struct workload *workload = &world->workload;
    uint32_t number = world->leaders[slot];

    if (number == 0 || stream_chance(&workload->chance, 1, 50))
        number = 1 + (uint32_t)stream_below(&workload->chance, plan->node_count);
    const struct replica *replica = &world->nodes[number - 1].replicas[slot];
    if (!replica_listens(replica))
        return;
    struct workload_target target = replica_target(replica);
    /* One of the newest, which may be anybody's, and in any state. */
    if (plan->cancels && workload->count > 0 && stream_chance(&workload->chance, 1, 20))
        (void)rr_cancel(target.group,
                        workload->count -
                            stream_below(&workload->chance, rr_min_u64(workload->count, 8)));
    uint32_t burst = 1 + (uint32_t)stream_below(&workload->chance, plan->burst_max);
    if (plan->outstanding_max == 0 || workload->count >= plan->proposals_max) {
        workload_propose(workload, &target, burst);
        return;
    }
    for (uint32_t i = 0; i < plan->outstanding_max && workload->pending < plan->outstanding_max;
         i++)
        workload_propose(workload, &target, 1);
}

/* Where a read could go wrong: a leader that does not know yet that there is a newer one. */
static uint64_t deposed_leader(const struct world *world, uint32_t slot, uint64_t otherwise)
{
    for (uint32_t i = 0; i < world->plan.node_count; i++)
        if (i + 1 != world->leaders[slot] &&
            replica_believes_to_lead(&world->nodes[i].replicas[slot]))
            return i;
    return otherwise;
}

/* On any node. */
static void read_somewhere(struct world *world, uint32_t slot)
{
    struct readers *readers = &world->readers[slot];
    uint64_t choice = stream_below(&readers->chance, world->plan.node_count);
    choice = deposed_leader(world, slot, choice);
    world_read(&world->nodes[choice].replicas[slot]);
}

void world_read(const struct replica *replica)
{
    struct world *world = replica->node->world;
    struct workload_target target = replica_target(replica);

    if (replica_listens(replica))
        readers_ask(&world->readers[replica->slot], &target, sim_now(world->sim),
                    replica->machine.index);
}

uint64_t world_pending(const struct world *world)
{
    uint64_t pending = world->workload.pending + world->changer.pending_count;
    for (uint32_t slot = 0; slot < PLAN_GROUPS_MAX; slot++)
        pending += world->readers[slot].pending_count;
    return pending;
}

static uint32_t any_slot(struct world *world)
{
    uint32_t count = world->plan.group_count;
    return count > 1 ? (uint32_t)stream_below(&world->workload.chance, count) : 0;
}

/* ---- a run --------------------------------------------------------------- */

static void world_init(struct world *world, const struct plan *plan, bool is_verbose)
{
    const char *dirs[PLAN_NODES_MAX];

    *world = (struct world){.plan = *plan, .is_verbose = is_verbose};
    world->sim = sim_new(plan->seed);
    world->chance = stream_make(plan->seed + plan->crash_at, 0xfa17);
    for (uint32_t i = 0; i < plan->node_count; i++) {
        node_init(world, i + 1);
        dirs[i] = world->nodes[i].dir;
        world->peers[i] = (struct rr_peer_address){i + 1, world->nodes[i].address};
    }
    sim_net_corrupt(world->sim, plan->corrupt_bytes ? 300 : 0);
    oracle_init(&world->oracle, world->sim, plan, dirs);
    changer_init(&world->changer, plan->seed);
    workload_init(&world->workload, &world->plan, &world->oracle, world->sim);
    for (uint32_t slot = 0; slot < PLAN_GROUPS_MAX; slot++)
        readers_init(&world->readers[slot], &world->workload, slot);
}

static void world_fini(struct world *world)
{
    workload_fini(&world->workload);
    oracle_fini(&world->oracle);
    for (uint32_t i = 0; i < world->plan.node_count; i++)
        sim_disk_image_free(world->nodes[i].image);
    sim_free(world->sim);
}

static void play_with_faults(struct world *world, uint64_t end)
{
    const struct plan *plan = &world->plan;
    uint64_t next_propose = sim_now(world->sim), next_fault = UINT64_MAX;
    uint64_t next_change = plan->change_interval_ns ? next_propose : UINT64_MAX;
    uint64_t next_inspection = next_propose;

    if (plan->fault_interval_ns)
        next_fault =
            sim_now(world->sim) + stream_below(&world->chance, 2 * plan->fault_interval_ns);
    while (sim_now(world->sim) < end && sim_event_count(world->sim) < BUSY_EVENTS_MAX) {
        uint64_t next = rr_min_u64(next_propose, rr_min_u64(next_fault, next_change));
        run_until(world, rr_min_u64(end, next));
        if (sim_now(world->sim) >= next_inspection) {
            inspect(world);
            next_inspection = sim_now(world->sim) + INSPECTED_EVERY_NS;
        }
        if (sim_now(world->sim) >= next_change) {
            changer_act(world);
            next_change = sim_now(world->sim) + 1 +
                          stream_below(&world->changer.chance, 2 * plan->change_interval_ns);
        }
        if (sim_now(world->sim) >= next_fault) {
            faults_strike(world);
            next_fault =
                sim_now(world->sim) + 1 + stream_below(&world->chance, 2 * plan->fault_interval_ns);
        }
        if (sim_now(world->sim) >= next_propose) {
            propose(world, any_slot(world));
            if (plan->reads)
                read_somewhere(world, any_slot(world));
            next_propose = sim_now(world->sim) + 1 +
                           stream_below(&world->workload.chance, 2 * plan->propose_interval_ns);
        }
    }
}

/* ---- without faults ------------------------------------------------------ */

/* Must this node's group come right in the end? */
static bool is_whole(const struct replica *replica)
{
    const struct node *node = replica->node;
    return !node->is_out && !node->is_stranger && replica_is_member(replica);
}

/* Does it believe in the configuration that the log tells? */
static bool knows_members(const struct replica *replica)
{
    const struct oracle_group *group = &replica->node->world->oracle.groups[replica->slot];
    const struct config *config = configs_last(&group->configs);
    struct rr_group_status status = {.size = sizeof(status)};

    if (!replica->group || rr_group_status(replica->group, &status) != 0 ||
        config->outgoing_count != 0 ||
        status.peer_count != config->voter_count + config->learner_count)
        return false;
    for (uint32_t i = 0; i < status.peer_count; i++) {
        bool is_voter = status.peers[i].role == RR_MEMBER_ROLE_VOTER;
        if (!config_has_member(config, status.peers[i].node) ||
            is_voter != config_has_voter(config, status.peers[i].node))
            return false;
    }
    return true;
}

static const struct replica *first_whole(const struct world *world, uint32_t slot)
{
    uint32_t i = 0;
    while (!is_whole(&world->nodes[i].replicas[slot]))
        i++;
    RR_ASSERT(i < world->plan.node_count); /* only a minority may be harmed */
    return &world->nodes[i].replicas[slot];
}

/* Does this group stand where the furthest stands? */
static bool has_come_right(const struct replica *replica)
{
    const struct world *world = replica->node->world;
    const struct chain_machine *mine = &replica->machine;
    const struct chain_machine *theirs = &first_whole(world, replica->slot)->machine;

    return replica->node->engine && knows_members(replica) && !mine->is_twisted &&
           mine->index == theirs->index && mine->hash == theirs->hash &&
           mine->index >= world->oracle.groups[replica->slot].acknowledged_max;
}

/* Does every state machine stand where the furthest stands, and is nothing owed to anybody? */
static bool has_converged(const struct world *world)
{
    if (world_pending(world) > 0)
        return false;
    for (uint32_t i = 0; i < world->plan.node_count; i++)
        for (uint32_t slot = 0; slot < world->plan.group_count; slot++) {
            const struct replica *replica = &world->nodes[i].replicas[slot];
            if (is_whole(replica) && !has_come_right(replica))
                return false;
        }
    return true;
}

static void print_replica(const struct replica *replica)
{
    struct rr_group_status s = {.size = sizeof(s)};
    if (!replica->group || rr_group_status(replica->group, &s) != 0)
        return;
    fprintf(stderr,
            "node %u, group %u: role %u, term %llu, lead %llu, first %llu, last %llu, commit %llu, "
            "applied %llu (machine %llu), snapshot %llu, error %s\n",
            replica->node->number, replica->slot, s.role, (ull)s.term, (ull)s.lead,
            (ull)s.first_index, (ull)s.last_index, (ull)s.commit, (ull)s.applied,
            (ull)replica->machine.index, (ull)s.snapshot_index, rr_err_name(s.error));
    for (uint32_t k = 0; k < s.peer_count; k++)
        fprintf(stderr, "    peer %llu: match %llu, next %llu, state %u%s%s, refusal %d\n",
                (ull)s.peers[k].node, (ull)s.peers[k].match, (ull)s.peers[k].next, s.peers[k].state,
                s.peers[k].active ? ", active" : "", s.peers[k].connected ? ", connected" : "",
                s.peers[k].refusal);
}

/* For whoever has to find out why. */
static void print_nodes(const struct world *world)
{
    for (uint32_t i = 0; i < world->plan.node_count; i++)
        for (uint32_t slot = 0; slot < world->plan.group_count; slot++)
            print_replica(&world->nodes[i].replicas[slot]);
}

static void fail_to_converge(const struct world *world, uint64_t done_before)
{
    print_nodes(world);
    failure_report("no convergence %llu s after the last fault: %llu proposals done since, %llu "
                   "pending, leader %u, last refusal %s",
                   HEALED_MAX_NS / SECOND, (ull)(world->workload.done_count - done_before),
                   (ull)world->workload.pending, world->leaders[0],
                   rr_err_name(world->workload.last_refusal));
}

struct following {
    const struct world *world;
    uint32_t slot;
};

static bool follows_leader(void *ctx, uint64_t id)
{
    const struct following *what = ctx;
    const struct world *world = what->world;
    const struct node *node = &world->nodes[oracle_machine(id) - 1];
    uint32_t leader = world->leaders[what->slot];
    struct rr_group_status status = {.size = sizeof(status)};
    const struct rr_group *group = node->replicas[what->slot].group;

    return group && leader != 0 && node->id == id &&
           rr_group_status(node->replicas[what->slot].group, &status) == 0 &&
           status.lead == world->nodes[leader - 1].id;
}

/* Does a quorum say that this group's newest leader leads? */
static bool is_led(struct world *world, uint32_t slot)
{
    struct following what = {world, slot};
    return config_has_quorum(oracle_config(&world->oracle, slot), follows_leader, &what);
}

/* Somebody leads soon. */
static void await_leaders(struct world *world)
{
    uint64_t end =
        sim_now(world->sim) + ELECTED_MAX_NS + ELECTION_TIMEOUTS * plan_election_ns(&world->plan);

    for (uint32_t slot = 0; slot < world->plan.group_count; slot++) {
        while (!is_led(world, slot)) {
            if (sim_now(world->sim) >= end) {
                print_nodes(world);
                failure_report(
                    "group %u has no leader %.1f s after the last fault", slot,
                    (double)(ELECTED_MAX_NS + ELECTION_TIMEOUTS * plan_election_ns(&world->plan)) /
                        1e9);
            }
            run_until(world, sim_now(world->sim) + 5 * MS);
        }
    }
}

/* A group in which a state machine still lies; its hash is asked for when entries are applied. */
static uint32_t any_twisted(const struct world *world)
{
    uint32_t slot = 0;
    for (; slot < world->plan.group_count; slot++)
        for (uint32_t i = 0; i < world->plan.node_count; i++)
            if (world->nodes[i].replicas[slot].machine.is_twisted)
                return slot;
    return slot;
}

/* Without faults: somebody leads soon and remains, a proposal to each group succeeds, all become
 * equal. */
static void play_healed(struct world *world, struct world_result *result)
{
    uint64_t begin = sim_now(world->sim), end = begin + HEALED_MAX_NS;
    uint64_t done_before = world->workload.done_count, done = done_before;

    world->is_healed = true;
    faults_heal(world);
    tend(world);
    await_leaders(world);
    uint64_t elections = world->oracle.election_count;
    for (uint32_t slot = 0; slot < world->plan.group_count || !has_converged(world);) {
        if (sim_now(world->sim) >= end)
            fail_to_converge(world, done_before);
        if (world->workload.pending == 0) {
            if (slot < world->plan.group_count && world->workload.done_count > done)
                slot++;
            done = world->workload.done_count;
            uint32_t next = slot < world->plan.group_count ? slot : any_twisted(world);
            if (next < world->plan.group_count)
                propose(world, next);
        }
        run_until(world, sim_now(world->sim) + 10 * MS);
        for (uint32_t i = 0; i < world->plan.group_count; i++)
            (void)oracle_config(&world->oracle, i); /* what was left of changes */
    }
    run_until(world, sim_now(world->sim) + SETTLED_TICKS * world->plan.group.tick_ms * MS);
    inspect_settled(world);
    result->healed_ns = rr_max_u64(result->healed_ns, sim_now(world->sim) - begin);
    elections = world->oracle.election_count - elections;
    if (elections > LEADER_CHANGES_MAX * world->plan.group_count)
        failure_report("%llu elections after all could reach a leader", (ull)elections);
}

static void close_all(struct world *world)
{
    for (uint32_t i = 0; i < world->plan.node_count; i++)
        if (world->nodes[i].engine)
            node_close(&world->nodes[i]);
}

void world_play(const struct plan *plan, uint32_t seconds, bool is_verbose,
                struct world_result *result)
{
    static struct world world; /* large */

    *result = (struct world_result){0};
    world_init(&world, plan, is_verbose);
    failure_watch(plan, seconds, world.sim);
    if (is_verbose)
        plan_print(plan);
    tend(&world);
    play_with_faults(&world, sim_now(world.sim) + seconds * SECOND);
    play_healed(&world, result);
    uint64_t index = first_whole(&world, 0)->machine.index;
    close_all(&world);
    /* Once more, from what the disks hold. */
    play_healed(&world, result);
    uint64_t again = first_whole(&world, 0)->machine.index;
    if (again <= index)
        failure_report("after a restart of all the state machine stands at %llu, before at %llu",
                       (ull)again, (ull)index);
    close_all(&world);
    workload_judge(&world.workload);
    result->counts = world.counts;
    result->windows = world.workload.window_count;
    result->trace = sim_trace_hash(world.sim);
    result->events = sim_event_count(world.sim);
    result->virtual_ns = sim_now(world.sim);
    result->acknowledged = world.workload.done_count;
    result->elections = world.oracle.election_count;
    result->changes = world.changer.done_count;
    for (uint32_t slot = 0; slot < PLAN_GROUPS_MAX; slot++)
        result->reads += world.readers[slot].done_count + world.readers[slot].stale_count;
    world_fini(&world);
}
