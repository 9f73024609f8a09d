/* SPDX-License-Identifier: Apache-2.0
 *
 * The ring: made at open, taken into possession by the loop's thread, entered once per turn. HOT:
 * enter and dispatch. What an op is on the way through stands in uring_op.h, the loop itself in
 * io/os/os_loop.c.
 *
 * Happy path: uring_open makes the ring disabled (so that all errors come here) and probes it; the
 * loop's thread enables it, which makes that thread its single issuer, and registers its fd; each
 * turn fills the SQ and enters once, to submit, to run deferred task work and to wait; the CQEs
 * are dispatched flat. Failure path: what is missing is explained in a sentence (uring_probe.c).
 *
 * Nothing is dropped: ops that find the SQ full stay staged, and a CQ that overflows is kept by the
 * kernel (NODROP) and flushed by the next enter, which always asks for events.
 *
 * The wake-up is a multishot poll of an eventfd whose counter is never read: each write makes one
 * CQE, and nothing has to be armed again. NO_SQARRAY must never be set with liburing 2.3: it
 * overwrites the ring's header.
 */
#include "io/uring/uring.h"

#include "io/uring/uring_op.h"
#include "io/uring/uring_probe.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#define SQ_ENTRIES_DEFAULT 256
#define CQ_ENTRIES_DEFAULT 4096
#define SETUP_FLAGS                                                                                \
    (IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |           \
     IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP)

static struct uring *uring_of_loop(struct os_loop *loop)
{
    return uring_of(&loop->io);
}

/* Enabling makes this thread the single issuer (liburing 2.3 forgot to export its function for it).
 * A ring fd that cannot be registered costs 20 ns per enter and nothing else. */
static int begin(struct os_loop *loop)
{
    struct uring *uring = uring_of_loop(loop);
    int err =
        io_uring_register((unsigned)uring->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    if (err < 0)
        return err;
    uring->enter_flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;
    if (io_uring_register_ring_fd(&uring->ring) == 1)
        uring->enter_flags |= IORING_ENTER_REGISTERED_RING;
    uring->enter_fd = uring->ring.enter_ring_fd;
    return 0;
}

/* The registration is of this thread, so it has to be undone here. */
static void end(struct os_loop *loop)
{
    struct uring *uring = uring_of_loop(loop);
    if (uring->enter_flags & IORING_ENTER_REGISTERED_RING)
        io_uring_unregister_ring_fd(&uring->ring);
}

/* What an enter may answer besides a count. ETIME: the deadline. EINTR: a signal (a debugger, since
 * ours are blocked). EAGAIN, EBUSY: no memory for a request, or the overflow list must be reaped
 * first; what was not taken is still in the SQ and goes with the next enter. */
static RR_COLD void check_enter(int err)
{
    RR_ASSERT(err == -ETIME || err == -EINTR || err == -EAGAIN || err == -EBUSY);
}

static void enter(struct os_loop *loop, uint64_t wait_ns)
{
    struct uring *uring = uring_of_loop(loop);
    struct io_uring_sq *sq = &uring->ring.sq;
    uring_fill(uring);
    bool may_wait = wait_ns != 0 && uring->staged.head == NULL && uring->answered.head == NULL &&
                    uring->cancels.head == NULL && (uring->is_wake_armed || uring->is_ending);

    /* The kernel reads the tail in the enter below, on this thread: no barrier is needed. */
    sq->sqe_head = sq->sqe_tail;
    *sq->ktail = sq->sqe_tail;
    unsigned submit_count = io_uring_sq_ready(&uring->ring);

    struct __kernel_timespec limit = {.tv_sec = (int64_t)(wait_ns / 1000000000u),
                                      .tv_nsec = (int64_t)(wait_ns % 1000000000u)};
    struct io_uring_getevents_arg arg = {
        .ts = may_wait && wait_ns != UINT64_MAX ? (uint64_t)(uintptr_t)&limit : 0};
    loop->io.enter_count++;
    loop->io.wait_count += may_wait;
    int taken = io_uring_enter2((unsigned)uring->enter_fd, submit_count, may_wait ? 1 : 0,
                                uring->enter_flags, (void *)&arg, sizeof(arg));
    if (RR_UNLIKELY(taken < 0))
        check_enter(taken);
}

static void dispatch(struct os_loop *loop)
{
    struct uring *uring = uring_of_loop(loop);
    struct io_uring_cqe *cqe;
    unsigned head, count = 0;
    io_uring_for_each_cqe(&uring->ring, head, cqe)
    {
        uring_complete(uring, cqe->user_data, cqe->res, cqe->flags);
        count++;
    }
    io_uring_cq_advance(&uring->ring, count);
    uring_finish_quiet(uring);
    uring_answer(uring);
}

static void cancel_all(struct os_loop *loop)
{
    uring_cancel_all(uring_of_loop(loop));
}

static bool is_idle(const struct os_loop *loop)
{
    const struct uring *uring = (const struct uring *)loop;
    return uring->in_kernel == 0 && uring->staged.head == NULL && uring->answered.head == NULL &&
           !uring->is_wake_armed;
}

/* The fd of a ring with deferred task work does not wake epoll; an eventfd that is registered with
 * it is written when task work is queued. It is never read: each write is an edge. */
static int notify_fd(struct os_loop *loop, uint32_t *events)
{
    struct uring *uring = uring_of_loop(loop);
    uring->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (uring->event_fd < 0)
        return -errno;
    *events = EPOLLIN | EPOLLET;
    int err = io_uring_register_eventfd(&uring->ring, uring->event_fd);
    return err == 0 ? uring->event_fd : err;
}

static bool is_due(const struct os_loop *loop)
{
    const struct uring *uring = (const struct uring *)loop;
    return io_uring_cq_ready(&uring->ring) > 0 || uring->staged.head || uring->answered.head ||
           uring->cancels.head || !uring->is_wake_armed;
}

static const struct os_driver driver = {.begin = begin,
                                        .enter = enter,
                                        .dispatch = dispatch,
                                        .cancel_all = cancel_all,
                                        .is_idle = is_idle,
                                        .notify_fd = notify_fd,
                                        .is_due = is_due,
                                        .end = end};

static int listen_blocking(struct io *io, const struct io_address *address,
                           struct io_address *bound)
{
    (void)io;
    return os_socket_listen(address, bound, 0);
}

static int socket_blocking(struct io *io, uint32_t patience_ms)
{
    (void)io;
    return os_socket_new(0, patience_ms);
}

/* After SIGKILL a kernel worker tears the ring down, and a write that was in flight may reach the
 * disk after the process is gone. The ring holds the locked file too, so that the next process gets
 * the lock only when no write of this one can land any more. One lock per ring. */
static int lock_for_ring(struct io *io, int fd)
{
    struct uring *uring = uring_of(io);
    int err = os_file_lock(io, fd);
    if (err < 0 || uring->lock_fd >= 0)
        return err;
    err = io_uring_register_files(&uring->ring, &fd, 1);
    if (err == 0)
        uring->lock_fd = fd;
    return err;
}

/* An orderly close comes after join, when nothing is in flight: the lock need not wait for the
 * ring. */
static void unlock_and_close(struct io *io, int fd)
{
    struct uring *uring = uring_of(io);
    if (fd == uring->lock_fd)
        os_file_unlock(fd);
    os_file_close(io, fd);
}

static const struct io_ops ops = {.name = "io_uring",
                                  .submit = uring_submit,
                                  .cancel = uring_cancel,
                                  .listen = listen_blocking,
                                  .socket = socket_blocking,
                                  .close = unlock_and_close,
                                  .lock = lock_for_ring,
                                  OS_LOOP_OPS};

static int check_ring(struct uring *uring, struct rr_error *error)
{
    int err = uring_check_features(uring->ring.features, error);
    if (err < 0)
        return err;
    /* A disabled ring says so to whoever may enter it. */
    err = io_uring_enter((unsigned)uring->ring.ring_fd, 0, 0, 0, NULL);
    if (err != -EBADFD)
        return rr_fail(error, RR_E_NOT_SUPPORTED,
                       "io_uring_enter is refused (%s) although io_uring_setup is not: most likely "
                       "a seccomp filter; allow io_uring_enter in it",
                       strerror(-err));
    struct io_uring_probe *probe = io_uring_get_probe_ring(&uring->ring);
    if (probe == NULL)
        return rr_fail(error, RR_E_NOT_SUPPORTED,
                       "io_uring_register cannot be asked what io_uring can do: most likely a "
                       "seccomp filter; allow io_uring_register in it");
    err = uring_check_opcodes(probe, error);
    io_uring_free_probe(probe);
    return err;
}

static int make_ring(struct uring *uring, const struct uring_options *options,
                     struct rr_error *error)
{
    struct io_uring_params params = {.flags = SETUP_FLAGS};
    unsigned sq_entries = options != NULL ? options->sq_entries : 0;
    unsigned cq_entries = options != NULL ? options->cq_entries : 0;
    sq_entries = sq_entries != 0 ? sq_entries : SQ_ENTRIES_DEFAULT;
    params.cq_entries = cq_entries != 0 ? cq_entries : CQ_ENTRIES_DEFAULT;
    int err = io_uring_queue_init_params(sq_entries, &uring->ring, &params);
    if (err < 0)
        return uring_explain_setup(-err, error);
    io_uring_ring_dontfork(&uring->ring);
    err = check_ring(uring, error);
    if (err < 0)
        io_uring_queue_exit(&uring->ring);
    return err;
}

int uring_open(const struct uring_options *options, struct io **io, struct rr_error *error)
{
    struct uring *uring = aligned_alloc(64, rr_align_up(sizeof(*uring), 64));
    if (uring == NULL)
        return rr_fail(error, RR_E_NO_MEMORY, "no memory for the loop");
    memset(uring, 0, sizeof(*uring));
    uring->lock_fd = uring->event_fd = -1;
    os_list_init(&uring->staged);
    os_list_init(&uring->answered);
    os_list_init(&uring->quiet);
    os_list_init(&uring->cancels);
    int err = make_ring(uring, options, error);
    if (err < 0)
        goto fail_memory;
    err = os_loop_init(&uring->loop, &ops, &driver);
    if (err < 0) {
        err = rr_fail(error, RR_E_IO, "no file descriptor left for the loop's wake-up: %s",
                      strerror(-err));
        goto fail_ring;
    }
    *io = &uring->loop.io;
    return 0;

fail_ring:
    io_uring_queue_exit(&uring->ring);
fail_memory:
    free(uring);
    return err;
}

void uring_free(struct io *io)
{
    struct uring *uring = uring_of(io);
    RR_ASSERT(io->ops == &ops);
    RR_ASSERT(uring->in_kernel == 0 && uring->staged.head == NULL);
    os_loop_fini(&uring->loop);
    io_uring_queue_exit(&uring->ring);
    if (uring->event_fd >= 0)
        os_file_close(io, uring->event_fd);
    free(uring);
}
