/* SPDX-License-Identifier: Apache-2.0
 *
 * The state machine of the benches: counts entries and chains a cheap hash over them, so that it
 * costs next to nothing. Its snapshot can be made as large as wanted by bytes that mean nothing.
 */
#ifndef RR_BENCH_TALLY_H
#define RR_BENCH_TALLY_H

#include <ringraft/ringraft.h>

struct tally {
    uint64_t applied;
    uint64_t count;
    uint64_t hash;
    uint64_t ballast_bytes; /* behind these in a snapshot */
};

struct rr_state_machine tally_interface(struct tally *tally);

#endif
