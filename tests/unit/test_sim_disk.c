/* SPDX-License-Identifier: Apache-2.0
 *
 * The disk model's promises: what is synced survives every power loss, what is not may not; names
 * likewise.
 */
#include "io/sim/sim.h"

#include "tests/unit/check.h"

#include <errno.h>

#define BLOCK 4096u

struct world {
    struct sim *sim;
    struct io *io;
    int done_count;
    int64_t results[8];
};

struct write_op {
    struct io_op op;
    struct iovec iov;
    struct world *world;
};

static bool turn(void *ctx, uint64_t now_ns, uint64_t *deadline_ns)
{
    (void)ctx;
    (void)now_ns;
    (void)deadline_ns;
    return true;
}

static struct world world_new(uint64_t seed)
{
    struct world world = {.sim = sim_new(seed)};
    world.io = sim_machine(world.sim, 1);
    CHECK(world.io->ops->start(world.io, turn, NULL) == 0);
    return world;
}

/* The driver's part after a crash. */
static void restart(struct world *world)
{
    CHECK(sim_crashed(world->sim, 1));
    world->io->ops->join(world->io);
    sim_reset(world->sim, 1);
    CHECK(world->io->ops->start(world->io, turn, NULL) == 0);
}

static void world_free(struct world *world)
{
    sim_power_loss(world->sim, 1, SIM_LOSE_ALL);
    world->io->ops->join(world->io);
    sim_free(world->sim);
}

static int open_file(struct world *world, const char *path, unsigned flags)
{
    int fd = world->io->ops->open(world->io, path, flags);
    CHECK(fd >= 0);
    return fd;
}

static uint8_t *make_blocks(uint32_t count, uint8_t byte)
{
    uint8_t *blocks = aligned_alloc(BLOCK, (size_t)count * BLOCK);
    CHECK(blocks);
    memset(blocks, byte, (size_t)count * BLOCK);
    return blocks;
}

static void write_done(struct io_op *op)
{
    struct world *world = ((struct write_op *)op)->world;
    world->results[world->done_count++] = op->result;
}

static void submit_write(struct world *world, struct write_op *write, int fd, uint8_t *bytes,
                         uint32_t count, uint64_t offset, uint8_t flags)
{
    write->iov = (struct iovec){bytes, (size_t)count * BLOCK};
    write->world = world;
    write->op = (struct io_op){.done = write_done,
                               .iov = &write->iov,
                               .iov_count = 1,
                               .fd = fd,
                               .kind = IO_WRITE,
                               .flags = flags,
                               .offset = offset};
    io_submit(world->io, &write->op);
}

static void run_for(struct world *world, uint64_t ns)
{
    sim_run_until(world->sim, sim_now(world->sim) + ns);
}

/* A file of zeros under a durable name. */
static int make_file(struct world *world, const char *path, uint32_t blocks, unsigned flags)
{
    int fd = open_file(world, path, IO_O_CREATE | flags);
    uint8_t *zeros = make_blocks(blocks, 0);
    CHECK(world->io->ops->pwrite(world->io, fd, zeros, (size_t)blocks * BLOCK, 0, 0) ==
          (int64_t)blocks * BLOCK);
    CHECK(world->io->ops->fsync(world->io, fd) == 0);
    CHECK(world->io->ops->sync_dir(world->io, "/") == 0);
    free(zeros);
    return fd;
}

/* How many 512-byte sectors of the file hold `byte` throughout. */
static uint32_t count_sectors(struct world *world, const char *path, uint8_t byte)
{
    uint8_t sector[512], wanted[512];
    uint32_t count = 0;
    memset(wanted, byte, sizeof(wanted));
    int fd = open_file(world, path, IO_O_READ_ONLY);
    for (uint64_t at = 0; world->io->ops->pread(world->io, fd, sector, 512, at) == 512; at += 512)
        count += memcmp(sector, wanted, 512) == 0;
    world->io->ops->close(world->io, fd);
    return count;
}

static void test_write_dsync_survives_every_power_loss(void)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct world world = world_new(seed);
        int fd = make_file(&world, "a", 4, IO_O_DIRECT);
        uint8_t *bytes = make_blocks(2, 7);
        struct write_op write;
        submit_write(&world, &write, fd, bytes, 2, BLOCK, IO_DSYNC);
        run_for(&world, 1000000);
        CHECK(world.done_count == 1 && world.results[0] == 2 * BLOCK);
        sim_power_loss(world.sim, 1, (enum sim_power_loss)(seed % SIM_POWER_LOSS_COUNT));
        restart(&world);
        CHECK_EQ_U64(count_sectors(&world, "a", 7), 16);
        CHECK_EQ_U64(count_sectors(&world, "a", 0), 16);
        free(bytes);
        world_free(&world);
    }
}

static void test_write_without_dsync_is_lost_or_kept_by_the_mode(void)
{
    uint32_t kept_some = 0;
    for (uint64_t seed = 1; seed <= 80; seed++) {
        struct world world = world_new(seed);
        enum sim_power_loss how = (enum sim_power_loss)(seed % SIM_POWER_LOSS_COUNT);
        int fd = make_file(&world, "a", 4, IO_O_DIRECT);
        uint8_t *bytes = make_blocks(4, 7);
        struct write_op write;
        submit_write(&world, &write, fd, bytes, 4, 0, 0);
        run_for(&world, 1000000);
        CHECK(world.done_count == 1);
        sim_power_loss(world.sim, 1, how);
        restart(&world);
        uint32_t kept = count_sectors(&world, "a", 7);
        CHECK(how != SIM_LOSE_ALL || kept == 0);
        CHECK(how != SIM_KEEP_ALL || kept == 32);
        CHECK_EQ_U64(count_sectors(&world, "a", 0), 32 - kept);
        kept_some += kept > 0 && kept < 32;
        free(bytes);
        world_free(&world);
    }
    CHECK(kept_some > 30); /* of 40 with a mode that tears */
}

static void test_tear_one_keeps_all_before_and_nothing_after(void)
{
    uint32_t torn_first = 0, torn_second = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct world world = world_new(seed);
        int fd = make_file(&world, "a", 4, 0);
        uint8_t *one = make_blocks(2, 1), *two = make_blocks(2, 2);
        CHECK(world.io->ops->pwrite(world.io, fd, one, 2 * BLOCK, 0, 0) == 2 * BLOCK);
        CHECK(world.io->ops->pwrite(world.io, fd, two, 2 * BLOCK, 2 * BLOCK, 0) == 2 * BLOCK);
        sim_power_loss(world.sim, 1, SIM_TEAR_ONE);
        restart(&world);
        uint32_t ones = count_sectors(&world, "a", 1), twos = count_sectors(&world, "a", 2);
        CHECK(ones == 16 || twos == 0);
        torn_first += ones > 0 && ones < 16;
        torn_second += twos > 0 && twos < 16;
        free(one);
        free(two);
        world_free(&world);
    }
    CHECK(torn_first > 0 && torn_second > 0);
}

static void test_write_in_flight_may_survive_power_loss_in_part(void)
{
    uint32_t none = 0, some = 0, all = 0;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct world world = world_new(seed);
        int fd = make_file(&world, "a", 4, IO_O_DIRECT);
        uint8_t *bytes = make_blocks(4, 7);
        struct write_op write;
        submit_write(&world, &write, fd, bytes, 4, 0, IO_DSYNC);
        sim_power_loss(world.sim, 1, (enum sim_power_loss)(seed % SIM_POWER_LOSS_COUNT));
        CHECK(write.op.in_flight);
        restart(&world);
        CHECK(world.done_count == 1 && world.results[0] == -ECANCELED && !write.op.in_flight);
        uint32_t kept = count_sectors(&world, "a", 7);
        none += kept == 0;
        some += kept > 0 && kept < 32;
        all += kept == 32;
        free(bytes);
        world_free(&world);
    }
    CHECK(none > 0 && some > 0 && all > 0);
}

static void test_kill_keeps_what_was_written(void)
{
    uint32_t in_flight_kept = 0, in_flight_lost = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct world world = world_new(seed);
        int fd = open_file(&world, "new", IO_O_CREATE | IO_O_EXCL);
        uint8_t *bytes = make_blocks(2, 7);
        struct write_op write;
        CHECK(world.io->ops->pwrite(world.io, fd, bytes, BLOCK, 0, 0) == BLOCK);
        submit_write(&world, &write, fd, bytes, 1, BLOCK, 0);
        sim_kill(world.sim, 1);
        restart(&world);
        uint32_t kept = count_sectors(&world, "new", 7);
        CHECK(kept >= 8 && kept <= 16);
        in_flight_kept += kept == 16;
        in_flight_lost += kept == 8;
        free(bytes);
        world_free(&world);
    }
    CHECK(in_flight_kept > 0 && in_flight_lost > 0);
}

static bool exists(struct world *world, const char *path)
{
    int fd = world->io->ops->open(world->io, path, IO_O_READ_ONLY);
    CHECK(fd >= 0 || fd == -ENOENT);
    if (fd >= 0)
        world->io->ops->close(world->io, fd);
    return fd >= 0;
}

static void test_name_without_sync_dir_is_lost(void)
{
    struct world world = world_new(1);
    const struct io_ops *ops = world.io->ops;
    uint8_t *bytes = make_blocks(1, 7);

    CHECK(ops->mkdir(world.io, "/n") == 0 && ops->sync_dir(world.io, "/") == 0);
    CHECK(ops->mkdir(world.io, "/n") == -EEXIST);
    int synced = open_file(&world, "/n/synced", IO_O_CREATE);
    CHECK(ops->sync_dir(world.io, "/n") == 0);
    int unsynced = open_file(&world, "/n/unsynced", IO_O_CREATE);
    CHECK(ops->pwrite(world.io, synced, bytes, BLOCK, 0, IO_DSYNC) == BLOCK);
    CHECK(ops->pwrite(world.io, unsynced, bytes, BLOCK, 0, IO_DSYNC) == BLOCK);
    CHECK(ops->fsync(world.io, unsynced) == 0); /* the file, not its name */
    CHECK(ops->rename(world.io, "/n/synced", "/n/renamed") == 0);
    CHECK(exists(&world, "/n/renamed") && !exists(&world, "/n/synced"));

    sim_power_loss(world.sim, 1, SIM_LOSE_ALL);
    restart(&world);
    CHECK(exists(&world, "/n/synced"));
    CHECK(!exists(&world, "/n/renamed") && !exists(&world, "/n/unsynced"));
    CHECK_EQ_U64(count_sectors(&world, "/n/synced", 7), 8);

    CHECK(ops->unlink(world.io, "/n/synced") == 0 && !exists(&world, "/n/synced"));
    sim_power_loss(world.sim, 1, SIM_LOSE_ALL);
    restart(&world);
    CHECK(exists(&world, "/n/synced"));
    free(bytes);
    world_free(&world);
}

static void test_directory_without_sync_of_its_parent_is_lost_with_its_files(void)
{
    struct world world = world_new(1);
    const struct io_ops *ops = world.io->ops;

    CHECK(ops->mkdir(world.io, "/n") == 0);
    open_file(&world, "/n/a", IO_O_CREATE);
    CHECK(ops->sync_dir(world.io, "/n") == 0);
    sim_power_loss(world.sim, 1, SIM_LOSE_ALL);
    restart(&world);
    CHECK(!exists(&world, "/n/a") && ops->sync_dir(world.io, "/n") == -ENOENT);
    world_free(&world);
}

static void test_rename_survives_whole_or_not_at_all(void)
{
    uint32_t before = 0, after = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct world world = world_new(seed);
        const struct io_ops *ops = world.io->ops;
        make_file(&world, "from", 1, 0);
        CHECK(ops->rename(world.io, "from", "to") == 0);
        sim_power_loss(world.sim, 1, SIM_KEEP_RANDOM);
        restart(&world);
        CHECK(exists(&world, "from") != exists(&world, "to"));
        before += exists(&world, "from");
        after += exists(&world, "to");
        world_free(&world);
    }
    CHECK(before > 0 && after > 0);
}

static void test_size_without_sync_is_lost(void)
{
    struct world world = world_new(1);
    const struct io_ops *ops = world.io->ops;
    int fd = make_file(&world, "a", 1, 0);
    uint8_t *bytes = make_blocks(2, 7);

    CHECK(ops->pwrite(world.io, fd, bytes, BLOCK, BLOCK, 0) == BLOCK);
    CHECK(ops->file_size(world.io, fd) == 2 * BLOCK);
    sim_power_loss(world.sim, 1, SIM_LOSE_ALL);
    restart(&world);
    fd = open_file(&world, "a", 0);
    CHECK(ops->file_size(world.io, fd) == BLOCK);
    CHECK(ops->pwrite(world.io, fd, bytes, BLOCK, BLOCK, IO_DSYNC) == BLOCK);
    CHECK(ops->truncate(world.io, fd, 512) == 0);
    sim_power_loss(world.sim, 1, SIM_LOSE_ALL);
    restart(&world);
    CHECK_EQ_U64(count_sectors(&world, "a", 7), 8);
    free(bytes);
    world_free(&world);
}

static void test_sync_makes_durable_only_what_was_written_before_it_was_submitted(void)
{
    struct world world = world_new(3);
    int fd = make_file(&world, "a", 2, 0);
    uint8_t *bytes = make_blocks(1, 7);
    struct write_op sync = {.world = &world, .op = {.done = write_done, .kind = IO_SYNC, .fd = fd}};

    CHECK(world.io->ops->pwrite(world.io, fd, bytes, BLOCK, 0, 0) == BLOCK);
    io_submit(world.io, &sync.op);
    CHECK(world.io->ops->pwrite(world.io, fd, bytes, BLOCK, BLOCK, 0) == BLOCK);
    run_for(&world, 1000000);
    CHECK(world.done_count == 1 && world.results[0] == 0);
    sim_power_loss(world.sim, 1, SIM_LOSE_ALL);
    restart(&world);
    CHECK_EQ_U64(count_sectors(&world, "a", 7), 8);
    free(bytes);
    world_free(&world);
}

static void test_faults_error_capacity_and_short_writes_are_reported(void)
{
    struct world world = world_new(5);
    const struct io_ops *ops = world.io->ops;
    int fd = make_file(&world, "a", 4, 0);
    uint8_t *bytes = make_blocks(4, 7);
    struct write_op writes[2];

    sim_disk_error(world.sim, 1, EIO, 2);
    CHECK(ops->pwrite(world.io, fd, bytes, BLOCK, 0, 0) == BLOCK);
    submit_write(&world, &writes[0], fd, bytes, 4, 0, IO_DSYNC);
    run_for(&world, 1000000);
    CHECK(world.results[0] == -EIO);
    CHECK(ops->fsync(world.io, fd) == 0);

    sim_disk_short_writes(world.sim, 1, 1000);
    submit_write(&world, &writes[1], fd, bytes, 4, 0, IO_DSYNC);
    run_for(&world, 1000000);
    CHECK(world.results[1] > 0 && world.results[1] < 4 * BLOCK && world.results[1] % BLOCK == 0);

    sim_disk_capacity(world.sim, 1, 4 * BLOCK);
    CHECK(ops->pwrite(world.io, fd, bytes, BLOCK, 4 * BLOCK, 0) == -ENOSPC);
    CHECK(ops->pwrite(world.io, fd, bytes, BLOCK, 0, 0) == BLOCK);

    sim_disk_buffered(world.sim, 1, true);
    CHECK(ops->open(world.io, "a", IO_O_DIRECT) == -EINVAL);
    free(bytes);
    world_free(&world);
}

static void test_lock_is_exclusive_and_dies_with_the_process(void)
{
    struct world world = world_new(1);
    const struct io_ops *ops = world.io->ops;
    int first = open_file(&world, "lock", IO_O_CREATE), second = open_file(&world, "lock", 0);

    CHECK(ops->lock(world.io, first) == 0);
    CHECK(ops->lock(world.io, second) == -EWOULDBLOCK);
    sim_kill(world.sim, 1);
    restart(&world);
    CHECK(ops->lock(world.io, open_file(&world, "lock", 0)) == 0);
    world_free(&world);
}

static void test_oracle_sees_only_what_is_durable(void)
{
    struct world world = world_new(1);
    const struct io_ops *ops = world.io->ops;
    uint8_t *bytes = make_blocks(1, 7);
    uint8_t seen[8];
    int fd = make_file(&world, "a", 1, 0);
    uint64_t version = sim_durable_version(world.sim, 1);

    CHECK(ops->pwrite(world.io, fd, bytes, BLOCK, 0, 0) == BLOCK);
    CHECK(sim_durable_read(world.sim, 1, "a", seen, 8, 0) == 8 && seen[0] == 0);
    CHECK(sim_durable_version(world.sim, 1) == version);
    CHECK(ops->fsync(world.io, fd) == 0);
    CHECK(sim_durable_version(world.sim, 1) > version);
    CHECK(sim_durable_read(world.sim, 1, "a", seen, 8, 0) == 8 && seen[0] == 7);
    CHECK(sim_durable_read(world.sim, 1, "a", seen, 8, BLOCK) == 0);
    CHECK(sim_durable_read(world.sim, 1, "b", seen, 8, 0) == -ENOENT);

    sim_kill(world.sim, 1);
    CHECK(sim_corrupt(world.sim, 1, "a", 100, "x", 1) == 0);
    restart(&world);
    CHECK_EQ_U64(count_sectors(&world, "a", 7), 7);
    free(bytes);
    world_free(&world);
}

int main(void)
{
    RUN(test_write_dsync_survives_every_power_loss);
    RUN(test_write_without_dsync_is_lost_or_kept_by_the_mode);
    RUN(test_tear_one_keeps_all_before_and_nothing_after);
    RUN(test_write_in_flight_may_survive_power_loss_in_part);
    RUN(test_kill_keeps_what_was_written);
    RUN(test_name_without_sync_dir_is_lost);
    RUN(test_directory_without_sync_of_its_parent_is_lost_with_its_files);
    RUN(test_rename_survives_whole_or_not_at_all);
    RUN(test_size_without_sync_is_lost);
    RUN(test_sync_makes_durable_only_what_was_written_before_it_was_submitted);
    RUN(test_faults_error_capacity_and_short_writes_are_reported);
    RUN(test_lock_is_exclusive_and_dies_with_the_process);
    RUN(test_oracle_sees_only_what_is_durable);
    return 0;
}
