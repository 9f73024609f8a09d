/* SPDX-License-Identifier: Apache-2.0
 *
 * The writes in flight, kept so that no two of them touch the same bytes: which one would win is
 * undefined, and a log in which that happens is broken already. A log has two in flight at most, so
 * looking at all of them costs nothing. Loop thread only.
 */
#ifndef RR_IO_OS_WRITES_H
#define RR_IO_OS_WRITES_H

#include "io/io.h"
#include "proto/base.h"

/* In the backend's part of an op, while it is in flight. */
struct os_write {
    const struct io_op *op;
    struct os_write *next;
};

/* Zeroed memory is an empty list. */
struct os_writes {
    struct os_write *head;
};

static inline uint64_t os_write_end(const struct io_op *op)
{
    uint64_t end = op->offset;
    for (uint32_t i = 0; i < op->iov_count; i++)
        end += op->iov[i].iov_len;
    return end;
}

static inline void os_writes_add(struct os_writes *writes, struct os_write *write,
                                 const struct io_op *op)
{
    for (const struct os_write *w = writes->head; w != NULL; w = w->next)
        RR_ASSERT(w->op->fd != op->fd || w->op->offset >= os_write_end(op) ||
                  op->offset >= os_write_end(w->op));
    write->op = op;
    write->next = writes->head;
    writes->head = write;
}

static inline void os_writes_remove(struct os_writes *writes, struct os_write *write)
{
    struct os_write **link = &writes->head;
    while (*link != write) {
        RR_ASSERT(*link != NULL);
        link = &(*link)->next;
    }
    *link = write->next;
}

#endif
