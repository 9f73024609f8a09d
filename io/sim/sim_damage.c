/* SPDX-License-Identifier: Apache-2.0
 *
 * Damage: sectors that read as something else than was written, or not at all. It lies over a file
 * like a film: neither the cache nor the durable image knows of it, so that the oracle still sees
 * what the disk was given. Writing a sector ends its damage.
 */
#include "io/sim/sim_disk.h"

#include <errno.h>
#include <stdlib.h>

struct disk_damage {
    struct disk_damage *next;
    uint64_t sector;
    enum sim_damage how;
    uint8_t bytes[DISK_SECTOR]; /* SIM_DAMAGE_FLIP: a mask; STALE: what is read */
};

static void flip_bits(struct disk *disk, uint8_t *mask)
{
    uint64_t count = stream_between(&disk->chance, 1, 8);
    for (uint64_t i = 0; i < count; i++)
        mask[stream_below(&disk->chance, DISK_SECTOR)] |=
            (uint8_t)(1u << stream_below(&disk->chance, 8));
}

void damage_add(struct disk *disk, struct inode *inode, uint64_t sector, enum sim_damage how,
                const uint8_t *bytes)
{
    RR_ASSERT((how == SIM_DAMAGE_STALE) == (bytes != NULL));
    damage_clear(inode, sector, sector + 1);
    struct disk_damage *damage = calloc(1, sizeof(*damage));
    RR_ASSERT(damage);
    damage->sector = sector;
    damage->how = how;
    if (how == SIM_DAMAGE_FLIP)
        flip_bits(disk, damage->bytes);
    else if (bytes)
        memcpy(damage->bytes, bytes, DISK_SECTOR);
    damage->next = inode->damage;
    inode->damage = damage;
}

void damage_clear(struct inode *inode, uint64_t first, uint64_t end)
{
    for (struct disk_damage **at = &inode->damage; *at;) {
        struct disk_damage *damage = *at;
        if (damage->sector < first || damage->sector >= end) {
            at = &damage->next;
            continue;
        }
        *at = damage->next;
        free(damage);
    }
}

void damage_filter(struct inode *inode, const char *path,
                   bool (*stays)(void *ctx, const char *path, uint64_t offset), void *ctx)
{
    for (struct disk_damage **at = &inode->damage; *at;) {
        struct disk_damage *damage = *at;
        if (stays && stays(ctx, path, damage->sector * DISK_SECTOR)) {
            at = &damage->next;
            continue;
        }
        *at = damage->next;
        free(damage);
    }
}

static void show(const struct disk_damage *damage, uint8_t *buf, uint64_t from, uint64_t to,
                 uint64_t offset)
{
    const uint8_t *bytes = damage->bytes + from - damage->sector * DISK_SECTOR;

    buf += from - offset;
    for (uint64_t i = 0; i < to - from; i++)
        buf[i] = damage->how == SIM_DAMAGE_FLIP ? buf[i] ^ bytes[i] : bytes[i];
}

int damage_show(const struct inode *inode, uint8_t *buf, size_t size, uint64_t offset)
{
    for (const struct disk_damage *damage = inode->damage; damage; damage = damage->next) {
        uint64_t from = rr_max_u64(damage->sector * DISK_SECTOR, offset);
        uint64_t to = rr_min_u64((damage->sector + 1) * DISK_SECTOR, offset + size);
        if (from >= to)
            continue;
        if (damage->how == SIM_DAMAGE_UNREADABLE)
            return -EIO;
        show(damage, buf, from, to, offset);
    }
    return 0;
}
