/* SPDX-License-Identifier: Apache-2.0
 *
 * Chooses among the backends of the seam that run on a real system. Cold.
 */
#ifndef RR_IO_BACKEND_H
#define RR_IO_BACKEND_H

#include "io/io.h"

#include <ringraft/error.h>

/* The same numbers as the public enum rr_backend. */
enum io_backend { IO_BACKEND_AUTO = 0, IO_BACKEND_URING = 1, IO_BACKEND_POSIX = 2 };

/* AUTO takes io_uring and, where the system has none for us, posix: then `notice` (may be NULL)
 * gets a sentence that says so and why; it is empty otherwise. `backend` is an enum io_backend;
 * RR_E_INVALID for any other number. */
int io_open_backend(int backend, struct io **io, char *notice, size_t notice_size,
                    struct rr_error *error);
/* After join, or never started. */
void io_close_backend(struct io *io);

#endif
