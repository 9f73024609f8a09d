/* SPDX-License-Identifier: Apache-2.0
 *
 * The difference between two texts, line by line, in the unified form.
 */
#ifndef RR_CONFORMANCE_UNIFIED_DIFF_H
#define RR_CONFORMANCE_UNIFIED_DIFF_H

#include "raft/describe_text.h"

struct diff_side {
    const char *bytes;
    size_t size;
};

/* Appends hunks with three lines of context; `line` is the number of the expected text's first line
 * in its file. */
void unified_diff(struct rr_text *out, struct diff_side expected, struct diff_side actual,
                  size_t line);

#endif
