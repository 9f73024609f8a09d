/* SPDX-License-Identifier: Apache-2.0
 *
 * Snapshot files on their way between nodes: each transfer is the raw bytes of one published file,
 * in checksummed chunks, over a connection of its own, so that heartbeats and appends of the
 * message connection never wait behind it. Loop thread only; files are touched on workers.
 *
 *     sender                                        receiver
 *     hello (HELLO_SNAPSHOT)               ---->    the same checks as for any hello
 *                                          <----    its hello
 *     BEGIN: MsgSnap without data, file    ---->    on_offer; worker: part_open
 *                                          <----    PROGRESS: the offset it already has
 *     CHUNK (at most a window unanswered)  ---->    worker: checksum, part_write
 *                                          <----    PROGRESS: written up to this offset
 *     ... the last byte                    ---->    worker: part_publish (verify, sync, rename)
 *                                                   on_received: MsgSnap goes to the core
 *                                          <----    RESULT
 *     on_sent
 *
 * Happy path: as drawn. The next chunk is read on the transfer's worker while others travel;
 * a token bucket over all transfers holds the reading back; so many transfers run at a time, the
 * others wait in order. Failure path: whatever breaks (cut, crash, disk, bad chunk, silence) ends
 * the transfer; the sender reports one status by on_sent, and the next attempt, begun by the core,
 * goes on at the offset that the receiver names. A part is never installed: only part_publish makes
 * a file of it. Memory: SNAPSHOT_WINDOW chunks per transfer, on either side.
 */
#ifndef RR_IO_SNAPSHOT_STREAM_H
#define RR_IO_SNAPSHOT_STREAM_H

#include "io/transport.h"

struct snapshot_streams;

#define SNAPSHOT_WINDOW         4u                   /* chunks read, travelling or being written */
#define SNAPSHOT_TRANSFERS_MAX  16u                  /* at a time, each way */
#define SNAPSHOT_PACE_NS        UINT64_C(1000000000) /* between attempts that fail */
#define SNAPSHOT_SENDS_WAIT_MAX 256u                 /* that wait for their turn */

/* What the sender says first. Index and term are message->snapshot->metadata's; together with
 * `size` and `header_crc` they say whether two parts are of the very same file. */
struct snapshot_offer {
    uint64_t group;
    uint64_t size;                    /* of the file; > 0 */
    uint32_t header_crc;              /* the file header's own checksum */
    const struct rr_message *message; /* MsgSnap; snapshot->data is empty */
};

/* How a transfer that was begun ended. */
struct snapshot_sent {
    uint64_t group;
    uint64_t to;
    uint64_t index, term; /* of the snapshot */
    int status;           /* 0: the receiver has handed it to its core; else why not */
    bool is_unreadable;   /* it is this node's file that failed, not the network or the receiver */
    uint64_t bytes;       /* of the file that travelled this time: less than its size if resumed */
};

struct snapshot_stream_options {
    struct io *io;
    struct transport *transport;    /* its hello, peers' addresses and levels; outlives this */
    uint64_t send_bytes_per_second; /* over all transfers; 64 MiB; at least 64 KiB */
    uint32_t sends_max;             /* at a time; 2 */
    uint32_t receives_max;          /* at a time; 2; more are refused with RR_E_BUSY */
    uint64_t timeout_ns;            /* without progress; 10 s, and what verifying takes */
    uint64_t file_bytes_max;        /* of an incoming file; UINT64_MAX: only the disk says no */
    void *ctx;

    /* ---- the file that is being received; on a worker, may block a little --- */
    void *part_ctx;
    /* A part of exactly this file: an older one of the same is continued, `*offset` being how much
     * of it is there and sound; one of another snapshot of the group is removed. Parts of different
     * groups may be open at a time, of one group only one. RR_E_PENDING: not sure yet; it is called
     * again with what is in `*part`, at first NULL. */
    int (*part_open)(void *ctx, const struct snapshot_offer *offer, void **part, uint64_t *offset);
    /* `offset` is where the last write ended. RR_E_NO_SPACE, RR_E_IO. */
    int (*part_write)(void *ctx, void *part, uint64_t offset, const void *bytes, uint32_t size);
    /* Whole: verified, durable, under its final name; or RR_E_CORRUPT, to be removed; or
     * RR_E_PENDING: it is called again. */
    int (*part_publish)(void *ctx, void *part);
    /* Closes what part_open gave, always, last. The bytes of one that was not published stay if
     * `keep` (another attempt may go on), and are removed otherwise. */
    void (*part_close)(void *ctx, void *part, bool keep);

    /* ---- on the loop ------------------------------------------------------ */
    /* May it come? 0, or why not: RR_E_NOT_FOUND (no such group), RR_E_SNAP_OUT_OF_DATE,
     * RR_E_BUSY. Before anything is opened. */
    int (*on_offer)(void *ctx, uint64_t from, const struct snapshot_offer *offer);
    /* The file is published; step offer->message. Borrowed during the call. Nonzero: refused. */
    int (*on_received)(void *ctx, uint64_t from, const struct snapshot_offer *offer);
    /* One that was taken ended without on_received: `status` says why. */
    void (*on_lost)(void *ctx, uint64_t from, const struct snapshot_offer *offer, int status);
    /* Exactly once per accepted snapshot_streams_send, never from within it. A failure is told no
     * sooner than SNAPSHOT_PACE_NS after it was asked for, since whoever hears of it tries again.
     */
    void (*on_sent)(void *ctx, const struct snapshot_sent *sent);
};

/* Takes over the transport's snapshot connections. RR_E_INVALID, RR_E_NO_MEMORY. */
int snapshot_streams_open(const struct snapshot_stream_options *options,
                          struct snapshot_streams **streams, struct rr_error *error);
/* After the loop's end, before transport_free; no callback but part_close comes any more. */
void snapshot_streams_free(struct snapshot_streams *streams);

/* Sends the file at `path` to message->to. Everything is copied; the file must stay until on_sent.
 * 0; RR_E_NOT_FOUND (no such peer); RR_E_NOT_SUPPORTED (its feature level does not know streams);
 * RR_E_CLOSED (not connected); RR_E_BUSY (SNAPSHOT_SENDS_WAIT_MAX wait, or one of this group is
 * already on its way to this node). */
int snapshot_streams_send(struct snapshot_streams *streams, const struct snapshot_offer *offer,
                          const char *path);
/* Ends transfers of the group: those to a peer (0: all; it does not lead any more), or all of them,
 * incoming ones too (it is being closed). on_sent with RR_E_CANCELED follows later; parts are kept.
 */
void snapshot_streams_cancel_sends(struct snapshot_streams *streams, uint64_t group, uint64_t to);
void snapshot_streams_cancel(struct snapshot_streams *streams, uint64_t group);
/* Nothing of the group is open or running any more (its part and its worker jobs included). */
bool snapshot_streams_is_idle(const struct snapshot_streams *streams, uint64_t group);
/* Of the files of the group that are being sent the one of the lowest index; UINT64_MAX: none. */
uint64_t snapshot_streams_lowest_sent(const struct snapshot_streams *streams, uint64_t group);
/* Is this one among them? */
bool snapshot_streams_is_sending(const struct snapshot_streams *streams, uint64_t group,
                                 uint64_t index);
/* Has an offer for the group been taken whose end is not known yet? */
bool snapshot_streams_is_receiving(const struct snapshot_streams *streams, uint64_t group);

/* Start of a turn, behind transport_receive: what workers and time brought. All callbacks come from
 * here, and may call anything here but snapshot_streams_free, _receive and _flush. */
void snapshot_streams_receive(struct snapshot_streams *streams, uint64_t now_ns);
/* End of a turn, before transport_flush: starts what may start. Returns the next deadline. */
uint64_t snapshot_streams_flush(struct snapshot_streams *streams, uint64_t now_ns);

struct snapshot_stream_stats {
    uint64_t sends_done, sends_failed;
    uint64_t receives_done, receives_failed;
    uint64_t resumed;                    /* of those received: begun at an offset above 0 */
    uint64_t bytes_sent, bytes_received; /* of files */
    uint64_t refused;                    /* offers that were not taken */
    uint64_t malformed;                  /* connections closed for what was read from them */
    uint64_t window_bytes;               /* memory now held by windows */
    uint32_t sending, waiting, receiving;
};
void snapshot_streams_stats(const struct snapshot_streams *streams,
                            struct snapshot_stream_stats *stats);

#endif
