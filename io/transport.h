/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames between nodes over TCP. Connections are one-way: this node sends on those it dials and receives on those it
 * accepts. Hello both ways, then frames (proto/frame.h). Loop thread only.
 *
 * Happy path: transport_send encodes a message's head and tail into the peer's send buffer and refers to its entries where they lie; transport_flush at the end
 * of a turn starts at most one send per peer; received frames are decoded in place and handed to on_message. Failure path:
 * a broken connection is closed, its queued frames dropped, on_peer_down called, dialled again with backoff and jitter.
 */
#ifndef RR_IO_TRANSPORT_H
#define RR_IO_TRANSPORT_H

#include "io/identity.h"
#include "io/io.h"

#include <ringraft/error.h>
#include <ringraft/types.h>

struct transport;

struct transport_limits {          /* compared in hello: must be equal everywhere */
    uint32_t entry_bytes_max;
    uint32_t frame_bytes_max;
};

struct transport_peer {            /* who a peer says it is */
    uint64_t node;
    uint64_t instance;
    uint64_t boot;
    uint64_t nonce;
};

struct transport_options {
    struct io *io;
    struct identity identity;      /* of this node */
    uint64_t boot;
    uint64_t nonce;
    struct io_address listen;      /* port 0: any; see transport_bound */
    bool allow_insecure;           /* addresses off loopback */
    struct transport_limits limits;
    uint32_t send_queue_bytes_max; /* per peer, 4 MiB */
    uint32_t stranger_count_max;   /* 64 */
    uint64_t stranger_timeout_ns;  /* 5 s */
    uint64_t backoff_min_ns, backoff_max_ns; /* 10 ms, 1 s */
    void *ctx;
    /* A hello's peer, before anything is accepted from it: 0: known and equal or newer, accept; RR_E_INSTANCE: refuse.
     * RR_E_PENDING: the new record must be durable first; call transport_accept_peer then. */
    int (*check_peer)(void *ctx, const struct transport_peer *peer);
    /* `message` and its entries are decoded in place: payloads lie in `block` (in m->entries[].block too); valid during the call, payloads
     * as long as the block is referenced. Group from the frame. Nonzero return closes the connection (malformed). */
    int (*on_message)(void *ctx, uint64_t from_node, uint64_t group, const struct rr_message *message);
    void (*on_peer_up)(void *ctx, uint64_t node);    /* the dialled connection is ready to send */
    void (*on_peer_down)(void *ctx, uint64_t node);
};

int transport_open(const struct transport_options *options, struct transport **transport, struct rr_error *error);
/* After io_join: no op in flight. */
void transport_free(struct transport *transport);
struct io_address transport_bound(const struct transport *transport);

/* Adds or re-addresses a peer; it is dialled from then on. */
int transport_add_peer(struct transport *transport, uint64_t node, const struct io_address *address, struct rr_error *error);
void transport_remove_peer(struct transport *transport, uint64_t node);
/* The peer's record became durable (err 0) or could not (refuse). */
void transport_accept_peer(struct transport *transport, const struct transport_peer *peer, int err);

/* Queues one message for m->to. Blocks of its entries are referenced until sent. Returns 0; RR_E_NOT_FOUND (no such peer);
 * RR_E_CLOSED (not connected); RR_E_BUSY (its queue is full; the caller reports unreachable). Heartbeats go before the next frame. */
int transport_send(struct transport *transport, uint64_t group, const struct rr_message *message);
/* End of turn: starts sends. Returns the next deadline. */
uint64_t transport_flush(struct transport *transport, uint64_t now_ns);

struct transport_stats {
    uint64_t frames_sent, frames_received;
    uint64_t bytes_sent, bytes_received;
    uint64_t sends;                 /* send operations */
    uint64_t ranges_copied;         /* bodies of more than 16 ranges, copied */
    uint64_t dropped;               /* frames refused or lost with a connection */
    uint64_t refused;               /* connections refused */
    uint64_t malformed;
    uint32_t connections;
    uint32_t strangers;
};
void transport_stats(const struct transport *transport, struct transport_stats *stats);
/* Why the last hello with this node was refused (RR_E_INSTANCE, RR_E_IDENTITY, RR_E_VERSION…), or 0. For status. */
int transport_peer_refusal(const struct transport *transport, uint64_t node);

#endif
