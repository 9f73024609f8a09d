/* SPDX-License-Identifier: Apache-2.0
 *
 * Who the other nodes are: (node, instance, highest boot, nonce) as last accepted. A hello is
 * compared with the record before a message is accepted, and a new or newer one is durable first,
 * so that a copied, wiped or rolled-back directory never reaches the core. Loop thread only
 * (recovery: the opening thread).
 *
 * Happy path: known and equal: accepted at once; unknown (trust on first use) or a higher boot of
 * the same instance, whose past holds the boot that is known: a `peer` section is staged, and the
 * transport is told when it is durable. Failure path: another instance, a lower boot, the same boot
 * with another nonce, a higher one with another past: RR_E_INSTANCE.
 *
 * Who is refused so, fences itself, so that it stays out of the sight of peers that have not seen
 * what it has forgotten. The fence is a `peer` section about this node itself; with it in the log
 * the directory does not open any more.
 */
#ifndef RR_ENGINE_PEERS_H
#define RR_ENGINE_PEERS_H

#include "io/transport.h"
#include "io/wal.h"

#include "engine/config.h"

struct peer_record {
    struct wal_peer known; /* what is staged; durable unless pending */
    uint64_t pending_seq;  /* the write that makes it durable; 0: it is */
    bool is_foreign;       /* it was found to belong to another group of the same name */
};

/* So many nodes a directory may meet in its life. */
#define PEERS_MAX 1024u
/* So many nodes that no group knows (yet) are trusted on first use while the process lives. */
#define PEERS_STRANGERS_MAX 64u

/* What the groups know of a node. */
enum peer_standing {
    PEER_UNKNOWN, /* of this cluster, but in no book: it joins, or this node's books are behind */
    PEER_MEMBER,  /* of a group */
    PEER_REMOVED, /* of every group that knows it */
};

struct peers {
    struct peer_record records[PEERS_MAX];
    uint32_t count;
    uint32_t pending_count; /* records that are not durable yet */
    uint32_t stranger_count;
    uint64_t self;  /* this node */
    bool is_fenced; /* the fence is staged */
};

/* From recovery. RR_E_TOO_LARGE: more peers than a directory may know. RR_E_INSTANCE: the fence. */
int peers_recover(struct peers *peers, const struct wal_peer *peer);
/* The earlier boot of which the peer is to know the nonce; 0: none. */
uint64_t peers_ask(struct peers *peers, const struct transport_peer *peer);
/* The transport's question; the answers are those of transport_options.check_peer. RR_E_BUSY: a
 * later boot that was not asked for its past; it is to come again. */
int peers_check(struct peers *peers, struct wal *wal, const struct transport_peer *peer,
                enum peer_standing standing);
/* What is recorded of the node, or NULL. */
const struct wal_peer *peers_known(struct peers *peers, uint64_t node);
/* A group's log says who the node is: recorded if nothing is known of it, or an earlier boot. A
 * stranger was trusted on first use, so the log's word replaces what is known; true: it must say
 * hello again, and prove that it is the same. */
bool peers_learn(struct peers *peers, struct wal *wal, const struct wal_peer *peer,
                 bool was_stranger);
/* The node belongs elsewhere: RR_E_IDENTITY from now on. */
void peers_note_foreign(struct peers *peers, uint64_t node);
/* A peer refused this node, which `own` describes, with RR_E_INSTANCE. */
int peers_fence(struct peers *peers, struct wal *wal, const struct wal_peer *own);
/* Tells the transport of records that became durable. */
void peers_release(struct peers *peers, struct wal *wal, struct transport *transport);

#endif
