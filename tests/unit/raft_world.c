/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/raft_world.h"

#include "proto/codec.h"
#include "tests/unit/check.h"

static uint32_t no_jitter(void *ctx, uint32_t bound)
{
    (void)ctx;
    (void)bound;
    return 0;
}

static void free_block(struct rr_block *block)
{
    free(block);
}

static void open_node(struct world *w, uint32_t i, void (*adjust)(struct rr_config *config))
{
    static const uint64_t ids[WORLD_NODES_MAX] = {1, 2, 3, 4, 5, 6, 7};
    struct world_node *node = &w->nodes[i];
    struct rr_allocator allocator = raft_heap_allocator(&w->heap);
    node->storage = rr_memory_storage_new(&allocator);
    struct rr_snapshot snapshot = {
        .metadata = {
            .index = 1, .term = 1, .conf_state = {.voters = ids, .voter_count = w->count}}};
    CHECK(rr_memory_storage_apply_snapshot(node->storage, &snapshot) == 0);
    node->config = (struct rr_config){
        .size = sizeof(struct rr_config),
        .id = i + 1,
        .election_tick = WORLD_ELECTION_TICK,
        .heartbeat_tick = 1,
        .storage = rr_memory_storage_interface(node->storage),
        .max_size_per_msg = UINT64_MAX,
        .max_inflight_msgs = 256,
        .allocator = allocator,
        .jitter = no_jitter,
    };
    if (adjust)
        adjust(&node->config);
    node->applied = 1;
    CHECK(rr_raw_node_new(&node->config, &node->raw, NULL) == 0);
}

void world_begin(struct world *w, uint32_t count, void (*adjust)(struct rr_config *config))
{
    memset(w, 0, sizeof(*w));
    w->count = count;
    for (uint32_t i = 0; i < count; i++)
        open_node(w, i, adjust);
}

void world_end(struct world *w)
{
    for (uint32_t i = 0; i < w->count; i++) {
        raft_check(&w->nodes[i].raw->raft);
        rr_raw_node_free(w->nodes[i].raw);
        rr_memory_storage_free(w->nodes[i].storage);
    }
    CHECK_EQ_U64(w->heap.outstanding, 0);
}

struct rr_raw_node *world_raw(struct world *w, uint64_t id)
{
    CHECK(id >= 1 && id <= w->count);
    return w->nodes[id - 1].raw;
}

struct raft *world_raft(struct world *w, uint64_t id)
{
    return &world_raw(w, id)->raft;
}

static void deliver(struct world *w, const struct rr_message *m)
{
    w->sent[m->type]++;
    w->last[m->type] = *m;
    if (m->to <= w->count && m->from <= w->count && !w->cut[m->from][m->to])
        rr_raw_node_step(world_raw(w, m->to), m);
}

static void apply(struct world_node *node, const struct rr_entry *entries, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        CHECK_EQ_U64(entries[i].index, node->applied + 1);
        node->applied = entries[i].index;
        node->applied_count += entries[i].size > 0;
        if (entries[i].type == RR_ENTRY_CONF_CHANGE_V2) {
            uint8_t bytes[1024];
            struct codec_scratch scratch = {.bytes = bytes, .cap = sizeof(bytes)};
            struct rr_conf_change_v2 change;
            CHECK(rr_conf_change_v2_decode(entries[i].data, entries[i].size, &scratch, &change) ==
                  0);
            rr_raw_node_apply_conf_change_v2(node->raw, &change, NULL);
        }
    }
}

static void store(struct world_node *node, const struct rr_ready *ready)
{
    if (ready->hard_state)
        rr_memory_storage_set_hard_state(node->storage, ready->hard_state);
    if (ready->snapshot) {
        CHECK(rr_memory_storage_apply_snapshot(node->storage, ready->snapshot) == 0);
        node->applied = ready->snapshot->metadata.index;
    }
    rr_memory_storage_append(node->storage, ready->entries, ready->entry_count);
}

/* The storage messages of asynchronous mode, done at once. */
static void serve_local(struct world *w, struct world_node *node, const struct rr_message *m)
{
    if (m->type == RR_MSG_STORAGE_APPLY)
        apply(node, m->entries, m->entry_count);
    for (uint32_t i = 0; i < m->response_count; i++) {
        if (m->responses[i].to == node->config.id)
            rr_raw_node_step(node->raw, &m->responses[i]);
        else
            deliver(w, &m->responses[i]);
    }
}

void world_ready(struct world *w, uint64_t id)
{
    struct world_node *node = &w->nodes[id - 1];
    struct rr_ready *ready = &node->ready;
    rr_raw_node_ready(node->raw, ready);
    store(node, ready);
    for (uint32_t i = 0; i < ready->message_count; i++) {
        const struct rr_message *m = &ready->messages[i];
        if (m->to == RR_LOCAL_APPEND_THREAD || m->to == RR_LOCAL_APPLY_THREAD)
            serve_local(w, node, m);
        else
            deliver(w, m);
    }
    if (!node->config.async_storage_writes) {
        apply(node, ready->committed_entries, ready->committed_entry_count);
        rr_raw_node_advance(node->raw);
    }
}

void world_settle(struct world *w)
{
    bool is_busy = true;
    for (int round = 0; is_busy; round++) {
        CHECK(round < 10000);
        is_busy = false;
        for (uint32_t i = 0; i < w->count; i++) {
            if (rr_raw_node_has_ready(w->nodes[i].raw)) {
                world_ready(w, i + 1);
                is_busy = true;
            }
        }
    }
}

void world_campaign(struct world *w, uint64_t id)
{
    rr_raw_node_campaign(world_raw(w, id));
    world_settle(w);
}

void world_tick(struct world *w, uint64_t id, int count)
{
    for (int i = 0; i < count; i++) {
        rr_raw_node_tick(world_raw(w, id));
        world_settle(w);
    }
}

int world_propose(struct world *w, uint64_t id, const char *text)
{
    size_t size = strlen(text);
    struct rr_block *block = malloc(sizeof(*block) + size);
    *block = (struct rr_block){
        .refs = 1, .cap = (uint32_t)size, .bytes = (uint8_t *)(block + 1), .free = free_block};
    memcpy(block->bytes, text, size);
    int err = rr_raw_node_propose(world_raw(w, id), block->bytes, (uint32_t)size, block);
    rr_block_put(block, 1);
    return err;
}

void world_isolate(struct world *w, uint64_t id, bool is_cut)
{
    for (uint32_t i = 1; i <= w->count; i++) {
        w->cut[id][i] = is_cut;
        w->cut[i][id] = is_cut;
    }
}

int world_step(struct world *w, struct rr_message message)
{
    return rr_raw_node_step(world_raw(w, message.to), &message);
}

void world_restart(struct world *w, uint64_t id, uint64_t applied)
{
    struct world_node *node = &w->nodes[id - 1];
    rr_raw_node_free(node->raw);
    node->config.applied = applied;
    node->applied = applied;
    CHECK(rr_raw_node_new(&node->config, &node->raw, NULL) == 0);
}
