/* SPDX-License-Identifier: Apache-2.0
 *
 * The core behind a lock: a raw node (ringraft/raft.h) that any number of threads may call, for
 * those who bring their own storage and transport and do not want to do the locking themselves.
 *
 *      any thread                                       the consumer, one thread
 *      ----------                                       ------------------------
 *      tick, step, campaign, propose,    --> node -->   poll(rr_node_ready_fd)
 *      read_index, transfer_leader,                     rr_node_ready: store, send, apply what
 *      report_*, status, cancel                         it says; rr_node_advance
 *                                                       rr_node_take_outcomes
 *
 * Nothing here waits for an event; calls wait for each other only as long as one of them is inside
 * the core. All that is given (payloads, messages, snapshots, contexts) is copied before the call
 * returns, and blocks of given entries are not touched. There is no thread in a node: the caller's
 * calls do the work.
 *
 * The config's callbacks (storage, log, allocator, jitter) run inside calls of any thread, one at a
 * time, and must not call the node, except rr_node_tick. A storage that the consumer changes while
 * others call is to be changed between rr_node_lock and rr_node_unlock, and so are the reference
 * counts of blocks that a Ready handed out (rr_memory_storage_append counts them).
 *
 * After rr_node_stop every call returns RR_E_STOPPED, unless it says otherwise.
 */
#ifndef RINGRAFT_NODE_H
#define RINGRAFT_NODE_H

#include <ringraft/raft.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What this header declares is what the library exports; all else is hidden. */
#pragma GCC visibility push(default)

struct rr_node;

/* ---- life ---------------------------------------------------------------- */

struct rr_node_options {
    size_t size;                    /* sizeof(struct rr_node_options) of the caller */
    const struct rr_config *config; /* copied; its `release` must be NULL: a node copies */
    /* The first members of a new group, the same on each of them (rr_raw_node_bootstrap). None: a
     * restart from what the storage holds, or a node that will be added. */
    const struct rr_peer *peers;
    uint32_t peer_count;
    uint32_t proposals_max;      /* waiting, or with an outcome not yet taken; 0: 1024 */
    uint64_t proposal_bytes_max; /* payload bytes of waiting proposals; 0: 16 MiB */
};

/* RR_E_INVALID with a static sentence in `*reason` (may be NULL); RR_E_IO: no file descriptor is
 * left. */
int rr_node_new(const struct rr_node_options *options, struct rr_node **node, const char **reason);
/* Any thread, any number of times. Waiting proposals get the outcome RR_E_STOPPED. What the last
 * Ready handed out stays valid. */
void rr_node_stop(struct rr_node *node);
/* No other call is running or follows. NULL is allowed. The storage stays the caller's. */
void rr_node_free(struct rr_node *node);

/* ---- requests: any thread ------------------------------------------------ */

/* Never waits. While another call is inside the core up to 128 ticks are kept and delivered when
 * that call ends; one more is lost, which is counted and logged. Nothing after stop. */
void rr_node_tick(struct rr_node *node);
int rr_node_campaign(struct rr_node *node);

/* How a proposal waits while there is no leader. */
struct rr_node_wait {
    uint64_t tag;   /* comes back in the outcome; for rr_node_cancel */
    uint32_t ticks; /* it waits at most so many; 0: until there is a leader */
};

/* One entry; `data` NULL is an entry without data. The node takes a proposal as long as it knows a
 * leader, and while it has removed itself (see rr_node_apply_conf_change) not before it learns of
 * another one.
 *
 * `wait` NULL: 0 says that it is in the leader's log, or on its way there if this node follows;
 * RR_E_PROPOSAL_DROPPED that it is not, now.
 * `wait` given: 0 says that exactly one outcome with the tag follows, soon or when there is a
 * leader. An error says that none does: RR_E_BUSY (proposals_max or proposal_bytes_max is reached:
 * try again after outcomes were taken), RR_E_TOO_LARGE (it alone exceeds proposal_bytes_max).
 *
 * That a proposal was taken is no promise that it will be committed: see what is to be applied. */
int rr_node_propose(struct rr_node *node, const uint8_t *data, uint32_t size,
                    const struct rr_node_wait *wait);
/* The same for a conf change; RR_E_CONF_REFUSED as result or outcome if this node leads and the
 * change would, if applied, lead to no valid configuration. */
int rr_node_propose_conf_change(struct rr_node *node, const struct rr_conf_change *change,
                                const struct rr_node_wait *wait);
int rr_node_propose_conf_change_v2(struct rr_node *node, const struct rr_conf_change_v2 *change,
                                   const struct rr_node_wait *wait);
/* The waiting proposals with this tag get the outcome RR_E_CANCELED. RR_E_NOT_FOUND: none waits; it
 * has its outcome, or never was. */
int rr_node_cancel(struct rr_node *node, uint64_t tag);

/* A message from the network. 0 also for those that are dropped silently, as the reference does:
 * types that only a node sends to itself, and responses of nodes that are not members.
 * RR_E_MALFORMED: refused by rr_raw_node_validate_message. A forwarded proposal does not wait:
 * RR_E_PROPOSAL_DROPPED. */
int rr_node_step(struct rr_node *node, const struct rr_message *message);

int rr_node_transfer_leader(struct rr_node *node, uint64_t transferee);
/* The answer is a read state with this context in a Ready. Without a leader there is none: ask
 * again. */
int rr_node_read_index(struct rr_node *node, const uint8_t *context, uint32_t size);
int rr_node_forget_leader(struct rr_node *node);
int rr_node_report_unreachable(struct rr_node *node, uint64_t id);
int rr_node_report_snapshot(struct rr_node *node, uint64_t id, bool failed);

struct rr_node_status {
    struct rr_basic_status basic;
    uint64_t ticks_missed;  /* since the node was made */
    uint64_t waiting_bytes; /* payload bytes of waiting proposals */
    uint32_t waiting_count; /* proposals that wait for a leader */
    uint32_t outcome_count; /* outcomes not yet taken */
    bool is_ready_out;      /* a Ready was taken and waits for rr_node_advance */
    bool is_removed;        /* removed itself: proposals wait for another leader */
};
int rr_node_status(struct rr_node *node, struct rr_node_status *status);
/* `*count`: as rr_raw_node_progress returns. */
int rr_node_progress(struct rr_node *node, struct rr_progress_status *out, uint32_t cap,
                     uint32_t *count);

/* ---- outcomes of waiting proposals: any thread, also after stop ---------- */

struct rr_node_outcome {
    uint64_t tag;
    /* 0: taken, as above. Certainly not in the log: RR_E_PROPOSAL_DROPPED (refused by the core, or
     * its ticks are over), RR_E_CONF_REFUSED, RR_E_CANCELED, RR_E_STOPPED. */
    int32_t status;
};
/* Moves at most `cap` outcomes out, oldest first; returns how many. */
uint32_t rr_node_take_outcomes(struct rr_node *node, struct rr_node_outcome *out, uint32_t cap);

/* ---- the consumer: one thread -------------------------------------------- */

/* Readable as long as a Ready can be taken, an outcome can be taken, or the node is stopped; for
 * poll, select, epoll (level-triggered) and io_uring. It belongs to the node: not to be read,
 * written or closed. Any thread, any time. */
int rr_node_ready_fd(const struct rr_node *node);
/* Takes a Ready. RR_E_NOT_FOUND: none waits (one that is out has to be advanced first). What it
 * hands out is valid until rr_node_advance; in asynchronous mode until the next Ready is taken, so
 * what storage threads still work with then is to be copied. */
int rr_node_ready(struct rr_node *node, struct rr_ready *ready);
/* All that the Ready says was done. RR_E_INVALID: none is out, or this is asynchronous mode. */
int rr_node_advance(struct rr_node *node);
/* Asynchronous mode: a response, addressed to this node, of a storage message that is done; in
 * order. Those to other nodes are for the transport. RR_E_INVALID: not such a response. */
int rr_node_step_storage(struct rr_node *node, const struct rr_message *response);
/* For every committed conf change, in order, between Ready and Advance. `*conf_state` (may be NULL)
 * is valid until the next such call. When the change removes this node, proposals are no longer
 * taken until the leader changes. */
int rr_node_apply_conf_change(struct rr_node *node, const struct rr_conf_change *change,
                              struct rr_conf_state *conf_state);
int rr_node_apply_conf_change_v2(struct rr_node *node, const struct rr_conf_change_v2 *change,
                                 struct rr_conf_state *conf_state);

/* Between these two no callback runs on another thread, so the storage may be changed and blocks
 * may be counted; the calls of other threads wait, so disks and networks do not belong here. No
 * other call into the node but rr_node_tick. Any thread, also after stop. */
void rr_node_lock(struct rr_node *node);
void rr_node_unlock(struct rr_node *node);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif
#endif
