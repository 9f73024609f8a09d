/* SPDX-License-Identifier: Apache-2.0
 *
 * Ops to SQEs and CQEs to dones. HOT: submit, fill, complete. Loop thread only.
 *
 * Happy path: submit stages; fill, in the turn's enter, makes SQEs of what is staged; complete is
 * given each CQE and calls done. Failure path: a full SQ leaves ops staged for the next enter;
 * EINTR and EAGAIN stage an op again; cancel answers a staged op itself and asks the kernel for
 * one that is there.
 */
#include "io/uring/uring_op.h"

#include <errno.h>
#include <poll.h>

static void stage(struct uring *uring, struct io_op *op)
{
    uring_op_of(op)->state = URING_STAGED;
    os_list_push(&uring->staged, op);
}

static void answer_canceled(struct uring *uring, struct io_op *op)
{
    uring_op_of(op)->state = URING_ANSWERED;
    op->result = -ECANCELED;
    os_list_push(&uring->answered, op);
}

static void finish(struct uring *uring, struct io_op *op, int64_t result)
{
    if (op->kind == IO_WRITE)
        os_writes_remove(&uring->loop.writes, &uring_op_of(op)->u.write);
    op->result = result;
    op->in_flight = false;
    op->done(op);
}

void uring_submit(struct io *io, struct io_op *op)
{
    struct uring *uring = uring_of(io);
    RR_ASSERT(!op->in_flight && op->done != NULL);
    RR_ASSERT(op->fd >= 0);
    io->submit_count++;
    op->in_flight = true;
    uring_op_of(op)->must_wait = false;
    uring_op_of(op)->is_cancel_asked = false;
    uring_op_of(op)->is_cancel_listed = false;
    if (op->kind == IO_WRITE)
        os_writes_add(&uring->loop.writes, &uring_op_of(op)->u.write, op);
    if (RR_UNLIKELY(uring->is_ending))
        answer_canceled(uring, op);
    else
        stage(uring, op);
}

void uring_cancel(struct io *io, struct io_op *op)
{
    struct uring *uring = uring_of(io);
    struct uring_op *own = uring_op_of(op);
    if (!op->in_flight || own->is_cancel_asked)
        return;
    own->is_cancel_asked = true;
    if (own->state == URING_STAGED) {
        os_list_remove(&uring->staged, op);
        answer_canceled(uring, op);
    } else if (own->state == URING_KERNEL) { /* what is quiet is as good as done */
        own->is_cancel_listed = true;
        os_list_push(&uring->cancels, op);
    }
}

void uring_cancel_all(struct uring *uring)
{
    struct io_op *op;
    uring->is_ending = true;
    uring->is_cancel_all_due = true;
    while ((op = os_list_pop(&uring->staged)) != NULL)
        answer_canceled(uring, op);
}

/* ---- to the kernel ------------------------------------------------------- */

/* sendmsg and recvmsg want a header; it must last until the enter (FEAT_SUBMIT_STABLE). */
static struct msghdr *message_of(struct io_op *op)
{
    struct msghdr *message = &uring_op_of(op)->u.message;
    *message =
        (struct msghdr){.msg_iov = (struct iovec *)(uintptr_t)op->iov, .msg_iovlen = op->iov_count};
    return message;
}

static void prepare_rw(struct io_uring_sqe *sqe, struct io_op *op)
{
    RR_ASSERT(op->iov_count >= 1 && op->iov->iov_len <= INT32_MAX);
    bool is_single = op->iov_count == 1;
    unsigned size = (unsigned)op->iov->iov_len;
    if (op->kind == IO_READ && is_single)
        io_uring_prep_read(sqe, op->fd, op->iov->iov_base, size, op->offset);
    else if (op->kind == IO_READ)
        io_uring_prep_readv(sqe, op->fd, op->iov, op->iov_count, op->offset);
    else if (is_single)
        io_uring_prep_write(sqe, op->fd, op->iov->iov_base, size, op->offset);
    else
        io_uring_prep_writev(sqe, op->fd, op->iov, op->iov_count, op->offset);
    if (op->kind == IO_WRITE && op->flags & IO_DSYNC)
        sqe->rw_flags = RWF_DSYNC;
}

static void prepare_connect(struct io_uring_sqe *sqe, struct io_op *op)
{
    struct sockaddr_in *name = &uring_op_of(op)->u.name;
    *name = os_socket_name(op->address);
    io_uring_prep_connect(sqe, op->fd, (struct sockaddr *)name, sizeof(*name));
}

static bool is_quiet(const struct io_op *op)
{
    return op->kind == IO_SEND && (op->flags & IO_QUIET) &&
           !((const struct uring_op *)op->backend)->must_wait;
}

/* MSG_WAITALL: less than all of it is a failure to the kernel, and so makes a CQE. */
static void prepare_send(struct io_uring_sqe *sqe, struct io_op *op)
{
    int flags = is_quiet(op) ? MSG_NOSIGNAL | MSG_DONTWAIT | MSG_WAITALL : MSG_NOSIGNAL;
    if (op->iov_count == 1)
        io_uring_prep_send(sqe, op->fd, op->iov->iov_base, op->iov->iov_len, flags);
    else
        io_uring_prep_sendmsg(sqe, op->fd, message_of(op), (unsigned)flags);
    if (is_quiet(op))
        sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

static void prepare(struct io_uring_sqe *sqe, struct io_op *op)
{
    switch (op->kind) {
    case IO_READ:
    case IO_WRITE:
        prepare_rw(sqe, op);
        break;
    case IO_SYNC:
        io_uring_prep_fsync(sqe, op->fd, IORING_FSYNC_DATASYNC);
        break;
    case IO_ACCEPT:
        io_uring_prep_accept(sqe, op->fd, NULL, NULL, SOCK_CLOEXEC);
        break;
    case IO_CONNECT:
        prepare_connect(sqe, op);
        break;
    case IO_SEND:
        prepare_send(sqe, op);
        break;
    default:
        RR_ASSERT(op->kind == IO_RECV);
        if (op->iov_count == 1)
            io_uring_prep_recv(sqe, op->fd, op->iov->iov_base, op->iov->iov_len, 0);
        else
            io_uring_prep_recvmsg(sqe, op->fd, message_of(op), 0);
    }
    io_uring_sqe_set_data(sqe, op);
}

static void fill_cancels(struct uring *uring)
{
    struct io_uring_sqe *sqe;
    if (uring->is_cancel_all_due && (sqe = io_uring_get_sqe(&uring->ring)) != NULL) {
        io_uring_prep_cancel64(sqe, 0, IORING_ASYNC_CANCEL_ANY);
        io_uring_sqe_set_data64(sqe, URING_DATA_CANCEL);
        uring->is_cancel_all_due = false;
    }
    while (uring->cancels.head != NULL && (sqe = io_uring_get_sqe(&uring->ring)) != NULL) {
        struct io_op *op = os_list_pop(&uring->cancels);
        uring_op_of(op)->is_cancel_listed = false;
        io_uring_prep_cancel64(sqe, (uint64_t)(uintptr_t)op, 0);
        io_uring_sqe_set_data64(sqe, URING_DATA_CANCEL);
    }
}

void uring_fill(struct uring *uring)
{
    struct io_uring_sqe *sqe;
    if (RR_UNLIKELY(!uring->is_wake_armed) && !uring->is_ending &&
        (sqe = io_uring_get_sqe(&uring->ring)) != NULL) {
        io_uring_prep_poll_multishot(sqe, uring->loop.wake_fd, POLLIN);
        io_uring_sqe_set_data64(sqe, URING_DATA_WAKE);
        uring->is_wake_armed = true;
    }
    if (RR_UNLIKELY(uring->cancels.head != NULL || uring->is_cancel_all_due))
        fill_cancels(uring);
    while (uring->staged.head != NULL && (sqe = io_uring_get_sqe(&uring->ring)) != NULL) {
        struct io_op *op = os_list_pop(&uring->staged);
        prepare(sqe, op);
        uring->in_kernel++;
        uring_op_of(op)->state = is_quiet(op) ? URING_QUIET : URING_KERNEL;
        if (uring_op_of(op)->state == URING_QUIET)
            os_list_push(&uring->quiet, op);
    }
}

/* ---- from the kernel ----------------------------------------------------- */

/* EINTR: a signal, or a cancelled op that was running in a kernel worker. EAGAIN: no memory for
 * the request just now, or a quiet send to a full socket. A connect that was begun is not begun a
 * second time. */
static bool is_retried(const struct uring *uring, struct io_op *op, int result)
{
    if (RR_LIKELY(result != -EINTR && result != -EAGAIN))
        return false;
    return op->kind != IO_CONNECT && !uring_op_of(op)->is_cancel_asked && !uring->is_ending;
}

void uring_complete(struct uring *uring, uint64_t user_data, int result, unsigned flags)
{
    if (RR_UNLIKELY(user_data <= URING_DATA_CANCEL)) {
        RR_ASSERT(user_data == URING_DATA_WAKE || user_data == URING_DATA_CANCEL);
        if (user_data == URING_DATA_WAKE && !(flags & IORING_CQE_F_MORE))
            uring->is_wake_armed = false;
        return;
    }
    struct io_op *op = (struct io_op *)(uintptr_t)user_data;
    struct uring_op *own = uring_op_of(op);
    RR_ASSERT(op->in_flight && (own->state == URING_KERNEL || own->state == URING_QUIET));
    RR_ASSERT(uring->in_kernel > 0);
    uring->in_kernel--;
    if (RR_UNLIKELY(own->state == URING_QUIET))
        os_list_remove(&uring->quiet, op);
    if (RR_UNLIKELY(own->is_cancel_listed))
        os_list_remove(&uring->cancels, op);
    if (RR_UNLIKELY(is_retried(uring, op, result))) {
        own->must_wait = true;
        stage(uring, op);
        return;
    }
    bool is_interrupted = result == -EINTR && (own->is_cancel_asked || uring->is_ending);
    finish(uring, op, is_interrupted ? -ECANCELED : result);
}

static int64_t bytes_of(const struct io_op *op)
{
    int64_t bytes = 0;
    for (uint32_t i = 0; i < op->iov_count; i++)
        bytes += (int64_t)op->iov[i].iov_len;
    return bytes;
}

void uring_finish_quiet(struct uring *uring)
{
    if (io_uring_sq_ready(&uring->ring) != 0) /* the kernel has not taken all of them yet */
        return;
    struct io_op *op;
    while ((op = os_list_pop(&uring->quiet)) != NULL) {
        RR_ASSERT(uring->in_kernel > 0);
        uring->in_kernel--;
        finish(uring, op, bytes_of(op));
    }
}

void uring_answer(struct uring *uring)
{
    struct io_op *op = os_list_take(&uring->answered);
    while (RR_UNLIKELY(op != NULL)) {
        struct io_op *next = op->next;
        finish(uring, op, op->result);
        op = next;
    }
}
