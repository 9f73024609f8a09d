/* SPDX-License-Identifier: Apache-2.0
 *
 * What the processes of a soak have in common: places, and the records that they leave in files
 * outside of the data directories. A record is appended with one write(2): it survives SIGKILL, and
 * a last one that is cut short is ignored.
 */
#ifndef RR_TESTS_SOAK_H
#define RR_TESTS_SOAK_H

#include <stdbool.h>
#include <stdint.h>

/* A place where one node at a time can live. Ids are never used twice: a node that joins at a place
 * gets a new one. */
#define SOAK_PLACES      7u
#define SOAK_GROUP       1u
#define SOAK_CLUSTER     0x50a4u
#define SOAK_PATH_MAX    512
#define SOAK_ADDRESS_MAX 32

/* Registers of the state machine; those that clients use, and ballast that makes snapshots large.
 */
#define SOAK_REGISTERS 65536u
#define SOAK_KEYS      64u

/* Each node's `journal`: what it applied, in order; after a restore it goes on further up. */
struct soak_applied {
    uint64_t index;
    uint64_t id;       /* of the write: who wrote, which boot, which write */
    uint64_t previous; /* what the register held before */
    uint64_t chain;    /* a hash over everything up to here */
    uint32_t key;
    uint32_t reserved;
};

/* Each node's `operations`: what its clients asked for and were told. Times are CLOCK_MONOTONIC. */
struct soak_operation {
    uint64_t invoked_ns;
    uint64_t completed_ns;
    uint64_t id;    /* of a write; 0: a read */
    uint64_t index; /* write: its entry's; read: what had been applied when the value was read */
    uint64_t value; /* write: what the register held before; read: what it held */
    uint32_t key;
    uint32_t reserved;
};

#endif
