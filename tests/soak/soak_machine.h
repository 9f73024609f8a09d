/* SPDX-License-Identifier: Apache-2.0
 *
 * The soak's state machine: registers, each written by swapping in the write's id. Every swap goes
 * into a chained hash and into the journal. With its ballast a snapshot is half a MiB, so that it
 * is a file and travels as a stream. Apply thread only, but where it says otherwise.
 */
#ifndef RR_TESTS_SOAK_MACHINE_H
#define RR_TESTS_SOAK_MACHINE_H

#include "tests/soak/soak.h"

#include <ringraft/ringraft.h>

/* What a write proposes; bytes behind it are padding. */
struct soak_command {
    uint64_t id;
    uint32_t key;
    uint32_t reserved;
};

struct soak_state {
    uint64_t chain;
    uint64_t count; /* of applied writes */
    uint64_t index; /* of the last applied entry */
    uint64_t registers[SOAK_REGISTERS];
};

struct soak_machine {
    struct soak_state state;
    int journal; /* fd */
};

/* `journal` is appended to. False: it could not be opened. */
bool soak_machine_init(struct soak_machine *machine, const char *journal);
struct rr_state_machine soak_machine_interface(struct soak_machine *machine);

#endif
