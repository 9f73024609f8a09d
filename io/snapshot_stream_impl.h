/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of snapshot streams, shared by snapshot_stream*.c. A transfer is a connection, a
 * worker and a window of chunks; an outgoing one is made by snapshot_streams_send, an incoming one
 * by an accepted connection. Ops are resumed by transport_receive, as the transport's own; a job's
 * done only records. A transfer ends when nothing of it is out any more: neither op nor job.
 */
#ifndef RR_IO_SNAPSHOT_STREAM_IMPL_H
#define RR_IO_SNAPSHOT_STREAM_IMPL_H

#include "io/snapshot_stream.h"
#include "io/snapshot_wire.h"
#include "io/transport_impl.h"

/* One chunk, and before it the head of its frame. */
#define CHUNK_ROOM (SNAPSHOT_WIRE_HEAD + SNAPSHOT_WIRE_CHUNK_MAX)
/* What a receiver may take to verify, beside the timeout: it reads a part before it goes on with
 * it, and a whole file before it is published. */
#define VERIFY_BYTES_PER_SECOND (16ull * 1024 * 1024)

struct chunk {
    uint8_t *frame; /* CHUNK_ROOM bytes */
    struct snapshot_said said;
    uint32_t crc; /* of the payload; outgoing */
};

/* What both directions need. */
struct transfer {
    struct snapshot_streams *streams;
    int fd; /* the connection; -1: none, or no more */
    struct transport_op in, out;
    struct iovec in_part, out_part;
    struct io_worker *worker;
    struct io_job job;
    bool is_working; /* the job is posted */
    bool has_worked; /* it came back, and was not looked at yet */
    int job_result;  /* written by the job */
    bool is_ending;  /* for `status`; only waits for what is out */
    int status;
    uint64_t deadline_ns; /* when nothing has moved for too long */
    uint8_t *memory;      /* behind the chunks' frames */
    struct chunk chunks[SNAPSHOT_WINDOW];
};

/*     WAITING ──> CONNECTING ──> GREETING ──> LISTENING ──> OFFERING ──> STREAMING
 *        └────────────┴─────────────┴────────────┴─────────────┴────────────┴──> ending ──> OVER
 *
 * It waits: in WAITING for a place; in CONNECTING and GREETING for `out`; in LISTENING for hello,
 * in OFFERING for the offset, in STREAMING for PROGRESS and RESULT, all by `in`; there also for
 * tokens and for the worker, which reads. */
enum outgoing_state {
    OUTGOING_WAITING,
    OUTGOING_CONNECTING,
    OUTGOING_GREETING,
    OUTGOING_LISTENING,
    OUTGOING_OFFERING,
    OUTGOING_STREAMING,
    OUTGOING_OVER, /* only to be reported */
};

struct outgoing {
    struct transfer transfer;
    struct outgoing *next; /* in order of asking */
    enum outgoing_state state;
    uint32_t place; /* of streams->send_workers; not in WAITING */
    struct io_address address;
    uint64_t group, to, index, term;
    uint64_t size;
    uint64_t report_ns; /* a failure is not told before */
    char *path;
    int file;                   /* opened by the first job; -1 */
    bool is_unreadable;         /* it failed there */
    uint64_t begun;             /* offset at which this attempt began */
    uint64_t asked;             /* below it the file was read or is being read */
    uint64_t confirmed;         /* the receiver has the bytes below it */
    uint64_t read_turn;         /* of streams->read_turn, when it last read */
    uint64_t read, sent, acked; /* counts of chunks: acked <= sent <= read <= acked + window */
    uint8_t *begin;             /* the frame BEGIN */
    uint32_t begin_size;
    uint8_t said[SNAPSHOT_WIRE_HEAD > HELLO_SIZE ? SNAPSHOT_WIRE_HEAD : HELLO_SIZE]; /* to us */
};

/*     READING ──> OPENING ──> RECEIVING ──> PUBLISHING ──> ANSWERING
 *        └───────────┴────────────┴─────────────┴──────────────┴──> ending ──> CLOSING, free
 *
 * It waits: in READING for BEGIN; in OPENING for another part of the group to be closed, then for
 * the worker, as in PUBLISHING and CLOSING; in RECEIVING for chunks and for the worker, which
 * writes; in ANSWERING for the result to be sent and the sender to close. */
enum incoming_state {
    INCOMING_FREE,
    INCOMING_READING,
    INCOMING_OPENING,
    INCOMING_RECEIVING,
    INCOMING_PUBLISHING,
    INCOMING_ANSWERING,
    INCOMING_CLOSING, /* the part; nothing else is left */
};

struct incoming {
    struct transfer transfer;
    enum incoming_state state;
    uint64_t from;
    struct snapshot_offer offer; /* message: below */
    struct rr_message message;   /* decoded where `begin` lies */
    struct snapshot_said heard;  /* the head of what is being received */
    uint8_t *begin;              /* BEGIN's payload */
    uint8_t *scratch;            /* arrays of the message */
    void *part;
    bool has_heard;   /* `in` brings a payload, else a head */
    bool is_taken;    /* on_offer said yes */
    bool is_part_bad; /* nothing may be built on it */
    bool must_report; /* PROGRESS is owed */
    bool must_answer; /* RESULT is owed: answer */
    bool is_published;
    int answer;
    uint64_t arrived;                 /* file bytes received */
    uint64_t written;                 /* file bytes on disk, as far as part_write says */
    uint64_t taken, flushed;          /* counts of chunks: flushed <= taken <= flushed + window */
    uint8_t said[SNAPSHOT_WIRE_HEAD]; /* by us */
    uint8_t head[SNAPSHOT_WIRE_HEAD]; /* that is being received */
};

struct snapshot_streams {
    struct snapshot_stream_options options;
    struct transport *transport;
    struct io *io;
    uint32_t chunk_bytes; /* of the file in one chunk, by the throttle */
    int64_t tokens;       /* bytes that may be read now; below 0 after a chunk */
    uint64_t filled_ns;   /* when tokens were last added */
    uint64_t read_turn;   /* counts chunks */
    uint64_t now_ns;
    struct outgoing *outgoing; /* oldest first */
    uint32_t waiting_count;
    struct io_worker *send_workers[SNAPSHOT_TRANSFERS_MAX]; /* made when first needed */
    bool send_places[SNAPSHOT_TRANSFERS_MAX];               /* taken? */
    struct io_worker *receive_workers[SNAPSHOT_TRANSFERS_MAX];
    struct incoming incoming[SNAPSHOT_TRANSFERS_MAX];
    struct snapshot_stream_stats stats;
};

/* ---- snapshot_stream.c --------------------------------------------------- */

/* The window's memory and the worker at `*worker`, made if there is none yet. false: no memory, no
 * thread. */
bool transfer_init(struct transfer *transfer, struct snapshot_streams *streams,
                   struct io_worker **worker);
void transfer_send(struct transfer *transfer, const void *bytes, size_t size);
void transfer_receive(struct transfer *transfer, void *bytes, size_t size);
/* A send or receive completed: 0: all of it; RR_E_PENDING: the rest was submitted; RR_E_CLOSED. */
int transfer_continue(struct transport_op *op, struct iovec *part);
void transfer_post(struct transfer *transfer, void (*run)(struct io_job *job));
/* Takes what the job left; false: none has come back. */
bool transfer_take_result(struct transfer *transfer, int *result);
/* Ends it for `status`, once; what is out is asked to come back. */
void transfer_end(struct transfer *transfer, int status);
/* It is ending and nothing is out any more; its connection is closed now. */
bool transfer_is_over(struct transfer *transfer);
/* The other side has as long as it takes, from now on, to verify so many bytes. */
void transfer_extend(struct transfer *transfer, uint64_t verified_bytes);
bool transfer_is_late(const struct transfer *transfer);
void transfer_fini(struct transfer *transfer);

/* ---- snapshot_stream_send.c ---------------------------------------------- */

void outgoing_receive(struct outgoing *outgoing);
/* Sends what was read. */
void outgoing_flush(struct outgoing *outgoing);
/* There is more to read, and a place in the window for it; the worker is free. */
bool outgoing_wants_to_read(const struct outgoing *outgoing);
/* Begins to read the next chunk; its bytes. */
uint32_t outgoing_read(struct outgoing *outgoing);
uint64_t outgoing_deadline(const struct outgoing *outgoing);
/* It has the place and begins. */
void outgoing_begin(struct outgoing *outgoing);
struct outgoing *outgoing_new(struct snapshot_streams *streams, const struct snapshot_offer *offer,
                              const struct peer *peer, const char *path);
void outgoing_free(struct outgoing *outgoing);

/* ---- snapshot_stream_receive.c ------------------------------------------- */

void incoming_receive(struct incoming *incoming);
void incoming_flush(struct incoming *incoming);
uint64_t incoming_deadline(const struct incoming *incoming);
void incoming_fini(struct incoming *incoming);

#endif
