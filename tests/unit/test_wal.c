/* SPDX-License-Identifier: Apache-2.0
 *
 * The log in service: laps, marks, two writes in flight, full disk, budget, failed and short
 * writes, buffered mode. Every run ends with a recovery that is compared with the model.
 */
#include "wal_world.h"

#include "tests/unit/check.h"

#include <errno.h>

static void must_open(struct wal_world *world)
{
    int err = world_open(world);
    if (err)
        fprintf(stderr, "wal_open: %s\n", world->error.message);
    CHECK(err == 0);
}

/* A clean run of so many turns, in a new incarnation. */
static void run(struct wal_world *world, uint32_t turns)
{
    must_open(world);
    world_run(world, turns);
    CHECK(!world->poisoned);
    CHECK_EQ_U64(world->acked, world->op_count - 1);
    world_reset(world);
}

static void begin(struct wal_world *world, uint64_t seed)
{
    world_init(world, seed);
    CHECK(world_create(world) == 0);
}

static void end(struct wal_world *world)
{
    must_open(world);
    world_fini(world);
}

static void test_workload_after_clean_close_is_recovered_whole(void)
{
    struct wal_world world;
    begin(&world, 1);
    for (uint32_t boot = 1; boot <= 20; boot++) {
        run(&world, 50);
        CHECK_EQ_U64(world.acked, world.op_count - 1);
    }
    must_open(&world);
    CHECK_EQ_U64(wal_boot(world.wal), 21);
    CHECK(world.entries_total > 3000);
    world_fini(&world);
}

static void test_removed_groups_do_not_come_back_and_pin_nothing(void)
{
    struct wal_world world;
    begin(&world, 3);
    world.removes_groups = true;
    for (uint32_t boot = 0; boot < 5; boot++) {
        run(&world, 2000); /* opening compares what was recovered */
        CHECK(world.stats.segments_recycled > 50);
        CHECK(world.stats.segment_count <= 12);
    }
    end(&world);
}

static void test_many_laps_recycle_and_zero_no_more(void)
{
    struct wal_world world;
    begin(&world, 2);
    run(&world, 2000);
    CHECK(world.stats.segments_recycled > 50);
    for (uint32_t boot = 0; boot < 3; boot++) {
        run(&world, 2000);
        CHECK(world.stats.segments_recycled > 50);
        CHECK_EQ_U64(world.stats.segments_zeroed, 0);
        CHECK(world.stats.segment_count <= 12);
    }
    end(&world);
}

static void test_buffered_file_system_works_the_same(void)
{
    struct wal_world world;
    world_init(&world, 3);
    sim_disk_buffered(world.sim, 1, true);
    CHECK(world_create(&world) == 0);
    run(&world, 500);
    CHECK(!world.stats.is_direct);
    CHECK(world.stats.segments_recycled > 5);
    end(&world);
}

static void test_short_writes_are_written_again(void)
{
    struct wal_world world;
    begin(&world, 4);
    sim_disk_short_writes(world.sim, 1, 200);
    run(&world, 500);
    end(&world);
}

/* Whichever write fails: it is reported once, nothing is acknowledged after it, and recovery finds
 * what was. */
static void test_failed_write_poisons(void)
{
    uint32_t poisoned = 0;
    for (uint64_t n = 1; n < 60; n++) {
        struct wal_world world;
        begin(&world, 5);
        sim_disk_error(world.sim, 1, n % 2 ? EIO : ENOSPC, n + 3);
        if (world_open(&world) == 0) {
            world_run(&world, 100);
            poisoned += world.poisoned != 0;
        } else {
            CHECK(world.error.message[0] != 0);
        }
        sim_disk_error(world.sim, 1, EIO, 0);
        world_reset(&world);
        end(&world);
    }
    CHECK(poisoned > 40);
}

/* Without O_DIRECT a failed sync leaves pages that look written: what the next process reads from
 * them and counts must outlive a power loss. */
static void test_what_is_recovered_after_a_failed_sync_is_durable(void)
{
    for (uint64_t n = 1; n < 120; n++) {
        struct wal_world world;
        world_init(&world, 17 + n);
        world.entry_bytes_max = 2000;
        sim_disk_buffered(world.sim, 1, true);
        CHECK(world_create(&world) == 0);
        sim_disk_error(world.sim, 1, EIO, n);
        if (world_open(&world) == 0)
            world_run(&world, 60);
        sim_disk_error(world.sim, 1, EIO, 0);
        world_reset(&world);
        must_open(&world);
        world_crash_at(&world, 1, SIM_LOSE_ALL);
        world_run(&world, 1);
        world_reset(&world);
        end(&world);
    }
}

static void test_poisoned_log_refuses_staging(void)
{
    struct wal_world world;
    begin(&world, 6);
    must_open(&world);
    sim_disk_error(world.sim, 1, EIO, 1);
    world_stage(&world);
    world.is_quiet = true;
    world_run(&world, 1);
    CHECK(world.poisoned == RR_E_IO);
    CHECK_EQ_U64(world.acked, 0);
    sim_disk_error(world.sim, 1, EIO, 0);
    world_reset(&world);
    end(&world);
}

/* Idle, the log proves its tail by one mark, and stays silent then. */
static void test_idle_log_marks_once(void)
{
    struct wal_world world;
    begin(&world, 7);
    must_open(&world);
    world_stage(&world);
    world.is_quiet = true;
    world_run(&world, 2000);
    /* The state's term was new, so its mark came at once; nothing was left to prove. */
    CHECK_EQ_U64(world.stats.mark_count, 1);
    CHECK_EQ_U64(world.stats.write_count, 3);
    world_reset(&world);
    end(&world);
}

static void must_be_proven_soon(struct wal_world *world)
{
    if (world->turns_left < 10)
        CHECK(world->wal->content_seq <= world->wal->proven_seq);
}

/* The boot count keeps older copies of the directory away from its peers: it may not rot and look
 * torn. */
static void test_boot_is_proven_by_a_mark_at_once(void)
{
    struct wal_world world;
    begin(&world, 8);
    world.options.mark_delay_ns = 1000000000000u;
    must_open(&world);
    world.is_quiet = true;
    world.each_turn = must_be_proven_soon;
    world_run(&world, 30);
    CHECK_EQ_U64(world.stats.mark_count, 1);
    CHECK_EQ_U64(world.stats.write_count, 2);
    world_reset(&world);
    end(&world);
}

/* ---- what goes into a write ---------------------------------------------------------- */

static void stage_run(struct wal_world *world, uint64_t first_index, uint32_t count, uint32_t size,
                      struct rr_entry *entries)
{
    static uint8_t data[400000];
    CHECK(size <= sizeof(data) && count <= WORLD_RUN_MAX);
    for (uint32_t i = 0; i < count; i++)
        entries[i] =
            (struct rr_entry){.term = 1,
                              .index = first_index + i,
                              .data = data,
                              .size = size,
                              .has = RR_ENTRY_HAS_TERM | RR_ENTRY_HAS_INDEX | RR_ENTRY_HAS_DATA};
    CHECK(wal_append_entries(world->wal, 1, entries, count, 0, entries) == 0);
}

static void stage_first_state(struct wal_world *world)
{
    struct wal_state state = {.group = 1, .hard_state = {.term = 1}, .first_index = 1};
    CHECK(wal_append_state(world->wal, &state) == 0);
}

/* A log without workload, whose group 1 begins at index 1. What is staged by hand is unknown to the
 * model. */
static void begin_by_hand(struct wal_world *world, uint64_t seed)
{
    begin(world, seed);
    must_open(world);
    stage_first_state(world);
}

/* Runs until all is durable. */
static void settle(struct wal_world *world)
{
    world->is_quiet = true;
    world_run(world, 0);
    CHECK(!world->poisoned);
    world_fini(world);
}

static void test_second_write_waits_for_bytes_and_a_third_for_a_slot(void)
{
    struct wal_world world;
    struct rr_entry entries[WORLD_RUN_MAX];
    begin_by_hand(&world, 8);
    uint64_t seq = wal_durable_seq(world.wal);
    CHECK(wal_can_write(world.wal, 0));
    wal_flush(world.wal, sim_now(world.sim));
    CHECK_EQ_U64(world.wal->flight_count, 1);
    CHECK(!wal_can_write(world.wal, 0));
    CHECK(wal_can_write(world.wal, world.options.second_write_bytes_min));
    stage_run(&world, 1, 1, 100, entries);
    wal_flush(world.wal, sim_now(world.sim));
    CHECK_EQ_U64(world.wal->flight_count, 1);
    stage_run(&world, 2, 10, 1000, entries);
    CHECK(wal_can_write(world.wal, 0));
    wal_flush(world.wal, sim_now(world.sim));
    CHECK_EQ_U64(world.wal->flight_count, 2);
    stage_run(&world, 12, 10, 1000, entries);
    wal_flush(world.wal, sim_now(world.sim));
    CHECK_EQ_U64(world.wal->flight_count, 2);
    CHECK_EQ_U64(wal_staged_seq(world.wal), seq + 3);
    CHECK_EQ_U64(wal_durable_seq(world.wal), seq);
    settle(&world);
}

static void must_finish_soon(struct wal_world *world)
{
    CHECK(world->turns_left < 150 ? wal_oldest_unfinished_ns(world->wal) == 0 : true);
}

static void test_oldest_unfinished_write_is_known_also_while_it_waits(void)
{
    struct wal_world world;
    struct rr_entry entries[WORLD_RUN_MAX];
    begin_by_hand(&world, 8);
    uint64_t begun = io_now(world.io);
    sim_run_until(world.sim, sim_now(world.sim) + 5000000);
    stage_run(&world, 1, 3, 7000, entries); /* the first write is full and waits in the queue */
    CHECK_EQ_U64(wal_oldest_unfinished_ns(world.wal), begun);
    wal_flush(world.wal, io_now(world.io));
    CHECK_EQ_U64(wal_oldest_unfinished_ns(world.wal), begun);
    world.is_quiet = true;
    world.each_turn = must_finish_soon;
    world_run(&world, 300);
    world_fini(&world);
}

static void test_run_is_cut_at_the_cut_point(void)
{
    struct wal_world world;
    struct rr_entry entries[WORLD_RUN_MAX];
    begin_by_hand(&world, 9);
    uint64_t seq = wal_staged_seq(world.wal);
    stage_run(&world, 1, 10, 5000, entries); /* 16 KiB hold three */
    CHECK_EQ_U64(wal_staged_seq(world.wal), seq + 3);
    for (const struct wal_write *write = world.wal->queue; write; write = write->next)
        CHECK(write->used <= world.options.write_bytes_max);
    settle(&world);
}

static void test_entry_above_the_cut_point_goes_alone(void)
{
    struct wal_world world;
    struct rr_entry entries[WORLD_RUN_MAX];
    uint8_t *at;
    struct rr_block *block;
    begin_by_hand(&world, 10);
    uint64_t seq = wal_staged_seq(world.wal);
    stage_run(&world, 1, 3, 20000, entries);
    CHECK_EQ_U64(wal_staged_seq(world.wal), seq + 3);
    stage_run(&world, 4, 1, 60000, entries);
    CHECK_EQ_U64(wal_staged_seq(world.wal), seq + 4);
    CHECK_EQ_U64(
        wal_append_entries(
            world.wal, 1,
            &(struct rr_entry){.term = 1, .index = 5, .size = 70000, .has = RR_ENTRY_HAS_DATA}, 1,
            0, entries),
        RR_E_TOO_LARGE);
    CHECK_EQ_U64(wal_reserve_entries(world.wal, 1, 70000, &at, &block), RR_E_TOO_LARGE);
    CHECK_EQ_U64(wal_staged_seq(world.wal), seq + 4);
    settle(&world);
}

static void test_rewritten_tail_is_one_section(void)
{
    struct wal_world world;
    struct rr_entry entries[WORLD_RUN_MAX];
    begin_by_hand(&world, 11);
    stage_run(&world, 1, 9, 1700, entries);
    CHECK(world.wal->filling->used > 15000);
    uint64_t seq = wal_staged_seq(world.wal);
    CHECK(wal_tail_bytes_max(world.wal) >= 9 * 1700 + 200);
    CHECK(wal_rewrite_tail(world.wal, 1, entries, 9, 0, entries) == 0);
    CHECK_EQ_U64(wal_staged_seq(world.wal), seq + 1);
    CHECK_EQ_U64(world.wal->filling->section_count, 1);
    settle(&world);
}

static void test_rolled_back_reservation_leaves_nothing(void)
{
    struct wal_world world;
    uint8_t *at;
    struct rr_block *block;
    begin_by_hand(&world, 12);
    wal_flush(world.wal, sim_now(world.sim));
    uint64_t seq = wal_staged_seq(world.wal);
    CHECK(wal_reserve_entries(world.wal, 1, 3000, &at, &block) == 0);
    memset(at, 1, 3000);
    wal_rollback_entries(world.wal);
    CHECK_EQ_U64(wal_staged_seq(world.wal), seq);
    CHECK(wal_reserve_entries(world.wal, 1, 30000, &at, &block) == 0);
    wal_rollback_entries(world.wal);
    CHECK_EQ_U64(wal_staged_seq(world.wal), seq);
    struct rr_entry entries[WORLD_RUN_MAX];
    stage_run(&world, 1, 1, 10, entries);
    CHECK_EQ_U64(wal_staged_seq(world.wal), seq + 1);
    settle(&world);
}

static void test_writes_share_blocks(void)
{
    struct wal_world world;
    struct rr_entry entries[WORLD_RUN_MAX];
    begin_by_hand(&world, 13);
    stage_run(&world, 1, 1, 10, entries);
    const struct rr_block *block = entries[0].block;
    const uint8_t *at = entries[0].data;
    wal_flush(world.wal, sim_now(world.sim));
    stage_run(&world, 2, 1, 10, entries);
    CHECK(entries[0].block == block);
    CHECK(entries[0].data > at && entries[0].data < at + 8192);
    settle(&world);
}

/* ---- room ---------------------------------------------------------------------------- */

static void test_full_disk_refuses_entries_and_heals(void)
{
    struct wal_world world;
    begin(&world, 14);
    sim_disk_capacity(world.sim, 1, 3 * WAL_SEGMENT_BYTES_MIN + 8192);
    world.keep_max = WORLD_ENTRIES_MAX;
    run(&world, 300);
    CHECK(world.refused > 0);
    for (uint32_t boot = 0; boot < 5; boot++) {
        must_open(&world); /* restarts work on a full disk */
        CHECK(wal_admits_entries(world.wal) != 0);
        world_run(&world, 20);
        CHECK(!world.poisoned && world.acked == world.op_count - 1);
        world_reset(&world);
    }
    sim_disk_capacity(world.sim, 1, UINT64_MAX);
    run(&world, 10);
    must_open(&world);
    CHECK_EQ_U64(wal_admits_entries(world.wal), 0);
    world_fini(&world);
}

static void test_budget_refuses_proposals_until_compaction(void)
{
    struct wal_world world;
    begin(&world, 15);
    world.options.wal_bytes_max = 6 * WAL_SEGMENT_BYTES_MIN;
    world.keep_max = WORLD_ENTRIES_MAX;
    world.ignores_rewrites = true;
    run(&world, 400);
    CHECK(world.refused > 0);
    CHECK(world.stats.segment_count <= 7);
    world.keep_max = 60;
    world.ignores_rewrites = false;
    run(&world, 400);
    must_open(&world);
    CHECK_EQ_U64(wal_admits_proposals(world.wal), 0);
    world_fini(&world);
}

static bool flush_turn(void *ctx, uint64_t now_ns, uint64_t *deadline_ns)
{
    struct wal_world *world = ctx;
    *deadline_ns = wal_flush(world->wal, now_ns);
    return !world->is_quiet;
}

/* The loop turns for so many virtual milliseconds. */
static void turn_by_hand(struct wal_world *world, uint32_t ms)
{
    io_wake(world->io);
    sim_run_until(world->sim, sim_now(world->sim) + ms * 1000000u);
    CHECK(!world->poisoned);
}

/* What a leader sends is admitted beyond the budget: a follower whose own tail holds every segment
 * gets rid of it in no other way. Its own proposals are refused meanwhile. */
static void test_budget_does_not_refuse_what_a_leader_sends(void)
{
    struct wal_world world;
    struct wal_stats stats;
    struct rr_entry entries[WORLD_RUN_MAX];
    uint64_t index = 0;
    begin_by_hand(&world, 18);
    CHECK(world.io->ops->start(world.io, flush_turn, &world) == 0);
    for (uint32_t i = 0; wal_admits_proposals(world.wal) != RR_E_NO_SPACE; i++) {
        CHECK(i < 1000);
        if (wal_admits_proposals(world.wal) == 0)
            stage_run(&world, ++index, 1, 10000, entries);
        turn_by_hand(&world, 5);
    }
    uint64_t budget = world.options.wal_bytes_max / WAL_SEGMENT_BYTES_MIN;
    turn_by_hand(&world, 500);
    wal_stats(world.wal, &stats);
    CHECK_EQ_U64(stats.segment_count, budget);
    for (uint32_t i = 0; i < 200; i++) {
        CHECK_EQ_U64(wal_admits_proposals(world.wal), RR_E_NO_SPACE);
        if (wal_admits_entries(world.wal) == 0)
            stage_run(&world, ++index, 1, 10000, entries);
        turn_by_hand(&world, 5);
    }
    wal_stats(world.wal, &stats);
    CHECK(stats.segment_count > 2 * budget);
    struct wal_state state = {
        .group = 1, .hard_state = {.term = 1}, .first_index = index + 1, .last_index = index};
    CHECK(wal_append_state(world.wal, &state) == 0);
    turn_by_hand(&world, 1000);
    CHECK_EQ_U64(wal_admits_proposals(world.wal), 0);
    world.is_quiet = true;
    io_wake(world.io);
    world.io->ops->join(world.io);
    world_fini(&world);
}

/* A group that is idle does not keep the log of another from being recycled. */
static void test_idle_group_is_rewritten(void)
{
    struct wal_world world;
    begin(&world, 16);
    run(&world, 60);
    world.only_group = 1;
    run(&world, 1500);
    CHECK(world.stats.segments_recycled > 20);
    end(&world);
}

/* A kill leaves a tail that may not be on the disk; the recovery that would put it there fails; the
 * next one succeeds, and what it counts must outlive a power loss. */
static void test_what_is_recovered_after_a_failed_recovery_is_durable(void)
{
    for (uint64_t n = 1; n < 120; n++) {
        struct wal_world world;
        world_init(&world, 917 + n);
        world.entry_bytes_max = 2000;
        CHECK(world_create(&world) == 0);
        must_open(&world);
        sim_crash_at_io(world.sim, 1, 20 + n, false, SIM_KEEP_ALL);
        world_run(&world, 200);
        world_reset(&world);
        sim_disk_error(world.sim, 1, EIO, 1 + n % 3);
        if (world_open(&world) == 0)
            world_run(&world, 1);
        sim_disk_error(world.sim, 1, EIO, 0);
        world_reset(&world);
        must_open(&world);
        world_crash_at(&world, 1, SIM_LOSE_ALL);
        world_run(&world, 1);
        world_reset(&world);
        end(&world);
    }
}

int main(void)
{
    RUN(test_workload_after_clean_close_is_recovered_whole);
    RUN(test_removed_groups_do_not_come_back_and_pin_nothing);
    RUN(test_many_laps_recycle_and_zero_no_more);
    RUN(test_buffered_file_system_works_the_same);
    RUN(test_short_writes_are_written_again);
    RUN(test_failed_write_poisons);
    RUN(test_what_is_recovered_after_a_failed_sync_is_durable);
    RUN(test_what_is_recovered_after_a_failed_recovery_is_durable);
    RUN(test_poisoned_log_refuses_staging);
    RUN(test_idle_log_marks_once);
    RUN(test_boot_is_proven_by_a_mark_at_once);
    RUN(test_second_write_waits_for_bytes_and_a_third_for_a_slot);
    RUN(test_oldest_unfinished_write_is_known_also_while_it_waits);
    RUN(test_run_is_cut_at_the_cut_point);
    RUN(test_entry_above_the_cut_point_goes_alone);
    RUN(test_rewritten_tail_is_one_section);
    RUN(test_rolled_back_reservation_leaves_nothing);
    RUN(test_writes_share_blocks);
    RUN(test_full_disk_refuses_entries_and_heals);
    RUN(test_budget_refuses_proposals_until_compaction);
    RUN(test_budget_does_not_refuse_what_a_leader_sends);
    RUN(test_idle_group_is_rewritten);
    return 0;
}
