/* SPDX-License-Identifier: Apache-2.0
 *
 * The connections that we accept, on which we receive (struct guest, transport_impl.h).
 *
 * Happy path: a hello of fixed size in (our answer out, the peer's proof in), the peer's record
 * durable, our answer or proof out, open; an older connection of the same peer is closed at that
 * moment. Failure path: a stranger has its 96 bytes read and nothing else; it is refused in words
 * if they are a hello, and closed without a word if not. Strangers are bounded in count and time:
 * when the last place is taken, the one that has been here longest makes room (a peer's hello
 * follows its connect at once, a flood's does not), and nobody is accepted until a place is free.
 */
#include "io/transport_impl.h"

#include <stdlib.h>

static const uint16_t next_states[] = {
    [GUEST_HELLO] =
        1 << GUEST_ASKING | 1 << GUEST_PARKED | 1 << GUEST_REFUSING | 1 << GUEST_CLOSING,
    [GUEST_ASKING] = 1 << GUEST_PROVING | 1 << GUEST_CLOSING,
    [GUEST_PROVING] = 1 << GUEST_PARKED | 1 << GUEST_REFUSING | 1 << GUEST_CLOSING,
    [GUEST_PARKED] = 1 << GUEST_ANSWERING | 1 << GUEST_REFUSING | 1 << GUEST_CLOSING,
    [GUEST_ANSWERING] = 1 << GUEST_OPEN | 1 << GUEST_CLOSING,
    [GUEST_REFUSING] = 1 << GUEST_CLOSING,
    [GUEST_OPEN] = 1 << GUEST_CLOSING,
    [GUEST_CLOSING] = 0,
};

static void move(struct guest *guest, enum guest_state state)
{
    RR_ASSERT(next_states[guest->state] & (1 << state));
    guest->state = state;
}

static void receive_hello(struct guest *guest)
{
    guest->in_parts[0] = (struct iovec){.iov_base = guest->hello + guest->hello_bytes,
                                        .iov_len = HELLO_SIZE - guest->hello_bytes};
    transport_op_submit(&guest->in, IO_RECV, guest->fd, guest->in_parts, 1);
}

static void send_hello(struct guest *guest)
{
    guest->out_part = (struct iovec){.iov_base = guest->hello + guest->hello_bytes,
                                     .iov_len = HELLO_SIZE - guest->hello_bytes};
    transport_op_submit(&guest->out, IO_SEND, guest->fd, &guest->out_part, 1);
}

static void answer(struct guest *guest, struct hello hello)
{
    hello_put(&hello, guest->hello);
    guest->hello_bytes = 0;
    send_hello(guest);
}

/* Says why, as little as possible about us, and closes. */
static void refuse(struct guest *guest, uint64_t node, int err)
{
    struct transport *transport = guest->transport;
    struct peer *peer = transport_find_peer(transport, node);
    if (peer)
        peer->guest_refusal = err;
    transport->stats.refused++;
    move(guest, GUEST_REFUSING);
    answer(guest, (struct hello){.kind = HELLO_REFUSAL, .code = err, .to = node});
}

static struct hello answer_of(const struct guest *guest)
{
    struct hello hello = guest->transport->hello;
    hello.kind = HELLO_ANSWER;
    hello.flags = guest->is_snapshot ? HELLO_SNAPSHOT : 0;
    hello.to = guest->who.node;
    return hello;
}

/* A snapshot's connection proves nothing: whoever is not known as he is, comes again. */
static bool must_prove(const struct guest *guest)
{
    return guest->who.has_past && !guest->is_snapshot;
}

static void ask(struct guest *guest)
{
    struct hello hello = answer_of(guest);
    hello.asked = guest->who.past_boot = transport_ask(guest->transport, &guest->who);
    move(guest, GUEST_ASKING);
    answer(guest, hello);
}

static void let_in(struct guest *guest)
{
    struct hello hello = must_prove(guest)
                             ? transport_proof(guest->transport, guest->who.node, guest->asked)
                             : answer_of(guest);
    move(guest, GUEST_ANSWERING);
    answer(guest, hello);
}

/* It becomes the connection on which the peer sends. */
static void admit(struct guest *guest, struct peer *peer)
{
    struct transport *transport = guest->transport;
    if (peer->guest)
        guest_close(peer->guest);
    peer->feature_level = guest->feature_level;
    RR_ASSERT(!peer->guest && !guest->peer && transport->stranger_count > 0);
    peer->guest = guest;
    peer->guest_refusal = 0;
    guest->peer = peer;
    transport->stranger_count--;
    let_in(guest);
    dial_called(peer, &guest->who);
}

void guest_unpark(struct guest *guest, int err)
{
    RR_ASSERT(guest->state == GUEST_PARKED && err != RR_E_PENDING);
    struct peer *peer = transport_find_peer(guest->transport, guest->who.node);
    if (err == 0 && !peer)
        err = RR_E_NOT_FOUND; /* removed meanwhile */
    if (err != 0)
        refuse(guest, guest->who.node, err);
    else if (guest->is_snapshot)
        let_in(guest);
    else
        admit(guest, peer);
}

static int may_stream(const struct transport *transport)
{
    if (!transport->streams)
        return RR_E_NOT_SUPPORTED;
    return snapshot_streams_have_room(transport->streams) ? 0 : RR_E_BUSY;
}

/* It was answered and goes where it belongs. */
static void hand_over(struct guest *guest)
{
    struct transport *transport = guest->transport;
    if (transport->streams &&
        snapshot_streams_accept(transport->streams, guest->fd, guest->who.node))
        guest->fd = -1;
    guest_close(guest);
}

/* A sound hello of this kind came; false: it did not, and the connection is over. */
static bool take_hello(struct guest *guest, enum hello_kind kind, struct hello *theirs)
{
    struct transport *transport = guest->transport;
    *theirs = (struct hello){.from = 0};
    int err = hello_get(guest->hello, theirs);
    if (err == RR_E_MALFORMED || (err == 0 && theirs->kind != kind)) {
        transport->stats.malformed++;
        guest_close(guest);
        return false;
    }
    if (err == 0)
        err = hello_check(&transport->hello, theirs);
    guest->is_snapshot = theirs->flags & HELLO_SNAPSHOT;
    if (err == 0 && guest->is_snapshot)
        err = may_stream(transport);
    if (err != 0)
        refuse(guest, theirs->from, err);
    return err == 0;
}

static void judge(struct guest *guest)
{
    struct transport *transport = guest->transport;
    uint64_t node = guest->who.node;
    move(guest, GUEST_PARKED);
    int err = transport->options.check_peer(transport->options.ctx, &guest->who);
    if (err == RR_E_PENDING && guest->is_snapshot)
        err = RR_E_BUSY; /* its message connection will see to the record */
    bool is_let_in = (err == 0 || err == RR_E_PENDING) && !guest->is_snapshot;
    if (is_let_in && !transport_find_peer(transport, node) &&
        !transport_new_guest_peer(transport, node))
        err = RR_E_BUSY;
    if (err != RR_E_PENDING && guest->state == GUEST_PARKED) /* not accepted by the callback */
        guest_unpark(guest, err);
}

static void greeted(struct guest *guest)
{
    struct hello theirs;
    if (!take_hello(guest, HELLO_DIAL, &theirs))
        return;
    guest->who = transport_peer_of(guest->transport, &theirs);
    guest->feature_level = theirs.feature_level;
    if (must_prove(guest))
        ask(guest);
    else
        judge(guest);
}

static void proved(struct guest *guest)
{
    struct hello theirs;
    if (!take_hello(guest, HELLO_PROOF, &theirs))
        return;
    guest->asked = theirs.asked;
    if (!guest->is_snapshot && transport_take_proof(&theirs, &guest->who)) {
        judge(guest);
    } else {
        guest->transport->stats.malformed++;
        guest_close(guest);
    }
}

static void in_done(struct transport_op *op)
{
    struct guest *guest = RR_CONTAINER_OF(op, struct guest, in);
    int64_t result = op->io.result;
    switch (guest->state) {
    case GUEST_HELLO:
    case GUEST_PROVING:
        if (result <= 0) {
            guest_close(guest);
            break;
        }
        guest->hello_bytes += (uint32_t)result;
        RR_ASSERT(guest->hello_bytes <= HELLO_SIZE);
        if (guest->hello_bytes < HELLO_SIZE)
            receive_hello(guest);
        else if (guest->state == GUEST_HELLO)
            greeted(guest);
        else
            proved(guest);
        break;
    case GUEST_OPEN:
        guest_receive(guest);
        break;
    default:
        RR_ASSERT(guest->state == GUEST_CLOSING);
    }
}

static void out_done(struct transport_op *op)
{
    struct guest *guest = RR_CONTAINER_OF(op, struct guest, out);
    int64_t result = op->io.result;
    if (guest->state == GUEST_CLOSING)
        return;
    RR_ASSERT(guest->state == GUEST_ASKING || guest->state == GUEST_ANSWERING ||
              guest->state == GUEST_REFUSING);
    if (result <= 0) {
        guest_close(guest);
        return;
    }
    guest->hello_bytes += (uint32_t)result;
    RR_ASSERT(guest->hello_bytes <= HELLO_SIZE);
    if (guest->hello_bytes < HELLO_SIZE) {
        send_hello(guest);
    } else if (guest->state == GUEST_ASKING) {
        guest->hello_bytes = 0;
        move(guest, GUEST_PROVING);
        receive_hello(guest);
    } else if (guest->is_snapshot && guest->state == GUEST_ANSWERING) {
        hand_over(guest);
    } else if (guest->state == GUEST_REFUSING || !guest_open(guest)) {
        guest_close(guest);
    } else {
        move(guest, GUEST_OPEN);
    }
}

static struct guest *new_guest(struct transport *transport, int fd)
{
    struct guest *guest = calloc(1, sizeof(*guest));
    if (!guest)
        return NULL;
    guest->transport = transport;
    guest->state = GUEST_HELLO;
    guest->fd = fd;
    guest->deadline_ns = transport->now_ns + transport->options.stranger_timeout_ns;
    transport_op_init(&guest->in, transport, in_done);
    transport_op_init(&guest->out, transport, out_done);
    guest->next = transport->guests;
    transport->guests = guest;
    transport->stranger_count++;
    return guest;
}

void guest_free(struct guest *guest)
{
    rr_block_put(guest->block, 1);
    rr_block_put(guest->spill, 1);
    free(guest);
}

void guest_close(struct guest *guest)
{
    if (guest->state == GUEST_CLOSING)
        return;
    move(guest, GUEST_CLOSING);
    if (guest->peer) {
        RR_ASSERT(guest->peer->guest == guest);
        guest->peer->guest = NULL;
        guest->peer = NULL;
        guest->transport->stranger_count++; /* it takes a place until it is freed */
    }
    transport_op_cancel(&guest->in);
    transport_op_cancel(&guest->out);
}

/* The list is youngest first: the last that is not closing yet has been here longest. */
static void evict_oldest_stranger(struct transport *transport)
{
    struct guest *oldest = NULL;
    for (struct guest *guest = transport->guests; guest; guest = guest->next)
        if (!guest->peer) {
            if (guest->state == GUEST_CLOSING)
                return; /* a place is about to be free */
            oldest = guest;
        }
    if (oldest) {
        transport->stats.refused++;
        guest_close(oldest);
    }
}

static void accepted(struct transport_op *op)
{
    struct transport *transport = op->transport;
    int64_t result = op->io.result;
    if (result < 0) {
        transport->accept_at_ns = transport->now_ns + ACCEPT_RETRY_NS;
        return;
    }
    struct guest *guest = new_guest(transport, (int)result);
    if (!guest) {
        transport->io->ops->close(transport->io, (int)result);
        transport->accept_at_ns = transport->now_ns + ACCEPT_RETRY_NS;
        return;
    }
    receive_hello(guest);
    if (transport->stranger_count >= transport->options.stranger_count_max)
        evict_oldest_stranger(transport);
}

void accept_init(struct transport *transport)
{
    transport_op_init(&transport->accept, transport, accepted);
}

void accept_tick(struct transport *transport, bool was_away)
{
    uint64_t now_ns = transport->now_ns;
    for (struct guest *guest = transport->guests; guest; guest = guest->next) {
        bool is_open = guest->state == GUEST_OPEN;
        if (is_open && was_away)
            guest->deadline_ns =
                rr_max_u64(guest->deadline_ns, now_ns + transport->options.silence_ns / 2);
        if (guest->state == GUEST_CLOSING || now_ns < guest->deadline_ns)
            continue;
        transport->stats.silent += is_open;
        guest_close(guest);
    }
}

static bool is_freeable(const struct guest *guest)
{
    return guest->state == GUEST_CLOSING && !guest->in.is_busy && !guest->out.is_busy;
}

void accept_flush(struct transport *transport)
{
    struct guest **at = &transport->guests;
    while (*at) {
        struct guest *guest = *at;
        if (!is_freeable(guest)) {
            at = &guest->next;
            continue;
        }
        *at = guest->next;
        RR_ASSERT(transport->stranger_count > 0);
        transport->stranger_count--;
        if (guest->fd >= 0)
            transport->io->ops->close(transport->io, guest->fd);
        guest_free(guest);
    }
    if (!transport->accept.is_busy && transport->now_ns >= transport->accept_at_ns &&
        transport->stranger_count < transport->options.stranger_count_max)
        transport_op_submit(&transport->accept, IO_ACCEPT, transport->listener, NULL, 0);
}

uint64_t accept_deadline(const struct transport *transport)
{
    uint64_t deadline = transport->accept.is_busy ? UINT64_MAX : transport->accept_at_ns;
    if (transport->stranger_count >= transport->options.stranger_count_max)
        deadline = UINT64_MAX; /* a guest's completion frees a place */
    for (const struct guest *guest = transport->guests; guest; guest = guest->next)
        if (guest->state != GUEST_CLOSING)
            deadline = rr_min_u64(deadline, guest->deadline_ns);
    return deadline;
}
