/* SPDX-License-Identifier: Apache-2.0
 *
 * The directory's identity: written once and read back, refused when damaged, foreign or another's;
 * one process at a time. (Crashes at each point of its making: test_wal_crash.)
 */
#include "io/identity.h"

#include "io/sim/sim.h"
#include "tests/unit/check.h"

static const struct identity mine = {
    .cluster = 5,
    .node = 2,
    .instance = 77,
    .format = IDENTITY_FORMAT,
    .feature_level = IDENTITY_FEATURE_LEVEL,
    .loop_count = 1,
};

static struct sim *sim;
static struct io *io;
static struct rr_error error;

static void begin(void)
{
    int lock;
    sim = sim_new(1);
    io = sim_machine(sim, 1);
    CHECK(identity_lock(io, "/d", &lock, &error) == 0);
    io->ops->close(io, lock);
}

static void test_written_identity_is_read_back(void)
{
    struct identity found;
    begin();
    CHECK_EQ_U64(identity_read(io, "/d", &found, &error), RR_E_NOT_FOUND);
    CHECK_EQ_U64(identity_read(io, "/elsewhere", &found, &error), RR_E_NOT_FOUND);
    CHECK(identity_write(io, "/d", &mine, &error) == 0);
    sim_power_loss(sim, 1, SIM_LOSE_ALL);
    sim_reset(sim, 1);
    CHECK(identity_read(io, "/d", &found, &error) == 0);
    CHECK(found.cluster == 5 && found.node == 2 && found.instance == 77 && found.loop_count == 1);
    CHECK(identity_check(&found, &mine, "/d", &error) == 0);
    sim_free(sim);
}

static void test_another_identity_is_refused_with_both_named(void)
{
    struct identity other = mine;
    other.cluster = 6;
    CHECK_EQ_U64(identity_check(&mine, &other, "/d", &error), RR_E_IDENTITY);
    CHECK(strstr(error.message, "cluster 5") && strstr(error.message, "6") &&
          strstr(error.message, "/d"));
    other = mine, other.node = 9;
    CHECK_EQ_U64(identity_check(&mine, &other, "/d", &error), RR_E_IDENTITY);
    CHECK(strstr(error.message, "node 2") && strstr(error.message, "9"));
    other = mine, other.loop_count = 4;
    CHECK_EQ_U64(identity_check(&mine, &other, "/d", &error), RR_E_IDENTITY);
    other = mine, other.instance = 1; /* not known before the directory is read */
    CHECK_EQ_U64(identity_check(&mine, &other, "/d", &error), 0);
}

static void test_damaged_identity_is_refused(void)
{
    struct identity found;
    begin();
    CHECK(identity_write(io, "/d", &mine, &error) == 0);
    for (uint64_t at = 0; at < 48; at++) {
        uint8_t byte, flipped;
        CHECK(sim_durable_read(sim, 1, "/d/identity", &byte, 1, at) == 1);
        flipped = byte ^ 0x20;
        CHECK(sim_corrupt(sim, 1, "/d/identity", at, &flipped, 1) == 0);
        int err = identity_read(io, "/d", &found, &error);
        CHECK(err == RR_E_CORRUPT || (at >= 8 && at < 16 && err == RR_E_VERSION));
        CHECK(sim_corrupt(sim, 1, "/d/identity", at, &byte, 1) == 0);
    }
    CHECK(identity_read(io, "/d", &found, &error) == 0);
    int fd = io->ops->open(io, "/d/identity", IO_O_TRUNCATE);
    CHECK(fd >= 0);
    io->ops->close(io, fd);
    CHECK_EQ_U64(identity_read(io, "/d", &found, &error), RR_E_CORRUPT);
    sim_free(sim);
}

static void test_newer_feature_level_is_refused_as_a_version(void)
{
    struct identity newer = mine, found;
    begin();
    newer.feature_level++;
    CHECK(identity_write(io, "/d", &newer, &error) == 0);
    CHECK_EQ_U64(identity_read(io, "/d", &found, &error), RR_E_VERSION);
    sim_free(sim);
}

static void test_second_lock_is_refused(void)
{
    int first, second;
    begin();
    CHECK(identity_lock(io, "/d", &first, &error) == 0);
    CHECK_EQ_U64(identity_lock(io, "/d", &second, &error), RR_E_LOCKED);
    CHECK(strstr(error.message, "/d") != NULL);
    io->ops->close(io, first);
    CHECK(identity_lock(io, "/d", &second, &error) == 0);
    io->ops->close(io, second);
    sim_free(sim);
}

static void test_directory_that_cannot_be_made_is_refused(void)
{
    int lock;
    begin();
    CHECK_EQ_U64(identity_lock(io, "/no/such/parent", &lock, &error), RR_E_IO);
    sim_free(sim);
}

int main(void)
{
    RUN(test_written_identity_is_read_back);
    RUN(test_another_identity_is_refused_with_both_named);
    RUN(test_damaged_identity_is_refused);
    RUN(test_newer_feature_level_is_refused_as_a_version);
    RUN(test_second_lock_is_refused);
    RUN(test_directory_that_cannot_be_made_is_refused);
    return 0;
}
