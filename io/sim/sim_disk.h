/* SPDX-License-Identifier: Apache-2.0
 *
 * A machine's disk with one flat name space, without time: what a process sees (the cache) and what
 * would survive (the durable image) are kept apart.
 *
 * - Data by 512-byte sector: a write changes the cache and marks its sectors with its sequence
 *   number; sync makes sectors durable. A failed sync leaves the pages clean, durable or not. What
 *   an unsynced write overwrote, itself unsynced, is remembered: it may be what survives.
 * - The size of a file: durable by a sync of the file, or by a synced write that grew it.
 * - Names (create, mkdir, rename, unlink): durable by a sync of the directory, never by a sync of
 * the file. A rename happens whole or not at all.
 *
 * Power loss applies the chosen mode to all three and then forgets the cache. Results are -errno.
 *
 * Damage (sim_damage.c) lies over a file's sectors without touching either image: the process reads
 * other bytes than the model knows, or an error, until the sector is written again.
 */
#ifndef RR_IO_SIM_DISK_H
#define RR_IO_SIM_DISK_H

#include "io/sim/sim.h"
#include "io/sim/sim_random.h"

#define DISK_SECTOR 512u
#define DISK_BLOCK  4096u /* alignment of O_DIRECT, and what a short write is cut at */

struct disk_shadow; /* an unsynced sector that a later unsynced write replaced */
struct disk_damage; /* a sector that reads as something else, or not at all */

/* A file or directory. */
struct inode {
    uint32_t refs; /* names, pending name changes, open files, writes in flight */
    bool is_dir;
    bool is_locked;
    uint8_t *cache;              /* room for `cap` bytes; zero beyond size */
    uint8_t *durable;            /* the same; */
    uint64_t *dirty;             /* per sector: sequence of the last unsynced write to it, or 0 */
    struct disk_shadow *shadows; /* newest first */
    struct disk_damage *damage;
    uint64_t cap;          /* a multiple of DISK_BLOCK */
    uint64_t size;         /* as the process sees it */
    uint64_t durable_size; /* as it would be after a power loss */
};

struct disk_name {
    char *path;
    struct inode *inode;
};

struct disk_names {
    struct disk_name *names;
    size_t count;
    size_t cap;
};

struct disk_change; /* of a name, not yet durable */

struct disk {
    struct sim_stream chance;
    struct disk_names now;
    struct disk_names durable;
    struct disk_change *changes; /* oldest first */
    struct disk_change **changes_end;
    struct inode **inodes; /* all that exist */
    size_t inode_count;
    size_t inode_cap;
    uint64_t sequence; /* of the last write */
    uint64_t version;  /* see sim_durable_version */
    uint64_t capacity; /* bytes; the sum of sizes may not exceed it */
    uint64_t used;
};

void disk_init(struct disk *disk, uint64_t seed);
void disk_fini(struct disk *disk);

/* flags: enum io_open_flags. The inode carries a reference for the caller. */
int disk_open(struct disk *disk, const char *path, unsigned flags, struct inode **inode);
void disk_put(struct disk *disk, struct inode *inode);
/* As the process sees it, damage included: -EIO where a sector cannot be read. */
int64_t disk_read(const struct inode *inode, void *buf, size_t size, uint64_t offset);
/* Into the cache: at most `limit` bytes of the vector. Returns bytes, or -ENOSPC (nothing changed).
 */
int64_t disk_write(struct disk *disk, struct inode *inode, const struct iovec *iov,
                   uint32_t iov_count, size_t limit, uint64_t offset);
int disk_truncate(struct disk *disk, struct inode *inode, uint64_t size);
/* Makes a range durable (and the size up to its end), or everything written up to `sequence`. */
void disk_sync_range(struct disk *disk, struct inode *inode, uint64_t offset, uint64_t size);
void disk_sync(struct disk *disk, struct inode *inode, uint64_t sequence);
/* Marks everything clean; each sector became durable or was dropped, by chance. */
void disk_sync_failed(struct disk *disk, struct inode *inode);

int disk_mkdir(struct disk *disk, const char *path);
int disk_rename(struct disk *disk, const char *from, const char *to);
int disk_unlink(struct disk *disk, const char *path);
int disk_sync_dir(struct disk *disk, const char *path);
int disk_list(const struct disk *disk, bool durable, const char *path,
              void (*each)(void *ctx, const char *name), void *ctx);

void disk_power_loss(struct disk *disk, enum sim_power_loss how);
/* Everything on `disk` goes; what is durable in `from` takes its place. NULL: nothing does. No file
 * is open. */
void disk_replace(struct disk *disk, const struct disk *from);

/* ---- sim_damage.c -------------------------------------------------------- */
/* One sector reads as `how` says; `bytes` (DISK_SECTOR of them) for SIM_DAMAGE_STALE only. */
void damage_add(struct disk *disk, struct inode *inode, uint64_t sector, enum sim_damage how,
                const uint8_t *bytes);
/* Sectors in [first, end) are as they should be again. */
void damage_clear(struct inode *inode, uint64_t first, uint64_t end);
void damage_filter(struct inode *inode, const char *path,
                   bool (*stays)(void *ctx, const char *path, uint64_t offset), void *ctx);
/* `buf` holds what the cache says of this range. 0, or -EIO. */
int damage_show(const struct inode *inode, uint8_t *buf, size_t size, uint64_t offset);
/* NULL if no such name would survive. */
struct inode *disk_durable_find(const struct disk *disk, const char *path);

#endif
