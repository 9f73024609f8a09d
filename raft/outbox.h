/* SPDX-License-Identifier: Apache-2.0
 *
 * Everything the core hands out: messages, messages that wait for durability, read states, and
 * copies of what they point to. There are two boxes. One collects; at every Ready it is closed and
 * handed out, and the other one, handed out with the Ready before, is emptied and collects from
 * then on. So what a Ready hands out stays valid until the next Ready is taken, and nothing is
 * allocated in steady state. Entries of the tail are not copied (unstable.h). Copied runs hold a
 * reference of each block until their box is emptied. Hot: used per message.
 */
#ifndef RR_RAFT_OUTBOX_H
#define RR_RAFT_OUTBOX_H

#include "raft/arena.h"

#include <string.h>

/* A received or stored snapshot, kept by reference count: the metadata's arrays and, if the caller
 * gave no block for them, the data are copies behind this struct. */
struct owned_snapshot {
    struct rr_snapshot snapshot;
    struct rr_block *memory; /* holds this struct and what was copied */
};

/* One reference for the caller. */
struct owned_snapshot *owned_snapshot_new(const struct rr_allocator *allocator,
                                          const struct rr_snapshot *snapshot);
void owned_snapshot_put(struct owned_snapshot *owned);

struct message_list {
    struct rr_message *items;
    struct rr_message *next; /* behind the last one */
    struct rr_message *end;  /* of the room */
};

static inline uint32_t message_list_count(const struct message_list *list)
{
    return (uint32_t)(list->next - list->items);
}

struct read_state_list {
    struct rr_read_state *items;
    uint32_t count;
    uint32_t cap;
};

/* A run of entries whose blocks the box holds. */
struct entry_run {
    const struct rr_entry *entries;
    uint32_t count;
    bool is_last_use; /* the core holds those entries nowhere else: release those without a block */
};

/* Memory to be freed with the box. */
struct box_memory {
    void *memory;
    size_t size;
};

/* Mostly a handful: the call of memcpy would cost more. */
static inline void entries_copy(struct rr_entry *to, const struct rr_entry *from, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        to[i] = from[i];
}

/* References of blocks for a run, one per entry. */
static inline void entries_get_blocks(const struct rr_entry *entries, uint32_t count)
{
    const struct rr_entry *end = entries + count;
    while (entries < end) {
        struct rr_block *block = entries->block;
        uint32_t same = 0;
        do {
            same++;
            entries++;
        } while (entries < end && entries->block == block);
        rr_block_get(block, same);
    }
}

static inline void entries_put_blocks(const struct rr_entry *entries, uint32_t count)
{
    const struct rr_entry *end = entries + count;
    while (entries < end) {
        struct rr_block *block = entries->block;
        uint32_t same = 0;
        do {
            same++;
            entries++;
        } while (entries < end && entries->block == block);
        rr_block_put(block, same);
    }
}

struct box {
    struct arena arena;
    struct message_list messages;
    struct message_list after_append; /* to be sent when what was appended before is durable */
    struct read_state_list read_states;
    struct rr_message apply_resp; /* to be stepped when what the Ready commits was applied; of no
                                     entries: none */
    struct entry_run *runs;
    uint32_t run_count;
    uint32_t run_cap;
    struct owned_snapshot **snapshots;
    uint32_t snapshot_count;
    uint32_t snapshot_cap;
    struct box_memory *memories;
    uint32_t memory_count;
    uint32_t memory_cap;
};

/* Contiguous entries of the log, as a message has them. */
struct log_run {
    const struct rr_entry *entries;
    uint64_t index;        /* position of the first one in the log */
    uint64_t payload_size; /* sum over the entries */
    uint64_t log_end;      /* last index of the log when this was read */
    uint32_t count;        /* 0: no run */
};

struct outbox {
    struct rr_allocator allocator;
    struct box boxes[2];
    struct box *open;
    void (*release)(void *ctx, const struct rr_entry *entries, size_t count);
    void *release_ctx;
    struct log_run
        log_run; /* the newest one in the open box: another peer usually needs the same */
};

void outbox_init(struct outbox *out, const struct rr_config *config);
void outbox_fini(struct outbox *out);

/* An otherwise empty message. Cleared in two parts: for more than 96 bytes gcc takes `rep stos`,
 * whose start alone costs more than all else that is done for most messages. */
static inline void message_init(struct rr_message *m, enum rr_message_type type, uint64_t to,
                                uint64_t from)
{
    _Static_assert(sizeof(*m) > 64 && sizeof(*m) <= 64 + 96, "two parts are enough");
    memset(m, 0, 64);
    memset((uint8_t *)m + 64, 0, sizeof(*m) - 64);
    m->to = to;
    m->from = from;
    m->type = (uint8_t)type;
}

RR_COLD void outbox_grow_list(const struct outbox *out, struct message_list *list);

/* Room for one more message; the caller fills all of it. */
static inline struct rr_message *outbox_push(const struct outbox *out, struct message_list *list)
{
    if (RR_UNLIKELY(list->next == list->end))
        outbox_grow_list(out, list);
    return list->next++;
}

static inline struct rr_message *outbox_message(struct outbox *out)
{
    return outbox_push(out, &out->open->messages);
}

static inline struct rr_message *outbox_message_after_append(struct outbox *out)
{
    return outbox_push(out, &out->open->after_append);
}

struct rr_read_state *outbox_read_state(struct outbox *out);

const uint8_t *outbox_copy_bytes(struct outbox *out, const uint8_t *bytes, size_t size);

/* Consecutive entries of the log: up to two pieces of the storage, then up to two of the tail. */
enum { STORAGE_PIECE = 0, TAIL_PIECE = 2, PIECES_MAX = 4 };
struct entry_pieces {
    struct {
        const struct rr_entry *entries;
        uint32_t count;
    } piece[PIECES_MAX];
    uint32_t count; /* of entries, in all */
};
/* The pieces, which begin at position `index` of the log, as one run. */
const struct rr_entry *outbox_copy_log(struct outbox *out, uint64_t index,
                                       const struct entry_pieces *pieces);

/* Gives those without a block back to their owner. */
RR_COLD void outbox_release(const struct outbox *out, const struct rr_entry *entries,
                            uint32_t count);
/* The core's use of these entries is over, and nothing mentions them. */
static inline void outbox_drop_entries(struct outbox *out, const struct rr_entry *entries,
                                       uint32_t count)
{
    if (RR_UNLIKELY(out->release != NULL))
        outbox_release(out, entries, count);
    entries_put_blocks(entries, count);
}
/* The same when the box is emptied: messages may mention them. */
void outbox_drop_later(struct outbox *out, const struct rr_entry *entries, uint32_t count);
void outbox_free_later(struct outbox *out, void *memory, size_t size);
/* Entries that are no longer, or never were, in this node's log. */
const struct rr_entry *outbox_copy_last_use(struct outbox *out, const struct rr_entry *entries,
                                            uint32_t count);
/* Copies with their data, for the few small ones that are not log entries (contexts of reads). */
const struct rr_entry *outbox_copy_with_data(struct outbox *out, const struct rr_entry *entries,
                                             uint32_t count);
/* Holds one more reference until the box is emptied. */
const struct rr_snapshot *outbox_hold_snapshot(struct outbox *out, struct owned_snapshot *owned);
/* The entries of the log at and above `index` changed. */
void outbox_log_truncated(struct outbox *out, uint64_t index);

/* What the messages of a box held on to. */
RR_COLD void outbox_put_back(struct outbox *out, struct box *box);
/* Closes the open box and empties and opens the other one. */
static inline void outbox_close(struct outbox *out)
{
    struct box *box = out->open == &out->boxes[0] ? &out->boxes[1] : &out->boxes[0];
    if (RR_UNLIKELY(box->run_count + box->snapshot_count + box->memory_count > 0))
        outbox_put_back(out, box);
    box->messages.next = box->messages.items;
    box->after_append.next = box->after_append.items;
    box->read_states.count = 0;
    arena_reset(&box->arena);
    out->open = box;
    out->log_run.count = 0;
}

#endif
