/* SPDX-License-Identifier: Apache-2.0
 *
 * A look into the core's own log, apart: the core's headers and the engine's do not meet in one
 * file.
 */
#include "tests/sim/core_term.h"

#include "raft/raw_node.h"

uint64_t core_term(const struct rr_raw_node *node, uint64_t index)
{
    return raft_log_term_or_zero(&node->raft.log, index);
}
