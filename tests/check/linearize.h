/* SPDX-License-Identifier: Apache-2.0
 *
 * The thorough judge, for windows of a history of one key: is there an order of the calls, each
 * between the time it was made and the time it returned, in which every answer is right? The search
 * of Wing and Gong with the memory of Lowe ("Testing for linearizability", 2017): exponential at
 * worst, fast where few calls overlap.
 *
 * The key is a register (WRITE, READ, CAS) or a list (APPEND, READ): a list's state is a hash of
 * its elements, linearize_append(…) of them in order, 0 when it is empty, and `value` of a READ is
 * that. A call of unknown outcome may have happened at any time after it was made, or never.
 */
#ifndef RR_TESTS_CHECK_LINEARIZE_H
#define RR_TESTS_CHECK_LINEARIZE_H

#include "tests/check/history.h"

struct linearize_options {
    uint64_t initial;        /* the state before the first call … */
    bool is_initial_unknown; /* … or any: what the first calls say is believed */
    uint64_t steps_max;      /* then it gives up; 0: a million */
};

/* The calls of one key, in any order. */
struct check_verdict linearize(const struct history_op *ops, size_t count,
                               const struct linearize_options *options);
/* Of one key's calls those that can have happened in [from_ns, to_ns), cut to it: what began before
 * or returned after is of unknown outcome, as far as this window goes. To be judged with an unknown
 * initial state. Room for `count` in `window`; returns how many. */
size_t linearize_window(const struct history_op *ops, size_t count, uint64_t from_ns,
                        uint64_t to_ns, struct history_op *window);
uint64_t linearize_append(uint64_t state, uint64_t value);

#endif
