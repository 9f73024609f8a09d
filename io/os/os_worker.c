/* SPDX-License-Identifier: Apache-2.0
 *
 * Worker threads. HOT: post and collect run in every turn; they lock and allocate nothing.
 *
 * Happy path: post pushes a job and kicks the worker if it sleeps (futex); the worker takes all
 * jobs at once, runs them in order, pushes each back as it is finished and wakes the loop; collect,
 * in the loop's turn, takes all finished ones at once and calls their done. Failure path: none; a
 * job that fails says so in its own struct.
 */
#include "io/os/os_worker.h"

#include "io/os/os_gate.h"
#include "io/os/os_thread.h"
#include "io/os/os_wake.h"
#include "proto/base.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* One producer pushes at the head, one consumer takes the whole chain and turns it round. Since it
 * is only ever taken whole there is no ABA. */
struct job_list {
    struct io_job *_Atomic head;
};

struct io_worker {
    struct io *io;              /* to wake its loop */
    struct os_workers *workers; /* the set it stands in */
    struct io_worker *next;
    struct job_list posted;   /* loop to worker */
    struct job_list finished; /* worker to loop */
    struct os_wake wake;      /* the worker sleeps on it */
    _Atomic bool stopping;    /* set by free, read by the thread once `posted` is empty */
    pthread_t thread;
};

static void push_job(struct job_list *list, struct io_job *job)
{
    struct io_job *head = atomic_load_explicit(&list->head, memory_order_relaxed);
    do
        job->next = head;
    while (!atomic_compare_exchange_weak_explicit(&list->head, &head, job, memory_order_release,
                                                  memory_order_relaxed));
}

/* The chain in the order of pushing. */
static struct io_job *take_jobs(struct job_list *list)
{
    struct io_job *in_order = NULL;
    if (atomic_load_explicit(&list->head, memory_order_relaxed) == NULL)
        return NULL;
    struct io_job *job = atomic_exchange_explicit(&list->head, NULL, memory_order_acquire);
    while (job != NULL) {
        struct io_job *next = job->next;
        job->next = in_order;
        in_order = job;
        job = next;
    }
    return in_order;
}

static void sleep_until_notified(struct os_wake *wake)
{
    while (atomic_load_explicit(&wake->state, memory_order_relaxed) == OS_WAKE_SLEEPING) {
        long err = syscall(SYS_futex, &wake->state, FUTEX_WAIT_PRIVATE, OS_WAKE_SLEEPING, NULL);
        RR_ASSERT(err == 0 || errno == EAGAIN || errno == EINTR);
    }
}

static void notify(struct io_worker *worker)
{
    if (!os_wake_notify(&worker->wake))
        return;
    long err = syscall(SYS_futex, &worker->wake.state, FUTEX_WAKE_PRIVATE, 1);
    RR_ASSERT(err >= 0);
}

static void *run_worker(void *arg)
{
    struct io_worker *worker = arg;
    os_gate_enter(worker->io);
    for (;;) {
        os_wake_resume(&worker->wake);
        struct io_job *job = take_jobs(&worker->posted);
        if (job == NULL) {
            if (atomic_load_explicit(&worker->stopping, memory_order_relaxed))
                return NULL;
            if (os_wake_may_sleep(&worker->wake))
                sleep_until_notified(&worker->wake);
            continue;
        }
        while (job != NULL) {
            struct io_job *next = job->next;
            job->run(job);
            push_job(&worker->finished, job); /* from here on it is the loop's */
            io_wake(worker->io);
            job = next;
        }
    }
}

struct io_worker *os_worker_new(struct io *io, struct os_workers *workers, const char *name)
{
    RR_ASSERT(!workers->collecting);
    struct io_worker *worker = calloc(1, sizeof(*worker));
    if (worker == NULL)
        return NULL;
    worker->io = io;
    worker->workers = workers;
    if (os_thread_start(&worker->thread, name, run_worker, worker) != 0) {
        free(worker);
        return NULL;
    }
    worker->next = workers->head;
    workers->head = worker;
    return worker;
}

void os_worker_post(struct io_worker *worker, struct io_job *job)
{
    RR_ASSERT(job->run != NULL && job->done != NULL);
    RR_ASSERT(!atomic_load_explicit(&worker->stopping, memory_order_relaxed));
    push_job(&worker->posted, job);
    notify(worker);
}

static void call_dones(struct io_worker *worker)
{
    struct io_job *job = take_jobs(&worker->finished);
    while (job != NULL) {
        struct io_job *next = job->next;
        job->done(job);
        job = next;
    }
}

void os_worker_free(struct io_worker *worker)
{
    struct os_workers *workers = worker->workers;
    RR_ASSERT(!workers->collecting);
    atomic_store_explicit(&worker->stopping, true, memory_order_relaxed);
    notify(worker);
    os_thread_join(worker->thread);
    RR_ASSERT(atomic_load(&worker->posted.head) == NULL);
    call_dones(worker);

    struct io_worker **link = &workers->head;
    while (*link != worker)
        link = &(*link)->next;
    *link = worker->next;
    free(worker);
}

void os_workers_collect(struct os_workers *workers)
{
    workers->collecting = true;
    for (struct io_worker *worker = workers->head; worker != NULL; worker = worker->next)
        call_dones(worker);
    workers->collecting = false;
}
