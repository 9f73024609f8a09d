/* SPDX-License-Identifier: Apache-2.0
 *
 * First-in-first-out of ops, by io_op.next, as the backends on a real system keep them. Loop thread
 * only.
 */
#ifndef RR_IO_OS_LIST_H
#define RR_IO_OS_LIST_H

#include "io/io.h"
#include "proto/base.h"

struct os_list {
    struct io_op *head;
    struct io_op **tail; /* &head when empty */
};

static inline void os_list_init(struct os_list *list)
{
    list->head = NULL;
    list->tail = &list->head;
}

static inline void os_list_push(struct os_list *list, struct io_op *op)
{
    op->next = NULL;
    *list->tail = op;
    list->tail = &op->next;
}

static inline struct io_op *os_list_pop(struct os_list *list)
{
    struct io_op *op = list->head;
    if (op != NULL && (list->head = op->next) == NULL)
        list->tail = &list->head;
    return op;
}

/* It stands in the list. */
static inline void os_list_remove(struct os_list *list, const struct io_op *op)
{
    struct io_op **link = &list->head;
    while (*link != op) {
        RR_ASSERT(*link != NULL);
        link = &(*link)->next;
    }
    *link = op->next;
    if (list->tail == &op->next)
        list->tail = link;
}

/* All of it, in order, through io_op.next; what is pushed from now on comes behind. */
static inline struct io_op *os_list_take(struct os_list *list)
{
    struct io_op *head = list->head;
    os_list_init(list);
    return head;
}

#endif
