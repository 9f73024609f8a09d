/* SPDX-License-Identifier: Apache-2.0
 *
 * What is done to durable bytes, and the atlas that says to whom it may be done: Ringraft does not
 * repair, so a harmed disk is as good as lost, and only a minority may be. Three more things are
 * beyond what is promised and are not asked for:
 *
 * - the log's last writes, as long as no later one proves them, look torn when they are damaged
 *   (docs/DESIGN.md); what harm lies there when the process ends is taken back;
 * - an older copy of a directory can only be told from the real one by peers that have seen a later
 *   boot of it; so it takes the place of the real one only when all the others have;
 * - likewise an empty directory, by peers that have seen the node at all.
 */
#include "tests/sim/world.h"

#include "io/snapshot_file.h"
#include "tests/sim/failure.h"

#include <stdio.h>

#define NAMES_MAX 64u

static struct durable_log *log_of(struct node *node)
{
    struct durable_log *log = &node->world->oracle.logs[node->number - 1];
    durable_log_advance(log);
    return log;
}

bool disks_may_harm(const struct node *node)
{
    const struct world *world = node->world;
    const struct plan *plan = &world->plan;
    uint32_t harmed = 1, max = plan->voters_min ? 1 : (plan->node_count - 1) / 2;

    for (uint32_t i = 0; i < plan->node_count; i++) {
        const struct node *other = &world->nodes[i];
        harmed += (other->is_harmed || node_is_twisted(other)) && other != node;
    }
    return harmed <= max && !node->is_stranger && !node->is_out;
}

static struct node *any_victim(struct world *world)
{
    struct node *node = &world->nodes[stream_below(&world->chance, world->plan.node_count)];
    return disks_may_harm(node) ? node : NULL;
}

/* ---- sectors ------------------------------------------------------------- */

struct names {
    char names[NAMES_MAX][SNAPSHOT_NAME_SIZE];
    uint32_t count;
};

static void add_name(void *ctx, const char *name)
{
    struct names *names = ctx;
    if (names->count < NAMES_MAX && strlen(name) < sizeof(names->names[0]))
        strcpy(names->names[names->count++], name);
}

/* Some sectors of one file rot. */
void disks_strike_damage(struct world *world)
{
    struct node *node = any_victim(world);
    struct names names = {.count = 0};
    char path[64];

    if (!node || sim_durable_list(world->sim, node->number, node->dir, add_name, &names) != 0 ||
        names.count == 0)
        return;
    snprintf(path, sizeof(path), "%s/%s", node->dir,
             names.names[stream_below(&world->chance, names.count)]);
    enum sim_damage how = (enum sim_damage)stream_below(&world->chance, SIM_DAMAGE_COUNT);
    uint64_t offset = 512 * (stream_below(&world->chance, 256) >> stream_below(&world->chance, 8));
    uint64_t count = 1 + (stream_below(&world->chance, 16) >> stream_below(&world->chance, 5));
    uint64_t harm = 0;
    for (uint64_t i = 0; i < count; i++)
        harm += sim_damage(world->sim, node->number, path, offset + 512 * i, how) == 0;
    if (harm == 0)
        return;
    world_say(world, "strike: node %u: %llu sectors of %s rot from %llu on (%d)", node->number,
              (unsigned long long)harm, path, (unsigned long long)offset, (int)how);
    world->counts.damages++;
    node->is_harmed = true;
}

void disks_strike_lost_write(struct world *world)
{
    struct node *node = any_victim(world);
    uint64_t n = 1 + (stream_below(&world->chance, 256) >> stream_below(&world->chance, 8));
    bool misdirected = stream_chance(&world->chance, 1, 2);

    if (!node)
        return;
    world_say(world, "strike: write %llu of node %u will be lost%s", (unsigned long long)n,
              node->number, misdirected ? " and lie elsewhere" : "");
    world->counts.lost_writes++;
    node->is_harmed = true;
    sim_disk_lose_write(world->sim, node->number, n, misdirected);
}

/* ---- directories --------------------------------------------------------- */

/* Will all who may ever meet it refuse a directory of this node with this boot count? */
static bool is_known_beyond(struct node *node, uint64_t boot)
{
    struct world *world = node->world;
    for (uint32_t i = 0; i < world->plan.node_count; i++) {
        struct node *other = &world->nodes[i];
        if (other != node && !other->is_out && durable_log_knows(log_of(other), node->id) <= boot)
            return false;
    }
    return true;
}

static void replace(struct node *node, const struct sim_disk_image *image)
{
    struct world *world = node->world;

    durable_log_end(&world->oracle.logs[node->number - 1]);
    node->is_harmed = true;
    node->is_stranger = true;
    faults_crash(node, true, SIM_LOSE_ALL);
    sim_disk_replace(world->sim, node->number, image);
}

/* A node whose directory can be rolled back so that all will know it. */
static struct node *rollback_victim(struct world *world)
{
    uint64_t first = stream_below(&world->chance, world->plan.node_count);
    for (uint64_t i = 0; i < world->plan.node_count; i++) {
        struct node *node = &world->nodes[(first + i) % world->plan.node_count];
        if (disks_may_harm(node) && node->image && is_known_beyond(node, node->image_boot))
            return node;
    }
    return NULL;
}

void disks_strike_rollback(struct world *world)
{
    struct node *node = rollback_victim(world);

    if (!node)
        return;
    world_say(world, "strike: node %u gets back its directory of boot %llu", node->number,
              (unsigned long long)node->image_boot);
    world->counts.rollbacks++;
    replace(node, node->image);
    node->lonely_starts = (uint32_t)stream_below(&world->chance, 8);
}

/* Its boot count grows beyond the one that its peers know. */
void disks_keep_lonely(struct node *node)
{
    if (!node->engine || node->lonely_starts == 0)
        return;
    node->lonely_starts--;
    faults_crash(node, false, SIM_LOSE_ALL);
}

void disks_strike_wipe(struct world *world)
{
    struct node *node = any_victim(world);

    if (!node || !is_known_beyond(node, 0))
        return;
    world_say(world, "strike: node %u gets an empty directory", node->number);
    world->counts.wipes++;
    replace(node, NULL);
}

/* ---- when a process ended ------------------------------------------------ */

static bool is_proven(void *ctx, const char *path, uint64_t offset)
{
    const struct durable_log *log = ctx;
    uint64_t segment = wal_segment_number(strrchr(path, '/') + 1);

    return segment == 0 || segment < log->proven.segment ||
           (segment == log->proven.segment && offset < log->proven.offset);
}

void disks_settle(struct node *node)
{
    struct world *world = node->world;

    if (node->is_stranger)
        return;
    struct durable_log *log = log_of(node);
    sim_disk_lose_write(world->sim, node->number, 0, false);
    if (node->is_harmed) {
        sim_damage_filter(world->sim, node->number, is_proven, log);
        node->is_harmed = sim_is_damaged(world->sim, node->number);
    }
    if (node->is_harmed || !world->plan.rollbacks || log->instance == 0 ||
        !stream_chance(&world->chance, 1, 2))
        return;
    sim_disk_image_free(node->image);
    node->image = sim_disk_copy(world->sim, node->number);
    node->image_boot = log->last.boot;
}

bool disks_excuse(struct node *node, int err)
{
    bool is_refused = node->is_stranger
                          ? err == RR_E_INSTANCE
                          : node->is_harmed && (err == RR_E_CORRUPT || err == RR_E_IO);
    if (!is_refused)
        return false;
    world_say(node->world, "node %u is out", node->number);
    node->world->counts.refusals++;
    node->is_out = true;
    return true;
}
