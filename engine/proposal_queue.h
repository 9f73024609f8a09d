/* SPDX-License-Identifier: Apache-2.0
 *
 * The way from any thread to the loop: a bounded ring of proposals, many producers, one consumer
 * (the loop), no lock.
 *
 *      tail ── reserved by compare-and-swap: entries and bytes at once ──┐
 *      slots   [size tag stamp][size tag stamp] …   a slot counts when its stamp names its position
 *      bytes   [payload, 8-byte aligned, may wrap] …
 *      head ── given back by the loop after the payloads were encoded into the log ──┘
 *
 * Happy path: push copies and publishes; it says "wake" only if the loop announced that it sleeps
 * and that so many bytes are worth waking for. Failure path: full is RR_E_BUSY at once; after close
 * every push is RR_E_CLOSED, and because the closed bit lives in the tail, a reservation either
 * happened before (it will be consumed) or never. Hot: allocates nothing.
 */
#ifndef RR_ENGINE_PROPOSAL_QUEUE_H
#define RR_ENGINE_PROPOSAL_QUEUE_H

#include <ringraft/ringraft.h>

#include <stdatomic.h>

#define PROPOSAL_QUEUE_AWAKE UINT64_MAX

struct proposal_slot {
    _Atomic uint32_t stamp; /* low bits of the entry's position, plus one; written last */
    uint32_t size;          /* and PROPOSAL_CANCELED, once the loop says so */
    uint64_t tag;
};
#define PROPOSAL_CANCELED (1u << 31)

struct proposal_queue {
    struct proposal_slot *slots;
    uint8_t *bytes;
    uint32_t slot_count; /* power of two */
    uint32_t unit_count; /* power of two; a unit is 8 bytes */
    /* Positions only grow (and wrap): units in the low half, entries in the high half, below the
     * closed bit. */
    _Alignas(64) _Atomic uint64_t tail;
    _Alignas(64) _Atomic uint64_t head; /* written by the loop */
    /* Waiting bytes worth a wake-up; PROPOSAL_QUEUE_AWAKE: none are. */
    _Alignas(64) _Atomic uint64_t wake_at;
    /* Copies that the loop alone uses. */
    _Alignas(64) uint32_t head_entry;
    uint32_t head_unit;
};

/* One waiting proposal as the loop sees it; the payload may be in two pieces. */
struct proposal_view {
    const uint8_t *first;
    const uint8_t *second;
    uint32_t first_size;
    uint32_t size;
    bool is_canceled; /* it has its outcome: pass it over */
    uint64_t tag;
};

/* A place between head and tail: proposals are looked at first and given back together. */
struct proposal_cursor {
    uint32_t entry;
    uint32_t unit;
};

/* Limits are rounded up to powers of two. RR_E_NO_MEMORY. */
int proposal_queue_init(struct proposal_queue *queue, uint32_t entries_max, uint64_t bytes_max);
void proposal_queue_fini(struct proposal_queue *queue);

/* Any thread: how many of the items, from the first on, went in; RR_E_BUSY or RR_E_CLOSED if none
 * did. `*wake` says that the caller has to wake the loop. */
int proposal_queue_push(struct proposal_queue *queue, const struct rr_proposal *items,
                        uint32_t count, bool *wake);
/* Any thread: no reservation succeeds afterwards. */
void proposal_queue_close(struct proposal_queue *queue);
bool proposal_queue_is_closed(const struct proposal_queue *queue);

/* ---- the loop's side ----------------------------------------------------- */

struct proposal_cursor proposal_queue_begin(const struct proposal_queue *queue);
/* The proposal at the cursor, which moves behind it; false: none is published there yet. */
bool proposal_queue_next(const struct proposal_queue *queue, struct proposal_cursor *cursor,
                         struct proposal_view *view);
/* The oldest that waits with this tag is marked; false: there is none. */
bool proposal_queue_cancel(struct proposal_queue *queue, uint64_t tag);
/* Gives back everything before the cursor. */
void proposal_queue_release(struct proposal_queue *queue, struct proposal_cursor cursor);
/* Bytes reserved and not given back (payloads rounded up to 8). */
uint64_t proposal_queue_bytes(const struct proposal_queue *queue);
/* Proposals reserved and not given back. */
uint32_t proposal_queue_count(const struct proposal_queue *queue);
/* Behind the newest reservation: proposals at earlier entries came earlier. */
uint32_t proposal_queue_tail_entry(const struct proposal_queue *queue);
/* How many entries `to` is ahead of `from`; both lie within what a queue holds of each other. */
int32_t proposal_entries_between(uint32_t from, uint32_t to);

/* Before the loop sleeps: pushes wake it once `bytes` wait. Returns false if so many wait already:
 * do not sleep. */
bool proposal_queue_arm(struct proposal_queue *queue, uint64_t bytes);
/* The loop is awake: pushes need not wake it. */
void proposal_queue_disarm(struct proposal_queue *queue);

#endif
