/* SPDX-License-Identifier: Apache-2.0
 *
 * The state machine of the benches: counts entries and chains a cheap hash over them, so that it
 * costs next to nothing. An entry that says so makes its snapshots as large as wanted, by bytes
 * that mean nothing.
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

/* As an entry: so many bytes of ballast from here on. */
#define TALLY_ORDER UINT64_C(0x7473616c6c616221)
struct tally_order {
    uint64_t order; /* TALLY_ORDER */
    uint64_t ballast_bytes;
};

struct rr_state_machine tally_interface(struct tally *tally);

#endif
