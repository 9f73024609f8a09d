/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RR_TESTS_SIM_CORE_TERM_H
#define RR_TESTS_SIM_CORE_TERM_H

#include <stdint.h>

struct rr_raw_node;

/* Of the entry at `index` in this node's log; 0: there is none. */
uint64_t core_term(const struct rr_raw_node *node, uint64_t index);

#endif
