/* SPDX-License-Identifier: Apache-2.0
 *
 * The sending side: what is referred to and what is copied, checksums of parts, order, and a peer
 * that reads slowly or not at all.
 */
#include "proto/crc32c.h"
#include "proto/frame.h"
#include "tests/unit/transport_world.h"

/* Stops node 1's bytes to the other node, as a peer that reads no more; or lets them go on. */
static void stall(struct world *world, uint32_t i, bool is_stalled)
{
    for (int fd = 1; fd < world->net->end_count; fd++) {
        struct fake_end *end = &world->net->ends[fd];
        if (end->is_open && end->owner == &world->nodes[i].fake.io)
            end->is_stalled = is_stalled;
    }
}

static void send_and_check(struct world *world, const struct rr_message *message)
{
    uint32_t at = world->nodes[1].record_count;
    CHECK(world_send(world, 0, message) == 0);
    world_settle(world);
    CHECK(world->nodes[1].record_count == at + 1);
    check_received(&world->nodes[1], at, message);
}

static void test_adjacent_entries_are_referred_to_not_copied(void)
{
    struct world world;
    world_start(&world, 2);
    static struct rr_entry entries[1000];
    struct rr_block *block = make_run(entries, 1000, 1, 100);
    struct rr_message message = make_app(1, 2, entries, 1000);
    CHECK(world_send(&world, 0, &message) == 0);
    CHECK(block->refs == 2); /* one range */
    world_settle(&world);
    CHECK(block->refs == 1 && world_stats(&world, 0).bodies_copied == 0);
    check_received(&world.nodes[1], 0, &message);
    rr_block_put(block, 1);
    world_close(&world);
}

static void test_sixteen_ranges_are_referred_to_and_seventeen_copied(void)
{
    struct world world;
    world_start(&world, 2);
    struct rr_entry entries[17];
    struct rr_block *blocks[17];
    for (uint32_t i = 0; i < 17; i++)
        blocks[i] = make_run(&entries[i], 1, 1 + i, 3000);
    struct rr_message message = make_app(1, 2, entries, 16);
    send_and_check(&world, &message);
    CHECK(world_stats(&world, 0).bodies_copied == 0);
    message = make_app(1, 2, entries, 17);
    CHECK(world_send(&world, 0, &message) == 0);
    CHECK(blocks[0]->refs == 1);
    CHECK(world_stats(&world, 0).bodies_copied == 1);
    world_settle(&world);
    check_received(&world.nodes[1], 1, &message);
    for (uint32_t i = 0; i < 17; i++)
        rr_block_put(blocks[i], 1);
    world_close(&world);
}

static void test_loose_entries_are_copied(void)
{
    struct world world;
    world_start(&world, 2);
    struct rr_entry entries[3];
    struct rr_block *block = make_run(entries, 3, 1, 40);
    struct rr_message message = make_app(1, 2, entries, 3);
    entries[1].wire_size = 0; /* not encoded */
    send_and_check(&world, &message);
    entries[1].block = NULL; /* nobody's */
    send_and_check(&world, &message);
    entries[0].block = entries[2].block = NULL;
    send_and_check(&world, &message);
    CHECK(world_stats(&world, 0).bodies_copied == 3);
    rr_block_put(block, 1);
    world_close(&world);
}

static struct {
    const uint8_t *bytes;
    uint32_t size;
    uint32_t crc;
    int asked, known;
} run;

static bool run_crc(const struct rr_block *block, const uint8_t *bytes, uint32_t size,
                    uint32_t *crc)
{
    CHECK(bytes >= block->bytes && bytes + size <= block->bytes + block->cap);
    run.asked++;
    if (bytes != run.bytes || size != run.size)
        return false;
    run.known++;
    *crc = run.crc;
    return true;
}

static void test_checksum_of_a_known_run_is_not_computed_again(void)
{
    struct world world;
    world_init(&world);
    world.options.run_crc = run_crc;
    world_open(&world, 2);
    world_connect(&world);
    struct rr_entry entries[10];
    struct rr_block *block = make_run(entries, 10, 1, 100);
    run.bytes = block->bytes;
    run.size = (uint32_t)(entries[9].data + entries[9].size - block->bytes);
    run.crc = crc32c(0, run.bytes, run.size);
    struct rr_message message = make_app(1, 2, entries, 10);
    send_and_check(&world, &message);
    CHECK(run.asked == 1 && run.known == 1);
    message = make_app(1, 2, entries + 3, 7); /* cut elsewhere: computed */
    send_and_check(&world, &message);
    CHECK(run.asked == 2 && run.known == 1);

    run.crc ^= 1; /* it is really used: a wrong one is seen by the receiver */
    message = make_app(1, 2, entries, 10);
    CHECK(world_send(&world, 0, &message) == 0);
    world_settle(&world);
    CHECK(world.nodes[1].record_count == 2 && world_stats(&world, 1).malformed == 1);
    rr_block_put(block, 1);
    world_close(&world);
}

static void test_snapshot_and_rejection_arrive(void)
{
    struct world world;
    world_start(&world, 2);
    uint64_t voters[] = {1, 2, 3};
    uint8_t data[70000];
    memset(data, 'd', sizeof(data));
    struct rr_snapshot snapshot = {
        .metadata = {.index = 50, .term = 5, .conf_state = {.voters = voters, .voter_count = 3}},
        .data = data,
        .size = sizeof(data)};
    struct rr_message message = make_message(RR_MSG_SNAP, 1, 2);
    message.snapshot = &snapshot;
    send_and_check(&world, &message);
    uint64_t most = world_stats(&world, 0).bytes_sent;
    CHECK(most > sizeof(data));
    message = make_message(RR_MSG_APP_RESP, 1, 2);
    message.reject = true;
    message.reject_hint = 4;
    message.commit = 0; /* nothing behind the entries but what was set */
    send_and_check(&world, &message);
    CHECK(world_stats(&world, 0).bodies_copied == 0);
    world_close(&world);
}

static void test_append_without_a_tail_arrives(void)
{
    struct world world;
    world_start(&world, 2);
    struct rr_entry entries[2];
    struct rr_block *block = make_run(entries, 2, 1, 10);
    struct rr_message message = make_app(1, 2, entries, 2);
    message.commit = 0; /* the entries end the message */
    send_and_check(&world, &message);
    rr_block_put(block, 1);
    world_close(&world);
}

static void test_large_frames_cross_short_sends(void)
{
    static const size_t sends[] = {1000, 65536, 999999};
    for (size_t i = 0; i < RR_ARRAY_SIZE(sends); i++) {
        struct world world;
        world_start(&world, 2);
        world.net->send_max = sends[i];
        struct rr_entry entries[8];
        struct rr_block *block = make_run(entries, 8, 1, 1 << 20);
        struct rr_message message = make_app(1, 2, entries, 8);
        send_and_check(&world, &message);
        send_and_check(&world, &message);
        rr_block_put(block, 1);
        world_close(&world);
    }
}

static void test_order_is_kept_across_many_short_sends(void)
{
    struct world world;
    world_start(&world, 2);
    world.net->send_max = 777;
    struct rr_entry entries[4];
    struct rr_block *block = make_run(entries, 4, 1, 500);
    for (uint64_t i = 0; i < 200; i++) {
        struct rr_message message =
            i % 3 ? make_message(RR_MSG_APP_RESP, 1, 2) : make_app(1, 2, entries, 4);
        message.commit = i;
        CHECK(world_send(&world, 0, &message) == 0);
        if (i % 16 == 0)
            world_turn(&world);
    }
    world_settle(&world);
    CHECK(world.nodes[1].record_count == 200);
    for (uint64_t i = 0; i < 200; i++)
        CHECK_EQ_U64(world.nodes[1].records[i].commit, i);
    rr_block_put(block, 1);
    world_close(&world);
}

static void test_heartbeat_overtakes_frames_not_begun(void)
{
    struct world world;
    world_start(&world, 2);
    struct rr_entry entries[1];
    struct rr_block *block = make_run(entries, 1, 1, 100000);
    struct rr_message app = make_app(1, 2, entries, 1);
    struct rr_message beat = make_message(RR_MSG_HEARTBEAT, 1, 2);
    beat.entries = NULL;
    for (int i = 0; i < 5; i++)
        CHECK(world_send(&world, 0, &app) == 0);
    world.net->send_max = 150000; /* the second frame is begun */
    world_turn(&world);
    CHECK(world_send(&world, 0, &beat) == 0);
    world.net->send_max = SIZE_MAX;
    world_settle(&world);
    CHECK(world.nodes[1].record_count == 6);
    CHECK(world.nodes[1].records[2].type == RR_MSG_HEARTBEAT);
    rr_block_put(block, 1);
    world_close(&world);
}

static void send_heartbeats(struct world *world, uint64_t groups)
{
    for (uint64_t group = 1; group <= groups; group++) {
        struct rr_message beat = make_message(RR_MSG_HEARTBEAT, 1, 2);
        beat.commit = group;
        beat.context = (const uint8_t *)"12345678"; /* a read index */
        beat.context_size = 8;
        CHECK(transport_send(world->nodes[0].transport, group, &beat) == 0);
    }
}

static void test_heartbeats_of_a_turn_share_a_frame_and_keep_their_groups(void)
{
    struct world world;
    world_start(&world, 2);
    struct transport_stats before = world_stats(&world, 0);
    send_heartbeats(&world, 64);
    world_settle(&world);
    struct transport_stats after = world_stats(&world, 0);
    CHECK(after.frames_sent == before.frames_sent + 1 && after.sends == before.sends + 1);
    CHECK(world.nodes[1].record_count == 64);
    for (uint64_t group = 1; group <= 64; group++)
        CHECK(world.nodes[1].records[group - 1].group == group &&
              world.nodes[1].records[group - 1].commit == group);
    world_close(&world);
}

static void test_heartbeats_of_thousands_of_groups_arrive_in_few_frames(void)
{
    struct world world;
    world_start(&world, 2);
    struct transport_stats before = world_stats(&world, 0);
    send_heartbeats(&world, 4000);
    world_settle(&world);
    struct transport_stats after = world_stats(&world, 0);
    CHECK(after.frames_sent <= before.frames_sent + 8 && after.dropped == 0);
    CHECK(world.nodes[1].record_count == 4000);
    world_close(&world);
}

static void test_every_message_that_nodes_exchange_arrives_with_its_context(void)
{
    static const uint8_t types[] = {RR_MSG_PROP,         RR_MSG_APP,
                                    RR_MSG_APP_RESP,     RR_MSG_VOTE,
                                    RR_MSG_VOTE_RESP,    RR_MSG_HEARTBEAT,
                                    RR_MSG_TIMEOUT_NOW,  RR_MSG_HEARTBEAT_RESP,
                                    RR_MSG_READ_INDEX,   RR_MSG_TRANSFER_LEADER,
                                    RR_MSG_PRE_VOTE,     RR_MSG_READ_INDEX_RESP,
                                    RR_MSG_PRE_VOTE_RESP};
    struct world world;
    world_start(&world, 2);
    for (uint32_t i = 0; i < RR_ARRAY_SIZE(types); i++) {
        struct rr_message message = make_message(types[i], 1, 2);
        message.context = (const uint8_t *)"context";
        message.context_size = 7;
        CHECK(world_send(&world, 0, &message) == 0);
        world_settle(&world);
        CHECK(world.nodes[1].record_count == i + 1);
        check_received(&world.nodes[1], i, &message);
        CHECK(world.nodes[1].records[i].context_size == 7);
    }
    world_close(&world);
}

static void test_full_queue_is_busy_and_a_slow_peer_costs_only_itself(void)
{
    struct world world;
    world_start(&world, 3);
    struct rr_entry entries[1];
    struct rr_block *block = make_run(entries, 1, 1, 100000);
    struct rr_message to_slow = make_app(1, 2, entries, 1), to_other = make_app(1, 3, entries, 1);
    stall(&world, 1, true);
    uint32_t taken = 0;
    while (world_send(&world, 0, &to_slow) == 0) {
        taken++;
        CHECK(world_send(&world, 0, &to_other) == 0);
        world_settle(&world);
    }
    CHECK(world_send(&world, 0, &to_slow) == RR_E_BUSY);
    CHECK(taken == (4u << 20) / 100000 || taken == (4u << 20) / 100000 - 1);
    CHECK(world_stats(&world, 0).queue_bytes_max <= 4u << 20);
    CHECK(world_stats(&world, 0).dropped == 2);
    CHECK(world.nodes[2].record_count == taken && world.nodes[1].record_count == 0);
    struct rr_message beat = make_message(RR_MSG_HEARTBEAT, 1, 2);
    CHECK(world_send(&world, 0, &beat) == 0); /* still taken: they are bounded apart */

    stall(&world, 1, false);
    world_settle(&world);
    CHECK(world.nodes[1].record_count == taken + 1);
    CHECK(world_send(&world, 0, &to_slow) == 0);
    world_settle(&world);
    CHECK(block->refs == 1);
    rr_block_put(block, 1);
    world_close(&world);
}

static void test_lost_connection_drops_its_queue_and_lets_blocks_go(void)
{
    struct world world;
    world_start(&world, 2);
    struct rr_entry entries[1];
    struct rr_block *block = make_run(entries, 1, 1, 100000);
    struct rr_message app = make_app(1, 2, entries, 1);
    stall(&world, 1, true);
    for (int i = 0; i < 10; i++)
        CHECK(world_send(&world, 0, &app) == 0);
    world_settle(&world);
    CHECK(block->refs == 11);
    uint16_t port = world_port(&world, 1);
    world_close_node(&world, 1);
    world_settle(&world);
    CHECK(world.nodes[0].downs == 1 && world_send(&world, 0, &app) == RR_E_CLOSED);
    CHECK(block->refs == 1 && world_stats(&world, 0).dropped == 10);

    world_open_node(&world, 1, 2, port);
    world_know(&world, 1, 0);
    world_pass(&world, 1500 * MS);
    CHECK(world.nodes[1].record_count == 0); /* nothing of the old queue */
    send_and_check(&world, &app);
    rr_block_put(block, 1);
    world_close(&world);
}

static void test_small_messages_are_bounded_too(void)
{
    struct world world;
    world_start(&world, 2);
    stall(&world, 1, true);
    struct rr_message message = make_message(RR_MSG_APP_RESP, 1, 2);
    uint32_t taken = 0;
    while (world_send(&world, 0, &message) == 0)
        CHECK(++taken < 5000);
    stall(&world, 1, false);
    world_settle(&world);
    CHECK(world.nodes[1].record_count == taken && taken > 4000);
    world_close(&world);
}

int main(void)
{
    RUN(test_adjacent_entries_are_referred_to_not_copied);
    RUN(test_sixteen_ranges_are_referred_to_and_seventeen_copied);
    RUN(test_loose_entries_are_copied);
    RUN(test_checksum_of_a_known_run_is_not_computed_again);
    RUN(test_snapshot_and_rejection_arrive);
    RUN(test_append_without_a_tail_arrives);
    RUN(test_large_frames_cross_short_sends);
    RUN(test_order_is_kept_across_many_short_sends);
    RUN(test_heartbeat_overtakes_frames_not_begun);
    RUN(test_heartbeats_of_a_turn_share_a_frame_and_keep_their_groups);
    RUN(test_heartbeats_of_thousands_of_groups_arrive_in_few_frames);
    RUN(test_every_message_that_nodes_exchange_arrives_with_its_context);
    RUN(test_full_queue_is_busy_and_a_slow_peer_costs_only_itself);
    RUN(test_lost_connection_drops_its_queue_and_lets_blocks_go);
    RUN(test_small_messages_are_bounded_too);
    return 0;
}
