/* SPDX-License-Identifier: Apache-2.0
 *
 * Processes on machines whose disks stay: how they start and end, and what is made of all they say.
 */
#include "tests/sim/world.h"

#include "engine/group.h"
#include "io/identity.h"
#include "tests/sim/core_term.h"
#include "tests/sim/failure.h"

#include <stdarg.h>
#include <stdio.h>

#define MS   1000000ull
#define PORT 7001

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

void node_init(struct world *world, uint32_t number)
{
    struct node *node = &world->nodes[number - 1];

    node->world = world;
    node->number = number;
    node->id = number;
    node->io = sim_machine(world->sim, number);
    for (uint32_t slot = 0; slot < PLAN_GROUPS_MAX; slot++) {
        node->replicas[slot].node = node;
        node->replicas[slot].slot = slot;
    }
    snprintf(node->dir, sizeof(node->dir), "/node");
    snprintf(node->address, sizeof(node->address), "127.0.0.%u:%u", number, PORT);
    sim_disk_buffered(world->sim, number, world->plan.buffered_disks);
    if (world->plan.clock_skew)
        sim_clock_rate(world->sim, number,
                       (uint32_t)stream_between(&world->chance, 800000, 1200000));
}

static struct oracle_source source_of(const struct replica *replica)
{
    return (struct oracle_source){replica->node->number, replica->slot};
}

struct workload_target replica_target(const struct replica *replica)
{
    return (struct workload_target){replica->group, source_of(replica), replica->node->incarnation};
}

/* ---- what nodes say ------------------------------------------------------ */

/* A process that died says nothing any more, whatever its remains still do. */
static struct replica *speaker(void *ctx, uint64_t group)
{
    struct node *node = ctx;
    uint64_t slot = group - node->world->plan.group.group_id;

    RR_ASSERT(slot < node->world->plan.group_count);
    return node_is_dead(node) ? NULL : &node->replicas[slot];
}

static void on_vote_sent(void *ctx, uint64_t group, uint64_t term, uint64_t vote)
{
    const struct replica *replica = speaker(ctx, group);
    if (!replica)
        return;
    if (replica->node->is_stranger)
        failure_report("node %u votes, from a directory that is not its newest",
                       replica->node->number);
    oracle_vote(&replica->node->world->oracle, source_of(replica), term, vote);
}

static uint64_t term_at(void *ctx, uint64_t index)
{
    const struct rr_group *group = ctx;
    return core_term(group->node, index);
}

static void on_leader(void *ctx, uint64_t group, uint64_t term)
{
    const struct replica *replica = speaker(ctx, group);
    if (!replica)
        return;
    struct world *world = replica->node->world;
    world_say(world, "node %u leads term %llu of group %u", replica->node->number, (ull)term,
              replica->slot);
    struct oracle_log log = {replica->group->log.first, term_at, replica->group};
    oracle_leader(&world->oracle, source_of(replica), term, &log);
    if (term > world->leader_terms[replica->slot]) {
        world->leaders[replica->slot] = replica->node->number;
        world->leader_terms[replica->slot] = term;
    }
}

static void on_commit(void *ctx, uint64_t group, uint64_t index, uint64_t term)
{
    struct replica *replica = speaker(ctx, group);
    if (!replica)
        return;
    if (index <= replica->committed)
        failure_report("node %u commits entry %llu after %llu", replica->node->number, (ull)index,
                       (ull)replica->committed);
    replica->committed = index;
    oracle_commit(&replica->node->world->oracle, source_of(replica), index, term);
}

static void on_apply(void *ctx, const struct rr_apply_entry *entry, uint64_t hash)
{
    struct replica *replica = ctx;
    if (node_is_dead(replica->node))
        return;
    workload_apply(&replica->node->world->workload, replica->slot, entry);
    oracle_apply(&replica->node->world->oracle, source_of(replica), entry->index, hash);
}

static void on_restore(void *ctx, uint64_t index, uint64_t hash)
{
    struct replica *replica = ctx;
    if (node_is_dead(replica->node))
        return;
    replica->node->world->counts.restores += index > 0;
    oracle_restore(&replica->node->world->oracle, source_of(replica), index, hash);
}

static void on_complete(void *ctx, const struct rr_completion *completions, uint32_t count)
{
    struct replica *replica = ctx;
    struct world *world = replica->node->world;
    struct workload *workload = &world->workload;
    struct workload_target target = replica_target(replica);

    if (node_is_dead(replica->node))
        return;
    for (uint32_t i = 0; i < count; i++) {
        if (completions[i].tag & CHANGER_TAG && !(completions[i].tag & READERS_TAG))
            changer_complete(&world->changer, &target, &completions[i]);
        else if (completions[i].tag & READERS_TAG)
            readers_complete(&world->readers[replica->slot], &target, &completions[i],
                             &replica->machine);
        else
            workload_complete(workload, &target, &completions[i]);
    }
    if (world->plan.proposes_in_callbacks && !world->is_healed && replica->group &&
        workload->count < world->plan.proposals_max &&
        workload->pending < world->plan.outstanding_max)
        workload_propose(workload, &target, 1);
}

/* Who is right is never called wrong. */
static void on_event(void *ctx, const struct rr_event *event)
{
    struct node *node = ctx;
    if (event->kind != RR_EVENT_DIVERGENCE || node_is_dead(node))
        return;
    struct world *world = node->world;
    world_say(world, "node %u says that the state of node %llu differs", node->number,
              (ull)event->node);
    world->counts.alarms++;
    if (!world->nodes[oracle_machine(event->node) - 1].was_twisted && !node->was_twisted)
        failure_report("node %u says that the state of node %llu differs at %llu; it never did",
                       node->number, (ull)event->node, (ull)event->index);
}

static void on_log(void *ctx, int level, const char *line)
{
    const struct node *node = ctx;
    world_say(node->world, "node %u (%d): %s", node->number, level, line);
}

/* ---- starting ------------------------------------------------------------ */

static int open_group(struct replica *replica, struct rr_error *error)
{
    const struct world *world = replica->node->world;
    struct rr_group_options options = world->plan.group;
    struct rr_state_machine machine;

    options.group_id += replica->slot;
    options.peers = world->peers;
    options.peer_count = world->plan.voter_count;
    options.on_complete = on_complete;
    options.ctx = replica;
    replica->committed = 0;
    replica->reopen_at = 0;
    replica->machine = (struct chain_machine){.snapshot_bytes = world->plan.snapshot_bytes,
                                              .ctx = replica,
                                              .on_apply = on_apply,
                                              .on_restore = on_restore};
    chain_machine_bind(&replica->machine, &machine);
    return rr_group_open(replica->node->engine, &options, &machine, &replica->group, error);
}

static int open_process(struct node *node, struct rr_error *error)
{
    struct rr_engine_options options = node->world->plan.engine;
    struct engine_observer observer = {node, on_vote_sent, on_leader, on_commit};

    options.dir = node->dir;
    options.listen = node->address;
    options.node_id = node->id;
    if (node->id > node->world->plan.voter_count)
        options.create = RR_CREATE_JOIN;
    if (node->world->is_verbose)
        options.log = on_log;
    options.log_ctx = node;
    options.on_event = on_event;
    options.event_ctx = node;
    int err = engine_open_on(node->io, &options, &node->engine, error);
    if (err)
        return err;
    engine_observe(node->engine, &observer);
    for (uint32_t slot = 0; err == 0 && slot < node->world->plan.group_count; slot++)
        err = open_group(&node->replicas[slot], error);
    return err;
}

/* The oracle reads the disk by itself; all it needs to know is the directory's instance. */
static void introduce(struct node *node)
{
    struct durable_log *log = &node->world->oracle.logs[node->number - 1];
    struct identity identity;
    struct rr_error error;

    if (log->instance != 0 || node->is_stranger)
        return;
    int err = identity_read(node->io, node->dir, &identity, &error);
    if (err != 0) /* the read error that was ordered struck here */
        err = identity_read(node->io, node->dir, &identity, &error);
    if (err == 0)
        durable_log_begin(log, identity.instance);
}

static void forget_engine(struct node *node)
{
    node->engine = NULL;
    for (uint32_t slot = 0; slot < PLAN_GROUPS_MAX; slot++) {
        node->replicas[slot].group = NULL;
        node->replicas[slot].machine.is_twisted = false;
        node->replicas[slot].reopen_at = 0;
    }
}

/* Only a disk may be the reason: one with an error, or a full one (what is kept in reserve for
 * restarts and votes may be used up by them), or one that was tampered with. */
static void not_opened(struct node *node, int err, const char *why)
{
    world_say(node->world, "node %u does not open: %s", node->number, why);
    if (!disks_excuse(node, err) && !(node->is_sick && err == RR_E_IO) &&
        !(node->is_full && err == RR_E_NO_SPACE))
        failure_report("node %u does not open: %s: %s", node->number, rr_err_name(err), why);
    if (err == RR_E_IO) /* it was the error that was ordered */
        node->is_sick = sim_disk_will_fail(node->world->sim, node->number);
    if (node->engine)
        rr_engine_close(node->engine, RR_CLOSE_ABORT);
    forget_engine(node);
    node->restart_at = sim_now(node->world->sim) + 10 * MS;
}

/* Some processes are to die young. */
static void arm_crash(const struct node *node)
{
    struct world *world = node->world;
    const struct plan *plan = &world->plan;
    uint64_t countdown = 0;

    /* The second process only if the first one did: a run without deaths ends the series. */
    bool is_doomed = node->incarnation == 1 || (node->incarnation == 2 && world->counts.deaths);
    if (plan->crash_at > 0 && node->number == 1 && is_doomed)
        countdown = node->incarnation == 1 ? plan->crash_at : 1 + plan->crash_at % 40;
    else if (plan->crashes_in_recovery && !world->is_healed && stream_chance(&world->chance, 1, 3))
        countdown = stream_between(&world->chance, 1, 60);
    if (countdown == 0)
        return;
    bool power = stream_chance(&world->chance, 1, 2);
    sim_crash_at_io(world->sim, node->number, countdown, power,
                    (enum sim_power_loss)stream_below(&world->chance, SIM_POWER_LOSS_COUNT));
}

/* What was durable when the process began is what it begins with. */
static void check_recovered(const struct replica *replica, const struct durable_group *durable)
{
    struct rr_group_status status = {.size = sizeof(status)};

    if (rr_group_status(replica->group, &status) != 0)
        return;
    if (status.term < durable->term || status.last_index < durable->last_index ||
        (status.term == durable->term && status.vote != durable->vote))
        failure_report("node %u opens with term %llu, vote %llu, entries up to %llu; durable "
                       "were term %llu, vote %llu, entries up to %llu",
                       replica->node->number, (ull)status.term, (ull)status.vote,
                       (ull)status.last_index, (ull)durable->term, (ull)durable->vote,
                       (ull)durable->last_index);
}

void node_open(struct node *node)
{
    struct world *world = node->world;
    struct durable_log *log = &world->oracle.logs[node->number - 1], before;
    struct rr_error error = {0};

    RR_ASSERT(!node->engine && !node->is_out && node->answer_at == 0);
    sim_reset(world->sim, node->number);
    node->incarnation++;
    durable_log_advance(log);
    before = *log;
    arm_crash(node);
    int err = open_process(node, &error);
    if (err == 0)
        introduce(node);
    if (node_is_dead(node))
        node_bury(node);
    else if (err != 0)
        not_opened(node, err, error.message);
    else
        world_say(world, "node %u runs", node->number);
    for (uint32_t slot = 0; node->engine && slot < world->plan.group_count; slot++)
        if (before.instance != 0)
            check_recovered(&node->replicas[slot], &before.groups[slot]);
}

/* ---- ending -------------------------------------------------------------- */

/* How many completions this process still owed, of one group and of all. */
static uint64_t forget_requests_of(const struct replica *replica)
{
    struct world *world = replica->node->world;
    uint64_t owed = world_pending(world);
    struct workload_target target = replica_target(replica);

    workload_forget(&world->workload, &target);
    readers_forget(&world->readers[replica->slot], &target);
    changer_forget(&world->changer, &target);
    return owed - world_pending(world);
}

static uint64_t forget_requests(const struct node *node)
{
    uint64_t owed = 0;
    for (uint32_t slot = 0; slot < node->world->plan.group_count; slot++)
        owed += forget_requests_of(&node->replicas[slot]);
    return owed;
}

void node_bury(struct node *node)
{
    struct world *world = node->world;

    world_say(world, "node %u died", node->number);
    world->counts.deaths++;
    if (node->engine)
        engine_abandon(node->engine);
    forget_requests(node);
    forget_engine(node);
    node->resume_at = node->wake_at = 0;
    node->restart_at =
        sim_now(world->sim) + stream_below(&world->chance, world->plan.down_max_ns + 1);
    disks_settle(node);
}

int node_error(const struct node *node)
{
    for (uint32_t slot = 0; slot < node->world->plan.group_count; slot++) {
        const struct rr_group *group = node->replicas[slot].group;
        if (group && group->error != 0 && group->error != RR_E_CLOSED)
            return group->error;
    }
    return 0;
}

bool node_is_twisted(const struct node *node)
{
    for (uint32_t slot = 0; slot < node->world->plan.group_count; slot++)
        if (node->replicas[slot].machine.is_twisted)
            return true;
    return false;
}

static bool has_machine_failed(const struct node *node)
{
    for (uint32_t slot = 0; slot < node->world->plan.group_count; slot++)
        if (node->replicas[slot].machine.has_failed)
            return true;
    return false;
}

bool node_must_restart(struct node *node)
{
    int err = node_error(node);
    if (err == 0)
        return false;
    if (!node->is_sick && !node->is_harmed && !node->is_full &&
        !(err == RR_E_DIVERGED && node_is_twisted(node)) &&
        !(err == RR_E_STATE_MACHINE && has_machine_failed(node)))
        failure_report("node %u stops with %s, and nothing was done to it", node->number,
                       rr_err_name(err));
    return node->is_sick || node->is_harmed || err == RR_E_DIVERGED || err == RR_E_STATE_MACHINE;
}

bool replica_believes_to_lead(const struct replica *replica)
{
    return replica_listens(replica) && replica->group->role == RR_STATE_LEADER;
}

bool replica_is_member(const struct replica *replica)
{
    const struct node *node = replica->node;
    return config_has_member(configs_last(&node->world->oracle.groups[replica->slot].configs),
                             node->id);
}

void node_close(struct node *node)
{
    struct world *world = node->world;
    bool aborts = stream_chance(&world->chance, 1, 3);
    struct rr_group_status status = {.size = sizeof(status)};

    RR_ASSERT(node->resume_at == 0 && node->answer_at == 0);
    faults_wake(node); /* a close waits for what is being applied */
    if (node->replicas[0].group && rr_group_status(node->replicas[0].group, &status) == 0) {
        world->counts.segments_recycled += status.segments_recycled;
        world->counts.log_reads += status.log_reads;
        world->counts.log_moved_bytes += status.log_moved_bytes;
    }
    world_say(world, "node %u closes (%s)", node->number, aborts ? "abort" : "drain");
    int err = rr_engine_close(node->engine, aborts ? RR_CLOSE_ABORT : RR_CLOSE_DRAIN);
    node->engine = NULL;
    if (node_is_dead(node)) {
        node_bury(node);
        return;
    }
    if (err != 0 && !(err == RR_E_POISONED && node->is_sick))
        failure_report("node %u does not close: %s", node->number, rr_err_name(err));
    if (err != 0) /* the error that was ordered has struck */
        node->is_sick = sim_disk_will_fail(world->sim, node->number);
    uint64_t owed = forget_requests(node);
    if (owed != 0)
        failure_report("node %u closed and still owes %llu completions", node->number, (ull)owed);
    forget_engine(node);
    node->restart_at = sim_now(world->sim);
    disks_settle(node);
}

void node_renew(struct node *node)
{
    struct world *world = node->world;
    if (node->engine)
        node_close(node);
    node->is_harmed = node->is_stranger = node->is_out = false;
    node->lonely_starts = 0;
    sim_disk_image_free(node->image);
    node->image = NULL;
    node->restart_at = sim_now(world->sim);
    node->id += ORACLE_IDS_STEP;
    sim_disk_replace(world->sim, node->number, NULL);
    oracle_renew(&world->oracle, node->number, node->id);
    world_say(world, "machine %u begins anew, as node %llu", node->number, (ull)node->id);
}

/* ---- a group comes and goes ---------------------------------------------- */

void replica_close(struct replica *replica)
{
    struct node *node = replica->node;
    struct world *world = node->world;
    bool aborts = stream_chance(&world->chance, 1, 3);

    RR_ASSERT(replica_listens(replica) && replica->reopen_at == 0 && node->answer_at == 0);
    world_say(world, "node %u closes group %u (%s)", node->number, replica->slot,
              aborts ? "abort" : "drain");
    int err = rr_group_close(replica->group, aborts ? RR_CLOSE_ABORT : RR_CLOSE_DRAIN);
    if (node_is_dead(node))
        return; /* it is buried soon */
    if (err != 0 && !node->is_sick)
        failure_report("node %u does not close group %u: %s", node->number, replica->slot,
                       rr_err_name(err));
    uint64_t owed = forget_requests_of(replica);
    if (owed != 0)
        failure_report("node %u closed group %u and still owes %llu completions", node->number,
                       replica->slot, (ull)owed);
    replica->reopen_at =
        sim_now(world->sim) + 1 + stream_below(&world->chance, world->plan.closed_max_ns);
}

void replica_open(struct replica *replica)
{
    struct node *node = replica->node;
    struct durable_log *log = &node->world->oracle.logs[node->number - 1];
    struct rr_error error = {0};

    RR_ASSERT(node_listens(node) && replica->reopen_at != 0);
    durable_log_advance(log);
    struct durable_group before = log->groups[replica->slot];
    int err = open_group(replica, &error);
    if (node_is_dead(node))
        return;
    if (err != 0 && err != RR_E_STALLED && !node->is_sick && !node->is_harmed && !node->is_full)
        failure_report("node %u does not open group %u again: %s", node->number, replica->slot,
                       error.message);
    if (err != 0) { /* the disk did not take its end, or did not give it back: it starts anew */
        world_say(node->world, "node %u does not open group %u again: %s", node->number,
                  replica->slot, error.message);
        node_close(node);
        return;
    }
    world_say(node->world, "node %u opens group %u again", node->number, replica->slot);
    if (log->instance != 0)
        check_recovered(replica, &before);
}
