/* SPDX-License-Identifier: Apache-2.0
 *
 * From a group's id to what is kept for it: open addressing, linear probing, at most half full. No
 * lock: who owns the map says which thread touches it. Hot: id_map_find, once per message.
 */
#ifndef RR_ENGINE_ID_MAP_H
#define RR_ENGINE_ID_MAP_H

#include <stdint.h>

struct id_slot {
    uint64_t id; /* 0: free */
    void *value;
};

struct id_map {
    struct id_slot *slots;
    uint32_t slot_count; /* power of two, or 0 */
    uint32_t count;
};

void id_map_fini(struct id_map *map);
/* NULL: not there. */
static inline void *id_map_find(const struct id_map *map, uint64_t id);
/* A new id, not 0. RR_E_NO_MEMORY. */
int id_map_add(struct id_map *map, uint64_t id, void *value);
/* The id is there. */
void id_map_remove(struct id_map *map, uint64_t id);
/* All values, in an order that depends on the ids alone: `*at` begins with 0; NULL: that was all.
 * The map must not change meanwhile. */
static inline void *id_map_each(const struct id_map *map, uint32_t *at);

/* ---- inline -------------------------------------------------------------- */

static inline uint32_t id_map_home(const struct id_map *map, uint64_t id)
{
    return (uint32_t)((id * 0x9e3779b97f4a7c15u) >> 32) & (map->slot_count - 1);
}

static inline void *id_map_find(const struct id_map *map, uint64_t id)
{
    if (map->count == 0)
        return 0;
    uint32_t slot = id_map_home(map, id);
    while (map->slots[slot].id != id) {
        if (map->slots[slot].id == 0)
            return 0;
        slot = (slot + 1) & (map->slot_count - 1);
    }
    return map->slots[slot].value;
}

static inline void *id_map_each(const struct id_map *map, uint32_t *at)
{
    while (*at < map->slot_count) {
        const struct id_slot *slot = &map->slots[(*at)++];
        if (slot->id != 0)
            return slot->value;
    }
    return 0;
}

#endif
