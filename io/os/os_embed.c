/* SPDX-License-Identifier: Apache-2.0 */
#include "io/os/os_embed.h"

#include "io/os/os_gate.h"
#include "io/os/os_loop.h"
#include "proto/base.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define SECOND_NS 1000000000u

static struct os_embed *embed_of(struct io *io)
{
    return &os_loop_of(io)->embed;
}

/* ---- opening --------------------------------------------------------------- */

/* Fires at a point of the clock, at once if that is over. Setting it earlier than needed costs a
 * turn without work; setting it again at each turn would cost a call into the kernel. */
static void set_timer(struct os_loop *loop, uint64_t at_ns)
{
    struct os_embed *embed = &loop->embed;
    bool fires_in_time = embed->timer_at_ns > loop->now_ns && embed->timer_at_ns <= at_ns;
    if (at_ns == UINT64_MAX || fires_in_time)
        return;
    embed->timer_at_ns = rr_max_u64(at_ns, 1);
    struct itimerspec time = {.it_value = {.tv_sec = (time_t)(embed->timer_at_ns / SECOND_NS),
                                           .tv_nsec = (long)(embed->timer_at_ns % SECOND_NS)}};
    int err = timerfd_settime(embed->timer_fd, TFD_TIMER_ABSTIME, &time, NULL);
    RR_ASSERT(err == 0);
}

static int watch(struct os_embed *embed, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    return epoll_ctl(embed->poll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

static int make_fds(struct os_loop *loop)
{
    struct os_embed *embed = &loop->embed;
    uint32_t events = EPOLLIN;
    embed->poll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (embed->poll_fd < 0)
        return -errno;
    embed->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (embed->timer_fd < 0)
        return -errno;
    int fd = loop->driver->notify_fd(loop, &events);
    if (fd < 0)
        return fd;
    int err = watch(embed, fd, events);
    return err == 0 ? watch(embed, embed->timer_fd, EPOLLIN | EPOLLET) : err;
}

int os_embed_start(struct io *io, bool (*turn)(void *ctx, uint64_t now_ns, uint64_t *deadline_ns),
                   void *ctx)
{
    struct os_loop *loop = os_loop_of(io);
    RR_ASSERT(loop->state == OS_LOOP_OPEN && !loop->embed.is_on);
    loop->embed = (struct os_embed){.poll_fd = -1, .timer_fd = -1, .is_on = true};
    loop->turn = turn;
    loop->turn_ctx = ctx;
    loop->now_ns = os_loop_clock();
    int err = make_fds(loop);
    if (err < 0)
        return err;
    loop->state = OS_LOOP_RUNNING;
    set_timer(loop, 0); /* the first turn is due at once */
    return loop->embed.poll_fd;
}

void os_embed_fini(struct io *io)
{
    struct os_embed *embed = embed_of(io);
    if (!embed->is_on)
        return;
    if (embed->timer_fd >= 0)
        os_file_close(io, embed->timer_fd);
    if (embed->poll_fd >= 0)
        os_file_close(io, embed->poll_fd);
}

/* ---- whose it is ----------------------------------------------------------- */

/* One address per living thread. */
static uintptr_t this_thread(void)
{
    static _Thread_local char own;
    return (uintptr_t)&own;
}

bool os_embed_is_mine(const struct os_embed *embed)
{
    uintptr_t owner = atomic_load(&embed->owner);
    return (owner == 0 || owner == this_thread()) && !embed->is_inside;
}

static bool take(struct os_embed *embed)
{
    uintptr_t nobody = 0;
    atomic_compare_exchange_strong(&embed->owner, &nobody, this_thread());
    return os_embed_is_mine(embed);
}

/* ---- a turn ---------------------------------------------------------------- */

/* What made the fd readable is over with this; who comes before anything did may wait. */
static void consume(struct os_embed *embed, uint32_t wait_ms)
{
    struct epoll_event events[2];
    int count = epoll_wait(embed->poll_fd, events, 2, wait_ms > INT32_MAX ? -1 : (int)wait_ms);
    RR_ASSERT(count >= 0 || errno == EINTR);
    for (int i = 0; i < count; i++)
        if (events[i].data.fd == embed->timer_fd)
            embed->timer_at_ns = 0;
}

static void run_turn(struct os_loop *loop)
{
    uint64_t deadline_ns = UINT64_MAX;
    if (os_wake_resume(&loop->wake))
        loop->io.wake_count++;
    loop->driver->enter(loop, 0);
    loop->now_ns = os_loop_clock();
    loop->driver->dispatch(loop);
    os_workers_collect(&loop->workers);
    loop->io.turn_count++;
    if (!loop->turn(loop->turn_ctx, loop->now_ns, &deadline_ns)) {
        loop->embed.has_ended = true;
        return;
    }
    loop->driver->enter(loop, 0);
    bool may_sleep = !loop->driver->is_due(loop) && os_wake_may_sleep(&loop->wake);
    set_timer(loop, may_sleep ? deadline_ns : 0);
}

int os_embed_turn(struct io *io, uint32_t wait_ms)
{
    struct os_loop *loop = os_loop_of(io);
    struct os_embed *embed = &loop->embed;
    RR_ASSERT(embed->is_on && loop->state == OS_LOOP_RUNNING);
    if (!take(embed))
        return -EPERM;
    if (!embed->has_begun) {
        int err = loop->driver->begin(loop);
        if (err < 0)
            return err;
        embed->has_begun = true;
    }
    if (embed->has_ended)
        return 0;
    consume(embed, wait_ms);
    embed->is_inside = true;
    os_gate_enter(io);
    run_turn(loop);
    os_gate_enter(NULL);
    embed->is_inside = false;
    return 0;
}

int os_embed_run_to_end(struct io *io)
{
    struct os_embed *embed = embed_of(io);
    int err = 0;
    while (err == 0 && !embed->has_ended)
        err = os_embed_turn(io, UINT32_MAX);
    return err;
}
