/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages are all of one size in a run and carry it in their first four bytes; the rest is one
 * constant buffer, so a send needs no copy and a lagging follower no memory. Everything but the run
 * request belongs to the loop thread.
 */
#include "bench/floor_node.h"

#include "bench/control.h"
#include "bench/histogram.h"
#include "io/backend.h"
#include "io/identity.h"
#include "io/wal.h"
#include "proto/base.h"

#include <ringraft/ringraft.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WINDOW_MAX       64u
#define MESSAGE_MAX      (1u << 20)
#define MESSAGE_OVERHEAD 160u /* what the log adds to an entry: headers and encoding */
#define SEND_PARTS       16u
#define STREAM_BYTES     (4u << 20)
#define SEGMENT_BYTES    (64ull << 20)
#define COMPACT_BYTES    (16ull << 20)
#define PENDING          4096u /* staged messages that are not durable yet */

struct link {
    struct floor_node *node;
    struct io_op connect, send, recv;
    struct iovec send_parts[SEND_PARTS];
    struct iovec recv_part;
    struct io_address address;
    int fd;
    bool is_connected;
    bool is_sending;
    uint64_t to_send;   /* bytes of messages (leader) or acknowledgements (follower) not handed to a
                           send */
    uint64_t sent_part; /* bytes of the first message that are already out */
    uint64_t acked;     /* messages the other side has durably */
    uint64_t ack_out;   /* follower: the count in flight */
    uint8_t ack_bytes[8];
    size_t stream_used;
    uint8_t *stream;
};

struct floor_run {
    uint32_t size, window, warmup_ms, window_ms;
};

struct floor_node {
    struct control control;
    struct io *io;
    struct wal *wal;
    uint32_t id, node_count;
    int listener;
    struct io_op accept;
    struct link
        links[BENCH_NODES_MAX]; /* leader: to each follower; follower: [0], from the leader */
    uint8_t *message;
    /* the log */
    uint64_t index; /* last entry staged */
    uint64_t durable_seq;
    struct {
        uint64_t seq, count;
    } pending[PENDING];
    uint32_t pending_head, pending_tail;
    uint64_t staged, durable; /* messages */
    uint64_t compacted_bytes;
    /* the run */
    struct floor_run run;
    _Atomic bool is_requested, is_done;
    bool is_running;
    uint64_t begin_ns, end_ns; /* of the window */
    uint64_t committed, window_messages;
    uint64_t starts[WINDOW_MAX];
    struct histogram latency;
    struct wal_stats before, after;
    uint64_t lag_max;
    _Atomic bool is_quitting;
};

/* ---- log ----------------------------------------------------------------- */

static void on_durable(void *ctx, uint64_t durable_seq)
{
    ((struct floor_node *)ctx)->durable_seq = durable_seq;
}

static void on_poisoned(void *ctx, int err)
{
    (void)ctx;
    fprintf(stderr, "rr-bench: the floor's log failed: %s\n", rr_err_sentence(err));
    exit(1);
}

/* Nothing below the next entry is needed: the segments before this section can be recycled. */
static void write_state(struct floor_node *node)
{
    uint64_t index = node->index;
    struct wal_state state = {
        .group = 1,
        .hard_state = {.term = 1, .commit = index},
        .metadata = {.index = index, .term = 1},
        .first_index = index + 1,
        .first_prev_term = 1,
        .last_index = index,
        .last_term = 1,
    };
    int err = wal_append_state(node->wal, &state);
    if (err != 0)
        on_poisoned(node, err);
}

static void compact(struct floor_node *node)
{
    struct wal_stats stats;
    wal_stats(node->wal, &stats);
    if (stats.padded_bytes - node->compacted_bytes < COMPACT_BYTES)
        return;
    node->compacted_bytes = stats.padded_bytes;
    write_state(node);
}

static void stage(struct floor_node *node, uint32_t size)
{
    struct rr_entry entry = {
        .term = 1,
        .index = ++node->index,
        .data = node->message,
        .size = size - MESSAGE_OVERHEAD,
        .has = RR_ENTRY_HAS_TERM | RR_ENTRY_HAS_INDEX | RR_ENTRY_HAS_DATA,
    };
    struct rr_entry staged;
    int err = wal_append_entries(node->wal, 1, &entry, 1, node->index - 1, &staged);
    if (err != 0)
        on_poisoned(node, err);
    node->staged++;
    uint64_t seq = wal_staged_seq(node->wal);
    uint32_t last = (node->pending_tail - 1) % PENDING;
    if (node->pending_head != node->pending_tail && node->pending[last].seq == seq) {
        node->pending[last].count = node->staged;
        return;
    }
    RR_ASSERT(node->pending_tail - node->pending_head < PENDING);
    node->pending[node->pending_tail++ % PENDING].seq = seq;
    node->pending[(node->pending_tail - 1) % PENDING].count = node->staged;
}

static void collect_durable(struct floor_node *node)
{
    while (node->pending_head != node->pending_tail &&
           node->pending[node->pending_head % PENDING].seq <= node->durable_seq)
        node->durable = node->pending[node->pending_head++ % PENDING].count;
}

/* ---- leader: messages out, counts in ------------------------------------- */

static void send_messages(struct link *link);

static void send_messages_done(struct io_op *op)
{
    struct link *link = RR_CONTAINER_OF(op, struct link, send);
    link->is_sending = false;
    if (op->result <= 0)
        exit(1);
    link->to_send -= (uint64_t)op->result;
    link->sent_part = (link->sent_part + (uint64_t)op->result) % link->node->run.size;
    send_messages(link);
}

static void send_messages(struct link *link)
{
    if (link->is_sending || link->to_send == 0)
        return;
    uint32_t size = link->node->run.size, count = 0;
    uint64_t left = link->to_send, skip = link->sent_part;
    while (count < SEND_PARTS && left > 0) {
        link->send_parts[count++] = (struct iovec){link->node->message + skip, size - skip};
        left -= size - skip;
        skip = 0;
    }
    link->send.kind = IO_SEND;
    link->send.fd = link->fd;
    link->send.iov = link->send_parts;
    link->send.iov_count = count;
    link->send.done = send_messages_done;
    link->is_sending = true;
    io_submit(link->node->io, &link->send);
}

static void receive_acks_done(struct io_op *op)
{
    struct link *link = RR_CONTAINER_OF(op, struct link, recv);
    if (op->result <= 0)
        exit(atomic_load(&link->node->is_quitting) ? 0 : 1);
    link->stream_used += (size_t)op->result;
    size_t whole = link->stream_used / 8 * 8;
    if (whole > 0)
        memcpy(&link->acked, link->stream + whole - 8, 8);
    memmove(link->stream, link->stream + whole, link->stream_used - whole);
    link->stream_used -= whole;
    link->recv_part = (struct iovec){link->stream + link->stream_used, 4096 - link->stream_used};
    io_submit(link->node->io, &link->recv);
}

static void arm_receive(struct link *link, void (*done)(struct io_op *op), size_t room)
{
    link->recv_part = (struct iovec){link->stream + link->stream_used, room};
    link->recv = (struct io_op){
        .kind = IO_RECV, .fd = link->fd, .iov = &link->recv_part, .iov_count = 1, .done = done};
    io_submit(link->node->io, &link->recv);
}

static void connect_done(struct io_op *op)
{
    struct link *link = RR_CONTAINER_OF(op, struct link, connect);
    if (op->result < 0) {
        fprintf(stderr, "rr-bench: the floor's nodes cannot reach each other\n");
        exit(1);
    }
    link->is_connected = true;
    arm_receive(link, receive_acks_done, 4096);
}

/* ---- follower: messages in, counts out ----------------------------------- */

static void send_ack(struct link *link);

static void send_ack_done(struct io_op *op)
{
    struct link *link = RR_CONTAINER_OF(op, struct link, send);
    link->is_sending = false;
    link->acked = link->ack_out;
    if (op->result == 8)
        send_ack(link);
}

static void send_ack(struct link *link)
{
    if (!link->is_connected || link->is_sending || link->node->durable == link->acked)
        return;
    link->ack_out = link->node->durable;
    memcpy(link->ack_bytes, &link->ack_out, 8);
    link->send_parts[0] = (struct iovec){link->ack_bytes, 8};
    link->send = (struct io_op){.kind = IO_SEND,
                                .fd = link->fd,
                                .iov = link->send_parts,
                                .iov_count = 1,
                                .done = send_ack_done};
    link->is_sending = true;
    io_submit(link->node->io, &link->send);
}

static void receive_messages_done(struct io_op *op)
{
    struct link *link = RR_CONTAINER_OF(op, struct link, recv);
    if (op->result <= 0)
        exit(0);
    link->stream_used += (size_t)op->result;
    size_t at = 0;
    uint32_t size = 0;
    while (link->stream_used - at >= 4) {
        memcpy(&size, link->stream + at, 4);
        RR_ASSERT(size >= 512 && size <= MESSAGE_MAX);
        if (link->stream_used - at < size)
            break;
        stage(link->node, size);
        at += size;
    }
    memmove(link->stream, link->stream + at, link->stream_used - at);
    link->stream_used -= at;
    arm_receive(link, receive_messages_done, STREAM_BYTES - link->stream_used);
}

static void accept_done(struct io_op *op)
{
    struct floor_node *node = RR_CONTAINER_OF(op, struct floor_node, accept);
    if (op->result < 0)
        return;
    struct link *link = &node->links[0];
    link->fd = (int)op->result;
    link->is_connected = true;
    arm_receive(link, receive_messages_done, STREAM_BYTES);
}

/* ---- the run ------------------------------------------------------------- */

static void begin_run(struct floor_node *node, uint64_t now)
{
    node->is_running = true;
    node->begin_ns = now + (uint64_t)node->run.warmup_ms * 1000000;
    node->end_ns = node->begin_ns + (uint64_t)node->run.window_ms * 1000000;
    node->committed = node->staged;
    node->window_messages = 0;
    node->lag_max = 0;
    histogram_reset(&node->latency);
    memcpy(node->message, &node->run.size, 4);
    wal_stats(node->wal, &node->before);
}

static uint64_t committed_count(const struct floor_node *node)
{
    if (node->node_count == 1)
        return node->durable;
    uint64_t acked = 0;
    for (uint32_t i = 0; i + 1 < node->node_count; i++)
        acked = rr_max_u64(acked, node->links[i].acked);
    return rr_min_u64(node->durable, acked);
}

static uint64_t slowest_count(const struct floor_node *node)
{
    uint64_t slowest = node->durable;
    for (uint32_t i = 0; i + 1 < node->node_count; i++)
        slowest = rr_min_u64(slowest, node->links[i].acked);
    return slowest;
}

static void count_commits(struct floor_node *node, uint64_t now)
{
    uint64_t committed = committed_count(node);
    for (; node->committed < committed; node->committed++) {
        if (now < node->begin_ns || now >= node->end_ns)
            continue;
        histogram_add(&node->latency, now - node->starts[node->committed % WINDOW_MAX]);
        node->window_messages++;
    }
    uint64_t lag = node->committed - rr_min_u64(slowest_count(node), node->committed);
    if (now >= node->begin_ns)
        node->lag_max = rr_max_u64(node->lag_max, lag);
}

static void start_messages(struct floor_node *node, uint64_t now)
{
    while (node->staged - node->committed < node->run.window) {
        node->starts[node->staged % WINDOW_MAX] = now;
        stage(node, node->run.size);
        for (uint32_t i = 0; i + 1 < node->node_count; i++)
            node->links[i].to_send += node->run.size;
    }
}

static void lead(struct floor_node *node, uint64_t now)
{
    if (!node->is_running && atomic_exchange(&node->is_requested, false))
        begin_run(node, now);
    if (!node->is_running)
        return;
    count_commits(node, now);
    if (now < node->end_ns)
        start_messages(node, now);
    for (uint32_t i = 0; i + 1 < node->node_count; i++)
        send_messages(&node->links[i]);
    if (now >= node->end_ns && node->committed == node->staged &&
        slowest_count(node) == node->staged) {
        wal_stats(node->wal, &node->after);
        node->is_running = false;
        atomic_store(&node->is_done, true);
    }
}

static bool turn(void *ctx, uint64_t now_ns, uint64_t *deadline_ns)
{
    struct floor_node *node = ctx;
    collect_durable(node);
    if (node->id == 1)
        lead(node, now_ns);
    else
        send_ack(&node->links[0]);
    compact(node);
    *deadline_ns =
        rr_min_u64(wal_flush(node->wal, now_ns),
                   node->is_running ? rr_max_u64(node->end_ns, now_ns + 1000000) : UINT64_MAX);
    return !atomic_load(&node->is_quitting);
}

/* ---- the process --------------------------------------------------------- */

static int ignore_state(void *ctx, const struct wal_state *state)
{
    (void)ctx;
    (void)state;
    return 0;
}

static int skip_entries(void *ctx, uint64_t group, uint64_t first_index, uint32_t count,
                        uint64_t commit, const uint8_t *bytes, uint32_t size,
                        struct rr_block *block)
{
    (void)group;
    (void)commit;
    (void)bytes;
    (void)size;
    (void)block;
    (void)ctx;
    (void)first_index;
    (void)count;
    return 0;
}

static int ignore_peer(void *ctx, const struct wal_peer *peer)
{
    (void)ctx;
    (void)peer;
    return 0;
}

static bool open_log(struct floor_node *node, const char *dir, struct rr_error *error)
{
    struct wal_options options = {
        .io = node->io,
        .dir = dir,
        .instance_id = node->id,
        .segment_bytes = SEGMENT_BYTES,
        .wal_bytes_max = 4ull << 30,
        .write_bytes_max = 1u << 20,
        .second_write_bytes_min = 64u << 10,
        .mark_delay_ns = 100000000,
        .nonce = 1,
        .ctx = node,
        .on_durable = on_durable,
        .on_poisoned = on_poisoned,
    };
    struct wal_recovery recovery = {.ctx = node,
                                    .on_state = ignore_state,
                                    .on_entries = skip_entries,
                                    .on_peer = ignore_peer};
    int lock_fd;
    if (identity_lock(node->io, dir, &lock_fd, error) != 0 || wal_create(&options, error) != 0 ||
        wal_open(&options, &recovery, &node->wal, error) != 0)
        return false;
    node->index = 1;
    write_state(node);
    return true;
}

static bool open_sockets(struct floor_node *node, const struct replica_options *options)
{
    struct io_address address = {0x7f000001, options->ports[node->id - 1]}, bound;
    for (uint32_t i = 0; i < BENCH_NODES_MAX; i++) {
        node->links[i].node = node;
        node->links[i].stream = malloc(STREAM_BYTES);
    }
    if (node->id == 1 || node->node_count == 1)
        return true;
    node->listener = node->io->ops->listen(node->io, &address, &bound);
    if (node->listener < 0)
        return false;
    node->accept = (struct io_op){.kind = IO_ACCEPT, .fd = node->listener, .done = accept_done};
    io_submit(node->io, &node->accept);
    return true;
}

static void dial(struct floor_node *node, const struct replica_options *options)
{
    for (uint32_t i = 0; i + 1 < node->node_count; i++) {
        struct link *link = &node->links[i];
        link->address = (struct io_address){0x7f000001, options->ports[i + 1]};
        link->fd = node->io->ops->socket(node->io, 2000);
        link->connect = (struct io_op){
            .kind = IO_CONNECT, .fd = link->fd, .address = &link->address, .done = connect_done};
        io_submit(node->io, &link->connect);
    }
}

static void answer_run(struct floor_node *node, const char *line)
{
    uint64_t size = 0, window = 0, warmup = 0, length = 0;
    if (!control_u64(line, "size", &size) || !control_u64(line, "depth", &window) ||
        !control_u64(line, "warmup", &warmup) || !control_u64(line, "window", &length) ||
        size < 512 || size > MESSAGE_MAX || window < 1 || window > WINDOW_MAX) {
        control_send(&node->control, "error a run needs size, depth, warmup and window");
        return;
    }
    node->run =
        (struct floor_run){(uint32_t)size, (uint32_t)window, (uint32_t)warmup, (uint32_t)length};
    atomic_store(&node->is_done, false);
    atomic_store(&node->is_requested, true);
    io_wake(node->io);
    struct timespec pause = {0, 2000000};
    while (!atomic_load(&node->is_done))
        nanosleep(&pause, NULL);
    control_send(
        &node->control,
        "result completed=%llu seconds=%.6f p50=%.1f p99=%.1f p999=%.1f max=%.1f lag=%llu "
        "writes=%llu zeroed=%llu recycled=%llu",
        (unsigned long long)node->window_messages, (double)length / 1e3,
        histogram_us(&node->latency, 5000), histogram_us(&node->latency, 9900),
        histogram_us(&node->latency, 9990), (double)node->latency.max_ns / 1000.0,
        (unsigned long long)node->lag_max,
        (unsigned long long)(node->after.write_count - node->before.write_count),
        (unsigned long long)(node->after.segments_zeroed - node->before.segments_zeroed),
        (unsigned long long)(node->after.segments_recycled - node->before.segments_recycled));
}

static bool open_floor_node(struct floor_node *node, const struct replica_options *options,
                            struct rr_error *error)
{
    char notice[256];
    node->id = (uint32_t)options->id;
    node->node_count = options->node_count;
    node->message = calloc(1, MESSAGE_MAX);
    if (io_open_backend(RR_BACKEND_AUTO, &node->io, notice, sizeof(notice), error) != 0 ||
        !open_log(node, options->dir, error))
        return false;
    if (!open_sockets(node, options)) {
        rr_fail(error, RR_E_BAD_ADDRESS, "port %u cannot be listened on",
                options->ports[node->id - 1]);
        return false;
    }
    return true;
}

int floor_node_main(const struct replica_options *options)
{
    static struct floor_node node;
    struct rr_error error = {0};
    control_child(&node.control);
    if (!open_floor_node(&node, options, &error)) {
        control_send(&node.control, "error %s", error.message);
        return 1;
    }
    control_send(&node.control, "ready");
    char line[1024];
    bool is_started = false;
    while (control_read(&node.control, line, sizeof(line), -1) && strcmp(line, "quit") != 0) {
        if (strcmp(line, "start") == 0 && !is_started) {
            if (node.id == 1 && node.node_count > 1)
                dial(&node, options);
            is_started = node.io->ops->start(node.io, turn, &node) == 0;
            control_send(&node.control, is_started ? "started" : "error the loop did not start");
        } else if (strncmp(line, "run ", 4) == 0 && is_started) {
            answer_run(&node, line);
        }
    }
    atomic_store(&node.is_quitting, true);
    io_wake(node.io);
    exit(0); /* its files are the bench's own and are removed */
}
