/* SPDX-License-Identifier: Apache-2.0
 *
 * The loop's life. HOT: run_loop and what it calls. The io_worker's and the wake-up's own stories
 * stand in os_worker.c and os_wake.h.
 *
 * Happy path: os_loop_start makes the thread; it begins the driver, tells start, and then turns:
 * dispatch, finished jobs, turn function, enter. When the turn function returns false, everything
 * in flight is cancelled and waited for, and the thread ends. Failure path: a driver that cannot
 * begin makes start fail with its errno.
 */
#include "io/os/os_loop.h"

#include "io/os/os_thread.h"
#include "proto/base.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

/* While the loop ends: how long one enter waits before everything is cancelled once more. An op
 * that was between two states when it was cancelled is caught by the next attempt. */
#define CANCEL_AGAIN_NS 10000000u

uint64_t os_loop_clock(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

int os_loop_init(struct os_loop *loop, const struct io_ops *ops, const struct os_driver *driver)
{
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->wake_fd < 0)
        return -errno;
    loop->io.ops = ops;
    loop->driver = driver;
    atomic_init(&loop->wake.state, OS_WAKE_NOTIFIED);
    pthread_mutex_init(&loop->begin_lock, NULL);
    pthread_cond_init(&loop->begin_cond, NULL);
    return 0;
}

void os_loop_fini(struct os_loop *loop)
{
    RR_ASSERT(loop->state != OS_LOOP_RUNNING);
    RR_ASSERT(loop->workers.head == NULL);
    pthread_cond_destroy(&loop->begin_cond);
    pthread_mutex_destroy(&loop->begin_lock);
    os_embed_fini(&loop->io);
    os_file_close(&loop->io, loop->wake_fd);
}

/* Submits, waits at most until the deadline unless somebody woke us, and reads the clock. */
static void enter_kernel(struct os_loop *loop, uint64_t deadline_ns)
{
    uint64_t wait_ns = deadline_ns == UINT64_MAX    ? UINT64_MAX
                       : deadline_ns > loop->now_ns ? deadline_ns - loop->now_ns
                                                    : 0;
    bool may_sleep = wait_ns != 0 && os_wake_may_sleep(&loop->wake);
    loop->driver->enter(loop, may_sleep ? wait_ns : 0);
    /* Slept and notified: exactly one notifier found us asleep, and wrote the eventfd. */
    if (os_wake_resume(&loop->wake) && may_sleep)
        loop->io.wake_count++;
    loop->now_ns = os_loop_clock();
}

static void run_turns(struct os_loop *loop)
{
    for (;;) {
        uint64_t deadline_ns = UINT64_MAX;
        loop->driver->dispatch(loop);
        os_workers_collect(&loop->workers);
        loop->io.turn_count++;
        if (!loop->turn(loop->turn_ctx, loop->now_ns, &deadline_ns))
            return;
        enter_kernel(loop, deadline_ns);
    }
}

static void finish_ops(struct os_loop *loop)
{
    for (;;) {
        loop->driver->cancel_all(loop);
        loop->driver->dispatch(loop);
        if (loop->driver->is_idle(loop))
            return;
        enter_kernel(loop, loop->now_ns + CANCEL_AGAIN_NS);
    }
}

/* The same for a loop whose thread never ran: nothing is in the kernel. Rare, so it may spin. */
static RR_COLD void finish_unstarted(struct os_loop *loop)
{
    do {
        loop->driver->cancel_all(loop);
        loop->driver->dispatch(loop);
    } while (!loop->driver->is_idle(loop));
}

static void report_begin(struct os_loop *loop, int result)
{
    pthread_mutex_lock(&loop->begin_lock);
    loop->has_begun = true;
    loop->begin_result = result;
    pthread_cond_signal(&loop->begin_cond);
    pthread_mutex_unlock(&loop->begin_lock);
}

static void *run_loop(void *arg)
{
    struct os_loop *loop = arg;
    os_gate_enter(&loop->io);
    int result = loop->driver->begin(loop);
    loop->now_ns = os_loop_clock();
    report_begin(loop, result);
    if (result < 0)
        return NULL;
    os_wake_resume(&loop->wake);
    run_turns(loop);
    finish_ops(loop);
    loop->driver->end(loop);
    return NULL;
}

int os_loop_start(struct io *io, bool (*turn)(void *ctx, uint64_t now_ns, uint64_t *deadline_ns),
                  void *ctx)
{
    struct os_loop *loop = os_loop_of(io);
    RR_ASSERT(loop->state == OS_LOOP_OPEN);
    loop->turn = turn;
    loop->turn_ctx = ctx;
    loop->state = OS_LOOP_RUNNING;
    int result = os_thread_start(&loop->thread, "rr-loop", run_loop, loop);
    if (result == 0) {
        pthread_mutex_lock(&loop->begin_lock);
        while (!loop->has_begun)
            pthread_cond_wait(&loop->begin_cond, &loop->begin_lock);
        result = loop->begin_result;
        pthread_mutex_unlock(&loop->begin_lock);
        if (result < 0)
            os_thread_join(loop->thread);
    }
    if (result < 0)
        loop->state = OS_LOOP_OPEN; /* to be joined like one that was never started */
    return result;
}

/* Only its owner may. A driver that never began holds nothing in the kernel. */
static void end_embedded(struct os_loop *loop)
{
    RR_ASSERT(os_embed_is_mine(&loop->embed));
    if (os_embed_run_to_end(&loop->io) < 0) {
        finish_unstarted(loop);
        return;
    }
    os_gate_enter(&loop->io);
    finish_ops(loop);
    os_gate_enter(NULL);
    loop->driver->end(loop);
}

void os_loop_join(struct io *io)
{
    struct os_loop *loop = os_loop_of(io);
    if (loop->state == OS_LOOP_RUNNING && loop->embed.is_on)
        end_embedded(loop);
    else if (loop->state == OS_LOOP_RUNNING)
        os_thread_join(loop->thread);
    else if (loop->state == OS_LOOP_OPEN)
        finish_unstarted(loop);
    loop->state = OS_LOOP_JOINED;
}

static RR_COLD void kick(int wake_fd)
{
    ssize_t n = write(wake_fd, &(uint64_t){1}, sizeof(uint64_t));
    RR_ASSERT(n == sizeof(uint64_t)); /* the counter has room for 2^64 - 2 of them */
}

void os_loop_wake(struct io *io)
{
    struct os_loop *loop = os_loop_of(io);
    if (os_wake_notify(&loop->wake))
        kick(loop->wake_fd);
}

uint64_t os_loop_now(struct io *io)
{
    struct os_loop *loop = os_loop_of(io);
    return loop->state == OS_LOOP_RUNNING ? loop->now_ns : os_loop_clock();
}

uint64_t os_loop_random(struct io *io)
{
    (void)io;
    uint64_t number;
    ssize_t n = getrandom(&number, sizeof(number), 0); /* so few bytes are never cut short */
    RR_ASSERT(n == sizeof(number));
    return number;
}

struct io_worker *os_loop_worker_new(struct io *io, const char *name)
{
    return os_worker_new(io, &os_loop_of(io)->workers, name);
}
