/* SPDX-License-Identifier: Apache-2.0
 *
 * Byte streams between machines. A connection has two ends; each end owns the pipe of bytes that
 * come to it: a ring as large as the window, and cursors
 *
 *     read (by the process) <= arrived <= accepted (from the sender) <= acked + window
 *
 * The sender fills the ring when its send completes; segments are events that only move `arrived`.
 * A cut direction holds its segments, and the acknowledgements that would open the other
 * direction's window. When it heals, a connection that was held either resumes after a
 * retransmission delay or is reset, by chance. What arrives at an end whose process closed it or
 * died is answered by a reset; a machine without power answers when it is up again. An end that
 * only listens to a dead peer hears nothing.
 */
#include "io/sim/sim_machine.h"
#include "io/sim/sim_stream.h"

#include <errno.h>
#include <stdlib.h>

#define SEND_DELAY_MAX_NS 5000u
#define RETRANSMIT_MIN_NS 1000000u
#define RETRANSMIT_MAX_NS 400000000u

static struct endpoint *other_end(struct endpoint *end)
{
    return &end->connection->ends[end == &end->connection->ends[0]];
}

/* Is what `from` sends to `to` held back? */
static bool is_cut(const struct sim *sim, const struct endpoint *from, const struct endpoint *to)
{
    return sim->cut[from->machine->number - 1][to->machine->number - 1];
}

/* ---- connections --------------------------------------------------------- */

struct connection *connection_new(struct machine *machine)
{
    struct sim *sim = machine->sim;
    struct connection *c = calloc(1, sizeof(*c));

    RR_ASSERT(c);
    c->sim = sim;
    c->next = sim->connections;
    c->link = &sim->connections;
    if (c->next)
        c->next->link = &c->next;
    sim->connections = c;
    for (int i = 0; i < 2; i++) {
        c->ends[i].connection = c;
        c->ends[i].held_end = &c->ends[i].held;
    }
    c->ends[0].machine = machine;
    c->ends[0].state = END_NEW;
    return c;
}

/* Frees a connection that nobody holds and nothing is on the way to. */
static void free_if_over(struct connection *c)
{
    for (int i = 0; i < 2; i++)
        if (c->ends[i].state != END_GONE && c->ends[i].state != END_NONE)
            return;
    if (c->segment_count > 0)
        return;
    for (int i = 0; i < 2; i++)
        free(c->ends[i].ring);
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    free(c);
}

/* The SYN reached a listener: the accepting end comes to life. */
void connection_establish(struct connection *c, struct machine *to)
{
    struct sim *sim = c->sim;
    c->ends[1].machine = to;
    for (int i = 0; i < 2; i++) {
        c->ends[i].state = END_OPEN;
        c->ends[i].window = 1ull << stream_between(&sim->net, 11, 17);
        c->ends[i].ring = malloc((size_t)c->ends[i].window);
        RR_ASSERT(c->ends[i].ring);
    }
}

/* ---- receiving ----------------------------------------------------------- */

static void copy_out(struct endpoint *end, const struct iovec *iov, uint64_t size)
{
    for (uint64_t done = 0; done < size; iov++) {
        uint64_t part = rr_min_u64(iov->iov_len, size - done);
        for (uint64_t copied = 0; copied < part;) {
            uint64_t at = end->read & (end->window - 1);
            uint64_t run = rr_min_u64(part - copied, end->window - at);
            memcpy((uint8_t *)iov->iov_base + copied, end->ring + at, run);
            copied += run;
            end->read += run;
        }
        done += part;
    }
}

/* The window opened: a sender that waits for it tries again. */
static void poke_sender(struct endpoint *end)
{
    struct sim *sim = end->connection->sim;
    if (end->send && end->send->event.slot == 0)
        sim_schedule(sim, &end->send->event, sim->now + stream_below(&sim->net, SEND_DELAY_MAX_NS));
}

static void poke_receiver(struct endpoint *end)
{
    struct flight *flight = end->recv;
    struct sim *sim = end->connection->sim;

    if (!flight)
        return;
    uint64_t size = rr_min_u64(end->arrived - end->read, flight->size);
    if (size > 0) {
        if (stream_chance(&sim->net, 1, 16))
            size = stream_between(&sim->net, 1, size);
        copy_out(end, flight->op->iov, size);
        if (other_end(end)->state == END_OPEN)
            poke_sender(other_end(end));
    } else if (!end->is_reset && !end->fin_arrived && !end->is_shut) {
        return;
    }
    end->recv = NULL;
    flight_complete(flight, size > 0 ? (int64_t)size : end->is_reset ? -ECONNRESET : 0);
}

/* ---- segments ------------------------------------------------------------ */

static void send_segment(struct endpoint *to, enum segment_kind kind);

static void reset_end(struct endpoint *end)
{
    end->is_reset = true;
    poke_receiver(end);
    poke_sender(end);
}

static void run_segment(struct sim_event *event)
{
    struct segment *segment = RR_CONTAINER_OF(event, struct segment, event);
    struct endpoint *to = segment->to, *from = other_end(to);
    struct connection *c = to->connection;
    struct sim *sim = c->sim;

    if (is_cut(sim, from, to)) {
        *to->held_end = segment;
        to->held_end = &segment->next;
        return;
    }
    if (to->machine->lost_power) {
        sim_schedule(sim, event,
                     sim->now + stream_between(&sim->net, RETRANSMIT_MIN_NS, RETRANSMIT_MAX_NS));
        return;
    }
    c->segment_count--;
    sim_trace(sim, to->machine->number, segment->kind, segment->position);
    if (to->state == END_GONE) {
        if (segment->kind != SEGMENT_RESET && from->state == END_OPEN)
            send_segment(from, SEGMENT_RESET);
    } else if (segment->kind == SEGMENT_RESET) {
        reset_end(to);
    } else {
        /* A segment that a cut held may come after its successor; the ring has its bytes. */
        RR_ASSERT(segment->position <= to->accepted);
        to->arrived = rr_max_u64(to->arrived, segment->position);
        to->fin_arrived |= segment->kind == SEGMENT_FIN;
        poke_receiver(to);
    }
    free(segment);
    free_if_over(c);
}

/* Everything accepted so far is on its way, at the speed of this link and behind what left before.
 */
static void send_segment_at(struct endpoint *to, enum segment_kind kind, uint64_t position)
{
    struct connection *c = to->connection;
    struct sim *sim = c->sim;
    struct segment *segment = calloc(1, sizeof(*segment));

    RR_ASSERT(segment);
    segment->event.run = run_segment;
    segment->to = to;
    segment->kind = kind;
    segment->position = position;
    c->segment_count++;
    to->last_arrival =
        rr_max_u64(to->last_arrival + 1, sim->now + stream_between(&sim->net, sim->net_delay_min_ns,
                                                                   sim->net_delay_max_ns));
    sim_schedule(sim, &segment->event, to->last_arrival);
}

static void send_segment(struct endpoint *to, enum segment_kind kind)
{
    send_segment_at(to, kind, to->accepted);
}

/* ---- sending ------------------------------------------------------------- */

static void copy_in(struct endpoint *to, const struct iovec *iov, uint64_t size)
{
    for (uint64_t done = 0; done < size; iov++) {
        uint64_t part = rr_min_u64(iov->iov_len, size - done);
        for (uint64_t copied = 0; copied < part;) {
            uint64_t at = to->accepted & (to->window - 1);
            uint64_t run = rr_min_u64(part - copied, to->window - at);
            memcpy(to->ring + at, (const uint8_t *)iov->iov_base + copied, run);
            copied += run;
            to->accepted += run;
        }
        done += part;
    }
}

static void send_bytes(struct endpoint *to, struct flight *flight, uint64_t size)
{
    struct sim *sim = to->connection->sim;
    uint64_t before = to->accepted;

    copy_in(to, flight->op->iov, size);
    if (sim->corrupt_per_million > 0 && stream_chance(&sim->net, sim->corrupt_per_million, 1000000))
        to->ring[stream_between(&sim->net, before, to->accepted - 1) & (to->window - 1)] ^=
            (uint8_t)(1u << stream_below(&sim->net, 8));
    /* Mostly one segment, sometimes some, cut anywhere. */
    while (stream_chance(&sim->net, 1, 4) && before + 1 < to->accepted) {
        before = stream_between(&sim->net, before + 1, to->accepted - 1);
        send_segment_at(to, SEGMENT_DATA, before);
    }
    send_segment(to, SEGMENT_DATA);
}

static void run_send(struct sim_event *event)
{
    struct flight *flight = RR_CONTAINER_OF(event, struct flight, event);
    struct endpoint *end = machine_slot(flight->machine, flight->op->fd, SLOT_SOCKET)->endpoint;
    struct endpoint *to = other_end(end);
    struct sim *sim = flight->machine->sim;

    RR_ASSERT(op_hash(flight->op) == flight->hash); /* the buffer changed while it was being sent */
    int err = end->is_reset            ? -ECONNRESET
              : end->is_shut           ? -EPIPE
              : end->state != END_OPEN ? -ENOTCONN
                                       : 0;
    if (err) {
        end->send = NULL;
        flight_complete(flight, err);
        return;
    }
    if (!is_cut(sim, to, end))
        to->acked = to->read;
    uint64_t size = rr_min_u64(flight->size, to->window - (to->accepted - to->acked));
    if (size == 0 && flight->size > 0)
        return; /* poke_sender comes */
    if (size > 1 && stream_chance(&sim->net, 1, 8))
        size = stream_between(&sim->net, 1, size);
    if (size > 0)
        send_bytes(to, flight, size);
    end->send = NULL;
    flight_complete(flight, (int64_t)size);
}

/* ---- the process's side -------------------------------------------------- */

void stream_submit(struct flight *flight)
{
    struct machine *machine = flight->machine;
    struct sim *sim = machine->sim;
    struct endpoint *end = machine_slot(machine, flight->op->fd, SLOT_SOCKET)->endpoint;

    if (flight->op->kind == IO_RECV) {
        RR_ASSERT(!end->recv && flight->size > 0); /* one receive in flight per connection */
        RR_ASSERT(end->state == END_OPEN);
        end->recv = flight;
        poke_receiver(end);
        return;
    }
    RR_ASSERT(flight->op->kind == IO_SEND && !end->send); /* one send in flight per connection */
    end->send = flight;
    flight->event.run = run_send;
    sim_schedule(sim, &flight->event, sim->now + stream_below(&sim->net, SEND_DELAY_MAX_NS));
}

void stream_cancel(struct endpoint *end, const struct flight *flight)
{
    if (end->recv == flight)
        end->recv = NULL;
    if (end->send == flight)
        end->send = NULL;
}

void stream_shutdown(struct endpoint *end)
{
    bool was_shut = end->is_shut;
    end->is_shut = true;
    if (end->state != END_OPEN || was_shut)
        return;
    send_segment(other_end(end), SEGMENT_FIN);
    poke_receiver(end);
    poke_sender(end);
}

/* `silently`: the machine lost its power. Unread bytes make a reset of the close, as in a kernel.
 */
void stream_close(struct endpoint *end, bool silently)
{
    struct connection *c = end->connection;
    struct endpoint *to = other_end(end);
    bool was_open = end->state == END_OPEN;

    RR_ASSERT(end->machine->is_crashed || (!end->recv && !end->send)); /* closed under an op */
    end->recv = NULL;
    end->send = NULL;
    end->state = END_GONE;
    if (was_open && !silently && !end->is_reset) {
        if (end->arrived > end->read)
            send_segment(to, SEGMENT_RESET);
        else if (!end->is_shut)
            send_segment(to, SEGMENT_FIN);
    }
    free_if_over(c);
}

/* ---- links --------------------------------------------------------------- */

/* The direction towards `to` works again. */
static void heal(struct sim *sim, struct endpoint *to)
{
    bool is_reset = stream_chance(&sim->net, 1, 2);
    uint64_t at = sim->now;

    while (to->held) {
        struct segment *segment = to->held;
        to->held = segment->next;
        segment->next = NULL;
        at += stream_between(&sim->net, RETRANSMIT_MIN_NS, RETRANSMIT_MAX_NS) >>
              (at > sim->now ? 8 : 0);
        if (is_reset)
            segment->kind = SEGMENT_RESET;
        to->last_arrival = rr_max_u64(to->last_arrival + 1, at);
        sim_schedule(sim, &segment->event, to->last_arrival);
        if (is_reset && other_end(to)->state == END_OPEN)
            reset_end(other_end(to));
    }
    to->held_end = &to->held;
}

void stream_link_changed(struct sim *sim, uint32_t from, uint32_t to)
{
    if (sim->cut[from - 1][to - 1])
        return;
    for (struct connection *c = sim->connections; c; c = c->next) {
        for (int i = 0; i < 2; i++) {
            struct endpoint *end = &c->ends[i], *other = &c->ends[1 - i];
            if (!end->machine || !other->machine || end->machine->number != to ||
                other->machine->number != from)
                continue;
            heal(sim, end);
            poke_sender(end); /* acknowledgements pass again */
        }
    }
}

static void forget_segment(struct segment *segment)
{
    segment->to->connection->segment_count--;
    free(segment);
}

void stream_fini(struct sim *sim)
{
    struct sim_event *event;
    while ((event = sim_heap_pop(&sim->heap)) != NULL) {
        RR_ASSERT(event->run == run_segment); /* all else belonged to a machine */
        forget_segment(RR_CONTAINER_OF(event, struct segment, event));
    }
    while (sim->connections) {
        struct connection *c = sim->connections;
        for (int i = 0; i < 2; i++) {
            while (c->ends[i].held) {
                struct segment *segment = c->ends[i].held;
                c->ends[i].held = segment->next;
                forget_segment(segment);
            }
        }
        free_if_over(c);
        RR_ASSERT(sim->connections != c);
    }
}
