/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/peers.h"

#include "proto/base.h"

static struct peer_record *find(struct peers *peers, uint64_t node)
{
    for (uint32_t i = 0; i < peers->count; i++)
        if (peers->records[i].known.node == node)
            return &peers->records[i];
    return NULL;
}

static struct peer_record *find_or_add(struct peers *peers, uint64_t node)
{
    struct peer_record *record = find(peers, node);
    if (record || peers->count == PEERS_MAX)
        return record;
    record = &peers->records[peers->count++];
    *record = (struct peer_record){.known.node = node};
    return record;
}

int peers_recover(struct peers *peers, const struct wal_peer *peer)
{
    if (peer->node == peers->self)
        return RR_E_INSTANCE;
    struct peer_record *record = find_or_add(peers, peer->node);
    if (!record)
        return RR_E_TOO_LARGE;
    record->known = *peer;
    return 0;
}

int peers_add_member(struct peers *peers, uint64_t node)
{
    struct peer_record *record = find_or_add(peers, node);
    if (!record)
        return RR_E_TOO_LARGE;
    record->is_member = true;
    return 0;
}

void peers_drop_member(struct peers *peers, uint64_t node)
{
    struct peer_record *record = find(peers, node);
    if (record)
        record->is_member = false;
}

/* May this hello follow what is known of the node? An instance is never 0, so 0 says that nothing
 * is known. */
static bool is_successor(const struct wal_peer *known, const struct transport_peer *peer)
{
    if (known->instance == 0)
        return true;
    if (known->instance != peer->instance || peer->boot < known->boot)
        return false;
    return peer->boot > known->boot || peer->nonce == known->nonce;
}

int peers_check(struct peers *peers, struct wal *wal, const struct transport_peer *peer)
{
    struct peer_record *record = find(peers, peer->node);
    if (!record || !record->is_member)
        return RR_E_NOT_FOUND;
    if (peer->instance == 0 || !is_successor(&record->known, peer))
        return RR_E_INSTANCE;
    bool is_known = record->known.instance != 0 && record->known.boot == peer->boot;
    if (!is_known) {
        struct wal_peer next = {.node = peer->node,
                                .instance = peer->instance,
                                .boot = peer->boot,
                                .nonce = peer->nonce};
        int rc = wal_append_peer(wal, &next);
        if (rc != 0)
            return rc;
        record->known = next;
        record->pending_seq = wal_staged_seq(wal);
    }
    return record->pending_seq ? RR_E_PENDING : 0;
}

int peers_fence(struct peers *peers, struct wal *wal, const struct wal_peer *own)
{
    RR_ASSERT(own->node == peers->self);
    int rc = peers->is_fenced ? 0 : wal_append_peer(wal, own);
    peers->is_fenced = rc == 0;
    return rc;
}

void peers_release(struct peers *peers, struct wal *wal, struct transport *transport)
{
    uint64_t durable = wal_durable_seq(wal);
    for (uint32_t i = 0; i < peers->count; i++) {
        struct peer_record *record = &peers->records[i];
        if (record->pending_seq == 0 || record->pending_seq > durable)
            continue;
        record->pending_seq = 0;
        struct transport_peer accepted = {.node = record->known.node,
                                          .instance = record->known.instance,
                                          .boot = record->known.boot,
                                          .nonce = record->known.nonce};
        transport_accept_peer(transport, &accepted, 0);
    }
}
