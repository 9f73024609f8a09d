/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads that wait for a quorum to confirm the leader (thesis 6.4). Each waiting read has a
 * position: one more than the read before, counted from the last change of term. A heartbeat
 * carries the position of the newest; a peer's echo acknowledges every read up to there; what a
 * quorum has acknowledged is answered in order, each read with the commit index of its arrival.
 */
#ifndef RR_RAFT_READ_ONLY_H
#define RR_RAFT_READ_ONLY_H

#include "raft/outbox.h"
#include "raft/tracker.h"

/* Requests in order of arrival, serialised one behind the other into a buffer that slides. */
struct read_queue {
    uint8_t *bytes;
    uint32_t begin;
    uint32_t end;
    uint32_t cap;
    uint32_t count; /* of requests */
};

struct read_request {
    uint64_t from;
    uint64_t index; /* commit index at arrival */
    const struct rr_entry *entries;
    uint32_t entry_count;
};

/* Most bytes that may wait; a read that finds no room is dropped, as if its message were lost. */
#define READ_QUEUE_BYTES_MAX (64u << 20)

/* False: no room. */
bool read_queue_push(struct read_queue *queue, const struct rr_allocator *allocator,
                     const struct read_request *request);
/* Takes the oldest one; its entries are copied into the outbox. The queue must not be empty. */
void read_queue_pop(struct read_queue *queue, struct outbox *out, struct read_request *request);
void read_queue_reset(struct read_queue *queue);
void read_queue_fini(struct read_queue *queue, const struct rr_allocator *allocator);

#define READ_CONTEXT_SIZE 8 /* a position, little endian */

struct read_ack {
    uint64_t id;
    uint64_t position; /* the highest it has echoed */
};

struct read_only {
    struct read_queue queue;
    uint64_t confirmed; /* position of the last answered read */
    struct read_ack acks[2 * TRACKER_IDS_MAX];
    uint32_t ack_count;
    enum rr_read_only_option option;
};

/* Forgets all waiting reads; positions start again. */
void read_only_reset(struct read_only *ro);
void read_only_record_ack(struct read_only *ro, uint64_t id, uint64_t position);
/* How many of the oldest waiting reads a quorum has acknowledged, and marks them as confirmed: the
 * caller pops and answers them. */
uint32_t read_only_advance(struct read_only *ro, const struct tracker_config *config);

/* The position of the newest waiting read; 0: none waits. */
static inline uint64_t read_only_last_position(const struct read_only *ro)
{
    return ro->queue.count ? ro->confirmed + ro->queue.count : 0;
}

static inline uint64_t read_only_decode_context(const uint8_t *context)
{
    uint64_t position = 0;
    for (int i = READ_CONTEXT_SIZE - 1; i >= 0; i--)
        position = position << 8 | context[i];
    return position;
}

#endif
