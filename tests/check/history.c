/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/check/history.h"

#include "proto/base.h"

#include <stdlib.h>

size_t history_add(struct history *history, const struct history_op *op)
{
    if (history->count == history->cap) {
        history->cap = history->cap ? 2 * history->cap : 1024;
        history->ops = realloc(history->ops, history->cap * sizeof(history->ops[0]));
        RR_ASSERT(history->ops);
    }
    history->ops[history->count] = *op;
    return history->count++;
}

void history_free(struct history *history)
{
    free(history->ops);
    *history = (struct history){0};
}

static int compare(const void *left, const void *right)
{
    const struct history_op *a = left, *b = right;
    if (a->key != b->key)
        return a->key < b->key ? -1 : 1;
    if (a->invoked_ns != b->invoked_ns)
        return a->invoked_ns < b->invoked_ns ? -1 : 1;
    return 0;
}

void history_sort(struct history *history)
{
    if (history->count > 0)
        qsort(history->ops, history->count, sizeof(history->ops[0]), compare);
}

size_t history_key_end(const struct history *history, size_t first)
{
    size_t end = first;
    while (end < history->count && history->ops[end].key == history->ops[first].key)
        end++;
    return end;
}
