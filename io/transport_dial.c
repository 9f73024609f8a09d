/* SPDX-License-Identifier: Apache-2.0
 *
 * The connections that we dial, on which we send (struct dial, transport_impl.h).
 *
 * Happy path: connect, our hello out, the peer's answer in (then our proof out, the peer's in), its
 * record durable, up: a receive stays armed to see the peer close. Failure path: whatever goes
 * wrong closes the connection; once both ops are back it is idle and dialled again after a pause
 * that doubles up to backoff_max, half of it random; after a refusal the pause is the longest at
 * once.
 */
#include "io/transport_impl.h"

/* A connect is given up after so many times what counts as silence. */
#define CONNECT_SILENCES 2u

static const uint16_t next_states[] = {
    [DIAL_IDLE] = 1 << DIAL_CONNECTING,
    [DIAL_CONNECTING] = 1 << DIAL_GREETING | 1 << DIAL_CLOSING,
    [DIAL_GREETING] = 1 << DIAL_LISTENING | 1 << DIAL_CLOSING,
    [DIAL_LISTENING] = 1 << DIAL_PROVING | 1 << DIAL_PARKED | 1 << DIAL_CLOSING,
    [DIAL_PROVING] = 1 << DIAL_HEARING | 1 << DIAL_CLOSING,
    [DIAL_HEARING] = 1 << DIAL_PARKED | 1 << DIAL_CLOSING,
    [DIAL_PARKED] = 1 << DIAL_UP | 1 << DIAL_CLOSING,
    [DIAL_UP] = 1 << DIAL_CLOSING,
    [DIAL_CLOSING] = 1 << DIAL_IDLE,
};

static void move(struct dial *dial, enum dial_state state)
{
    RR_ASSERT(next_states[dial->state] & (1 << state));
    dial->state = state;
}

static void begin(struct peer *peer)
{
    struct transport *transport = peer->transport;
    struct dial *dial = &peer->dial;
    RR_ASSERT(!dial->in.is_busy && !dial->out.is_busy && dial->fd < 0);
    uint64_t patience_ms = rr_max_u64(transport->options.silence_ns / 1000000, 1);
    int fd = transport->io->ops->socket(transport->io, (uint32_t)patience_ms);
    if (fd < 0) { /* no descriptors or memory: as if refused */
        dial->deadline_ns = transport->now_ns + transport->options.backoff_max_ns;
        return;
    }
    dial->fd = fd;
    dial->address = peer->address;
    dial->hello_bytes = 0;
    dial->was_refused = false;
    /* A first packet that is lost is sent again later and later: better a new connection. */
    dial->deadline_ns = transport->now_ns + CONNECT_SILENCES * transport->options.silence_ns;
    move(dial, DIAL_CONNECTING);
    dial->out.io.address = &dial->address;
    transport_op_submit(&dial->out, IO_CONNECT, fd, NULL, 0);
}

static void send_hello(struct dial *dial)
{
    dial->out_part = (struct iovec){.iov_base = dial->hello + dial->hello_bytes,
                                    .iov_len = HELLO_SIZE - dial->hello_bytes};
    dial->out.io.flags = 0;
    transport_op_submit(&dial->out, IO_SEND, dial->fd, &dial->out_part, 1);
}

static void receive_answer(struct dial *dial)
{
    dial->in_part = (struct iovec){.iov_base = dial->hello + dial->hello_bytes,
                                   .iov_len = HELLO_SIZE - dial->hello_bytes};
    transport_op_submit(&dial->in, IO_RECV, dial->fd, &dial->in_part, 1);
}

static void connected(struct peer *peer)
{
    struct dial *dial = &peer->dial;
    struct hello hello = peer->transport->hello;
    hello.kind = HELLO_DIAL;
    hello.to = peer->node;
    hello_put(&hello, dial->hello);
    dial->hello_bytes = 0;
    dial->deadline_ns = peer->transport->now_ns + peer->transport->options.stranger_timeout_ns;
    move(dial, DIAL_GREETING);
    send_hello(dial);
}

static void refused(struct peer *peer, int err)
{
    peer->dial_refusal = err;
    peer->dial.was_refused = true;
    peer->transport->stats.refused++;
    dial_close(peer);
}

static void up(struct peer *peer)
{
    struct transport *transport = peer->transport;
    struct dial *dial = &peer->dial;
    move(dial, DIAL_UP);
    dial->deadline_ns = transport->now_ns + transport->options.backoff_max_ns;
    dial->sent_ns = transport->now_ns;
    peer->dial_refusal = 0;
    /* Nothing is ever sent to a dialler behind the answer: this sees the close. */
    dial->in_part = (struct iovec){.iov_base = dial->hello, .iov_len = HELLO_SIZE};
    transport_op_submit(&dial->in, IO_RECV, dial->fd, &dial->in_part, 1);
    peer_introduce(peer);
    if (transport->options.on_peer_up)
        transport->options.on_peer_up(transport->options.ctx, peer->node);
}

/* A hello of this kind came, from whom we dialled; false: no, and the connection is over. */
static bool take_hello(struct peer *peer, enum hello_kind kind, struct hello *theirs)
{
    struct transport *transport = peer->transport;
    int err = hello_get(peer->dial.hello, theirs);
    bool is_refusal = err == 0 && theirs->kind == HELLO_REFUSAL;
    if (err == RR_E_MALFORMED || (err == 0 && !is_refusal && theirs->kind != kind)) {
        transport->stats.malformed++;
        dial_close(peer);
        return false;
    }
    if (is_refusal) {
        err = theirs->code;
        if (transport->options.on_refused)
            transport->options.on_refused(transport->options.ctx, peer->node, err);
    }
    if (err == 0) {
        struct hello ours = transport->hello;
        ours.to = peer->node;
        err = hello_check(&ours, theirs);
    }
    if (err != 0)
        refused(peer, err);
    return err == 0;
}

static void judge(struct peer *peer)
{
    struct transport *transport = peer->transport;
    struct dial *dial = &peer->dial;
    move(dial, DIAL_PARKED);
    int err = transport->options.check_peer(transport->options.ctx, &dial->who);
    if (err != RR_E_PENDING && dial->state == DIAL_PARKED) /* not removed by the callback */
        dial_unpark(peer, err);
}

static void answered(struct peer *peer)
{
    struct transport *transport = peer->transport;
    struct dial *dial = &peer->dial;
    struct hello theirs;
    if (!take_hello(peer, HELLO_ANSWER, &theirs))
        return;
    dial->who = transport_peer_of(transport, &theirs);
    peer->feature_level = theirs.feature_level;
    if (!dial->who.has_past) {
        judge(peer);
        return;
    }
    dial->who.past_boot = transport_ask(transport, &dial->who);
    struct hello proof = transport_proof(transport, peer->node, theirs.asked);
    proof.asked = dial->who.past_boot;
    hello_put(&proof, dial->hello);
    dial->hello_bytes = 0;
    move(dial, DIAL_PROVING);
    send_hello(dial);
}

static void heard(struct peer *peer)
{
    struct hello theirs;
    if (!take_hello(peer, HELLO_PROOF, &theirs))
        return;
    if (transport_take_proof(&theirs, &peer->dial.who)) {
        judge(peer);
    } else {
        peer->transport->stats.malformed++;
        dial_close(peer);
    }
}

void dial_unpark(struct peer *peer, int err)
{
    RR_ASSERT(peer->dial.state == DIAL_PARKED && err != RR_E_PENDING);
    if (err != 0)
        refused(peer, err);
    else
        up(peer);
}

static void out_done(struct transport_op *op)
{
    struct dial *dial = RR_CONTAINER_OF(op, struct dial, out);
    struct peer *peer = RR_CONTAINER_OF(dial, struct peer, dial);
    int64_t result = op->io.result;
    switch (dial->state) {
    case DIAL_CONNECTING:
        if (result < 0)
            dial_close(peer);
        else
            connected(peer);
        break;
    case DIAL_GREETING:
    case DIAL_PROVING:
        if (result <= 0) {
            dial_close(peer);
            break;
        }
        dial->hello_bytes += (uint32_t)result;
        RR_ASSERT(dial->hello_bytes <= HELLO_SIZE);
        if (dial->hello_bytes < HELLO_SIZE) {
            send_hello(dial);
            break;
        }
        dial->hello_bytes = 0;
        move(dial, dial->state == DIAL_GREETING ? DIAL_LISTENING : DIAL_HEARING);
        receive_answer(dial);
        break;
    case DIAL_UP:
        if (!peer_send_done(peer))
            dial_close(peer);
        break;
    default:
        RR_ASSERT(dial->state == DIAL_CLOSING);
    }
}

static void in_done(struct transport_op *op)
{
    struct dial *dial = RR_CONTAINER_OF(op, struct dial, in);
    struct peer *peer = RR_CONTAINER_OF(dial, struct peer, dial);
    int64_t result = op->io.result;
    switch (dial->state) {
    case DIAL_LISTENING:
    case DIAL_HEARING:
        if (result <= 0) {
            dial_close(peer);
            break;
        }
        dial->hello_bytes += (uint32_t)result;
        RR_ASSERT(dial->hello_bytes <= HELLO_SIZE);
        if (dial->hello_bytes < HELLO_SIZE)
            receive_answer(dial);
        else if (dial->state == DIAL_LISTENING)
            answered(peer);
        else
            heard(peer);
        break;
    case DIAL_UP:
        if (result > 0)
            peer->transport->stats.malformed++;
        dial_close(peer);
        break;
    default:
        RR_ASSERT(dial->state == DIAL_CLOSING);
    }
}

void dial_init(struct peer *peer)
{
    struct dial *dial = &peer->dial;
    *dial = (struct dial){.state = DIAL_IDLE, .fd = -1};
    transport_op_init(&dial->in, peer->transport, in_done);
    transport_op_init(&dial->out, peer->transport, out_done);
}

void dial_close(struct peer *peer)
{
    struct dial *dial = &peer->dial;
    if (dial->state == DIAL_IDLE || dial->state == DIAL_CLOSING)
        return;
    struct transport *transport = peer->transport;
    bool was_up = dial->state == DIAL_UP;
    if (was_up && transport->now_ns >= dial->deadline_ns)
        dial->attempt = 0;
    move(dial, DIAL_CLOSING);
    transport_op_cancel(&dial->in);
    transport_op_cancel(&dial->out);
    if (was_up && !peer->is_removed && transport->options.on_peer_down)
        transport->options.on_peer_down(transport->options.ctx, peer->node);
}

/* Both ops are back: the descriptor and what waited to be sent can go. */
static void closed(struct peer *peer)
{
    struct transport *transport = peer->transport;
    const struct transport_options *options = &transport->options;
    struct dial *dial = &peer->dial;
    transport->io->ops->close(transport->io, dial->fd);
    dial->fd = -1;
    transport->stats.dropped += send_queue_clear(&peer->queue);
    move(dial, DIAL_IDLE);

    uint64_t pause = options->backoff_max_ns;
    if (!dial->was_refused && dial->attempt < 32)
        pause = rr_min_u64(pause, options->backoff_min_ns << dial->attempt++);
    uint64_t jitter = transport->io->ops->random(transport->io) % (pause / 2 + 1);
    dial->deadline_ns = transport->now_ns + pause - jitter;
}

void dial_called(struct peer *peer, const struct transport_peer *who)
{
    struct dial *dial = &peer->dial;
    if (dial->state == DIAL_UP && who->boot > dial->who.boot)
        dial_close(peer);
    else if (dial->state == DIAL_IDLE)
        dial->deadline_ns = peer->transport->now_ns;
}

static bool may_dial(const struct peer *peer)
{
    return peer->dial.state == DIAL_IDLE && !peer->is_removed && peer->address.port != 0;
}

void dial_tick(struct peer *peer)
{
    struct dial *dial = &peer->dial;
    bool is_due = peer->transport->now_ns >= dial->deadline_ns;
    if (is_due && dial->state != DIAL_IDLE && dial->state != DIAL_UP)
        dial_close(peer);
    if (dial->state == DIAL_CLOSING && !dial->in.is_busy && !dial->out.is_busy)
        closed(peer);
    else if (is_due && may_dial(peer))
        begin(peer);
}

uint64_t dial_deadline(const struct peer *peer)
{
    const struct dial *dial = &peer->dial;
    if (dial->state == DIAL_UP)
        return peer_send_deadline(peer);
    if (dial->state == DIAL_IDLE && !may_dial(peer))
        return UINT64_MAX;
    if (dial->state ==
        DIAL_CLOSING) /* the last completion wakes us, unless there is none to come */
        return dial->in.is_busy || dial->out.is_busy ? UINT64_MAX : 0;
    return dial->deadline_ns;
}
