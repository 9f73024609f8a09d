/* SPDX-License-Identifier: Apache-2.0
 *
 * Who the other nodes are: (node, instance, highest boot, nonce) as last accepted. A hello is
 * compared with the record before a message is accepted, and a new or newer one is durable first,
 * so that a copied, wiped or rolled-back directory never reaches the core. Loop thread only
 * (recovery: the opening thread).
 *
 * Happy path: known and equal: accepted at once; unknown (trust on first use) or a higher boot of
 * the same instance: a `peer` section is staged, and the transport is told when it is durable.
 * Failure path: another instance, a lower boot, the same boot with another nonce: RR_E_INSTANCE.
 *
 * Who is refused so, fences itself: a rolled-back directory would raise its boot count with every
 * start, until it lies above what its peers know. The fence is a `peer` section about this node
 * itself; with it in the log the directory does not open any more.
 */
#ifndef RR_ENGINE_PEERS_H
#define RR_ENGINE_PEERS_H

#include "io/transport.h"
#include "io/wal.h"

#include "engine/config.h"

struct peer_record {
    struct wal_peer known; /* what is staged; durable unless pending */
    uint64_t pending_seq;  /* the write that makes it durable; 0: it is */
    bool is_member;        /* of some group that is open: others are refused */
};

/* A directory remembers more peers than a group has at one time. */
#define PEERS_MAX (4 * CONFIG_PEERS_MAX)

struct peers {
    struct peer_record records[PEERS_MAX];
    uint32_t count;
    uint64_t self;  /* this node */
    bool is_fenced; /* the fence is staged */
};

/* From recovery. RR_E_TOO_LARGE: more peers than a directory may know. RR_E_INSTANCE: the fence. */
int peers_recover(struct peers *peers, const struct wal_peer *peer);
int peers_add_member(struct peers *peers, uint64_t node);
/* What is known of the node stays. */
void peers_drop_member(struct peers *peers, uint64_t node);
/* The transport's question; the answers are those of transport_options.check_peer. */
int peers_check(struct peers *peers, struct wal *wal, const struct transport_peer *peer);
/* A peer refused this node, which `own` describes, with RR_E_INSTANCE. */
int peers_fence(struct peers *peers, struct wal *wal, const struct wal_peer *own);
/* Tells the transport of records that became durable. */
void peers_release(struct peers *peers, struct wal *wal, struct transport *transport);

#endif
