/* SPDX-License-Identifier: Apache-2.0
 *
 * Workers on threads: a FIFO of jobs from the loop to a thread and a FIFO of finished ones back.
 * Each way is a lock-free list with one producer, taken whole by its one consumer; each end signals
 * the other only if that one sleeps.
 */
#ifndef RR_IO_OS_WORKER_H
#define RR_IO_OS_WORKER_H

#include "io/io.h"

/* A loop's workers. Zeroed memory is an empty set. */
struct os_workers {
    struct io_worker *head;
    bool collecting; /* dones are being called: no worker may be freed */
};

struct io_worker *os_worker_new(struct io *io, struct os_workers *workers, const char *name);
void os_worker_post(struct io_worker *worker, struct io_job *job);
void os_worker_free(struct io_worker *worker);
/* Calls the done of every finished job. Loop thread. */
void os_workers_collect(struct os_workers *workers);

#endif
