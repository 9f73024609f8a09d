/* SPDX-License-Identifier: Apache-2.0
 *
 * The dialling side: node 1 dials a listener that the test plays itself, byte by byte, or a real
 * node that comes and goes.
 */
#include "tests/unit/transport_world.h"

#define PORT 77

/* Node 1 alone, whose peer 2 is the test's own listener. */
static int start_alone(struct world *world)
{
    world_init(world);
    world_open(world, 1);
    int listener = fake_listen(world->net, PORT);
    struct io_address address = {.ip = 0x7f000001, .port = PORT};
    CHECK(transport_add_peer(world->nodes[0].transport, 2, &address, NULL) == 0);
    world_settle(world);
    return listener;
}

/* Accepts node 1's dial and reads its hello, which must be sound. */
static int receive_dial(struct world *world, int listener, struct hello *hello)
{
    int fd = fake_accept(world->net, listener);
    CHECK(fd > 0);
    CHECK(stranger_answer(world, fd, hello) == 0);
    CHECK(hello->kind == HELLO_DIAL && hello->from == 1 && hello->to == 2);
    return fd;
}

static struct hello make_answer(const struct world *world)
{
    struct hello hello = make_hello(world, 2, 1);
    hello.kind = HELLO_ANSWER;
    return hello;
}

static void say(struct world *world, int fd, const struct hello *hello)
{
    uint8_t bytes[HELLO_SIZE];
    hello_put(hello, bytes);
    fake_write(world->net, fd, bytes, sizeof(bytes));
    world_settle(world);
}

static void test_dial_says_hello_first_and_is_up_after_the_answer(void)
{
    struct world world;
    int listener = start_alone(&world);
    struct hello hello, answer = make_answer(&world);
    int fd = receive_dial(&world, listener, &hello);
    CHECK(hello.cluster == WORLD_CLUSTER && hello.instance == 1001 && hello.boot == 1);
    CHECK(world.nodes[0].ups == 0);
    say(&world, fd, &answer);
    CHECK(world.nodes[0].ups == 1 && transport_peer_is_up(world.nodes[0].transport, 2));
    CHECK(world.nodes[0].last_checked.node == 2 && world.nodes[0].last_checked.instance == 1002);
    world_close(&world);
}

static void test_dial_answer_in_single_bytes_is_understood(void)
{
    struct world world;
    world_init(&world);
    world.net->recv_max = world.net->send_max = 1;
    world_open(&world, 3);
    world_connect(&world);
    CHECK(world_is_connected(&world));
    world_close(&world);
}

static int refusal_after(int code, void (*change)(struct hello *answer))
{
    struct world world;
    int listener = start_alone(&world);
    struct hello hello, answer = make_answer(&world);
    int fd = receive_dial(&world, listener, &hello);
    world.nodes[0].check_result = code;
    change(&answer);
    say(&world, fd, &answer);
    CHECK(fake_is_closed(world.net, fd));
    CHECK(world.nodes[0].ups == 0 && world_stats(&world, 0).refused == 1);
    int refusal = transport_peer_refusal(world.nodes[0].transport, 2);
    world_close(&world);
    return refusal;
}

static void change_nothing(struct hello *answer)
{
    (void)answer;
}
static void change_cluster(struct hello *answer)
{
    answer->cluster++;
}
static void change_node(struct hello *answer)
{
    answer->from = 3;
}
static void change_limits(struct hello *answer)
{
    answer->entry_bytes_max++;
}
static void refuse_instance(struct hello *answer)
{
    *answer = (struct hello){.kind = HELLO_REFUSAL, .code = RR_E_INSTANCE, .to = 1};
}
static void refuse_version(struct hello *answer)
{
    *answer = (struct hello){.kind = HELLO_REFUSAL, .code = RR_E_VERSION, .to = 1};
}

static void test_dial_remembers_why_it_was_refused(void)
{
    CHECK(refusal_after(RR_E_INSTANCE, change_nothing) == RR_E_INSTANCE);
    CHECK(refusal_after(0, change_cluster) == RR_E_IDENTITY);
    CHECK(refusal_after(0, change_node) == RR_E_IDENTITY);
    CHECK(refusal_after(0, change_limits) == RR_E_INVALID);
    CHECK(refusal_after(0, refuse_instance) == RR_E_INSTANCE);
    CHECK(refusal_after(0, refuse_version) == RR_E_VERSION);
}

static void test_dial_garbage_as_answer_is_malformed(void)
{
    struct world world;
    int listener = start_alone(&world);
    struct hello hello;
    int fd = receive_dial(&world, listener, &hello);
    say(&world, fd, &hello); /* its own hello, echoed: not an answer */
    CHECK(fake_is_closed(world.net, fd) && world_stats(&world, 0).malformed == 1);
    world_pass(&world, 1000 * MS);
    fd = receive_dial(&world, listener, &hello);
    uint8_t garbage[HELLO_SIZE] = {1, 2, 3};
    fake_write(world.net, fd, garbage, sizeof(garbage));
    world_settle(&world);
    CHECK(fake_is_closed(world.net, fd) && world_stats(&world, 0).malformed == 2);
    world_close(&world);
}

static void test_dial_parks_until_the_record_is_durable(void)
{
    struct world world;
    int listener = start_alone(&world);
    struct hello hello, answer = make_answer(&world);
    int fd = receive_dial(&world, listener, &hello);
    world.nodes[0].check_result = RR_E_PENDING;
    say(&world, fd, &answer);
    CHECK(world.nodes[0].checks == 1 && world.nodes[0].ups == 0);
    struct transport_peer other = world.nodes[0].last_checked, who = other;
    other.boot++;
    transport_accept_peer(world.nodes[0].transport, &other, 0); /* somebody else's record */
    CHECK(world.nodes[0].ups == 0);
    transport_accept_peer(world.nodes[0].transport, &who, 0);
    CHECK(world.nodes[0].ups == 1);
    world_close(&world);
}

static void test_dial_parked_and_refused_closes(void)
{
    struct world world;
    int listener = start_alone(&world);
    struct hello hello, answer = make_answer(&world);
    int fd = receive_dial(&world, listener, &hello);
    world.nodes[0].check_result = RR_E_PENDING;
    say(&world, fd, &answer);
    transport_accept_peer(world.nodes[0].transport, &world.nodes[0].last_checked, RR_E_POISONED);
    world_settle(&world);
    CHECK(world.nodes[0].ups == 0 && fake_is_closed(world.net, fd));
    CHECK(transport_peer_refusal(world.nodes[0].transport, 2) == RR_E_POISONED);
    world_close(&world);
}

static void test_dial_gives_up_on_silence_after_the_timeout(void)
{
    struct world world;
    int listener = start_alone(&world);
    struct hello hello;
    int fd = receive_dial(&world, listener, &hello);
    world_pass(&world, 4990 * MS);
    CHECK(!fake_is_closed(world.net, fd));
    world_pass(&world, 20 * MS);
    CHECK(fake_is_closed(world.net, fd));
    world_pass(&world, 1000 * MS);
    receive_dial(&world, listener, &hello); /* and tries again */
    world_close(&world);
}

/* Behind a partition: the connection that is made when it is over must not be the first one. */
static void test_dial_gives_up_a_connect_that_nobody_answers(void)
{
    struct world world;
    world_init(&world);
    world.net->loses_connects = true;
    world_open(&world, 1);
    int listener = fake_listen(world.net, PORT);
    struct io_address address = {.ip = 0x7f000001, .port = PORT};
    CHECK(transport_add_peer(world.nodes[0].transport, 2, &address, NULL) == 0);
    world_settle(&world);
    int begun = world.net->end_count;
    world_pass(&world, 1990 * MS);
    CHECK(world.net->end_count == begun);
    world_pass(&world, 100 * MS);
    CHECK(world.net->end_count == begun + 1); /* another one */
    world.net->loses_connects = false;
    world_settle(&world);
    struct hello hello;
    receive_dial(&world, listener, &hello);
    world_close(&world);
}

static void test_dial_bytes_behind_the_answer_are_malformed(void)
{
    struct world world;
    int listener = start_alone(&world);
    struct hello hello, answer = make_answer(&world);
    int fd = receive_dial(&world, listener, &hello);
    say(&world, fd, &answer);
    fake_write(world.net, fd, "x", 1);
    world_settle(&world);
    CHECK(fake_is_closed(world.net, fd) && world_stats(&world, 0).malformed == 1);
    CHECK(world.nodes[0].downs == 1);
    world_close(&world);
}

static void test_dial_sees_the_peer_close_without_sending(void)
{
    struct world world;
    int listener = start_alone(&world);
    struct hello hello, answer = make_answer(&world);
    int fd = receive_dial(&world, listener, &hello);
    say(&world, fd, &answer);
    fake_close(world.net, fd);
    world_settle(&world);
    CHECK(world.nodes[0].downs == 1 && !transport_peer_is_up(world.nodes[0].transport, 2));
    world_close(&world);
}

/* Times at which node 1 dials within `ns`, when every connection is closed at once. */
static uint32_t count_dials(struct world *world, int listener, uint64_t ns, uint64_t *longest_gap)
{
    uint32_t dials = 0;
    uint64_t last = world->net->now_ns;
    *longest_gap = 0;
    for (uint64_t end = last + ns; world->net->now_ns < end;) {
        int fd = fake_accept(world->net, listener);
        if (fd > 0) {
            uint64_t gap = world->net->now_ns - last;
            *longest_gap = gap > *longest_gap ? gap : *longest_gap;
            last = world->net->now_ns;
            dials++;
            fake_close(world->net, fd);
        }
        world_pass(world, MS);
    }
    return dials;
}

static void test_dial_backs_off_to_a_second_with_jitter(void)
{
    struct world world;
    int listener = start_alone(&world);
    uint64_t gap;
    uint32_t early = count_dials(&world, listener, 1000 * MS, &gap);
    CHECK(early >= 5 && early <= 12); /* 10 20 40 80 160 320 640 ms, each at least half */
    uint32_t late = count_dials(&world, listener, 20000 * MS, &gap);
    CHECK(late >= 22 && late <= 40); /* a second each, less up to half of one */
    CHECK(gap >= 500 * MS && gap <= 1010 * MS);
    world_close(&world);
}

static void test_dial_after_a_refusal_waits_long(void)
{
    struct world world;
    int listener = start_alone(&world);
    struct hello hello, refusal = {.kind = HELLO_REFUSAL, .code = RR_E_NOT_FOUND, .to = 1};
    int fd = receive_dial(&world, listener, &hello);
    say(&world, fd, &refusal);
    world_pass(&world, 490 * MS);
    CHECK(fake_accept(world.net, listener) < 0);
    world_pass(&world, 520 * MS);
    CHECK(fake_accept(world.net, listener) > 0);
    world_close(&world);
}

static void test_dial_without_descriptors_tries_again(void)
{
    struct world world;
    world_init(&world);
    world.net->socket_failures = 2;
    world_open(&world, 2);
    world_connect(&world);
    CHECK(!world_is_connected(&world));
    world_pass(&world, 2500 * MS);
    CHECK(world_is_connected(&world));
    world_close(&world);
}

static void test_restarted_peer_is_reached_as_soon_as_it_calls(void)
{
    struct world world;
    world_start(&world, 2);
    uint16_t port = world_port(&world, 1);
    world_close_node(&world, 1);
    world_pass(&world, 10000 * MS); /* the backoff is long by now */
    CHECK(world.nodes[0].downs == 1);
    world_open_node(&world, 1, 2, port);
    world_know(&world, 1, 0);
    world_pass(&world, 5 * MS);
    CHECK(world_is_connected(&world) && world.nodes[0].ups == 2);
    CHECK(world.nodes[0].last_checked.boot == 2);
    world_close(&world);
}

static void test_call_of_a_restarted_peer_ends_a_half_open_connection(void)
{
    struct world world;
    world_start(&world, 2);
    struct hello hello = make_hello(&world, 2, 1);
    stranger_hello(&world, 0, &hello); /* the same boot: a reconnect, nothing else */
    CHECK(world.nodes[0].downs == 0);
    hello.boot = 2; /* node 2 lost power, and never said that our connection is gone */
    stranger_hello(&world, 0, &hello);
    CHECK(world.nodes[0].downs == 1);
    world_pass(&world, 20 * MS);
    CHECK(world.nodes[0].ups == 2);
    world_close(&world);
}

int main(void)
{
    RUN(test_dial_says_hello_first_and_is_up_after_the_answer);
    RUN(test_dial_answer_in_single_bytes_is_understood);
    RUN(test_dial_remembers_why_it_was_refused);
    RUN(test_dial_garbage_as_answer_is_malformed);
    RUN(test_dial_parks_until_the_record_is_durable);
    RUN(test_dial_parked_and_refused_closes);
    RUN(test_dial_gives_up_on_silence_after_the_timeout);
    RUN(test_dial_gives_up_a_connect_that_nobody_answers);
    RUN(test_dial_bytes_behind_the_answer_are_malformed);
    RUN(test_dial_sees_the_peer_close_without_sending);
    RUN(test_dial_backs_off_to_a_second_with_jitter);
    RUN(test_dial_after_a_refusal_waits_long);
    RUN(test_dial_without_descriptors_tries_again);
    RUN(test_restarted_peer_is_reached_as_soon_as_it_calls);
    RUN(test_call_of_a_restarted_peer_ends_a_half_open_connection);
    return 0;
}
