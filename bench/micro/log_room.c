/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/micro/log_room.h"

#include "raft/raft_log.h"

#include <stdlib.h>

#define BATCH_MAX 4096u

struct log_room {
    struct raft_log log;
    struct outbox outbox;
    struct rr_memory_storage *storage;
    struct rr_entry batch[BATCH_MAX];
};

static const struct event_sink silent = {.level = UINT8_MAX};
static const uint8_t data[128];

static void *heap_alloc(void *ctx, size_t size)
{
    (void)ctx;
    return malloc(size);
}

static void *heap_resize(void *ctx, void *ptr, size_t old_size, size_t new_size)
{
    (void)ctx;
    (void)old_size;
    return realloc(ptr, new_size);
}

static void heap_free(void *ctx, void *ptr, size_t size)
{
    (void)ctx;
    (void)size;
    free(ptr);
}

static void append(struct log_room *room, uint32_t count)
{
    uint64_t first = raft_log_last_index(&room->log) + 1;
    RR_ASSERT(count <= BATCH_MAX);
    for (uint32_t i = 0; i < count; i++)
        room->batch[i] = (struct rr_entry){
            .term = 1,
            .index = first + i,
            .data = data,
            .size = sizeof(data),
            .has = RR_ENTRY_HAS_TERM | RR_ENTRY_HAS_INDEX | RR_ENTRY_HAS_DATA,
        };
    raft_log_append(&room->log, room->batch, count);
}

/* The batch that was appended last becomes the storage's. */
static void store(struct log_room *room, uint32_t count)
{
    uint64_t last = raft_log_last_index(&room->log);
    unstable_drop_kept(&room->log.unstable);
    unstable_accept_in_progress(&room->log.unstable);
    rr_memory_storage_append(room->storage, room->batch, count);
    unstable_stable_to(&room->log.unstable, 1, last);
}

struct log_room *log_room_new(uint32_t count)
{
    const struct rr_config config = {.allocator = {heap_alloc, heap_resize, heap_free, NULL}};
    struct log_room *room = calloc(1, sizeof(*room));
    room->storage = rr_memory_storage_new(&config.allocator);
    outbox_init(&room->outbox, &config);
    const struct raft_log_options options = {
        .storage = rr_memory_storage_interface(room->storage),
        .outbox = &room->outbox,
        .events = &silent,
        .max_applying_ents_size = UINT64_MAX,
    };
    raft_log_init(&room->log, &options);
    if (count > 0) {
        append(room, count / 2);
        store(room, count / 2);
        append(room, count - count / 2);
    }
    return room;
}

void log_room_free(struct log_room *room)
{
    raft_log_fini(&room->log);
    outbox_fini(&room->outbox);
    rr_memory_storage_free(room->storage);
    free(room);
}

void log_room_append(struct log_room *room, uint32_t count)
{
    append(room, count);
    store(room, count);
    outbox_close(&room->outbox);
    rr_memory_storage_compact(room->storage, raft_log_last_index(&room->log));
}

uint64_t log_room_term(const struct log_room *room, uint64_t index)
{
    uint64_t term = 0;
    (void)raft_log_term(&room->log, index, &term);
    return term;
}

uint32_t log_room_slice(const struct log_room *room, uint64_t lo, uint64_t hi, uint64_t max_size)
{
    struct entry_pieces pieces;
    (void)raft_log_slice(&room->log, lo, hi, max_size, &pieces);
    return pieces.count;
}
