/* SPDX-License-Identifier: Apache-2.0
 *
 * File ops as jobs of the disk thread, which does them one after another in the order of their
 * submission. An op that is cancelled before its turn comes is not done at all.
 */
#include "io/posix/posix_op.h"

#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>

static int64_t call(const struct io_op *op)
{
    switch (op->kind) {
    case IO_READ:
        return preadv2(op->fd, op->iov, (int)op->iov_count, (off_t)op->offset, 0);
    case IO_WRITE:
        return pwritev2(op->fd, op->iov, (int)op->iov_count, (off_t)op->offset,
                        op->flags & IO_DSYNC ? RWF_DSYNC : 0);
    default:
        RR_ASSERT(op->kind == IO_SYNC);
        return fdatasync(op->fd);
    }
}

/* Disk thread. */
static void run_op(struct io_job *job)
{
    struct posix_op *own = RR_CONTAINER_OF(job, struct posix_op, job);
    struct io_op *op = own->op;
    if (atomic_load_explicit(&own->is_cancel_asked, memory_order_relaxed) ||
        atomic_load_explicit(&posix_of(own->io)->is_ending, memory_order_relaxed)) {
        op->result = -ECANCELED;
        return;
    }
    int64_t result;
    do
        result = call(op);
    while (result < 0 && (errno == EINTR || errno == EAGAIN));
    op->result = result < 0 ? -errno : result;
}

static void op_done(struct io_job *job)
{
    struct posix_op *own = RR_CONTAINER_OF(job, struct posix_op, job);
    struct posix *posix = posix_of(own->io);
    RR_ASSERT(posix->on_disk > 0);
    posix->on_disk--;
    posix_finish(posix, own->op);
}

void posix_disk_submit(struct posix *posix, struct io_op *op)
{
    struct posix_op *own = posix_op_of(op);
    own->state = POSIX_DISK;
    own->job.run = run_op;
    own->job.done = op_done;
    posix->on_disk++;
    os_worker_post(posix->disk, &own->job);
}
