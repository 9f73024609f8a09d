/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/id_map.h"

#include "tests/unit/check.h"

#define IDS 500u

/* Numbers that fall on few homes, and big ones. */
static uint64_t id_of(uint32_t i)
{
    return i % 3 == 0 ? i + 1 : (uint64_t)i << 40 | i;
}

static void check_all(const struct id_map *map, const char *values, const uint8_t *is_there)
{
    uint32_t count = 0, found = 0, at = 0;
    for (uint32_t i = 0; i < IDS; i++) {
        CHECK(id_map_find(map, id_of(i)) == (is_there[i] ? &values[i] : NULL));
        count += is_there[i];
    }
    const char *value;
    while ((value = id_map_each(map, &at))) {
        CHECK(is_there[value - values]);
        found++;
    }
    CHECK(found == count && map->count == count);
}

static void test_id_map_finds_what_was_added_and_not_removed(void)
{
    static char values[IDS];
    static uint8_t is_there[IDS];
    struct id_map map = {0};
    CHECK(!id_map_find(&map, 7));
    for (uint32_t round = 0; round < 20; round++) {
        for (uint32_t i = round % 7; i < IDS; i += 1 + round % 5) {
            if (is_there[i])
                id_map_remove(&map, id_of(i));
            else
                CHECK(id_map_add(&map, id_of(i), &values[i]) == 0);
            is_there[i] = !is_there[i];
        }
        check_all(&map, values, is_there);
    }
    id_map_fini(&map);
}

int main(void)
{
    RUN(test_id_map_finds_what_was_added_and_not_removed);
    return 0;
}
