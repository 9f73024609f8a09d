/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/node_world.h"

#include "proto/codec.h"
#include "tests/unit/check.h"

#include <poll.h>

static uint32_t no_jitter(void *ctx, uint32_t bound)
{
    (void)ctx;
    (void)bound;
    return 0;
}

static void count_event(void *ctx, const struct rr_log_event *event)
{
    struct node_world *w = ctx;
    w->events[event->id]++;
    w->last[event->id] = *event;
}

struct rr_config node_world_config(struct node_world *w, uint64_t id,
                                   struct rr_memory_storage *storage)
{
    return (struct rr_config){
        .size = sizeof(struct rr_config),
        .id = id,
        .election_tick = NODE_WORLD_ELECTION,
        .heartbeat_tick = 1,
        .storage = rr_memory_storage_interface(storage),
        .max_size_per_msg = UINT64_MAX,
        .max_inflight_msgs = 256,
        .allocator = raft_heap_allocator(&w->heap),
        .jitter = no_jitter,
        .log = count_event,
        .log_ctx = w,
    };
}

static void open_member(struct node_world *w, uint32_t i, node_world_adjust adjust)
{
    static const uint64_t ids[NODE_WORLD_MAX] = {1, 2, 3};
    struct node_member *member = &w->members[i];
    struct rr_allocator allocator = raft_heap_allocator(&w->heap);
    member->storage = rr_memory_storage_new(&allocator);
    struct rr_snapshot snapshot = {
        .metadata = {
            .index = 1, .term = 1, .conf_state = {.voters = ids, .voter_count = w->count}}};
    CHECK(rr_memory_storage_apply_snapshot(member->storage, &snapshot) == 0);
    member->config = node_world_config(w, i + 1, member->storage);
    struct rr_node_options options = {.size = sizeof(options), .config = &member->config};
    if (adjust)
        adjust(&member->config, &options);
    CHECK(rr_node_new(&options, &member->node, NULL) == 0);
}

void node_world_begin(struct node_world *w, uint32_t count, node_world_adjust adjust)
{
    memset(w, 0, sizeof(*w));
    CHECK(count <= NODE_WORLD_MAX);
    w->count = count;
    for (uint32_t i = 0; i < count; i++)
        open_member(w, i, adjust);
}

void node_world_end(struct node_world *w)
{
    for (uint32_t i = 0; i < w->count; i++) {
        rr_node_stop(w->members[i].node);
        rr_node_free(w->members[i].node);
        rr_memory_storage_free(w->members[i].storage);
    }
    CHECK_EQ_U64(w->heap.outstanding, 0);
}

struct rr_node *node_world_node(struct node_world *w, uint64_t id)
{
    CHECK(id >= 1 && id <= w->count);
    return w->members[id - 1].node;
}

void node_world_store(struct node_member *member, const struct rr_ready *ready)
{
    rr_node_lock(member->node);
    if (ready->snapshot)
        CHECK(rr_memory_storage_apply_snapshot(member->storage, ready->snapshot) == 0);
    if (ready->hard_state)
        rr_memory_storage_set_hard_state(member->storage, ready->hard_state);
    CHECK(rr_memory_storage_append(member->storage, ready->entries, ready->entry_count) == 0);
    rr_node_unlock(member->node);
}

static void apply_change(struct node_member *member, const struct rr_entry *entry)
{
    struct rr_conf_state state;
    if (entry->type == RR_ENTRY_CONF_CHANGE) {
        struct rr_conf_change change;
        CHECK(rr_conf_change_decode(entry->data, entry->size, &change) == 0);
        CHECK(rr_node_apply_conf_change(member->node, &change, &state) == 0);
    } else {
        _Alignas(8) uint8_t bytes[256];
        struct codec_scratch scratch = {.bytes = bytes, .cap = sizeof(bytes)};
        struct rr_conf_change_v2 change;
        CHECK(rr_conf_change_v2_decode(entry->data, entry->size, &scratch, &change) == 0);
        CHECK(rr_node_apply_conf_change_v2(member->node, &change, &state) == 0);
    }
    member->conf_voters = state.voter_count;
    member->conf_learners = state.learner_count;
}

static void apply(struct node_member *member, const struct rr_entry *entry)
{
    CHECK(member->applied_count < NODE_WORLD_APPLIED);
    struct applied_entry *applied = &member->applied[member->applied_count++];
    *applied =
        (struct applied_entry){.index = entry->index, .type = entry->type, .size = entry->size};
    if (entry->size > 0 && entry->size < sizeof(applied->text))
        memcpy(applied->text, entry->data, entry->size);
    if (entry->type != RR_ENTRY_NORMAL)
        apply_change(member, entry);
}

static void deliver(struct node_world *w, const struct rr_message *m)
{
    if (m->to >= 1 && m->to <= w->count && (!w->filter || w->filter(w, m)))
        rr_node_step(node_world_node(w, m->to), m);
}

void node_world_ready(struct node_world *w, uint64_t id)
{
    struct node_member *member = &w->members[id - 1];
    struct rr_ready ready;
    CHECK(rr_node_ready(member->node, &ready) == 0);
    node_world_store(member, &ready);
    for (uint32_t i = 0; i < ready.message_count; i++)
        deliver(w, &ready.messages[i]);
    for (uint32_t i = 0; i < ready.committed_entry_count; i++)
        apply(member, &ready.committed_entries[i]);
    CHECK(rr_node_advance(member->node) == 0);
}

bool node_world_is_readable(struct node_world *w, uint64_t id)
{
    struct pollfd fd = {.fd = rr_node_ready_fd(node_world_node(w, id)), .events = POLLIN};
    int count = poll(&fd, 1, 0);
    CHECK(count >= 0);
    return count == 1;
}

void node_world_settle(struct node_world *w)
{
    bool is_busy = true;
    for (int round = 0; is_busy; round++) {
        CHECK(round < 1000);
        is_busy = false;
        for (uint32_t id = 1; id <= w->count; id++) {
            struct rr_node_status status = node_world_status(w, id);
            if (!node_world_is_readable(w, id) || status.outcome_count > 0)
                continue;
            node_world_ready(w, id);
            is_busy = true;
        }
    }
}

void node_world_campaign(struct node_world *w, uint64_t id)
{
    CHECK(rr_node_campaign(node_world_node(w, id)) == 0);
    node_world_settle(w);
}

struct rr_node_status node_world_status(struct node_world *w, uint64_t id)
{
    struct rr_node_status status;
    CHECK(rr_node_status(node_world_node(w, id), &status) == 0);
    return status;
}

struct rr_node_outcome node_world_outcome(struct node_world *w, uint64_t id)
{
    struct rr_node_outcome outcomes[2];
    CHECK_EQ_U64(rr_node_take_outcomes(node_world_node(w, id), outcomes, 2), 1);
    return outcomes[0];
}
