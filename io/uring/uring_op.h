/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of the io_uring backend: its struct, and the way of an op through it.
 *
 *      submit            enter (room in the SQ)          CQE
 *     --------> STAGED -----------------------> KERNEL --------> done
 *                 ^  |  cancel, loop ends         |
 *                 |  +---------> ANSWERED --------|------------> done (-ECANCELED)
 *                 +-------------------------------+  EINTR, EAGAIN
 *
 * STAGED ops wait in a list for the next enter, ANSWERED ones for the next dispatch, those in the
 * KERNEL for their CQE.
 *
 * A QUIET send makes a CQE only if it fails or is short (CQE_SKIP_SUCCESS), and because it may not
 * wait for room in the socket (MSG_DONTWAIT) that is decided when the enter has submitted it: what
 * the dispatch after it has no CQE for was sent. A full socket answers EAGAIN, and the send is
 * staged again, as one that waits and is not quiet.
 */
#ifndef RR_IO_URING_OP_H
#define RR_IO_URING_OP_H

#include "io/os/os_list.h"
#include "io/os/os_loop.h"
#include "proto/base.h"

#include <liburing.h>
#include <netinet/in.h>
#include <sys/socket.h>

enum uring_op_state { URING_STAGED, URING_KERNEL, URING_QUIET, URING_ANSWERED };

/* What lies in io_op.backend while the op is in flight. */
struct uring_op {
    union {
        struct msghdr message;   /* SEND and RECV of several iovecs */
        struct sockaddr_in name; /* CONNECT */
        struct os_write write;   /* WRITE */
    } u;
    uint8_t state;  /* enum uring_op_state */
    bool must_wait; /* a QUIET send met a full socket */
    bool is_cancel_asked;
    bool is_cancel_listed; /* stands in uring.cancels */
};
_Static_assert(sizeof(struct uring_op) <= sizeof(((struct io_op *)0)->backend), "fits in io_op");

struct uring {
    struct os_loop loop; /* first */
    struct io_uring ring;
    struct os_list staged;
    struct os_list answered;
    struct os_list quiet;   /* in the SQ, or submitted and not contradicted by a CQE so far */
    struct os_list cancels; /* in the kernel, cancel asked and not yet submitted */
    uint32_t in_kernel;     /* ops submitted whose CQE has not been seen */
    bool is_wake_armed;     /* a multishot poll of the eventfd is in the kernel */
    bool is_ending;         /* every op is to be cancelled */
    bool is_cancel_all_due;
    unsigned enter_flags;
    int enter_fd; /* the registered index, or the ring's fd */
    int event_fd; /* registered: the kernel writes it when there is something to reap; or -1 */
    int lock_fd;  /* the locked file that the ring holds as well, or -1 */
};

/* user_data of what is no op; ops are aligned and so larger. */
enum { URING_DATA_WAKE = 1, URING_DATA_CANCEL = 2 };

static inline struct uring *uring_of(struct io *io)
{
    return (struct uring *)io;
}

static inline struct uring_op *uring_op_of(struct io_op *op)
{
    return (struct uring_op *)op->backend;
}

void uring_submit(struct io *io, struct io_op *op);
void uring_cancel(struct io *io, struct io_op *op);
/* Moves what is staged into the SQ, as far as there is room. */
void uring_fill(struct uring *uring);
/* Takes one CQE: calls the op's done, or stages it again. */
void uring_complete(struct uring *uring, uint64_t user_data, int result, unsigned flags);
/* After all CQEs of an enter: the quiet sends that have none were sent whole. */
void uring_finish_quiet(struct uring *uring);
/* Calls the done of the ops that were answered without the kernel. */
void uring_answer(struct uring *uring);
/* From now on nothing new goes to the kernel; what is staged is answered with -ECANCELED. */
void uring_cancel_all(struct uring *uring);

#endif
