/* SPDX-License-Identifier: Apache-2.0
 *
 * The child process of rr-story: one node whose state machine is a number. It obeys lines on the
 * control channel:
 *
 *     put tag=T value=V                  proposes the number     done tag=T status=S value=V'
 *     get tag=T                          a linearizable read     done tag=T status=S value=V'
 *     change tag=T kind=K node=N …       rr_conf_change          done tag=T status=S value=V'
 *     status                             status leads= lead= term= applied= error= members=1,2,3
 *     quit
 *
 * V' is the number when the outcome came; status and error are negated (0: RR_OK).
 */
#ifndef RR_TESTS_STORY_NODE_H
#define RR_TESTS_STORY_NODE_H

#include <stdbool.h>
#include <stdint.h>

struct story_node_options {
    uint64_t node;
    const char *dir;
    const char *name_space; /* to enter, or "" */
    const char *address;
    const char *peers; /* id=address,id=address… */
    bool joins;        /* an empty directory waits to be added */
    bool leases;       /* reads by the leader's lease */
};

int story_node_main(const struct story_node_options *options);

#endif
