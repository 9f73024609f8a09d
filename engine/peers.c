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

/* May this hello follow what is known of the node? An instance is never 0, so 0 says that nothing
 * is known. A rolled-back directory reaches any boot if it is only started often enough, but not
 * with the nonce of the boot that is known in its past. Builds without a past, and boots that were
 * one's, are told by their count alone. */
static int compare(const struct wal_peer *known, const struct transport_peer *peer)
{
    if (known->instance == 0)
        return 0;
    if (known->instance != peer->instance || peer->boot < known->boot)
        return RR_E_INSTANCE;
    if (peer->boot == known->boot)
        return peer->nonce == known->nonce ? 0 : RR_E_INSTANCE;
    if (!peer->has_past)
        return 0;
    if (peer->past_boot != known->boot)
        return RR_E_BUSY;
    return peer->past_nonce == 0 || peer->past_nonce == known->nonce ? 0 : RR_E_INSTANCE;
}

uint64_t peers_ask(struct peers *peers, const struct transport_peer *peer)
{
    const struct wal_peer *known = peers_known(peers, peer->node);
    return known && known->boot < peer->boot ? known->boot : 0;
}

static int stage(struct peers *peers, struct wal *wal, struct peer_record *record,
                 const struct wal_peer *next)
{
    int rc = wal_append_peer(wal, next);
    if (rc != 0)
        return rc;
    record->known = *next;
    peers->pending_count += record->pending_seq == 0;
    record->pending_seq = wal_staged_seq(wal);
    return 0;
}

/* The record of a node that may have one; a stranger's takes one of a few places. */
static struct peer_record *record_of(struct peers *peers, uint64_t node,
                                     enum peer_standing standing)
{
    struct peer_record *record = find(peers, node);
    if (record || standing == PEER_MEMBER)
        return record ? record : find_or_add(peers, node);
    if (peers->stranger_count == PEERS_STRANGERS_MAX)
        return NULL;
    peers->stranger_count++;
    return find_or_add(peers, node);
}

int peers_check(struct peers *peers, struct wal *wal, const struct transport_peer *peer,
                enum peer_standing standing)
{
    if (standing == PEER_REMOVED)
        return RR_E_REMOVED;
    struct peer_record *record = record_of(peers, peer->node, standing);
    if (!record)
        return RR_E_NOT_FOUND;
    if (record->is_foreign)
        return RR_E_IDENTITY;
    int rc = peer->instance == 0 ? RR_E_INSTANCE : compare(&record->known, peer);
    if (rc != 0)
        return rc;
    bool is_known = record->known.instance != 0 && record->known.boot == peer->boot;
    if (!is_known) {
        struct wal_peer next = {.node = peer->node,
                                .instance = peer->instance,
                                .boot = peer->boot,
                                .nonce = peer->nonce};
        rc = stage(peers, wal, record, &next);
        if (rc != 0)
            return rc;
    }
    return record->pending_seq ? RR_E_PENDING : 0;
}

const struct wal_peer *peers_known(struct peers *peers, uint64_t node)
{
    const struct peer_record *record = find(peers, node);
    return record && record->known.instance ? &record->known : NULL;
}

bool peers_learn(struct peers *peers, struct wal *wal, const struct wal_peer *peer,
                 bool was_stranger)
{
    if (peer->node == peers->self || peer->instance == 0)
        return false;
    struct peer_record *record = find_or_add(peers, peer->node);
    if (!record)
        return false;
    const struct wal_peer known = record->known;
    bool is_same = known.instance == peer->instance;
    bool is_later = known.instance == 0 || (is_same && known.boot < peer->boot);
    bool is_doubtful = was_stranger && known.instance != 0 &&
                       !(is_same && known.boot == peer->boot && known.nonce == peer->nonce);
    if (is_later || is_doubtful)
        (void)stage(peers, wal, record, peer); /* a poisoned log says so itself */
    return is_doubtful;
}

void peers_note_foreign(struct peers *peers, uint64_t node)
{
    struct peer_record *record = find(peers, node);
    if (record)
        record->is_foreign = true;
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
    for (uint32_t i = 0; peers->pending_count && i < peers->count; i++) {
        struct peer_record *record = &peers->records[i];
        if (record->pending_seq == 0 || record->pending_seq > durable)
            continue;
        record->pending_seq = 0;
        peers->pending_count--;
        struct transport_peer accepted = {.node = record->known.node,
                                          .instance = record->known.instance,
                                          .boot = record->known.boot,
                                          .nonce = record->known.nonce};
        transport_accept_peer(transport, &accepted, 0);
    }
}
