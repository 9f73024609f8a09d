/* SPDX-License-Identifier: Apache-2.0
 *
 * Making sockets. Cold.
 */
#include "io/os/os_socket.h"

#include "io/os/os_file.h"
#include "proto/base.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

/* Enough for a burst of strangers; the kernel caps it at net.core.somaxconn. */
#define LISTEN_BACKLOG 1024
/* Whoever listens notices a peer that vanished by its silence; whoever sends by bytes that nobody
 * acknowledges (signs of life among them), within its patience, before their retransmission has
 * become so rare that the connection would stay dead after the peer is back. A peer that is stopped
 * with full buffers for longer is called again when it goes on. Probes are for what is idle:
 * strangers. An acceptor sends hellos only. */
#define ACCEPTED_PATIENCE_MS 2000
#define KEEPALIVE_IDLE_S     2
#define KEEPALIVE_INTERVAL_S 1
#define KEEPALIVE_COUNT      2
/* Linux 6.18: the listener of a process that was killed lives on in its ring, where an accept is in
 * flight, until a kernel worker has torn that down; on a loaded machine that is after the parent's
 * wait. So a restart finds its own address in use for some milliseconds. */
#define IN_USE_PAUSE_MS 10
#define IN_USE_TRIES    200

static void set_option(int fd, int level, int option, int value)
{
    int err = setsockopt(fd, level, option, &value, sizeof(value));
    RR_ASSERT(err == 0);
}

static void set_peer_options(int fd, uint32_t patience_ms)
{
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)patience_ms);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT);
    /* bbr, a usual default, paces even loopback to less than half of what cubic gives. Where cubic
     * is missing or not allowed the default has to do. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
}

struct sockaddr_in os_socket_name(const struct io_address *address)
{
    struct sockaddr_in name = {.sin_family = AF_INET};
    name.sin_addr.s_addr = htonl(address->ip);
    name.sin_port = htons(address->port);
    return name;
}

int os_socket_new(int extra, uint32_t patience_ms)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | extra, 0);
    if (fd < 0)
        return -errno;
    set_peer_options(fd, patience_ms);
    return fd;
}

static int bind_and_listen(int fd, const struct sockaddr_in *name)
{
    const struct timespec pause = {.tv_nsec = IN_USE_PAUSE_MS * 1000 * 1000};
    for (int tries = 1;; tries++) {
        if (bind(fd, (const struct sockaddr *)name, sizeof(*name)) == 0 &&
            listen(fd, LISTEN_BACKLOG) == 0)
            return 0;
        if (errno != EADDRINUSE || tries == IN_USE_TRIES)
            return -errno;
        (void)nanosleep(&pause, NULL);
    }
}

int os_socket_listen(const struct io_address *address, struct io_address *bound, int extra)
{
    int fd = os_socket_new(extra, ACCEPTED_PATIENCE_MS);
    if (fd < 0)
        return fd;
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    struct sockaddr_in name = os_socket_name(address);
    socklen_t size = sizeof(name);
    int err = bind_and_listen(fd, &name);
    if (err == 0 && getsockname(fd, (struct sockaddr *)&name, &size) < 0)
        err = -errno;
    if (err < 0) {
        os_file_close(NULL, fd);
        return err;
    }
    bound->ip = ntohl(name.sin_addr.s_addr);
    bound->port = ntohs(name.sin_port);
    return fd;
}

/* A socket that is not connected (ENOTCONN) has nothing to shut down; that is no mistake. */
void os_socket_shutdown(struct io *io, int fd)
{
    (void)io;
    int err = shutdown(fd, SHUT_RDWR);
    RR_ASSERT(err == 0 || errno != EBADF);
}
