/* SPDX-License-Identifier: Apache-2.0
 *
 * Sockets and listeners of the simulated network: ports, connecting, accepting, closing. Bytes are
 * in sim_stream.c. A SYN over a cut link, or to a machine without power, is sent again until the
 * connect times out; a machine without a listener refuses.
 */
#include "io/sim/sim_stream.h"

#include <errno.h>
#include <stdlib.h>

#define CONNECT_TIMEOUT_NS 3000000000u
#define SYN_AGAIN_MIN_NS   200000000u
#define SYN_AGAIN_MAX_NS   1000000000u
#define BACKLOG_MAX        128u

struct listener {
    struct listener *next;
    uint16_t port;
    uint32_t backlog_count;
    struct endpoint *backlog, **backlog_end;
    struct flight *accept;
};

int sim_net_listen(struct io *io, const struct io_address *address, struct io_address *bound)
{
    struct machine *machine = machine_of(io);
    if (machine->is_crashed)
        return -EIO;
    uint16_t port = address->port ? address->port : machine->next_port++;
    for (const struct listener *l = machine->listeners; l; l = l->next)
        if (l->port == port)
            return -EADDRINUSE;
    struct listener *listener = calloc(1, sizeof(*listener));
    RR_ASSERT(listener);
    listener->port = port;
    listener->backlog_end = &listener->backlog;
    listener->next = machine->listeners;
    machine->listeners = listener;
    if (bound)
        *bound = (struct io_address){address->ip, port};
    return machine_slot_new(machine, (struct slot){.kind = SLOT_LISTENER, .listener = listener});
}

int sim_net_socket(struct io *io, uint32_t patience_ms)
{
    (void)patience_ms;
    struct machine *machine = machine_of(io);
    if (machine->is_crashed)
        return -EIO;
    struct endpoint *end = &connection_new(machine)->ends[0];
    return machine_slot_new(machine, (struct slot){.kind = SLOT_SOCKET, .endpoint = end});
}

/* ---- accepting ----------------------------------------------------------- */

static void poke_accept(struct machine *machine, struct listener *listener)
{
    struct flight *flight = listener->accept;
    struct endpoint *end = listener->backlog;

    if (!flight || !end)
        return;
    listener->accept = NULL;
    listener->backlog = end->next;
    if (!end->next)
        listener->backlog_end = &listener->backlog;
    listener->backlog_count--;
    end->next = NULL;
    int fd = machine_slot_new(machine, (struct slot){.kind = SLOT_SOCKET, .endpoint = end});
    flight_complete(flight, fd);
}

static void close_listener(struct machine *machine, struct listener *listener, bool silently)
{
    struct listener **link = &machine->listeners;

    RR_ASSERT(machine->is_crashed || !listener->accept); /* closed under an op */
    while (listener->backlog) {
        struct endpoint *end = listener->backlog;
        listener->backlog = end->next;
        stream_close(end, silently);
    }
    while (*link != listener)
        link = &(*link)->next;
    *link = listener->next;
    free(listener);
}

/* ---- connecting ---------------------------------------------------------- */

static struct machine *find_machine(const struct sim *sim, const struct io_address *address)
{
    uint32_t number = address->ip - sim_address(0, 0).ip;
    return number >= 1 && number <= SIM_MACHINES_MAX ? sim->machines[number - 1] : NULL;
}

static struct listener *find_listener(const struct machine *machine, uint16_t port)
{
    for (struct listener *l = machine->listeners; l; l = l->next)
        if (l->port == port && l->backlog_count < BACKLOG_MAX)
            return l;
    return NULL;
}

static bool reaches(const struct sim *sim, const struct machine *from, const struct machine *to)
{
    return to && !to->lost_power && !sim->cut[from->number - 1][to->number - 1] &&
           !sim->cut[to->number - 1][from->number - 1];
}

static void run_connect(struct sim_event *event)
{
    struct flight *flight = RR_CONTAINER_OF(event, struct flight, event);
    struct machine *machine = flight->machine;
    struct sim *sim = machine->sim;
    struct machine *to = find_machine(sim, flight->op->address);
    struct endpoint *end = machine_slot(machine, flight->op->fd, SLOT_SOCKET)->endpoint;

    if (end->is_shut) {
        flight_complete(flight, -ECONNABORTED);
        return;
    }
    if (!reaches(sim, machine, to)) {
        uint64_t again = sim->now + stream_between(&sim->net, SYN_AGAIN_MIN_NS, SYN_AGAIN_MAX_NS);
        if (sim->now >= flight->deadline)
            flight_complete(flight, -ETIMEDOUT);
        else
            sim_schedule(sim, event, rr_min_u64(again, rr_max_u64(flight->deadline, sim->now + 1)));
        return;
    }
    struct listener *listener = find_listener(to, flight->op->address->port);
    if (!listener) {
        flight_complete(flight, -ECONNREFUSED);
        return;
    }
    connection_establish(end->connection, to);
    struct endpoint *accepted = &end->connection->ends[1];
    *listener->backlog_end = accepted;
    listener->backlog_end = &accepted->next;
    listener->backlog_count++;
    flight_complete(flight, 0);
    poke_accept(to, listener);
}

/* ---- ops ----------------------------------------------------------------- */

void sim_net_submit(struct flight *flight)
{
    struct machine *machine = flight->machine;
    struct sim *sim = machine->sim;
    const struct io_op *op = flight->op;

    if (op->kind == IO_ACCEPT) {
        struct listener *listener = machine_slot(machine, op->fd, SLOT_LISTENER)->listener;
        RR_ASSERT(!listener->accept); /* one accept in flight per listener */
        listener->accept = flight;
        poke_accept(machine, listener);
    } else if (op->kind == IO_CONNECT) {
        struct endpoint *end = machine_slot(machine, op->fd, SLOT_SOCKET)->endpoint;
        RR_ASSERT(op->address && end->state == END_NEW);
        flight->deadline = sim->now + CONNECT_TIMEOUT_NS;
        flight->event.run = run_connect;
        sim_schedule(
            sim, &flight->event,
            sim->now + 2 * stream_between(&sim->net, sim->net_delay_min_ns, sim->net_delay_max_ns));
    } else {
        stream_submit(flight);
    }
}

void sim_net_cancel(struct flight *flight)
{
    const struct io_op *op = flight->op;

    if (op->kind == IO_ACCEPT)
        machine_slot(flight->machine, op->fd, SLOT_LISTENER)->listener->accept = NULL;
    else
        stream_cancel(machine_slot(flight->machine, op->fd, SLOT_SOCKET)->endpoint, flight);
    flight_complete(flight, -ECANCELED);
}

/* On a listener: the accept that waits gets -EINVAL, as Linux answers. */
void sim_net_shutdown(struct io *io, int fd)
{
    struct machine *machine = machine_of(io);
    if (machine->is_crashed)
        return;
    struct slot *slot = machine_any_slot(machine, fd);
    if (slot->kind == SLOT_SOCKET) {
        stream_shutdown(slot->endpoint);
        return;
    }
    struct flight *flight = machine_slot(machine, fd, SLOT_LISTENER)->listener->accept;
    if (!flight)
        return;
    slot->listener->accept = NULL;
    flight_complete(flight, -EINVAL);
}

void sim_net_close(struct machine *machine, struct slot *slot, bool silently)
{
    if (slot->kind == SLOT_LISTENER)
        close_listener(machine, slot->listener, silently);
    else
        stream_close(slot->endpoint, silently);
}
