/* SPDX-License-Identifier: Apache-2.0
 *
 * One node of the soak, a process of its own: an engine on its directory, a client that writes
 * while this node leads and reads all the time, and a control channel to the driver:
 *
 *      status | write | rest | change kind= node= address= replaced= | transfer to= | quit
 */
#ifndef RR_TESTS_SOAK_NODE_H
#define RR_TESTS_SOAK_NODE_H

#include "tests/soak/soak.h"

struct soak_node_options {
    uint64_t node;
    uint64_t boot;          /* of this process, so that ids of writes are never used twice */
    const char *dir;        /* data/, journal, operations, log */
    const char *name_space; /* to enter, or "" */
    const char *address;
    const char *peers;     /* id=address,id=address… */
    bool joins;            /* an empty directory waits to be added */
    uint64_t memory_bytes; /* budget of the engine */
};

int soak_node_main(const struct soak_node_options *options);

#endif
