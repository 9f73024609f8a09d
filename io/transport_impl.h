/* SPDX-License-Identifier: Apache-2.0
 *
 * The transport's inside, shared by transport*.c. A peer has at most one connection of each
 * direction: `dial` (ours to it, on which we send) and `guest` (its to us, on which we receive).
 * An accepted connection is a guest without a peer, a stranger, until its hello was accepted.
 *
 * Completions only queue their op; transport_receive resumes them one after another. Memory of
 * guests and peers is freed by transport_flush alone, so that no callback pulls the ground away
 * from under the code that called it.
 */
#ifndef RR_IO_TRANSPORT_IMPL_H
#define RR_IO_TRANSPORT_IMPL_H

#include "io/hello.h"
#include "io/send_queue.h"
#include "io/transport.h"
#include "proto/codec.h"
#include "proto/frame.h"

/* A receive block holds a frame of max_size_per_msg with room to spare; a send block the frames of
 * a turn without entries. */
#define SMALL_BLOCK_SIZE    (64u * 1024)
#define STANDARD_BLOCK_SIZE (512u * 1024)
/* A block with less room left than this is not received into. */
#define RECV_ROOM_MIN 4096u
/* accept failed (no descriptors left, say): wait so long instead of spinning. */
#define ACCEPT_RETRY_NS 100000000u
/* The first feature level that sends and understands signs of life, addresses and hashes. */
#define FEATURE_LEVEL_ADDRESSES 2u
/* The first that takes snapshot files. */
#define FEATURE_LEVEL_SNAPSHOTS 2u

/* An operation that is resumed by transport_receive. */
struct transport_op {
    struct io_op io;
    struct transport *transport;
    void (*resume)(struct transport_op *op);
    struct transport_op *next; /* in transport->done */
    bool is_busy;              /* submitted and not yet resumed: its owner may not be freed */
};

/* Our connection to a peer.
 *
 *     IDLE ──time──> CONNECTING ──> GREETING ──> LISTENING ──────────────────────> PARKED ──> UP
 *       ^                                           └──> PROVING ──> HEARING ─────────┘
 *       └──── CLOSING <── from all but IDLE
 *
 * It waits: in IDLE for deadline_ns; in CONNECTING, GREETING, PROVING and UP for `out`; in
 * LISTENING, HEARING and UP for `in`; in PARKED for the verdict of check_peer, at once or by
 * transport_accept_peer; in CLOSING for both ops to come back. */
enum dial_state {
    DIAL_IDLE,
    DIAL_CONNECTING,
    DIAL_GREETING,  /* our hello is being sent */
    DIAL_LISTENING, /* the answer is awaited */
    DIAL_PROVING,   /* our proof is being sent */
    DIAL_HEARING,   /* the peer's proof is awaited */
    DIAL_PARKED,    /* the peer's record is being made durable */
    DIAL_UP,
    DIAL_CLOSING,
};

struct dial {
    enum dial_state state;
    int fd;               /* -1 in IDLE */
    uint32_t hello_bytes; /* of our hello or proof sent, then of the answer to it received */
    uint32_t attempt;     /* since it was last up for long; sets the backoff */
    uint64_t deadline_ns; /* IDLE: when to dial; up to PARKED: when to give up; UP: when it counts
                             as up for long, and attempt falls back to 0 */
    uint64_t sent_ns;     /* UP: when the newest send began */
    bool was_refused;     /* try again after the longest backoff */
    struct transport_op in;
    struct transport_op out;
    struct iovec in_part;
    struct iovec out_part;
    struct io_address address; /* that is being dialled */
    struct transport_peer who; /* from the answer */
    uint8_t hello[HELLO_SIZE];
};

/* A connection that we accepted.
 *
 *     HELLO ──────────────────────────> PARKED ──> ANSWERING ──> OPEN
 *       └──> ASKING ──> PROVING ──────────┘
 *
 * HELLO, PROVING and PARKED also go to REFUSING, and all states to CLOSING, from where it is freed.
 * One that carries a snapshot is a stranger to the end: once it is answered its descriptor is
 * handed over and the guest closes without it.
 * It waits: in HELLO, PROVING and OPEN for `in`; in ASKING, ANSWERING and REFUSING for `out`; in
 * PARKED for the verdict of check_peer, at once or by transport_accept_peer; in CLOSING for both
 * ops to come back. */
enum guest_state {
    GUEST_HELLO,
    GUEST_ASKING,  /* our answer is being sent: which boot do you remember of yourself? */
    GUEST_PROVING, /* its proof is awaited */
    GUEST_PARKED,
    GUEST_ANSWERING, /* our answer or proof; has a peer from here on */
    GUEST_REFUSING,
    GUEST_OPEN,
    GUEST_CLOSING,
};

struct guest {
    struct transport *transport;
    enum guest_state state;
    int fd;                 /* -1: handed over */
    bool is_snapshot;       /* from its hello */
    struct peer *peer;      /* whose it is; NULL: a stranger, or closing */
    struct guest *next;     /* in transport->guests */
    uint64_t deadline_ns;   /* when it is closed: too slow to greet or, OPEN, too long silent */
    uint32_t feature_level; /* from its hello */
    uint64_t asked;         /* by its proof: the nonce of which boot of this node */
    uint32_t hello_bytes;   /* of its hello or proof received, then of our answer sent */
    uint32_t frame_size;    /* of the frame at `parsed`, header included; 0: not yet known */
    uint32_t parsed;        /* block bytes handed over; <= filled */
    uint32_t filled;        /* block bytes received; <= block->cap */
    uint32_t spilled;       /* bytes in `spill` that belong behind the full block */
    struct rr_block *block; /* OPEN: being received into */
    struct rr_block *spill; /* OPEN */
    struct transport_op in;
    struct transport_op out;
    struct iovec in_parts[2];
    struct iovec out_part;
    struct transport_peer who; /* from its hello */
    uint8_t hello[HELLO_SIZE];
};

struct peer {
    struct transport *transport;
    uint64_t node;
    struct io_address address; /* port 0: unknown, not dialled */
    uint32_t feature_level;    /* from its newest hello, either direction; 0: none yet */
    struct dial dial;
    struct guest *guest; /* ANSWERING or OPEN, or NULL */
    struct send_queue queue;
    bool has_refused;  /* a message found no room: whoever sent it waits for the next send's end */
    int dial_refusal;  /* the last dial was refused, by either side; 0: not */
    int guest_refusal; /* the last who came under this id was refused; 0: not */
    bool is_removed;   /* invisible; freed once dial is IDLE */
};

struct snapshot_streams;

struct transport {
    struct transport_options options;
    struct io *io;
    struct hello hello; /* ours, without kind, to and code */
    int listener;
    struct io_address bound;
    struct transport_op accept;
    uint64_t accept_at_ns;     /* not before; after a failure */
    uint64_t now_ns;           /* of this turn */
    struct transport_op *done; /* completed, oldest first */
    struct transport_op *done_last;
    struct guest *guests;    /* all, in every state */
    uint32_t stranger_count; /* guests without a peer */
    struct peer *peers[TRANSPORT_PEERS_MAX];
    uint32_t peer_count;
    struct block_sizes blocks;
    struct snapshot_streams *streams; /* takes snapshot connections; NULL: nobody does */
    struct codec_scratch scratch;     /* arrays of the message being handed over */
    struct transport_stats stats;     /* its counters; the rest is filled in when asked for */
};

/* The level at which both understand what is sent. */
static inline uint32_t peer_level(const struct peer *peer)
{
    uint32_t own = peer->transport->hello.feature_level;
    return own < peer->feature_level ? own : peer->feature_level;
}

/* Do both ends prove their past? */
static inline bool transport_proves_to(const struct transport *transport, uint32_t feature_level)
{
    return rr_min_u64(transport->hello.feature_level, feature_level) >= HELLO_LEVEL_PROOFS;
}

/* Who said this hello; what it knows of its past is still to be heard. */
static inline struct transport_peer transport_peer_of(const struct transport *transport,
                                                      const struct hello *theirs)
{
    return (struct transport_peer){.node = theirs->from,
                                   .instance = theirs->instance,
                                   .boot = theirs->boot,
                                   .nonce = theirs->nonce,
                                   .has_past =
                                       transport_proves_to(transport, theirs->feature_level)};
}

/* ---- transport.c --------------------------------------------------------------------- */

struct peer *transport_find_peer(const struct transport *transport, uint64_t node);
/* A peer that is let in without being known: its address is not. NULL: too many, or no memory. */
struct peer *transport_new_guest_peer(struct transport *transport, uint64_t node);
void transport_op_init(struct transport_op *op, struct transport *transport,
                       void (*resume)(struct transport_op *op));
/* Our proof to `to`, who asked for the nonce of our boot `boot`. */
struct hello transport_proof(const struct transport *transport, uint64_t to, uint64_t boot);
uint64_t transport_ask(const struct transport *transport, const struct transport_peer *who);
/* Is this the proof of whoever said it was `who`? Then what it knows of its past is filled in. */
bool transport_take_proof(const struct hello *proof, struct transport_peer *who);
/* Fills in what all ops share and submits. */
void transport_op_submit(struct transport_op *op, enum io_kind kind, int fd,
                         const struct iovec *iov, uint32_t iov_count);
void transport_op_cancel(struct transport_op *op);

/* ---- transport_dial.c ---------------------------------------------------------------- */

void dial_init(struct peer *peer);
/* Dials what is due, gives up what is overdue, lets go of what is closed. */
void dial_tick(struct peer *peer);
uint64_t dial_deadline(const struct peer *peer);
void dial_close(struct peer *peer);
/* The peer has just called us. If it was restarted since we reached it, what we hold is dead,
 * though its machine may never have told us; if we are waiting, the wait is over. */
void dial_called(struct peer *peer, const struct transport_peer *who);
/* A parked one's record became durable, or not. */
void dial_unpark(struct peer *peer, int err);

/* ---- transport_accept.c -------------------------------------------------------------- */

void accept_init(struct transport *transport);
/* Closes strangers that are overdue, and guests that are silent, unless we did not listen. */
void accept_tick(struct transport *transport, bool was_away);
/* Arms the listener if there is room, frees guests that are closed. */
void accept_flush(struct transport *transport);
uint64_t accept_deadline(const struct transport *transport);
void guest_close(struct guest *guest);
void guest_unpark(struct guest *guest, int err);
void guest_free(struct guest *guest);

/* ---- snapshot_stream_receive.c --------------------------------------------------- */

/* Is there a place for one more? */
bool snapshot_streams_have_room(const struct snapshot_streams *streams);
/* Takes over a connection behind hello; false: no room, or no memory. */
bool snapshot_streams_accept(struct snapshot_streams *streams, int fd, uint64_t from);

/* ---- transport_recv.c ---------------------------------------------------------------- */

/* Takes the blocks that an open connection receives into; false: no memory. */
bool guest_open(struct guest *guest);
/* Something arrived, or is taken as if: the silence begins anew. */
void guest_heard(struct guest *guest);
/* `in` completed in OPEN: hands over whole frames, closes on anything else. */
void guest_receive(struct guest *guest);
/* Submits the next receive of an OPEN guest, if none is out. */
void guest_arm(struct guest *guest);

/* ---- transport_send.c ---------------------------------------------------------------- */

/* The connection is up: tells the peer where it can dial this node. */
void peer_introduce(struct peer *peer);
/* Starts the peer's next send, if none is out and something waits, or a sign of life is due. */
void peer_start_send(struct peer *peer);
/* When the next sign of life is due on a connection that is up. */
uint64_t peer_send_deadline(const struct peer *peer);
/* A send completed in UP; false: it failed and the connection is to be closed. */
bool peer_send_done(struct peer *peer);

#endif
