/* SPDX-License-Identifier: Apache-2.0
 *
 * The world: virtual time, machines, crashes, and the driver's handles on both. One thread owns all
 * of it.
 */
#include "io/sim/sim_stream.h"

#include <errno.h>
#include <stdlib.h>

#define LOOPBACK 0x7f000000u

/* ---- time ---------------------------------------------------------------- */

void sim_schedule(struct sim *sim, struct sim_event *event, uint64_t time)
{
    RR_ASSERT(event->run && time >= sim->now);
    event->time = time;
    event->tie = (stream_next(&sim->schedule) << 40) | (sim->sequence++ & ((1ull << 40) - 1));
    sim_heap_push(&sim->heap, event);
}

void sim_unschedule(struct sim *sim, struct sim_event *event)
{
    sim_heap_remove(&sim->heap, event);
}

bool sim_step(struct sim *sim)
{
    struct sim_event *event = sim_heap_pop(&sim->heap);
    if (!event)
        return false;
    RR_ASSERT(!sim->in_event && event->time >= sim->now);
    sim->now = event->time;
    sim->event_count++;
    sim_trace(sim, event->time, event->tie, 0);
    sim->in_event = true;
    event->run(event);
    sim->in_event = false;
    return true;
}

uint64_t sim_next_time(const struct sim *sim)
{
    return sim->heap.count > 0 ? sim->heap.events[0]->time : UINT64_MAX;
}

void sim_run_until(struct sim *sim, uint64_t time_ns)
{
    while (sim_next_time(sim) <= time_ns)
        sim_step(sim);
    sim->now = rr_max_u64(sim->now, time_ns);
}

uint64_t sim_now(const struct sim *sim)
{
    return sim->now;
}

uint64_t sim_random(struct sim *sim)
{
    return stream_next(&sim->driver);
}

uint64_t sim_random_below(struct sim *sim, uint64_t bound)
{
    return stream_below(&sim->driver, bound);
}

uint64_t sim_event_count(const struct sim *sim)
{
    return sim->event_count;
}

uint64_t sim_trace_hash(const struct sim *sim)
{
    return sim->trace;
}

static uint64_t io_sim_now(struct io *io)
{
    return machine_now(machine_of(io));
}

static uint64_t io_sim_random(struct io *io)
{
    return stream_next(&machine_of(io)->process);
}

static const struct io_ops sim_ops = {
    .name = "sim",
    .submit = sim_loop_submit,
    .cancel = sim_loop_cancel,
    .start = sim_loop_start,
    .embed = sim_loop_start,
    .turn = sim_loop_turn,
    .join = sim_loop_join,
    .may_wait = sim_may_wait,
    .gate_wait = sim_gate_wait,
    .gate_open = sim_gate_open,
    .wake = sim_loop_wake,
    .now = io_sim_now,
    .random = io_sim_random,
    .listen = sim_net_listen,
    .socket = sim_net_socket,
    .close = sim_loop_close,
    .shutdown = sim_net_shutdown,
    .worker_new = sim_worker_new,
    .worker_post = sim_worker_post,
    .worker_free = sim_worker_free,
    .open = sim_file_open,
    .pread = sim_file_pread,
    .pwrite = sim_file_pwrite,
    .fsync = sim_file_fsync,
    .file_size = sim_file_size,
    .truncate = sim_file_truncate,
    .mkdir = sim_file_mkdir,
    .sync_dir = sim_file_sync_dir,
    .rename = sim_file_rename,
    .unlink = sim_file_unlink,
    .list = sim_file_list,
    .lock = sim_file_lock,
    .fs_probe = sim_file_fs_probe,
};

/* ---- the world ----------------------------------------------------------- */

struct sim *sim_new(uint64_t seed)
{
    struct sim *sim = calloc(1, sizeof(*sim));
    RR_ASSERT(sim);
    sim->seed = seed;
    sim->trace = seed;
    sim->now = 1000000000; /* a machine is never at time 0 */
    sim->schedule = stream_make(seed, 1);
    sim->net = stream_make(seed, 2);
    sim->driver = stream_make(seed, 3);
    sim->net_delay_min_ns = 20000;
    sim->net_delay_max_ns = 200000;
    return sim;
}

struct machine *sim_machine_at(const struct sim *sim, uint32_t number)
{
    RR_ASSERT(number >= 1 && number <= SIM_MACHINES_MAX && sim->machines[number - 1]);
    return sim->machines[number - 1];
}

struct io *sim_machine(struct sim *sim, uint32_t number)
{
    RR_ASSERT(number >= 1 && number <= SIM_MACHINES_MAX);
    struct machine *machine = sim->machines[number - 1];
    if (machine)
        return &machine->io;
    machine = calloc(1, sizeof(*machine));
    RR_ASSERT(machine);
    machine->io.ops = &sim_ops;
    machine->sim = sim;
    machine->number = number;
    machine->completed.end = &machine->completed.first;
    machine->process = stream_make(sim->seed, 100 + number);
    machine->latency_min_ns = 50000;
    machine->latency_max_ns = 300000;
    machine->next_port = 40000;
    machine->clock_ppm = 1000000;
    machine->job_cost_max_ns = 300000;
    disk_init(&machine->disk, sim->seed + number);
    sim->machines[number - 1] = machine;
    return &machine->io;
}

struct io_address sim_address(uint32_t number, uint16_t port)
{
    return (struct io_address){LOOPBACK | number, port};
}

/* ---- crashes ------------------------------------------------------------- */

static void crash(struct machine *machine, bool power, enum sim_power_loss how)
{
    if (machine->is_crashed)
        return;
    sim_trace(machine->sim, machine->number, power, how);
    machine->is_crashed = true;
    machine->is_paused = false;
    machine->held_workers = NULL;
    machine->has_missed_turn = false;
    machine->lost_power = power;
    machine->crash_countdown = 0;
    machine_forget_loop(machine);
    if (power)
        disk_power_loss(&machine->disk, how);
}

void sim_kill(struct sim *sim, uint32_t number)
{
    crash(sim_machine_at(sim, number), false, SIM_KEEP_ALL);
}

void sim_power_loss(struct sim *sim, uint32_t number, enum sim_power_loss how)
{
    crash(sim_machine_at(sim, number), true, how);
}

bool sim_crashed(const struct sim *sim, uint32_t number)
{
    return sim_machine_at(sim, number)->is_crashed;
}

bool machine_crash_point(struct machine *machine)
{
    if (machine->is_crashed)
        return false;
    machine->crash_points++;
    if (machine->crash_countdown == 0 || --machine->crash_countdown > 0)
        return true;
    crash(machine, machine->crash_power, machine->crash_how);
    return false;
}

void sim_crash_at_io(struct sim *sim, uint32_t number, uint64_t countdown, bool power,
                     enum sim_power_loss how)
{
    struct machine *machine = sim_machine_at(sim, number);
    machine->crash_countdown = countdown;
    machine->crash_power = power;
    machine->crash_how = how;
}

uint64_t sim_crash_points(const struct sim *sim, uint32_t number)
{
    return sim_machine_at(sim, number)->crash_points;
}

void sim_reset(struct sim *sim, uint32_t number)
{
    struct machine *machine = sim_machine_at(sim, number);

    RR_ASSERT(!sim->in_event && !machine->is_looping);
    RR_ASSERT(!machine->flights && !machine->completed.first); /* join came first */
    RR_ASSERT(!machine->workers);                              /* each was freed */
    RR_ASSERT(machine->slots_open == 0); /* an orderly process closes what it opened */
    sim_trace(sim, number, machine->crash_points, 0);
    machine->slot_count = 0;
    machine->is_crashed = false;
    machine->lost_power = false;
    machine->crash_countdown = 0;
    machine->busy_until = sim->now;
}

void sim_free(struct sim *sim)
{
    for (uint32_t i = 0; i < SIM_MACHINES_MAX; i++) {
        struct machine *machine = sim->machines[i];
        if (!machine)
            continue;
        crash(machine, true, SIM_LOSE_ALL);
        sim_reset(sim, i + 1);
    }
    stream_fini(sim);
    for (uint32_t i = 0; i < SIM_MACHINES_MAX; i++) {
        if (!sim->machines[i])
            continue;
        disk_fini(&sim->machines[i]->disk);
        free(sim->machines[i]->slots);
        free(sim->machines[i]);
    }
    RR_ASSERT(sim->heap.count == 0);
    sim_heap_fini(&sim->heap);
    free(sim);
}
