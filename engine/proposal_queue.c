/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/proposal_queue.h"

#include "proto/base.h"

#include <stdlib.h>
#include <string.h>

#define UNIT       8u
#define CLOSED_BIT (1ull << 63)
#define ENTRY_MASK 0x7fffffffu

static uint64_t pack(uint32_t entry, uint32_t unit)
{
    return ((uint64_t)(entry & ENTRY_MASK) << 32) | unit;
}

static uint32_t entry_of(uint64_t position)
{
    return (uint32_t)(position >> 32) & ENTRY_MASK;
}

static uint32_t unit_of(uint64_t position)
{
    return (uint32_t)position;
}

static uint32_t units_of(uint32_t size)
{
    return (uint32_t)(((uint64_t)size + UNIT - 1) / UNIT);
}

static uint32_t stamp_of(uint32_t entry)
{
    return (entry & ENTRY_MASK) + 1;
}

static uint64_t power_of_two_from(uint64_t n)
{
    uint64_t power = 1;
    while (power < n)
        power *= 2;
    return power;
}

int proposal_queue_init(struct proposal_queue *queue, uint32_t entries_max, uint64_t bytes_max)
{
    memset(queue, 0, sizeof(*queue));
    uint64_t slot_count = power_of_two_from(entries_max);
    uint64_t unit_count = power_of_two_from((bytes_max + UNIT - 1) / UNIT);
    RR_ASSERT(slot_count <= (1u << 30) && unit_count <= (1u << 31));
    queue->slots = calloc(slot_count, sizeof(*queue->slots));
    queue->bytes = malloc(unit_count * UNIT);
    if (!queue->slots || !queue->bytes) {
        proposal_queue_fini(queue);
        return RR_E_NO_MEMORY;
    }
    queue->slot_count = (uint32_t)slot_count;
    queue->unit_count = (uint32_t)unit_count;
    atomic_init(&queue->wake_at, PROPOSAL_QUEUE_AWAKE);
    return 0;
}

void proposal_queue_fini(struct proposal_queue *queue)
{
    free(queue->slots);
    free(queue->bytes);
    queue->slots = NULL;
    queue->bytes = NULL;
}

/* How many of the items fit between this tail and this head; *tail_after is where they end. */
static uint32_t fit(const struct proposal_queue *queue, uint64_t tail, uint64_t head,
                    const struct rr_proposal *items, uint32_t count, uint64_t *tail_after)
{
    uint32_t used_entries = (entry_of(tail) - entry_of(head)) & ENTRY_MASK;
    uint32_t used_units = unit_of(tail) - unit_of(head);
    uint32_t taken = 0;
    uint64_t units = 0;
    while (taken < count && used_entries + taken < queue->slot_count) {
        uint64_t more = units + units_of(items[taken].size);
        if (used_units + more > queue->unit_count)
            break;
        units = more;
        taken++;
    }
    *tail_after = pack(entry_of(tail) + taken, unit_of(tail) + (uint32_t)units);
    return taken;
}

static void copy_in(struct proposal_queue *queue, uint32_t unit, const void *data, uint32_t size)
{
    size_t offset = (size_t)(unit & (queue->unit_count - 1)) * UNIT;
    size_t room = (size_t)queue->unit_count * UNIT - offset;
    if (RR_LIKELY(size <= room)) {
        if (size)
            memcpy(queue->bytes + offset, data, size);
        return;
    }
    memcpy(queue->bytes + offset, data, room);
    memcpy(queue->bytes, (const uint8_t *)data + room, size - room);
}

/* Both sides end in a read-modify-write of wake_at: a producer after it published its proposal, the
 * loop before it looks at the queue for the last time. Whichever comes second sees the other. */
static bool should_wake(struct proposal_queue *queue)
{
    uint64_t wake_at = atomic_fetch_or(&queue->wake_at, 0);
    if (RR_LIKELY(wake_at == PROPOSAL_QUEUE_AWAKE) || proposal_queue_bytes(queue) < wake_at)
        return false;
    return atomic_exchange(&queue->wake_at, PROPOSAL_QUEUE_AWAKE) != PROPOSAL_QUEUE_AWAKE;
}

/* Takes room for as many of the items as fit, from *tail on; 0: full, or closed (*tail says it). */
static uint32_t reserve(struct proposal_queue *queue, const struct rr_proposal *items,
                        uint32_t count, uint64_t *tail)
{
    *tail = atomic_load_explicit(&queue->tail, memory_order_relaxed);
    while (!(*tail & CLOSED_BIT)) {
        uint64_t head = atomic_load_explicit(&queue->head, memory_order_acquire);
        uint64_t tail_after;
        uint32_t taken = fit(queue, *tail, head, items, count, &tail_after);
        if (RR_UNLIKELY(taken == 0)) {
            /* Full, unless the tail was read before others pushed and the loop took it: then the
             * head seems to be ahead. */
            uint64_t newer = atomic_load_explicit(&queue->tail, memory_order_relaxed);
            if (newer == *tail)
                return 0;
            *tail = newer;
        } else if (atomic_compare_exchange_weak_explicit(&queue->tail, tail, tail_after,
                                                         memory_order_relaxed,
                                                         memory_order_relaxed)) {
            return taken;
        }
    }
    return 0;
}

int proposal_queue_push(struct proposal_queue *queue, const struct rr_proposal *items,
                        uint32_t count, bool *wake)
{
    uint64_t tail;
    uint32_t taken = reserve(queue, items, count, &tail);
    *wake = false;
    if (RR_UNLIKELY(taken == 0))
        return tail & CLOSED_BIT ? RR_E_CLOSED : RR_E_BUSY;
    uint32_t entry = entry_of(tail), unit = unit_of(tail);
    for (uint32_t i = 0; i < taken; i++) {
        struct proposal_slot *slot = &queue->slots[entry & (queue->slot_count - 1)];
        copy_in(queue, unit, items[i].data, items[i].size);
        slot->size = items[i].size;
        slot->tag = items[i].tag;
        atomic_store_explicit(&slot->stamp, stamp_of(entry), memory_order_release);
        entry++;
        unit += units_of(items[i].size);
    }
    *wake = should_wake(queue);
    return (int)taken;
}

void proposal_queue_close(struct proposal_queue *queue)
{
    atomic_fetch_or(&queue->tail, CLOSED_BIT);
}

bool proposal_queue_is_closed(const struct proposal_queue *queue)
{
    return atomic_load(&queue->tail) & CLOSED_BIT;
}

struct proposal_cursor proposal_queue_begin(const struct proposal_queue *queue)
{
    return (struct proposal_cursor){queue->head_entry, queue->head_unit};
}

bool proposal_queue_next(const struct proposal_queue *queue, struct proposal_cursor *cursor,
                         struct proposal_view *view)
{
    const struct proposal_slot *slot = &queue->slots[cursor->entry & (queue->slot_count - 1)];
    if (atomic_load_explicit(&slot->stamp, memory_order_acquire) != stamp_of(cursor->entry))
        return false;
    size_t offset = (size_t)(cursor->unit & (queue->unit_count - 1)) * UNIT;
    size_t room = (size_t)queue->unit_count * UNIT - offset;
    uint32_t size = slot->size & ~PROPOSAL_CANCELED;
    view->size = size;
    view->is_canceled = slot->size != size;
    view->tag = slot->tag;
    view->first = queue->bytes + offset;
    view->first_size = size <= room ? size : (uint32_t)room;
    view->second = queue->bytes;
    cursor->entry = (cursor->entry + 1) & ENTRY_MASK;
    cursor->unit += units_of(size);
    return true;
}

bool proposal_queue_cancel(struct proposal_queue *queue, uint64_t tag)
{
    uint32_t tail = proposal_queue_tail_entry(queue);
    for (uint32_t entry = queue->head_entry; entry != tail; entry = (entry + 1) & ENTRY_MASK) {
        struct proposal_slot *slot = &queue->slots[entry & (queue->slot_count - 1)];
        if (atomic_load_explicit(&slot->stamp, memory_order_acquire) != stamp_of(entry) ||
            slot->tag != tag || slot->size & PROPOSAL_CANCELED)
            continue;
        slot->size |= PROPOSAL_CANCELED;
        return true;
    }
    return false;
}

void proposal_queue_release(struct proposal_queue *queue, struct proposal_cursor cursor)
{
    queue->head_entry = cursor.entry;
    queue->head_unit = cursor.unit;
    atomic_store_explicit(&queue->head, pack(cursor.entry, cursor.unit), memory_order_release);
}

uint64_t proposal_queue_bytes(const struct proposal_queue *queue)
{
    /* Head first: it never passes the tail, so the difference cannot be negative. */
    uint64_t head = atomic_load_explicit(&queue->head, memory_order_acquire);
    uint64_t tail = atomic_load_explicit(&queue->tail, memory_order_relaxed);
    return (uint64_t)(unit_of(tail) - unit_of(head)) * UNIT;
}

uint32_t proposal_queue_count(const struct proposal_queue *queue)
{
    uint64_t head = atomic_load_explicit(&queue->head, memory_order_acquire);
    uint64_t tail = atomic_load_explicit(&queue->tail, memory_order_relaxed);
    return (entry_of(tail) - entry_of(head)) & ENTRY_MASK;
}

uint32_t proposal_queue_tail_entry(const struct proposal_queue *queue)
{
    return entry_of(atomic_load_explicit(&queue->tail, memory_order_relaxed));
}

int32_t proposal_entries_between(uint32_t from, uint32_t to)
{
    return (int32_t)((to - from) << 1) >> 1; /* positions have 31 bits */
}

bool proposal_queue_arm(struct proposal_queue *queue, uint64_t bytes)
{
    RR_ASSERT(bytes != PROPOSAL_QUEUE_AWAKE);
    atomic_exchange(&queue->wake_at, bytes);
    struct proposal_cursor cursor = proposal_queue_begin(queue);
    struct proposal_view view;
    if (!proposal_queue_next(queue, &cursor, &view) || proposal_queue_bytes(queue) < bytes)
        return true;
    proposal_queue_disarm(queue);
    return false;
}

void proposal_queue_disarm(struct proposal_queue *queue)
{
    atomic_store_explicit(&queue->wake_at, PROPOSAL_QUEUE_AWAKE, memory_order_relaxed);
}
