/* SPDX-License-Identifier: Apache-2.0
 *
 * Disks that hang, lie and rot, processes that are stopped, clocks that run fast, directories that
 * go back in time: each does what it says, and ends when it is told to.
 */
#include "io/sim/sim.h"

#include "tests/unit/check.h"

#include <errno.h>

#define BLOCK  4096u
#define SECTOR 512u
#define MS     1000000ull

struct world {
    struct sim *sim;
    struct io *io;
    struct io_worker *worker;
    uint64_t turns;
    uint64_t clock; /* at the last turn */
    uint64_t deadline;
    int fd; /* of "a": four blocks of zeros, durable */
    int jobs_run, jobs_done;
    uint8_t *bytes; /* a block of sevens */
};

static bool turn(void *ctx, uint64_t now_ns, uint64_t *deadline_ns)
{
    struct world *world = ctx;
    world->turns++;
    world->clock = now_ns;
    if (world->deadline != 0)
        *deadline_ns = world->deadline;
    world->deadline = 0;
    return true;
}

static void start(struct world *world)
{
    CHECK(world->io->ops->start(world->io, turn, world) == 0);
}

static void world_init(struct world *world, uint64_t seed)
{
    *world = (struct world){.sim = sim_new(seed), .bytes = aligned_alloc(BLOCK, BLOCK)};
    world->io = sim_machine(world->sim, 1);
    const struct io_ops *ops = world->io->ops;
    start(world);
    CHECK(world->bytes);
    memset(world->bytes, 0, BLOCK);
    world->fd = ops->open(world->io, "a", IO_O_CREATE | IO_O_DIRECT);
    for (uint64_t at = 0; at < 4; at++)
        CHECK(ops->pwrite(world->io, world->fd, world->bytes, BLOCK, at * BLOCK, IO_DSYNC) ==
              BLOCK);
    CHECK(ops->sync_dir(world->io, "/") == 0);
    memset(world->bytes, 7, BLOCK);
}

static void die(struct world *world)
{
    sim_power_loss(world->sim, 1, SIM_LOSE_ALL);
    if (world->worker)
        world->io->ops->worker_free(world->worker);
    world->worker = NULL;
    world->io->ops->join(world->io);
    sim_reset(world->sim, 1);
}

static void world_fini(struct world *world)
{
    die(world);
    sim_free(world->sim);
    free(world->bytes);
}

static void run_for(struct world *world, uint64_t ns)
{
    sim_run_until(world->sim, sim_now(world->sim) + ns);
}

struct write_op {
    struct io_op op;
    struct iovec iov;
};

static void ignore_done(struct io_op *op)
{
    (void)op;
}

static void submit(struct world *world, struct write_op *write, uint64_t offset)
{
    write->iov = (struct iovec){world->bytes, BLOCK};
    write->op = (struct io_op){.done = ignore_done,
                               .iov = &write->iov,
                               .iov_count = 1,
                               .fd = world->fd,
                               .kind = IO_WRITE,
                               .flags = IO_DSYNC,
                               .offset = offset};
    io_submit(world->io, &write->op);
}

static uint8_t byte_at(struct world *world, uint64_t offset)
{
    static _Alignas(BLOCK) uint8_t block[BLOCK];
    CHECK(world->io->ops->pread(world->io, world->fd, block, BLOCK, offset / BLOCK * BLOCK) ==
          BLOCK);
    return block[offset % BLOCK];
}

/* ---- hanging, stopping, clocks ------------------------------------------- */

struct job {
    struct io_job job;
    struct world *world;
};

static void run_job(struct io_job *job)
{
    struct world *world = ((struct job *)job)->world;
    world->jobs_run++;
    CHECK(world->io->ops->fsync(world->io, world->fd) == 0);
}

static void job_done(struct io_job *job)
{
    ((struct job *)job)->world->jobs_done++;
}

static void post(struct world *world, struct job *job)
{
    *job = (struct job){{.run = run_job, .done = job_done}, world};
    world->io->ops->worker_post(world->worker, &job->job);
}

static void test_hung_disk_completes_nothing_until_it_is_healed(void)
{
    struct world world;
    struct write_op write;
    struct job jobs[2];
    world_init(&world, 1);
    world.worker = world.io->ops->worker_new(world.io, "refill");
    post(&world, &jobs[0]);
    run_for(&world, 10 * MS);
    CHECK(world.jobs_done == 1);

    sim_disk_hang(world.sim, 1, true);
    submit(&world, &write, 0);
    post(&world, &jobs[1]);
    run_for(&world, 10000 * MS);
    CHECK(write.op.in_flight && world.jobs_run == 1);
    sim_disk_hang(world.sim, 1, false);
    run_for(&world, 10 * MS);
    CHECK(!write.op.in_flight && write.op.result == BLOCK && world.jobs_done == 2);
    world_fini(&world);
}

static void test_crash_on_a_hung_disk_ends_what_waits(void)
{
    struct world world;
    struct write_op write;
    world_init(&world, 1);
    sim_disk_hang(world.sim, 1, true);
    submit(&world, &write, 0);
    run_for(&world, 10 * MS);
    die(&world);
    CHECK(!write.op.in_flight && write.op.result == -ECANCELED);
    sim_disk_hang(world.sim, 1, false);
    start(&world);
    world_fini(&world);
}

static void test_paused_process_has_no_turn_while_its_disk_works(void)
{
    struct world world;
    struct write_op write;
    uint8_t seen = 0;
    world_init(&world, 1);
    run_for(&world, MS);
    uint64_t turns = world.turns;
    submit(&world, &write, 0);
    sim_pause(world.sim, 1, true);
    run_for(&world, 5000 * MS);
    CHECK(world.turns == turns && write.op.in_flight);
    CHECK(sim_durable_read(world.sim, 1, "a", &seen, 1, 0) == 1 && seen == 7);
    sim_pause(world.sim, 1, false);
    run_for(&world, MS);
    CHECK(world.turns > turns && !write.op.in_flight && write.op.result == BLOCK);
    world_fini(&world);
}

static void test_clock_runs_at_its_own_rate_and_deadlines_with_it(void)
{
    struct world world;
    world_init(&world, 1);
    die(&world);
    sim_clock_rate(world.sim, 1, 1200000);
    start(&world);
    run_for(&world, MS);
    uint64_t clock = io_now(world.io), due = clock + 120 * MS;
    world.deadline = due;
    io_wake(world.io);
    run_for(&world, 99 * MS);
    CHECK(world.clock < due);
    run_for(&world, 2 * MS);
    CHECK(world.clock >= due && world.clock < due + MS);
    CHECK(io_now(world.io) - clock >= 121 * MS);
    world_fini(&world);
}

/* ---- disks that lie and rot ---------------------------------------------- */

static bool is_not_at(void *ctx, const char *path, uint64_t offset)
{
    CHECK(strcmp(path, "/a") == 0);
    return offset != *(const uint64_t *)ctx;
}

static void test_damage_is_read_until_written_or_repaired_and_no_oracle_sees_it(void)
{
    struct world world;
    uint8_t seen[SECTOR];
    world_init(&world, 1);
    const struct io_ops *ops = world.io->ops;
    CHECK(ops->pwrite(world.io, world.fd, world.bytes, BLOCK, 0, IO_DSYNC) == BLOCK);

    CHECK(sim_damage(world.sim, 1, "a", 0, SIM_DAMAGE_ZERO) == 0 && sim_is_damaged(world.sim, 1));
    CHECK(byte_at(&world, 0) == 0 && byte_at(&world, SECTOR) == 7);
    CHECK(sim_durable_read(world.sim, 1, "a", seen, SECTOR, 0) == SECTOR && seen[0] == 7);
    CHECK(ops->pwrite(world.io, world.fd, world.bytes, BLOCK, 0, 0) == BLOCK);
    CHECK(byte_at(&world, 0) == 7 && !sim_is_damaged(world.sim, 1));

    CHECK(sim_damage(world.sim, 1, "a", SECTOR, SIM_DAMAGE_UNREADABLE) == 0);
    static _Alignas(BLOCK) uint8_t block[BLOCK];
    CHECK(ops->pread(world.io, world.fd, block, BLOCK, 0) == -EIO);
    CHECK(ops->pread(world.io, world.fd, block, BLOCK, BLOCK) == BLOCK);
    uint64_t offset = SECTOR + 1;
    sim_damage_filter(world.sim, 1, is_not_at, &offset);
    CHECK(sim_is_damaged(world.sim, 1));
    offset = SECTOR;
    sim_damage_filter(world.sim, 1, is_not_at, &offset);
    CHECK(byte_at(&world, SECTOR) == 7 && !sim_is_damaged(world.sim, 1));

    CHECK(sim_damage(world.sim, 1, "a", 0, SIM_DAMAGE_FLIP) == 0);
    CHECK(ops->pread(world.io, world.fd, block, BLOCK, 0) == BLOCK);
    CHECK(memcmp(block, world.bytes, SECTOR) != 0);
    CHECK(memcmp(block + SECTOR, world.bytes, BLOCK - SECTOR) == 0);
    CHECK(sim_damage(world.sim, 1, "a", 4 * BLOCK, SIM_DAMAGE_FLIP) == -ENOENT);
    sim_damage_filter(world.sim, 1, NULL, NULL);
    CHECK(!sim_is_damaged(world.sim, 1));
    world_fini(&world);
}

static void test_lost_write_leaves_what_was_there_and_a_misdirected_one_lies_elsewhere(void)
{
    for (int misdirects = 0; misdirects < 2; misdirects++) {
        struct world world;
        struct write_op write;
        uint32_t elsewhere = 0;
        uint8_t seen = 0;
        world_init(&world, misdirects ? 3 : 1);
        sim_disk_lose_write(world.sim, 1, 1, misdirects != 0);
        submit(&world, &write, 0);
        run_for(&world, MS);
        CHECK(write.op.result == BLOCK && byte_at(&world, 0) == 0);
        CHECK(sim_durable_read(world.sim, 1, "a", &seen, 1, 0) == 1 && seen == 7);
        for (uint64_t at = 1; at < 4; at++)
            elsewhere += byte_at(&world, at * BLOCK) == 7;
        CHECK(elsewhere == (uint32_t)misdirects);
        submit(&world, &write, 0);
        run_for(&world, MS);
        CHECK(byte_at(&world, 0) == 7);
        world_fini(&world);
    }
}

static void test_read_error_strikes_once_at_the_read_that_was_named(void)
{
    struct world world;
    static _Alignas(BLOCK) uint8_t block[BLOCK];
    world_init(&world, 1);
    sim_disk_read_error(world.sim, 1, 2);
    CHECK(world.io->ops->pread(world.io, world.fd, block, BLOCK, 0) == BLOCK);
    CHECK(world.io->ops->pread(world.io, world.fd, block, BLOCK, 0) == -EIO);
    CHECK(world.io->ops->pread(world.io, world.fd, block, BLOCK, 0) == BLOCK);
    world_fini(&world);
}

static void test_older_unsynced_content_may_be_what_survives(void)
{
    uint32_t seen[3] = {0};
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct world world;
        world_init(&world, seed);
        for (uint8_t byte = 1; byte <= 2; byte++) {
            memset(world.bytes, byte, BLOCK);
            CHECK(world.io->ops->pwrite(world.io, world.fd, world.bytes, BLOCK, 0, 0) == BLOCK);
        }
        sim_power_loss(world.sim, 1, SIM_KEEP_RANDOM);
        world.io->ops->join(world.io);
        sim_reset(world.sim, 1);
        start(&world);
        world.fd = world.io->ops->open(world.io, "a", IO_O_DIRECT);
        CHECK(byte_at(&world, 0) <= 2);
        seen[byte_at(&world, 0)]++;
        world_fini(&world);
    }
    CHECK(seen[0] > 0 && seen[1] > 0 && seen[2] > 0);
}

static void test_sync_keeps_what_it_found_though_it_is_overwritten_meanwhile(void)
{
    struct world world;
    struct io_op sync = {.done = ignore_done, .kind = IO_SYNC};
    world_init(&world, 1);
    const struct io_ops *ops = world.io->ops;
    CHECK(ops->pwrite(world.io, world.fd, world.bytes, BLOCK, 0, 0) == BLOCK);
    sync.fd = world.fd;
    io_submit(world.io, &sync);
    memset(world.bytes, 9, BLOCK);
    CHECK(ops->pwrite(world.io, world.fd, world.bytes, BLOCK, 0, 0) == BLOCK);
    run_for(&world, MS);
    CHECK(!sync.in_flight && sync.result == 0);
    die(&world);
    start(&world);
    world.fd = ops->open(world.io, "a", IO_O_DIRECT);
    CHECK(byte_at(&world, 0) == 7);
    world_fini(&world);
}

/* ---- directories that go back in time ------------------------------------ */

static void test_disk_is_replaced_by_a_copy_of_before_or_by_nothing(void)
{
    struct world world;
    world_init(&world, 1);
    const struct io_ops *ops = world.io->ops;
    struct sim_disk_image *image = sim_disk_copy(world.sim, 1);
    CHECK(ops->pwrite(world.io, world.fd, world.bytes, BLOCK, 0, IO_DSYNC) == BLOCK);
    CHECK(ops->open(world.io, "b", IO_O_CREATE) >= 0 && ops->sync_dir(world.io, "/") == 0);
    die(&world);

    sim_disk_replace(world.sim, 1, image);
    start(&world);
    world.fd = ops->open(world.io, "a", IO_O_DIRECT);
    CHECK(world.fd >= 0 && byte_at(&world, 0) == 0);
    CHECK(ops->open(world.io, "b", 0) == -ENOENT);
    CHECK(sim_disk_used(world.sim, 1) == 4 * BLOCK);
    die(&world);

    sim_disk_replace(world.sim, 1, NULL);
    start(&world);
    CHECK(ops->open(world.io, "a", 0) == -ENOENT && sim_disk_used(world.sim, 1) == 0);
    sim_disk_image_free(image);
    world_fini(&world);
}

int main(void)
{
    RUN(test_hung_disk_completes_nothing_until_it_is_healed);
    RUN(test_crash_on_a_hung_disk_ends_what_waits);
    RUN(test_paused_process_has_no_turn_while_its_disk_works);
    RUN(test_clock_runs_at_its_own_rate_and_deadlines_with_it);
    RUN(test_damage_is_read_until_written_or_repaired_and_no_oracle_sees_it);
    RUN(test_lost_write_leaves_what_was_there_and_a_misdirected_one_lies_elsewhere);
    RUN(test_read_error_strikes_once_at_the_read_that_was_named);
    RUN(test_older_unsynced_content_may_be_what_survives);
    RUN(test_sync_keeps_what_it_found_though_it_is_overwritten_meanwhile);
    RUN(test_disk_is_replaced_by_a_copy_of_before_or_by_nothing);
    return 0;
}
