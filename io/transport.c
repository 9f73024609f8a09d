/* SPDX-License-Identifier: Apache-2.0
 *
 * The transport as its caller sees it: open, peers, the two ends of a turn, status. What happens on
 * a connection is in transport_dial.c, transport_accept.c, transport_recv.c and transport_send.c.
 */
#include "io/transport_impl.h"

#include "io/address.h"

#include <stdlib.h>
#include <string.h>

/* Idle blocks that are kept. */
#define SMALL_IDLE_MAX    64u
#define STANDARD_IDLE_MAX 16u
#define LARGE_IDLE_MAX    2u
/* No election timeout is worth more signs of life than 40 a second. */
#define SILENCE_MIN_NS UINT64_C(100000000)
#define SCRATCH_BYTES  (TRANSPORT_ENTRIES_MAX * sizeof(struct rr_entry))

/* ---- ops ----------------------------------------------------------------------------- */

static void op_done(struct io_op *io)
{
    struct transport_op *op = RR_CONTAINER_OF(io, struct transport_op, io);
    struct transport *transport = op->transport;
    RR_ASSERT(op->is_busy && !op->next && op != transport->done_last);
    if (transport->done_last)
        transport->done_last->next = op;
    else
        transport->done = op;
    transport->done_last = op;
}

void transport_op_init(struct transport_op *op, struct transport *transport,
                       void (*resume)(struct transport_op *op))
{
    *op = (struct transport_op){.transport = transport, .resume = resume};
    op->io.done = op_done;
}

void transport_op_submit(struct transport_op *op, enum io_kind kind, int fd,
                         const struct iovec *iov, uint32_t iov_count)
{
    RR_ASSERT(!op->is_busy && fd >= 0);
    op->io.kind = (uint8_t)kind;
    op->io.fd = fd;
    op->io.iov = iov;
    op->io.iov_count = iov_count;
    op->is_busy = true;
    io_submit(op->transport->io, &op->io);
}

void transport_op_cancel(struct transport_op *op)
{
    if (op->io.in_flight)
        io_cancel(op->transport->io, &op->io);
}

static void resume_done(struct transport *transport)
{
    while (transport->done) {
        struct transport_op *op = transport->done;
        transport->done = op->next;
        if (!transport->done)
            transport->done_last = NULL;
        op->next = NULL;
        op->is_busy = false;
        op->resume(op);
    }
}

/* ---- open ---------------------------------------------------------------------------- */

static void set_defaults(struct transport_options *options)
{
    if (options->send_queue_bytes_max == 0)
        options->send_queue_bytes_max = 4u * 1024 * 1024;
    if (options->block_bytes_max == 0)
        options->block_bytes_max = UINT64_MAX;
    if (options->stranger_count_max == 0)
        options->stranger_count_max = 64;
    if (options->stranger_timeout_ns == 0)
        options->stranger_timeout_ns = UINT64_C(5000000000);
    if (options->backoff_min_ns == 0)
        options->backoff_min_ns = UINT64_C(10000000);
    if (options->backoff_max_ns == 0)
        options->backoff_max_ns = UINT64_C(1000000000);
    if (options->silence_ns == 0)
        options->silence_ns = UINT64_C(1000000000);
}

static int check_options(const struct transport_options *options, struct rr_error *error)
{
    const struct transport_limits *limits = &options->limits;
    if (!options->io || !options->check_peer || !options->on_message)
        return rr_fail(error, RR_E_INVALID, "the transport needs io, check_peer and on_message");
    if (options->identity.node == RR_NONE || options->identity.instance == 0)
        return rr_fail(error, RR_E_INVALID, "node and instance id must not be 0");
    if (options->identity.loop_count != 1)
        return rr_fail(error, RR_E_NOT_SUPPORTED,
                       "%u loops: connections are not handed between loops yet; use one",
                       options->identity.loop_count);
    if (limits->entry_bytes_max == 0 || limits->frame_bytes_max < limits->entry_bytes_max ||
        limits->frame_bytes_max - limits->entry_bytes_max < 1024)
        return rr_fail(error, RR_E_INVALID,
                       "a frame of at most %u bytes has no room for an entry of %u and its message",
                       limits->frame_bytes_max, limits->entry_bytes_max);
    if (limits->frame_bytes_max > 64u * 1024 * 1024)
        return rr_fail(error, RR_E_INVALID, "frames of %u bytes; at most 64 MiB",
                       limits->frame_bytes_max);
    if (options->backoff_min_ns > options->backoff_max_ns)
        return rr_fail(error, RR_E_INVALID, "the shortest backoff is above the longest");
    return 0;
}

static int check_address(const struct transport_options *options, const struct io_address *address,
                         struct rr_error *error)
{
    if (options->allow_insecure || io_address_is_loopback(address))
        return 0;
    char text[IO_ADDRESS_TEXT_SIZE];
    io_address_format(address, text);
    return rr_fail(error, RR_E_BAD_ADDRESS,
                   "%s is not a loopback address: connections are not encrypted yet; set "
                   "insecure=1 if the network is trusted",
                   text);
}

static int start_listening(struct transport *transport, struct rr_error *error)
{
    const struct io_address *address = &transport->options.listen;
    int fd = transport->io->ops->listen(transport->io, address, &transport->bound);
    if (fd >= 0) {
        transport->listener = fd;
        return 0;
    }
    char text[IO_ADDRESS_TEXT_SIZE];
    io_address_format(address, text);
    return rr_fail(error, RR_E_BAD_ADDRESS, "cannot listen on %s: %s", text, strerror(-fd));
}

static struct hello own_hello(const struct transport_options *options)
{
    return (struct hello){
        .cluster = options->identity.cluster,
        .from = options->identity.node,
        .instance = options->identity.instance,
        .boot = options->boot,
        .nonce = options->nonce,
        .loop = 0,
        .loop_count = options->identity.loop_count,
        .feature_level = options->identity.feature_level,
        .entry_bytes_max = options->limits.entry_bytes_max,
        .frame_bytes_max = options->limits.frame_bytes_max,
    };
}

static bool take_memory(struct transport *transport)
{
    struct block_sizes *blocks = &transport->blocks;
    /* A frame of the largest size and, when it moves there, the spill behind its beginning. */
    uint32_t large =
        FRAME_HEADER_SIZE + transport->options.limits.frame_bytes_max + SMALL_BLOCK_SIZE;
    blocks->small = block_pool_new(SMALL_BLOCK_SIZE, SMALL_IDLE_MAX);
    blocks->standard = block_pool_new(STANDARD_BLOCK_SIZE, STANDARD_IDLE_MAX);
    blocks->large = block_pool_new(large, LARGE_IDLE_MAX);
    blocks->lent_bytes_max = transport->options.block_bytes_max;
    transport->scratch.cap = SCRATCH_BYTES;
    transport->scratch.bytes = malloc(SCRATCH_BYTES); /* pages are touched only as far as needed */
    return blocks->small && blocks->standard && blocks->large && transport->scratch.bytes;
}

static void give_memory_back(struct transport *transport)
{
    free(transport->scratch.bytes);
    block_pool_close(transport->blocks.large);
    block_pool_close(transport->blocks.standard);
    block_pool_close(transport->blocks.small);
}

int transport_open(const struct transport_options *options, struct transport **out,
                   struct rr_error *error)
{
    struct transport_options checked = *options;
    set_defaults(&checked);
    int err = check_options(&checked, error);
    if (err == 0)
        err = check_address(&checked, &checked.listen, error);
    if (err != 0)
        return err;
    struct transport *transport = calloc(1, sizeof(*transport));
    if (!transport)
        return rr_fail(error, RR_E_NO_MEMORY, "no memory for the transport");
    transport->options = checked;
    transport->io = checked.io;
    transport->hello = own_hello(&checked);
    accept_init(transport);
    err = RR_E_NO_MEMORY;
    if (!take_memory(transport)) {
        rr_fail(error, err, "no memory for the transport's buffers");
        goto fail_memory;
    }
    err = start_listening(transport, error);
    if (err != 0)
        goto fail_memory;
    if (transport->options.advertise.port == 0)
        transport->options.advertise = transport->bound;
    *out = transport;
    return 0;

fail_memory:
    give_memory_back(transport);
    free(transport);
    return err;
}

static void free_peer(struct peer *peer)
{
    send_queue_fini(&peer->queue);
    free(peer);
}

void transport_free(struct transport *transport)
{
    if (!transport)
        return;
    const struct io_ops *ops = transport->io->ops;
    const struct transport_op *accept = &transport->accept;
    RR_ASSERT(!accept->io.in_flight);
    if (accept->is_busy && accept->io.result >= 0) /* came at the very end, never resumed */
        ops->close(transport->io, (int)accept->io.result);
    while (transport->guests) {
        struct guest *guest = transport->guests;
        transport->guests = guest->next;
        if (guest->fd >= 0)
            ops->close(transport->io, guest->fd);
        guest_free(guest);
    }
    for (uint32_t i = 0; i < transport->peer_count; i++) {
        if (transport->peers[i]->dial.fd >= 0)
            ops->close(transport->io, transport->peers[i]->dial.fd);
        free_peer(transport->peers[i]);
    }
    ops->close(transport->io, transport->listener);
    give_memory_back(transport);
    free(transport);
}

struct io_address transport_bound(const struct transport *transport)
{
    return transport->bound;
}

/* ---- peers --------------------------------------------------------------------------- */

struct peer *transport_find_peer(const struct transport *transport, uint64_t node)
{
    for (uint32_t i = 0; i < transport->peer_count; i++) {
        struct peer *peer = transport->peers[i];
        if (peer->node == node && !peer->is_removed)
            return peer;
    }
    return NULL;
}

static int new_peer(struct transport *transport, uint64_t node, const struct io_address *address,
                    struct rr_error *error)
{
    if (transport->peer_count == TRANSPORT_PEERS_MAX)
        return rr_fail(error, RR_E_INVALID, "more than %u peers", TRANSPORT_PEERS_MAX);
    struct peer *peer = calloc(1, sizeof(*peer));
    if (!peer)
        return rr_fail(error, RR_E_NO_MEMORY, "no memory for a peer");
    peer->transport = transport;
    peer->node = node;
    peer->address = *address;
    dial_init(peer);
    int err =
        send_queue_init(&peer->queue, &transport->blocks, transport->options.send_queue_bytes_max);
    if (err != 0) {
        free(peer);
        return rr_fail(error, err, "no memory for a peer's send queue");
    }
    transport->peers[transport->peer_count++] = peer;
    return 0;
}

int transport_add_peer(struct transport *transport, uint64_t node, const struct io_address *address,
                       struct rr_error *error)
{
    if (node == RR_NONE || node == transport->options.identity.node)
        return rr_fail(error, RR_E_INVALID, "node %llu cannot be a peer of itself",
                       (unsigned long long)node);
    if (address->port == 0)
        return rr_fail(error, RR_E_BAD_ADDRESS, "node %llu cannot be dialled at port 0",
                       (unsigned long long)node);
    int err = check_address(&transport->options, address, error);
    if (err != 0)
        return err;
    struct peer *peer = transport_find_peer(transport, node);
    if (!peer)
        return new_peer(transport, node, address, error);
    if (!io_address_equal(&peer->address, address)) {
        peer->address = *address;
        peer->dial.deadline_ns = transport->now_ns; /* if it was waiting, no longer */
        dial_close(peer);
    }
    return 0;
}

struct peer *transport_new_guest_peer(struct transport *transport, uint64_t node)
{
    const struct io_address unknown = {0};
    if (new_peer(transport, node, &unknown, NULL) != 0)
        return NULL;
    return transport->peers[transport->peer_count - 1];
}

void transport_remove_peer(struct transport *transport, uint64_t node)
{
    struct peer *peer = transport_find_peer(transport, node);
    if (!peer)
        return;
    peer->is_removed = true;
    dial_close(peer);
    if (peer->guest)
        guest_close(peer->guest);
}

static bool is_same_peer(const struct transport_peer *a, const struct transport_peer *b)
{
    return a->node == b->node && a->instance == b->instance && a->boot == b->boot &&
           a->nonce == b->nonce;
}

void transport_accept_peer(struct transport *transport, const struct transport_peer *who, int err)
{
    struct peer *peer = transport_find_peer(transport, who->node);
    if (peer && peer->dial.state == DIAL_PARKED && is_same_peer(&peer->dial.who, who))
        dial_unpark(peer, err);
    bool is_replaced = false; /* youngest first: the older ones of the same peer are replaced */
    for (struct guest *guest = transport->guests; guest; guest = guest->next) {
        if (guest->state != GUEST_PARKED || !is_same_peer(&guest->who, who))
            continue;
        if (is_replaced)
            guest_close(guest);
        else
            guest_unpark(guest, err);
        is_replaced = err == 0;
    }
}

/* ---- proofs -------------------------------------------------------------------------- */

uint64_t transport_ask(const struct transport *transport, const struct transport_peer *who)
{
    const struct transport_options *options = &transport->options;
    return options->ask_peer ? options->ask_peer(options->ctx, who) : 0;
}

struct hello transport_proof(const struct transport *transport, uint64_t to, uint64_t boot)
{
    const struct transport_options *options = &transport->options;
    struct hello proof = transport->hello;
    proof.kind = HELLO_PROOF;
    proof.to = to;
    proof.boot = boot;
    proof.nonce = boot && options->past_nonce ? options->past_nonce(options->ctx, boot) : 0;
    return proof;
}

bool transport_take_proof(const struct hello *proof, struct transport_peer *who)
{
    if (proof->kind != HELLO_PROOF || proof->from != who->node ||
        proof->instance != who->instance || proof->boot != who->past_boot)
        return false;
    who->past_nonce = proof->nonce;
    return true;
}

/* ---- a turn -------------------------------------------------------------------------- */

void transport_limit_silence(struct transport *transport, uint64_t silence_ns)
{
    uint64_t long_enough = rr_max_u64(silence_ns, SILENCE_MIN_NS);
    transport->options.silence_ns = rr_min_u64(transport->options.silence_ns, long_enough);
}

void transport_receive(struct transport *transport, uint64_t now_ns)
{
    /* A stall of this loop says nothing about the others. */
    bool was_away = now_ns - transport->now_ns > transport->options.silence_ns / 2;
    transport->now_ns = now_ns;
    resume_done(transport);
    accept_tick(transport, was_away);
    for (uint32_t i = 0; i < transport->peer_count; i++)
        dial_tick(transport->peers[i]);
}

static void free_removed_peers(struct transport *transport)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < transport->peer_count; i++) {
        struct peer *peer = transport->peers[i];
        if (peer->is_removed && peer->dial.state == DIAL_IDLE) {
            RR_ASSERT(!peer->guest && !peer->dial.in.is_busy && !peer->dial.out.is_busy);
            free_peer(peer);
        } else {
            transport->peers[kept++] = peer;
        }
    }
    transport->peer_count = kept;
}

uint64_t transport_flush(struct transport *transport, uint64_t now_ns)
{
    transport->now_ns = now_ns;
    uint64_t deadline = UINT64_MAX;
    for (uint32_t i = 0; i < transport->peer_count; i++) {
        struct peer *peer = transport->peers[i];
        if (peer->guest)
            guest_arm(peer->guest);
        peer_start_send(peer);
        deadline = rr_min_u64(deadline, dial_deadline(peer));
    }
    free_removed_peers(transport);
    accept_flush(transport);
    return rr_min_u64(deadline, accept_deadline(transport));
}

/* ---- status -------------------------------------------------------------------------- */

void transport_stats(const struct transport *transport, struct transport_stats *stats)
{
    *stats = transport->stats;
    stats->block_bytes = block_sizes_lent(&transport->blocks);
    stats->strangers = transport->stranger_count;
    for (uint32_t i = 0; i < transport->peer_count; i++) {
        const struct peer *peer = transport->peers[i];
        stats->connections += peer->dial.state == DIAL_UP;
        stats->connections += peer->guest && peer->guest->state == GUEST_OPEN;
    }
}

int transport_peer_refusal(const struct transport *transport, uint64_t node)
{
    const struct peer *peer = transport_find_peer(transport, node);
    if (!peer)
        return 0;
    return peer->dial_refusal != 0 ? peer->dial_refusal : peer->guest_refusal;
}

uint32_t transport_peer_feature_level(const struct transport *transport, uint64_t node)
{
    const struct peer *peer = transport_find_peer(transport, node);
    return peer ? peer_level(peer) : 0;
}

bool transport_peer_is_up(const struct transport *transport, uint64_t node)
{
    const struct peer *peer = transport_find_peer(transport, node);
    return peer && peer->dial.state == DIAL_UP;
}
