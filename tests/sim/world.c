/* SPDX-License-Identifier: Apache-2.0
 *
 * Processes come and go on machines whose disks stay; clients propose; the oracle watches. Between
 * two events of the simulation, and only there, the driver crashes, starts, proposes.
 */
#include "tests/sim/world.h"

#include "engine/engine.h"
#include "io/identity.h"
#include "tests/sim/failure.h"

#include <stdarg.h>
#include <stdio.h>

#define MS     1000000ull
#define SECOND 1000000000ull
#define PORT   7001
/* After the last fault the cluster must have converged within this time: the longest wait of the
 * nodes is a connect that times out (3 s) and a reconnect after the longest backoff (1 s). */
#define HEALED_MAX_NS (30 * SECOND)

typedef unsigned long long ull;

void world_say(const struct world *world, const char *format, ...)
{
    va_list arguments;
    if (!world->is_verbose)
        return;
    printf("  %12.6f  ", (double)sim_now(world->sim) / 1e9);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
}

static struct workload_target target_of(const struct node *node)
{
    return (struct workload_target){node->group, node->number, node->incarnation};
}

static bool is_dead(const struct node *node)
{
    return sim_crashed(node->world->sim, node->number);
}

/* ---- what nodes say ------------------------------------------------------ */

/* A process that died says nothing any more, whatever its remains still do. */
static void on_vote_sent(void *ctx, uint64_t group, uint64_t term, uint64_t vote)
{
    struct node *node = ctx;
    (void)group;
    if (!is_dead(node))
        oracle_vote(&node->world->oracle, node->number, term, vote);
}

static void on_leader(void *ctx, uint64_t group, uint64_t term)
{
    struct node *node = ctx;
    struct world *world = node->world;
    (void)group;
    if (is_dead(node))
        return;
    world_say(world, "node %u leads term %llu", node->number, (ull)term);
    oracle_leader(&world->oracle, node->number, term);
    if (term > world->leader_term) {
        world->leader = node->number;
        world->leader_term = term;
    }
}

static void on_commit(void *ctx, uint64_t group, uint64_t index, uint64_t term)
{
    struct node *node = ctx;
    (void)group;
    if (is_dead(node))
        return;
    if (index <= node->committed)
        failure_report("node %u commits entry %llu after %llu", node->number, (ull)index,
                       (ull)node->committed);
    node->committed = index;
    oracle_commit(&node->world->oracle, node->number, index, term);
}

static void on_apply(void *ctx, const struct rr_apply_entry *entry, uint64_t hash)
{
    struct node *node = ctx;
    if (is_dead(node))
        return;
    workload_apply(&node->world->workload, entry);
    oracle_apply(&node->world->oracle, node->number, entry->index, hash);
}

static void on_restore(void *ctx, uint64_t index, uint64_t hash)
{
    struct node *node = ctx;
    if (is_dead(node))
        return;
    node->world->counts.restores += index > 0;
    oracle_restore(&node->world->oracle, node->number, index, hash);
}

static void on_complete(void *ctx, const struct rr_completion *completions, uint32_t count)
{
    struct node *node = ctx;
    struct world *world = node->world;
    struct workload_target target = target_of(node);

    if (is_dead(node))
        return;
    for (uint32_t i = 0; i < count; i++) {
        if (completions[i].tag & READERS_TAG)
            readers_complete(&world->readers, &target, &completions[i], node->machine.index);
        else
            workload_complete(&world->workload, &target, &completions[i]);
    }
    if (world->plan.proposes_in_callbacks && !world->is_healed && node->group &&
        world->workload.count < world->plan.proposals_max &&
        world->workload.pending < world->plan.outstanding_max)
        workload_propose(&world->workload, &target, 1);
}

static void on_log(void *ctx, int level, const char *line)
{
    const struct node *node = ctx;
    world_say(node->world, "node %u (%d): %s", node->number, level, line);
}

/* ---- processes ----------------------------------------------------------- */

static int open_group(struct world *world, struct node *node, struct rr_error *error)
{
    struct rr_group_options options = world->plan.group;
    struct rr_state_machine machine;
    struct engine_observer observer = {node, on_vote_sent, on_leader, on_commit};

    engine_observe(node->engine, &observer);
    options.peers = world->peers;
    options.peer_count = world->plan.node_count;
    options.on_complete = on_complete;
    options.ctx = node;
    node->machine = (struct chain_machine){.snapshot_bytes = world->plan.snapshot_bytes,
                                           .ctx = node,
                                           .on_apply = on_apply,
                                           .on_restore = on_restore};
    chain_machine_bind(&node->machine, &machine);
    return rr_group_open(node->engine, &options, &machine, &node->group, error);
}

/* The oracle reads the disk by itself; all it needs to know is the directory's instance. */
static void introduce(struct world *world, struct node *node)
{
    struct durable_log *log = &world->oracle.logs[node->number - 1];
    struct identity identity;
    struct rr_error error;

    if (log->instance == 0 && identity_read(node->io, node->dir, &identity, &error) == 0)
        log->instance = identity.instance;
}

/* Only a disk may be the reason: one with an error, or a full one (what is kept in reserve for
 * restarts and votes may be used up by them). */
static void not_opened(struct world *world, struct node *node, int err, const char *why)
{
    world_say(world, "node %u does not open: %s", node->number, why);
    if (!(node->is_sick && err == RR_E_IO) && !(node->is_full && err == RR_E_NO_SPACE))
        failure_report("node %u does not open: %s: %s", node->number, rr_err_name(err), why);
    node->is_sick &= err != RR_E_IO; /* else it was the error that was ordered */
    if (node->engine)
        rr_engine_close(node->engine, RR_CLOSE_ABORT);
    node->engine = NULL;
    node->group = NULL;
    node->restart_at = sim_now(world->sim) + 10 * MS;
}

/* Some processes are to die young. */
static void arm_crash(struct world *world, const struct node *node)
{
    const struct plan *plan = &world->plan;
    uint64_t countdown = 0;

    if (plan->crash_at > 0 && node->number == 1 && node->incarnation <= 2)
        countdown = node->incarnation == 1 ? plan->crash_at : 1 + plan->crash_at % 40;
    else if (plan->crashes_in_recovery && !world->is_healed && stream_chance(&world->chance, 1, 3))
        countdown = stream_between(&world->chance, 1, 60);
    if (countdown == 0)
        return;
    bool power = stream_chance(&world->chance, 1, 2);
    sim_crash_at_io(world->sim, node->number, countdown, power,
                    (enum sim_power_loss)stream_below(&world->chance, SIM_POWER_LOSS_COUNT));
}

void world_open(struct world *world, struct node *node)
{
    struct rr_engine_options options = world->plan.engine;
    struct rr_error error = {0};

    RR_ASSERT(!node->engine);
    sim_reset(world->sim, node->number);
    node->incarnation++;
    node->committed = 0;
    arm_crash(world, node);
    options.dir = node->dir;
    options.listen = node->address;
    options.node_id = node->number;
    options.log = on_log;
    options.log_ctx = node;
    int err = engine_open_on(node->io, &options, &node->engine, &error);
    if (err == 0)
        err = open_group(world, node, &error);
    if (err == 0)
        introduce(world, node);
    if (is_dead(node))
        world_bury(world, node);
    else if (err != 0)
        not_opened(world, node, err, error.message);
    else
        world_say(world, "node %u runs", node->number);
}

void world_bury(struct world *world, struct node *node)
{
    struct workload_target target = target_of(node);

    world_say(world, "node %u died", node->number);
    world->counts.deaths++;
    if (node->engine)
        engine_abandon(node->engine);
    node->engine = NULL;
    node->group = NULL;
    workload_forget(&world->workload, &target);
    readers_forget(&world->readers, &target);
    node->restart_at =
        sim_now(world->sim) + stream_below(&world->chance, world->plan.down_max_ns + 1);
}

void world_close(struct world *world, struct node *node)
{
    struct workload_target target = target_of(node);
    bool aborts = stream_chance(&world->chance, 1, 3);
    struct rr_group_status status = {.size = sizeof(status)};

    if (rr_group_status(node->group, &status) == 0)
        world->counts.segments_recycled += status.segments_recycled;
    world_say(world, "node %u closes (%s)", node->number, aborts ? "abort" : "drain");
    int err = rr_engine_close(node->engine, aborts ? RR_CLOSE_ABORT : RR_CLOSE_DRAIN);
    node->engine = NULL;
    node->group = NULL;
    if (is_dead(node)) {
        world_bury(world, node);
        return;
    }
    if (err != 0 && !(err == RR_E_POISONED && node->is_sick))
        failure_report("node %u does not close: %s", node->number, rr_err_name(err));
    node->is_sick &= err == 0; /* the error that was ordered has struck */
    uint64_t pending = world->workload.pending + world->readers.pending_count;
    workload_forget(&world->workload, &target);
    readers_forget(&world->readers, &target);
    uint64_t left = world->workload.pending + world->readers.pending_count;
    if (left != pending)
        failure_report("node %u closed and still owes %llu completions", node->number,
                       (ull)(pending - left));
    node->restart_at = sim_now(world->sim);
}

/* Fail-stop: the node said why, and waits for its end. */
static bool has_stopped(const struct node *node)
{
    struct rr_group_status status = {.size = sizeof(status)};
    return rr_group_status(node->group, &status) == 0 && status.error != 0;
}

/* Buries who died; starts whose time has come. */
static void tend(struct world *world)
{
    for (uint32_t i = 0; i < world->plan.node_count; i++) {
        struct node *node = &world->nodes[i];
        if (node->engine && is_dead(node))
            world_bury(world, node);
        if (node->engine && node->is_sick && has_stopped(node))
            world_close(world, node);
        if (!node->engine && (world->is_healed || sim_now(world->sim) >= node->restart_at))
            world_open(world, node);
    }
}

static bool has_dead(const struct world *world)
{
    for (uint32_t i = 0; i < world->plan.node_count; i++)
        if (world->nodes[i].engine && is_dead(&world->nodes[i]))
            return true;
    return false;
}

/* To this moment, or to the next death, which is tended. */
static void run_until(struct world *world, uint64_t time)
{
    while (sim_now(world->sim) < time) {
        uint64_t until = time;
        for (uint32_t i = 0; i < world->plan.node_count; i++)
            if (!world->nodes[i].engine)
                until =
                    rr_min_u64(until, rr_max_u64(world->nodes[i].restart_at, sim_now(world->sim)));
        while (sim_next_time(world->sim) <= until && !has_dead(world))
            sim_step(world->sim);
        if (!has_dead(world))
            sim_run_until(world->sim, until);
        tend(world);
    }
}

/* ---- clients ------------------------------------------------------------- */

/* On any node. */
static void read_somewhere(struct world *world)
{
    uint64_t choice = stream_below(&world->readers.chance, world->plan.node_count);
    struct node *node = &world->nodes[choice];
    struct workload_target target = target_of(node);

    if (node->engine)
        readers_ask(&world->readers, &target, sim_now(world->sim), node->machine.index);
}

static void propose(struct world *world)
{
    const struct plan *plan = &world->plan;
    struct workload *workload = &world->workload;
    uint32_t number = world->leader;

    if (number == 0 || stream_chance(&workload->chance, 1, 50))
        number = 1 + (uint32_t)stream_below(&workload->chance, plan->node_count);
    struct node *node = &world->nodes[number - 1];
    if (!node->engine)
        return;
    struct workload_target target = target_of(node);
    uint32_t burst = 1 + (uint32_t)stream_below(&workload->chance, plan->burst_max);
    if (plan->outstanding_max == 0 || workload->count >= plan->proposals_max) {
        workload_propose(workload, &target, burst);
        return;
    }
    for (uint32_t i = 0; i < plan->outstanding_max && workload->pending < plan->outstanding_max;
         i++)
        workload_propose(workload, &target, 1);
}

/* ---- a run --------------------------------------------------------------- */

static void world_init(struct world *world, const struct plan *plan, bool is_verbose)
{
    const char *dirs[PLAN_NODES_MAX];

    *world = (struct world){.plan = *plan, .is_verbose = is_verbose};
    world->sim = sim_new(plan->seed);
    world->chance = stream_make(plan->seed + plan->crash_at, 0xfa17);
    for (uint32_t i = 0; i < plan->node_count; i++) {
        struct node *node = &world->nodes[i];
        node->world = world;
        node->number = i + 1;
        node->io = sim_machine(world->sim, i + 1);
        snprintf(node->dir, sizeof(node->dir), "/node");
        snprintf(node->address, sizeof(node->address), "127.0.0.%u:%u", i + 1, PORT);
        dirs[i] = node->dir;
        world->peers[i] = (struct rr_peer_address){i + 1, node->address};
        sim_disk_buffered(world->sim, i + 1, plan->buffered_disks);
    }
    oracle_init(&world->oracle, world->sim, plan->node_count, dirs);
    workload_init(&world->workload, &world->plan, &world->oracle);
    readers_init(&world->readers, plan->seed, &world->oracle);
}

static void world_fini(struct world *world)
{
    workload_fini(&world->workload);
    oracle_fini(&world->oracle);
    sim_free(world->sim);
}

static void play_with_faults(struct world *world, uint64_t end)
{
    const struct plan *plan = &world->plan;
    uint64_t next_propose = sim_now(world->sim), next_fault = UINT64_MAX;

    if (plan->fault_interval_ns)
        next_fault =
            sim_now(world->sim) + stream_below(&world->chance, 2 * plan->fault_interval_ns);
    while (sim_now(world->sim) < end) {
        run_until(world, rr_min_u64(end, rr_min_u64(next_propose, next_fault)));
        if (sim_now(world->sim) >= next_fault) {
            faults_strike(world);
            next_fault =
                sim_now(world->sim) + 1 + stream_below(&world->chance, 2 * plan->fault_interval_ns);
        }
        if (sim_now(world->sim) >= next_propose) {
            propose(world);
            if (plan->reads)
                read_somewhere(world);
            next_propose = sim_now(world->sim) + 1 +
                           stream_below(&world->workload.chance, 2 * plan->propose_interval_ns);
        }
    }
}

/* Does every state machine stand where the furthest stands, and is nothing owed to anybody? */
static bool has_converged(const struct world *world)
{
    const struct chain_machine *first = &world->nodes[0].machine;
    if (world->workload.pending > 0 || world->readers.pending_count > 0)
        return false;
    for (uint32_t i = 0; i < world->plan.node_count; i++) {
        const struct node *node = &world->nodes[i];
        if (!node->engine || node->machine.index != first->index ||
            node->machine.hash != first->hash)
            return false;
    }
    return first->index >= world->oracle.acknowledged_max;
}

/* For whoever has to find out why. */
static void print_nodes(const struct world *world)
{
    for (uint32_t i = 0; i < world->plan.node_count; i++) {
        const struct node *node = &world->nodes[i];
        struct rr_group_status s = {.size = sizeof(s)};
        if (!node->group || rr_group_status(node->group, &s) != 0)
            continue;
        fprintf(
            stderr,
            "node %u: role %u, term %llu, lead %llu, first %llu, last %llu, commit %llu, applied "
            "%llu (machine %llu), snapshot %llu, error %s\n",
            node->number, s.role, (ull)s.term, (ull)s.lead, (ull)s.first_index, (ull)s.last_index,
            (ull)s.commit, (ull)s.applied, (ull)node->machine.index, (ull)s.snapshot_index,
            rr_err_name(s.error));
        for (uint32_t k = 0; k < s.peer_count; k++)
            fprintf(stderr, "    peer %llu: match %llu, next %llu, state %u%s%s, refusal %d\n",
                    (ull)s.peers[k].node, (ull)s.peers[k].match, (ull)s.peers[k].next,
                    s.peers[k].state, s.peers[k].active ? ", active" : "",
                    s.peers[k].connected ? ", connected" : "", s.peers[k].refusal);
    }
}

static void fail_to_converge(const struct world *world, uint64_t done_before)
{
    print_nodes(world);
    failure_report("no convergence %llu s after the last fault: %llu proposals done since, %llu "
                   "pending, leader %u, last refusal %s",
                   HEALED_MAX_NS / SECOND, (ull)(world->workload.done_count - done_before),
                   (ull)world->workload.pending, world->leader,
                   rr_err_name(world->workload.last_refusal));
}

/* Without faults: a proposal succeeds, and all become equal. */
static void play_healed(struct world *world)
{
    uint64_t end = sim_now(world->sim) + HEALED_MAX_NS;
    uint64_t done_before = world->workload.done_count;

    world->is_healed = true;
    faults_heal(world);
    tend(world);
    while (world->workload.done_count == done_before || !has_converged(world)) {
        if (sim_now(world->sim) >= end)
            fail_to_converge(world, done_before);
        if (world->workload.done_count == done_before && world->workload.pending == 0)
            propose(world);
        run_until(world, sim_now(world->sim) + 10 * MS);
    }
}

static void close_all(struct world *world)
{
    for (uint32_t i = 0; i < world->plan.node_count; i++)
        world_close(world, &world->nodes[i]);
}

void world_play(const struct plan *plan, uint32_t seconds, bool is_verbose,
                struct world_result *result)
{
    static struct world world; /* large */

    world_init(&world, plan, is_verbose);
    failure_watch(plan, seconds, world.sim);
    if (is_verbose)
        plan_print(plan);
    tend(&world);
    play_with_faults(&world, sim_now(world.sim) + seconds * SECOND);
    play_healed(&world);
    uint64_t index = world.nodes[0].machine.index;
    close_all(&world);
    /* Once more, from what the disks hold. */
    play_healed(&world);
    if (world.nodes[0].machine.index <= index)
        failure_report("after a restart of all the state machine stands at %llu, before at %llu",
                       (ull)world.nodes[0].machine.index, (ull)index);
    close_all(&world);
    *result = (struct world_result){
        .counts = world.counts,
        .trace = sim_trace_hash(world.sim),
        .events = sim_event_count(world.sim),
        .virtual_ns = sim_now(world.sim),
        .acknowledged = world.workload.done_count,
        .reads = world.readers.done_count + world.readers.stale_count,
        .elections = world.oracle.election_count,
    };
    world_fini(&world);
}
