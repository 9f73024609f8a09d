/* SPDX-License-Identifier: Apache-2.0
 *
 * Each element of the list is joined with its append; the rest are sweeps over sorted arrays.
 */
#include "tests/check/append_check.h"

#include "proto/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

typedef unsigned long long ull;

struct element {
    uint64_t value;
    uint64_t position; /* in the list, from 0 */
};

struct checked {
    const struct history_op *ops;
    size_t count;
    const uint64_t *list;
    size_t length;
    struct element *elements; /* of the list, by value */
    uint64_t *invoked;        /* by position; UINT64_MAX: nobody is known to have appended it */
    uint64_t *returned;       /* by position; UINT64_MAX: not known to have returned */
    uint64_t *invoked_by;     /* by position: the latest call among it and all before it */
    struct check_verdict verdict;
};

__attribute__((format(printf, 2, 3))) static bool broken(struct checked *c, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    c->verdict.result = CHECK_BROKEN;
    vsnprintf(c->verdict.why, sizeof(c->verdict.why), format, arguments);
    va_end(arguments);
    return false;
}

static int by_value(const void *left, const void *right)
{
    const struct element *a = left, *b = right;
    return a->value < b->value ? -1 : a->value > b->value;
}

static void *take(size_t count, size_t size)
{
    void *array = calloc(count + 1, size);
    RR_ASSERT(array);
    return array;
}

/* ---- appends ------------------------------------------------------------- */

static bool index_list(struct checked *c)
{
    for (size_t i = 0; i < c->length; i++) {
        c->elements[i] = (struct element){c->list[i], i};
        c->invoked[i] = c->returned[i] = UINT64_MAX;
    }
    if (c->length > 0)
        qsort(c->elements, c->length, sizeof(c->elements[0]), by_value);
    for (size_t i = 1; i < c->length; i++)
        if (c->elements[i].value == c->elements[i - 1].value)
            return broken(c, "element %llu is in the list twice, at %llu and %llu",
                          (ull)c->elements[i].value, (ull)c->elements[i - 1].position,
                          (ull)c->elements[i].position);
    return true;
}

static bool join_append(struct checked *c, const struct history_op *op)
{
    struct element wanted = {.value = op->value};
    const struct element *found = NULL;
    if (c->length > 0)
        found = bsearch(&wanted, c->elements, c->length, sizeof(wanted), by_value);
    if (!found)
        return op->outcome != HISTORY_OK ||
               broken(c, "the append of %llu was acknowledged, and it is not in the list",
                      (ull)op->value);
    if (op->outcome == HISTORY_FAILED)
        return broken(c, "the append of %llu failed, and it is in the list at %llu", (ull)op->value,
                      (ull)found->position);
    if (c->invoked[found->position] != UINT64_MAX)
        return broken(c, "element %llu was appended by two calls", (ull)op->value);
    c->invoked[found->position] = op->invoked_ns;
    if (op->outcome == HISTORY_OK)
        c->returned[found->position] = op->returned_ns;
    return true;
}

static bool check_appends(struct checked *c)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->ops[i].kind == HISTORY_APPEND && !join_append(c, &c->ops[i]))
            return false;
    for (size_t i = 0; i < c->length; i++)
        if (c->invoked[i] == UINT64_MAX)
            return broken(c, "element %llu at %llu was appended by nobody", (ull)c->list[i],
                          (ull)i);
    uint64_t earliest_return = UINT64_MAX;
    for (size_t i = c->length; i-- > 0;) {
        if (earliest_return < c->invoked[i])
            return broken(c, "element %llu at %llu was asked for only after one behind it returned",
                          (ull)c->list[i], (ull)i);
        earliest_return = rr_min_u64(earliest_return, c->returned[i]);
    }
    for (size_t i = 0; i < c->length; i++)
        c->invoked_by[i] = rr_max_u64(c->invoked[i], i > 0 ? c->invoked_by[i - 1] : 0);
    return true;
}

/* ---- reads --------------------------------------------------------------- */

/* Something that raises the length which later reads must see, or a read that must see it. */
struct moment {
    uint64_t time_ns;
    uint64_t length;
    bool is_read; /* asked for at this time; else: length was visible by then */
};

static int by_time(const void *left, const void *right)
{
    const struct moment *a = left, *b = right;
    if (a->time_ns != b->time_ns)
        return a->time_ns < b->time_ns ? -1 : 1;
    return (int)b->is_read - (int)a->is_read; /* what happens at the same time is concurrent */
}

static bool check_prefix(struct checked *c, const struct history_op *read)
{
    if (read->value > c->length)
        return broken(c, "a read saw %llu elements of %llu", (ull)read->value, (ull)c->length);
    if (read->value == 0)
        return true;
    if (c->list[read->value - 1] != read->expected)
        return broken(c, "a read saw %llu as element %llu, where %llu is", (ull)read->expected,
                      (ull)read->value - 1, (ull)c->list[read->value - 1]);
    if (c->invoked_by[read->value - 1] > read->returned_ns)
        return broken(c, "a read of %llu elements saw one that was appended after it returned",
                      (ull)read->value);
    return true;
}

static bool check_reads(struct checked *c, struct moment *moments)
{
    size_t count = 0;

    for (size_t i = 0; i < c->count; i++) {
        const struct history_op *op = &c->ops[i];
        if (op->kind != HISTORY_READ || op->outcome != HISTORY_OK)
            continue;
        if (!check_prefix(c, op))
            return false;
        moments[count++] = (struct moment){op->invoked_ns, op->value, true};
        moments[count++] = (struct moment){op->returned_ns, op->value, false};
    }
    for (size_t i = 0; i < c->length; i++)
        if (c->returned[i] != UINT64_MAX)
            moments[count++] = (struct moment){c->returned[i], i + 1, false};
    if (count > 0)
        qsort(moments, count, sizeof(moments[0]), by_time);
    uint64_t visible = 0;
    for (size_t i = 0; i < count; i++) {
        if (moments[i].is_read && moments[i].length < visible)
            return broken(c, "a read asked for at %llu saw %llu elements; %llu were visible",
                          (ull)moments[i].time_ns, (ull)moments[i].length, (ull)visible);
        if (!moments[i].is_read)
            visible = rr_max_u64(visible, moments[i].length);
    }
    return true;
}

struct check_verdict append_check(const struct history_op *ops, size_t count, const uint64_t *list,
                                  size_t length)
{
    struct checked c = {.ops = ops,
                        .count = count,
                        .list = list,
                        .length = length,
                        .elements = take(length, sizeof(struct element)),
                        .invoked = take(length, sizeof(uint64_t)),
                        .returned = take(length, sizeof(uint64_t)),
                        .invoked_by = take(length, sizeof(uint64_t))};
    struct moment *moments = take(2 * count + length, sizeof(*moments));

    if (index_list(&c) && check_appends(&c))
        (void)check_reads(&c, moments);
    free(c.elements);
    free(c.invoked);
    free(c.returned);
    free(c.invoked_by);
    free(moments);
    return c.verdict;
}
