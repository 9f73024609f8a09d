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

static void crash(struct world *world, struct node *node, bool power, enum sim_power_loss how)
{
    if (!node->engine)
        return;
    world_say(world, "strike: node %u %s", node->number, power ? "loses its power" : "is killed");
    if (power)
        sim_power_loss(world->sim, node->number, how);
    else
        sim_kill(world->sim, node->number);
    *(power ? &world->counts.power_losses : &world->counts.kills) += 1;
    world_bury(world, node);
}

static void strike_crash(struct world *world, bool power)
{
    enum sim_power_loss how = any_loss(world);

    if (!world->plan.crashes_of_all || !stream_chance(&world->chance, 1, 4)) {
        crash(world, any_node(world), power, how);
        return;
    }
    for (uint32_t i = 0; i < world->plan.node_count; i++)
        crash(world, &world->nodes[i], power, how);
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
static void strike_cut(struct world *world, bool one_way)
{
    uint32_t count = world->plan.node_count;
    uint32_t a = any_node(world)->number, b = any_node(world)->number;
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

static void strike_disk(struct world *world)
{
    struct node *node = any_node(world);
    bool is_slow = stream_chance(&world->chance, 2, 3);
    uint64_t max = (1 + any_magnitude(world, 2000, 8)) * MS;

    world_say(world, "strike: disk of node %u takes up to %llu ms", node->number,
              (unsigned long long)(is_slow ? max / MS : 0));
    world->counts.slow_disks += is_slow;
    sim_disk_latency(world->sim, node->number, is_slow ? max / 4 : 50000, is_slow ? max : 300000);
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

static void strike_orderly_restart(struct world *world)
{
    struct node *node = any_node(world);
    if (!node->engine)
        return;
    world->counts.orderly_restarts++;
    world_close(world, node);
}

void faults_strike(struct world *world)
{
    const struct plan *plan = &world->plan;

    switch (stream_below(&world->chance, 10)) {
    case 0:
        if (plan->kills)
            strike_crash(world, false);
        break;
    case 1:
        if (plan->power_losses)
            strike_crash(world, true);
        break;
    case 2:
        if (plan->crashes_at_io)
            strike_crash_at_io(world);
        break;
    case 3:
        if (plan->cuts)
            strike_cut(world, false);
        break;
    case 4:
        if (plan->one_way_cuts)
            strike_cut(world, true);
        break;
    case 5:
        if (plan->slow_disks)
            strike_disk(world);
        break;
    case 6:
        if (plan->short_writes)
            strike_short_writes(world);
        break;
    case 7:
        if (plan->full_disks)
            strike_full_disk(world);
        break;
    case 8:
        if (plan->disk_errors)
            strike_disk_error(world);
        break;
    default:
        if (plan->orderly_restarts)
            strike_orderly_restart(world);
        break;
    }
}

void faults_heal(struct world *world)
{
    world_say(world, "no more faults");
    for (uint32_t from = 1; from <= world->plan.node_count; from++) {
        for (uint32_t to = 1; to <= world->plan.node_count; to++)
            cut(world, from, to, false);
        sim_disk_latency(world->sim, from, 50000, 300000);
        sim_disk_short_writes(world->sim, from, 0);
        sim_disk_capacity(world->sim, from, UINT64_MAX);
        sim_disk_error(world->sim, from, EIO, 0);
        world->nodes[from - 1].is_full = false;
        sim_crash_at_io(world->sim, from, 0, false, SIM_KEEP_ALL);
    }
}
