/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/soak/soak_check.h"

#include "tests/check/append_check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long long ull;

#define PRINTED_MAX 20u

struct soak_check {
    struct soak_applied *log; /* by index; index 0: nobody applied a write there */
    uint64_t log_cap;
    struct soak_operation *operations;
    uint64_t operation_count, operation_cap;
    struct soak_verdict verdict;
};

static void *grow(void *array, uint64_t *cap, uint64_t wanted, size_t size)
{
    uint64_t more = *cap ? *cap : 4096;
    while (more <= wanted)
        more *= 2;
    if (more == *cap)
        return array;
    array = realloc(array, more * size);
    if (!array)
        abort();
    memset((uint8_t *)array + *cap * size, 0, (more - *cap) * size);
    *cap = more;
    return array;
}

static void violate(struct soak_check *check, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void violate(struct soak_check *check, const char *format, ...)
{
    if (check->verdict.violations++ >= PRINTED_MAX)
        return;
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
}

struct soak_check *soak_check_new(void)
{
    struct soak_check *check = calloc(1, sizeof(*check));
    if (!check)
        abort();
    return check;
}

void soak_check_free(struct soak_check *check)
{
    free(check->log);
    free(check->operations);
    free(check);
}

/* ---- reading ------------------------------------------------------------- */

void soak_check_add_applied(struct soak_check *check, const struct soak_applied *line,
                            uint64_t node)
{
    check->log = grow(check->log, &check->log_cap, line->index, sizeof(*check->log));
    struct soak_applied *known = &check->log[line->index];
    if (known->index == 0) {
        *known = *line;
        check->verdict.applied++;
    } else if (memcmp(known, line, sizeof(*line)) != 0) {
        violate(check, "node %llu applied another write, or after another history, at index %llu",
                (ull)node, (ull)line->index);
    }
}

void soak_check_add_operation(struct soak_check *check, const struct soak_operation *operation)
{
    check->operations = grow(check->operations, &check->operation_cap, check->operation_count,
                             sizeof(*check->operations));
    check->operations[check->operation_count++] = *operation;
    check->verdict.writes += operation->id != 0;
    check->verdict.reads += operation->id == 0;
}

static FILE *open_records(struct soak_check *check, const char *dir, const char *name)
{
    char path[SOAK_PATH_MAX + 16];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *file = fopen(path, "rbe");
    if (!file)
        violate(check, "%s is missing", path);
    return file;
}

void soak_check_read(struct soak_check *check, const char *dir, uint64_t node)
{
    struct soak_applied line;
    struct soak_operation operation;
    FILE *file = open_records(check, dir, "journal");
    while (file && fread(&line, sizeof(line), 1, file) == 1)
        soak_check_add_applied(check, &line, node);
    if (file)
        fclose(file);
    file = open_records(check, dir, "operations");
    while (file && fread(&operation, sizeof(operation), 1, file) == 1)
        soak_check_add_operation(check, &operation);
    if (file)
        fclose(file);
}

/* ---- judging ------------------------------------------------------------- */

/* A write's answer is what its place in the log implies. */
static void check_answers(struct soak_check *check)
{
    for (uint64_t i = 0; i < check->operation_count; i++) {
        const struct soak_operation *o = &check->operations[i];
        const struct soak_applied *line = o->index < check->log_cap ? &check->log[o->index] : NULL;
        if (o->id == 0)
            continue;
        if (!line || line->id != o->id)
            violate(check, "write %llx was acknowledged at index %llu, where %llx was applied",
                    (ull)o->id, (ull)o->index, (ull)(line ? line->id : 0));
        else if (line->previous != o->value || line->key != o->key)
            violate(check, "write %llx was told that register %u held %llx; the log says %llx",
                    (ull)o->id, o->key, (ull)o->value, (ull)line->previous);
    }
}

static int by_index(const void *a, const void *b)
{
    const struct soak_operation *x = a, *y = b;
    return x->index < y->index ? -1 : x->index > y->index;
}

/* Walks the log and holds each read against the registers as they were at its index. */
static void check_reads(struct soak_check *check)
{
    uint64_t registers[SOAK_KEYS] = {0}, at = 0;
    qsort(check->operations, check->operation_count, sizeof(*check->operations), by_index);
    for (uint64_t i = 0; i < check->operation_count; i++) {
        const struct soak_operation *o = &check->operations[i];
        if (o->id != 0)
            continue;
        for (; at <= o->index && at < check->log_cap; at++) {
            const struct soak_applied *line = &check->log[at];
            if (line->index == 0)
                continue;
            if (registers[line->key] != line->previous)
                violate(check, "the log skips a write before index %llu", (ull)at);
            registers[line->key] = line->id;
        }
        if (registers[o->key] != o->value)
            violate(check, "a read of register %u at index %llu gave %llx instead of %llx", o->key,
                    (ull)o->index, (ull)o->value, (ull)registers[o->key]);
    }
}

/* The log as a list of writes. */
struct list {
    uint64_t *ids;
    uint64_t *lengths; /* by index: how many writes lie at or below it */
    uint64_t count;
};

static struct list make_list(const struct soak_check *check)
{
    struct list list = {.ids = calloc(check->verdict.applied + 1, sizeof(uint64_t)),
                        .lengths = calloc(check->log_cap + 1, sizeof(uint64_t))};
    if (!list.ids || !list.lengths)
        abort();
    for (uint64_t at = 0; at < check->log_cap; at++) {
        if (check->log[at].index != 0)
            list.ids[list.count++] = check->log[at].id;
        list.lengths[at] = list.count;
    }
    return list;
}

/* Every operation as one on a list to which writes are appended, of which reads see a beginning.
 * What was applied and never acknowledged was asked for at some time. */
static void make_history(struct soak_check *check, const struct list *list, struct history *history)
{
    for (uint64_t i = 0; i < check->operation_count; i++) {
        const struct soak_operation *o = &check->operations[i];
        uint64_t length = o->index < check->log_cap ? list->lengths[o->index] : list->count;
        struct history_op op = {.invoked_ns = o->invoked_ns,
                                .returned_ns = o->completed_ns,
                                .kind = o->id ? HISTORY_APPEND : HISTORY_READ,
                                .value = o->id ? o->id : length,
                                .expected = length && !o->id ? list->ids[length - 1] : 0,
                                .outcome = HISTORY_OK};
        history_add(history, &op);
        if (o->id && o->index < check->log_cap)
            check->log[o->index].reserved = 1;
    }
    for (uint64_t at = 0; at < check->log_cap; at++) {
        if (check->log[at].index == 0 || check->log[at].reserved)
            continue;
        struct history_op op = {
            .kind = HISTORY_APPEND, .value = check->log[at].id, .outcome = HISTORY_UNKNOWN};
        history_add(history, &op);
    }
}

struct soak_verdict soak_check_judge(struct soak_check *check)
{
    struct history history = {0};
    check_answers(check);
    check_reads(check);
    struct list list = make_list(check);
    make_history(check, &list, &history);
    history_sort(&history);
    struct check_verdict order = append_check(history.ops, history.count, list.ids, list.count);
    if (order.result != CHECK_HOLDS)
        violate(check, "%s", order.why);
    history_free(&history);
    free(list.ids);
    free(list.lengths);
    if (check->verdict.violations > PRINTED_MAX)
        printf("and %llu violations more\n", (ull)(check->verdict.violations - PRINTED_MAX));
    return check->verdict;
}
