/* SPDX-License-Identifier: Apache-2.0
 *
 * One replica of the kill test: an engine whose state machine writes what it applies into a journal
 * outside the data directory, and a writer that proposes while this replica leads and reports each
 * acknowledgement to the parent at once.
 */
#ifndef RR_TESTS_KILL_NODE_H
#define RR_TESTS_KILL_NODE_H

#include <stdint.h>

#define KILL_NODES 3

/* A line of a node's apply journal. The chain is a hash over all ids up to this one, so two
 * journals that agree on the chain at an index agree on everything before it. */
struct kill_applied {
    uint64_t index;
    uint64_t id;
    uint64_t chain;
};

struct kill_node_options {
    uint64_t node;
    uint64_t boot; /* of this process, so that ids are never used twice */
    const char *dir;
    uint16_t ports[KILL_NODES];
};

int kill_node_main(const struct kill_node_options *options);

#endif
