/* SPDX-License-Identifier: Apache-2.0
 *
 * Reader of scenario files: UTF-8 text, a sequence of cases
 *
 *     # comment                        between cases only
 *     command positional key=value key=(v1,v2)
 *     input lines
 *     ----
 *     expected output
 *                                      a blank line, or the end of the file
 *
 * Output that contains a blank line stands between two pairs of `----` lines. A line ending with a
 * backslash continues. The reader borrows the file's text and allocates from the caller's memory.
 */
#ifndef RR_CONFORMANCE_DATADRIVEN_H
#define RR_CONFORMANCE_DATADRIVEN_H

#include "tests/conformance/scenario_memory.h"

#include <stdbool.h>
#include <stddef.h>

struct dd_argument {
    const char *key;
    const char **values;
    size_t value_count;
    bool is_positional; /* no `=` */
};

struct dd_case {
    const char *command;
    struct dd_argument *arguments;
    size_t argument_count;
    const char *input; /* joined, trimmed */
    const char *expected;
    size_t expected_size;
    size_t line;          /* of the directive, from 1 */
    size_t expected_line; /* of the first line of output */
    /* Offsets in the file: its `----` line (or the end), and the end of the expected output with
     * its closing marks. */
    size_t separator_at;
    size_t end_at;
};

struct dd_reader {
    const char *text;
    size_t size;
    size_t at;
    size_t line; /* lines consumed so far */
    struct scenario_memory *memory;
    const char *problem; /* why dd_next returned -1; its place is problem_line */
    size_t problem_line;
};

void dd_init(struct dd_reader *reader, const char *text, size_t size,
             struct scenario_memory *memory);

/* 1: a case was read; 0: end of the file; -1: malformed, see `problem`. */
int dd_next(struct dd_reader *reader, struct dd_case *out);

/* Is this output (with its final LF, if any) the expected one? */
bool dd_matches(const struct dd_case *c, const char *output, size_t size);

/* Appends the separator and the output in the form that dd_next reads back. */
void dd_write_output(struct rr_text *text, const char *output, size_t size);

#endif
