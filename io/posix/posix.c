/* SPDX-License-Identifier: Apache-2.0
 *
 * The posix backend: epoll for sockets and the wake-up, a thread for the disk. What an op is on the
 * way through stands in posix_op.h, the loop itself in io/os/os_loop.c.
 *
 * Happy path: submit gives file ops to the disk thread and stages socket ops; enter tries the
 * staged ones and waits in epoll_wait, once per turn, unless something is answered already;
 * dispatch calls the dones. A finished file op wakes the loop like any worker's job. Failure path:
 * results carry the errno.
 */
#include "io/posix/posix.h"

#include "io/posix/posix_op.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

/* Events taken by one epoll_wait; what is left over comes with the next. */
#define EVENT_BATCH 256

static void submit(struct io *io, struct io_op *op)
{
    struct posix *posix = posix_of(io);
    struct posix_op *own = posix_op_of(op);
    RR_ASSERT(!op->in_flight && op->done != NULL);
    RR_ASSERT(op->fd >= 0 && op->kind <= IO_RECV);
    io->submit_count++;
    op->in_flight = true;
    own->io = io;
    own->op = op;
    atomic_init(&own->is_cancel_asked, false);
    if (op->kind == IO_WRITE)
        os_writes_add(&posix->loop.writes, &own->write, op);
    if (atomic_load_explicit(&posix->is_ending, memory_order_relaxed))
        posix_answer(posix, op, -ECANCELED);
    else if (op->kind == IO_READ || op->kind == IO_WRITE || op->kind == IO_SYNC)
        posix_disk_submit(posix, op);
    else
        posix_socket_submit(posix, op);
}

static void cancel(struct io *io, struct io_op *op)
{
    struct posix_op *own = posix_op_of(op);
    if (!op->in_flight || own->state == POSIX_ANSWERED)
        return;
    if (own->state == POSIX_DISK)
        atomic_store_explicit(&own->is_cancel_asked, true, memory_order_relaxed);
    else
        posix_socket_cancel(posix_of(io), op);
}

static struct posix *posix_of_loop(struct os_loop *loop)
{
    return posix_of(&loop->io);
}

static int begin(struct os_loop *loop)
{
    (void)loop;
    return 0;
}

static void end(struct os_loop *loop)
{
    (void)loop;
}

/* Whole milliseconds, rounded up: a turn may come late by one, never early. epoll_pwait2 is finer
 * but unknown to the kernels and filters that this backend is for. */
static int to_timeout_ms(uint64_t wait_ns)
{
    if (wait_ns == UINT64_MAX)
        return -1;
    return (int)rr_min_u64((wait_ns + 999999) / 1000000, 1000000);
}

static void enter(struct os_loop *loop, uint64_t wait_ns)
{
    struct posix *posix = posix_of_loop(loop);
    struct epoll_event events[EVENT_BATCH];
    posix_socket_try_staged(posix);
    bool may_wait = wait_ns != 0 && posix->answered.head == NULL;
    loop->io.enter_count++;
    loop->io.wait_count += may_wait;
    int count =
        epoll_wait(posix->epoll_fd, events, EVENT_BATCH, may_wait ? to_timeout_ms(wait_ns) : 0);
    RR_ASSERT(count >= 0 || errno == EINTR);
    for (int i = 0; i < count; i++) {
        if (events[i].data.fd != loop->wake_fd)
            posix_socket_ready(posix, events[i].data.fd);
    }
}

static void dispatch(struct os_loop *loop)
{
    struct posix *posix = posix_of_loop(loop);
    struct io_op *op = os_list_take(&posix->answered);
    while (op != NULL) {
        struct io_op *next = op->next;
        posix_finish(posix, op);
        op = next;
    }
    os_workers_collect(&posix->disks);
}

static void cancel_all(struct os_loop *loop)
{
    struct posix *posix = posix_of_loop(loop);
    atomic_store_explicit(&posix->is_ending, true, memory_order_relaxed);
    posix_socket_cancel_all(posix);
}

static bool is_idle(const struct os_loop *loop)
{
    const struct posix *posix = (const struct posix *)loop;
    return posix->on_disk == 0 && posix->parked_count == 0 && posix->staged.head == NULL &&
           posix->answered.head == NULL;
}

static int notify_fd(struct os_loop *loop, uint32_t *events)
{
    *events = EPOLLIN;
    return posix_of_loop(loop)->epoll_fd;
}

static bool is_due(const struct os_loop *loop)
{
    const struct posix *posix = (const struct posix *)loop;
    return posix->answered.head || posix->staged.head;
}

static const struct os_driver driver = {.begin = begin,
                                        .enter = enter,
                                        .dispatch = dispatch,
                                        .cancel_all = cancel_all,
                                        .is_idle = is_idle,
                                        .notify_fd = notify_fd,
                                        .is_due = is_due,
                                        .end = end};

static int listen_nonblocking(struct io *io, const struct io_address *address,
                              struct io_address *bound)
{
    (void)io;
    return os_socket_listen(address, bound, SOCK_NONBLOCK);
}

static int socket_nonblocking(struct io *io, uint32_t patience_ms)
{
    (void)io;
    return os_socket_new(SOCK_NONBLOCK, patience_ms);
}

static const struct io_ops ops = {.name = "posix",
                                  .submit = submit,
                                  .cancel = cancel,
                                  .listen = listen_nonblocking,
                                  .socket = socket_nonblocking,
                                  .close = posix_socket_close,
                                  .lock = os_file_lock,
                                  OS_LOOP_OPS};

/* The wake-up's eventfd is never read: edge-triggered, each write is an event. */
static int open_epoll(struct posix *posix)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.fd = posix->loop.wake_fd};
    posix->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (posix->epoll_fd < 0)
        return -errno;
    if (epoll_ctl(posix->epoll_fd, EPOLL_CTL_ADD, posix->loop.wake_fd, &event) == 0)
        return 0;
    int err = -errno;
    os_file_close(NULL, posix->epoll_fd);
    return err;
}

int posix_open(struct io **io, struct rr_error *error)
{
    struct posix *posix = aligned_alloc(64, rr_align_up(sizeof(*posix), 64));
    if (posix == NULL)
        return rr_fail(error, RR_E_NO_MEMORY, "no memory for the loop");
    memset(posix, 0, sizeof(*posix));
    os_list_init(&posix->staged);
    os_list_init(&posix->answered);
    int err = os_loop_init(&posix->loop, &ops, &driver);
    if (err < 0) {
        err = rr_fail(error, RR_E_IO, "no file descriptor left for the loop's wake-up: %s",
                      strerror(-err));
        goto fail_memory;
    }
    err = open_epoll(posix);
    if (err < 0) {
        err = rr_fail(error, RR_E_IO, "epoll cannot be set up: %s", strerror(-err));
        goto fail_loop;
    }
    posix->disk = os_worker_new(&posix->loop.io, &posix->disks, "rr-disk");
    if (posix->disk == NULL) {
        err = rr_fail(error, RR_E_NO_MEMORY, "no thread to be had for the disk");
        goto fail_epoll;
    }
    *io = &posix->loop.io;
    return 0;

fail_epoll:
    os_file_close(NULL, posix->epoll_fd);
fail_loop:
    os_loop_fini(&posix->loop);
fail_memory:
    free(posix);
    return err;
}

void posix_free(struct io *io)
{
    struct posix *posix = posix_of(io);
    RR_ASSERT(io->ops == &ops);
    RR_ASSERT(is_idle(&posix->loop));
    os_worker_free(posix->disk);
    os_file_close(NULL, posix->epoll_fd);
    os_loop_fini(&posix->loop);
    free(posix->sockets);
    free(posix);
}
