/* SPDX-License-Identifier: Apache-2.0
 *
 * The choice of a backend. Only a system that does not offer io_uring makes AUTO fall back: an
 * error like a lack of file descriptors would hit the other backend as well, and is reported.
 */
#include "io/backend.h"

#include "io/posix/posix.h"
#include "io/uring/uring.h"
#include "proto/base.h"

#include <stdio.h>
#include <string.h>

static int open_any(struct io **io, char *notice, size_t notice_size, struct rr_error *error)
{
    struct rr_error refusal;
    int err = uring_open(NULL, io, &refusal);
    if (err == 0)
        return 0;
    if (err != RR_E_NOT_SUPPORTED)
        return rr_fail(error, err, "%s", refusal.message);
    if (notice != NULL)
        snprintf(notice, notice_size, "running on epoll and a disk thread, which is slower: %s",
                 refusal.message);
    return posix_open(io, error);
}

int io_open_backend(int backend, struct io **io, char *notice, size_t notice_size,
                    struct rr_error *error)
{
    if (notice != NULL && notice_size > 0)
        notice[0] = '\0';
    switch (backend) {
    case IO_BACKEND_AUTO:
        return open_any(io, notice, notice_size, error);
    case IO_BACKEND_URING:
        return uring_open(NULL, io, error);
    case IO_BACKEND_POSIX:
        return posix_open(io, error);
    default:
        return rr_fail(error, RR_E_INVALID, "%d is not the number of a backend", backend);
    }
}

void io_close_backend(struct io *io)
{
    if (strcmp(io->ops->name, "io_uring") == 0)
        uring_free(io);
    else
        posix_free(io);
}
