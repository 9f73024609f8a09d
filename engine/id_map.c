/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/id_map.h"

#include "proto/base.h"

#include <ringraft/error.h>
#include <stdlib.h>

#define SLOTS_FIRST 8u

void id_map_fini(struct id_map *map)
{
    free(map->slots);
    *map = (struct id_map){0};
}

static void put(struct id_map *map, uint64_t id, void *value)
{
    uint32_t slot = id_map_home(map, id);
    while (map->slots[slot].id != 0) {
        RR_ASSERT(map->slots[slot].id != id);
        slot = (slot + 1) & (map->slot_count - 1);
    }
    map->slots[slot] = (struct id_slot){.id = id, .value = value};
}

static int grow(struct id_map *map)
{
    struct id_map grown = {.count = map->count,
                           .slot_count = map->slot_count ? 2 * map->slot_count : SLOTS_FIRST};
    grown.slots = calloc(grown.slot_count, sizeof(grown.slots[0]));
    if (!grown.slots)
        return RR_E_NO_MEMORY;
    for (uint32_t i = 0; i < map->slot_count; i++)
        if (map->slots[i].id != 0)
            put(&grown, map->slots[i].id, map->slots[i].value);
    free(map->slots);
    *map = grown;
    return 0;
}

int id_map_add(struct id_map *map, uint64_t id, void *value)
{
    RR_ASSERT(id != 0 && value);
    if (2 * (map->count + 1) > map->slot_count) {
        int rc = grow(map);
        if (rc != 0)
            return rc;
    }
    put(map, id, value);
    map->count++;
    return 0;
}

/* What was put behind the freed slot only because that was taken moves up. */
static void close_gap(struct id_map *map, uint32_t gap)
{
    uint32_t mask = map->slot_count - 1;
    for (uint32_t i = (gap + 1) & mask; map->slots[i].id != 0; i = (i + 1) & mask) {
        uint32_t home = id_map_home(map, map->slots[i].id);
        if (((i - home) & mask) < ((i - gap) & mask))
            continue; /* its way does not lead over the gap */
        map->slots[gap] = map->slots[i];
        gap = i;
    }
    map->slots[gap] = (struct id_slot){0};
}

void id_map_remove(struct id_map *map, uint64_t id)
{
    RR_ASSERT(id_map_find(map, id));
    uint32_t slot = id_map_home(map, id);
    while (map->slots[slot].id != id)
        slot = (slot + 1) & (map->slot_count - 1);
    close_gap(map, slot);
    map->count--;
}
