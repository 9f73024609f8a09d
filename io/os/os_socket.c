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

/* Enough for a burst of strangers; the kernel caps it at net.core.somaxconn. */
#define LISTEN_BACKLOG 1024
/* A peer that vanished is noticed by heartbeats; these only see to it that its sockets do not stay
 * for ever: unacknowledged data for 5 s, or silence for 5 s and then five probes. */
#define USER_TIMEOUT_MS      5000
#define KEEPALIVE_IDLE_S     5
#define KEEPALIVE_INTERVAL_S 1
#define KEEPALIVE_COUNT      5

static void set_option(int fd, int level, int option, int value)
{
    int err = setsockopt(fd, level, option, &value, sizeof(value));
    RR_ASSERT(err == 0);
}

static void set_peer_options(int fd)
{
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS);
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

int os_socket_new(int extra)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | extra, 0);
    if (fd < 0)
        return -errno;
    set_peer_options(fd);
    return fd;
}

int os_socket_listen(const struct io_address *address, struct io_address *bound, int extra)
{
    int fd = os_socket_new(extra);
    if (fd < 0)
        return fd;
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    struct sockaddr_in name = os_socket_name(address);
    socklen_t size = sizeof(name);
    if (bind(fd, (struct sockaddr *)&name, size) < 0 || listen(fd, LISTEN_BACKLOG) < 0 ||
        getsockname(fd, (struct sockaddr *)&name, &size) < 0) {
        int err = -errno;
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
