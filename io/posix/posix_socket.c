/* SPDX-License-Identifier: Apache-2.0
 *
 * Socket ops on non-blocking sockets. Loop thread only.
 *
 * Happy path: what was submitted in a turn is tried in its enter; what would block is parked on its
 * socket, which is registered with epoll once, edge-triggered, for both directions; an event makes
 * what is parked be tried again. Since a new op is always tried before it is parked, and an edge
 * that comes between is kept by epoll, nothing that is ready is overlooked. Failure path: any
 * errno but EAGAIN is the op's result.
 */
#include "io/posix/posix_op.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

static bool is_reader(const struct io_op *op)
{
    return op->kind == IO_ACCEPT || op->kind == IO_RECV;
}

/* A connect that is called again says how far the first one is: 0, EALREADY, or its error. */
static int64_t call(struct io_op *op)
{
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)op->iov,
                             .msg_iovlen = op->iov_count};
    struct sockaddr_in name;
    switch (op->kind) {
    case IO_ACCEPT:
        return accept4(op->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    case IO_CONNECT:
        name = os_socket_name(op->address);
        return connect(op->fd, (struct sockaddr *)&name, sizeof(name));
    case IO_SEND:
        return sendmsg(op->fd, &message, MSG_NOSIGNAL);
    default:
        RR_ASSERT(op->kind == IO_RECV);
        return recvmsg(op->fd, &message, 0);
    }
}

/* True: answered. */
static bool try_op(struct posix *posix, struct io_op *op)
{
    int64_t result;
    do
        result = call(op);
    while (result < 0 && errno == EINTR);
    if (result < 0 && (errno == EAGAIN || errno == EINPROGRESS || errno == EALREADY))
        return false;
    posix_answer(posix, op, result < 0 ? -errno : result);
    return true;
}

static RR_COLD int grow_sockets(struct posix *posix, uint32_t fd)
{
    uint32_t cap = posix->socket_cap != 0 ? posix->socket_cap : 64;
    while (cap <= fd)
        cap *= 2;
    struct posix_socket *sockets = realloc(posix->sockets, cap * sizeof(*sockets));
    if (sockets == NULL)
        return -ENOMEM;
    memset(sockets + posix->socket_cap, 0, (cap - posix->socket_cap) * sizeof(*sockets));
    posix->sockets = sockets;
    posix->socket_cap = cap;
    return 0;
}

static int register_socket(struct posix *posix, int fd)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.fd = fd};
    if (epoll_ctl(posix->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        return -errno;
    posix->sockets[fd].is_registered = true;
    return 0;
}

static void park(struct posix *posix, struct io_op *op)
{
    int err = 0;
    if ((uint32_t)op->fd >= posix->socket_cap)
        err = grow_sockets(posix, (uint32_t)op->fd);
    if (err == 0 && !posix->sockets[op->fd].is_registered)
        err = register_socket(posix, op->fd);
    if (err < 0) {
        posix_answer(posix, op, err);
        return;
    }
    struct posix_socket *sock = &posix->sockets[op->fd];
    struct io_op **place = is_reader(op) ? &sock->reader : &sock->writer;
    RR_ASSERT(*place == NULL); /* one reading and one writing op per socket */
    *place = op;
    posix_op_of(op)->state = POSIX_PARKED;
    posix->parked_count++;
}

static struct io_op *take_parked(struct posix *posix, struct io_op **place)
{
    struct io_op *op = *place;
    RR_ASSERT(op != NULL && posix->parked_count > 0);
    *place = NULL;
    posix->parked_count--;
    return op;
}

void posix_socket_submit(struct posix *posix, struct io_op *op)
{
    posix_op_of(op)->state = POSIX_STAGED;
    os_list_push(&posix->staged, op);
}

void posix_socket_try_staged(struct posix *posix)
{
    struct io_op *op = os_list_take(&posix->staged);
    while (op != NULL) {
        struct io_op *next = op->next;
        if (!try_op(posix, op))
            park(posix, op);
        op = next;
    }
}

void posix_socket_ready(struct posix *posix, int fd)
{
    if ((uint32_t)fd >= posix->socket_cap)
        return;
    struct posix_socket *sock = &posix->sockets[fd];
    if (sock->reader != NULL && try_op(posix, sock->reader))
        take_parked(posix, &sock->reader);
    if (sock->writer != NULL && try_op(posix, sock->writer))
        take_parked(posix, &sock->writer);
}

void posix_socket_cancel(struct posix *posix, struct io_op *op)
{
    if (posix_op_of(op)->state == POSIX_STAGED) {
        os_list_remove(&posix->staged, op);
    } else {
        RR_ASSERT(posix_op_of(op)->state == POSIX_PARKED);
        struct posix_socket *sock = &posix->sockets[op->fd];
        struct io_op *parked = take_parked(posix, is_reader(op) ? &sock->reader : &sock->writer);
        RR_ASSERT(parked == op);
    }
    posix_answer(posix, op, -ECANCELED);
}

void posix_socket_cancel_all(struct posix *posix)
{
    while (posix->staged.head != NULL)
        posix_socket_cancel(posix, posix->staged.head);
    for (uint32_t fd = 0; posix->parked_count > 0; fd++) {
        RR_ASSERT(fd < posix->socket_cap);
        if (posix->sockets[fd].reader != NULL)
            posix_socket_cancel(posix, posix->sockets[fd].reader);
        if (posix->sockets[fd].writer != NULL)
            posix_socket_cancel(posix, posix->sockets[fd].writer);
    }
}

/* epoll forgets a socket that is closed; the next one with this number starts afresh. */
void posix_socket_close(struct io *io, int fd)
{
    struct posix *posix = posix_of(io);
    if ((uint32_t)fd < posix->socket_cap) {
        RR_ASSERT(posix->sockets[fd].reader == NULL && posix->sockets[fd].writer == NULL);
        posix->sockets[fd].is_registered = false;
    }
    os_file_close(io, fd);
}
