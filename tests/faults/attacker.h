/* SPDX-License-Identifier: Apache-2.0
 *
 * A process that misuses a peer port on request, so that its sockets and memory are not those of
 * the nodes under test. Forked before any engine is opened.
 */
#ifndef RR_TESTS_ATTACKER_H
#define RR_TESTS_ATTACKER_H

#include "io/hello.h"

enum attack_kind {
    ATTACK_RANDOM_BYTES,  /* as much as the port takes */
    ATTACK_HUGE_LENGTHS,  /* 0xff as far as the eye sees */
    ATTACK_OTHER_CLUSTER, /* a valid hello of another cluster, which must be refused in words */
    ATTACK_SILENCE,
    ATTACK_HALF_HELLO,
    ATTACK_IMPOSTOR, /* a hello that is accepted, then frames that are none */
    ATTACK_SNAPSHOT, /* a snapshot connection that is accepted, then each sort of nonsense */
    ATTACK_KIND_COUNT,
};

/* The index of the snapshots that ATTACK_SNAPSHOT pretends to have. */
#define ATTACK_SNAPSHOT_INDEX (UINT64_C(1) << 40)

struct attack {
    enum attack_kind kind;
    uint32_t count;     /* connections */
    uint16_t port;      /* on 127.0.0.1 */
    struct hello hello; /* OTHER_CLUSTER, IMPOSTOR, SNAPSHOT: what it says */
    uint64_t term;      /* SNAPSHOT: in which it pretends to lead */
};

struct attacker {
    int pid;
    int commands; /* to it */
    int reports;  /* from it */
};

void attacker_start(struct attacker *attacker);
void attacker_stop(struct attacker *attacker);
/* Returns when all its connections were made and have said what they say; they stay. */
void attacker_begin(const struct attacker *attacker, const struct attack *attack);
/* Closes what is left of them. */
void attacker_end(const struct attacker *attacker);

#endif
