/* SPDX-License-Identifier: Apache-2.0
 *
 * The posix backend of the seam, for systems that refuse io_uring: epoll for sockets, one thread
 * for the disk. Same behaviour, more system calls and thread switches.
 */
#ifndef RR_IO_POSIX_POSIX_H
#define RR_IO_POSIX_POSIX_H

#include "io/io.h"

#include <ringraft/error.h>

/* RR_E_NO_MEMORY, RR_E_IO: out of memory, threads or file descriptors; the sentence says which. */
int posix_open(struct io **io, struct rr_error *error);
/* After join (or never started), with all workers freed. */
void posix_free(struct io *io);

#endif
