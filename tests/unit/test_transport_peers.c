/* SPDX-License-Identifier: Apache-2.0
 *
 * What nodes learn about each other beside raft's messages: feature levels, addresses, hashes,
 * notices; and that silence ends a connection.
 */
#include "io/send_queue.h"
#include "proto/crc32c.h"
#include "tests/unit/transport_world.h"

struct news { /* what node 1 heard */
    uint64_t from, group;
    struct frame_hash hash;
    struct frame_notice notice;
    struct io_address address;
    uint32_t hashes, notices, addresses;
};

static struct news news;

static void on_address(void *ctx, uint64_t node, const struct io_address *address)
{
    (void)ctx;
    news.from = node;
    news.address = *address;
    news.addresses++;
}

static void on_hash(void *ctx, uint64_t from, uint64_t group, const struct frame_hash *hash)
{
    (void)ctx;
    news.from = from;
    news.group = group;
    news.hash = *hash;
    news.hashes++;
}

static void on_notice(void *ctx, uint64_t from, uint64_t group, const struct frame_notice *notice)
{
    (void)ctx;
    news.from = from;
    news.group = group;
    news.notice = *notice;
    news.notices++;
}

static void start_hearing(struct world *world, uint32_t count)
{
    memset(&news, 0, sizeof(news));
    world_init(world);
    world->options.on_address = on_address;
    world->options.on_hash = on_hash;
    world->options.on_notice = on_notice;
    world_open(world, count);
}

/* Node 2 speaks the level of the first build. */
static void open_old_node(struct world *world)
{
    struct world_node *node = &world->nodes[1];
    fake_io_init(&node->fake, world->net);
    node->io = &node->fake.io;
    node->id = 2;
    struct transport_options options = world_options(world, 1, 1);
    options.identity.feature_level = 1;
    CHECK(transport_open(&options, &node->transport, NULL) == 0);
    world->count = 2;
}

static void test_peers_keep_to_the_lower_level(void)
{
    struct world world;
    start_hearing(&world, 2);
    CHECK(transport_peer_feature_level(world.nodes[0].transport, 2) == 0);
    world_connect(&world);
    CHECK(transport_peer_feature_level(world.nodes[0].transport, 2) == IDENTITY_FEATURE_LEVEL);
    CHECK(transport_peer_feature_level(world.nodes[0].transport, 9) == 0);
    world_close_node(&world, 1);
    world_pass(&world, 10 * MS);
    /* It comes back with a build of tomorrow, then with the first one. */
    for (uint32_t level = IDENTITY_FEATURE_LEVEL + 1; level >= 1; level--) {
        struct hello hello = make_hello(&world, 2, 1), answer;
        hello.boot = 9 - level;
        hello.feature_level = level;
        int fd = stranger_hello(&world, 0, &hello);
        CHECK(stranger_answer(&world, fd, &answer) == 0 && answer.kind == HELLO_ANSWER);
        CHECK(answer.feature_level == IDENTITY_FEATURE_LEVEL);
        CHECK(transport_peer_feature_level(world.nodes[0].transport, 2) ==
              rr_min_u64(level, IDENTITY_FEATURE_LEVEL));
    }
    world_close(&world);
}

static void test_hash_and_notice_arrive_behind_what_was_sent_before(void)
{
    struct world world;
    start_hearing(&world, 2);
    const struct frame_hash hash = {.index = 77, .hash = UINT64_C(0xfedcba9876543210)};
    const struct frame_notice notice = {.genesis = UINT64_C(0x123456789), .code = RR_E_REMOVED};
    struct transport *sender = world.nodes[0].transport;
    CHECK(transport_send_hash(sender, 2, 5, &hash) == RR_E_NOT_FOUND);
    world_know(&world, 0, 1);
    CHECK(transport_send_hash(sender, 2, 5, &hash) == RR_E_CLOSED);
    world_connect(&world);
    CHECK(transport_send_hash(sender, 2, 5, &hash) == 0);
    world_settle(&world);
    CHECK(news.hashes == 1 && news.from == 1 && news.group == 5);
    CHECK(news.hash.index == 77 && news.hash.hash == hash.hash);
    CHECK(transport_send_notice(sender, 2, 6, &notice) == 0);
    world_settle(&world);
    CHECK(news.notices == 1 && news.from == 1 && news.group == 6);
    CHECK(news.notice.genesis == notice.genesis && news.notice.code == RR_E_REMOVED);
    CHECK(world_is_connected(&world));
    world_close(&world);
}

static void test_old_peer_is_told_nothing_that_it_does_not_know(void)
{
    struct world world;
    start_hearing(&world, 1);
    open_old_node(&world);
    world_connect(&world);
    CHECK(world_is_connected(&world));
    struct frame_hash hash = {0};
    struct frame_notice notice = {0};
    CHECK(transport_peer_feature_level(world.nodes[0].transport, 2) == 1);
    CHECK(transport_send_hash(world.nodes[0].transport, 2, 1, &hash) == RR_E_NOT_SUPPORTED);
    CHECK(transport_send_notice(world.nodes[0].transport, 2, 1, &notice) == RR_E_NOT_SUPPORTED);
    world_pass(&world, 3000 * MS);
    CHECK(news.addresses == 0);
    CHECK(world_stats(&world, 0).frames_sent == 0 && world_stats(&world, 1).frames_sent == 0);
    CHECK(world_is_connected(&world)); /* and its silence is borne */
    world_close(&world);
}

static void test_full_queue_refuses_hashes(void)
{
    struct world world;
    start_hearing(&world, 2);
    world_connect(&world);
    struct frame_hash hash = {0};
    int rc = 0;
    for (uint32_t i = 0; i <= SEND_SEGMENTS_MAX && rc == 0; i++)
        rc = transport_send_hash(world.nodes[0].transport, 2, 1, &hash);
    CHECK(rc == RR_E_BUSY && world_stats(&world, 0).dropped == 1);
    world_close(&world);
}

static void test_unknown_node_that_is_let_in_is_dialled_once_it_says_where(void)
{
    struct world world;
    start_hearing(&world, 2);
    world.nodes[1].check_result = RR_E_NOT_FOUND;
    world_know(&world, 0, 1); /* node 2 has never heard of node 1 */
    world_pass(&world, 2000 * MS);
    CHECK(world.nodes[0].ups == 0);
    CHECK(transport_peer_refusal(world.nodes[0].transport, 2) == RR_E_NOT_FOUND);
    world.nodes[1].check_result = 0;
    world_pass(&world, 2000 * MS);
    CHECK(world.nodes[0].ups == 1 && world.nodes[1].ups == 0);
    CHECK(news.addresses == 1 && news.from == 1 && news.address.ip == 0x7f000001);
    CHECK(news.address.port == world_port(&world, 0));
    struct rr_message message = make_message(RR_MSG_APP, 1, 2);
    CHECK(world_send(&world, 0, &message) == 0);
    message = make_message(RR_MSG_APP_RESP, 2, 1);
    CHECK(world_send(&world, 1, &message) == RR_E_CLOSED);
    world_pass(&world, 20 * MS);
    CHECK(world.nodes[1].record_count == 1);
    CHECK(transport_add_peer(world.nodes[1].transport, 1, &news.address, NULL) == 0);
    world_pass(&world, 20 * MS);
    CHECK(world_is_connected(&world) && world_send(&world, 1, &message) == 0);
    world_close(&world);
}

static void test_peer_cannot_be_added_at_port_zero(void)
{
    struct world world;
    start_hearing(&world, 1);
    struct io_address address = {.ip = 0x7f000001};
    struct rr_error error = {0};
    CHECK(transport_add_peer(world.nodes[0].transport, 2, &address, &error) == RR_E_BAD_ADDRESS);
    CHECK(strstr(error.message, "port 0"));
    world_close(&world);
}

static void test_advertised_address_is_told_instead_of_the_bound_one(void)
{
    struct world world;
    start_hearing(&world, 1);
    world.options.advertise = (struct io_address){.ip = 0x7f000009, .port = 4242};
    world_open_node(&world, 1, 1, 0);
    world.count = 2;
    struct io_address known = {.ip = 0x7f000001, .port = world_port(&world, 0)};
    CHECK(transport_add_peer(world.nodes[1].transport, 1, &known, NULL) == 0);
    world_pass(&world, 20 * MS);
    CHECK(news.addresses == 1 && news.from == 2);
    CHECK(news.address.ip == 0x7f000009 && news.address.port == 4242);
    world_close(&world);
}

static void test_removed_peer_that_is_added_at_once_is_connected_anew(void)
{
    struct world world;
    start_hearing(&world, 2);
    world_connect(&world);
    transport_remove_peer(world.nodes[0].transport, 2);
    world_know(&world, 0, 1);
    struct rr_message message = make_message(RR_MSG_VOTE, 1, 2);
    CHECK(world_send(&world, 0, &message) == RR_E_CLOSED);
    world_pass(&world, 2000 * MS);
    CHECK(world_is_connected(&world) && world_send(&world, 0, &message) == 0);
    CHECK(world.nodes[0].downs == 0 && world.nodes[0].ups == 2);
    world_close(&world);
}

/* ---- silence ------------------------------------------------------------------------- */

static void test_idle_connection_carries_signs_of_life_and_stays(void)
{
    struct world world;
    start_hearing(&world, 2);
    world_connect(&world);
    uint64_t before = world_stats(&world, 0).frames_sent;
    world_pass(&world, 10000 * MS);
    uint64_t signs = world_stats(&world, 0).frames_sent - before;
    CHECK(signs >= 38 && signs <= 41); /* four in each second */
    CHECK(world_is_connected(&world) && world.nodes[0].record_count == 0);
    CHECK(world_stats(&world, 0).silent == 0 && world_stats(&world, 1).silent == 0);
    world_close(&world);
}

static void test_peer_that_vanished_is_noticed_after_the_silence(void)
{
    struct world world;
    start_hearing(&world, 2);
    world_connect(&world);
    transport_limit_silence(world.nodes[0].transport, 200 * MS);
    transport_limit_silence(world.nodes[0].transport, 500 * MS); /* the smallest counts */
    transport_limit_silence(world.nodes[1].transport, 200 * MS);
    world_pass(&world, 1000 * MS);
    CHECK(world_is_connected(&world));
    world.count = 1; /* node 2 takes no turns any more, and nobody closes its sockets */
    world_pass(&world, 150 * MS);
    CHECK(world_stats(&world, 0).connections == 2);
    world_pass(&world, 60 * MS);
    CHECK(world_stats(&world, 0).connections == 1 && world_stats(&world, 0).silent == 1);
    world.count = 2;
    world_pass(&world, 2000 * MS);
    CHECK(world_is_connected(&world));
    world_close(&world);
}

/* Whoever slept himself has not listened: what the others said meanwhile has to be heard first. */
static void test_own_stall_blames_nobody(void)
{
    struct world world;
    start_hearing(&world, 2);
    world_connect(&world);
    world.net->now_ns += 5000 * MS;
    world_pass(&world, 2000 * MS);
    CHECK(world_is_connected(&world));
    CHECK(world_stats(&world, 0).silent == 0 && world_stats(&world, 1).silent == 0);
    world_close(&world);
}

/* ---- garbage ------------------------------------------------------------------------- */

/* Node 1's verdict on a frame of this kind from node 2, whose body is `body`. */
static bool is_taken(uint8_t kind, uint64_t group, const void *body, uint32_t size)
{
    struct world world;
    start_hearing(&world, 1);
    uint8_t frame[FRAME_HEADER_SIZE + 64];
    struct hello hello = make_hello(&world, 2, 1);
    struct frame_header header = {.kind = kind, .group = group, .length = size};
    header.body_crc = crc32c(0, body, size);
    frame_header_put(&header, frame);
    memcpy(frame + FRAME_HEADER_SIZE, body, size);
    int fd = stranger_hello(&world, 0, &hello);
    fake_write(world.net, fd, frame, FRAME_HEADER_SIZE + size);
    world_settle(&world);
    bool is_closed = fake_is_closed(world.net, fd);
    CHECK(is_closed == (world_stats(&world, 0).malformed == 1));
    world_close(&world);
    return !is_closed;
}

static void test_small_frames_that_are_unsound_close_the_connection(void)
{
    uint8_t notice[FRAME_NOTICE_SIZE] = {0}, bytes[64] = {0};
    CHECK(is_taken(FRAME_HASHES, 1, bytes, FRAME_HASH_SIZE) && news.hashes == 1);
    CHECK(!is_taken(FRAME_HASHES, 1, bytes, FRAME_HASH_SIZE - 1));
    CHECK(!is_taken(FRAME_HASHES, 1, bytes, FRAME_HASH_SIZE + 1) && news.hashes == 0);
    CHECK(is_taken(FRAME_NOTICE, 1, notice, sizeof(notice)) && news.notices == 1);
    CHECK(!is_taken(FRAME_NOTICE, 1, bytes, sizeof(notice) + 8));
    notice[12] = 1; /* reserved */
    CHECK(!is_taken(FRAME_NOTICE, 1, notice, sizeof(notice)));
    notice[12] = 0;
    notice[8] = 1; /* no error has a positive number */
    CHECK(!is_taken(FRAME_NOTICE, 1, notice, sizeof(notice)) && news.notices == 0);
    CHECK(is_taken(FRAME_ADDRESS, 0, "127.0.0.1:70", 12) && news.addresses == 1);
    CHECK(!is_taken(FRAME_ADDRESS, 0, "127.0.0.1:0", 11));
    CHECK(!is_taken(FRAME_ADDRESS, 0, "127.0.0.1", 9));
    CHECK(!is_taken(FRAME_ADDRESS, 0, "", 0));
    CHECK(!is_taken(FRAME_ADDRESS, 0, "127.0.0.1:00000000000000000070", 30));
    CHECK(news.addresses == 0);
    CHECK(!is_taken(FRAME_SNAPSHOT, 1, bytes, 64)); /* not on this connection */
    CHECK(is_taken(FRAME_HEARTBEATS, 0, "", 0));
}

int main(void)
{
    RUN(test_peers_keep_to_the_lower_level);
    RUN(test_hash_and_notice_arrive_behind_what_was_sent_before);
    RUN(test_old_peer_is_told_nothing_that_it_does_not_know);
    RUN(test_full_queue_refuses_hashes);
    RUN(test_unknown_node_that_is_let_in_is_dialled_once_it_says_where);
    RUN(test_peer_cannot_be_added_at_port_zero);
    RUN(test_advertised_address_is_told_instead_of_the_bound_one);
    RUN(test_removed_peer_that_is_added_at_once_is_connected_anew);
    RUN(test_idle_connection_carries_signs_of_life_and_stays);
    RUN(test_peer_that_vanished_is_noticed_after_the_silence);
    RUN(test_own_stall_blames_nobody);
    RUN(test_small_frames_that_are_unsound_close_the_connection);
    return 0;
}
