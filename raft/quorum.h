/* SPDX-License-Identifier: Apache-2.0
 *
 * Quorum arithmetic: what a majority, or both majorities of a joint configuration, have
 * acknowledged or voted (thesis 3.4, 3.6, 4.3). Pure functions on numbers; the ids live in
 * tracker.h.
 */
#ifndef RR_RAFT_QUORUM_H
#define RR_RAFT_QUORUM_H

#include "proto/base.h"

enum vote_result { VOTE_PENDING = 1, VOTE_LOST = 2, VOTE_WON = 3 };

/* The committed index of a configuration without voters: it never holds a joint one back. */
#define QUORUM_INDEX_MAX UINT64_MAX

/* The usual group: the middle one of three. */
static inline uint64_t quorum_committed_of_three(uint64_t a, uint64_t b, uint64_t c)
{
    return rr_max_u64(rr_min_u64(a, b), rr_min_u64(rr_max_u64(a, b), c));
}

/* The largest index that a majority of the `count` voters has acknowledged (0: nothing yet).
 * Reorders `acked`. */
uint64_t quorum_committed(uint64_t *acked, size_t count);

/* The outcome among `voters` of which `granted` said yes and `rejected` no. Without voters: won. */
enum vote_result quorum_vote(size_t voters, size_t granted, size_t rejected);

/* Both halves must win; one that is lost loses the whole. */
enum vote_result quorum_vote_joint(enum vote_result incoming, enum vote_result outgoing);

#endif
