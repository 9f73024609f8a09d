/* SPDX-License-Identifier: Apache-2.0
 *
 * Many groups on one loop: what they share (writes, frames, turns) and what they do not (leaders,
 * logs, fates).
 */
#include "engine/group.h"
#include "tests/unit/check.h"
#include "tests/unit/groups_world.h"

static struct groups_world world; /* large */

static struct wal_stats wal_stats_of(uint32_t i)
{
    struct wal_stats stats;
    wal_stats(world.nodes[i].engine->wal, &stats);
    return stats;
}

static struct transport_stats transport_stats_of(uint32_t i)
{
    struct transport_stats stats;
    transport_stats(world.nodes[i].engine->transport, &stats);
    return stats;
}

static void wait_for_leaders(void)
{
    for (uint32_t g = 0; g < world.group_count; g++)
        groups_world_leader(&world, g);
}

static void test_groups_each_elect_write_and_recover(void)
{
    groups_world_init(&world, 1, 3, 64);
    groups_world_open(&world);
    uint32_t led[WORLD_NODES_MAX] = {0};
    for (uint32_t g = 0; g < 64; g++)
        led[groups_world_leader(&world, g)]++;
    CHECK(led[0] > 0 && led[1] > 0 && led[2] > 0); /* chance is not the same for all */
    for (uint32_t g = 0; g < 64; g++)
        groups_world_write(&world, g, 1 + g % 5, 100 + g);
    groups_world_check_equal(&world);
    uint64_t hashes[64];
    for (uint32_t g = 0; g < 64; g++) {
        hashes[g] = world.nodes[0].groups[g].machine.hash;
        CHECK_EQ_U64(world.nodes[0].groups[g].machine.count, 1 + g % 5);
    }
    for (uint32_t i = 0; i < 3; i++)
        groups_world_kill(&world, i);
    groups_world_open(&world);
    wait_for_leaders();
    groups_world_check_equal(&world);
    for (uint32_t g = 0; g < 64; g++)
        CHECK_EQ_U64(world.nodes[2].groups[g].machine.hash, hashes[g]);
    groups_world_fini(&world);
}

static void test_groups_share_durable_writes(void)
{
    groups_world_init(&world, 2, 1, 64);
    groups_world_open(&world);
    wait_for_leaders();
    groups_world_run_ms(&world, 500);
    uint64_t before = wal_stats_of(0).write_count;
    for (uint32_t g = 0; g < 64; g++)
        CHECK(rr_propose(world.nodes[0].groups[g].group, "entry", 5, 1) == 0);
    groups_world_run_ms(&world, 20);
    for (uint32_t g = 0; g < 64; g++)
        CHECK_EQ_U64(world.nodes[0].groups[g].ok, 1);
    /* The first to be heard goes alone, the others together behind it. */
    CHECK(wal_stats_of(0).write_count - before <= 4);
    groups_world_fini(&world);
}

static void test_groups_share_heartbeat_frames(void)
{
    groups_world_init(&world, 3, 3, 64);
    groups_world_open(&world);
    wait_for_leaders();
    groups_world_run_ms(&world, 2000);
    uint64_t frames = transport_stats_of(0).frames_sent;
    uint64_t messages = world.nodes[0].engine->messages_sent;
    groups_world_run_ms(&world, 1000);
    frames = transport_stats_of(0).frames_sent - frames;
    messages = world.nodes[0].engine->messages_sent - messages;
    /* Forty ticks a second to two peers, and as many answers, however many groups: half of them
     * beat at every other tick, the rest in between. */
    CHECK(messages >= 20 * 64);
    CHECK(frames <= 2 * 2 * 41);
    groups_world_fini(&world);
}

static void test_groups_that_flood_do_not_delay_others(void)
{
    static uint8_t bytes[8000];
    groups_world_init(&world, 9, 1, 17);
    world.engine_options.wal_bytes_max = 16 << 20;
    world.group_options.proposal_queue_bytes = 4 << 20;
    groups_world_open(&world);
    wait_for_leaders();
    groups_world_run_ms(&world, 500);
    struct world_group *small = &world.nodes[0].groups[16];
    for (uint32_t round = 0; round < 10; round++) {
        CHECK(rr_propose(small->group, "entry", 5, round) == 0);
        for (uint32_t g = 0; g < 16; g++)
            for (uint32_t i = 0; i < 20; i++)
                CHECK(rr_propose(world.nodes[0].groups[g].group, bytes, sizeof(bytes), i) == 0);
        uint64_t before = wal_stats_of(0).write_count;
        while (small->ok == round)
            CHECK(sim_step(world.sim));
        /* It rides in the next write, or in the one after that; 2.5 MiB take 40. */
        CHECK(wal_stats_of(0).write_count - before <= 8);
        groups_world_run_ms(&world, 200);
    }
    groups_world_fini(&world);
}

static void test_groups_that_idle_are_not_visited(void)
{
    groups_world_init(&world, 4, 1, 64);
    groups_world_open(&world);
    wait_for_leaders();
    groups_world_run_ms(&world, 1000);
    CHECK(!world.nodes[0].engine->busy);
    /* A proposal calls its own group and no other. */
    struct rr_group *group = world.nodes[0].groups[17].group;
    CHECK(rr_propose(group, "entry", 5, 1) == 0);
    CHECK(atomic_load(&world.nodes[0].engine->called) == group && !group->next_called);
    groups_world_run_ms(&world, 5);
    CHECK_EQ_U64(world.nodes[0].groups[17].ok, 1);
    groups_world_fini(&world);
}

static void test_groups_idle_ones_pin_no_segments(void)
{
    groups_world_init(&world, 5, 1, 64);
    groups_world_open(&world);
    for (uint32_t g = 0; g < 64; g++)
        groups_world_write(&world, g, 3, 200);
    for (uint32_t round = 0; round < 30; round++) {
        groups_world_write(&world, 5, 100, 8000);
        CHECK(wal_stats_of(0).bytes_live <= 4u << 20);
    }
    CHECK(wal_stats_of(0).segments_recycled > 20);
    CHECK(sim_disk_used(world.sim, 1) <= (4u << 20) + (1u << 20));
    groups_world_fini(&world);
}

static void test_groups_pay_for_their_own_log_alone(void)
{
    groups_world_init(&world, 22, 1, 8);
    groups_world_open(&world);
    for (uint32_t g = 0; g < 8; g++)
        groups_world_write(&world, g, 3, 200);
    uint64_t before = wal_stats_of(0).padded_bytes;
    for (uint32_t round = 0; round < 10; round++)
        groups_world_write(&world, 5, 100, 8000);
    groups_world_run_ms(&world, 100);
    struct wal *wal = world.nodes[0].engine->wal;
    uint64_t written = wal_stats_of(0).padded_bytes - before, others = 0;
    for (uint32_t g = 0; g < 8; g++) {
        if (g != 5)
            others += wal_group_bytes(wal, g + 1);
        /* No other group had enough of its own for a snapshot. */
        CHECK((groups_world_status(&world, 0, g).snapshot_index > 1) == (g == 5));
    }
    CHECK(wal_group_bytes(wal, 6) > written / 10 * 9 && others < written / 10);
    groups_world_fini(&world);
}

static void test_groups_recorded_and_not_opened_pin_nothing_and_lose_nothing(void)
{
    groups_world_init(&world, 6, 1, 8);
    groups_world_open(&world);
    for (uint32_t g = 0; g < 8; g++)
        groups_world_write(&world, g, 10 + g, 300);
    uint64_t hash = world.nodes[0].groups[3].machine.hash;
    groups_world_kill(&world, 0);
    groups_world_start(&world, 0);
    groups_world_open_group(&world, 0, 0);
    for (uint32_t round = 0; round < 30; round++)
        groups_world_write(&world, 0, 100, 8000);
    CHECK(wal_stats_of(0).segments_recycled > 20);
    CHECK(wal_stats_of(0).bytes_live <= 4u << 20);
    /* It may be opened while the loop runs, or after another restart. */
    groups_world_open_group(&world, 0, 3);
    groups_world_leader(&world, 3);
    groups_world_run_ms(&world, 10);
    CHECK_EQ_U64(world.nodes[0].groups[3].machine.hash, hash);
    groups_world_kill(&world, 0);
    groups_world_open(&world);
    for (uint32_t g = 1; g < 8; g++) {
        groups_world_leader(&world, g);
        groups_world_run_ms(&world, 10);
        CHECK_EQ_U64(world.nodes[0].groups[g].machine.count, 10 + g);
    }
    groups_world_fini(&world);
}

static void test_groups_stopped_one_pins_nothing(void)
{
    groups_world_init(&world, 7, 1, 2);
    groups_world_open(&world);
    groups_world_write(&world, 1, 10, 300);
    group_stop(world.nodes[0].groups[1].group, RR_E_STATE_MACHINE);
    for (uint32_t round = 0; round < 30; round++)
        groups_world_write(&world, 0, 100, 8000);
    CHECK(wal_stats_of(0).segments_recycled > 20);
    CHECK(rr_propose(world.nodes[0].groups[1].group, "x", 1, 1) == RR_E_CLOSED);
    groups_world_fini(&world);
}

/* What one group has on its way to a follower fits into the follower's memory; of many it does not.
 */
static void test_groups_flood_a_hung_follower_that_keeps_within_its_memory(void)
{
    static const uint8_t bytes[8000];
    uint64_t most = 0;
    groups_world_init(&world, 11, 3, 16);
    world.engine_options.wal_bytes_max = 64 << 20;
    world.engine_options.segment_bytes = 8 << 20; /* room on the disk is not the limit */
    world.engine_options.wal_write_bytes_max = 64 << 10;
    world.engine_options.log_cache_bytes = 256 << 10;
    world.engine_options.peer_queue_bytes_max = 1 << 20;
    world.group_options.max_size_per_msg = 64 << 10;
    world.group_options.snapshot_log_bytes = 1 << 30; /* it catches up by entries */
    groups_world_open(&world);
    for (uint32_t g = 0; g < 16; g++)
        groups_world_write(&world, g, 1, 10);
    sim_disk_hang(world.sim, 2, true);
    groups_world_run_ms(&world, 3000);               /* it leads no group any more */
    for (uint32_t round = 0; round < 100; round++) { /* no faster than the queue to it empties */
        for (uint32_t g = 0; g < 16; g++) {
            struct world_node *node = &world.nodes[groups_world_leader(&world, g)];
            CHECK(node->number != 2);
            for (uint32_t i = 0; i < 3; i++)
                (void)rr_propose(node->groups[g].group, bytes, sizeof(bytes), i);
        }
        groups_world_run_ms(&world, 5);
        uint64_t taken = groups_world_status(&world, 1, 0).memory.log;
        most = taken > most ? taken : most;
    }
    uint64_t limit = groups_world_status(&world, 1, 0).memory.log_max;
    printf("    %llu KiB of at most %llu\n", (unsigned long long)most >> 10,
           (unsigned long long)limit >> 10);
    CHECK(most <= limit);
    CHECK(most > limit / 4 * 3); /* it would have been more */
    sim_disk_hang(world.sim, 2, false);
    groups_world_check_equal(&world);
    for (uint32_t g = 0; g < 16; g++)
        CHECK(world.nodes[1].groups[g].machine.count > 60); /* of 300 offered */
    groups_world_fini(&world);
}

static void test_groups_on_an_embedded_loop_are_played_alike(void)
{
    groups_world_init(&world, 10, 1, 3);
    world.engine_options.embedded = true;
    groups_world_open(&world);
    for (uint32_t turns = 0; groups_world_status(&world, 0, 2).role != RR_STATE_LEADER; turns++) {
        CHECK(turns < 1000);
        CHECK(rr_loop_turn(world.nodes[0].engine, 100) == 0);
    }
    groups_world_write(&world, 2, 10, 100);
    CHECK(rr_engine_close(world.nodes[0].engine, RR_CLOSE_DRAIN) == 0);
    world.nodes[0].engine = NULL;
    groups_world_fini(&world);
}

static void test_groups_misuse_is_refused_with_a_sentence(void)
{
    struct rr_error error = {0};
    groups_world_init(&world, 8, 1, 2);
    groups_world_start(&world, 0);
    groups_world_open_group(&world, 0, 0);
    struct rr_group *group = world.nodes[0].groups[0].group;
    CHECK(groups_world_try_open(&world, 0, 0, &error) == RR_E_INVALID && error.message[0]);
    world.nodes[0].groups[0].group = group;
    /* An attempt that fails leaves nothing behind. */
    world.group_options.heartbeat_ticks = 1000;
    CHECK(groups_world_try_open(&world, 0, 1, &error) == RR_E_INVALID && error.message[0]);
    world.group_options.heartbeat_ticks = 0;
    groups_world_open_group(&world, 0, 1);
    groups_world_write(&world, 1, 1, 10);
    groups_world_fini(&world);
}

int main(void)
{
    RUN(test_groups_each_elect_write_and_recover);
    RUN(test_groups_share_durable_writes);
    RUN(test_groups_share_heartbeat_frames);
    RUN(test_groups_that_flood_do_not_delay_others);
    RUN(test_groups_that_idle_are_not_visited);
    RUN(test_groups_idle_ones_pin_no_segments);
    RUN(test_groups_pay_for_their_own_log_alone);
    RUN(test_groups_recorded_and_not_opened_pin_nothing_and_lose_nothing);
    RUN(test_groups_stopped_one_pins_nothing);
    RUN(test_groups_flood_a_hung_follower_that_keeps_within_its_memory);
    RUN(test_groups_on_an_embedded_loop_are_played_alike);
    RUN(test_groups_misuse_is_refused_with_a_sentence);
    return 0;
}
