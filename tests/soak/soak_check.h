/* SPDX-License-Identifier: Apache-2.0
 *
 * The verdict on a soak, from the files that its nodes left.
 *
 * All journals together give one order of all writes, the log's. Against it every answer must be
 * what its place implies, and the order must be possible in real time (tests/check/append_check.h):
 * what had returned when an operation was asked for lies before it.
 *
 *      write a  |----|  index 7
 *      read           |-----|  must have seen at least 7, and hold what the log says at its index
 */
#ifndef RR_TESTS_SOAK_CHECK_H
#define RR_TESTS_SOAK_CHECK_H

#include "tests/soak/soak.h"

struct soak_verdict {
    uint64_t violations; /* each is printed, the first few of a kind */
    uint64_t writes, reads, applied;
};

struct soak_check;
struct soak_check *soak_check_new(void);
void soak_check_free(struct soak_check *check);
/* Adds the `journal` and `operations` of one node's directory; `node` is its name in messages. */
void soak_check_read(struct soak_check *check, const char *dir, uint64_t node);
struct soak_verdict soak_check_judge(struct soak_check *check);

/* The same from memory, for tests of the check itself. */
void soak_check_add_applied(struct soak_check *check, const struct soak_applied *line,
                            uint64_t node);
void soak_check_add_operation(struct soak_check *check, const struct soak_operation *operation);

#endif
