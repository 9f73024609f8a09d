/* SPDX-License-Identifier: Apache-2.0
 *
 * The accepting side: who gets in, who is told what, and that strangers cost little. Two nodes are
 * connected and must stay so, whatever knocks.
 */
#include "proto/crc32c.h"
#include "tests/unit/transport_world.h"

static int answer_to(struct world *world, const struct hello *hello, struct hello *answer)
{
    int fd = stranger_hello(world, 0, hello);
    CHECK(stranger_answer(world, fd, answer) == 0);
    return fd;
}

/* What node 1 answers to node 3's hello, changed so; node 3 is known but not there. */
static int refusal_to(void (*change)(struct hello *hello), int check_result)
{
    struct world world;
    world_start(&world, 2);
    struct io_address nowhere = {.ip = 0x7f000001, .port = 9};
    CHECK(transport_add_peer(world.nodes[0].transport, 3, &nowhere, NULL) == 0);
    struct hello hello = make_hello(&world, 3, 1), answer;
    world.nodes[0].check_result = check_result;
    change(&hello);
    int fd = answer_to(&world, &hello, &answer);
    int code = answer.code;
    if (answer.kind == HELLO_REFUSAL) {
        CHECK(fake_is_closed(world.net, fd) && answer.to == hello.from);
        CHECK(answer.instance == 0 && answer.cluster == 0); /* a stranger learns nothing */
        CHECK(world_stats(&world, 0).refused == 1);
        CHECK(transport_peer_refusal(world.nodes[0].transport, hello.from) == code ||
              code == RR_E_NOT_FOUND);
    }
    CHECK(world_is_connected(&world) || answer.kind == HELLO_ANSWER);
    world_close(&world);
    return code;
}

static void change_nothing(struct hello *hello)
{
    (void)hello;
}
static void change_cluster(struct hello *hello)
{
    hello->cluster++;
}
static void change_to(struct hello *hello)
{
    hello->to = 2;
}
static void change_limits(struct hello *hello)
{
    hello->frame_bytes_max--;
}
static void change_to_unknown_node(struct hello *hello)
{
    hello->from = 99;
}
static void change_to_tls(struct hello *hello)
{
    hello->flags = HELLO_TLS;
}

static void test_refusals_are_told_apart_and_remembered(void)
{
    CHECK(refusal_to(change_nothing, 0) == 0);
    CHECK(refusal_to(change_nothing, RR_E_INSTANCE) == RR_E_INSTANCE);
    CHECK(refusal_to(change_nothing, RR_E_REMOVED) == RR_E_REMOVED);
    CHECK(refusal_to(change_cluster, 0) == RR_E_IDENTITY);
    CHECK(refusal_to(change_to, 0) == RR_E_IDENTITY);
    CHECK(refusal_to(change_limits, 0) == RR_E_INVALID);
    CHECK(refusal_to(change_to_unknown_node, RR_E_NOT_FOUND) == RR_E_NOT_FOUND);
    CHECK(refusal_to(change_to_tls, 0) == RR_E_NOT_SUPPORTED);
}

static void test_hello_of_another_version_is_refused_in_words(void)
{
    struct world world;
    world_start(&world, 2);
    struct hello hello = make_hello(&world, 2, 1), answer;
    uint8_t bytes[HELLO_SIZE];
    hello_put(&hello, bytes);
    bytes[8] = 9;
    /* Sealed by hand: the checksum stands in the same place in every version. */
    uint32_t crc = crc32c(0, bytes, HELLO_SIZE - 4);
    memcpy(bytes + HELLO_SIZE - 4, &crc, 4);
    int fd = fake_connect(world.net, world_port(&world, 0));
    fake_write(world.net, fd, bytes, sizeof(bytes));
    world_settle(&world);
    CHECK(stranger_answer(&world, fd, &answer) == 0);
    CHECK(answer.kind == HELLO_REFUSAL && answer.code == RR_E_VERSION);
    CHECK(fake_is_closed(world.net, fd) && world_is_connected(&world));
    world_close(&world);
}

static void test_garbage_instead_of_hello_is_closed_without_a_word(void)
{
    struct world world;
    world_start(&world, 2);
    uint8_t garbage[4096];
    for (uint32_t round = 0; round < 50; round++) {
        for (size_t i = 0; i < sizeof(garbage); i++)
            garbage[i] = (uint8_t)(round * 13 + i * 7 + i * i);
        int fd = fake_connect(world.net, world_port(&world, 0));
        fake_write(world.net, fd, garbage, sizeof(garbage));
        world_settle(&world);
        struct hello answer;
        CHECK(fake_is_closed(world.net, fd));
        CHECK(stranger_answer(&world, fd, &answer) == RR_E_CLOSED);
    }
    CHECK(world_stats(&world, 0).malformed == 50 && world_stats(&world, 0).strangers == 0);
    CHECK(world_is_connected(&world));
    world_close(&world);
}

/* Nothing behind a hello is read before it was accepted. */
static void test_stranger_is_read_no_further_than_its_hello(void)
{
    struct world world;
    world_start(&world, 2);
    world.nodes[0].check_result = RR_E_PENDING;
    struct hello hello = make_hello(&world, 2, 1);
    int fd = stranger_hello(&world, 0, &hello);
    static uint8_t flood[1 << 20];
    fake_write(world.net, fd, flood, sizeof(flood));
    world_pass(&world, 100 * MS);
    int far = world.net->ends[fd].other;
    CHECK_EQ_U64(world.net->ends[far].size, sizeof(flood));
    CHECK(world_is_connected(&world)); /* and the older connection still serves */
    world_close(&world);
}

static void test_parked_stranger_is_admitted_when_its_record_is_durable(void)
{
    struct world world;
    world_start(&world, 2);
    world.nodes[0].check_result = RR_E_PENDING;
    struct hello hello = make_hello(&world, 2, 1), answer;
    hello.boot = 5;
    int fd = stranger_hello(&world, 0, &hello);
    CHECK(stranger_answer(&world, fd, &answer) == RR_E_CLOSED);
    transport_accept_peer(world.nodes[0].transport, &world.nodes[0].last_checked, 0);
    world_settle(&world);
    CHECK(stranger_answer(&world, fd, &answer) == 0);
    CHECK(answer.kind == HELLO_ANSWER && answer.from == 1 && answer.to == 2);
    CHECK(world_stats(&world, 0).strangers == 0);
    world_close(&world);
}

static void test_parked_stranger_is_refused_when_its_record_failed(void)
{
    struct world world;
    world_start(&world, 2);
    world.nodes[0].check_result = RR_E_PENDING;
    struct hello hello = make_hello(&world, 2, 1), answer;
    int fd = stranger_hello(&world, 0, &hello);
    transport_accept_peer(world.nodes[0].transport, &world.nodes[0].last_checked, RR_E_POISONED);
    world_settle(&world);
    CHECK(stranger_answer(&world, fd, &answer) == 0 && answer.code == RR_E_POISONED);
    CHECK(world_is_connected(&world));
    world_close(&world);
}

static void test_of_two_parked_hellos_the_newer_stays(void)
{
    struct world world;
    world_start(&world, 2);
    world.nodes[0].check_result = RR_E_PENDING;
    struct hello hello = make_hello(&world, 2, 1), answer;
    int older = stranger_hello(&world, 0, &hello);
    int newer = stranger_hello(&world, 0, &hello);
    CHECK(world.nodes[0].checks == 4); /* two from the connections at the start */
    transport_accept_peer(world.nodes[0].transport, &world.nodes[0].last_checked, 0);
    world_settle(&world);
    CHECK(fake_is_closed(world.net, older) && !fake_is_closed(world.net, newer));
    CHECK(stranger_answer(&world, newer, &answer) == 0 && answer.kind == HELLO_ANSWER);
    world_close(&world);
}

static void test_newer_hello_replaces_the_older_connection(void)
{
    struct world world;
    world_start(&world, 2);
    struct hello hello = make_hello(&world, 2, 1), answer;
    int first = answer_to(&world, &hello, &answer);
    CHECK(answer.kind == HELLO_ANSWER);
    CHECK(world.nodes[1].downs == 1); /* node 2's own connection went */
    int second = answer_to(&world, &hello, &answer);
    CHECK(answer.kind == HELLO_ANSWER);
    CHECK(fake_is_closed(world.net, first) && !fake_is_closed(world.net, second));
    CHECK(world_stats(&world, 0).connections == 2); /* one of each direction */

    /* What still arrives on the older one is not read. */
    uint32_t size;
    struct rr_message message = make_message(RR_MSG_VOTE, 2, 1);
    uint8_t *frame = make_frame(1, &message, &size);
    fake_write(world.net, first, frame, size);
    fake_write(world.net, second, frame, size);
    world_settle(&world);
    CHECK(world.nodes[0].record_count == 1);
    free(frame);
    world_close(&world);
}

static void test_replaced_peer_settles_on_one_connection_again(void)
{
    struct world world;
    world_start(&world, 2);
    struct hello hello = make_hello(&world, 2, 1), answer;
    answer_to(&world, &hello, &answer);
    world_pass(&world, 1500 * MS); /* node 2 dials again, replacing ours */
    CHECK(world_is_connected(&world) && world.nodes[1].ups == 2);
    world_close(&world);
}

static void test_silent_stranger_is_closed_after_the_timeout(void)
{
    struct world world;
    world_start(&world, 2);
    int fd = fake_connect(world.net, world_port(&world, 0));
    world_settle(&world);
    CHECK(world_stats(&world, 0).strangers == 1);
    world_pass(&world, 4990 * MS);
    CHECK(!fake_is_closed(world.net, fd));
    world_pass(&world, 20 * MS);
    CHECK(fake_is_closed(world.net, fd) && world_stats(&world, 0).strangers == 0);
    world_close(&world);
}

static void test_dribbling_stranger_gets_no_longer_than_a_silent_one(void)
{
    struct world world;
    world_start(&world, 2);
    struct hello hello = make_hello(&world, 2, 1);
    uint8_t bytes[HELLO_SIZE];
    hello_put(&hello, bytes);
    int fd = fake_connect(world.net, world_port(&world, 0));
    for (uint32_t i = 0; i < 60 && !fake_is_closed(world.net, fd); i++) {
        fake_write(world.net, fd, bytes + i, 1);
        world_pass(&world, 100 * MS);
    }
    CHECK(fake_is_closed(world.net, fd));
    CHECK(world.net->now_ns <= 5200 * MS);
    world_close(&world);
}

static void test_hello_in_single_bytes_is_accepted(void)
{
    struct world world;
    world_start(&world, 2);
    struct hello hello = make_hello(&world, 2, 1), answer;
    uint8_t bytes[HELLO_SIZE];
    hello_put(&hello, bytes);
    int fd = fake_connect(world.net, world_port(&world, 0));
    for (uint32_t i = 0; i < HELLO_SIZE; i++) {
        fake_write(world.net, fd, bytes + i, 1);
        world_settle(&world);
    }
    CHECK(stranger_answer(&world, fd, &answer) == 0 && answer.kind == HELLO_ANSWER);
    world_close(&world);
}

static void test_thousand_connections_disturb_nothing(void)
{
    struct world world;
    world_start(&world, 2);
    uint64_t blocks = world_stats(&world, 0).block_bytes;
    struct rr_message message = make_message(RR_MSG_VOTE, 2, 1);
    int fds[1000];
    for (int i = 0; i < 1000; i++) {
        fds[i] = fake_connect(world.net, world_port(&world, 0));
        if (i % 10 == 0) {
            CHECK(world_send(&world, 1, &message) == 0);
            world_settle(&world);
        }
        CHECK(world_stats(&world, 0).strangers <= 64);
        CHECK(world_stats(&world, 0).block_bytes == blocks); /* nothing lent to strangers */
    }
    world_settle(&world);
    CHECK(world.nodes[0].record_count == 100 && world.nodes[1].downs == 0);
    CHECK(world_is_connected(&world));
    world_pass(&world, 6000 * MS);
    CHECK(world_stats(&world, 0).strangers == 0);
    for (int i = 0; i < 1000; i++)
        CHECK(fake_is_closed(world.net, fds[i]));
    world_close(&world);
}

static void test_full_of_silent_strangers_a_peer_still_gets_in(void)
{
    struct world world;
    world_init(&world);
    world_open(&world, 2);
    for (int i = 0; i < 200; i++)
        CHECK(fake_connect(world.net, world_port(&world, 0)) > 0);
    world_settle(&world);
    world_connect(&world);
    CHECK(world_is_connected(&world));
    world_close(&world);
}

static void test_accept_without_descriptors_pauses_and_goes_on(void)
{
    struct world world;
    world_init(&world);
    world_open(&world, 1);
    world_settle(&world);
    world.net->socket_failures = 3;
    int fd = fake_connect(world.net, world_port(&world, 0));
    world_pass(&world, 290 * MS);
    CHECK(world_stats(&world, 0).strangers == 0);
    world_pass(&world, 100 * MS);
    CHECK(world_stats(&world, 0).strangers == 1 && !fake_is_closed(world.net, fd));
    world_close(&world);
}

static void test_stranger_who_leaves_is_forgotten(void)
{
    struct world world;
    world_start(&world, 2);
    int fd = fake_connect(world.net, world_port(&world, 0));
    world_settle(&world);
    CHECK(world_stats(&world, 0).strangers == 1);
    fake_close(world.net, fd);
    world_settle(&world);
    CHECK(world_stats(&world, 0).strangers == 0);
    world_close(&world);
}

int main(void)
{
    RUN(test_refusals_are_told_apart_and_remembered);
    RUN(test_hello_of_another_version_is_refused_in_words);
    RUN(test_garbage_instead_of_hello_is_closed_without_a_word);
    RUN(test_stranger_is_read_no_further_than_its_hello);
    RUN(test_parked_stranger_is_admitted_when_its_record_is_durable);
    RUN(test_parked_stranger_is_refused_when_its_record_failed);
    RUN(test_of_two_parked_hellos_the_newer_stays);
    RUN(test_newer_hello_replaces_the_older_connection);
    RUN(test_replaced_peer_settles_on_one_connection_again);
    RUN(test_silent_stranger_is_closed_after_the_timeout);
    RUN(test_dribbling_stranger_gets_no_longer_than_a_silent_one);
    RUN(test_hello_in_single_bytes_is_accepted);
    RUN(test_thousand_connections_disturb_nothing);
    RUN(test_full_of_silent_strangers_a_peer_still_gets_in);
    RUN(test_accept_without_descriptors_pauses_and_goes_on);
    RUN(test_stranger_who_leaves_is_forgotten);
    return 0;
}
