/* SPDX-License-Identifier: Apache-2.0
 *
 * The state machine of the simulation: a hash chain over everything applied, so that two replicas
 * are equal at an index if and only if they applied the same entries in the same order. Volatile:
 * each process begins with an empty one. Its snapshot is padded to the size that the plan asks for.
 */
#ifndef RR_TESTS_SIM_CHAIN_MACHINE_H
#define RR_TESTS_SIM_CHAIN_MACHINE_H

#include <ringraft/ringraft.h>

#define CHAIN_REGISTERS    8u
#define CHAIN_SNAPSHOT_MAX (1024u * 1024)

struct chain_machine {
    uint64_t index; /* the last user entry */
    uint64_t hash;
    uint64_t count;
    uint64_t registers[CHAIN_REGISTERS]; /* each written by the entries that chain_key gives it */
    uint32_t snapshot_bytes;
    uint32_t fails_in; /* the so-manieth callback from now on fails; 0: none will */
    bool has_failed, has_failed_to_apply;
    bool is_twisted; /* its hash is not that of what it applied */
    void *ctx;
    /* An entry was applied; the hash is the state behind it. */
    void (*on_apply)(void *ctx, const struct rr_apply_entry *entry, uint64_t hash);
    void (*on_restore)(void *ctx, uint64_t index, uint64_t hash);
};

/* An entry of at least 8 bytes begins with its tag, which it writes to this register. */
static inline uint32_t chain_key(uint64_t tag)
{
    return (uint32_t)((tag * 0x9e3779b97f4a7c15u) >> 61);
}

/* Fills the table of functions; the machine's own fields are the caller's. */
void chain_machine_bind(struct chain_machine *machine, struct rr_state_machine *table);

#endif
