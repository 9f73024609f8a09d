/* SPDX-License-Identifier: Apache-2.0
 *
 * The core: a pure, deterministic Raft state machine with the semantics of etcd-io/raft v3.7.0. It
 * performs no I/O, reads no clock, makes no thread. Feed it messages, ticks and proposals; take a
 * Ready; do what the Ready says; tell it so. Single threaded: all calls into one node come from one
 * thread.
 *
 * What a Ready hands out (arrays, messages, entries' descriptors) is borrowed until the next Ready
 * is taken; entry payloads and snapshot data live as long as their blocks (struct rr_block).
 * Entries given to the core keep their block: the core takes its own references, the caller keeps
 * his.
 */
#ifndef RINGRAFT_RAFT_H
#define RINGRAFT_RAFT_H

#include <ringraft/error.h>
#include <ringraft/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What this header declares is what the library exports; all else is hidden. */
#pragma GCC visibility push(default)

/* ---- storage ------------------------------------------------------------- */

/* The stable log, read by the core. Spans and snapshots are borrowed until the next call into the
 * node that uses this storage. `entries` returns at least one entry, at most `max_size` encoded
 * bytes (or one entry); it may return fewer than asked. RR_E_PENDING (entries only): the first
 * entry asked for is not in memory; resume with rr_raw_node_storage_ready. Errors: RR_E_COMPACTED,
 * RR_E_UNAVAILABLE, RR_E_SNAPSHOT_TEMPORARILY_UNAVAILABLE (snapshot only). */
struct rr_storage_ops {
    int (*initial_state)(void *ctx, struct rr_hard_state *hard_state,
                         struct rr_conf_state *conf_state);
    int (*entries)(void *ctx, uint64_t lo, uint64_t hi, uint64_t max_size,
                   struct rr_entry_spans *out);
    int (*term)(void *ctx, uint64_t index, uint64_t *term); /* first_index-1 .. last_index */
    int (*last_index)(void *ctx, uint64_t *index);
    int (*first_index)(void *ctx, uint64_t *index);
    int (*snapshot)(void *ctx, const struct rr_snapshot **snapshot);
    /* Optional (NULL: the core scans entries): is there a conf-change entry in [lo, hi)? Never
     * pends; a storage whose `entries` can pend must have it. */
    int (*has_conf_change)(void *ctx, uint64_t lo, uint64_t hi, bool *found);
};

struct rr_storage {
    const struct rr_storage_ops *ops;
    void *ctx;
};

/* ---- configuration ------------------------------------------------------- */

enum rr_read_only_option { RR_READ_ONLY_SAFE = 0, RR_READ_ONLY_LEASE_BASED = 1 };

struct rr_allocator {
    void *(*alloc)(void *ctx, size_t size);
    void *(*resize)(void *ctx, void *ptr, size_t old_size, size_t new_size);
    void (*free)(void *ctx, void *ptr, size_t size);
    void *ctx;
};

struct rr_log_event; /* {id, level, args}; rr_describe_log_event gives the reference's line */

/* Fields as in the reference's Config (RAFT-thesis terms; units: ticks, encoded bytes, payload
 * bytes). Zero means the reference's default where it has one. */
struct rr_config {
    size_t size; /* sizeof(struct rr_config) of the caller */
    uint64_t id;
    int32_t election_tick;
    int32_t heartbeat_tick;
    struct rr_storage storage;
    uint64_t applied;
    uint64_t max_size_per_msg; /* encoded bytes; 0: one entry per message */
    uint64_t max_committed_size_per_ready;
    uint64_t max_uncommitted_entries_size; /* payload bytes; 0: unlimited */
    int32_t max_inflight_msgs;
    uint64_t max_inflight_bytes; /* payload bytes; 0: unlimited */
    enum rr_read_only_option read_only_option;
    bool async_storage_writes;
    bool check_quorum;
    bool pre_vote;
    bool disable_proposal_forwarding;
    bool disable_conf_change_validation;
    bool step_down_on_removal;
    struct rr_allocator
        allocator; /* all NULL: malloc may not be used by raft/, so this is required */
    /* A number in [0, bound): the election jitter. NULL: a generator seeded with `seed` and the id.
     */
    uint32_t (*jitter)(void *ctx, uint32_t bound);
    void *jitter_ctx;
    uint64_t seed;
    void (*log)(void *ctx, const struct rr_log_event *event); /* NULL: silent */
    void *log_ctx;
    uint8_t log_level; /* events below it are not made */
    /* Called when the core drops its last use of entries whose block is NULL: durable or truncated,
     * and no message that a Ready may still hold mentions them. */
    void (*release)(void *ctx, const struct rr_entry *entries, size_t count);
    void *release_ctx;
};

/* ---- Ready --------------------------------------------------------------- */

enum rr_state {
    RR_STATE_FOLLOWER = 0,
    RR_STATE_CANDIDATE = 1,
    RR_STATE_LEADER = 2,
    RR_STATE_PRE_CANDIDATE = 3,
};

struct rr_soft_state {
    uint64_t lead;
    uint8_t raft_state; /* enum rr_state */
};

struct rr_read_state {
    uint64_t index;
    const uint8_t *request_ctx;
    uint32_t request_ctx_size;
};

struct rr_ready {
    const struct rr_soft_state *soft_state; /* NULL: unchanged */
    const struct rr_hard_state *hard_state; /* NULL: unchanged */
    const struct rr_read_state *read_states;
    const struct rr_entry *entries;           /* to be made durable */
    const struct rr_snapshot *snapshot;       /* NULL: none */
    const struct rr_entry *committed_entries; /* to be applied */
    /* In async mode the storage messages come last: MsgStorageAppend, then MsgStorageApply. */
    const struct rr_message *messages;
    uint32_t read_state_count;
    uint32_t entry_count;
    uint32_t committed_entry_count;
    uint32_t message_count;
    bool must_sync;
};

/* ---- raw node ------------------------------------------------------------ */

struct rr_raw_node;

/* Returns 0, or RR_E_INVALID / RR_E_NO_MEMORY with the reference's sentence in `*reason` (static;
 * may be NULL). */
int rr_raw_node_new(const struct rr_config *config, struct rr_raw_node **node, const char **reason);
void rr_raw_node_free(struct rr_raw_node *node);

void rr_raw_node_tick(struct rr_raw_node *node);
/* Only the election clock advances, and no election starts. */
void rr_raw_node_tick_quiesced(struct rr_raw_node *node);
int rr_raw_node_campaign(struct rr_raw_node *node);
/* One normal entry. `block` owns data (NULL: see rr_config.release). RR_E_PROPOSAL_DROPPED: not
 * appended. */
int rr_raw_node_propose(struct rr_raw_node *node, const uint8_t *data, uint32_t size,
                        struct rr_block *block);
/* One MsgProp with `count` entries, all appended or none. Term and index are assigned by the core;
 * wire_size, data and block are kept, so that entries encoded in advance (see struct rr_entry) stay
 * encoded; if term and index are set by the caller they must be those the core assigns. */
int rr_raw_node_propose_batch(struct rr_raw_node *node, const struct rr_entry *entries,
                              uint32_t count);
/* V1 if it is a v1 change, else V2; the core encodes it. */
int rr_raw_node_propose_conf_change(struct rr_raw_node *node, const struct rr_conf_change *change);
int rr_raw_node_propose_conf_change_v2(struct rr_raw_node *node,
                                       const struct rr_conf_change_v2 *change);
/* Would this change, if it were applied now, lead to a valid configuration? RR_E_CONF_REFUSED with
 * a static sentence in `*reason` (may be NULL). A change that does not, once committed, stops every
 * node that applies it. */
int rr_raw_node_check_conf_change_v2(const struct rr_raw_node *node,
                                     const struct rr_conf_change_v2 *change, const char **reason);
/* To be called for every committed conf change, in order. `*conf_state` may be NULL. */
void rr_raw_node_apply_conf_change_v2(struct rr_raw_node *node,
                                      const struct rr_conf_change_v2 *change,
                                      struct rr_conf_state *conf_state);
void rr_raw_node_apply_conf_change(struct rr_raw_node *node, const struct rr_conf_change *change,
                                   struct rr_conf_state *conf_state);
/* RR_E_STEP_LOCAL_MSG, RR_E_STEP_PEER_NOT_FOUND, or the role's answer (RR_E_PROPOSAL_DROPPED). */
int rr_raw_node_step(struct rr_raw_node *node, const struct rr_message *message);
/* The border: 0 if a message from a peer can be stepped without breaking a belief of the core
 * (which would assert), else RR_E_MALFORMED with a static sentence in `*reason` (may be NULL). To
 * be called before rr_raw_node_step for everything that comes from a network. */
int rr_raw_node_validate_message(const struct rr_raw_node *node, const struct rr_message *message,
                                 const char **reason);

bool rr_raw_node_has_ready(const struct rr_raw_node *node);
void rr_raw_node_ready(struct rr_raw_node *node, struct rr_ready *ready);
void rr_raw_node_advance(struct rr_raw_node *node); /* not in async mode */

void rr_raw_node_report_unreachable(struct rr_raw_node *node, uint64_t id);
void rr_raw_node_report_snapshot(struct rr_raw_node *node, uint64_t id, bool failed);
void rr_raw_node_transfer_leader(struct rr_raw_node *node, uint64_t transferee);
int rr_raw_node_forget_leader(struct rr_raw_node *node);
void rr_raw_node_read_index(struct rr_raw_node *node, const uint8_t *context, uint32_t size);
struct rr_peer {
    uint64_t id;
    const uint8_t *context;
    uint32_t context_size;
};
int rr_raw_node_bootstrap(struct rr_raw_node *node, const struct rr_peer *peers, uint32_t count,
                          const char **reason);

/* Beyond the reference: follower at the own term without a leader (thesis 6.2's step-down, on
 * demand). */
void rr_raw_node_step_down(struct rr_raw_node *node);
/* Storage that answered RR_E_PENDING for entries in [from, to) now has them. */
void rr_raw_node_storage_ready(struct rr_raw_node *node, uint64_t from, uint64_t to);

/* ---- status -------------------------------------------------------------- */

enum rr_progress_state {
    RR_PROGRESS_PROBE = 0,
    RR_PROGRESS_REPLICATE = 1,
    RR_PROGRESS_SNAPSHOT = 2
};

/* The cheap part: plain reads, no allocation. */
struct rr_basic_status {
    uint64_t id;
    struct rr_hard_state hard_state;
    struct rr_soft_state soft_state;
    uint64_t applied;
    uint64_t lead_transferee;
    uint64_t last_index; /* beyond the reference */
    uint64_t
        uncommitted_size; /* beyond the reference: payload bytes proposed and not yet applied */
};
void rr_raw_node_basic_status(const struct rr_raw_node *node, struct rr_basic_status *status);

struct rr_progress_status {
    uint64_t id;
    uint64_t match;
    uint64_t next;
    uint64_t pending_snapshot;
    uint64_t inflight_bytes;
    uint32_t inflight_count;
    uint32_t inflight_cap;
    uint8_t state; /* enum rr_progress_state */
    bool is_learner;
    bool recent_active;
    bool is_paused;
    bool is_inflight_full;
};
/* The leader's view of each peer, ascending ids; returns how many there are (may exceed `cap`), 0
 * on others. */
uint32_t rr_raw_node_progress(const struct rr_raw_node *node, struct rr_progress_status *out,
                              uint32_t cap);

/* ---- memory storage ------------------------------------------------------ */

struct rr_memory_storage;
struct rr_memory_storage *rr_memory_storage_new(const struct rr_allocator *allocator);
void rr_memory_storage_free(struct rr_memory_storage *storage);
struct rr_storage rr_memory_storage_interface(struct rr_memory_storage *storage);
void rr_memory_storage_set_hard_state(struct rr_memory_storage *storage,
                                      const struct rr_hard_state *hard_state);
int rr_memory_storage_append(struct rr_memory_storage *storage, const struct rr_entry *entries,
                             uint32_t count);
int rr_memory_storage_apply_snapshot(struct rr_memory_storage *storage,
                                     const struct rr_snapshot *snapshot);
int rr_memory_storage_create_snapshot(struct rr_memory_storage *storage, uint64_t index,
                                      const struct rr_conf_state *conf_state, const uint8_t *data,
                                      size_t size, const struct rr_snapshot **out);
int rr_memory_storage_compact(struct rr_memory_storage *storage, uint64_t index);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif
#endif
