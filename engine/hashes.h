/* SPDX-License-Identifier: Apache-2.0
 *
 * Do the replicas' state machines agree? Each takes the hash of its state when exactly every
 * hash_entries-th entry was applied (apply.c cuts its batches there), and sends it to the leader:
 *
 *      follower ──(index, hash)──▶ leader    compares with its own: a difference is an event
 *      follower ◀──(index, hash)── leader    only to one that differs from a majority of voters:
 *                                            it stops, as does a leader that differs from one
 *
 * Without a majority for either (two nodes, or the third is down) nobody can say who is right, and
 * nobody stops. What is remembered is little: a replica that is far behind goes unjudged. Loop
 * thread only.
 */
#ifndef RR_ENGINE_HASHES_H
#define RR_ENGINE_HASHES_H

#include "engine/config.h"
#include "proto/frame.h"

struct rr_group;

#define HASHES_KNOWN 128u

struct state_hash {
    uint64_t node;
    uint64_t index;
    uint64_t hash;
};

struct hashes {
    struct state_hash known[HASHES_KNOWN]; /* ring: this node's, and what others report to it */
    uint64_t known_count;                  /* ever */
    uint64_t alarmed[CONFIG_PEERS_MAX];    /* of whom this leader has told that they differ */
    uint32_t alarmed_count;
};

/* This node's, from the apply stage. */
void group_take_hash(struct rr_group *group, uint64_t index, uint64_t hash);
/* A peer's. */
void group_receive_hash(struct rr_group *group, uint64_t from, const struct frame_hash *hash);

#endif
