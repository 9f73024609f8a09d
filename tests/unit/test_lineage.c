/* SPDX-License-Identifier: Apache-2.0
 *
 * The list of a directory's starts: kept over restarts and power loss, with gaps where a build ran
 * that did not keep it; damage and a log that is older than it are refused.
 */
#include "io/lineage.h"

#include "io/sim/sim.h"
#include "tests/unit/check.h"

#define INSTANCE 77u

static struct sim *sim;
static struct io *io;
static struct rr_error error;

static void begin(void)
{
    sim = sim_new(1);
    io = sim_machine(sim, 1);
    CHECK(io->ops->mkdir(io, "/d") == 0);
    CHECK(io->ops->sync_dir(io, "/") == 0);
}

static int start(struct lineage *lineage, uint64_t boot, uint64_t nonce)
{
    *lineage = (struct lineage){.io = io, .dir = "/d", .instance = INSTANCE, .nonce = nonce};
    return lineage_begin(lineage, boot, &error);
}

static void start_and_end(uint64_t boot, uint64_t nonce)
{
    struct lineage lineage;
    CHECK(start(&lineage, boot, nonce) == 0);
    CHECK_EQ_U64(lineage_nonce(&lineage, boot), nonce);
    lineage_fini(&lineage);
}

static void test_starts_outlive_power_loss(void)
{
    struct lineage lineage;
    begin();
    for (uint64_t boot = 1; boot <= 40; boot++) {
        start_and_end(boot, 1000 + boot);
        sim_power_loss(sim, 1, SIM_LOSE_ALL);
        sim_reset(sim, 1);
    }
    CHECK(start(&lineage, 41, 5) == 0);
    CHECK_EQ_U64(lineage_nonce(&lineage, 0), 0);
    for (uint64_t boot = 1; boot <= 40; boot++)
        CHECK_EQ_U64(lineage_nonce(&lineage, boot), 1000 + boot);
    CHECK_EQ_U64(lineage_nonce(&lineage, 41), 5);
    CHECK_EQ_U64(lineage_nonce(&lineage, UINT64_MAX), 0);
    lineage_fini(&lineage);
    sim_free(sim);
}

/* It died before its log knew of the boot, which begins again. */
static void test_start_that_came_to_nothing_is_replaced(void)
{
    struct lineage lineage;
    begin();
    start_and_end(1, 11);
    start_and_end(2, 12);
    start_and_end(2, 13);
    CHECK(start(&lineage, 3, 14) == 0);
    CHECK_EQ_U64(lineage_nonce(&lineage, 2), 13);
    lineage_fini(&lineage);
    sim_free(sim);
}

/* A directory of an older build, at its 5000th boot; later an older build runs in between. */
static void test_boots_of_builds_that_keep_no_list_are_not_known(void)
{
    struct lineage lineage;
    begin();
    start_and_end(5000, 21);
    start_and_end(5003, 22);
    CHECK(start(&lineage, 5004, 23) == 0);
    CHECK_EQ_U64(lineage_nonce(&lineage, 4999), 0);
    CHECK_EQ_U64(lineage_nonce(&lineage, 5000), 21);
    CHECK_EQ_U64(lineage_nonce(&lineage, 5001), 0);
    CHECK_EQ_U64(lineage_nonce(&lineage, 5003), 22);
    lineage_fini(&lineage);
    sim_free(sim);
}

static void test_log_that_ends_before_the_list_is_refused(void)
{
    struct lineage lineage;
    begin();
    start_and_end(1, 31);
    start_and_end(2, 32);
    start_and_end(3, 33);
    CHECK_EQ_U64(start(&lineage, 2, 34), RR_E_CORRUPT);
    CHECK(strstr(error.message, "/d") && strstr(error.message, "before start 2") &&
          strstr(error.message, "replace this node"));
    lineage_fini(&lineage);
    CHECK(start(&lineage, 3, 35) == 0); /* nothing was changed */
    CHECK_EQ_U64(lineage_nonce(&lineage, 2), 32);
    lineage_fini(&lineage);
    sim_free(sim);
}

static void test_damaged_or_foreign_list_is_refused(void)
{
    struct lineage lineage;
    const uint8_t byte = 0x55;
    begin();
    start_and_end(1, 41);
    start_and_end(2, 42);
    CHECK(sim_corrupt(sim, 1, "/d/lineage", 17, &byte, 1) == 0);
    CHECK_EQ_U64(start(&lineage, 3, 43), RR_E_CORRUPT);
    CHECK(strstr(error.message, "/d/lineage") && strstr(error.message, "start 1"));
    lineage_fini(&lineage);
    sim_free(sim);

    begin();
    start_and_end(1, 41);
    lineage = (struct lineage){.io = io, .dir = "/d", .instance = INSTANCE + 1, .nonce = 42};
    CHECK_EQ_U64(lineage_begin(&lineage, 2, &error), RR_E_CORRUPT);
    lineage_fini(&lineage);
    sim_free(sim);
}

/* Room was made ahead: a thousand starts need none. */
static void test_full_disk_does_not_keep_a_node_from_starting(void)
{
    struct lineage lineage;
    begin();
    start_and_end(1, 51);
    sim_disk_capacity(sim, 1, sim_disk_used(sim, 1));
    for (uint64_t boot = 2; boot < 1024; boot++)
        start_and_end(boot, 50 + boot);
    CHECK_EQ_U64(start(&lineage, 1024, 9), RR_E_NO_SPACE);
    CHECK(strstr(error.message, "/d/lineage"));
    lineage_fini(&lineage);
    sim_free(sim);
}

int main(void)
{
    RUN(test_starts_outlive_power_loss);
    RUN(test_start_that_came_to_nothing_is_replaced);
    RUN(test_boots_of_builds_that_keep_no_list_are_not_known);
    RUN(test_log_that_ends_before_the_list_is_refused);
    RUN(test_damaged_or_foreign_list_is_refused);
    RUN(test_full_disk_does_not_keep_a_node_from_starting);
    return 0;
}
