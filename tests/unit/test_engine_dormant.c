/* SPDX-License-Identifier: Apache-2.0
 *
 * Groups with more log than may be written again at once, of which no snapshot can be taken, beside
 * one that writes all the time: the disk stays bounded, and nothing of them is lost.
 */
#include "engine/group.h"
#include "tests/unit/check.h"
#include "tests/unit/groups_world.h"

#define BUDGET (8u << 20)
#define COUNT  60u
#define SIZE   8000u /* 480 KB of each group: eight times what goes into one section here */

static struct groups_world world;

static struct wal_stats wal_stats_of(uint32_t i)
{
    struct wal_stats stats;
    wal_stats(world.nodes[i].engine->wal, &stats);
    return stats;
}

static void begin(uint64_t seed, uint32_t node_count, uint32_t group_count)
{
    groups_world_init(&world, seed, node_count, group_count);
    world.engine_options.wal_bytes_max = BUDGET;
    world.group_options.snapshot_log_bytes = 1 << 20;
    groups_world_open(&world);
}

/* So much that the log goes round several times. */
static void write_hot_group(void)
{
    for (uint32_t round = 0; round < 40; round++)
        groups_world_write(&world, 0, 100, SIZE);
    struct wal_stats stats = wal_stats_of(groups_world_leader(&world, 0));
    CHECK(stats.segments_recycled > 50);
    CHECK(stats.bytes_live <= BUDGET);
    CHECK(stats.moved_bytes > COUNT * SIZE);
}

static void check_counts(uint32_t from)
{
    for (uint32_t g = from; g < world.group_count; g++) {
        groups_world_leader(&world, g);
        groups_world_run_ms(&world, 50);
        CHECK_EQ_U64(world.nodes[0].groups[g].machine.count, COUNT);
    }
}

static void test_groups_that_were_not_opened_pin_nothing(void)
{
    begin(1, 1, 4);
    for (uint32_t g = 1; g < 4; g++)
        groups_world_write(&world, g, COUNT, SIZE);
    groups_world_kill(&world, 0);
    groups_world_start(&world, 0);
    groups_world_open_group(&world, 0, 0);
    write_hot_group();
    for (uint32_t g = 1; g < 4; g++) /* while the loop runs … */
        groups_world_open_group(&world, 0, g);
    check_counts(1);
    groups_world_kill(&world, 0); /* … and after a restart */
    groups_world_open(&world);
    check_counts(1);
    groups_world_fini(&world);
}

static void test_groups_that_were_closed_pin_nothing(void)
{
    begin(2, 1, 3);
    for (uint32_t g = 1; g < 3; g++) {
        groups_world_write(&world, g, COUNT, SIZE);
        CHECK(rr_group_close(world.nodes[0].groups[g].group, RR_CLOSE_DRAIN) == 0);
        world.nodes[0].groups[g].group = NULL;
    }
    write_hot_group();
    groups_world_kill(&world, 0);
    groups_world_open(&world);
    check_counts(1);
    groups_world_fini(&world);
}

static void test_group_that_stopped_pins_nothing(void)
{
    begin(3, 1, 2);
    groups_world_write(&world, 1, COUNT, SIZE);
    group_stop(world.nodes[0].groups[1].group, RR_E_STATE_MACHINE);
    write_hot_group();
    groups_world_kill(&world, 0);
    groups_world_open(&world);
    check_counts(1);
    groups_world_fini(&world);
}

/* What is not committed is in no snapshot, however long it takes until there is a quorum again. */
static void test_tail_without_a_quorum_pins_nothing(void)
{
    begin(4, 3, 2);
    groups_world_write(&world, 0, 1, 10);
    uint32_t leader = groups_world_leader(&world, 1);
    for (uint32_t i = 0; i < 3; i++) {
        if (i == leader)
            continue;
        CHECK(rr_group_close(world.nodes[i].groups[1].group, RR_CLOSE_ABORT) == 0);
        world.nodes[i].groups[1].group = NULL;
    }
    struct world_group *tail = &world.nodes[leader].groups[1];
    static uint8_t bytes[SIZE];
    for (uint32_t i = 0; i < COUNT; i++)
        CHECK(rr_propose(tail->group, bytes, SIZE, i) == 0);
    groups_world_run_ms(&world, 20);
    uint64_t last = groups_world_status(&world, leader, 1).last_index;
    CHECK(last >= COUNT);
    for (uint32_t round = 0; round < 40; round++)
        groups_world_write(&world, 0, 100, SIZE);
    CHECK(wal_stats_of(leader).bytes_live <= BUDGET);
    CHECK(wal_stats_of(leader).moved_bytes > COUNT * SIZE);
    CHECK(groups_world_status(&world, leader, 1).last_index >= last);
    /* With the others back it is committed, or replaced by what they agree on: here it is all of
     * the three's. */
    for (uint32_t i = 0; i < 3; i++)
        if (i != leader)
            groups_world_open_group(&world, i, 1);
    groups_world_leader(&world, 1);
    groups_world_check_equal(&world);
    CHECK_EQ_U64(tail->machine.count, COUNT);
    groups_world_fini(&world);
}

int main(void)
{
    RUN(test_groups_that_were_not_opened_pin_nothing);
    RUN(test_groups_that_were_closed_pin_nothing);
    RUN(test_group_that_stopped_pins_nothing);
    RUN(test_tail_without_a_quorum_pins_nothing);
    return 0;
}
