/* SPDX-License-Identifier: Apache-2.0
 *
 * The plain types of the wire and of the log: entries, messages, hard state, snapshots, conf
 * changes. Field names and numbers are raftpb's (proto/raftpb.proto); the codec between these and
 * protobuf bytes is proto/codec.h. Nothing here owns memory unless it says so.
 */
#ifndef RINGRAFT_TYPES_H
#define RINGRAFT_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RR_NONE ((uint64_t)0)
/* Targets of local storage messages; never ids of nodes. */
#define RR_LOCAL_APPEND_THREAD UINT64_MAX
#define RR_LOCAL_APPLY_THREAD  (UINT64_MAX - 1)

/* A reference-counted owner of payload bytes. Only one thread (the one that drives the node)
 * touches `refs`; `free` is called when it falls to zero. The bytes are immutable while referenced.
 */
struct rr_block {
    uint32_t refs;
    uint32_t cap; /* bytes of room at `bytes` */
    uint32_t held;  /* entries of a log that lie in it: the log's own count, 0 at first */
    uint8_t *bytes;
    void (*free)(struct rr_block *block);
};

static inline void rr_block_get(struct rr_block *block, uint32_t count)
{
    if (block)
        block->refs += count;
}

static inline void rr_block_put(struct rr_block *block, uint32_t count)
{
    if (block && (block->refs -= count) == 0)
        block->free(block);
}

enum rr_entry_type {
    RR_ENTRY_NORMAL = 0,
    RR_ENTRY_CONF_CHANGE = 1,
    RR_ENTRY_CONF_CHANGE_V2 = 2,
};

/* Presence of proto2 optional fields: it counts for the encoded size, by which batches are cut. */
enum rr_entry_has {
    RR_ENTRY_HAS_TYPE = 1,
    RR_ENTRY_HAS_TERM = 2,
    RR_ENTRY_HAS_INDEX = 4,
    RR_ENTRY_HAS_DATA = 8,
};

/* One log entry: a descriptor of 48 bytes; the payload belongs to `block` (NULL: the caller of
 * propose or step guarantees the bytes until the node's config `release` is called for them).
 *
 * `wire_size` > 0 says that the entry also lies encoded, as one element of a message's repeated
 * field `entries` (tag, length, body), in the same block and ending exactly at data + size; an
 * entry without data has `data` pointing just behind its encoded bytes and size 0. So the bytes
 * [data + size - wire_size, data + size) can be written or sent as they are. */
struct rr_entry {
    uint64_t term;
    uint64_t index;
    const uint8_t *data;
    struct rr_block *block;
    uint32_t size;      /* bytes of data */
    uint32_t wire_size; /* encoded bytes including tag and length, or 0: not encoded */
    uint8_t type;       /* enum rr_entry_type */
    uint8_t has;        /* enum rr_entry_has, or'ed */
};

/* A run of consecutive entries that may wrap around a ring: first, then second. */
struct rr_entry_spans {
    const struct rr_entry *first;
    const struct rr_entry *second;
    size_t first_count;
    size_t second_count;
};

struct rr_hard_state {
    uint64_t term;
    uint64_t vote;
    uint64_t commit;
};

/* Ids in stored order. `auto_leave` has proto2 presence. Arrays are borrowed. */
struct rr_conf_state {
    const uint64_t *voters;
    const uint64_t *learners;
    const uint64_t *voters_outgoing;
    const uint64_t *learners_next;
    uint32_t voter_count;
    uint32_t learner_count;
    uint32_t voter_outgoing_count;
    uint32_t learner_next_count;
    bool auto_leave;
    bool has_auto_leave;
};

struct rr_snapshot_metadata {
    struct rr_conf_state conf_state;
    uint64_t index;
    uint64_t term;
};

struct rr_snapshot {
    struct rr_snapshot_metadata metadata;
    const uint8_t *data;
    size_t size;
    struct rr_block *block; /* owner of data, or NULL */
};

enum rr_message_type {
    RR_MSG_HUP = 0,
    RR_MSG_BEAT = 1,
    RR_MSG_PROP = 2,
    RR_MSG_APP = 3,
    RR_MSG_APP_RESP = 4,
    RR_MSG_VOTE = 5,
    RR_MSG_VOTE_RESP = 6,
    RR_MSG_SNAP = 7,
    RR_MSG_HEARTBEAT = 8,
    RR_MSG_HEARTBEAT_RESP = 9,
    RR_MSG_UNREACHABLE = 10,
    RR_MSG_SNAP_STATUS = 11,
    RR_MSG_CHECK_QUORUM = 12,
    RR_MSG_TRANSFER_LEADER = 13,
    RR_MSG_TIMEOUT_NOW = 14,
    RR_MSG_READ_INDEX = 15,
    RR_MSG_READ_INDEX_RESP = 16,
    RR_MSG_PRE_VOTE = 17,
    RR_MSG_PRE_VOTE_RESP = 18,
    RR_MSG_STORAGE_APPEND = 19,
    RR_MSG_STORAGE_APPEND_RESP = 20,
    RR_MSG_STORAGE_APPLY = 21,
    RR_MSG_STORAGE_APPLY_RESP = 22,
    RR_MSG_FORGET_LEADER = 23,
};

/* A raftpb.Message. Pointers are borrowed; who may keep them how long is said where a message is
 * handed over. On the wire a field is present when it is not zero, `type` always. */
struct rr_message {
    uint64_t to;
    uint64_t from;
    uint64_t term;
    uint64_t log_term;
    uint64_t index;
    uint64_t commit;
    uint64_t vote;
    uint64_t reject_hint;
    const struct rr_entry *entries;
    const struct rr_snapshot *snapshot; /* NULL: absent */
    const uint8_t *context;
    const struct rr_message *responses; /* local storage messages only */
    uint32_t entry_count;
    uint32_t context_size;
    uint32_t response_count;
    uint8_t type; /* enum rr_message_type */
    bool reject;
};

enum rr_conf_change_type {
    RR_CONF_CHANGE_ADD_NODE = 0,
    RR_CONF_CHANGE_REMOVE_NODE = 1,
    RR_CONF_CHANGE_UPDATE_NODE = 2,
    RR_CONF_CHANGE_ADD_LEARNER_NODE = 3,
};

enum rr_conf_change_transition {
    RR_CONF_CHANGE_TRANSITION_AUTO = 0,
    RR_CONF_CHANGE_TRANSITION_JOINT_IMPLICIT = 1,
    RR_CONF_CHANGE_TRANSITION_JOINT_EXPLICIT = 2,
};

struct rr_conf_change {
    uint64_t id;
    uint64_t node_id;
    const uint8_t *context;
    uint32_t context_size;
    uint8_t type; /* enum rr_conf_change_type */
    bool has_id;  /* proto2 presence; type and node_id are always written */
    bool has_context;
};

struct rr_conf_change_single {
    uint64_t node_id;
    uint8_t type; /* enum rr_conf_change_type */
};

struct rr_conf_change_v2 {
    const struct rr_conf_change_single *changes;
    const uint8_t *context;
    uint32_t change_count;
    uint32_t context_size;
    uint8_t transition; /* enum rr_conf_change_transition */
    bool has_transition;
    bool has_context;
};

#ifdef __cplusplus
}
#endif
#endif
