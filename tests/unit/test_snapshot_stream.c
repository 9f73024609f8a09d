/* SPDX-License-Identifier: Apache-2.0
 *
 * Snapshot files between nodes of the simulator: whole or not at all, resumed after cuts and
 * crashes at every chunk (proven by counting bytes), throttled, bounded, and a silent receiver is
 * left.
 */
#include "tests/unit/stream_world.h"

#include "proto/base.h"

#include <errno.h>

#define CHUNKS     12u /* well above the window */
#define FILE_BYTES (CHUNKS * (uint64_t)STREAM_CHUNK)

static struct stream_world world;

static struct stream_node *node_of(uint32_t number)
{
    return &world.nodes[number - 1];
}

static void start(uint64_t seed, uint32_t count)
{
    stream_world_init(&world, seed);
    stream_world_open(&world, count);
}

/* The newest send of the node ended so. */
static const struct snapshot_sent *last_sent(const struct stream_node *node)
{
    CHECK(node->sent_count > 0);
    return &node->sent[node->sent_count - 1];
}

/* Sends until it is there; how many attempts that took. */
static uint32_t insist(struct stream_node *from, const struct stream_file *file, uint32_t to)
{
    uint32_t attempts = 0;
    for (uint32_t tries = 0;; tries++) {
        CHECK(tries < 100);
        uint32_t before = from->sent_count;
        int rc = stream_file_send(from, file, to, 9);
        CHECK(rc == 0 || rc == RR_E_CLOSED || rc == RR_E_BUSY);
        attempts += rc == 0;
        if (rc == 0)
            CHECK(stream_world_wait(&world, from, before + 1, 60 * SECOND));
        if (rc == 0 && last_sent(from)->status == 0)
            return attempts;
        stream_world_pass(&world, 500 * MS); /* not connected yet, or the last one is not over */
    }
}

/* Until the receiver has taken so many bytes of files from the network. */
static void wait_for_bytes(struct stream_node *node, uint64_t bytes)
{
    for (uint32_t steps = 0; stream_node_stats(node).bytes_received < bytes; steps++) {
        CHECK(steps < 100000);
        stream_world_pass(&world, MS / 10);
    }
}

/* ---- whole --------------------------------------------------------------- */

static void test_file_arrives_whole_and_is_taken_before_the_sender_hears_of_it(void)
{
    start(1, 2);
    struct stream_file file = stream_file_make(node_of(1), 5, 100, FILE_BYTES);
    CHECK(stream_file_send(node_of(1), &file, 2, 9) == 0);
    CHECK(stream_file_send(node_of(1), &file, 2, 9) == RR_E_BUSY); /* it is on its way */
    CHECK(!snapshot_streams_is_idle(node_of(1)->streams, 5));
    CHECK(snapshot_streams_is_idle(node_of(1)->streams, 6));
    while (node_of(1)->sent_count == 0) {
        bool was_received = node_of(2)->received > 0;
        CHECK(sim_step(world.sim));
        CHECK(node_of(1)->sent_count == 0 || was_received);
        CHECK(stream_node_stats(node_of(2)).window_bytes <= SNAPSHOT_WINDOW * (STREAM_CHUNK + 64));
    }
    const struct snapshot_sent *sent = last_sent(node_of(1));
    CHECK(sent->status == 0 && sent->group == 5 && sent->to == 2 && sent->index == 100);
    CHECK(sent->term == 3 && sent->bytes == file.info.file_bytes);
    CHECK(node_of(2)->received == 1 && node_of(2)->offers == 1);
    CHECK(stream_file_is_at(node_of(2), &file) && !stream_part_is_at(node_of(2), &file));
    stream_world_pass(&world, SECOND);
    CHECK(snapshot_streams_is_idle(node_of(1)->streams, 5));
    CHECK(snapshot_streams_is_idle(node_of(2)->streams, 5) && node_of(2)->parts_open == 0);
    CHECK(stream_node_stats(node_of(1)).sends_done == 1);
    CHECK(stream_node_stats(node_of(2)).receives_done == 1);
    CHECK(stream_node_stats(node_of(1)).window_bytes == 0);
    stream_world_fini(&world);
}

static void test_files_of_many_sizes_arrive(void)
{
    start(2, 2);
    const uint64_t sizes[] = {1, 4000, STREAM_CHUNK - 1, STREAM_CHUNK + 1, 3 * STREAM_CHUNK};
    for (uint32_t i = 0; i < RR_ARRAY_SIZE(sizes); i++) {
        struct stream_file file = stream_file_make(node_of(1), 5, 100 + i, sizes[i]);
        CHECK(insist(node_of(1), &file, 2) == 1);
        CHECK(stream_file_is_at(node_of(2), &file));
    }
    stream_world_fini(&world);
}

/* ---- cut, crash ---------------------------------------------------------- */

/* Of what had arrived when it broke, no more than the window and a chunk travels again (a part is
 * cut behind its last whole chunk). */
static void check_resumed(const struct stream_node *from, const struct stream_node *to,
                          const struct stream_file *file, uint64_t before)
{
    uint64_t again = last_sent(from)->bytes;
    uint64_t lost = (SNAPSHOT_WINDOW + 2) * (uint64_t)STREAM_CHUNK;
    CHECK(before + again <= file->info.file_bytes + lost);
    CHECK(stream_node_stats(to).resumed == (again < file->info.file_bytes));
}

static void test_cut_at_every_chunk_resumes(void)
{
    for (uint32_t at = 1; at < CHUNKS; at++) {
        start(100 + at, 2);
        struct stream_node *from = node_of(1), *to = node_of(2);
        struct stream_file file = stream_file_make(from, 5, 100, FILE_BYTES);
        CHECK(stream_file_send(from, &file, 2, 9) == 0);
        wait_for_bytes(to, at * STREAM_CHUNK);
        sim_cut(world.sim, 1, 2, true);
        sim_cut(world.sim, 2, 1, true);
        CHECK(stream_world_wait(&world, from, 1, 30 * SECOND));
        CHECK(last_sent(from)->status == RR_E_DEADLINE);
        stream_world_pass(&world, 15 * SECOND); /* the receiver gives up, too */
        CHECK(snapshot_streams_is_idle(to->streams, 5) && to->parts_open == 0);
        CHECK(to->received == 0 && !stream_file_is_at(to, &file));
        uint64_t before = stream_node_stats(to).bytes_received;
        sim_cut(world.sim, 1, 2, false);
        sim_cut(world.sim, 2, 1, false);
        stream_world_pass(&world, 3 * SECOND);
        insist(from, &file, 2);
        check_resumed(from, to, &file, before);
        CHECK(stream_file_is_at(to, &file) && to->received == 1);
        stream_world_fini(&world);
    }
}

static void test_crash_of_the_receiver_at_every_chunk_resumes_or_restarts(void)
{
    for (uint32_t at = 1; at < CHUNKS; at += 2)
        for (int how = 0; how < SIM_POWER_LOSS_COUNT + 1; how++) {
            start(200 + at, 2);
            struct stream_node *from = node_of(1), *to = node_of(2);
            struct stream_file file = stream_file_make(from, 5, 100, FILE_BYTES);
            CHECK(stream_file_send(from, &file, 2, 9) == 0);
            wait_for_bytes(to, at * STREAM_CHUNK);
            uint64_t before = stream_node_stats(to).bytes_received;
            if (how == SIM_POWER_LOSS_COUNT)
                stream_node_kill(to);
            else
                stream_node_lose_power(to, (enum sim_power_loss)how);
            CHECK(!stream_file_is_at(to, &file));
            stream_node_boot(to);
            insist(from, &file, 2);
            CHECK(stream_file_is_at(to, &file) && to->received == 1);
            CHECK(!stream_part_is_at(to, &file));
            if (how == SIM_POWER_LOSS_COUNT) /* what was written is in the page cache */
                check_resumed(from, to, &file, before);
            stream_world_fini(&world);
        }
}

static void test_crash_of_the_sender_at_every_chunk_resumes(void)
{
    for (uint32_t at = 1; at < CHUNKS; at++) {
        start(300 + at, 2);
        struct stream_node *from = node_of(1), *to = node_of(2);
        struct stream_file file = stream_file_make(from, 5, 100, FILE_BYTES);
        CHECK(stream_file_send(from, &file, 2, 9) == 0);
        wait_for_bytes(to, at * STREAM_CHUNK);
        stream_node_kill(from);
        CHECK(from->sent_count == 0);
        stream_world_pass(&world, 100 * MS);
        uint64_t before = stream_node_stats(to).bytes_received;
        stream_node_boot(from);
        stream_world_pass(&world, SECOND);
        insist(from, &file, 2);
        check_resumed(from, to, &file, before);
        CHECK(stream_file_is_at(to, &file) && to->received == 1);
        stream_world_fini(&world);
    }
}

/* The receiver crashes at its I/O number `at` (0: not at all); how many there were. */
static uint64_t crash_at(uint64_t at)
{
    start(400, 2);
    struct stream_node *from = node_of(1), *to = node_of(2);
    struct stream_file file = stream_file_make(from, 5, 100, 2 * STREAM_CHUNK);
    uint64_t before = sim_crash_points(world.sim, 2);
    sim_crash_at_io(world.sim, 2, at, at % 2, (enum sim_power_loss)(at % SIM_POWER_LOSS_COUNT));
    CHECK(stream_file_send(from, &file, 2, 9) == 0);
    CHECK(stream_world_wait(&world, from, 1, 60 * SECOND));
    uint64_t points = sim_crash_points(world.sim, 2) - before;
    if (sim_crashed(world.sim, 2))
        stream_node_bury(to);
    sim_crash_at_io(world.sim, 2, 0, false, SIM_LOSE_ALL);
    CHECK(stream_file_is_at(to, &file) || last_sent(from)->status != 0);
    if (!to->transport)
        stream_node_boot(to);
    if (last_sent(from)->status != 0)
        insist(from, &file, 2);
    CHECK(stream_file_is_at(to, &file));
    stream_world_fini(&world);
    return points;
}

static void test_crash_at_every_io_leaves_a_whole_file_or_none(void)
{
    uint64_t points = crash_at(0);
    CHECK(points > 50);
    for (uint64_t at = 1; at <= points; at++)
        crash_at(at);
}

/* Another file of the same index: nothing of the first may be found in it. */
static void test_part_of_another_file_is_not_continued(void)
{
    start(3, 3);
    struct stream_file first = stream_file_make(node_of(1), 5, 100, FILE_BYTES);
    struct stream_file second = stream_file_make(node_of(3), 5, 100, FILE_BYTES);
    CHECK(first.info.head_crc != second.info.head_crc);
    CHECK(stream_file_send(node_of(1), &first, 2, 9) == 0);
    wait_for_bytes(node_of(2), 3 * STREAM_CHUNK);
    stream_node_kill(node_of(1));
    stream_world_pass(&world, SECOND);
    CHECK(stream_part_is_at(node_of(2), &first));
    CHECK(insist(node_of(3), &second, 2) == 1);
    CHECK(last_sent(node_of(3))->bytes == second.info.file_bytes);
    CHECK(stream_file_is_at(node_of(2), &second) && !stream_file_is_at(node_of(2), &first));
    stream_world_fini(&world);
}

/* ---- two leaders --------------------------------------------------------- */

static void test_newer_leader_ends_the_transfer_of_an_older_one(void)
{
    stream_world_init(&world, 4);
    world.options.send_bytes_per_second = 1u << 20;
    stream_world_open(&world, 3);
    struct stream_file first = stream_file_make(node_of(1), 5, 100, FILE_BYTES);
    struct stream_file second = stream_file_make(node_of(3), 5, 120, FILE_BYTES);
    CHECK(stream_file_send(node_of(1), &first, 2, 9) == 0);
    wait_for_bytes(node_of(2), STREAM_CHUNK);
    CHECK(stream_file_send(node_of(3), &second, 2, 8) == 0); /* an older one */
    CHECK(stream_world_wait(&world, node_of(3), 1, 5 * SECOND));
    CHECK(last_sent(node_of(3))->status == RR_E_BUSY && node_of(1)->sent_count == 0);
    CHECK(stream_file_send(node_of(3), &second, 2, 10) == 0); /* a newer one */
    CHECK(stream_world_wait(&world, node_of(3), 2, 5 * SECOND));
    CHECK(last_sent(node_of(3))->status == 0 && last_sent(node_of(1))->status == RR_E_CLOSED);
    CHECK(stream_file_is_at(node_of(2), &second) && !stream_file_is_at(node_of(2), &first));
    CHECK(node_of(2)->received == 1);
    stream_world_fini(&world);
}

/* ---- refusals and failures ------------------------------------------------ */

static void test_what_the_receiver_says_no_to_is_reported(void)
{
    start(5, 2);
    struct stream_node *from = node_of(1), *to = node_of(2);
    struct stream_file file = stream_file_make(from, 5, 100, FILE_BYTES);
    uint64_t since = sim_now(world.sim);
    const int verdicts[] = {RR_E_NOT_FOUND, RR_E_SNAP_OUT_OF_DATE, RR_E_BUSY};
    for (uint32_t i = 0; i < RR_ARRAY_SIZE(verdicts); i++) {
        to->offer_result = verdicts[i];
        CHECK(stream_file_send(from, &file, 2, 9) == 0);
        CHECK(stream_world_wait(&world, from, i + 1, 5 * SECOND));
        CHECK(last_sent(from)->status == verdicts[i] && last_sent(from)->bytes == 0);
    }
    CHECK(!stream_part_is_at(to, &file) && stream_node_stats(to).refused == 3);
    CHECK(sim_now(world.sim) - since >= 3 * SNAPSHOT_PACE_NS); /* and not at once */
    CHECK(stream_file_send(from, &file, 2, 9) == 0);
    stream_world_pass(&world, SNAPSHOT_PACE_NS / 2);
    CHECK(from->sent_count == 3 && snapshot_streams_is_sending(from->streams, 5, 100));
    snapshot_streams_cancel(from->streams, 5); /* who closes the group does not wait for that */
    CHECK(stream_world_wait(&world, from, 4, 10 * MS) && last_sent(from)->status == RR_E_CANCELED);
    CHECK(snapshot_streams_is_idle(from->streams, 5));
    to->offer_result = 0;
    to->received_result = RR_E_SNAP_OUT_OF_DATE;
    CHECK(stream_file_send(from, &file, 2, 9) == 0);
    CHECK(stream_world_wait(&world, from, 5, 5 * SECOND));
    CHECK(last_sent(from)->status == RR_E_SNAP_OUT_OF_DATE && to->received == 1);
    CHECK(stream_file_send(from, &file, 9, 9) == RR_E_NOT_FOUND);
    stream_node_kill(to);
    stream_world_pass(&world, SECOND);
    CHECK(stream_file_send(from, &file, 2, 9) == RR_E_CLOSED);
    stream_world_fini(&world);
}

static void test_full_disk_of_the_receiver_is_reported_and_leaves_nothing(void)
{
    start(6, 2);
    struct stream_node *from = node_of(1), *to = node_of(2);
    struct stream_file file = stream_file_make(from, 5, 100, FILE_BYTES);
    sim_disk_capacity(world.sim, 2, 3 * STREAM_CHUNK);
    CHECK(stream_file_send(from, &file, 2, 9) == 0);
    CHECK(stream_world_wait(&world, from, 1, 5 * SECOND));
    CHECK(last_sent(from)->status == RR_E_NO_SPACE && to->received == 0);
    stream_world_pass(&world, SECOND);
    CHECK(!stream_part_is_at(to, &file));
    sim_disk_capacity(world.sim, 2, UINT64_MAX);
    CHECK(insist(from, &file, 2) == 1 && stream_file_is_at(to, &file));
    stream_world_fini(&world);
}

static void test_damaged_file_of_the_sender_is_never_installed(void)
{
    start(7, 2);
    struct stream_node *from = node_of(1), *to = node_of(2);
    struct stream_file file = stream_file_make(from, 5, 100, FILE_BYTES);
    stream_node_kill(from);
    uint8_t wrong[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    CHECK(sim_corrupt(world.sim, 1, file.path, 3 * STREAM_CHUNK + 77, wrong, 8) == 0);
    stream_node_boot(from);
    stream_world_pass(&world, 2 * SECOND);
    CHECK(stream_file_send(from, &file, 2, 9) == 0);
    CHECK(stream_world_wait(&world, from, 1, 20 * SECOND));
    CHECK(last_sent(from)->status == RR_E_CORRUPT && to->received == 0);
    stream_world_pass(&world, SECOND);
    CHECK(!stream_file_is_at(to, &file) && !stream_part_is_at(to, &file));
    stream_world_fini(&world);
}

static void test_missing_or_shorter_file_of_the_sender_is_not_sent(void)
{
    start(8, 2);
    struct stream_node *from = node_of(1);
    struct stream_file file = stream_file_make(from, 5, 100, FILE_BYTES);
    file.info.file_bytes++;
    CHECK(stream_file_send(from, &file, 2, 9) == 0);
    CHECK(stream_world_wait(&world, from, 1, 5 * SECOND));
    CHECK(last_sent(from)->status == RR_E_CORRUPT);
    strcpy(file.path, "/nowhere");
    CHECK(stream_file_send(from, &file, 2, 9) == 0);
    CHECK(stream_world_wait(&world, from, 2, 5 * SECOND));
    CHECK(last_sent(from)->status == RR_E_IO && node_of(2)->received == 0);
    stream_world_fini(&world);
}

static void test_flipped_bits_on_the_way_are_found(void)
{
    start(9, 2);
    struct stream_node *from = node_of(1), *to = node_of(2);
    struct stream_file file = stream_file_make(from, 5, 100, FILE_BYTES);
    sim_net_corrupt(world.sim, 20000);
    for (uint32_t i = 0; i < 6; i++) {
        if (stream_file_send(from, &file, 2, 9) == 0)
            CHECK(stream_world_wait(&world, from, from->sent_count + 1, 60 * SECOND));
        stream_world_pass(&world, SECOND);
    }
    sim_net_corrupt(world.sim, 0);
    CHECK(stream_node_stats(to).malformed + stream_node_stats(from).malformed > 0);
    stream_world_pass(&world, 15 * SECOND);
    insist(from, &file, 2);
    CHECK(stream_file_is_at(to, &file));
    stream_world_fini(&world);
}

static void test_silent_receiver_is_left_after_the_timeout(void)
{
    start(10, 2);
    struct stream_node *from = node_of(1), *to = node_of(2);
    struct stream_file file = stream_file_make(from, 5, 100, FILE_BYTES);
    CHECK(stream_file_send(from, &file, 2, 9) == 0);
    wait_for_bytes(to, 2 * STREAM_CHUNK);
    uint64_t since = sim_now(world.sim);
    sim_pause(world.sim, 2, true);
    CHECK(stream_world_wait(&world, from, 1, 30 * SECOND));
    uint64_t took = sim_now(world.sim) - since;
    CHECK(last_sent(from)->status == RR_E_DEADLINE && took > 9 * SECOND && took < 11 * SECOND);
    sim_pause(world.sim, 2, false);
    stream_world_pass(&world, 2 * SECOND);
    insist(from, &file, 2);
    CHECK(stream_file_is_at(to, &file));
    stream_world_fini(&world);
}

static void test_hanging_disk_of_the_receiver_is_left_and_cleared_up(void)
{
    start(11, 2);
    struct stream_node *from = node_of(1), *to = node_of(2);
    struct stream_file file = stream_file_make(from, 5, 100, FILE_BYTES);
    CHECK(stream_file_send(from, &file, 2, 9) == 0);
    wait_for_bytes(to, 2 * STREAM_CHUNK);
    sim_disk_hang(world.sim, 2, true);
    CHECK(stream_world_wait(&world, from, 1, 30 * SECOND));
    CHECK(last_sent(from)->status == RR_E_DEADLINE);
    CHECK(to->heartbeats[0] > 100); /* its loop goes on */
    sim_disk_hang(world.sim, 2, false);
    stream_world_pass(&world, 2 * SECOND);
    CHECK(snapshot_streams_is_idle(to->streams, 5));
    insist(from, &file, 2);
    CHECK(stream_file_is_at(to, &file));
    stream_world_fini(&world);
}

static void test_canceled_transfer_ends_on_both_sides(void)
{
    start(14, 2);
    struct stream_node *from = node_of(1), *to = node_of(2);
    struct stream_file file = stream_file_make(from, 5, 100, FILE_BYTES);
    CHECK(stream_file_send(from, &file, 2, 9) == 0);
    snapshot_streams_cancel_sends(from->streams, 5, 2); /* before it began */
    CHECK(from->sent_count == 0);
    CHECK(stream_world_wait(&world, from, 1, SECOND));
    CHECK(last_sent(from)->status == RR_E_CANCELED && to->offers == 0);
    CHECK(stream_file_send(from, &file, 2, 9) == 0);
    wait_for_bytes(to, STREAM_CHUNK);
    snapshot_streams_cancel_sends(from->streams, 5, 3);
    snapshot_streams_cancel(from->streams, 6);
    stream_world_pass(&world, MS);
    CHECK(from->sent_count == 1);
    snapshot_streams_cancel_sends(from->streams, 5, RR_NONE);
    stream_world_pass(&world, SECOND);
    CHECK(last_sent(from)->status == RR_E_CANCELED && from->sent_count == 2);
    CHECK(snapshot_streams_is_idle(to->streams, 5) && stream_part_is_at(to, &file));
    CHECK(stream_file_send(from, &file, 2, 9) == 0);
    wait_for_bytes(to, 3 * STREAM_CHUNK);
    CHECK(snapshot_streams_is_receiving(to->streams, 5));
    snapshot_streams_cancel(to->streams, 5); /* the group is being closed there */
    stream_world_pass(&world, SECOND);
    CHECK(last_sent(from)->status == RR_E_CLOSED && from->sent_count == 3);
    CHECK(to->received == 0 && to->parts_open == 0);
    insist(from, &file, 2);
    stream_world_fini(&world);
}

/* ---- throttle ------------------------------------------------------------ */

static void test_rate_is_that_of_all_transfers_together_and_shared_evenly(void)
{
    stream_world_init(&world, 13);
    world.options.send_bytes_per_second = 1u << 20;
    world.options.sends_max = 2;
    stream_world_open(&world, 3);
    struct stream_node *from = node_of(1);
    struct stream_file one = stream_file_make(from, 5, 100, 4u << 20);
    struct stream_file two = stream_file_make(from, 6, 100, 4u << 20);
    uint64_t since = sim_now(world.sim);
    CHECK(stream_file_send(from, &one, 2, 9) == 0 && stream_file_send(from, &two, 3, 9) == 0);
    stream_world_pass(&world, 4 * SECOND);
    uint64_t half = stream_node_stats(node_of(2)).bytes_received;
    CHECK(half > 1900u << 10 && half < 2200u << 10);
    half = stream_node_stats(node_of(3)).bytes_received;
    CHECK(half > 1900u << 10 && half < 2200u << 10);
    CHECK(stream_world_wait(&world, from, 2, 20 * SECOND));
    uint64_t took = sim_now(world.sim) - since;
    CHECK(from->sent[0].status == 0 && from->sent[1].status == 0);
    CHECK(took > 7700 * MS && took < 8500 * MS);
    CHECK(node_of(2)->longest_ns < 100 * MS && node_of(3)->longest_ns < 100 * MS);
    stream_world_fini(&world);
}

static void test_slow_rate_is_not_taken_for_silence(void)
{
    stream_world_init(&world, 14);
    world.options.send_bytes_per_second = 64u * 1024;
    stream_world_open(&world, 2);
    struct stream_node *from = node_of(1);
    struct stream_file file = stream_file_make(from, 5, 100, 2u << 20);
    uint64_t since = sim_now(world.sim);
    CHECK(insist(from, &file, 2) == 1);
    uint64_t took = sim_now(world.sim) - since;
    CHECK(took > 31 * SECOND && took < 34 * SECOND);
    stream_world_fini(&world);
}

static void test_so_many_at_a_time_the_others_wait_in_order(void)
{
    stream_world_init(&world, 15);
    world.options.sends_max = 1;
    world.options.receives_max = 1;
    stream_world_open(&world, 3);
    struct stream_node *from = node_of(1);
    struct stream_file files[4];
    for (uint32_t i = 0; i < 4; i++) {
        files[i] = stream_file_make(from, 5 + i, 100, 2 * STREAM_CHUNK);
        CHECK(stream_file_send(from, &files[i], 2 + i % 2, 9) == 0);
    }
    CHECK(stream_node_stats(from).waiting == 4);
    stream_world_pass(&world, 2 * MS);
    while (from->sent_count < 4) {
        CHECK(stream_node_stats(from).sending <= 1);
        CHECK(stream_world_wait(&world, from, from->sent_count + 1, 5 * SECOND));
    }
    for (uint32_t i = 0; i < 4; i++)
        CHECK(from->sent[i].status == 0 && from->sent[i].group == 5 + i);
    stream_world_fini(&world);
}

static void test_more_than_the_receiver_takes_at_a_time_are_refused(void)
{
    stream_world_init(&world, 16);
    world.options.receives_max = 1;
    world.options.send_bytes_per_second = 1u << 20;
    stream_world_open(&world, 3);
    struct stream_file one = stream_file_make(node_of(1), 5, 100, FILE_BYTES);
    struct stream_file two = stream_file_make(node_of(3), 6, 100, FILE_BYTES);
    CHECK(stream_file_send(node_of(1), &one, 2, 9) == 0);
    wait_for_bytes(node_of(2), 1);
    CHECK(stream_file_send(node_of(3), &two, 2, 9) == 0);
    CHECK(stream_world_wait(&world, node_of(3), 1, SECOND));
    CHECK(last_sent(node_of(3))->status == RR_E_BUSY);
    CHECK(stream_world_wait(&world, node_of(1), 1, 5 * SECOND));
    CHECK(last_sent(node_of(1))->status == 0);
    CHECK(insist(node_of(3), &two, 2) == 1);
    stream_world_fini(&world);
}

static void test_list_of_waiting_files_is_bounded(void)
{
    start(17, 2);
    struct stream_node *from = node_of(1);
    struct stream_file file = stream_file_make(from, 5, 100, STREAM_CHUNK);
    for (uint32_t i = 0; i < SNAPSHOT_SENDS_WAIT_MAX; i++) {
        file.group = 1000 + i;
        CHECK(stream_file_send(from, &file, 2, 9) == 0);
    }
    file.group = 5;
    CHECK(stream_file_send(from, &file, 2, 9) == RR_E_BUSY);
    stream_world_fini(&world);
}

static void test_options_that_cannot_work_are_refused_in_a_sentence(void)
{
    start(18, 2);
    struct snapshot_stream_options options = node_of(1)->world->options;
    struct snapshot_streams *streams;
    struct rr_error error = {0};
    CHECK(snapshot_streams_open(&options, &streams, &error) == RR_E_INVALID);
    CHECK(strstr(error.message, "functions"));
    stream_world_fini(&world);
}

int main(void)
{
    RUN(test_file_arrives_whole_and_is_taken_before_the_sender_hears_of_it);
    RUN(test_files_of_many_sizes_arrive);
    RUN(test_cut_at_every_chunk_resumes);
    RUN(test_crash_of_the_receiver_at_every_chunk_resumes_or_restarts);
    RUN(test_crash_of_the_sender_at_every_chunk_resumes);
    RUN(test_crash_at_every_io_leaves_a_whole_file_or_none);
    RUN(test_part_of_another_file_is_not_continued);
    RUN(test_newer_leader_ends_the_transfer_of_an_older_one);
    RUN(test_what_the_receiver_says_no_to_is_reported);
    RUN(test_full_disk_of_the_receiver_is_reported_and_leaves_nothing);
    RUN(test_damaged_file_of_the_sender_is_never_installed);
    RUN(test_missing_or_shorter_file_of_the_sender_is_not_sent);
    RUN(test_flipped_bits_on_the_way_are_found);
    RUN(test_silent_receiver_is_left_after_the_timeout);
    RUN(test_hanging_disk_of_the_receiver_is_left_and_cleared_up);
    RUN(test_canceled_transfer_ends_on_both_sides);
    RUN(test_rate_is_that_of_all_transfers_together_and_shared_evenly);
    RUN(test_slow_rate_is_not_taken_for_silence);
    RUN(test_so_many_at_a_time_the_others_wait_in_order);
    RUN(test_more_than_the_receiver_takes_at_a_time_are_refused);
    RUN(test_list_of_waiting_files_is_bounded);
    RUN(test_options_that_cannot_work_are_refused_in_a_sentence);
    return 0;
}
