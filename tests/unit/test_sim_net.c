/* SPDX-License-Identifier: Apache-2.0
 *
 * The network model's promises: bytes arrive in order, cut anywhere, never beyond the window; cuts
 * hold them; the end of a peer is seen later, or never when its machine lost power.
 */
#include "io/sim/sim.h"

#include "tests/unit/check.h"

#include <errno.h>

#define SECOND 1000000000ull

/* A process with one stream: it counts what it may send and checks what it receives. */
struct peer {
    struct sim *sim;
    struct io *io;
    struct io_op accept, connect, send, recv;
    struct iovec send_iov, recv_iov;
    struct io_address address;
    int fd;
    uint64_t to_send, sent, received;
    uint64_t short_sends;
    int64_t connect_result, send_error, recv_end;
    bool has_ended;
    uint8_t out[10000], in[3000];
};

static uint8_t byte_at(uint64_t position)
{
    return (uint8_t)(position * 131 + position / 251);
}

static struct peer *peer_of(struct io_op *op, size_t offset)
{
    return (struct peer *)((char *)op - offset);
}

static void start_send(struct peer *peer);

static void send_done(struct io_op *op)
{
    struct peer *peer = peer_of(op, offsetof(struct peer, send));
    if (op->result < 0) {
        peer->send_error = op->result;
        return;
    }
    CHECK(op->result > 0 && (size_t)op->result <= peer->send_iov.iov_len);
    peer->short_sends += (size_t)op->result < peer->send_iov.iov_len;
    peer->sent += (uint64_t)op->result;
    start_send(peer);
}

static void start_send(struct peer *peer)
{
    if (peer->sent == peer->to_send)
        return;
    size_t size = sizeof(peer->out);
    if (peer->to_send - peer->sent < size)
        size = (size_t)(peer->to_send - peer->sent);
    for (size_t i = 0; i < size; i++)
        peer->out[i] = byte_at(peer->sent + i);
    peer->send_iov = (struct iovec){peer->out, size};
    peer->send = (struct io_op){
        .done = send_done, .kind = IO_SEND, .fd = peer->fd, .iov = &peer->send_iov, .iov_count = 1};
    io_submit(peer->io, &peer->send);
}

static void start_recv(struct peer *peer);

static void recv_done(struct io_op *op)
{
    struct peer *peer = peer_of(op, offsetof(struct peer, recv));
    if (op->result <= 0) {
        peer->recv_end = op->result;
        peer->has_ended = true;
        return;
    }
    for (int64_t i = 0; i < op->result; i++)
        CHECK(peer->in[i] == byte_at(peer->received + (uint64_t)i));
    peer->received += (uint64_t)op->result;
    start_recv(peer);
}

static void start_recv(struct peer *peer)
{
    peer->recv_iov = (struct iovec){peer->in, sizeof(peer->in)};
    peer->recv = (struct io_op){
        .done = recv_done, .kind = IO_RECV, .fd = peer->fd, .iov = &peer->recv_iov, .iov_count = 1};
    io_submit(peer->io, &peer->recv);
}

static void accept_done(struct io_op *op)
{
    struct peer *peer = peer_of(op, offsetof(struct peer, accept));
    if (op->result < 0)
        return;
    peer->fd = (int)op->result;
    start_recv(peer);
    start_send(peer);
}

static void connect_done(struct io_op *op)
{
    struct peer *peer = peer_of(op, offsetof(struct peer, connect));
    peer->connect_result = op->result;
    if (op->result < 0)
        return;
    start_recv(peer);
    start_send(peer);
}

static bool turn(void *ctx, uint64_t now_ns, uint64_t *deadline_ns)
{
    (void)ctx;
    (void)now_ns;
    (void)deadline_ns;
    return true;
}

static struct peer *peer_new(struct sim *sim, uint32_t number)
{
    struct peer *peer = calloc(1, sizeof(*peer));
    CHECK(peer);
    peer->sim = sim;
    peer->io = sim_machine(sim, number);
    peer->connect_result = 1;
    CHECK(peer->io->ops->start(peer->io, turn, NULL) == 0);
    return peer;
}

static void peer_listen(struct peer *peer, uint32_t number)
{
    struct io_address address = sim_address(number, 7001);
    int fd = peer->io->ops->listen(peer->io, &address, NULL);
    CHECK(fd >= 0);
    peer->accept = (struct io_op){.done = accept_done, .kind = IO_ACCEPT, .fd = fd};
    io_submit(peer->io, &peer->accept);
}

static void peer_connect(struct peer *peer, uint32_t number)
{
    peer->address = sim_address(number, 7001);
    peer->fd = peer->io->ops->socket(peer->io, 0);
    peer->connect = (struct io_op){
        .done = connect_done, .kind = IO_CONNECT, .fd = peer->fd, .address = &peer->address};
    io_submit(peer->io, &peer->connect);
}

static void peer_free(struct peer *peer, uint32_t number)
{
    sim_kill(peer->sim, number);
    peer->io->ops->join(peer->io);
    free(peer);
}

/* Machine 1 listens, machine 2 has connected to it. */
struct pair {
    struct sim *sim;
    struct peer *server, *client;
};

static struct pair pair_new(uint64_t seed)
{
    struct sim *sim = sim_new(seed);
    struct pair pair = {sim, peer_new(sim, 1), peer_new(sim, 2)};
    peer_listen(pair.server, 1);
    peer_connect(pair.client, 1);
    sim_run_until(sim, sim_now(sim) + SECOND);
    CHECK(pair.client->connect_result == 0 && pair.server->fd != 0);
    return pair;
}

static void pair_run(struct pair *pair, uint64_t ns)
{
    sim_run_until(pair->sim, sim_now(pair->sim) + ns);
}

static void pair_free(struct pair *pair)
{
    peer_free(pair->server, 1);
    peer_free(pair->client, 2);
    sim_free(pair->sim);
}

static void send_more(struct peer *peer, uint64_t size)
{
    bool was_idle = peer->sent == peer->to_send;
    peer->to_send += size;
    if (was_idle)
        start_send(peer);
}

static void test_bytes_both_ways_arrive_in_order(void)
{
    uint64_t short_sends = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct pair pair = pair_new(seed);
        send_more(pair.server, 300000);
        send_more(pair.client, 200000);
        pair_run(&pair, 20 * SECOND);
        CHECK_EQ_U64(pair.client->received, 300000);
        CHECK_EQ_U64(pair.server->received, 200000);
        short_sends += pair.client->short_sends;
        pair_free(&pair);
    }
    CHECK(short_sends > 0);
}

static void test_sender_without_reader_stops_at_the_window(void)
{
    struct pair pair = pair_new(1);
    io_cancel(pair.server->io, &pair.server->recv);
    pair_run(&pair, SECOND);
    CHECK(pair.server->recv_end == -ECANCELED);
    send_more(pair.client, 1000000);
    pair_run(&pair, 5 * SECOND);
    uint64_t window = pair.client->sent;
    CHECK(window >= 2048 && window <= 131072 && pair.client->send.in_flight);
    start_recv(pair.server);
    pair_run(&pair, 60 * SECOND);
    CHECK_EQ_U64(pair.server->received, 1000000);
    pair_free(&pair);
}

static void test_cut_holds_bytes_one_way_and_heals_by_resuming_or_reset(void)
{
    uint32_t resumed = 0, was_reset = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct pair pair = pair_new(seed);
        sim_cut(pair.sim, 2, 1, true);
        send_more(pair.client, 1000);
        send_more(pair.server, 1000);
        pair_run(&pair, 5 * SECOND);
        CHECK_EQ_U64(pair.server->received, 0);
        CHECK_EQ_U64(pair.client->received, 1000);
        sim_cut(pair.sim, 2, 1, false);
        pair_run(&pair, 5 * SECOND);
        if (pair.server->has_ended) {
            CHECK(pair.server->recv_end == -ECONNRESET && pair.client->recv_end == -ECONNRESET);
            was_reset++;
        } else {
            CHECK_EQ_U64(pair.server->received, 1000);
            resumed++;
        }
        pair_free(&pair);
    }
    CHECK(resumed > 0 && was_reset > 0);
}

static void test_cut_of_acknowledgements_closes_the_window(void)
{
    struct pair pair = pair_new(2);
    sim_cut(pair.sim, 1, 2, true);
    send_more(pair.client, 1000000);
    pair_run(&pair, 5 * SECOND);
    CHECK(pair.client->sent <= 131072 && pair.server->received == pair.client->sent);
    sim_cut(pair.sim, 1, 2, false);
    pair_run(&pair, 60 * SECOND);
    CHECK_EQ_U64(pair.server->received, 1000000);
    pair_free(&pair);
}

static void test_peer_sees_shutdown_after_the_last_byte(void)
{
    struct pair pair = pair_new(1);
    send_more(pair.client, 1000);
    while (pair.client->sent < 1000)
        CHECK(sim_step(pair.sim));
    pair.client->io->ops->shutdown(pair.client->io, pair.client->fd);
    pair_run(&pair, SECOND);
    CHECK_EQ_U64(pair.server->received, 1000);
    CHECK(pair.server->has_ended && pair.server->recv_end == 0);
    CHECK(pair.client->has_ended && pair.client->recv_end == 0);
    pair_free(&pair);
}

static void test_killed_peer_is_seen_and_a_send_to_it_is_reset(void)
{
    struct pair pair = pair_new(1);
    sim_kill(pair.sim, 1);
    pair_run(&pair, SECOND);
    CHECK(pair.client->has_ended && pair.client->recv_end == 0);
    send_more(pair.client, 100000);
    pair_run(&pair, SECOND);
    send_more(pair.client, 1);
    pair_run(&pair, SECOND);
    CHECK(pair.client->send_error == -ECONNRESET);
    pair_free(&pair);
}

static void test_powerless_peer_is_silent_until_it_is_up_and_spoken_to(void)
{
    struct pair pair = pair_new(1);
    sim_power_loss(pair.sim, 1, SIM_LOSE_ALL);
    send_more(pair.client, 100);
    pair_run(&pair, 5 * SECOND);
    CHECK(!pair.client->has_ended);
    pair.server->io->ops->join(pair.server->io);
    sim_reset(pair.sim, 1);
    pair_run(&pair, 5 * SECOND);
    CHECK(pair.client->has_ended && pair.client->recv_end == -ECONNRESET);
    pair_free(&pair);
}

static void test_connect_without_listener_is_refused_and_over_a_cut_times_out(void)
{
    struct sim *sim = sim_new(1);
    struct peer *server = peer_new(sim, 1), *client = peer_new(sim, 2);

    peer_connect(client, 1);
    sim_run_until(sim, sim_now(sim) + SECOND);
    CHECK(client->connect_result == -ECONNREFUSED);

    client->io->ops->close(client->io, client->fd);
    peer_listen(server, 1);
    sim_cut(sim, 2, 1, true);
    client->connect_result = 1;
    peer_connect(client, 1);
    sim_run_until(sim, sim_now(sim) + SECOND);
    CHECK(client->connect_result == 1);
    sim_run_until(sim, sim_now(sim) + 5 * SECOND);
    CHECK(client->connect_result == -ETIMEDOUT);
    peer_free(server, 1);
    peer_free(client, 2);
    sim_free(sim);
}

static void test_second_listener_on_a_port_is_refused(void)
{
    struct sim *sim = sim_new(1);
    struct io *io = sim_machine(sim, 1);
    struct io_address any = sim_address(1, 0), bound;

    CHECK(io->ops->listen(io, &any, &bound) >= 0 && bound.port != 0);
    CHECK(io->ops->listen(io, &bound, NULL) == -EADDRINUSE);
    sim_free(sim);
}

int main(void)
{
    RUN(test_bytes_both_ways_arrive_in_order);
    RUN(test_sender_without_reader_stops_at_the_window);
    RUN(test_cut_holds_bytes_one_way_and_heals_by_resuming_or_reset);
    RUN(test_cut_of_acknowledgements_closes_the_window);
    RUN(test_peer_sees_shutdown_after_the_last_byte);
    RUN(test_killed_peer_is_seen_and_a_send_to_it_is_reset);
    RUN(test_powerless_peer_is_silent_until_it_is_up_and_spoken_to);
    RUN(test_connect_without_listener_is_refused_and_over_a_cut_times_out);
    RUN(test_second_listener_on_a_port_is_refused);
    return 0;
}
