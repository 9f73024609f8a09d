/* SPDX-License-Identifier: Apache-2.0
 *
 * What goes wrong in a world: one strike at a time, drawn from the classes that the plan switched
 * on. Cuts and slow disks end by later strikes of the same class.
 */
#include "tests/sim/world.h"

#include <errno.h>

#define MS 1000000ull

static struct node *any_node(struct world *world)
{
    return &world->nodes[stream_below(&world->chance, world->plan.node_count)];
}

/* In half of the cases one that leads: what happens to it matters most. */
static struct node *leader_or_any(struct world *world)
{
    uint32_t slot = (uint32_t)stream_below(&world->chance, world->plan.group_count);
    struct node *node = any_node(world);
    bool wants_leader = stream_chance(&world->chance, 1, 2);

    return wants_leader && world->leaders[slot] ? &world->nodes[world->leaders[slot] - 1] : node;
}

/* Below `bound`; small numbers as likely as large ones. */
static uint64_t any_magnitude(struct world *world, uint64_t bound, uint64_t shifts)
{
    uint64_t number = stream_below(&world->chance, bound);
    return number >> stream_below(&world->chance, shifts);
}

static enum sim_power_loss any_loss(struct world *world)
{
    return (enum sim_power_loss)stream_below(&world->chance, SIM_POWER_LOSS_COUNT);
}

void faults_crash(struct node *node, bool power, enum sim_power_loss how)
{
    struct world *world = node->world;
    if (!node->engine)
        return;
    world_say(world, "strike: node %u %s", node->number, power ? "loses its power" : "is killed");
    if (power)
        sim_power_loss(world->sim, node->number, how);
    else
        sim_kill(world->sim, node->number);
    *(power ? &world->counts.power_losses : &world->counts.kills) += 1;
    node_bury(node);
}

static void crash_some(struct world *world, bool power)
{
    enum sim_power_loss how = any_loss(world);

    if (!world->plan.crashes_of_all || !stream_chance(&world->chance, 1, 4)) {
        faults_crash(any_node(world), power, how);
        return;
    }
    for (uint32_t i = 0; i < world->plan.node_count; i++)
        faults_crash(&world->nodes[i], power, how);
}

static void strike_kill(struct world *world)
{
    crash_some(world, false);
}

static void strike_power_loss(struct world *world)
{
    crash_some(world, true);
}

static void strike_orderly_restart(struct world *world)
{
    struct node *node = any_node(world);
    if (!node_listens(node) || node->answer_at != 0 || node->wake_at != 0)
        return;
    world->counts.orderly_restarts++;
    node_close(node);
}

static void strike_group_close(struct world *world)
{
    struct node *node = any_node(world);
    struct replica *replica =
        &node->replicas[stream_below(&world->chance, world->plan.group_count)];

    /* A close waits until the log has what was staged: as long as the disk is full, and it cannot
     * be emptied while the driver waits in the close. */
    if (!replica_listens(replica) || replica->reopen_at != 0 || node->answer_at != 0 ||
        node->wake_at != 0 || node->is_full)
        return;
    world->counts.group_closes++;
    replica_close(replica);
}

/* The process stands still for a while, and then believes that no time went by. */
static void strike_pause(struct world *world)
{
    struct node *node = leader_or_any(world);
    uint64_t ns = (1 + any_magnitude(world, 4000, 10)) * MS;

    if (!node_listens(node))
        return;
    world_say(world, "strike: node %u is stopped for %llu ms", node->number,
              (unsigned long long)(ns / MS));
    world->counts.pauses++;
    sim_pause(world->sim, node->number, true);
    node->resume_at = sim_now(world->sim) + ns;
}

static void strike_clock_drift(struct world *world)
{
    struct node *node = any_node(world);
    world->counts.drifts++;
    sim_clock_rate(world->sim, node->number,
                   (uint32_t)stream_between(&world->chance, 800000, 1200000));
}

/* Whatever a worker does takes long: applying, most of all. */
static void strike_slow_jobs(struct world *world)
{
    struct node *node = any_node(world);
    bool is_slow = stream_chance(&world->chance, 2, 3);
    uint64_t max = (1 + any_magnitude(world, 2000, 10)) * MS;

    world_say(world, "strike: jobs of node %u take up to %llu ms", node->number,
              (unsigned long long)(is_slow ? max / MS : 0));
    world->counts.slow_jobs += is_slow;
    sim_job_cost(world->sim, node->number, is_slow ? max : WORLD_JOB_COST_NS);
}

static void strike_machine_error(struct world *world)
{
    struct node *node = any_node(world);
    struct replica *replica =
        &node->replicas[stream_below(&world->chance, world->plan.group_count)];
    uint32_t n = 1 + (uint32_t)any_magnitude(world, 64, 6);

    if (!replica_listens(replica))
        return;
    world_say(world, "strike: callback %u of node %u's state machine %u will fail", n, node->number,
              replica->slot);
    world->counts.machine_errors++;
    replica->machine.fails_in = n;
}

/* One that differs, while all others are right, is found (world.c sees to it). */
static void strike_twist(struct world *world)
{
    struct node *node = any_node(world);
    struct replica *replica =
        &node->replicas[stream_below(&world->chance, world->plan.group_count)];

    if (world->plan.group.hash_entries == 0 || !replica_listens(replica) || !disks_may_harm(node))
        return;
    world_say(world, "strike: node %u's state machine %u is not what it should be", node->number,
              replica->slot);
    world->counts.twists++;
    replica->machine.is_twisted = true;
    node->was_twisted = true;
}

/* A crash waits for the n-th I/O from now on. */
static void strike_crash_at_io(struct world *world)
{
    struct node *node = any_node(world);
    bool power = world->plan.power_losses && stream_chance(&world->chance, 1, 2);
    uint64_t n = 1 + any_magnitude(world, 1024, 10);

    if (!node->engine)
        return;
    world_say(world, "strike: node %u crashes at its I/O %llu%s", node->number,
              (unsigned long long)n, power ? ", without power" : "");
    world->counts.crashes_at_io++;
    sim_crash_at_io(world->sim, node->number, n, power, any_loss(world));
}

static void cut(struct world *world, uint32_t from, uint32_t to, bool is_cut)
{
    if (from == to)
        return;
    sim_cut(world->sim, from, to, is_cut);
    if (is_cut)
        world->counts.cuts++;
}

/* One link, or all of one node, one way or both; in half of the strikes everything is joined again.
 */
static void cut_some(struct world *world, bool one_way)
{
    uint32_t count = world->plan.node_count;
    uint32_t a = leader_or_any(world)->number, b = any_node(world)->number;
    bool isolates = stream_chance(&world->chance, 1, 2);

    if (stream_chance(&world->chance, 1, 2)) {
        world_say(world, "strike: all links work again");
        for (uint32_t from = 1; from <= count; from++)
            for (uint32_t to = 1; to <= count; to++)
                cut(world, from, to, false);
        return;
    }
    world_say(world, "strike: node %u is cut off from %s%u%s", a, isolates ? "all but " : "",
              isolates ? a : b, one_way ? ", one way" : "");
    bool outwards = stream_chance(&world->chance, 1, 2);
    for (uint32_t other = 1; other <= count; other++) {
        if (!isolates && other != b)
            continue;
        if (!one_way || outwards)
            cut(world, a, other, true);
        if (!one_way || !outwards)
            cut(world, other, a, true);
    }
}

static void strike_cut(struct world *world)
{
    cut_some(world, false);
}

static void strike_one_way_cut(struct world *world)
{
    cut_some(world, true);
}

static void strike_flap(struct world *world)
{
    struct flap *flap = &world->flaps[stream_below(&world->chance, WORLD_FLAPS_MAX)];
    uint32_t from = any_node(world)->number, to = any_node(world)->number;

    if (flap->from != 0)
        cut(world, flap->from, flap->to, false);
    *flap = (struct flap){0};
    if (from == to)
        return;
    uint64_t period = (1 + any_magnitude(world, 500, 9)) * MS;
    world_say(world, "strike: the link from %u to %u comes and goes, each %llu ms", from, to,
              (unsigned long long)(period / MS));
    world->counts.flaps++;
    *flap = (struct flap){from, to, period, sim_now(world->sim) + period, false};
}

static void strike_slow_links(struct world *world)
{
    bool is_slow = stream_chance(&world->chance, 1, 2);
    uint64_t max = (1 + any_magnitude(world, 100, 6)) * MS;

    world_say(world, "strike: links take up to %llu ms",
              (unsigned long long)(is_slow ? max / MS : 0));
    world->counts.slow_links += is_slow;
    sim_net_delay(world->sim, WORLD_LINK_MIN_NS, is_slow ? max : WORLD_LINK_MAX_NS);
}

/* ---- disks --------------------------------------------------------------- */

static void strike_slow_disk(struct world *world)
{
    struct node *node = any_node(world);
    bool is_slow = stream_chance(&world->chance, 2, 3);
    uint64_t max = (1 + any_magnitude(world, 2000, 8)) * MS;

    world_say(world, "strike: disk of node %u takes up to %llu ms", node->number,
              (unsigned long long)(is_slow ? max / MS : 0));
    world->counts.slow_disks += is_slow;
    sim_disk_latency(world->sim, node->number, is_slow ? max / 4 : 50000, is_slow ? max : 300000);
}

static void strike_hung_disk(struct world *world)
{
    struct node *node = any_node(world);
    uint64_t ns = (1 + any_magnitude(world, 10000, 10)) * MS;

    if (node->answer_at != 0)
        return;
    world_say(world, "strike: disk of node %u hangs for %llu ms", node->number,
              (unsigned long long)(ns / MS));
    world->counts.hung_disks++;
    sim_disk_hang(world->sim, node->number, true);
    node->answer_at = sim_now(world->sim) + ns;
}

static void strike_sleeping_machine(struct world *world)
{
    struct node *node = any_node(world);
    uint64_t ns = (1 + any_magnitude(world, 4000, 10)) * MS;

    if (!node_listens(node) || node->wake_at != 0)
        return;
    world_say(world, "strike: the state machines of node %u sleep for %llu ms", node->number,
              (unsigned long long)(ns / MS));
    world->counts.sleeping_machines++;
    sim_hold_workers(world->sim, node->number, "apply");
    node->wake_at = sim_now(world->sim) + ns;
}

static void strike_short_writes(struct world *world)
{
    struct node *node = any_node(world);
    bool is_on = stream_chance(&world->chance, 1, 2);

    world_say(world, "strike: short writes of node %u: %s", node->number, is_on ? "some" : "none");
    sim_disk_short_writes(world->sim, node->number, is_on ? 50 : 0);
}

/* No file may grow any more, or a little yet; or there is room again. */
static void strike_full_disk(struct world *world)
{
    struct node *node = any_node(world);
    uint64_t room = any_magnitude(world, 256 * 1024, 18);

    node->is_full = stream_chance(&world->chance, 1, 2);
    world->counts.full_disks += node->is_full;
    world_say(world, "strike: disk of node %u has %s", node->number,
              node->is_full ? "no room" : "room");
    sim_disk_capacity(world->sim, node->number,
                      node->is_full ? sim_disk_used(world->sim, node->number) + room : UINT64_MAX);
}

static void strike_disk_error(struct world *world)
{
    struct node *node = any_node(world);
    uint64_t n = 1 + any_magnitude(world, 256, 8);

    world_say(world, "strike: write %llu of node %u will fail", (unsigned long long)n,
              node->number);
    world->counts.disk_errors++;
    node->is_sick = true;
    sim_disk_error(world->sim, node->number, EIO, n);
}

static void strike_read_error(struct world *world)
{
    struct node *node = any_node(world);
    uint64_t n = 1 + any_magnitude(world, 64, 6);

    world_say(world, "strike: read %llu of node %u will fail", (unsigned long long)n, node->number);
    world->counts.read_errors++;
    node->is_sick = true;
    sim_disk_read_error(world->sim, node->number, n);
}

/* ---- choosing ------------------------------------------------------------ */

void faults_strike(struct world *world)
{
    const struct plan *plan = &world->plan;
    const struct {
        bool is_on;
        void (*strike)(struct world *world);
    } classes[] = {
        {plan->kills, strike_kill},
        {plan->power_losses, strike_power_loss},
        {plan->crashes_at_io, strike_crash_at_io},
        {plan->orderly_restarts, strike_orderly_restart},
        {plan->group_closes, strike_group_close},
        {plan->pauses, strike_pause},
        {plan->clock_drift, strike_clock_drift},
        {plan->slow_jobs, strike_slow_jobs},
        {plan->slow_links, strike_slow_links},
        {plan->machine_errors, strike_machine_error},
        {plan->twists, strike_twist},
        {plan->cuts, strike_cut},
        {plan->one_way_cuts, strike_one_way_cut},
        {plan->flaps, strike_flap},
        {plan->slow_disks, strike_slow_disk},
        {plan->hung_disks, strike_hung_disk},
        {plan->full_disks, strike_full_disk},
        {plan->short_writes, strike_short_writes},
        {plan->disk_errors, strike_disk_error},
        {plan->read_errors, strike_read_error},
        {plan->damage, disks_strike_damage},
        {plan->lost_writes, disks_strike_lost_write},
        {plan->rollbacks, disks_strike_rollback},
        {plan->wipes, disks_strike_wipe},
        {plan->sleeping_machines, strike_sleeping_machine},
    };
    uint64_t at = stream_below(&world->chance, RR_ARRAY_SIZE(classes));
    if (classes[at].is_on)
        classes[at].strike(world);
}

/* ---- what ends by itself ------------------------------------------------- */

static void resume(struct node *node)
{
    if (node->resume_at == 0)
        return;
    world_say(node->world, "node %u goes on", node->number);
    node->resume_at = 0;
    sim_pause(node->world->sim, node->number, false);
    /* Who waited at the door comes in with the first turn. */
    for (uint32_t slot = 0; node->world->plan.reads && slot < node->world->plan.group_count; slot++)
        world_read(&node->replicas[slot]);
}

static void answer(struct node *node)
{
    if (node->answer_at == 0)
        return;
    world_say(node->world, "disk of node %u answers", node->number);
    node->answer_at = 0;
    sim_disk_hang(node->world->sim, node->number, false);
}

void faults_wake(struct node *node)
{
    if (node->wake_at == 0)
        return;
    world_say(node->world, "the state machines of node %u wake", node->number);
    node->wake_at = 0;
    sim_hold_workers(node->world->sim, node->number, NULL);
}

static void flap_link(struct world *world, struct flap *flap)
{
    flap->is_cut = !flap->is_cut;
    flap->next_ns = sim_now(world->sim) + flap->period_ns;
    sim_cut(world->sim, flap->from, flap->to, flap->is_cut);
}

void faults_tend(struct world *world)
{
    uint64_t now = sim_now(world->sim);

    for (uint32_t i = 0; i < world->plan.node_count; i++) {
        if (world->nodes[i].resume_at <= now)
            resume(&world->nodes[i]);
        if (world->nodes[i].answer_at <= now)
            answer(&world->nodes[i]);
        if (world->nodes[i].wake_at <= now)
            faults_wake(&world->nodes[i]);
    }
    for (uint32_t i = 0; i < WORLD_FLAPS_MAX; i++)
        if (world->flaps[i].from != 0 && world->flaps[i].next_ns <= now)
            flap_link(world, &world->flaps[i]);
}

uint64_t faults_next_time(const struct world *world)
{
    uint64_t next = UINT64_MAX;

    for (uint32_t i = 0; i < world->plan.node_count; i++) {
        const struct node *node = &world->nodes[i];
        if (node->resume_at != 0)
            next = rr_min_u64(next, node->resume_at);
        if (node->answer_at != 0)
            next = rr_min_u64(next, node->answer_at);
        if (node->wake_at != 0)
            next = rr_min_u64(next, node->wake_at);
    }
    for (uint32_t i = 0; i < WORLD_FLAPS_MAX; i++)
        if (world->flaps[i].from != 0)
            next = rr_min_u64(next, world->flaps[i].next_ns);
    return next;
}

void faults_heal(struct world *world)
{
    world_say(world, "no more faults");
    memset(world->flaps, 0, sizeof(world->flaps));
    sim_net_corrupt(world->sim, 0);
    sim_net_delay(world->sim, WORLD_LINK_MIN_NS, WORLD_LINK_MAX_NS);
    for (uint32_t from = 1; from <= world->plan.node_count; from++) {
        for (uint32_t to = 1; to <= world->plan.node_count; to++)
            cut(world, from, to, false);
        sim_job_cost(world->sim, from, WORLD_JOB_COST_NS);
        for (uint32_t slot = 0; slot < world->plan.group_count; slot++)
            world->nodes[from - 1].replicas[slot].machine.fails_in = 0;
        sim_disk_latency(world->sim, from, 50000, 300000);
        sim_disk_short_writes(world->sim, from, 0);
        sim_disk_capacity(world->sim, from, UINT64_MAX);
        sim_disk_error(world->sim, from, EIO, 0);
        sim_disk_read_error(world->sim, from, 0);
        sim_disk_lose_write(world->sim, from, 0, false);
        world->nodes[from - 1].is_full = false;
        sim_crash_at_io(world->sim, from, 0, false, SIM_KEEP_ALL);
        resume(&world->nodes[from - 1]);
        answer(&world->nodes[from - 1]);
        faults_wake(&world->nodes[from - 1]);
    }
}
