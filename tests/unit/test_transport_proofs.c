/* SPDX-License-Identifier: Apache-2.0
 *
 * Nodes prove their past: each end of a connection names the nonce of the boot that the other asks
 * for, before anything is accepted; builds that cannot are not asked.
 */
#include "tests/unit/transport_world.h"

/* Whoever is asked for a boot had this nonce in it. */
#define NONCE_OF(boot) (7000 + (boot))

static uint64_t asked_boot; /* of every peer; 0: none */

static uint64_t ask_peer(void *ctx, const struct transport_peer *peer)
{
    (void)ctx;
    CHECK(peer->past_boot == 0 && peer->past_nonce == 0);
    return asked_boot;
}

static uint64_t past_nonce(void *ctx, uint64_t boot)
{
    (void)ctx;
    CHECK(boot != 0);
    return NONCE_OF(boot);
}

static void start(struct world *world, uint32_t count, uint64_t boot)
{
    asked_boot = boot;
    world_init(world);
    world->options.ask_peer = ask_peer;
    world->options.past_nonce = past_nonce;
    world_open(world, count);
}

static struct hello new_hello(const struct world *world, uint64_t from, uint64_t to)
{
    struct hello hello = make_hello(world, from, to);
    hello.feature_level = HELLO_LEVEL_PROOFS;
    hello.boot = 9;
    return hello;
}

/* Behind a hello and its answer, which asks for `boot`. */
static int greet(struct world *world, const struct hello *hello, uint64_t boot)
{
    struct hello answer;
    int fd = stranger_hello(world, 0, hello);
    CHECK(stranger_answer(world, fd, &answer) == 0 && answer.kind == HELLO_ANSWER);
    CHECK_EQ_U64(answer.asked, boot);
    return fd;
}

static void say(struct world *world, int fd, const struct hello *hello)
{
    uint8_t bytes[HELLO_SIZE];
    hello_put(hello, bytes);
    fake_write(world->net, fd, bytes, sizeof(bytes));
    world_settle(world);
}

static void test_both_ends_answer_what_they_are_asked(void)
{
    struct world world;
    start(&world, 3, 5);
    world_connect(&world);
    CHECK(world_is_connected(&world));
    for (uint32_t i = 0; i < 3; i++) {
        const struct transport_peer *peer = &world.nodes[i].last_checked;
        CHECK(peer->has_past && peer->past_boot == 5 && peer->past_nonce == NONCE_OF(5));
        CHECK_EQ_U64(world.nodes[i].checks, 4);
    }
    world_close(&world);
}

static void test_nothing_asked_is_nothing_answered(void)
{
    struct world world;
    start(&world, 2, 0);
    world_connect(&world);
    CHECK(world_is_connected(&world));
    const struct transport_peer *peer = &world.nodes[0].last_checked;
    CHECK(peer->has_past && peer->past_boot == 0 && peer->past_nonce == 0);
    world_close(&world);
}

/* The answer admits nobody: the peer is judged behind its proof, and what it asks is answered. */
static void test_dialler_is_judged_behind_its_proof(void)
{
    struct world world;
    start(&world, 1, 5);
    struct hello hello = new_hello(&world, 2, 1), proof = hello, answer;
    int fd = greet(&world, &hello, 5);
    CHECK(world.nodes[0].checks == 0 && world_stats(&world, 0).connections == 0);
    proof.kind = HELLO_PROOF;
    proof.boot = 5;
    proof.nonce = 4711;
    proof.asked = 3;
    say(&world, fd, &proof);
    const struct transport_peer *peer = &world.nodes[0].last_checked;
    CHECK(world.nodes[0].checks == 1 && peer->boot == 9 && peer->nonce == hello.nonce);
    CHECK(peer->has_past && peer->past_boot == 5 && peer->past_nonce == 4711);
    CHECK(stranger_answer(&world, fd, &answer) == 0 && answer.kind == HELLO_PROOF);
    CHECK(answer.boot == 3 && answer.nonce == NONCE_OF(3) && answer.asked == 0);
    CHECK(world_stats(&world, 0).connections == 1);
    world_close(&world);
}

static void test_refusal_behind_the_proof_comes_in_words(void)
{
    struct world world;
    start(&world, 1, 5);
    world.nodes[0].check_result = RR_E_INSTANCE;
    struct hello hello = new_hello(&world, 2, 1), proof = hello, answer;
    int fd = greet(&world, &hello, 5);
    proof.kind = HELLO_PROOF;
    proof.boot = 5;
    say(&world, fd, &proof);
    CHECK(stranger_answer(&world, fd, &answer) == 0 && answer.kind == HELLO_REFUSAL);
    CHECK(answer.code == RR_E_INSTANCE && fake_is_closed(world.net, fd));
    CHECK(world_stats(&world, 0).strangers == 0);
    world_close(&world);
}

/* Of another boot than was asked for, of another instance, or no proof at all. */
static void test_what_is_no_proof_ends_the_connection(void)
{
    for (int what = 0; what < 4; what++) {
        struct world world;
        start(&world, 1, 5);
        struct hello hello = new_hello(&world, 2, 1), proof = hello, answer;
        int fd = greet(&world, &hello, 5);
        proof.kind = what == 3 ? HELLO_ANSWER : HELLO_PROOF;
        proof.boot = what == 0 ? 6 : 5;
        proof.instance += what == 1;
        proof.from += what == 2;
        say(&world, fd, &proof);
        CHECK(stranger_answer(&world, fd, &answer) == RR_E_CLOSED);
        CHECK(fake_is_closed(world.net, fd) && world.nodes[0].checks == 0);
        CHECK_EQ_U64(world_stats(&world, 0).malformed, 1);
        world_close(&world);
    }
}

static void test_proof_without_a_hello_is_closed_without_a_word(void)
{
    struct world world;
    start(&world, 1, 5);
    struct hello proof = new_hello(&world, 2, 1), answer;
    proof.kind = HELLO_PROOF;
    int fd = stranger_hello(&world, 0, &proof);
    CHECK(stranger_answer(&world, fd, &answer) == RR_E_CLOSED && fake_is_closed(world.net, fd));
    world_close(&world);
}

/* Whoever falls silent between hello and proof holds a place no longer than any stranger. */
static void test_proof_that_does_not_come_is_not_waited_for(void)
{
    struct world world;
    start(&world, 1, 5);
    struct hello hello = new_hello(&world, 2, 1);
    int fd = greet(&world, &hello, 5);
    world_pass(&world, 6000 * MS);
    CHECK(fake_is_closed(world.net, fd) && world_stats(&world, 0).strangers == 0);
    world_close(&world);
}

static void test_older_build_is_not_asked(void)
{
    struct world world;
    start(&world, 1, 5);
    struct hello hello = make_hello(&world, 2, 1), answer;
    int fd = stranger_hello(&world, 0, &hello);
    CHECK(stranger_answer(&world, fd, &answer) == 0 && answer.kind == HELLO_ANSWER);
    CHECK(answer.asked == 0 && world_stats(&world, 0).connections == 1);
    CHECK(world.nodes[0].checks == 1 && !world.nodes[0].last_checked.has_past);
    world_close(&world);
}

int main(void)
{
    RUN(test_both_ends_answer_what_they_are_asked);
    RUN(test_nothing_asked_is_nothing_answered);
    RUN(test_dialler_is_judged_behind_its_proof);
    RUN(test_refusal_behind_the_proof_comes_in_words);
    RUN(test_what_is_no_proof_ends_the_connection);
    RUN(test_proof_without_a_hello_is_closed_without_a_word);
    RUN(test_proof_that_does_not_come_is_not_waited_for);
    RUN(test_older_build_is_not_asked);
    return 0;
}
