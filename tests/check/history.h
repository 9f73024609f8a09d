/* SPDX-License-Identifier: Apache-2.0
 *
 * A history: what clients asked for and what they were told, with the times of both by one clock.
 * Any order; any thread may keep its own and put them together later.
 */
#ifndef RR_TESTS_CHECK_HISTORY_H
#define RR_TESTS_CHECK_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum history_kind {
    HISTORY_WRITE,  /* the register becomes `value` */
    HISTORY_APPEND, /* `value`, unique in its key's history, goes to the end of the list */
    HISTORY_READ,   /* a register: `value` was its content; a list: see append_check, linearize */
    HISTORY_CAS,    /* if the register is `expected` it becomes `value` */
};

enum history_outcome {
    HISTORY_OK,       /* it happened */
    HISTORY_UNKNOWN,  /* perhaps, at any time after it was asked for */
    HISTORY_FAILED,   /* certainly not */
    HISTORY_MISMATCH, /* a HISTORY_CAS that found something else than `expected` */
};

struct history_op {
    uint64_t key;
    uint64_t invoked_ns;
    uint64_t returned_ns; /* >= invoked_ns; not looked at when the outcome is unknown */
    uint64_t value;
    uint64_t expected;
    uint8_t kind;    /* enum history_kind */
    uint8_t outcome; /* enum history_outcome */
};

struct history {
    struct history_op *ops;
    size_t count;
    size_t cap;
};

/* An answer, and what is wrong if something is. */
enum check_result {
    CHECK_HOLDS,
    CHECK_BROKEN,
    CHECK_GAVE_UP, /* a search that became too long; says nothing */
};

struct check_verdict {
    enum check_result result;
    char why[240];
};

/* Where the call now stands; filled in further when it returns. */
size_t history_add(struct history *history, const struct history_op *op);
void history_free(struct history *history);
/* Sorts by key, then by time of the call; returns where the run that begins at `first` ends. */
void history_sort(struct history *history);
size_t history_key_end(const struct history *history, size_t first);

#endif
