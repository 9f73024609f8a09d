/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of the posix backend: its struct, and the way of an op through it.
 *
 *                enter: tried        EAGAIN             event: tried
 *     STAGED ----------------------------------> PARKED ------------> ANSWERED --> done
 *        |  \------------------ result -------------------------------^   (dispatch)
 *        |  cancel, loop ends: -ECANCELED, from both -----------------^
 *     DISK   (files: a job of the disk thread; its done is the op's) -------------> done
 */
#ifndef RR_IO_POSIX_OP_H
#define RR_IO_POSIX_OP_H

#include "io/os/os_list.h"
#include "io/os/os_loop.h"
#include "proto/base.h"

#include <stdatomic.h>

enum posix_op_state { POSIX_STAGED, POSIX_PARKED, POSIX_ANSWERED, POSIX_DISK };

/* What lies in io_op.backend while the op is in flight. */
struct posix_op {
    struct io_job job;            /* DISK */
    uint8_t state;                /* enum posix_op_state; loop thread */
    _Atomic bool is_cancel_asked; /* DISK: by the loop, read by the disk thread */
    struct io *io;
    struct io_op *op;      /* whose backend this is */
    struct os_write write; /* WRITE */
};
_Static_assert(sizeof(struct posix_op) <= sizeof(((struct io_op *)0)->backend), "fits in io_op");

/* What waits on a socket, by fd. */
struct posix_socket {
    struct io_op *reader; /* ACCEPT, RECV */
    struct io_op *writer; /* CONNECT, SEND */
    bool is_registered;   /* with epoll, edge-triggered, both directions */
};

struct posix {
    struct os_loop loop; /* first */
    int epoll_fd;
    struct os_workers disks; /* the one disk thread */
    struct io_worker *disk;
    uint32_t on_disk; /* ops that the disk thread has */
    struct os_list staged;
    struct os_list answered;
    struct posix_socket *sockets;
    uint32_t socket_cap;
    uint32_t parked_count;
    _Atomic bool is_ending; /* every op is to be cancelled; read by the disk thread too */
};

static inline struct posix *posix_of(struct io *io)
{
    return (struct posix *)io;
}

static inline struct posix_op *posix_op_of(struct io_op *op)
{
    return (struct posix_op *)op->backend;
}

static inline void posix_answer(struct posix *posix, struct io_op *op, int64_t result)
{
    posix_op_of(op)->state = POSIX_ANSWERED;
    op->result = result;
    os_list_push(&posix->answered, op);
}

static inline void posix_finish(struct posix *posix, struct io_op *op)
{
    if (op->kind == IO_WRITE)
        os_writes_remove(&posix->loop.writes, &posix_op_of(op)->write);
    op->in_flight = false;
    op->done(op);
}

/* posix_disk.c: READ, WRITE, SYNC. */
void posix_disk_submit(struct posix *posix, struct io_op *op);

/* posix_socket.c: ACCEPT, CONNECT, SEND, RECV. */
void posix_socket_submit(struct posix *posix, struct io_op *op);
void posix_socket_cancel(struct posix *posix, struct io_op *op);
void posix_socket_cancel_all(struct posix *posix);
/* Tries everything that is staged. */
void posix_socket_try_staged(struct posix *posix);
/* Something happened on the socket: tries what waits on it. */
void posix_socket_ready(struct posix *posix, int fd);
void posix_socket_close(struct io *io, int fd);

#endif
