/* SPDX-License-Identifier: Apache-2.0 */
#include "raft/read_only.h"

#include <string.h>

/* ---- queues of requests -------------------------------------------------- */

/* A request in the queue: this, its entries' descriptors, their data; each part padded to 8 bytes.
 */
struct queued_request {
    uint64_t from;
    uint64_t index;
    uint32_t entry_count;
    uint32_t size; /* of all parts */
};

_Static_assert(sizeof(struct queued_request) % 8 == 0, "parts are 8-byte aligned");
_Static_assert(sizeof(struct rr_entry) % 8 == 0, "parts are 8-byte aligned");

static uint64_t queued_size(const struct read_request *request)
{
    uint64_t size = sizeof(struct queued_request) + request->entry_count * sizeof(struct rr_entry);
    for (uint32_t i = 0; i < request->entry_count; i++)
        size += rr_align_up(request->entries[i].size, 8);
    return size;
}

static uint8_t *make_room(struct read_queue *queue, const struct rr_allocator *allocator,
                          uint32_t size)
{
    if (queue->cap - queue->end < size && queue->begin > 0) {
        memmove(queue->bytes, queue->bytes + queue->begin, queue->end - queue->begin);
        queue->end -= queue->begin;
        queue->begin = 0;
    }
    queue->bytes = memory_grow(allocator, queue->bytes, &queue->cap, 1, queue->end + size);
    uint8_t *at = queue->bytes + queue->end;
    queue->end += size;
    return at;
}

bool read_queue_push(struct read_queue *queue, const struct rr_allocator *allocator,
                     const struct read_request *request)
{
    uint64_t size = queued_size(request);
    if (size > READ_QUEUE_BYTES_MAX - (queue->end - queue->begin))
        return false;
    struct queued_request head = {.from = request->from,
                                  .index = request->index,
                                  .entry_count = request->entry_count,
                                  .size = (uint32_t)size};
    uint8_t *at = make_room(queue, allocator, head.size);
    memcpy(at, &head, sizeof(head));
    at += sizeof(head);
    if (head.entry_count)
        memcpy(at, request->entries, head.entry_count * sizeof(struct rr_entry));
    at += head.entry_count * sizeof(struct rr_entry);
    for (uint32_t i = 0; i < head.entry_count; i++) {
        if (request->entries[i].size)
            memcpy(at, request->entries[i].data, request->entries[i].size);
        at += rr_align_up(request->entries[i].size, 8);
    }
    queue->count++;
    return true;
}

void read_queue_pop(struct read_queue *queue, struct outbox *out, struct read_request *request)
{
    RR_ASSERT(queue->count > 0);
    struct queued_request head;
    uint8_t *at = queue->bytes + queue->begin;
    memcpy(&head, at, sizeof(head));
    RR_ASSERT(head.size <= queue->end - queue->begin);
    at += sizeof(head);

    struct rr_entry *entries = (struct rr_entry *)(void *)at;
    at += head.entry_count * sizeof(*entries);
    for (uint32_t i = 0; i < head.entry_count; i++) {
        entries[i].data = at;
        at += rr_align_up(entries[i].size, 8);
    }
    *request = (struct read_request){
        .from = head.from,
        .index = head.index,
        .entries = outbox_copy_with_data(out, entries, head.entry_count),
        .entry_count = head.entry_count,
    };
    queue->begin += head.size;
    queue->count--;
    if (queue->count == 0)
        read_queue_reset(queue);
}

void read_queue_reset(struct read_queue *queue)
{
    queue->begin = 0;
    queue->end = 0;
    queue->count = 0;
}

void read_queue_fini(struct read_queue *queue, const struct rr_allocator *allocator)
{
    memory_free(allocator, queue->bytes, queue->cap);
    *queue = (struct read_queue){0};
}

/* ---- acknowledgements ---------------------------------------------------- */

void read_only_reset(struct read_only *ro)
{
    read_queue_reset(&ro->queue);
    ro->confirmed = 0;
    ro->ack_count = 0;
}

void read_only_record_ack(struct read_only *ro, uint64_t id, uint64_t position)
{
    for (uint32_t i = 0; i < ro->ack_count; i++) {
        if (ro->acks[i].id == id) {
            /* Answers may come reordered. */
            ro->acks[i].position = rr_max_u64(ro->acks[i].position, position);
            return;
        }
    }
    /* The table holds far more ids than a configuration; without room the ack is lost, which is
     * safe. */
    if (ro->ack_count < RR_ARRAY_SIZE(ro->acks))
        ro->acks[ro->ack_count++] = (struct read_ack){.id = id, .position = position};
}

static uint64_t half_confirmed(const struct read_only *ro, const struct id_set *half)
{
    uint64_t positions[TRACKER_IDS_MAX];
    for (uint32_t i = 0; i < half->count; i++) {
        positions[i] = 0;
        for (uint32_t j = 0; j < ro->ack_count; j++) {
            if (ro->acks[j].id == half->ids[i])
                positions[i] = ro->acks[j].position;
        }
    }
    return quorum_committed(positions, half->count);
}

uint32_t read_only_advance(struct read_only *ro, const struct tracker_config *config)
{
    uint64_t confirmed =
        rr_min_u64(half_confirmed(ro, &config->incoming), half_confirmed(ro, &config->outgoing));
    if (confirmed <= ro->confirmed)
        return 0;
    uint64_t count = confirmed - ro->confirmed;
    RR_ASSERT_SAYS(count <= ro->queue.count,
                   "read position % is confirmed, the last one that waits is %", confirmed,
                   ro->confirmed + ro->queue.count);
    ro->confirmed = confirmed;
    return (uint32_t)count;
}
