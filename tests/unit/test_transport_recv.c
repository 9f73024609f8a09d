/* SPDX-License-Identifier: Apache-2.0
 *
 * Reassembly and what a peer may do to us: frames in every segmentation, large ones, and all the
 * ways in which bytes can be wrong. "Peer 2" is the test's own hand with a valid hello, unless two
 * real nodes talk.
 */
#include "proto/codec.h"
#include "proto/crc32c.h"
#include "proto/frame.h"
#include "tests/unit/transport_world.h"

/* Node 1 with an accepted connection from node 2 that is the test's; returns its fd. */
static int start_with_peer(struct world *world)
{
    world_init(world);
    world_open(world, 1);
    struct io_address nowhere = {.ip = 0x7f000001, .port = 9};
    CHECK(transport_add_peer(world->nodes[0].transport, 2, &nowhere, NULL) == 0);
    struct hello hello = make_hello(world, 2, 1), answer;
    int fd = stranger_hello(world, 0, &hello);
    CHECK(stranger_answer(world, fd, &answer) == 0 && answer.kind == HELLO_ANSWER);
    return fd;
}

static void write_frame(struct world *world, int fd, uint64_t group,
                        const struct rr_message *message)
{
    uint32_t size;
    uint8_t *frame = make_frame(group, message, &size);
    fake_write(world->net, fd, frame, size);
    free(frame);
}

/* Three frames: small, with entries, small. */
static uint8_t *make_stream(const struct rr_message messages[3], uint32_t *size)
{
    uint8_t *stream = NULL;
    *size = 0;
    for (int i = 0; i < 3; i++) {
        uint32_t frame_size;
        uint8_t *frame = make_frame(7, &messages[i], &frame_size);
        stream = realloc(stream, *size + frame_size);
        CHECK(stream);
        memcpy(stream + *size, frame, frame_size);
        *size += frame_size;
        free(frame);
    }
    return stream;
}

static void test_frames_cut_at_every_offset_are_the_same(void)
{
    struct rr_entry entries[3];
    struct rr_block *block = make_run(entries, 3, 10, 50);
    struct rr_message messages[3] = {make_message(RR_MSG_VOTE, 2, 1), make_app(2, 1, entries, 3),
                                     make_message(RR_MSG_APP_RESP, 2, 1)};
    uint32_t size;
    uint8_t *stream = make_stream(messages, &size);
    struct world world;
    int fd = start_with_peer(&world);
    struct world_node *node = &world.nodes[0];
    for (uint32_t cut = 0; cut <= size; cut++) {
        node->record_count = 0;
        fake_write(world.net, fd, stream, cut);
        world_settle(&world);
        fake_write(world.net, fd, stream + cut, size - cut);
        world_settle(&world);
        CHECK(node->record_count == 3);
        for (uint32_t i = 0; i < 3; i++)
            check_received(node, i, &messages[i]);
        CHECK(node->records[1].group == 7);
    }
    free(stream);
    rr_block_put(block, 1);
    world_close(&world);
}

static void test_frames_in_single_bytes_are_the_same(void)
{
    struct rr_entry entries[3];
    struct rr_block *block = make_run(entries, 3, 10, 50);
    struct rr_message messages[3] = {make_message(RR_MSG_VOTE, 2, 1), make_app(2, 1, entries, 3),
                                     make_message(RR_MSG_APP_RESP, 2, 1)};
    uint32_t size;
    uint8_t *stream = make_stream(messages, &size);
    struct world world;
    int fd = start_with_peer(&world);
    world.net->recv_max = 1;
    fake_write(world.net, fd, stream, size);
    world_settle(&world);
    CHECK(world.nodes[0].record_count == 3);
    for (uint32_t i = 0; i < 3; i++)
        check_received(&world.nodes[0], i, &messages[i]);
    free(stream);
    rr_block_put(block, 1);
    world_close(&world);
}

/* Messages of many sizes, received in pieces of many sizes, with blocks kept and not kept: every
 * place where a frame can straddle blocks and spill. */
static void exchange_sizes(size_t recv_max, bool keeps_blocks)
{
    struct world world;
    world_init(&world);
    world_open(&world, 2);
    world_connect(&world);
    world.net->recv_max = recv_max;
    struct world_node *receiver = &world.nodes[1];
    receiver->keeps_blocks = keeps_blocks;
    static struct rr_entry entries[8];
    static const uint32_t sizes[] = {0,     1,      100,     4000,   30000,  65536,
                                     99999, 262144, 1 << 20, 500000, 131072, 65500};
    for (uint32_t i = 0; i < 24; i++) {
        uint32_t size = sizes[i * 7 % RR_ARRAY_SIZE(sizes)];
        uint32_t count = size > 300000 ? 1 + i % 2 : 1 + i % 8;
        struct rr_block *block = make_run(entries, count, 100 + i, size);
        struct rr_message message = make_app(1, 2, entries, count);
        CHECK(world_send(&world, 0, &message) == 0);
        world_settle(&world);
        CHECK(receiver->record_count == i + 1);
        check_received(receiver, i, &message);
        CHECK(block->refs == 1);
        rr_block_put(block, 1);
        if (i % 6 == 5)
            world_forget(receiver);
    }
    CHECK(world_is_connected(&world));
    world_close(&world);
}

static void test_every_size_arrives_in_any_pieces(void)
{
    static const size_t pieces[] = {1460, 4096, 65536, 65483, 300000, 1 << 24};
    for (size_t i = 0; i < RR_ARRAY_SIZE(pieces); i++) {
        exchange_sizes(pieces[i], false);
        exchange_sizes(pieces[i], true);
    }
}

static void test_kept_payload_stays_while_more_arrives(void)
{
    struct world world;
    world_start(&world, 2);
    struct world_node *receiver = &world.nodes[1];
    struct rr_entry entries[4];
    struct rr_block *block = make_run(entries, 4, 1, 30000);
    struct rr_message message = make_app(1, 2, entries, 4);
    receiver->keeps_blocks = true;
    CHECK(world_send(&world, 0, &message) == 0);
    world_settle(&world);
    CHECK(receiver->kept_count == 1);
    struct rr_block *kept = receiver->kept[0];
    uint32_t crc = crc32c(0, kept->bytes, 120000);
    receiver->keeps_blocks = false;
    rr_block_put(block, 1);
    block = make_run(entries, 4, 70, 30000); /* other bytes */
    message = make_app(1, 2, entries, 4);
    for (int i = 0; i < 20; i++) {
        CHECK(world_send(&world, 0, &message) == 0);
        world_settle(&world);
    }
    CHECK(receiver->record_count == 21);
    CHECK(crc32c(0, kept->bytes, 120000) == crc);
    rr_block_put(block, 1);
    world_close(&world);
}

static void test_received_blocks_may_outlive_the_transport(void)
{
    struct world world;
    world_start(&world, 2);
    struct rr_entry entries[1];
    struct rr_block *block = make_run(entries, 1, 1, 1000);
    struct rr_message message = make_app(1, 2, entries, 1);
    world.nodes[1].keeps_blocks = true;
    CHECK(world_send(&world, 0, &message) == 0);
    world_settle(&world);
    world_close_node(&world, 1);
    CHECK(world.nodes[1].kept_count == 1 && world.nodes[1].kept[0]->refs == 1);
    memset(world.nodes[1].kept[0]->bytes, 1, 1000);
    world_forget(&world.nodes[1]);
    rr_block_put(block, 1);
    world_close(&world);
}

static void test_memory_of_a_connection_is_bounded(void)
{
    struct world world;
    world_start(&world, 2);
    static struct rr_entry entries[4096];
    struct rr_message small = make_message(RR_MSG_VOTE, 1, 2);
    struct rr_block *block = make_run(entries, 8, 1, 1 << 20);
    struct rr_message large = make_app(1, 2, entries, 8);
    uint64_t most = 0;
    for (int i = 0; i < 6; i++) {
        CHECK(world_send(&world, 0, &large) == 0);
        while (world_turn(&world) > 0) {
            uint64_t bytes = world_stats(&world, 1).block_bytes;
            most = bytes > most ? bytes : most;
        }
        CHECK(world_send(&world, 0, &small) == 0);
        world_settle(&world);
    }
    CHECK(world.nodes[1].record_count == 12);
    /* A large block and the standard one that it came from, the spill; nothing else. */
    CHECK(most <= (16u << 20) + (1u << 20));
    CHECK(world_stats(&world, 1).block_bytes <= 1u << 20); /* the large one is not kept */
    rr_block_put(block, 1);
    world_close(&world);
}

static void test_largest_frame_passes_and_the_next_larger_is_refused(void)
{
    struct world world;
    world_init(&world);
    world.options.limits =
        (struct transport_limits){.entry_bytes_max = 100000, .frame_bytes_max = 102400};
    world_open(&world, 2);
    world_connect(&world);
    struct rr_entry entries[1];
    struct rr_block *block = make_run(entries, 1, 1, 100000);
    struct rr_message message = make_app(1, 2, entries, 1);
    CHECK(world_send(&world, 0, &message) == 0);
    world_settle(&world);
    CHECK(world.nodes[1].record_count == 1);
    rr_block_put(block, 1);

    block = make_run(entries, 1, 1, 102400);
    message = make_app(1, 2, entries, 1);
    CHECK(world_send(&world, 0, &message) == RR_E_TOO_LARGE);
    rr_block_put(block, 1);

    block =
        make_run(entries, 1, 1, 100001); /* fits into a frame, but is no entry of this cluster */
    message = make_app(1, 2, entries, 1);
    CHECK(world_send(&world, 0, &message) == 0);
    world_settle(&world);
    CHECK(world.nodes[1].record_count == 1 && world_stats(&world, 1).malformed == 1);
    rr_block_put(block, 1);
    world_close(&world);
}

/* ---- malformed ----------------------------------------------------------------------- */

/* Sends these bytes from a peer with a valid hello; the connection must go, and nothing else. */
static void check_malformed(const uint8_t *bytes, size_t size, uint32_t records)
{
    struct world world;
    int fd = start_with_peer(&world);
    uint64_t blocks = world_stats(&world, 0).block_bytes;
    fake_write(world.net, fd, bytes, size);
    world_settle(&world);
    CHECK(fake_is_closed(world.net, fd));
    CHECK(world_stats(&world, 0).malformed == 1 && world.nodes[0].record_count == records);
    CHECK(world_stats(&world, 0).block_bytes < blocks); /* and its memory is back */
    struct hello hello = make_hello(&world, 2, 1), answer;
    fd = stranger_hello(&world, 0, &hello); /* the next connection is as good as any */
    CHECK(stranger_answer(&world, fd, &answer) == 0 && answer.kind == HELLO_ANSWER);
    struct rr_message message = make_message(RR_MSG_VOTE, 2, 1);
    write_frame(&world, fd, 1, &message);
    world_settle(&world);
    CHECK(world.nodes[0].record_count == records + 1);
    world_close(&world);
}

static void test_random_bytes_as_frames_close_the_connection(void)
{
    uint8_t garbage[5000];
    for (uint32_t i = 0; i < sizeof(garbage); i++)
        garbage[i] = (uint8_t)(i * i * 31 + i);
    check_malformed(garbage, sizeof(garbage), 0);
}

static void seal_header(uint8_t *frame, const struct frame_header *header)
{
    frame_header_put(header, frame);
}

static void test_huge_length_closes_without_an_allocation(void)
{
    static const uint32_t lengths[] = {UINT32_MAX, 1u << 31, (16u << 20) + 1};
    for (size_t i = 0; i < RR_ARRAY_SIZE(lengths); i++) {
        uint8_t frame[FRAME_HEADER_SIZE];
        seal_header(frame, &(struct frame_header){
                               .group = 1, .length = lengths[i], .kind = FRAME_MESSAGES});
        check_malformed(frame, sizeof(frame), 0);
    }
}

static void test_promised_length_takes_one_block_of_fixed_size(void)
{
    struct world world;
    int fd = start_with_peer(&world);
    uint8_t frame[FRAME_HEADER_SIZE];
    seal_header(frame,
                &(struct frame_header){.group = 1, .length = 16u << 20, .kind = FRAME_MESSAGES});
    fake_write(world.net, fd, frame, sizeof(frame));
    world_settle(&world);
    uint64_t blocks = world_stats(&world, 0).block_bytes;
    CHECK(blocks > 16u << 20 && blocks < 17u << 20);
    fake_close(world.net, fd);
    world_settle(&world);
    CHECK(world_stats(&world, 0).block_bytes == 0);
    world_close(&world);
}

static void test_any_flipped_byte_of_a_frame_is_malformed(void)
{
    struct rr_entry entries[2];
    struct rr_block *block = make_run(entries, 2, 10, 5);
    struct rr_message message = make_app(2, 1, entries, 2);
    uint32_t size;
    uint8_t *frame = make_frame(1, &message, &size);
    for (uint32_t i = 0; i < size; i++) {
        frame[i] ^= 0x10;
        check_malformed(frame, size, 0);
        frame[i] ^= 0x10;
    }
    free(frame);
    rr_block_put(block, 1);
}

static void check_message_malformed(const struct rr_message *message)
{
    uint32_t size;
    uint8_t *frame = make_frame(1, message, &size);
    check_malformed(frame, size, 0);
    free(frame);
}

static void test_message_that_this_peer_may_not_send_is_malformed(void)
{
    struct rr_message message = make_message(RR_MSG_VOTE, 3, 1); /* in another's name */
    check_message_malformed(&message);
    message = make_message(RR_MSG_VOTE, 2, 3); /* for another */
    check_message_malformed(&message);
    static const uint8_t local[] = {RR_MSG_HUP,
                                    RR_MSG_BEAT,
                                    RR_MSG_UNREACHABLE,
                                    RR_MSG_SNAP_STATUS,
                                    RR_MSG_CHECK_QUORUM,
                                    RR_MSG_STORAGE_APPEND,
                                    RR_MSG_STORAGE_APPEND_RESP,
                                    RR_MSG_STORAGE_APPLY,
                                    RR_MSG_STORAGE_APPLY_RESP,
                                    RR_MSG_FORGET_LEADER,
                                    24,
                                    31,
                                    32,
                                    200};
    for (size_t i = 0; i < RR_ARRAY_SIZE(local); i++) {
        message = make_message(local[i], 2, 1);
        check_message_malformed(&message);
    }
    message = make_message(RR_MSG_SNAP, 2, 1); /* without a snapshot */
    check_message_malformed(&message);
}

static void test_entries_that_do_not_follow_each_other_are_malformed(void)
{
    struct rr_entry entries[3], wrong[3];
    struct rr_block *block = make_run(entries, 3, 10, 5);
    struct rr_message message = make_app(2, 1, wrong, 3);
    for (int i = 0; i < 3; i++) {
        wrong[i] = entries[i];
        wrong[i].wire_size = 0; /* encode again, with the change */
    }
    message.index = 9;
    wrong[1].index = 10; /* twice */
    check_message_malformed(&message);
    wrong[1].index = 12; /* a gap */
    check_message_malformed(&message);
    wrong[1].index = 11;
    message.index = 8; /* not behind the message's index */
    check_message_malformed(&message);
    message.index = 9;
    wrong[2].term = 4; /* falls */
    check_message_malformed(&message);
    wrong[2].term = 6; /* beyond the message's */
    check_message_malformed(&message);
    rr_block_put(block, 1);
}

static void test_frame_of_heartbeats_holds_nothing_else(void)
{
    struct rr_message message = make_message(RR_MSG_VOTE, 2, 1);
    uint32_t size;
    uint8_t *frame = make_frame(0, &message, &size);
    uint32_t length = size - FRAME_HEADER_SIZE;
    seal_header(frame,
                &(struct frame_header){.length = length,
                                       .body_crc = crc32c(0, frame + FRAME_HEADER_SIZE, length),
                                       .kind = FRAME_HEARTBEATS});
    check_malformed(frame, size, 0);
    free(frame);
}

/* 2 MiB of two-byte entries: they decode into fifty times as much, if one lets them. */
static void test_frame_of_countless_tiny_entries_is_malformed(void)
{
    uint32_t count = 1u << 20;
    uint32_t message_size = 2 * count;
    uint32_t length = FRAME_ITEM_SIZE + message_size;
    uint8_t *frame = malloc(FRAME_HEADER_SIZE + length);
    CHECK(frame);
    uint8_t *item = frame + FRAME_HEADER_SIZE;
    frame_item_put(&(struct frame_item){.group = 1, .size = message_size}, item);
    for (uint32_t i = 0; i < count; i++) {
        item[FRAME_ITEM_SIZE + 2 * i] = CODEC_ENTRY_TAG;
        item[FRAME_ITEM_SIZE + 2 * i + 1] = 0;
    }
    seal_header(frame, &(struct frame_header){.group = 1,
                                              .length = length,
                                              .body_crc = crc32c(0, item, length),
                                              .kind = FRAME_MESSAGES});
    check_malformed(frame, FRAME_HEADER_SIZE + length, 0);
    free(frame);
}

static void test_message_that_the_engine_refuses_closes_the_connection(void)
{
    struct world world;
    int fd = start_with_peer(&world);
    world.nodes[0].message_result = RR_E_MALFORMED;
    struct rr_message message = make_message(RR_MSG_VOTE, 2, 1);
    write_frame(&world, fd, 1, &message);
    write_frame(&world, fd, 1, &message);
    world_settle(&world);
    CHECK(world.nodes[0].record_count == 1); /* the second one was not handed over */
    CHECK(fake_is_closed(world.net, fd) && world_stats(&world, 0).malformed == 1);
    world_close(&world);
}

static void test_cut_inside_a_frame_forgets_it(void)
{
    struct rr_message message = make_message(RR_MSG_VOTE, 2, 1);
    uint32_t size;
    uint8_t *frame = make_frame(1, &message, &size);
    for (uint32_t cut = 0; cut < size; cut += 5) {
        struct world world;
        int fd = start_with_peer(&world);
        fake_write(world.net, fd, frame, size);
        fake_write(world.net, fd, frame, cut);
        fake_close(world.net, fd);
        world_settle(&world);
        CHECK(world.nodes[0].record_count == 1 && world_stats(&world, 0).malformed == 0);
        CHECK(world_stats(&world, 0).connections == 0 && world_stats(&world, 0).block_bytes == 0);
        world_close(&world);
    }
    free(frame);
}

int main(void)
{
    RUN(test_frames_cut_at_every_offset_are_the_same);
    RUN(test_frames_in_single_bytes_are_the_same);
    RUN(test_every_size_arrives_in_any_pieces);
    RUN(test_kept_payload_stays_while_more_arrives);
    RUN(test_received_blocks_may_outlive_the_transport);
    RUN(test_memory_of_a_connection_is_bounded);
    RUN(test_largest_frame_passes_and_the_next_larger_is_refused);
    RUN(test_random_bytes_as_frames_close_the_connection);
    RUN(test_huge_length_closes_without_an_allocation);
    RUN(test_promised_length_takes_one_block_of_fixed_size);
    RUN(test_any_flipped_byte_of_a_frame_is_malformed);
    RUN(test_message_that_this_peer_may_not_send_is_malformed);
    RUN(test_entries_that_do_not_follow_each_other_are_malformed);
    RUN(test_frame_of_heartbeats_holds_nothing_else);
    RUN(test_frame_of_countless_tiny_entries_is_malformed);
    RUN(test_message_that_the_engine_refuses_closes_the_connection);
    RUN(test_cut_inside_a_frame_forgets_it);
    return 0;
}
