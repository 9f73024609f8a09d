/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames between nodes over TCP. Connections are one-way: this node sends on
 * those it dials and receives on those it accepts. Hello both ways (hello.h), then frames
 * (proto/frame.h). Loop thread only.
 *
 * A turn: transport_receive (what arrived is decoded in place and handed to on_message), the
 * engine's work with transport_send, transport_flush (at most one send per peer, receives armed
 * again), return to the backend. Completions only record; callbacks come from transport_receive and
 * transport_accept_peer alone, and may call anything here but transport_free, _receive and _flush.
 *
 * Failure path: a broken connection is closed, its queued frames are dropped and counted,
 * on_peer_down is called, and the peer is dialled again with backoff and jitter. Whoever sends
 * garbage loses the connection and nothing else happens. An idle connection carries an empty frame
 * now and then, so that one on which nothing arrives is known to be dead; the other direction is
 * seen by TCP, whose bytes are not acknowledged.
 */
#ifndef RR_IO_TRANSPORT_H
#define RR_IO_TRANSPORT_H

#include "io/identity.h"
#include "io/io.h"
#include "proto/frame.h"

#include <ringraft/error.h>
#include <ringraft/types.h>

struct transport;

/* A body refers to entries in at most so many places; one with more is copied. */
#define TRANSPORT_RANGES_MAX 16u
/* Most entries in one message, either way. The shortest entry of raft's takes 6 bytes, so that a
 * max_size_per_msg of 1 MiB always stays below. */
#define TRANSPORT_ENTRIES_MAX (256u * 1024)
#define TRANSPORT_PEERS_MAX   256u

struct transport_limits {     /* compared in hello: must be equal everywhere */
    uint32_t entry_bytes_max; /* of Entry.Data, the engine's envelope included */
    uint32_t frame_bytes_max; /* of a frame's body */
};

struct transport_peer { /* who a peer says it is */
    uint64_t node;
    uint64_t instance;
    uint64_t boot;
    uint64_t nonce;
    bool has_past;       /* its build proves its past (hello.h) */
    uint64_t past_boot;  /* what it was asked for; 0: nothing */
    uint64_t past_nonce; /* what it answered; 0: it does not know */
};

/* All zero values mean the default that stands beside the field; those without one must be set. */
struct transport_options {
    struct io *io;
    struct identity identity; /* of this node */
    uint64_t boot;
    uint64_t nonce;
    struct io_address listen; /* port 0: any; see transport_bound */
    struct io_address
        advertise;       /* where others dial this node; port 0: as bound; said if ip is not 0 */
    bool allow_insecure; /* addresses off loopback */
    struct transport_limits limits;
    uint32_t send_queue_bytes_max;           /* per peer, referenced bytes count; 4 MiB */
    uint64_t block_bytes_max;                /* of frames, sent and received; no limit */
    uint32_t stranger_count_max;             /* 64 */
    uint64_t stranger_timeout_ns;            /* 5 s; also for our own hello */
    uint64_t backoff_min_ns, backoff_max_ns; /* 10 ms, 1 s */
    /* A connection on which nothing arrived for so long is closed; one on which nothing was sent
     * for a quarter of it carries a sign of life; a connect may take twice as long. Equal
     * everywhere; 1 s; see transport_limit_silence. */
    uint64_t silence_ns;
    void *ctx;
    /* A hello's peer, before anything is accepted from it or sent to it: 0: known and equal or
     * newer; otherwise it is refused in these words (RR_E_NOT_FOUND, RR_E_INSTANCE, RR_E_REMOVED).
     * RR_E_PENDING: the new record must be durable first; the connection is parked until
     * transport_accept_peer. Called for each connection, so also again for the same peer while its
     * record is pending. A node that transport_add_peer never named, and that is let in here,
     * becomes a peer without an address: it is not dialled until it has one (on_address). */
    int (*check_peer)(void *ctx, const struct transport_peer *peer);
    /* Before that: which earlier boot of the peer is it to know the nonce of? 0: none. Optional. */
    uint64_t (*ask_peer)(void *ctx, const struct transport_peer *peer);
    /* What this node answers to that: 0 if it does not know. Optional, then it never does. */
    uint64_t (*past_nonce)(void *ctx, uint64_t boot);
    /* `message` and its entries are decoded in place and valid during the call; payloads as long as
     * their block (entries[].block, snapshot->block) is referenced. It is from `from_node`, to this
     * node, not of a local type; the entries of a MsgApp are consecutive behind message->index and
     * their terms rise to at most message->term. Nonzero closes the connection (malformed). */
    int (*on_message)(void *ctx, uint64_t from_node, uint64_t group,
                      const struct rr_message *message);
    void (*on_peer_up)(void *ctx, uint64_t node);   /* the dialled connection is ready to send */
    void (*on_peer_down)(void *ctx, uint64_t node); /* it was up and is no more */
    /* A peer that we dialled refuses this node, and says why. Optional. */
    void (*on_refused)(void *ctx, uint64_t node, int err);
    /* A peer that dialled us says where it can be dialled. Optional. */
    void (*on_address)(void *ctx, uint64_t node, const struct io_address *address);
    /* transport_send_hash of a peer. Optional. */
    void (*on_hash)(void *ctx, uint64_t from_node, uint64_t group, const struct frame_hash *hash);
    /* transport_send_notice of a peer. Optional. */
    void (*on_notice)(void *ctx, uint64_t from_node, uint64_t group,
                      const struct frame_notice *notice);
    /* wal_run_crc, or NULL: the CRC32C of bytes in a block if it is known without reading them. */
    bool (*run_crc)(const struct rr_block *block, const uint8_t *bytes, uint32_t size,
                    uint32_t *crc);
};

/* Listens at once, but neither accepts nor dials before the first turn. RR_E_BAD_ADDRESS (also: off
 * loopback without allow_insecure), RR_E_INVALID, RR_E_IO, RR_E_NO_MEMORY. */
int transport_open(const struct transport_options *options, struct transport **transport,
                   struct rr_error *error);
/* After the loop's end: no completion comes any more. Blocks of received payloads may outlive it.
 */
void transport_free(struct transport *transport);
struct io_address transport_bound(const struct transport *transport);

/* Adds or re-addresses a peer; it is dialled from then on. RR_E_BAD_ADDRESS, RR_E_INVALID (itself,
 * or more than TRANSPORT_PEERS_MAX). A removed peer may be added again at once. */
int transport_add_peer(struct transport *transport, uint64_t node, const struct io_address *address,
                       struct rr_error *error);
/* Closes both connections; on_peer_down is not called. Unknown nodes are ignored. */
void transport_remove_peer(struct transport *transport, uint64_t node);
/* The peer's record became durable (err 0) or could not (err is the refusal). */
void transport_accept_peer(struct transport *transport, const struct transport_peer *peer, int err);

/* Nothing is heard for an election timeout of some group: that is long enough. The smallest counts.
 */
void transport_limit_silence(struct transport *transport, uint64_t silence_ns);

/* Start of a turn: handles what completed and what is overdue. */
void transport_receive(struct transport *transport, uint64_t now_ns);

/* Queues one message for m->to. Blocks of its entries are referenced until sent; everything else is
 * copied. Heartbeats and their answers go before the next frame. Returns 0; RR_E_NOT_FOUND (no such
 * peer); RR_E_CLOSED (not connected); RR_E_BUSY (its queue is full; the caller reports
 * unreachable); RR_E_TOO_LARGE (above the limits). */
int transport_send(struct transport *transport, uint64_t group, const struct rr_message *message);

/* Queues a hash of the group's state, or a notice about it, for `to`, behind what is queued (in
 * on_peer_up: before everything else). As transport_send, and RR_E_NOT_SUPPORTED: the peer's
 * feature level does not know these. */
int transport_send_hash(struct transport *transport, uint64_t to, uint64_t group,
                        const struct frame_hash *hash);
int transport_send_notice(struct transport *transport, uint64_t to, uint64_t group,
                          const struct frame_notice *notice);

/* End of a turn: queues the sends and receives. Returns the next deadline (UINT64_MAX: none). */
uint64_t transport_flush(struct transport *transport, uint64_t now_ns);

struct transport_stats {
    uint64_t frames_sent, frames_received;
    uint64_t bytes_sent, bytes_received;
    uint64_t sends;           /* send operations */
    uint64_t bodies_copied;   /* bodies of more than 16 ranges or with loose entries, copied */
    uint64_t dropped;         /* frames refused (queue full) or lost with a connection */
    uint64_t refused;         /* connections refused, by us or by the peer */
    uint64_t malformed;       /* connections closed for what was read from them */
    uint64_t silent;          /* connections closed because nothing was read from them */
    uint64_t block_bytes;     /* now lent out: receive blocks (also to the engine), send blocks */
    uint64_t queue_bytes_max; /* high water of any peer's queue */
    uint32_t connections;     /* now ready, both directions */
    uint32_t strangers;       /* now accepted and not yet a peer's, or still closing */
};
void transport_stats(const struct transport *transport, struct transport_stats *stats);
/* Why the last hello with this node was refused, by either side (RR_E_INSTANCE, RR_E_IDENTITY,
 * RR_E_VERSION, RR_E_INVALID: limits or loops differ, RR_E_NOT_FOUND: it does not know us…), or 0.
 * Forgotten when a hello in the same direction succeeds. For status. */
int transport_peer_refusal(const struct transport *transport, uint64_t node);
/* The level that this node and the peer have in common, as of its newest hello; 0: no peer, or not
 * heard of since this process began. What needs a level is sent only to those who have it. */
uint32_t transport_peer_feature_level(const struct transport *transport, uint64_t node);
/* Can transport_send take messages for it? */
bool transport_peer_is_up(const struct transport *transport, uint64_t node);

#endif
