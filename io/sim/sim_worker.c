/* SPDX-License-Identifier: Apache-2.0
 *
 * Workers in virtual time. A job starts a while after it was posted (or after its predecessor
 * ended), its `run` takes effect at once, and a random time later its `done` is called in a turn of
 * the loop. A crash between the two leaves what `run` did to the disk and tells nobody.
 */
#include "io/sim/sim_machine.h"

#include <stdlib.h>
#include <string.h>

#define JOB_START_MAX_NS 30000u

static void push(struct job_queue *queue, struct io_job *job)
{
    job->next = NULL;
    *queue->end = job;
    queue->end = &job->next;
}

static struct io_job *pop(struct job_queue *queue)
{
    struct io_job *job = queue->first;
    RR_ASSERT(job);
    queue->first = job->next;
    if (!job->next)
        queue->end = &queue->first;
    job->next = NULL;
    return job;
}

static void schedule(struct io_worker *worker, uint64_t delay_max)
{
    struct sim *sim = worker->machine->sim;
    sim_schedule(sim, &worker->event, sim->now + stream_below(&sim->schedule, delay_max));
}

static bool must_wait(const struct io_worker *worker)
{
    const struct machine *machine = worker->machine;
    bool sleeps = machine->held_workers && strcmp(machine->held_workers, worker->name) == 0;
    return machine->is_paused || (machine->is_hung && worker->uses_disk) || sleeps;
}

static void run_worker(struct sim_event *event)
{
    struct io_worker *worker = RR_CONTAINER_OF(event, struct io_worker, event);
    struct io_job *job = worker->waiting.first;

    worker->is_held = must_wait(worker);
    if (worker->is_held)
        return;
    if (!worker->has_run) {
        worker->has_run = true;
        worker->machine->working = worker;
        job->run(job);
        worker->machine->working = NULL;
        if (!worker->machine->is_crashed)
            schedule(worker, worker->machine->job_cost_max_ns);
        return;
    }
    push(&worker->finished, pop(&worker->waiting));
    worker->has_run = false;
    if (worker->waiting.first)
        schedule(worker, JOB_START_MAX_NS);
    machine_request_turn(worker->machine, worker->machine->sim->now);
}

struct io_worker *sim_worker_new(struct io *io, const char *name)
{
    struct machine *machine = machine_of(io);
    struct io_worker *worker = calloc(1, sizeof(*worker));

    RR_ASSERT(worker && name);
    worker->machine = machine;
    worker->name = name;
    worker->event.run = run_worker;
    worker->waiting.end = &worker->waiting.first;
    worker->finished.end = &worker->finished.first;
    worker->next = machine->workers;
    machine->workers = worker;
    return worker;
}

void sim_worker_post(struct io_worker *worker, struct io_job *job)
{
    bool was_idle = worker->waiting.first == NULL;
    push(&worker->waiting, job);
    if (was_idle && !worker->machine->is_crashed)
        schedule(worker, JOB_START_MAX_NS);
}

void sim_worker_dispatch(struct io_worker *worker)
{
    while (worker->finished.first && !worker->machine->is_crashed) {
        struct io_job *job = pop(&worker->finished);
        job->done(job);
    }
}

void sim_worker_stop(struct io_worker *worker)
{
    worker->is_held = false;
    if (worker->event.slot != 0)
        sim_unschedule(worker->machine->sim, &worker->event);
}

void sim_worker_release(struct io_worker *worker)
{
    if (!worker->is_held || must_wait(worker))
        return;
    worker->is_held = false;
    schedule(worker, JOB_START_MAX_NS);
}

void sim_worker_free(struct io_worker *worker)
{
    struct machine *machine = worker->machine;

    sim_worker_stop(worker);
    while (worker->finished.first || worker->waiting.first) {
        if (!worker->finished.first) {
            struct io_job *job = worker->waiting.first;
            if (!worker->has_run)
                job->run(job);
            worker->has_run = false;
            push(&worker->finished, pop(&worker->waiting));
        }
        struct io_job *job = pop(&worker->finished);
        job->done(job);
        sim_worker_stop(worker); /* `done` may have posted to an idle worker */
    }
    struct io_worker **link = &machine->workers;
    while (*link != worker)
        link = &(*link)->next;
    *link = worker->next;
    free(worker);
}
