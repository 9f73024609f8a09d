/* SPDX-License-Identifier: Apache-2.0
 *
 * Hot: boxes are filled per message and emptied per Ready.
 */
#include "raft/outbox.h"

#include <string.h>

/* ---- snapshots ----------------------------------------------------------- */

static const uint64_t *copy_ids(uint8_t **at, const uint64_t *ids, uint32_t count)
{
    uint64_t *copy = (uint64_t *)(void *)*at;
    if (count)
        memcpy(copy, ids, count * sizeof(*ids));
    *at += count * sizeof(*ids);
    return copy;
}

struct owned_snapshot *owned_snapshot_new(const struct rr_allocator *allocator,
                                          const struct rr_snapshot *snapshot)
{
    const struct rr_conf_state *from = &snapshot->metadata.conf_state;
    size_t id_count = (size_t)from->voter_count + from->learner_count + from->voter_outgoing_count +
                      from->learner_next_count;
    size_t data_size = snapshot->block ? 0 : snapshot->size;
    struct rr_block *memory = memory_block_new(
        allocator, sizeof(struct owned_snapshot) + id_count * sizeof(uint64_t) + data_size);

    struct owned_snapshot *owned = (struct owned_snapshot *)(void *)memory->bytes;
    *owned = (struct owned_snapshot){.snapshot = *snapshot, .memory = memory};
    struct rr_conf_state *to = &owned->snapshot.metadata.conf_state;
    uint8_t *at = (uint8_t *)(owned + 1);
    to->voters = copy_ids(&at, from->voters, from->voter_count);
    to->learners = copy_ids(&at, from->learners, from->learner_count);
    to->voters_outgoing = copy_ids(&at, from->voters_outgoing, from->voter_outgoing_count);
    to->learners_next = copy_ids(&at, from->learners_next, from->learner_next_count);
    if (data_size) {
        memcpy(at, snapshot->data, data_size);
        owned->snapshot.data = at;
    }
    rr_block_get(snapshot->block, 1);
    return owned;
}

void owned_snapshot_put(struct owned_snapshot *owned)
{
    if (owned->memory->refs == 1)
        rr_block_put(owned->snapshot.block, 1);
    rr_block_put(owned->memory, 1);
}

/* ---- boxes --------------------------------------------------------------- */

void outbox_init(struct outbox *out, const struct rr_config *config)
{
    *out = (struct outbox){
        .allocator = config->allocator,
        .release = config->release,
        .release_ctx = config->release_ctx,
    };
    for (int i = 0; i < 2; i++) {
        out->boxes[i].arena.allocator = &out->allocator;
        message_init(&out->boxes[i].apply_resp, RR_MSG_STORAGE_APPLY_RESP, config->id,
                     RR_LOCAL_APPLY_THREAD);
    }
    out->open = &out->boxes[0];
}

void outbox_release(const struct outbox *out, const struct rr_entry *entries, uint32_t count)
{
    for (uint32_t i = 0; i < count;) {
        uint32_t first = i;
        while (i < count && !entries[i].block)
            i++;
        if (i > first)
            out->release(out->release_ctx, &entries[first], i - first);
        while (i < count && entries[i].block)
            i++;
    }
}

void outbox_put_back(struct outbox *out, struct box *box)
{
    for (uint32_t i = 0; i < box->run_count; i++) {
        const struct entry_run *run = &box->runs[i];
        if (run->is_last_use)
            outbox_drop_entries(out, run->entries, run->count);
        else
            entries_put_blocks(run->entries, run->count);
    }
    for (uint32_t i = 0; i < box->snapshot_count; i++)
        owned_snapshot_put(box->snapshots[i]);
    for (uint32_t i = 0; i < box->memory_count; i++)
        memory_free(&out->allocator, box->memories[i].memory, box->memories[i].size);
    box->run_count = 0;
    box->snapshot_count = 0;
    box->memory_count = 0;
}

static void free_list(const struct outbox *out, const struct message_list *list)
{
    memory_free(&out->allocator, list->items,
                (size_t)(list->end - list->items) * sizeof(*list->items));
}

void outbox_fini(struct outbox *out)
{
    for (int i = 0; i < 2; i++) {
        struct box *box = &out->boxes[i];
        const struct rr_allocator *allocator = &out->allocator;
        outbox_put_back(out, box);
        arena_fini(&box->arena);
        free_list(out, &box->messages);
        free_list(out, &box->after_append);
        memory_free(allocator, box->read_states.items,
                    box->read_states.cap * sizeof(struct rr_read_state));
        memory_free(allocator, box->runs, box->run_cap * sizeof(*box->runs));
        memory_free(allocator, box->snapshots, box->snapshot_cap * sizeof(*box->snapshots));
        memory_free(allocator, box->memories, box->memory_cap * sizeof(*box->memories));
    }
}

/* ---- what is put into the open box --------------------------------------- */

RR_COLD void outbox_grow_list(const struct outbox *out, struct message_list *list)
{
    uint32_t count = message_list_count(list);
    uint32_t cap = (uint32_t)(list->end - list->items);
    list->items = memory_grow(&out->allocator, list->items, &cap, sizeof(*list->items), count + 1);
    list->next = list->items + count;
    list->end = list->items + cap;
}

struct rr_read_state *outbox_read_state(struct outbox *out)
{
    struct read_state_list *list = &out->open->read_states;
    if (RR_UNLIKELY(list->count == list->cap))
        list->items = memory_grow(&out->allocator, list->items, &list->cap, sizeof(*list->items),
                                  list->count + 1);
    return &list->items[list->count++];
}

const uint8_t *outbox_copy_bytes(struct outbox *out, const uint8_t *bytes, size_t size)
{
    if (size == 0)
        return NULL;
    uint8_t *copy = arena_alloc(&out->open->arena, size);
    memcpy(copy, bytes, size);
    return copy;
}

static void push_run(struct outbox *out, const struct rr_entry *entries, uint32_t count,
                     bool is_last_use)
{
    struct box *box = out->open;
    if (RR_UNLIKELY(box->run_count == box->run_cap))
        box->runs = memory_grow(&out->allocator, box->runs, &box->run_cap, sizeof(*box->runs),
                                box->run_count + 1);
    box->runs[box->run_count++] =
        (struct entry_run){.entries = entries, .count = count, .is_last_use = is_last_use};
}

const struct rr_entry *outbox_copy_log(struct outbox *out, uint64_t index,
                                       const struct entry_pieces *pieces)
{
    const struct log_run *run = &out->log_run;
    if (index >= run->index && index - run->index + pieces->count <= run->count)
        return run->entries + (index - run->index);

    uint32_t count = pieces->count;
    struct rr_entry *copy = arena_alloc(&out->open->arena, count * sizeof(*copy));
    struct rr_entry *at = copy;
    for (int i = 0; at < copy + count; i++) {
        RR_ASSERT(i < PIECES_MAX);
        for (uint32_t j = 0; j < pieces->piece[i].count; j++)
            *at++ = pieces->piece[i].entries[j];
    }
    entries_get_blocks(copy, count);
    push_run(out, copy, count, false);
    out->log_run = (struct log_run){.entries = copy, .index = index, .count = count};
    return copy;
}

void outbox_drop_later(struct outbox *out, const struct rr_entry *entries, uint32_t count)
{
    if (count)
        push_run(out, entries, count, true);
}

void outbox_free_later(struct outbox *out, void *memory, size_t size)
{
    struct box *box = out->open;
    if (box->memory_count == box->memory_cap)
        box->memories = memory_grow(&out->allocator, box->memories, &box->memory_cap,
                                    sizeof(*box->memories), box->memory_count + 1);
    box->memories[box->memory_count++] = (struct box_memory){.memory = memory, .size = size};
}

const struct rr_entry *outbox_copy_last_use(struct outbox *out, const struct rr_entry *entries,
                                            uint32_t count)
{
    if (count == 0)
        return NULL;
    struct rr_entry *copy = arena_alloc(&out->open->arena, count * sizeof(*copy));
    memcpy(copy, entries, count * sizeof(*copy));
    entries_get_blocks(copy, count);
    push_run(out, copy, count, true);
    return copy;
}

const struct rr_entry *outbox_copy_with_data(struct outbox *out, const struct rr_entry *entries,
                                             uint32_t count)
{
    struct rr_entry *copy = arena_alloc(&out->open->arena, count * sizeof(*copy));
    for (uint32_t i = 0; i < count; i++) {
        copy[i] = entries[i];
        copy[i].data = outbox_copy_bytes(out, entries[i].data, entries[i].size);
        copy[i].block = NULL;
        copy[i].wire_size = 0;
    }
    return copy;
}

const struct rr_snapshot *outbox_hold_snapshot(struct outbox *out, struct owned_snapshot *owned)
{
    struct box *box = out->open;
    if (box->snapshot_count == box->snapshot_cap)
        box->snapshots = memory_grow(&out->allocator, box->snapshots, &box->snapshot_cap,
                                     sizeof(struct owned_snapshot *), box->snapshot_count + 1);
    rr_block_get(owned->memory, 1);
    box->snapshots[box->snapshot_count++] = owned;
    return &owned->snapshot;
}

void outbox_log_truncated(struct outbox *out, uint64_t index)
{
    if (index < out->log_run.index + out->log_run.count)
        out->log_run.count = 0;
}
