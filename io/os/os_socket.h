/* SPDX-License-Identifier: Apache-2.0
 *
 * Stream sockets between nodes, with the options that peers want. `extra` is SOCK_NONBLOCK or 0:
 * io_uring waits by itself and would take a non-blocking socket's EAGAIN for an answer.
 */
#ifndef RR_IO_OS_SOCKET_H
#define RR_IO_OS_SOCKET_H

#include "io/io.h"

#include <netinet/in.h>

/* A socket, or -errno. It ends when nobody acknowledges what it sent for so long. */
int os_socket_new(int extra, uint32_t patience_ms);
/* A listening socket, or -errno; *bound is where it listens. What it accepts inherits its options.
 * Blocks for up to 2 s while the address is in use. */
int os_socket_listen(const struct io_address *address, struct io_address *bound, int extra);
void os_socket_shutdown(struct io *io, int fd);

struct sockaddr_in os_socket_name(const struct io_address *address);

#endif
