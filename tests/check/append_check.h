/* SPDX-License-Identifier: Apache-2.0
 *
 * The cheap judge, for all of a history: a list to which unique elements are appended, and the
 * order in which they ended up. In time n log n:
 *
 * - an acknowledged append is in the list, once; one that failed is not; nothing else is;
 * - real time: an append that returned before another was asked for comes before it;
 * - a read sees a prefix, which holds every append that had returned, and all that an earlier read
 *   had seen, when it was asked for, and nothing that was asked for only after it had returned.
 */
#ifndef RR_TESTS_CHECK_APPEND_CHECK_H
#define RR_TESTS_CHECK_APPEND_CHECK_H

#include "tests/check/history.h"

/* `ops` of one key: HISTORY_APPEND, and HISTORY_READ with the length of what was seen as `value`
 * and its last element as `expected` (not looked at when the length is 0). `list`: all elements in
 * their final order. */
struct check_verdict append_check(const struct history_op *ops, size_t count, const uint64_t *list,
                                  size_t length);

#endif
