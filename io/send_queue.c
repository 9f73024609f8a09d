/* SPDX-License-Identifier: Apache-2.0
 *
 * Hot. A segment may grow no more once pushed; neighbours that are contiguous in memory become one
 * part when they are gathered, so that a tail and the next frame's header cost one iovec together.
 */
#include "io/send_queue.h"

#include "proto/crc32c.h"
#include "proto/frame.h"

#include <stdlib.h>
#include <string.h>

_Static_assert((SEND_SEGMENTS_MAX & (SEND_SEGMENTS_MAX - 1)) == 0, "positions wrap by a mask");

static uint64_t lent_of(const struct block_pool *pool)
{
    return (uint64_t)block_pool_lent(pool) * block_pool_cap(pool);
}

uint64_t block_sizes_lent(const struct block_sizes *sizes)
{
    return lent_of(sizes->small) + lent_of(sizes->standard) + lent_of(sizes->large);
}

struct rr_block *block_sizes_acquire(const struct block_sizes *sizes, uint32_t size)
{
    struct block_pool *pool = sizes->large;
    if (size <= block_pool_cap(sizes->small))
        pool = sizes->small;
    else if (size <= block_pool_cap(sizes->standard))
        pool = sizes->standard;
    RR_ASSERT(size <= block_pool_cap(pool));
    if (RR_UNLIKELY(block_sizes_lent(sizes) + block_pool_cap(pool) > sizes->lent_bytes_max))
        return NULL;
    return block_pool_acquire(pool);
}

static struct segment *segment_at(const struct send_queue *queue, uint32_t offset)
{
    return &queue->ring[(queue->first + offset) & (SEND_SEGMENTS_MAX - 1)];
}

int send_queue_init(struct send_queue *queue, const struct block_sizes *sizes, uint32_t bytes_max)
{
    *queue = (struct send_queue){.sizes = sizes, .bytes_max = bytes_max};
    queue->ring = calloc(SEND_SEGMENTS_MAX, sizeof(*queue->ring));
    queue->urgent = malloc(SEND_URGENT_MAX);
    if (queue->ring && queue->urgent)
        return 0;
    free(queue->urgent);
    free(queue->ring);
    return RR_E_NO_MEMORY;
}

void send_queue_fini(struct send_queue *queue)
{
    send_queue_clear(queue);
    free(queue->urgent);
    free(queue->ring);
}

uint32_t send_queue_clear(struct send_queue *queue)
{
    uint32_t lost = queue->frame_count + (queue->urgent_size > 0);
    for (uint32_t i = 0; i < queue->count; i++)
        rr_block_put(segment_at(queue, i)->block, 1);
    rr_block_put(queue->fill, 1);
    queue->fill = NULL;
    queue->first = queue->count = queue->frame_count = 0;
    queue->filled = queue->urgent_size = 0;
    queue->bytes = 0;
    queue->is_mid_frame = false;
    return lost;
}

bool send_queue_admits(const struct send_queue *queue, uint64_t size, uint32_t segments)
{
    /* One segment is kept for the heartbeats' frame. */
    if (queue->count + segments + 1 > SEND_SEGMENTS_MAX)
        return false;
    return queue->count == 0 || queue->bytes + size <= queue->bytes_max;
}

uint8_t *send_queue_room(struct send_queue *queue, uint32_t size)
{
    RR_ASSERT(size > 0);
    struct rr_block *fill = queue->fill;
    bool is_sent = fill && fill->refs == 1; /* all of it: begin again where the cache is warm */
    if (is_sent && fill->cap == block_pool_cap(queue->sizes->small) && size <= fill->cap)
        queue->filled = 0;
    else if (!fill || is_sent || size > fill->cap - queue->filled) {
        struct rr_block *fresh = block_sizes_acquire(queue->sizes, size);
        if (!fresh)
            return NULL;
        rr_block_put(fill, 1);
        queue->fill = fill = fresh;
        queue->filled = 0;
    }
    uint8_t *at = fill->bytes + queue->filled;
    queue->filled += size;
    return at;
}

static void set_segment(struct send_queue *queue, uint32_t offset, const struct segment *segment)
{
    RR_ASSERT(segment->size > 0 && segment->block);
    rr_block_get(segment->block, 1);
    *segment_at(queue, offset) = *segment;
    queue->bytes += segment->size;
    queue->frame_count += segment->ends_frame;
    queue->count++;
}

void send_queue_push(struct send_queue *queue, struct rr_block *block, const uint8_t *bytes,
                     uint32_t size, bool ends_frame)
{
    RR_ASSERT(queue->count < SEND_SEGMENTS_MAX);
    struct segment segment = {
        .bytes = bytes, .block = block, .size = size, .ends_frame = ends_frame};
    set_segment(queue, queue->count, &segment);
}

/* Where a frame may be put in: in front, or behind the frame that was begun. */
static uint32_t first_boundary(const struct send_queue *queue)
{
    uint32_t offset = 0;
    if (queue->is_mid_frame)
        while (!segment_at(queue, offset++)->ends_frame)
            RR_ASSERT(offset < queue->count);
    return offset;
}

/* Makes one frame of the waiting heartbeats and puts it where so many segments are before it.
 * Shifts what waits behind it, which costs little: it happens once in a heartbeat interval. */
static bool insert_urgent(struct send_queue *queue, uint32_t boundary)
{
    if (queue->count == SEND_SEGMENTS_MAX)
        return false;
    uint32_t size = FRAME_HEADER_SIZE + queue->urgent_size;
    uint8_t *at = send_queue_room(queue, size);
    if (!at)
        return false;
    struct frame_header header = {.length = queue->urgent_size,
                                  .body_crc = crc32c(0, queue->urgent, queue->urgent_size),
                                  .kind = FRAME_HEARTBEATS};
    frame_header_put(&header, at);
    memcpy(at + FRAME_HEADER_SIZE, queue->urgent, queue->urgent_size);
    queue->urgent_size = 0;

    for (uint32_t i = queue->count; i > boundary; i--)
        *segment_at(queue, i) = *segment_at(queue, i - 1);
    struct segment segment = {.bytes = at, .block = queue->fill, .size = size, .ends_frame = true};
    set_segment(queue, boundary, &segment);
    return true;
}

/* More groups than one frame was made for: what there is goes behind the others. A send may be in
 * flight, so that nothing can be put in before them. */
static RR_COLD bool spill_urgent(struct send_queue *queue)
{
    return send_queue_admits(queue, FRAME_HEADER_SIZE + (uint64_t)queue->urgent_size, 1) &&
           insert_urgent(queue, queue->count);
}

uint8_t *send_queue_urgent_room(struct send_queue *queue, uint32_t size)
{
    RR_ASSERT(size <= SEND_URGENT_MAX);
    if (RR_UNLIKELY(size > SEND_URGENT_MAX - queue->urgent_size) && !spill_urgent(queue))
        return NULL;
    uint8_t *at = queue->urgent + queue->urgent_size;
    queue->urgent_size += size;
    return at;
}

uint32_t send_queue_gather(struct send_queue *queue)
{
    if (queue->urgent_size > 0 && !insert_urgent(queue, first_boundary(queue)) && queue->count == 0)
        return 0;
    uint32_t parts = 0;
    uint64_t left = SEND_BYTES_MAX;
    for (uint32_t i = 0; i < queue->count && left > 0; i++) {
        const struct segment *segment = segment_at(queue, i);
        size_t size = (size_t)rr_min_u64(segment->size, left);
        struct iovec *last = parts > 0 ? &queue->parts[parts - 1] : NULL;
        if (last && (const uint8_t *)last->iov_base + last->iov_len == segment->bytes) {
            last->iov_len += size;
        } else {
            if (parts == SEND_PARTS_MAX)
                break;
            queue->parts[parts++] =
                (struct iovec){.iov_base = (void *)(uintptr_t)segment->bytes, .iov_len = size};
        }
        left -= size;
    }
    return parts;
}

bool send_queue_is_gathered(const struct send_queue *queue, uint32_t parts)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < parts; i++)
        bytes += queue->parts[i].iov_len;
    return bytes == queue->bytes && queue->urgent_size == 0;
}

uint32_t send_queue_consume(struct send_queue *queue, uint64_t size)
{
    RR_ASSERT(size <= queue->bytes);
    uint32_t completed = 0;
    queue->bytes -= size;
    while (size > 0) {
        RR_ASSERT(queue->count > 0);
        struct segment *segment = segment_at(queue, 0);
        if (size < segment->size) {
            segment->bytes += size;
            segment->size -= (uint32_t)size;
            queue->is_mid_frame = true;
            break;
        }
        size -= segment->size;
        completed += segment->ends_frame;
        queue->is_mid_frame = !segment->ends_frame;
        rr_block_put(segment->block, 1);
        queue->first = (queue->first + 1) & (SEND_SEGMENTS_MAX - 1);
        queue->count--;
    }
    RR_ASSERT(completed <= queue->frame_count);
    queue->frame_count -= completed;
    return completed;
}

void send_queue_check(const struct send_queue *queue)
{
    uint64_t bytes = 0;
    uint32_t frames = 0;
    for (uint32_t i = 0; i < queue->count; i++) {
        const struct segment *segment = segment_at(queue, i);
        RR_ASSERT(segment->size > 0 && segment->block && segment->block->refs > 0);
        bytes += segment->size;
        frames += segment->ends_frame;
    }
    RR_ASSERT(bytes == queue->bytes);
    RR_ASSERT(frames == queue->frame_count);
    RR_ASSERT(queue->count == 0 || segment_at(queue, queue->count - 1)->ends_frame);
    RR_ASSERT(!queue->is_mid_frame || queue->count > 0);
    RR_ASSERT(!queue->fill || queue->filled <= queue->fill->cap);
}
