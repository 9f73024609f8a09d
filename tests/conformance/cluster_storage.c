/* SPDX-License-Identifier: Apache-2.0
 *
 * A node's storage: the core's memory storage behind a door where faults are injected and where
 * snapshots are answered with the newest state of the state machine. The state machine's contents
 * are a byte string to which every applied entry appends its payload.
 */
#include "tests/conformance/cluster.h"

#include "proto/codec.h"

#include <string.h>

/* ---- the door ------------------------------------------------------------ */

static int door_initial_state(void *ctx, struct rr_hard_state *hard_state,
                              struct rr_conf_state *conf_state)
{
    struct member *member = ctx;
    int err = member->stored.ops->initial_state(member->stored.ctx, hard_state, conf_state);
    *conf_state = member->conf_state;
    return err;
}

static int door_entries(void *ctx, uint64_t lo, uint64_t hi, uint64_t max_size,
                        struct rr_entry_spans *out)
{
    struct member *member = ctx;
    if (member->has_entries_fault)
        return RR_E_COMPACTED;
    return member->stored.ops->entries(member->stored.ctx, lo, hi, max_size, out);
}

static int door_term(void *ctx, uint64_t index, uint64_t *term)
{
    struct member *member = ctx;
    return member->stored.ops->term(member->stored.ctx, index, term);
}

static int door_last_index(void *ctx, uint64_t *index)
{
    struct member *member = ctx;
    return member->stored.ops->last_index(member->stored.ctx, index);
}

static int door_first_index(void *ctx, uint64_t *index)
{
    struct member *member = ctx;
    return member->stored.ops->first_index(member->stored.ctx, index);
}

static int door_snapshot(void *ctx, const struct rr_snapshot **snapshot)
{
    struct member *member = ctx;
    if (member->has_snapshot_fault)
        return RR_E_SNAPSHOT_TEMPORARILY_UNAVAILABLE;
    *snapshot = member_state(member);
    return 0;
}

struct rr_storage member_storage(struct member *member)
{
    /* Without has_conf_change: so the core's own scan is what the scenarios see. */
    static const struct rr_storage_ops door = {
        .initial_state = door_initial_state,
        .entries = door_entries,
        .term = door_term,
        .last_index = door_last_index,
        .first_index = door_first_index,
        .snapshot = door_snapshot,
    };
    return (struct rr_storage){.ops = &door, .ctx = member};
}

/* ---- storing ------------------------------------------------------------- */

enum outcome member_store(struct member *member, struct command *cmd, const struct storing *what)
{
    const struct rr_hard_state *state = &what->hard_state;
    if (state->term != 0 || state->vote != 0 || state->commit != 0)
        rr_memory_storage_set_hard_state(member->storage, state);
    int err = 0;
    bool has_snapshot = what->snapshot && what->snapshot->metadata.index != 0;
    if (has_snapshot) {
        if (what->entries.count > 0 && !what->both_allowed)
            return command_failed(cmd, "can't apply snapshot and entries at the same time");
        err = rr_memory_storage_apply_snapshot(member->storage, what->snapshot);
        if (err == 0)
            member_add_history(member, what->snapshot);
    }
    if (err == 0 && what->entries.count > 0)
        err = rr_memory_storage_append(member->storage, what->entries.items, what->entries.count);
    return cluster_result(cmd, err);
}

/* ---- the state machine --------------------------------------------------- */

const struct rr_snapshot *member_state(const struct member *member)
{
    RR_ASSERT(member->history_count > 0);
    return member->history[member->history_count - 1];
}

void member_add_history(struct member *member, const struct rr_snapshot *snapshot)
{
    if (member->history_count == member->history_cap) {
        size_t cap = member->history_cap ? 2 * member->history_cap : 16;
        const struct rr_snapshot **larger =
            scenario_array(member->cluster->memory, cap, sizeof(*larger));
        if (member->history_count > 0)
            memcpy(larger, member->history, member->history_count * sizeof(*larger));
        member->history = larger;
        member->history_cap = cap;
    }
    member->history[member->history_count++] = snapshot;
}

/* The last state's contents with `payload` behind. They share one buffer for as long as nothing
 * else was appended to it: older states are prefixes of newer ones. */
static const uint8_t *extend_contents(struct member *member, const uint8_t *payload, size_t size)
{
    const struct rr_snapshot *last = member_state(member);
    struct contents *contents = &member->contents;
    bool is_end = contents->bytes && last->data == contents->bytes && last->size == contents->size;
    if (!is_end || contents->cap - contents->size < size) {
        size_t cap = 2 * (last->size + size) + 64;
        uint8_t *bytes = scenario_alloc(member->cluster->memory, cap);
        if (last->size > 0)
            memcpy(bytes, last->data, last->size);
        *contents = (struct contents){bytes, last->size, cap};
    }
    if (size > 0)
        memcpy(contents->bytes + contents->size, payload, size);
    contents->size += size;
    return contents->bytes;
}

/* What an entry does to the state: bytes to append, and a configuration if it changes that. */
struct change {
    const uint8_t *payload;
    size_t size;
    bool is_conf_change;
    struct rr_conf_state conf_state; /* borrowed from the core */
};

static int apply_conf_change_v2(struct member *member, const struct rr_entry *entry,
                                struct change *change)
{
    size_t cap = rr_conf_change_v2_scratch_size(entry->size);
    struct codec_scratch scratch = {.bytes = scenario_alloc(member->cluster->memory, cap),
                                    .cap = cap};
    struct rr_conf_change_v2 v2;
    int err = rr_conf_change_v2_decode(entry->data, entry->size, &scratch, &v2);
    if (err < 0)
        return err;
    *change = (struct change){v2.context, v2.context_size, .is_conf_change = true};
    rr_raw_node_apply_conf_change_v2(member->node, &v2, &change->conf_state);
    return 0;
}

static int apply_conf_change(struct member *member, const struct rr_entry *entry,
                             struct change *change)
{
    struct rr_conf_change v1;
    int err = rr_conf_change_decode(entry->data, entry->size, &v1);
    if (err < 0)
        return err;
    *change = (struct change){v1.context, v1.context_size, .is_conf_change = true};
    rr_raw_node_apply_conf_change(member->node, &v1, &change->conf_state);
    return 0;
}

static int apply_entry(struct member *member, const struct rr_entry *entry)
{
    struct change change = {.payload = entry->data, .size = entry->size};
    int err = 0;
    if (entry->type == RR_ENTRY_CONF_CHANGE)
        err = apply_conf_change(member, entry, &change);
    else if (entry->type == RR_ENTRY_CONF_CHANGE_V2)
        err = apply_conf_change_v2(member, entry, &change);
    if (err < 0)
        return err;
    struct scenario_memory *memory = member->cluster->memory;
    struct rr_snapshot *state = scenario_alloc(memory, sizeof(*state));
    state->size = member_state(member)->size + change.size;
    state->data = extend_contents(member, change.payload, change.size);
    state->metadata.index = entry->index;
    state->metadata.term = entry->term;
    state->metadata.conf_state = change.is_conf_change ? copy_conf_state(memory, &change.conf_state)
                                                       : member_state(member)->metadata.conf_state;
    member_add_history(member, state);
    return 0;
}

enum outcome member_apply(struct member *member, struct command *cmd, struct entry_list entries)
{
    for (uint32_t i = 0; i < entries.count; i++)
        if (apply_entry(member, &entries.items[i]) < 0)
            return command_bad(cmd, "the conf change at index %llu does not decode",
                               (unsigned long long)entries.items[i].index);
    return OUTCOME_OK;
}
