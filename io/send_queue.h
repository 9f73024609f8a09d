/* SPDX-License-Identifier: Apache-2.0
 *
 * What waits to be sent to one peer: whole frames, each a few segments that lie where they lie
 * (entries in log blocks) or in the queue's own send block (headers, small messages, copies). Hot.
 *
 *     ring     [h e e t][h t][h e t] ...      h t: in the send block; e: referenced ranges
 *               ^ sent in part: is_mid_frame
 *     urgent   heartbeats of this turn; become one frame at the first frame boundary
 *
 * Bounded in bytes (referenced ones count) and in segments. Nothing here does I/O:
 * transport_send.c forms frames, gathers the iovecs of one send and says how much of it went out.
 */
#ifndef RR_IO_SEND_QUEUE_H
#define RR_IO_SEND_QUEUE_H

#include "io/block_pool.h"

#include <ringraft/error.h>

#include <sys/uio.h>

/* Parts of one send: more than 16 cost (5 % at 64), but small frames between large bodies take two
 * each. Its bytes are capped so that a heartbeat never waits behind more than this. */
#define SEND_PARTS_MAX    64u
#define SEND_BYTES_MAX    (1024u * 1024)
#define SEND_SEGMENTS_MAX 4096u /* power of two */
/* Bytes of one frame of heartbeats, items and all: those of some hundred groups. */
#define SEND_URGENT_MAX (32u * 1024)

/* Receive and send blocks come in three sizes; a frame's is at most the largest. */
struct block_sizes {
    struct block_pool *small;    /* a send block, a spill buffer */
    struct block_pool *standard; /* a receive block */
    struct block_pool *large;    /* one frame of the largest size */
    uint64_t lent_bytes_max;     /* of all three together */
};
/* A block of at least `size` bytes, which must not exceed the large one's. NULL: no memory, or as
 * much is lent as may be. */
struct rr_block *block_sizes_acquire(const struct block_sizes *sizes, uint32_t size);

struct segment {
    const uint8_t *bytes;
    struct rr_block *block; /* referenced once */
    uint32_t size;          /* not yet sent */
    bool ends_frame;
};

uint64_t block_sizes_lent(const struct block_sizes *sizes);

struct send_queue {
    const struct block_sizes *sizes;
    struct segment *ring;
    uint32_t first; /* position of the oldest segment, below SEND_SEGMENTS_MAX */
    uint32_t count;
    uint32_t frame_count; /* frames not yet sent whole, is_mid_frame's included */
    uint32_t bytes_max;
    uint64_t bytes;        /* not yet sent; <= bytes_max, or one frame, or plus heartbeats */
    bool is_mid_frame;     /* the first segment is the rest of a frame sent in part */
    struct rr_block *fill; /* the send block being filled, or NULL */
    uint32_t filled;       /* <= fill->cap */
    uint32_t urgent_size;  /* bytes of frame items in `urgent` */
    uint8_t *urgent;
    struct iovec parts[SEND_PARTS_MAX]; /* of the send in flight */
};

/* RR_E_NO_MEMORY. The queue begins empty. */
int send_queue_init(struct send_queue *queue, const struct block_sizes *sizes, uint32_t bytes_max);
void send_queue_fini(struct send_queue *queue);
/* Forgets everything that waits; no send may be in flight. Returns how many frames were lost. */
uint32_t send_queue_clear(struct send_queue *queue);

/* Is there room for a frame of `size` bytes in at most `segments` segments? An empty queue takes a
 * frame of any size. */
bool send_queue_admits(const struct send_queue *queue, uint64_t size, uint32_t segments);

/* `size` contiguous bytes in the send block, to be written before the pushes that name them. NULL:
 * no memory. */
uint8_t *send_queue_room(struct send_queue *queue, uint32_t size);

/* Appends bytes of `block` (takes a reference); the frame's last segment ends it. */
void send_queue_push(struct send_queue *queue, struct rr_block *block, const uint8_t *bytes,
                     uint32_t size, bool ends_frame);

/* Room for `size` bytes of frame items that travel before the next frame; those that no longer fit
 * into one frame go behind what waits. NULL: that is full too, or no memory. */
uint8_t *send_queue_urgent_room(struct send_queue *queue, uint32_t size);

/* Anything to send? */
static inline bool send_queue_is_empty(const struct send_queue *queue)
{
    return queue->count == 0 && queue->urgent_size == 0;
}

/* Fills `parts` with the bytes that go out next and returns how many parts, 0: nothing (or no
 * memory for the heartbeats' frame). They stay as they are until send_queue_consume. */
uint32_t send_queue_gather(struct send_queue *queue);

/* Are these parts all that waits? */
bool send_queue_is_gathered(const struct send_queue *queue, uint32_t parts);

/* `size` bytes of the gathered parts were sent: lets go of their blocks. Returns frames completed.
 */
uint32_t send_queue_consume(struct send_queue *queue, uint64_t size);

/* Assertions over the whole queue. */
void send_queue_check(const struct send_queue *queue);

#endif
