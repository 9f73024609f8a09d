/* SPDX-License-Identifier: Apache-2.0
 *
 * Crashes at every I/O of creation, service and recovery, as the death of the process and as each
 * kind of power loss.
 *
 *     test_wal_crash [STRIDE]      every STRIDE-th point only
 */
#include "wal_world.h"

#include "io/identity.h"
#include "tests/unit/check.h"

static uint64_t stride = 1;
static const uint32_t turns = 70;

static void describe(const char *what, uint64_t n, uint32_t how)
{
    fprintf(stderr, "%s: crash %u at point %llu\n", what, how, (unsigned long long)n);
}

/* After a crash and a restart nothing is refused. */
static void must_recover(struct wal_world *world)
{
    int err = world_open(world);
    if (err)
        fprintf(stderr, "wal_open: %s\n", world->error.message);
    CHECK(err == 0);
}

static void begin(struct wal_world *world, uint64_t seed)
{
    world_init(world, seed);
    world->removes_groups = true;
    CHECK(world_create(world) == 0);
}

/* One service of `turns` turns that crashes at its n-th I/O. False: it ended before. */
static bool serve_and_crash(struct wal_world *world, uint64_t n, uint32_t how)
{
    world_crash_at(world, n, how);
    int err = world_open(world);
    if (!err)
        world_run(world, turns);
    else if (!sim_crashed(world->sim, 1))
        fprintf(stderr, "wal_open: %s\n", world->error.message);
    CHECK(err == 0 || sim_crashed(world->sim, 1));
    bool crashed = sim_crashed(world->sim, 1);
    world_reset(world);
    return crashed;
}

static void test_crash_at_each_io_in_service_loses_nothing_acknowledged(void)
{
    for (uint32_t how = 0; how < WORLD_CRASHES; how++) {
        bool crashed = true;
        uint64_t n = 1;
        for (; crashed; n += stride) {
            struct wal_world world;
            begin(&world, 11 + how);
            must_recover(&world);
            world_run(&world, 150); /* so that segments are recycled in what follows */
            world_reset(&world);
            crashed = serve_and_crash(&world, n, how);
            must_recover(&world);
            world_run(&world, 5);
            world_reset(&world);
            must_recover(&world);
            world_fini(&world);
        }
        describe("service survived", n, how);
        CHECK(n > 100);
    }
}

/* With writes of many blocks and two in flight; several crashes one after another on the same disk.
 */
static void test_crash_after_crash_loses_nothing_acknowledged(void)
{
    struct wal_world world;
    begin(&world, 21);
    world.entry_bytes_max = 3000;
    for (uint32_t i = 0; i < 600 / stride; i++) {
        uint32_t how = (uint32_t)sim_random_below(world.sim, WORLD_CRASHES);
        serve_and_crash(&world, 1 + sim_random_below(world.sim, 150), how);
    }
    must_recover(&world);
    CHECK(world.entries_total > 5000 / stride);
    world_fini(&world);
}

static void test_crash_in_recovery_only_repeats_it(void)
{
    for (uint32_t how = 0; how < WORLD_CRASHES; how++) {
        bool crashed = true;
        for (uint64_t n = 1; crashed; n++) {
            struct wal_world world;
            begin(&world, 31);
            serve_and_crash(&world, 90, SIM_TEAR_ONE);
            crashed = false;
            for (uint32_t depth = 0; depth < 3; depth++) {
                world_crash_at(&world, n, how);
                int err = world_open(&world);
                CHECK(err == 0 || sim_crashed(world.sim, 1));
                crashed |= err != 0;
                if (!err)
                    world_run(&world, 0);
                world_reset(&world);
            }
            must_recover(&world);
            world_fini(&world);
        }
    }
}

/* ---- the first boot ------------------------------------------------------------------ */

static const struct identity mine = {
    .cluster = 5,
    .node = 1,
    .instance = 0x1234567,
    .format = IDENTITY_FORMAT,
    .feature_level = IDENTITY_FEATURE_LEVEL,
    .loop_count = 1,
};

/* What an engine does with a directory; 0 when a node lives in it. */
static int create_node(struct wal_world *world)
{
    struct io *io = world->io;
    struct identity found;
    int lock = -1;
    int err = identity_lock(io, "/d", &lock, &world->error);
    if (err)
        return err;
    err = identity_read(io, "/d", &found, &world->error);
    if (err == RR_E_NOT_FOUND) {
        err = wal_create(&world->options, &world->error);
        if (!err)
            err = identity_write(io, "/d", &mine, &world->error);
    } else if (!err) {
        err = identity_check(&found, &mine, "/d", &world->error);
    }
    io->ops->close(io, lock);
    return err;
}

static void test_crash_at_each_io_of_creation_leaves_nothing_or_a_node(void)
{
    for (uint32_t how = 0; how < WORLD_CRASHES; how++) {
        bool crashed = true;
        uint64_t n = 1;
        for (; crashed; n++) {
            struct wal_world world;
            struct identity found;
            world_init(&world, 41 + n);
            world_crash_at(&world, n, how);
            int err = create_node(&world);
            crashed = sim_crashed(world.sim, 1);
            CHECK(err == 0 || crashed);
            world_reset(&world);
            bool was_done = !err;
            err = identity_read(world.io, "/d", &found, &world.error);
            CHECK(err == 0 || (err == RR_E_NOT_FOUND && !was_done));
            if (err)
                CHECK(create_node(&world) == 0);
            must_recover(&world);
            world_run(&world, 10);
            world_fini(&world);
        }
        describe("creation survived", n, how);
        CHECK(n > 10);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1)
        stride = strtoull(argv[1], NULL, 10);
    CHECK(stride > 0);
    RUN(test_crash_at_each_io_of_creation_leaves_nothing_or_a_node);
    RUN(test_crash_in_recovery_only_repeats_it);
    RUN(test_crash_after_crash_loses_nothing_acknowledged);
    RUN(test_crash_at_each_io_in_service_loses_nothing_acknowledged);
    return 0;
}
