/* SPDX-License-Identifier: Apache-2.0
 *
 * The node as its driver sees it: requests in. What comes out is made in ready.c.
 */
#include "raft/raw_node.h"

#include "proto/codec.h"
#include "raft/confchange.h"

#include <string.h>

/* ---- construction -------------------------------------------------------- */

/* The reference's sentences; NULL: valid. */
static const char *validate_config(const struct rr_config *config)
{
    if (config->id == RR_NONE)
        return "cannot use none as id";
    if (config->id == RR_LOCAL_APPEND_THREAD || config->id == RR_LOCAL_APPLY_THREAD)
        return "cannot use local target as id";
    if (config->heartbeat_tick <= 0)
        return "heartbeat tick must be greater than 0";
    if (config->election_tick <= config->heartbeat_tick)
        return "election tick must be greater than heartbeat tick";
    if (!config->storage.ops)
        return "storage cannot be nil";
    if (config->max_inflight_msgs <= 0)
        return "max inflight messages must be greater than 0";
    if (config->max_inflight_bytes != 0 && config->max_inflight_bytes < config->max_size_per_msg)
        return "max inflight bytes must be >= max message size";
    if (config->read_only_option == RR_READ_ONLY_LEASE_BASED && !config->check_quorum)
        return "CheckQuorum must be enabled when ReadOnlyOption is ReadOnlyLeaseBased";
    if (!config->allocator.alloc || !config->allocator.resize || !config->allocator.free)
        return "allocator cannot be nil";
    return NULL;
}

/* Copies what the caller's version of the struct has; the rest is zero. */
static bool read_config(const struct rr_config *from, struct rr_config *to)
{
    if (from->size == 0 || from->size > sizeof(*to))
        return false;
    *to = (struct rr_config){.size = 0};
    memcpy(to, from, from->size);
    to->size = sizeof(*to);
    return true;
}

int rr_raw_node_new(const struct rr_config *config, struct rr_raw_node **node, const char **reason)
{
    struct rr_config own;
    const char *refusal =
        read_config(config, &own) ? validate_config(&own) : "unknown size of the config struct";
    if (reason)
        *reason = refusal;
    if (refusal)
        return RR_E_INVALID;
    struct rr_raw_node *made = own.allocator.alloc(own.allocator.ctx, sizeof(*made));
    if (!made)
        return RR_E_NO_MEMORY;
    *made = (struct rr_raw_node){.advance_box = NULL};
    raft_init(&made->raft, &own);
    made->soft = raft_soft_state(&made->raft);
    made->hard = raft_hard_state(&made->raft);
    *node = made;
    return 0;
}

void rr_raw_node_free(struct rr_raw_node *node)
{
    if (!node)
        return;
    struct rr_allocator allocator = node->raft.allocator;
    raft_fini(&node->raft);
    memory_free(&allocator, node, sizeof(*node));
}

static void append_bootstrap_entry(struct raft *r, const struct rr_peer *peer)
{
    const struct rr_conf_change change = {
        .type = RR_CONF_CHANGE_ADD_NODE,
        .node_id = peer->id,
        .context = peer->context,
        .context_size = peer->context_size,
        .has_context = peer->context != NULL,
    };
    size_t size = rr_conf_change_size(&change);
    struct rr_block *block = memory_block_new(&r->allocator, size);
    rr_conf_change_encode(&change, block->bytes);
    const struct rr_entry entry = {
        .term = 1,
        .index = raft_log_last_index(&r->log) + 1,
        .data = block->bytes,
        .block = block,
        .size = (uint32_t)size,
        .type = RR_ENTRY_CONF_CHANGE,
        .has = RR_ENTRY_HAS_TYPE | RR_ENTRY_HAS_TERM | RR_ENTRY_HAS_INDEX | RR_ENTRY_HAS_DATA,
    };
    raft_log_append(&r->log, &entry, 1);
    rr_block_put(block, 1);
}

int rr_raw_node_bootstrap(struct rr_raw_node *node, const struct rr_peer *peers, uint32_t count,
                          const char **reason)
{
    struct raft *r = &node->raft;
    const char *refusal = NULL;
    if (count == 0)
        refusal = "must provide at least one peer to Bootstrap";
    else if (raft_log_last_index(&r->log) != 0)
        refusal = "can't bootstrap a nonempty Storage";
    if (reason)
        *reason = refusal;
    if (refusal)
        return RR_E_INVALID;

    /* The first Ready says the hard state, although it is as it was when this node was made. */
    node->hard = (struct rr_hard_state){.term = 0};
    raft_become_follower(r, 1, RR_NONE);
    for (uint32_t i = 0; i < count; i++)
        append_bootstrap_entry(r, &peers[i]);
    /* Committed before it is durable: every member begins with these same entries. They are handed
     * out as committed entries and so applied again, which changes nothing. */
    r->log.committed = count;
    for (uint32_t i = 0; i < count; i++) {
        const struct rr_conf_change_single add = {.node_id = peers[i].id,
                                                  .type = RR_CONF_CHANGE_ADD_NODE};
        raft_apply_conf_change(r, &(struct rr_conf_change_v2){.changes = &add, .change_count = 1});
    }
    return 0;
}

/* ---- requests ------------------------------------------------------------ */

void rr_raw_node_tick(struct rr_raw_node *node)
{
    raft_tick(&node->raft);
}

void rr_raw_node_tick_quiesced(struct rr_raw_node *node)
{
    node->raft.election_elapsed++;
}

int rr_raw_node_campaign(struct rr_raw_node *node)
{
    return raft_step(&node->raft, &(struct rr_message){.type = RR_MSG_HUP});
}

static int propose(struct rr_raw_node *node, const struct rr_entry *entries, uint32_t count)
{
    struct raft *r = &node->raft;
    struct rr_message m;
    message_init(&m, RR_MSG_PROP, RR_NONE, r->id);
    m.entries = entries;
    m.entry_count = count;
    return raft_step(r, &m);
}

int rr_raw_node_propose(struct rr_raw_node *node, const uint8_t *data, uint32_t size,
                        struct rr_block *block)
{
    const struct rr_entry entry = {
        .data = data, .block = block, .size = size, .has = data ? RR_ENTRY_HAS_DATA : 0};
    return propose(node, &entry, 1);
}

int rr_raw_node_propose_batch(struct rr_raw_node *node, const struct rr_entry *entries,
                              uint32_t count)
{
    const struct raft *r = &node->raft;
    if (count == 0)
        return RR_E_INVALID;
    /* Entries that were encoded in advance must have been numbered as they will be. */
    for (uint32_t i = 0; i < count && r->state == RR_STATE_LEADER && entries[i].wire_size; i++) {
        RR_ASSERT_SAYS(
            entries[i].term == r->term && entries[i].index == unstable_end(&r->log.unstable) + i,
            "an entry encoded for term % and index % comes to term % and index %", entries[i].term,
            entries[i].index, r->term, unstable_end(&r->log.unstable) + i);
    }
    return propose(node, entries, count);
}

static int propose_encoded(struct rr_raw_node *node, struct rr_block *block, size_t size,
                           enum rr_entry_type type)
{
    const struct rr_entry entry = {
        .data = block->bytes,
        .block = block,
        .size = (uint32_t)size,
        .type = (uint8_t)type,
        .has = RR_ENTRY_HAS_TYPE | RR_ENTRY_HAS_DATA,
    };
    int err = propose(node, &entry, 1);
    rr_block_put(block, 1);
    return err;
}

int rr_raw_node_propose_conf_change(struct rr_raw_node *node, const struct rr_conf_change *change)
{
    size_t size = rr_conf_change_size(change);
    struct rr_block *block = memory_block_new(&node->raft.allocator, size);
    rr_conf_change_encode(change, block->bytes);
    return propose_encoded(node, block, size, RR_ENTRY_CONF_CHANGE);
}

int rr_raw_node_propose_conf_change_v2(struct rr_raw_node *node,
                                       const struct rr_conf_change_v2 *change)
{
    size_t size = rr_conf_change_v2_size(change);
    struct rr_block *block = memory_block_new(&node->raft.allocator, size);
    rr_conf_change_v2_encode(change, block->bytes);
    return propose_encoded(node, block, size, RR_ENTRY_CONF_CHANGE_V2);
}

void rr_raw_node_apply_conf_change_v2(struct rr_raw_node *node,
                                      const struct rr_conf_change_v2 *change,
                                      struct rr_conf_state *conf_state)
{
    raft_apply_conf_change(&node->raft, change);
    if (conf_state)
        tracker_conf_state(&node->raft.tracker, conf_state);
}

void rr_raw_node_apply_conf_change(struct rr_raw_node *node, const struct rr_conf_change *change,
                                   struct rr_conf_state *conf_state)
{
    struct rr_conf_change_single single;
    struct rr_conf_change_v2 v2 = confchange_as_v2(change, &single);
    rr_raw_node_apply_conf_change_v2(node, &v2, conf_state);
}

/* ---- messages ------------------------------------------------------------ */

/* Sets of message types, as bits. */
#define TYPE(name) (UINT32_C(1) << RR_MSG_##name)
static const uint32_t local_types = TYPE(HUP) | TYPE(BEAT) | TYPE(UNREACHABLE) | TYPE(SNAP_STATUS) |
                                    TYPE(CHECK_QUORUM) | TYPE(STORAGE_APPEND) |
                                    TYPE(STORAGE_APPEND_RESP) | TYPE(STORAGE_APPLY) |
                                    TYPE(STORAGE_APPLY_RESP);
/* Those from peers. */
static const uint32_t response_types = TYPE(APP_RESP) | TYPE(VOTE_RESP) | TYPE(HEARTBEAT_RESP) |
                                       TYPE(READ_INDEX_RESP) | TYPE(PRE_VOTE_RESP);
#undef TYPE

/* Of a type in a set of bits. */
static inline bool is_among(uint32_t types, const struct rr_message *m)
{
    return m->type < 32 && (types >> m->type & 1);
}

static inline bool is_from_storage(const struct rr_message *m)
{
    return m->from == RR_LOCAL_APPEND_THREAD || m->from == RR_LOCAL_APPLY_THREAD;
}

int rr_raw_node_step(struct rr_raw_node *node, const struct rr_message *message)
{
    struct raft *r = &node->raft;
    if (is_among(local_types | response_types, message) && !is_from_storage(message)) {
        if (RR_UNLIKELY(is_among(local_types, message)))
            return RR_E_STEP_LOCAL_MSG;
        if (RR_UNLIKELY(!tracker_find(&r->tracker, message->from)))
            return RR_E_STEP_PEER_NOT_FOUND;
    }
    return raft_step(r, message);
}

void rr_raw_node_report_unreachable(struct rr_raw_node *node, uint64_t id)
{
    raft_step(&node->raft, &(struct rr_message){.type = RR_MSG_UNREACHABLE, .from = id});
}

void rr_raw_node_report_snapshot(struct rr_raw_node *node, uint64_t id, bool failed)
{
    raft_step(&node->raft,
              &(struct rr_message){.type = RR_MSG_SNAP_STATUS, .from = id, .reject = failed});
}

void rr_raw_node_transfer_leader(struct rr_raw_node *node, uint64_t transferee)
{
    raft_step(&node->raft,
              &(struct rr_message){.type = RR_MSG_TRANSFER_LEADER, .from = transferee});
}

int rr_raw_node_forget_leader(struct rr_raw_node *node)
{
    return raft_step(&node->raft, &(struct rr_message){.type = RR_MSG_FORGET_LEADER});
}

void rr_raw_node_read_index(struct rr_raw_node *node, const uint8_t *context, uint32_t size)
{
    const struct rr_entry entry = {
        .data = context, .size = size, .has = context ? RR_ENTRY_HAS_DATA : 0};
    raft_step(&node->raft,
              &(struct rr_message){.type = RR_MSG_READ_INDEX, .entries = &entry, .entry_count = 1});
}

void rr_raw_node_step_down(struct rr_raw_node *node)
{
    raft_become_follower(&node->raft, node->raft.term, RR_NONE);
}

void rr_raw_node_storage_ready(struct rr_raw_node *node, uint64_t from, uint64_t to)
{
    raft_storage_ready(&node->raft, from, to);
}
