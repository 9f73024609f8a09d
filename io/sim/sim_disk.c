/* SPDX-License-Identifier: Apache-2.0
 *
 * Files of the disk model: the cache, the durable image, and which sectors they may differ in.
 * Names are in sim_names.c.
 */
#include "io/sim/sim_disk.h"

#include "io/sim/sim_names.h"

#include <errno.h>
#include <stdlib.h>

void disk_init(struct disk *disk, uint64_t seed)
{
    *disk = (struct disk){.chance = stream_make(seed, 0xd15c), .capacity = UINT64_MAX};
    disk->changes_end = &disk->changes;
    names_make_root(disk);
}

/* The bytes of an unsynced write that a later one replaced. */
struct disk_shadow {
    struct disk_shadow *next;
    uint64_t sector;
    uint64_t sequence;
    uint8_t bytes[DISK_SECTOR];
};

void disk_fini(struct disk *disk)
{
    names_fini(disk);
    RR_ASSERT(disk->inode_count == 0);
    free(disk->inodes);
}

struct inode *inode_new(struct disk *disk, bool is_dir)
{
    struct inode *inode = calloc(1, sizeof(*inode));
    RR_ASSERT(inode);
    inode->refs = 1;
    inode->is_dir = is_dir;
    if (disk->inode_count == disk->inode_cap) {
        disk->inode_cap = disk->inode_cap ? 2 * disk->inode_cap : 16;
        disk->inodes = realloc(disk->inodes, disk->inode_cap * sizeof(disk->inodes[0]));
        RR_ASSERT(disk->inodes);
    }
    disk->inodes[disk->inode_count++] = inode;
    return inode;
}

static void drop_shadows(struct inode *inode, uint64_t first, uint64_t end)
{
    for (struct disk_shadow **at = &inode->shadows; *at;) {
        struct disk_shadow *shadow = *at;
        if (shadow->sector < first || shadow->sector >= end) {
            at = &shadow->next;
            continue;
        }
        *at = shadow->next;
        free(shadow);
    }
}

void disk_put(struct disk *disk, struct inode *inode)
{
    RR_ASSERT(inode->refs > 0);
    if (--inode->refs > 0)
        return;
    size_t at = 0;
    while (disk->inodes[at] != inode)
        at++;
    RR_ASSERT(at < disk->inode_count);
    disk->inodes[at] = disk->inodes[--disk->inode_count];
    RR_ASSERT(disk->used >= inode->size);
    disk->used -= inode->size;
    free(inode->cache);
    free(inode->durable);
    free(inode->dirty);
    drop_shadows(inode, 0, UINT64_MAX);
    damage_clear(inode, 0, UINT64_MAX);
    free(inode);
}

/* Room for `size` bytes in both images. */
static void grow(struct inode *inode, uint64_t size)
{
    if (size <= inode->cap)
        return;
    uint64_t cap = rr_align_up(rr_max_u64(size, inode->cap + inode->cap / 2), DISK_BLOCK);
    size_t more = (size_t)(cap - inode->cap);
    inode->cache = realloc(inode->cache, cap);
    inode->durable = realloc(inode->durable, cap);
    inode->dirty = realloc(inode->dirty, cap / DISK_SECTOR * sizeof(inode->dirty[0]));
    RR_ASSERT(inode->cache && inode->durable && inode->dirty);
    memset(inode->cache + inode->cap, 0, more);
    memset(inode->durable + inode->cap, 0, more);
    memset(inode->dirty + inode->cap / DISK_SECTOR, 0,
           more / DISK_SECTOR * sizeof(inode->dirty[0]));
    inode->cap = cap;
}

static void keep_shadow(struct inode *inode, uint64_t sector)
{
    struct disk_shadow *shadow = malloc(sizeof(*shadow));
    RR_ASSERT(shadow);
    shadow->next = inode->shadows;
    shadow->sector = sector;
    shadow->sequence = inode->dirty[sector];
    memcpy(shadow->bytes, inode->cache + sector * DISK_SECTOR, DISK_SECTOR);
    inode->shadows = shadow;
}

/* Before the cache changes. */
static void mark_dirty(struct disk *disk, struct inode *inode, uint64_t offset, uint64_t size)
{
    uint64_t first = offset / DISK_SECTOR, end = (offset + size + DISK_SECTOR - 1) / DISK_SECTOR;

    for (uint64_t s = first; s < end; s++) {
        if (inode->dirty[s] != 0 && inode->dirty[s] != disk->sequence)
            keep_shadow(inode, s);
        inode->dirty[s] = disk->sequence;
    }
    if (inode->damage)
        damage_clear(inode, first, end);
}

static void set_size(struct disk *disk, struct inode *inode, uint64_t size)
{
    disk->used = disk->used - inode->size + size;
    inode->size = size;
}

int64_t disk_read(const struct inode *inode, void *buf, size_t size, uint64_t offset)
{
    if (offset >= inode->size || size == 0)
        return 0;
    size_t count = (size_t)rr_min_u64(size, inode->size - offset);
    memcpy(buf, inode->cache + offset, count);
    int err = inode->damage ? damage_show(inode, buf, count, offset) : 0;
    return err ? err : (int64_t)count;
}

int64_t disk_write(struct disk *disk, struct inode *inode, const struct iovec *iov,
                   uint32_t iov_count, size_t limit, uint64_t offset)
{
    size_t size = 0;
    for (uint32_t i = 0; i < iov_count; i++)
        size += iov[i].iov_len;
    size = size < limit ? size : limit;
    uint64_t end = offset + size;
    if (end > inode->size && disk->used - inode->size + end > disk->capacity)
        return -ENOSPC;

    grow(inode, end);
    disk->sequence++;
    mark_dirty(disk, inode, offset, size);
    for (size_t done = 0; done < size; iov++) {
        size_t part = iov->iov_len < size - done ? iov->iov_len : size - done;
        memcpy(inode->cache + offset + done, iov->iov_base, part);
        done += part;
    }
    if (end > inode->size)
        set_size(disk, inode, end);
    return (int64_t)size;
}

int disk_truncate(struct disk *disk, struct inode *inode, uint64_t size)
{
    if (size > inode->size && disk->used - inode->size + size > disk->capacity)
        return -ENOSPC;
    grow(inode, size);
    disk->sequence++;
    if (size < inode->size) {
        mark_dirty(disk, inode, size, inode->size - size);
        memset(inode->cache + size, 0, (size_t)(inode->size - size));
    }
    set_size(disk, inode, size);
    return 0;
}

static void make_durable(struct inode *inode, uint64_t sector)
{
    memcpy(inode->durable + sector * DISK_SECTOR, inode->cache + sector * DISK_SECTOR, DISK_SECTOR);
    inode->dirty[sector] = 0;
    if (inode->shadows)
        drop_shadows(inode, sector, sector + 1);
}

/* Of what this sector held since the last sync and was replaced: the newest up to `sequence`. */
static const struct disk_shadow *find_shadow(const struct inode *inode, uint64_t sector,
                                             uint64_t sequence)
{
    const struct disk_shadow *shadow = inode->shadows;
    while (shadow && (shadow->sector != sector || shadow->sequence > sequence))
        shadow = shadow->next;
    return shadow;
}

/* An older content of the sector reached the disk; the newest may yet. */
static void make_shadow_durable(struct inode *inode, uint64_t sector, uint64_t sequence)
{
    const struct disk_shadow *shadow = find_shadow(inode, sector, sequence);
    if (shadow)
        memcpy(inode->durable + sector * DISK_SECTOR, shadow->bytes, DISK_SECTOR);
}

void disk_sync_range(struct disk *disk, struct inode *inode, uint64_t offset, uint64_t size)
{
    disk->version++;
    for (uint64_t s = offset / DISK_SECTOR; s * DISK_SECTOR < offset + size; s++)
        make_durable(inode, s);
    inode->durable_size = rr_max_u64(inode->durable_size, rr_min_u64(inode->size, offset + size));
}

void disk_sync(struct disk *disk, struct inode *inode, uint64_t sequence)
{
    disk->version++;
    for (uint64_t s = 0; s < inode->cap / DISK_SECTOR; s++) {
        if (inode->dirty[s] != 0 && inode->dirty[s] <= sequence)
            make_durable(inode, s);
        else if (inode->dirty[s] != 0)
            make_shadow_durable(inode, s, sequence);
    }
    inode->durable_size = inode->size;
}

void disk_sync_failed(struct disk *disk, struct inode *inode)
{
    disk->version++;
    for (uint64_t s = 0; s < inode->cap / DISK_SECTOR; s++) {
        if (inode->dirty[s] != 0 && stream_chance(&disk->chance, 1, 2))
            make_durable(inode, s);
        inode->dirty[s] = 0;
    }
    drop_shadows(inode, 0, UINT64_MAX);
}

/* The unsynced write that SIM_TEAR_ONE breaks: the newest in half of the cases (writes that were in
 * flight are the newest), else that of a random unsynced sector. 0: everything is clean. */
static uint64_t choose_torn(struct disk *disk)
{
    uint64_t newest = 0, chosen = 0, seen = 0;
    for (size_t i = 0; i < disk->inode_count; i++) {
        const struct inode *inode = disk->inodes[i];
        for (uint64_t s = 0; s < inode->cap / DISK_SECTOR; s++) {
            if (inode->dirty[s] == 0)
                continue;
            newest = rr_max_u64(newest, inode->dirty[s]);
            if (stream_below(&disk->chance, ++seen) == 0)
                chosen = inode->dirty[s];
        }
    }
    return stream_chance(&disk->chance, 1, 2) ? newest : chosen;
}

/* A torn write keeps a prefix of its sectors, or random ones. */
static void tear(struct disk *disk, struct inode *inode, uint64_t torn)
{
    uint64_t count = 0;
    for (uint64_t s = 0; s < inode->cap / DISK_SECTOR; s++)
        count += inode->dirty[s] == torn;
    bool is_prefix = stream_chance(&disk->chance, 1, 2);
    uint64_t keep = stream_below(&disk->chance, count + 1);
    for (uint64_t s = 0, nth = 0; s < inode->cap / DISK_SECTOR; s++) {
        if (inode->dirty[s] != torn)
            continue;
        if (is_prefix ? nth++ < keep : stream_chance(&disk->chance, 1, 2))
            make_durable(inode, s);
    }
}

/* Which of the contents that an unsynced sector had is there when power returns. */
static void choose_survivor(struct disk *disk, struct inode *inode, uint64_t sector,
                            enum sim_power_loss how, uint64_t torn)
{
    bool is_newest = how == SIM_KEEP_ALL || (how == SIM_TEAR_ONE && inode->dirty[sector] < torn) ||
                     (how == SIM_KEEP_RANDOM && stream_chance(&disk->chance, 1, 2));

    if (is_newest)
        make_durable(inode, sector);
    else if (how == SIM_TEAR_ONE && torn != 0)
        make_shadow_durable(inode, sector, torn - 1);
    else if (how == SIM_KEEP_RANDOM && inode->shadows && stream_chance(&disk->chance, 1, 2))
        make_shadow_durable(inode, sector, stream_between(&disk->chance, 1, disk->sequence));
}

static void lose_power(struct disk *disk, struct inode *inode, enum sim_power_loss how,
                       uint64_t torn)
{
    if (how == SIM_TEAR_ONE && torn != 0)
        tear(disk, inode, torn);
    for (uint64_t s = 0; s < inode->cap / DISK_SECTOR; s++) {
        if (inode->dirty[s] != 0)
            choose_survivor(disk, inode, s, how, torn);
        inode->dirty[s] = 0;
    }
    drop_shadows(inode, 0, UINT64_MAX);
    if (how == SIM_KEEP_ALL || (how != SIM_LOSE_ALL && stream_chance(&disk->chance, 1, 2)))
        inode->durable_size = inode->size;
    set_size(disk, inode, inode->durable_size);
    if (inode->cap == 0)
        return;
    memset(inode->durable + inode->size, 0, (size_t)(inode->cap - inode->size));
    memcpy(inode->cache, inode->durable, inode->cap);
}

void disk_power_loss(struct disk *disk, enum sim_power_loss how)
{
    uint64_t torn = how == SIM_TEAR_ONE ? choose_torn(disk) : 0;

    disk->version++;
    for (size_t i = 0; i < disk->inode_count; i++) {
        lose_power(disk, disk->inodes[i], how, torn);
        disk->inodes[i]->is_locked = false;
    }
    names_power_loss(disk, how);
}

/* A file of its own with the durable bytes of another; everything in it is durable. */
static struct inode *copy_durable(struct disk *disk, const struct inode *from)
{
    struct inode *inode = inode_new(disk, from->is_dir);
    if (from->durable_size == 0)
        return inode;
    grow(inode, from->durable_size);
    memcpy(inode->durable, from->durable, (size_t)from->durable_size);
    memcpy(inode->cache, from->durable, (size_t)from->durable_size);
    inode->durable_size = from->durable_size;
    set_size(disk, inode, from->durable_size);
    return inode;
}

void disk_replace(struct disk *disk, const struct disk *from)
{
    names_fini(disk);
    RR_ASSERT(disk->inode_count == 0); /* else a file is open */
    disk->version++;
    disk->sequence++;
    names_make_root(disk);
    for (size_t i = 0; from && i < from->durable.count; i++) {
        const struct disk_name *name = &from->durable.names[i];
        if (name->path[1] == 0)
            continue; /* the root */
        struct inode *inode = copy_durable(disk, name->inode);
        names_set(disk, name->path, inode);
        disk_put(disk, inode);
    }
}
