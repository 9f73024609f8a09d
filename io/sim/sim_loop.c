/* SPDX-License-Identifier: Apache-2.0
 *
 * A machine's loop in virtual time: file descriptors, ops between submit and done, turns. A turn is
 * an event; it calls the `done`s that are due, in completion order, then the turn function, and is
 * busy for a random time after it, so that completions gather as they do in a real ring.
 */
#include "io/sim/sim_machine.h"

#include <errno.h>
#include <stdlib.h>

#define TURN_COST_MIN_NS  300u
#define TURN_COST_MAX_NS  12000u
#define WAKE_DELAY_MAX_NS 3000u
/* More than this many ops given up after a crash is a process that resubmits for ever. */
#define DRAIN_MAX 1000000u

/* ---- file descriptors ---------------------------------------------------- */

int machine_slot_new(struct machine *machine, struct slot slot)
{
    if (machine->slot_count == machine->slot_cap) {
        machine->slot_cap = machine->slot_cap ? 2 * machine->slot_cap : 32;
        machine->slots = realloc(machine->slots, machine->slot_cap * sizeof(machine->slots[0]));
        RR_ASSERT(machine->slots);
    }
    machine->slots[machine->slot_count] = slot;
    machine->slots_open++;
    return (int)machine->slot_count++ + MACHINE_FD_FIRST;
}

struct slot *machine_any_slot(struct machine *machine, int fd)
{
    RR_ASSERT(fd >= MACHINE_FD_FIRST);
    RR_ASSERT((size_t)(fd - MACHINE_FD_FIRST) < machine->slot_count);
    return &machine->slots[fd - MACHINE_FD_FIRST];
}

struct slot *machine_slot(struct machine *machine, int fd, enum slot_kind kind)
{
    struct slot *slot = machine_any_slot(machine, fd);
    RR_ASSERT(slot->kind == kind);
    return slot;
}

static void close_slot(struct machine *machine, struct slot *slot, bool silently)
{
    if (slot->kind == SLOT_FILE)
        sim_file_close(machine, slot);
    else
        sim_net_close(machine, slot, silently);
    slot->kind = SLOT_FREE;
    machine->slots_open--;
}

void sim_loop_close(struct io *io, int fd)
{
    struct machine *machine = machine_of(io);
    if (machine->is_crashed)
        return;
    struct slot *slot = machine_any_slot(machine, fd);
    RR_ASSERT(slot->kind != SLOT_FREE); /* closed twice */
    close_slot(machine, slot, false);
}

/* ---- ops ----------------------------------------------------------------- */

size_t op_size(const struct io_op *op)
{
    size_t size = 0;
    for (uint32_t i = 0; i < op->iov_count; i++)
        size += op->iov[i].iov_len;
    return size;
}

uint64_t op_hash(const struct io_op *op)
{
    uint64_t hash = op->kind;
    size_t left = HASHED_MAX;
    for (uint32_t i = 0; i < op->iov_count && left > 0; i++) {
        size_t size = op->iov[i].iov_len < left ? op->iov[i].iov_len : left;
        hash = hash_bytes(hash, op->iov[i].iov_base, size);
        left -= size;
    }
    return hash;
}

static struct flight *flight_of(const struct io_op *op)
{
    return (struct flight *)(uintptr_t)op->backend[0];
}

static bool is_disk_op(const struct io_op *op)
{
    return op->kind == IO_READ || op->kind == IO_WRITE || op->kind == IO_SYNC;
}

static bool has_vector(const struct io_op *op)
{
    return op->kind == IO_READ || op->kind == IO_WRITE || op->kind == IO_SEND ||
           op->kind == IO_RECV;
}

void sim_loop_submit(struct io *io, struct io_op *op)
{
    struct machine *machine = machine_of(io);
    struct flight *flight = calloc(1, sizeof(*flight));

    RR_ASSERT(flight && op->done && !op->in_flight);
    io->submit_count++;
    flight->machine = machine;
    flight->op = op;
    flight->size = has_vector(op) ? op_size(op) : 0;
    flight->next = machine->flights;
    flight->link = &machine->flights;
    if (flight->next)
        flight->next->link = &flight->next;
    machine->flights = flight;
    op->in_flight = true;
    op->next = NULL;
    op->backend[0] = (uintptr_t)flight;
    if (machine->is_crashed)
        return;
    if (op->kind == IO_WRITE || op->kind == IO_SEND)
        flight->hash = op_hash(op);
    sim_trace(machine->sim, machine->number ^ ((uint64_t)op->kind << 32), flight->size,
              flight->hash);
    if (is_disk_op(op))
        sim_file_submit(flight);
    else
        sim_net_submit(flight);
    (void)machine_crash_point(machine);
}

/* Takes the flight out of the world; its op is the caller's. */
static struct io_op *flight_end(struct flight *flight)
{
    struct io_op *op = flight->op;
    if (flight->event.slot != 0)
        sim_unschedule(flight->machine->sim, &flight->event);
    if (flight->inode)
        disk_put(&flight->machine->disk, flight->inode);
    *flight->link = flight->next;
    if (flight->next)
        flight->next->link = flight->link;
    free(flight);
    op->backend[0] = 0;
    return op;
}

void flight_complete(struct flight *flight, int64_t result)
{
    struct machine *machine = flight->machine;
    struct io_op *op = flight_end(flight);

    RR_ASSERT(!machine->is_crashed);
    sim_trace(machine->sim, machine->number, op->kind, (uint64_t)result);
    op->result = result;
    op->next = NULL;
    *machine->completed.end = op;
    machine->completed.end = &op->next;
    machine_request_turn(machine, machine->sim->now);
}

void sim_loop_cancel(struct io *io, struct io_op *op)
{
    struct machine *machine = machine_of(io);
    struct flight *flight = flight_of(op);

    /* After a crash join tells it; a finished one has its result already; a disk cannot be stopped.
     */
    if (machine->is_crashed || !op->in_flight || !flight)
        return;
    flight->is_cancelled = true;
    if (!is_disk_op(op))
        sim_net_cancel(flight);
}

static struct io_op *pop_completed(struct machine *machine)
{
    struct io_op *op = machine->completed.first;
    if (!op)
        return NULL;
    machine->completed.first = op->next;
    if (!op->next)
        machine->completed.end = &machine->completed.first;
    op->next = NULL;
    return op;
}

/* ---- turns --------------------------------------------------------------- */

void machine_request_turn(struct machine *machine, uint64_t time)
{
    if (!machine->is_looping || machine->is_crashed)
        return;
    time = rr_max_u64(time, machine->busy_until);
    if (machine->turn_event.slot != 0) {
        if (machine->turn_event.time <= time)
            return;
        sim_unschedule(machine->sim, &machine->turn_event);
    }
    sim_schedule(machine->sim, &machine->turn_event, time);
}

/* What is due now; what it submits is never due before the next turn. */
static void dispatch(struct machine *machine)
{
    struct io_op *last = NULL;
    if (machine->completed.first)
        last = RR_CONTAINER_OF(machine->completed.end, struct io_op, next);
    while (last && machine_crash_point(machine)) {
        struct io_op *op = pop_completed(machine);
        op->in_flight = false;
        bool is_last = op == last; /* `done` may free it */
        op->done(op);
        if (is_last)
            break;
    }
    for (struct io_worker *w = machine->workers; w && !machine->is_crashed; w = w->next)
        sim_worker_dispatch(w);
}

static void run_turn(struct sim_event *event)
{
    struct machine *machine = RR_CONTAINER_OF(event, struct machine, turn_event);
    struct sim *sim = machine->sim;
    uint64_t deadline = UINT64_MAX;

    if (machine->is_paused) {
        machine->has_missed_turn = true;
        return;
    }
    machine->busy_until =
        sim->now + stream_between(&sim->schedule, TURN_COST_MIN_NS, TURN_COST_MAX_NS);
    machine->io.turn_count++;
    machine->io.enter_count++;
    dispatch(machine);
    if (machine->is_crashed)
        return;
    bool goes_on = machine->turn(machine->turn_ctx, machine_now(machine), &deadline);
    if (machine->is_crashed)
        return;
    if (!goes_on) {
        machine->is_looping = false;
        if (machine->turn_event.slot != 0)
            sim_unschedule(sim, &machine->turn_event);
        return;
    }
    if (deadline != UINT64_MAX)
        machine_request_turn(machine, rr_max_u64(machine_due(machine, deadline), sim->now));
}

int sim_loop_start(struct io *io, bool (*turn)(void *ctx, uint64_t now_ns, uint64_t *deadline_ns),
                   void *ctx)
{
    struct machine *machine = machine_of(io);

    if (machine->is_crashed)
        return -EIO;
    RR_ASSERT(!machine->is_looping && machine->turn_event.slot == 0);
    machine->turn = turn;
    machine->turn_ctx = ctx;
    machine->turn_event.run = run_turn;
    machine->is_looping = true;
    machine_request_turn(machine, machine->sim->now);
    return 0;
}

void sim_loop_wake(struct io *io)
{
    struct machine *machine = machine_of(io);
    struct sim *sim = machine->sim;

    if (machine->is_crashed)
        return;
    io->wake_count += machine->turn_event.slot == 0;
    machine_request_turn(machine, sim->now + stream_below(&sim->schedule, WAKE_DELAY_MAX_NS));
}

void machine_release(struct machine *machine)
{
    for (struct io_worker *w = machine->workers; w; w = w->next)
        sim_worker_release(w);
    for (struct flight *f = machine->flights; f && !machine->is_hung; f = f->next)
        if (f->is_hung)
            sim_file_release(f);
    if (machine->is_paused || !machine->has_missed_turn)
        return;
    machine->has_missed_turn = false;
    machine_request_turn(machine, machine->sim->now);
}

/* Turns come by themselves here: the driver of an embedded loop plays until there was one. */
int sim_loop_turn(struct io *io, uint32_t wait_ms)
{
    struct machine *machine = machine_of(io);
    struct sim *sim = machine->sim;
    uint64_t before = io->turn_count, end = UINT64_MAX;

    if (sim->in_event)
        return -EPERM;
    if (wait_ms != UINT32_MAX)
        end = sim->now + wait_ms * UINT64_C(1000000);
    while (io->turn_count == before && machine->is_looping && sim_next_time(sim) <= end)
        sim_step(sim);
    return 0;
}

/* The process is gone: each op it still waits for is told so. */
static void drain(struct machine *machine)
{
    for (uint32_t n = 0; machine->completed.first || machine->flights; n++) {
        RR_ASSERT(n < DRAIN_MAX);
        struct io_op *op = pop_completed(machine);
        if (!op)
            op = flight_end(machine->flights);
        op->in_flight = false;
        op->result = -ECANCELED;
        op->done(op);
    }
}

void sim_loop_join(struct io *io)
{
    struct machine *machine = machine_of(io);
    struct sim *sim = machine->sim;

    RR_ASSERT(!sim->in_event); /* the driver joins, between events */
    RR_ASSERT(machine->is_crashed || (!machine->is_paused && !machine->is_hung));
    while (machine->is_looping && !machine->is_crashed && sim_step(sim))
        ;
    RR_ASSERT(machine->is_crashed || !machine->is_looping); /* nothing would ever end this loop */
    for (uint32_t n = 0; !machine->is_crashed && (machine->completed.first || machine->flights);
         n++) {
        RR_ASSERT(n < DRAIN_MAX);
        struct flight *flight = machine->flights;
        if (flight && is_disk_op(flight->op)) {
            sim_unschedule(sim, &flight->event);
            flight->event.run(&flight->event);
        } else if (flight) {
            sim_loop_cancel(io, flight->op);
        }
        dispatch(machine);
    }
    drain(machine);
}

/* The driver may, between events. */
bool sim_may_wait(struct io *io)
{
    return !machine_of(io)->sim->in_event;
}

bool sim_gate_wait(struct io *io, struct io_gate *gate)
{
    struct machine *machine = machine_of(io);
    struct sim *sim = machine->sim;

    RR_ASSERT(sim_may_wait(io));
    while (!atomic_load(&gate->is_open) && !machine->is_crashed && sim_step(sim))
        ;
    RR_ASSERT(machine->is_crashed || atomic_load(&gate->is_open)); /* or it waits for ever */
    return atomic_load(&gate->is_open);
}

void sim_gate_open(struct io *io, struct io_gate *gate)
{
    (void)io;
    atomic_store(&gate->is_open, 1);
}

void machine_forget_loop(struct machine *machine)
{
    if (machine->turn_event.slot != 0)
        sim_unschedule(machine->sim, &machine->turn_event);
    machine->is_looping = false;
    for (struct io_worker *w = machine->workers; w; w = w->next)
        sim_worker_stop(w);
    for (struct flight *f = machine->flights; f; f = f->next) {
        if (f->event.slot != 0)
            sim_unschedule(machine->sim, &f->event);
        if (!f->inode)
            continue;
        sim_file_crash(f);
        disk_put(&machine->disk, f->inode);
        f->inode = NULL;
    }
    for (size_t i = 0; i < machine->slot_count; i++)
        if (machine->slots[i].kind != SLOT_FREE)
            close_slot(machine, &machine->slots[i], machine->lost_power);
    RR_ASSERT(machine->slots_open == 0);
    machine->slot_count = 0;
}
