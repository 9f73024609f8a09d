/* SPDX-License-Identifier: Apache-2.0
 *
 * A group that is idle, with more entries than may be written again at once, beside one that logs
 * all the time and is compacted. 77 is the idle one: nobody takes a snapshot of it.
 *
 *     segments   | 77 77 1 1 | 77 1 1 | 1 1 1 | 1 1 1 | …      pinned by 77, for ever
 *     moved      (recycled)             | 1 1 1 | 77 77 77 1 | 1 1 …
 */
#include "wal_world.h"

#include "tests/unit/check.h"

#define IDLE 1u /* of 77 in the world's models */

static void must_open(struct wal_world *world)
{
    int err = world_open(world);
    if (err)
        fprintf(stderr, "wal_open: %s\n", world->error.message);
    CHECK(err == 0);
}

static void run(struct wal_world *world, uint32_t turns)
{
    must_open(world);
    world_run(world, turns);
    world_reset(world);
}

static uint64_t idle_entries(const struct wal_world *world)
{
    return world->model.groups[IDLE].last + 1 - world->model.groups[IDLE].first;
}

/* Until 77 holds 300 entries at least: from now on nothing is staged of it. */
static void begin(struct wal_world *world, uint64_t seed)
{
    world_init(world, seed);
    CHECK(world_create(world) == 0);
    world->keep_max = WORLD_ENTRIES_MAX;
    world->ignores_rewrites = true;
    world->options.wal_bytes_max = 16 * WAL_SEGMENT_BYTES_MIN;
    for (uint32_t i = 0; i < 40 && idle_entries(world) < 300; i++)
        run(world, 20);
    CHECK(idle_entries(world) >= 300);
    CHECK(idle_entries(world) * 250 > WAL_SEGMENT_BYTES_MIN);
    world->ignores_rewrites = false;
    world->moves_groups = true;
    world->only_group = true;
    world->keep_max = 60;
    world->refused = 0;
}

static void test_idle_group_of_any_size_pins_nothing_for_ever(void)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct wal_world world;
        begin(&world, seed);
        uint64_t entries = idle_entries(&world);
        for (uint32_t boot = 0; boot < 3; boot++)
            run(&world, 700);
        CHECK(world.refused < 200); /* of 3000: it waits a little for what is being moved */
        CHECK(world.stats.segment_count <= 19);
        CHECK(world.stats.segments_recycled > 5);
        CHECK(world.stats.moved_bytes > entries * 100);
        must_open(&world);
        CHECK_EQ_U64(idle_entries(&world), entries);
        world_fini(&world);
    }
}

/* So that the test above is known to have tested something. */
static void test_idle_group_that_is_not_moved_fills_the_log(void)
{
    struct wal_world world;
    begin(&world, 1);
    world.ignores_rewrites = true;
    for (uint32_t boot = 0; boot < 3; boot++)
        run(&world, 700);
    CHECK(world.refused > 2000);
    CHECK_EQ_U64(world.stats.moved_bytes, 0);
    world_fini(&world);
}

/* A log that is full of what is live rests: nothing would be won by moving it. */
static void test_nothing_is_moved_when_there_is_nothing_to_win(void)
{
    uint32_t full = 0;
    for (uint64_t seed = 20; seed < 40; seed++) {
        struct wal_world world;
        world_init(&world, seed);
        CHECK(world_create(&world) == 0);
        world.keep_max = WORLD_ENTRIES_MAX;
        world.entry_bytes_max = 4000;
        world.ignores_rewrites = true;
        run(&world, 100); /* into the budget */
        CHECK(world.refused > 0);
        must_open(&world);
        struct wal_segments *segments = &world.wal->segments;
        uint64_t span =
            (segments->active - segments->oldest) * segments->segment_bytes + segments->offset;
        if (segments->held_bytes > span / 4 * 3) {
            CHECK(!wal_wants_move(world.wal, 1));
            full++;
        } else if (segments->held_bytes < span / 2) {
            CHECK(wal_wants_move(world.wal, 1));
        }
        world_fini(&world);
    }
    CHECK(full > 1);
}

/* The group itself goes on, all the time: what was moved by then counts for nothing. */
static void test_series_that_is_interrupted_costs_nothing_but_room(void)
{
    for (uint64_t seed = 30; seed < 40; seed++) {
        struct wal_world world;
        begin(&world, seed);
        world.only_group = false;
        world.keep_max = 400;
        for (uint32_t boot = 0; boot < 4; boot++)
            run(&world, 300);
        must_open(&world);
        world_fini(&world);
    }
}

/* Once moved, its log grows and is compacted, so that the first pieces go and the others stay. */
static void test_moved_log_is_compacted_like_any_other(void)
{
    for (uint64_t seed = 40; seed < 50; seed++) {
        struct wal_world world;
        begin(&world, seed);
        while (world.stats.moved_bytes == 0)
            run(&world, 500);
        struct world_group *idle = &world.model.groups[IDLE];
        for (uint32_t i = 0; i < 6; i++) {
            must_open(&world);
            idle->first += (idle->last - idle->first) / 2;
            world_stage_state(&world, idle);
            world_run(&world, 100);
            world_reset(&world);
        }
        must_open(&world);
        world_fini(&world);
    }
}

static void test_crash_at_each_io_of_a_move_loses_nothing(uint64_t stride)
{
    uint32_t unfinished = 0;
    for (uint32_t how = 0; how < WORLD_CRASHES; how++) {
        bool crashed = true;
        uint64_t n = 1;
        for (; crashed; n += stride) {
            struct wal_world world;
            begin(&world, 50 + how);
            uint64_t entries = idle_entries(&world);
            run(&world, 200); /* until it is about to be moved */
            world_crash_at(&world, n, how);
            if (world_open(&world) == 0) {
                world_run(&world, 120);
                unfinished += world.stats.moved_bytes > 0;
            }
            crashed = sim_crashed(world.sim, 1);
            world_reset(&world);
            must_open(&world);
            CHECK_EQ_U64(idle_entries(&world), entries);
            world_run(&world, 100);
            world_reset(&world);
            must_open(&world);
            CHECK_EQ_U64(idle_entries(&world), entries);
            world_fini(&world);
        }
        CHECK(n > 100);
    }
    CHECK(unfinished > 50 / stride);
}

static uint64_t damaged_group;
static void on_damage(void *ctx, uint64_t group, const struct rr_error *error)
{
    struct wal_world *world = ctx;
    damaged_group = group;
    world->error = *error;
    world->ignores_rewrites = true; /* as an engine that has stopped the group */
}

static void test_damage_is_told_and_nothing_is_moved(void)
{
    struct wal_world world;
    begin(&world, 60);
    world.options.on_damage = on_damage;
    run(&world, 100);
    must_open(&world);
    char path[64], name[WAL_NAME_SIZE];
    wal_segment_name(name, world.wal->segments.oldest);
    snprintf(path, sizeof(path), "/d/%s", name);
    for (uint64_t offset = 0; offset < WAL_SEGMENT_BYTES_MIN; offset += 512)
        (void)sim_damage(world.sim, 1, path, offset, SIM_DAMAGE_FLIP);
    world_run(&world, 700);
    CHECK_EQ_U64(damaged_group, 77);
    CHECK(strstr(world.error.message, "/d/wal-0"));
    CHECK(strstr(world.error.message, "replace this node by a new one"));
    world_fini(&world);
}

int main(int argc, char **argv)
{
    uint64_t stride = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    RUN(test_idle_group_of_any_size_pins_nothing_for_ever);
    RUN(test_idle_group_that_is_not_moved_fills_the_log);
    RUN(test_nothing_is_moved_when_there_is_nothing_to_win);
    RUN(test_series_that_is_interrupted_costs_nothing_but_room);
    RUN(test_moved_log_is_compacted_like_any_other);
    RUN(test_damage_is_told_and_nothing_is_moved);
    test_crash_at_each_io_of_a_move_loses_nothing(stride);
    return 0;
}
