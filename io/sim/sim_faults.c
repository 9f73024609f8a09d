/* SPDX-License-Identifier: Apache-2.0
 *
 * The driver's handles on what goes wrong, and the oracle's view of the disks.
 */
#include "io/sim/sim_names.h"
#include "io/sim/sim_stream.h"

#include <errno.h>
#include <stdlib.h>

static struct machine *machine_at(const struct sim *sim, uint32_t number)
{
    return sim_machine_at(sim, number);
}

/* ---- processes ----------------------------------------------------------- */

void sim_pause(struct sim *sim, uint32_t number, bool paused)
{
    struct machine *machine = machine_at(sim, number);

    RR_ASSERT(!sim->in_event && !machine->is_crashed);
    sim_trace(sim, number, paused, 1);
    machine->is_paused = paused;
    machine_release(machine);
}

void sim_clock_rate(struct sim *sim, uint32_t number, uint32_t ppm)
{
    struct machine *machine = machine_at(sim, number);

    RR_ASSERT(ppm >= 500000 && ppm <= 2000000);
    sim_trace(sim, number, ppm, 4);
    machine->clock_base = machine_now(machine);
    machine->clock_since = sim->now;
    machine->clock_ppm = ppm;
}

void sim_job_cost(struct sim *sim, uint32_t number, uint64_t max_ns)
{
    RR_ASSERT(max_ns > 0);
    machine_at(sim, number)->job_cost_max_ns = max_ns;
}

struct sim_usage sim_usage(const struct sim *sim, uint32_t number)
{
    const struct machine *machine = machine_at(sim, number);
    struct sim_usage usage = {.descriptors = machine->slots_open, .disk_bytes = machine->disk.used};
    for (const struct flight *f = machine->flights; f; f = f->next)
        usage.ops++;
    return usage;
}

/* ---- network and disks --------------------------------------------------- */

void sim_cut(struct sim *sim, uint32_t from, uint32_t to, bool cut)
{
    (void)machine_at(sim, from);
    (void)machine_at(sim, to);
    if (sim->cut[from - 1][to - 1] == cut)
        return;
    sim->cut[from - 1][to - 1] = cut;
    stream_link_changed(sim, from, to);
}

void sim_net_delay(struct sim *sim, uint64_t min_ns, uint64_t max_ns)
{
    RR_ASSERT(min_ns <= max_ns);
    sim->net_delay_min_ns = min_ns;
    sim->net_delay_max_ns = max_ns;
}

void sim_net_corrupt(struct sim *sim, uint32_t per_million)
{
    RR_ASSERT(per_million <= 1000000);
    sim->corrupt_per_million = per_million;
}

void sim_disk_error(struct sim *sim, uint32_t number, int err, uint64_t countdown)
{
    RR_ASSERT(err > 0);
    machine_at(sim, number)->error = err;
    machine_at(sim, number)->error_countdown = countdown;
}

void sim_disk_read_error(struct sim *sim, uint32_t number, uint64_t countdown)
{
    machine_at(sim, number)->read_error_countdown = countdown;
}

bool sim_disk_will_fail(const struct sim *sim, uint32_t number)
{
    const struct machine *machine = machine_at(sim, number);
    return machine->error_countdown != 0 || machine->read_error_countdown != 0;
}

void sim_disk_hang(struct sim *sim, uint32_t number, bool hangs)
{
    struct machine *machine = machine_at(sim, number);

    RR_ASSERT(!sim->in_event);
    sim_trace(sim, number, hangs, 2);
    machine->is_hung = hangs;
    machine_release(machine);
}

void sim_hold_workers(struct sim *sim, uint32_t number, const char *name)
{
    struct machine *machine = machine_at(sim, number);

    RR_ASSERT(!sim->in_event);
    sim_trace(sim, number, name != NULL, 3);
    machine->held_workers = name;
    machine_release(machine);
}

void sim_disk_lose_write(struct sim *sim, uint32_t number, uint64_t countdown, bool misdirected)
{
    machine_at(sim, number)->lost_write_countdown = countdown;
    machine_at(sim, number)->misdirects = misdirected;
}

void sim_disk_capacity(struct sim *sim, uint32_t number, uint64_t bytes)
{
    machine_at(sim, number)->disk.capacity = bytes;
}

uint64_t sim_disk_used(const struct sim *sim, uint32_t number)
{
    return machine_at(sim, number)->disk.used;
}

void sim_disk_latency(struct sim *sim, uint32_t number, uint64_t min_ns, uint64_t max_ns)
{
    RR_ASSERT(min_ns <= max_ns);
    machine_at(sim, number)->latency_min_ns = min_ns;
    machine_at(sim, number)->latency_max_ns = max_ns;
}

void sim_disk_short_writes(struct sim *sim, uint32_t number, uint32_t per_mille)
{
    RR_ASSERT(per_mille <= 1000);
    machine_at(sim, number)->short_per_mille = per_mille;
}

void sim_disk_buffered(struct sim *sim, uint32_t number, bool buffered)
{
    machine_at(sim, number)->is_buffered = buffered;
}

/* ---- damage -------------------------------------------------------------- */

int sim_damage(struct sim *sim, uint32_t number, const char *path, uint64_t offset,
               enum sim_damage how)
{
    struct disk *disk = &machine_at(sim, number)->disk;
    struct inode *inode = disk_durable_find(disk, path);
    const uint8_t *stale = NULL;

    if (!inode || offset >= rr_min_u64(inode->size, inode->durable_size))
        return -ENOENT;
    sim_trace(sim, number, offset, how);
    if (how == SIM_DAMAGE_STALE)
        stale = inode->durable +
                stream_below(&disk->chance, rr_max_u64(inode->durable_size / DISK_SECTOR, 1)) *
                    DISK_SECTOR;
    damage_add(disk, inode, offset / DISK_SECTOR, how, stale);
    return 0;
}

void sim_damage_filter(struct sim *sim, uint32_t number,
                       bool (*stays)(void *ctx, const char *path, uint64_t offset), void *ctx)
{
    struct disk *disk = &machine_at(sim, number)->disk;
    for (size_t i = 0; i < disk->now.count; i++)
        damage_filter(disk->now.names[i].inode, disk->now.names[i].path, stays, ctx);
}

bool sim_is_damaged(const struct sim *sim, uint32_t number)
{
    const struct disk *disk = &machine_at(sim, number)->disk;
    for (size_t i = 0; i < disk->now.count; i++)
        if (disk->now.names[i].inode->damage)
            return true;
    return false;
}

/* ---- copies of disks ----------------------------------------------------- */

struct sim_disk_image {
    struct disk disk;
};

struct sim_disk_image *sim_disk_copy(const struct sim *sim, uint32_t number)
{
    struct sim_disk_image *image = malloc(sizeof(*image));
    RR_ASSERT(image);
    disk_init(&image->disk, 0);
    disk_replace(&image->disk, &machine_at(sim, number)->disk);
    return image;
}

void sim_disk_replace(struct sim *sim, uint32_t number, const struct sim_disk_image *image)
{
    struct machine *machine = machine_at(sim, number);

    RR_ASSERT(!machine->is_looping && machine->slots_open == 0);
    sim_trace(sim, number, image != NULL, 3);
    disk_replace(&machine->disk, image ? &image->disk : NULL);
}

void sim_disk_image_free(struct sim_disk_image *image)
{
    if (image)
        disk_fini(&image->disk);
    free(image);
}

/* ---- the oracle's view --------------------------------------------------- */

int64_t sim_durable_read(struct sim *sim, uint32_t number, const char *path, void *buf, size_t size,
                         uint64_t offset)
{
    const struct inode *inode = disk_durable_find(&machine_at(sim, number)->disk, path);
    if (!inode)
        return -ENOENT;
    if (offset >= inode->durable_size || size == 0)
        return 0;
    size_t count = (size_t)rr_min_u64(size, inode->durable_size - offset);
    memcpy(buf, inode->durable + offset, count);
    return (int64_t)count;
}

int sim_durable_list(struct sim *sim, uint32_t number, const char *dir,
                     void (*each)(void *ctx, const char *name), void *ctx)
{
    return disk_list(&machine_at(sim, number)->disk, true, dir, each, ctx);
}

uint64_t sim_durable_version(const struct sim *sim, uint32_t number)
{
    return machine_at(sim, number)->disk.version;
}

int sim_corrupt(struct sim *sim, uint32_t number, const char *path, uint64_t offset,
                const void *bytes, size_t size)
{
    struct machine *machine = machine_at(sim, number);
    struct inode *inode = disk_durable_find(&machine->disk, path);
    struct iovec iov = {(void *)(uintptr_t)bytes, size};

    RR_ASSERT(machine->is_crashed || !machine->is_looping);
    if (!inode)
        return -ENOENT;
    int64_t result = disk_write(&machine->disk, inode, &iov, 1, size, offset);
    if (result < 0)
        return (int)result;
    disk_sync_range(&machine->disk, inode, offset, size);
    return 0;
}
