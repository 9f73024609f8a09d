/* SPDX-License-Identifier: Apache-2.0
 *
 * Files as a process sees them: ops that take virtual time, and blocking calls that take effect at
 * once. Both are crash points, before and after their effect.
 *
 * A write's bytes reach the disk model when it completes, in random order among those in flight;
 * IO_DSYNC makes them durable then. If the process dies first, chance decides (sim_file_crash).
 * What only a simulator can check is checked here: alignment of O_DIRECT, writes in flight that
 * overlap in a block, buffers that change between submit and done.
 */
#include "io/sim/sim_machine.h"

#include <errno.h>
#include <stdlib.h>

static bool is_aligned(const struct slot *slot, const struct iovec *iov, uint32_t count,
                       uint64_t offset)
{
    if (!(slot->flags & IO_O_DIRECT))
        return true;
    for (uint32_t i = 0; i < count; i++)
        if ((uintptr_t)iov[i].iov_base % DISK_BLOCK != 0 || iov[i].iov_len % DISK_BLOCK != 0)
            return false;
    return offset % DISK_BLOCK == 0;
}

/* No write of this file in flight but `except` touches a block of the range. */
static bool overlaps_none(const struct machine *machine, const struct flight *except,
                          const struct inode *inode, uint64_t offset, uint64_t size)
{
    uint64_t first = offset / DISK_BLOCK, last = (offset + size - (size > 0)) / DISK_BLOCK;
    for (const struct flight *f = machine->flights; f; f = f->next) {
        if (f == except || f->inode != inode || f->op->kind != IO_WRITE || f->size == 0)
            continue;
        uint64_t other = f->op->offset / DISK_BLOCK;
        if (other <= last && (f->op->offset + f->size - 1) / DISK_BLOCK >= first)
            return false;
    }
    return true;
}

/* The error that was ordered for this write or sync, or 0. */
static int take_error(struct machine *machine)
{
    if (machine->error_countdown == 0 || --machine->error_countdown > 0)
        return 0;
    return machine->error;
}

/* A read that is to fail. */
static bool takes_read_error(struct machine *machine)
{
    return machine->read_error_countdown != 0 && --machine->read_error_countdown == 0;
}

/* ---- ops ----------------------------------------------------------------- */

static void done_read(struct flight *flight)
{
    struct io_op *op = flight->op;
    uint64_t offset = op->offset;
    int64_t total = 0, part = takes_read_error(flight->machine) ? -EIO : 0;

    for (uint32_t i = 0; i < op->iov_count && part >= 0; i++) {
        part = disk_read(flight->inode, op->iov[i].iov_base, op->iov[i].iov_len, offset);
        total += part;
        offset += (uint64_t)part;
    }
    flight_complete(flight, part < 0 ? part : total);
}

/* A failed write leaves any part of itself, unsynced. */
static void fail_write(struct flight *flight, int err)
{
    struct disk *disk = &flight->machine->disk;
    size_t part = (size_t)stream_below(&disk->chance, flight->size + 1) / DISK_SECTOR * DISK_SECTOR;

    if (part > 0)
        disk_write(disk, flight->inode, flight->op->iov, flight->op->iov_count, part,
                   flight->op->offset);
    flight_complete(flight, -err);
}

/* The write of [first, end) did not arrive: `before` is what lies there; it may lie elsewhere. */
static void lose_write(struct machine *machine, struct inode *inode, uint64_t first, uint64_t end,
                       const uint8_t *before)
{
    struct disk *disk = &machine->disk;
    uint64_t sectors = rr_max_u64(inode->size / DISK_SECTOR, 1);
    uint64_t victim = stream_below(&disk->chance, sectors) & ~(DISK_BLOCK / DISK_SECTOR - 1);

    for (uint64_t s = first; machine->misdirects && s < end && victim < sectors; s++, victim++)
        damage_add(disk, inode, victim, SIM_DAMAGE_STALE, inode->cache + s * DISK_SECTOR);
    for (uint64_t s = first; s < end; s++)
        damage_add(disk, inode, s, SIM_DAMAGE_STALE, before + (s - first) * DISK_SECTOR);
}

/* As disk_write, and the disk may be lying. */
static int64_t write_or_lose(struct flight *flight, size_t limit)
{
    struct machine *machine = flight->machine;
    const struct io_op *op = flight->op;
    bool is_lost = machine->lost_write_countdown != 0 && --machine->lost_write_countdown == 0;
    uint64_t first = op->offset / DISK_SECTOR;
    uint64_t end = (op->offset + limit + DISK_SECTOR - 1) / DISK_SECTOR;
    uint8_t *before = is_lost ? calloc(end - first, DISK_SECTOR) : NULL;

    RR_ASSERT(!is_lost || before);
    if (is_lost)
        (void)disk_read(flight->inode, before, (end - first) * DISK_SECTOR, first * DISK_SECTOR);
    int64_t result =
        disk_write(&machine->disk, flight->inode, op->iov, op->iov_count, limit, op->offset);
    if (is_lost && result == (int64_t)limit)
        lose_write(machine, flight->inode, first, end, before);
    free(before);
    return result;
}

static void done_write(struct flight *flight)
{
    struct machine *machine = flight->machine;
    struct io_op *op = flight->op;
    size_t limit = flight->size;

    RR_ASSERT(op_hash(op) == flight->hash); /* the buffer changed while the write was in flight */
    int err = take_error(machine);
    if (err != 0) {
        fail_write(flight, err);
        return;
    }
    if (limit > DISK_BLOCK && stream_chance(&machine->disk.chance, machine->short_per_mille, 1000))
        limit =
            (size_t)stream_between(&machine->disk.chance, 1, (limit - 1) / DISK_BLOCK) * DISK_BLOCK;
    int64_t result = write_or_lose(flight, limit);
    if (result > 0 && (op->flags & IO_DSYNC))
        disk_sync_range(&machine->disk, flight->inode, op->offset, (uint64_t)result);
    flight_complete(flight, result);
}

static void done_sync(struct flight *flight)
{
    struct machine *machine = flight->machine;
    int err = take_error(machine);

    if (err != 0)
        disk_sync_failed(&machine->disk, flight->inode);
    else
        disk_sync(&machine->disk, flight->inode, flight->sequence);
    flight_complete(flight, -err);
}

static void run_file(struct sim_event *event)
{
    struct flight *flight = RR_CONTAINER_OF(event, struct flight, event);

    flight->is_hung = flight->machine->is_hung;
    if (flight->is_hung)
        return; /* sim_file_release comes */
    switch (flight->op->kind) {
    case IO_READ:
        done_read(flight);
        break;
    case IO_WRITE:
        done_write(flight);
        break;
    default:
        done_sync(flight);
        break;
    }
}

static void schedule(struct flight *flight)
{
    struct machine *machine = flight->machine;
    sim_schedule(machine->sim, &flight->event,
                 machine->sim->now + stream_between(&machine->disk.chance, machine->latency_min_ns,
                                                    machine->latency_max_ns));
}

void sim_file_release(struct flight *flight)
{
    flight->is_hung = false;
    schedule(flight);
}

void sim_file_submit(struct flight *flight)
{
    struct machine *machine = flight->machine;
    struct io_op *op = flight->op;
    struct slot *slot = machine_slot(machine, op->fd, SLOT_FILE);

    RR_ASSERT(op->kind == IO_SYNC || is_aligned(slot, op->iov, op->iov_count, op->offset));
    RR_ASSERT(op->kind == IO_READ || !(slot->flags & IO_O_READ_ONLY));
    flight->inode = slot->inode;
    flight->inode->refs++;
    flight->sequence = machine->disk.sequence;
    RR_ASSERT(op->kind != IO_WRITE ||
              overlaps_none(machine, flight, slot->inode, op->offset, flight->size));
    flight->event.run = run_file;
    schedule(flight);
}

void sim_file_crash(struct flight *flight)
{
    struct machine *machine = flight->machine;
    struct disk *disk = &machine->disk;
    size_t limit = flight->size;

    if (flight->op->kind != IO_WRITE)
        return;
    /* A power loss applies its own mode to what was in flight; a dying process leaves all, nothing
     * or a part. */
    if (!machine->lost_power) {
        uint64_t how = stream_below(&disk->chance, 3);
        if (how == 0)
            return;
        if (how == 1)
            limit = (size_t)stream_below(&disk->chance, limit + 1) / DISK_SECTOR * DISK_SECTOR;
    }
    if (limit > 0)
        disk_write(disk, flight->inode, flight->op->iov, flight->op->iov_count, limit,
                   flight->op->offset);
}

/* ---- blocking calls ------------------------------------------------------ */

/* The last step of every call that changes something: traced, and a crash point. */
static int64_t finish(struct machine *machine, uint64_t bytes, int64_t result)
{
    if (machine->working)
        machine->working->uses_disk = true;
    sim_trace(machine->sim, machine->number, bytes, (uint64_t)result);
    return machine_crash_point(machine) ? result : -EIO;
}

int sim_file_open(struct io *io, const char *path, unsigned flags)
{
    struct machine *machine = machine_of(io);
    struct inode *inode;

    if (!machine_crash_point(machine))
        return -EIO;
    if ((flags & IO_O_DIRECT) && machine->is_buffered)
        return -EINVAL;
    int err = disk_open(&machine->disk, path, flags, &inode);
    if (err)
        return err;
    int fd =
        machine_slot_new(machine, (struct slot){.kind = SLOT_FILE, .flags = flags, .inode = inode});
    return (int)finish(machine, hash_bytes(flags, path, strlen(path)), fd);
}

void sim_file_close(struct machine *machine, struct slot *slot)
{
    for (const struct flight *f = machine->flights; f; f = f->next)
        RR_ASSERT(f->inode != slot->inode || f->is_cancelled); /* closed under an op */
    if (slot->owns_lock)
        slot->inode->is_locked = false;
    disk_put(&machine->disk, slot->inode);
}

int64_t sim_file_pread(struct io *io, int fd, void *buf, size_t size, uint64_t offset)
{
    struct machine *machine = machine_of(io);
    if (machine->is_crashed)
        return -EIO;
    struct slot *slot = machine_slot(machine, fd, SLOT_FILE);
    struct iovec iov = {buf, size};
    RR_ASSERT(is_aligned(slot, &iov, 1, offset));
    if (machine->working)
        machine->working->uses_disk = true;
    return takes_read_error(machine) ? -EIO : disk_read(slot->inode, buf, size, offset);
}

int64_t sim_file_pwrite(struct io *io, int fd, const void *buf, size_t size, uint64_t offset,
                        unsigned flags)
{
    struct machine *machine = machine_of(io);
    struct iovec iov = {(void *)(uintptr_t)buf, size};

    if (!machine_crash_point(machine))
        return -EIO;
    struct slot *slot = machine_slot(machine, fd, SLOT_FILE);
    RR_ASSERT(!(slot->flags & IO_O_READ_ONLY) && is_aligned(slot, &iov, 1, offset));
    RR_ASSERT(overlaps_none(machine, NULL, slot->inode, offset, size));
    int err = take_error(machine);
    if (err)
        return finish(machine, offset, -err);
    int64_t result = disk_write(&machine->disk, slot->inode, &iov, 1, size, offset);
    if (result > 0 && (flags & IO_DSYNC)) {
        /* Between reaching the cache and reaching the disk. */
        if (!machine_crash_point(machine))
            return -EIO;
        disk_sync_range(&machine->disk, slot->inode, offset, (uint64_t)result);
    }
    return finish(machine, hash_bytes(offset, buf, size < HASHED_MAX ? size : HASHED_MAX), result);
}

int sim_file_fsync(struct io *io, int fd)
{
    struct machine *machine = machine_of(io);

    if (!machine_crash_point(machine))
        return -EIO;
    struct slot *slot = machine_slot(machine, fd, SLOT_FILE);
    int err = take_error(machine);
    if (err)
        disk_sync_failed(&machine->disk, slot->inode);
    else
        disk_sync(&machine->disk, slot->inode, UINT64_MAX);
    return (int)finish(machine, slot->inode->size, -err);
}

int64_t sim_file_size(struct io *io, int fd)
{
    struct machine *machine = machine_of(io);
    if (machine->is_crashed)
        return -EIO;
    return (int64_t)machine_slot(machine, fd, SLOT_FILE)->inode->size;
}

int sim_file_truncate(struct io *io, int fd, uint64_t size)
{
    struct machine *machine = machine_of(io);

    if (!machine_crash_point(machine))
        return -EIO;
    struct slot *slot = machine_slot(machine, fd, SLOT_FILE);
    RR_ASSERT(!(slot->flags & IO_O_READ_ONLY));
    return (int)finish(machine, size, disk_truncate(&machine->disk, slot->inode, size));
}

int sim_file_mkdir(struct io *io, const char *path)
{
    struct machine *machine = machine_of(io);
    if (!machine_crash_point(machine))
        return -EIO;
    return (int)finish(machine, 1, disk_mkdir(&machine->disk, path));
}

int sim_file_sync_dir(struct io *io, const char *path)
{
    struct machine *machine = machine_of(io);
    if (!machine_crash_point(machine))
        return -EIO;
    return (int)finish(machine, 2, disk_sync_dir(&machine->disk, path));
}

int sim_file_rename(struct io *io, const char *from, const char *to)
{
    struct machine *machine = machine_of(io);
    if (!machine_crash_point(machine))
        return -EIO;
    return (int)finish(machine, 3, disk_rename(&machine->disk, from, to));
}

int sim_file_unlink(struct io *io, const char *path)
{
    struct machine *machine = machine_of(io);
    if (!machine_crash_point(machine))
        return -EIO;
    return (int)finish(machine, 4, disk_unlink(&machine->disk, path));
}

int sim_file_list(struct io *io, const char *path, void (*each)(void *ctx, const char *name),
                  void *ctx)
{
    struct machine *machine = machine_of(io);
    return machine->is_crashed ? -EIO : disk_list(&machine->disk, false, path, each, ctx);
}

int sim_file_lock(struct io *io, int fd)
{
    struct machine *machine = machine_of(io);
    if (machine->is_crashed)
        return -EIO;
    struct slot *slot = machine_slot(machine, fd, SLOT_FILE);
    if (slot->inode->is_locked)
        return -EWOULDBLOCK;
    slot->inode->is_locked = true;
    slot->owns_lock = true;
    return 0;
}

int sim_file_fs_probe(struct io *io, const char *path, struct io_fs_info *info)
{
    struct machine *machine = machine_of(io);
    const struct disk *disk = &machine->disk;

    (void)path;
    if (machine->is_crashed)
        return -EIO;
    *info = (struct io_fs_info){
        .is_ram = false,
        .direct_dsync = !machine->is_buffered,
        .block_size = DISK_BLOCK,
        .free_bytes = disk->capacity > disk->used ? disk->capacity - disk->used : 0,
    };
    return 0;
}
