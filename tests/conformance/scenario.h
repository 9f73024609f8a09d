/* SPDX-License-Identifier: Apache-2.0
 *
 * One scenario file: chooses the dialect by its first command, runs every case in a fresh
 * environment, and compares or records the output.
 */
#ifndef RR_CONFORMANCE_SCENARIO_H
#define RR_CONFORMANCE_SCENARIO_H

#include "raft/describe_text.h"

enum scenario_verdict {
    SCENARIO_PASSED,
    SCENARIO_DIFFERS, /* the report holds a diff of the first differing case */
    SCENARIO_BAD,     /* the report holds `name:line: reason` */
};

struct scenario {
    const char *name; /* for the report */
    const char *text;
    size_t size;
    /* Not NULL: nothing is compared; the file is written here with the actual outputs. */
    struct rr_text *rewritten;
};

enum scenario_verdict scenario_run(const struct scenario *scenario, struct rr_text *report);

#endif
