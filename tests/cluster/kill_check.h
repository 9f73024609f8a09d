/* SPDX-License-Identifier: Apache-2.0
 *
 * What must hold after the killing: what was acknowledged is what was applied, and everybody
 * applied the same.
 */
#ifndef RR_TESTS_KILL_CHECK_H
#define RR_TESTS_KILL_CHECK_H

#include <stdbool.h>
#include <stdint.h>

/* Acknowledgements by index, kept by the parent: outside every node. */
struct kill_acks {
    uint64_t *ids; /* by index; 0: none */
    uint64_t cap;
    uint64_t count;
};

/* False: this index was acknowledged before with another id. */
bool kill_acks_add(struct kill_acks *acks, uint64_t index, uint64_t id);

/* Reads the nodes' journals below dir/n1… and compares them with each other and with the
 * acknowledgements. Prints each violation; returns how many there are. */
uint64_t kill_check(const char *dir, const struct kill_acks *acks);

#endif
