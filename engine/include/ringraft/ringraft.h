/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine: link it, give it a state machine, propose bytes; every write is durable on a quorum
 * before it is acknowledged.
 *
 * Who may call what, and whether it waits:
 *
 *      any thread, callbacks too, never waits      rr_propose, rr_propose_batch, rr_cancel,
 *                                                  rr_read_index, rr_read_stale, rr_conf_change,
 *                                                  rr_transfer_leadership, rr_snapshot, rr_backup,
 *                                                  rr_group_status, rr_engine_health, rr_loop_fd
 *      any thread but a callback's, waits          rr_group_close, rr_group_remove,
 *      (RR_E_WRONG_THREAD there)                   rr_engine_close
 *      any thread but a callback's, disk work      rr_engine_open, rr_group_open,
 *      on the caller                               rr_force_new_cluster
 *      the thread that owns an embedded loop       rr_loop_turn, and there the closing calls
 *
 * Callbacks: on_complete and the state machine come from the group's apply thread (the loop for
 * inline groups), one after the other; a snapshot may be read from another thread; on_event and log
 * come from the loop. A handle is good until rr_engine_close or rr_group_remove returns; calls on a
 * closed group answer RR_E_CLOSED.
 *
 * What a call that was accepted (0) may say in its one completion, and what is true then:
 *
 *      call               it is so   it is certainly not so              nobody can say
 *      rr_propose         RR_OK      NOT_LEADER BUSY CLOSED TOO_LARGE    UNKNOWN_OUTCOME
 *                                    CANCELED DEADLINE
 *      rr_read_index      RR_OK      NOT_LEADER DEADLINE CLOSED          - (ask again)
 *      rr_conf_change     RR_OK      NOT_LEADER CONF_IN_FLIGHT LAGGING   UNKNOWN_OUTCOME
 *                                    CONF_REFUSED BUSY CLOSED
 *      rr_transfer_…      RR_OK      NOT_LEADER NOT_VOTER BUSY           DEADLINE CLOSED
 *      rr_snapshot        RR_OK      STATE_MACHINE NO_SPACE IO           CLOSED
 *                                    SNAPSHOT_TEMPORARILY_UNAVAILABLE
 *      rr_backup          RR_OK      the same, NOT_EMPTY CORRUPT         CLOSED
 *
 * A call that was refused (negative) did nothing and has no completion: RR_E_BUSY (a bounded queue
 * is full: try again later), RR_E_CLOSED, RR_E_INVALID, RR_E_TOO_LARGE, RR_E_NO_MEMORY.
 *
 * Misuse has an answer of its own, at once or as the completion:
 *
 *      a group that the directory does not hold             RR_E_NOT_FOUND (rr_group_remove)
 *      a group id that is open already, or one of 0         RR_E_INVALID (rr_group_open, _remove)
 *      a second change of members while one is in flight    RR_E_CONF_IN_FLIGHT
 *      promotion of a learner that is behind or away        RR_E_LAGGING
 *      a change that says what is so, or cannot be          RR_E_CONF_REFUSED
 *      transfer of leadership to a learner or a stranger    RR_E_NOT_VOTER
 *      anything that only a leader can do, elsewhere        RR_E_NOT_LEADER
 *      a proposal above entry_bytes_max                     RR_E_TOO_LARGE
 *      any call on a closed or stopped group                RR_E_CLOSED
 *      a call that waits, from a callback; a loop's turn    RR_E_WRONG_THREAD
 *      by another thread than its own
 *      an option, size or argument that cannot work         RR_E_INVALID, and a sentence
 */
#ifndef RINGRAFT_RINGRAFT_H
#define RINGRAFT_RINGRAFT_H

#include <ringraft/error.h>
#include <ringraft/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What this header declares is what the library exports; all else is hidden. */
#pragma GCC visibility push(default)

struct rr_engine;
struct rr_group;

/* ---- state machine --------------------------------------------------------- */

/* One committed user entry: the bytes that were proposed. Valid during the call. */
struct rr_apply_entry {
    const uint8_t *data;
    uint32_t size;
    uint64_t index;
    uint64_t term;
};

struct rr_state_machine {
    size_t size; /* sizeof(struct rr_state_machine) */
    void *ctx;
    /* Called first, once per rr_group_open, on the thread that opens the group; so are the snapshot
     * and restore functions as far as opening needs them. Afterwards all calls come from the apply
     * thread (the loop for inline groups), but for snapshot_read and snapshot_end. `*applied`: the
     * last applied index; a durable state machine resumes where it was, a volatile one says 0. */
    int (*open)(void *ctx, uint64_t *applied);
    /* In order, never skipped. results[i] is handed to the proposer's completion. Nonzero stops the
     * group. */
    int (*apply)(void *ctx, const struct rr_apply_entry *entries, uint32_t count,
                 uint64_t *results);
    /* begin fixes a point in time; read gives up to `cap` bytes of what held then, *size 0 at the
     * end. read and end come from another thread, while entries are being applied; after a read
     * that failed, or without any, comes end. One at a time; none is open during a restore. */
    int (*snapshot_begin)(void *ctx, void **snapshot);
    int (*snapshot_read)(void *ctx, void *snapshot, uint8_t *buf, size_t cap, size_t *size);
    void (*snapshot_end)(void *ctx, void *snapshot);
    /* The bytes of a snapshot, in pieces. All or nothing: only restore_end(complete) makes them
     * count. Repeatable. Of an inline group a large one comes from another thread than the loop,
     * and nothing else is called meanwhile. */
    int (*restore_begin)(void *ctx, void **restore);
    int (*restore_write)(void *ctx, void *restore, const uint8_t *buf, size_t size);
    int (*restore_end)(void *ctx, void *restore, bool complete);
    /* Optional, but for hash_entries: of the whole state, equal wherever the same entries were
     * applied. */
    uint64_t (*hash)(void *ctx);
};

/* ---- completions --------------------------------------------------------- */

/* Which call a completion answers. */
enum rr_completion_kind {
    RR_COMPLETION_PROPOSAL = 0,
    RR_COMPLETION_READ = 1,
    RR_COMPLETION_CONF_CHANGE = 2,
    RR_COMPLETION_TRANSFER = 3,
    RR_COMPLETION_SNAPSHOT = 4,
};

/* One per accepted call; what its status means stands at the call. Of a proposal: RR_OK (committed,
 * durable on a quorum, applied; result is the state machine's); certainly not in the log:
 * RR_E_NOT_LEADER, RR_E_BUSY, RR_E_CLOSED, RR_E_TOO_LARGE, RR_E_CANCELED, RR_E_DEADLINE; perhaps:
 * RR_E_UNKNOWN_OUTCOME. */
struct rr_completion {
    uint64_t tag;
    int32_t status;
    uint32_t kind; /* enum rr_completion_kind */
    uint64_t index;
    uint64_t term;
    uint64_t result;
};

/* ---- engine -------------------------------------------------------------- */

struct rr_peer_address {
    uint64_t node;
    const char *address; /* "127.0.0.1:7001" */
};

enum rr_create_mode {
    RR_CREATE_NEVER = 0, /* the directory must hold a node */
    RR_CREATE_BOOTSTRAP =
        1, /* an empty directory becomes an initial voter; a used one is opened as it is */
    RR_CREATE_JOIN = 2, /* an empty directory waits for its first snapshot */
};

enum rr_backend { RR_BACKEND_AUTO = 0, RR_BACKEND_URING = 1, RR_BACKEND_POSIX = 2 };

/* What an application may want to know without asking. Fields that say nothing are 0. */
enum rr_event_kind {
    /* The group is led by `node` in `term`, as far as this node knows; node 0: by nobody. */
    RR_EVENT_LEADER = 1,
    /* A change of members, at `index`, is in effect here: see the status. */
    RR_EVENT_CONFIGURATION = 2,
    /* A snapshot of the group, of `index` and so many `bytes`: see snapshot_step. status: 0, or why
     * not, and then nothing of it counts. */
    RR_EVENT_SNAPSHOT = 3,
    /* The disk of the log. status: RR_E_STALLED, RR_E_NO_SPACE (leaders hand over; ends by itself:
     * 0), RR_E_POISONED (ends with the process). */
    RR_EVENT_DISK = 4,
    /* The state machine of `node` differs at `index` from the leader's, or (on that node itself)
     * from a majority's: then it has stopped there. */
    RR_EVENT_DIVERGENCE = 5,
    /* `node`, this one, was removed from the group (status RR_E_REMOVED) and goes quiet. */
    RR_EVENT_REMOVED = 6,
};

enum rr_snapshot_step {
    /* Taken on this node; while it fails for one reason it is told once. */
    RR_SNAPSHOT_TAKEN = 1,
    /* Sent to `node`, which has given it to its core; a small one: handed to the connection. */
    RR_SNAPSHOT_SENT = 2,
    /* Received from `node`, and what was received did not become a whole file here. */
    RR_SNAPSHOT_RECEIVED = 3,
    /* The state machine has become it. */
    RR_SNAPSHOT_INSTALLED = 4,
    /* The file of the newest one is damaged; another is taken in its place. */
    RR_SNAPSHOT_LOST = 5,
};

struct rr_event {
    size_t size;
    enum rr_event_kind kind;
    uint64_t group, node, term, index;
    int32_t status;         /* an enum rr_err where something is wrong, or 0 */
    const char *text;       /* a sentence for humans, valid during the call; may be NULL */
    uint64_t bytes;         /* of a snapshot, as it lies in the file */
    uint32_t snapshot_step; /* enum rr_snapshot_step */
};

/* Zero means the default (engine/config.c has the table). */
struct rr_engine_options {
    size_t size;
    const char *dir;
    const char *listen; /* "127.0.0.1:7001" */
    uint64_t cluster_id;
    uint64_t node_id;
    enum rr_create_mode create;
    enum rr_backend backend;
    bool insecure; /* addresses off loopback, without TLS */
    uint64_t segment_bytes;
    uint64_t wal_bytes_max;
    uint32_t wal_write_bytes_max;
    uint32_t mark_delay_ms;
    uint32_t entry_bytes_max;
    uint32_t frame_bytes_max;
    uint64_t log_cache_bytes;
    uint32_t peer_queue_bytes_max;
    void (*log)(void *ctx, int level, const char *line); /* rare lines for humans; NULL: silent */
    void *log_ctx;
    /* Comes on the loop's thread and holds it: it must not block; it may call whatever never waits.
     * NULL: nobody listens. */
    void (*on_event)(void *ctx, const struct rr_event *event);
    void *event_ctx;
    const char *advertise; /* where other nodes dial this one, if not at `listen`; NULL: there */
    bool embedded;         /* no thread of its own: see rr_loop_turn */
    /* All that grows with load stays within this: log, transport and snapshots have fixed parts of
     * it (rr_group_status.memory), groups share the rest; one that does not fit is not opened. */
    uint64_t memory_bytes_max;
    /* Snapshots that lie in files, on their way to other nodes: of all of them together, and how
     * many at a time; the others wait. */
    uint64_t snapshot_send_bytes_per_second;
    uint32_t snapshot_sends_max;
};

int rr_engine_open(const struct rr_engine_options *options, struct rr_engine **engine,
                   struct rr_error *error);

enum rr_close_mode {
    RR_CLOSE_DRAIN =
        0, /* accepted proposals get their real outcome first (bounded by two election timeouts) */
    RR_CLOSE_ABORT = 1, /* at once; appended and uncommitted proposals get RR_E_UNKNOWN_OUTCOME */
};
/* Every outstanding completion has been called when this returns, and every handle of a group is
 * gone. RR_E_WRONG_THREAD: from a callback; nothing happened. RR_E_POISONED: closed, but a durable
 * write had failed. */
int rr_engine_close(struct rr_engine *engine, enum rr_close_mode mode);

/* One cause, the one that matters most, and what to do about it. */
struct rr_health {
    size_t size;
    /* 0: well. The disk: RR_E_POISONED, RR_E_STALLED, RR_E_NO_SPACE. A group that stopped:
     * RR_E_STATE_MACHINE, RR_E_DIVERGED, RR_E_REMOVED, RR_E_CORRUPT, RR_E_INSTANCE… A group that
     * heard of no leader for more than three election timeouts: RR_E_QUORUM_LOST. One whose
     * snapshot is damaged or cannot be taken: RR_E_SNAPSHOT_TEMPORARILY_UNAVAILABLE; that leads a
     * member whose build cannot receive the snapshot that it needs: RR_E_NOT_SUPPORTED. */
    int32_t status;
    uint64_t group; /* whose it is; 0: the node's */
    char text[248];
};
/* Any thread; never waits; as of a recent tick. RR_E_INVALID: health->size. */
int rr_engine_health(struct rr_engine *engine, struct rr_health *health);

/* ---- embedded loop ------------------------------------------------------- */

/* With options.embedded the engine's loop runs inside the application's: a descriptor for its poll,
 * epoll or select, readable whenever a turn is due, be it by the disk, the network, the clock or a
 * call of another thread. The engine's; RR_E_INVALID: the loop has a thread of its own. */
int rr_loop_fd(struct rr_engine *engine);
/* One turn, after waiting for at most so long that one is due (UINT32_MAX: for ever). The thread of
 * the first call owns the loop: callbacks come from it, and it alone may turn it, close it, and
 * close or remove its groups, which turn it until they are done. RR_E_WRONG_THREAD: another's, or
 * called from a callback; RR_E_INVALID; RR_E_IO: the loop cannot begin on this thread. */
int rr_loop_turn(struct rr_engine *engine, uint32_t timeout_ms);

/* ---- group --------------------------------------------------------------- */

struct rr_group_options {
    size_t size;
    uint64_t group_id; /* 1 is as good as any */
    /* BOOTSTRAP: the initial voters, this node included, and where they listen; identical on each.
     * JOIN: whom to tell that this node is there; one voter will do, or nobody: who adds it dials
     * it. A directory that was used before knows its members itself; an address that is given here
     * for one of them stands above the one that it knows, so that a cluster can move. */
    const struct rr_peer_address *peers;
    uint32_t peer_count;
    uint32_t tick_ms;
    uint32_t heartbeat_ticks;
    uint32_t election_ticks;
    uint64_t max_size_per_msg;
    uint32_t max_inflight_msgs;
    uint64_t max_inflight_bytes;
    uint64_t max_uncommitted_bytes;
    uint64_t max_committed_bytes_per_ready;
    uint32_t batch_wait_max_us;
    uint32_t proposal_queue_entries;
    uint64_t proposal_queue_bytes;
    uint32_t read_queue_entries; /* reads that may wait */
    /* A proposal that has no outcome after so long is given RR_E_DEADLINE while it is queued, and
     * RR_E_UNKNOWN_OUTCOME once it is in the log; late by at most a tick and a thirty-second part.
     * 0: never. */
    uint32_t proposal_timeout_ms;
    uint64_t apply_backlog_bytes;
    uint64_t snapshot_log_bytes; /* take a snapshot after so many padded bytes … */
    uint64_t snapshot_entries;   /* … or entries; 0: only by bytes */
    /* With BOOTSTRAP, of a group that the directory does not hold yet: the first state is that of
     * this file, which rr_backup wrote, its index and term included; the members are `peers`. Every
     * initial voter is opened with the same file. */
    const char *restore_from;
    uint64_t trailing_entries; /* kept of the log before a snapshot, for who is behind; 0: the
                                    last quarter of what was logged for it */
    bool apply_inline;         /* the state machine is cheap: apply on the loop */
    /* A leader that a quorum confirmed answers the reads of the next half election timeout without
     * asking again. Sound only if no voter's monotonic clock runs as much as twice as fast as
     * another's, and if every node of the group is opened with it: a node then grants no vote for
     * an election timeout after its start. A leader that was stopped asks again. Off: reads trust
     * no clock. */
    bool lease_reads;
    /* The state machines are compared by their hashes behind every so many entries, the same
     * everywhere; one that differs from a majority of the voters stops with RR_E_DIVERGED, an
     * alarm is raised in any case (RR_EVENT_DIVERGENCE). 0: never. */
    uint64_t hash_entries;
    void (*on_complete)(void *ctx, const struct rr_completion *completions, uint32_t count);
    void *ctx;
};

int rr_group_open(struct rr_engine *engine, const struct rr_group_options *options,
                  const struct rr_state_machine *state_machine, struct rr_group **group,
                  struct rr_error *error);

/* Ends the group on this node while the engine goes on; the directory keeps it, and it may be
 * opened again. Waits until every outstanding completion has been called: with RR_CLOSE_DRAIN their
 * real outcomes, for at most two election timeouts. A disk that takes nothing is waited for as long
 * again; the group then opens again only when the engine does (RR_E_STALLED). Afterwards the handle
 * answers RR_E_CLOSED until the group is opened again or removed. Any thread; RR_E_WRONG_THREAD:
 * from a callback; RR_E_CLOSED: it is. */
int rr_group_close(struct rr_group *group, enum rr_close_mode mode);

/* Deletes a group that is not open, its log and its state, from this node's directory; durable when
 * it returns 0, and its handle is gone. The configuration of the group is not touched: remove the
 * node from it first. A node that opens a removed group again comes as one that has forgotten its
 * votes: only after the others have removed it, or the group, may it do so. Any thread;
 * RR_E_WRONG_THREAD: from a callback; RR_E_NOT_FOUND: the directory does not hold it; RR_E_INVALID:
 * it is open; RR_E_POISONED. */
int rr_group_remove(struct rr_engine *engine, uint64_t group_id, struct rr_error *error);

/* Any thread; never waits. Copies the bytes. Negative: refused, certainly not in the log, no
 * completion follows (RR_E_BUSY: queue full; RR_E_TOO_LARGE; RR_E_CLOSED). 0: exactly one
 * completion. May be called from on_complete. */
int rr_propose(struct rr_group *group, const void *data, uint32_t size, uint64_t tag);

struct rr_proposal {
    const void *data;
    uint32_t size;
    uint64_t tag;
};
/* How many of the items, from the first on, were accepted (each gets one completion); negative if
 * none was. */
int rr_propose_batch(struct rr_group *group, const struct rr_proposal *items, uint32_t count);

/* Any thread; never waits. Gives up waiting for the oldest outstanding proposal with this tag: it
 * is completed at once with RR_E_CANCELED if it was still queued (it will not be in the log), with
 * RR_E_UNKNOWN_OUTCOME if it was in the log already (it may still be committed and applied). If its
 * completion was under way nothing happens; it comes once in any case. Negative: RR_E_CLOSED,
 * RR_E_NO_MEMORY; nothing happened. */
int rr_cancel(struct rr_group *group, uint64_t tag);

/* Any thread; never waits; leader or follower. A linearizable read: nothing is logged. 0: exactly
 * one completion of kind RR_COMPLETION_READ. RR_OK: everything that was acknowledged anywhere
 * before this call is applied here, up to `index` at least: look into the state machine now, from
 * the completion or later. RR_E_NOT_LEADER: no leader is known, or it changed; RR_E_DEADLINE:
 * timeout_ms passed (0: two election timeouts; exact to a tick); RR_E_CLOSED. A read that failed
 * has changed nothing: ask again. Negative: RR_E_BUSY (read_queue_entries wait), RR_E_CLOSED; no
 * completion follows. */
int rr_read_index(struct rr_group *group, uint64_t tag, uint32_t timeout_ms);

/* Any thread; never waits; leader or follower. 0: everything that was acknowledged anywhere until
 * staleness_max_ms before this call is applied here, up to `*applied` at least (may be NULL). The
 * bound is exact: its beginning is taken on this node's monotonic clock before a quorum is asked.
 * RR_E_STALE: it cannot be promised, because no leader answers, this node is behind, or nobody
 * asked for a while: for ten seconds after a call the node asks its leader once in a heartbeat
 * interval, so a bound of less than about two such intervals is seldom met. RR_E_CLOSED. */
int rr_read_stale(struct rr_group *group, uint32_t staleness_max_ms, uint64_t *applied);

/* ---- membership ---------------------------------------------------------- */

enum rr_member_change_kind {
    RR_MEMBER_ADD = 1,         /* a new node becomes a voter */
    RR_MEMBER_ADD_LEARNER = 2, /* a new node receives the log and does not vote */
    RR_MEMBER_PROMOTE = 3,     /* a learner becomes a voter */
    RR_MEMBER_REMOVE = 4,      /* a voter or learner leaves; its id is never used again */
    RR_MEMBER_REPLACE = 5, /* `replaced` leaves and `node` votes instead, in one joint change: a new
                              node, or a learner */
};

struct rr_member_change {
    size_t size; /* sizeof(struct rr_member_change) */
    enum rr_member_change_kind kind;
    uint64_t node;
    const char *address; /* of a new node: where it listens, "127.0.0.1:7004"; else NULL */
    uint64_t replaced;
};

/* Any thread; never waits. Asks the leader to change who is a member; one change at a time. A new
 * node is opened with RR_CREATE_JOIN, before or after.
 *
 * Negative: refused, nothing is in the log, no completion follows, `error` (may be NULL) says why
 * (RR_E_INVALID, RR_E_BAD_ADDRESS, RR_E_CLOSED). 0: exactly one completion:
 *
 *   RR_OK                 in effect here: committed and applied; of a replacement, that the
 *                         replaced node is out as well
 *   RR_E_NOT_LEADER       this node does not lead
 *   RR_E_CONF_IN_FLIGHT   an earlier change is not in effect yet, or this leader is too new to know
 *   RR_E_CONF_REFUSED     it makes no sense (unknown node, already a member, an id that was
 *                         removed, the last voter…), or a member runs a build that cannot follow
 *                         it; the log line says why
 *   RR_E_LAGGING          the learner is not active or lacks more than 4096 committed entries
 *   RR_E_BUSY             leadership is being transferred, or the log takes no proposals
 *   RR_E_CLOSED           the group or engine is being closed, or has stopped
 *   RR_E_UNKNOWN_OUTCOME  leadership was lost, or the engine closed, between append and effect
 *
 * All but RR_OK and the last say that it is certainly not in effect and never will be. */
int rr_conf_change(struct rr_group *group, const struct rr_member_change *change, uint64_t tag,
                   struct rr_error *error);

/* ---- a lost quorum ------------------------------------------------------- */

struct rr_force_options {
    size_t size; /* sizeof(struct rr_force_options) */
    const char *dir;
    uint64_t cluster_id; /* as it is */
    uint64_t new_cluster_id;
    uint64_t node_id;
};

/* The last resort, when a majority of the voters is lost for good: no process has the directory
 * open, and afterwards it holds the only voter of a new cluster. All that is in its log counts from
 * then on, committed before or not; what only the lost nodes had is gone. Which survivor to take,
 * and what to do with the others: docs/LOST_QUORUM.md. Durable when it returns 0. After a failure
 * or a crash the node leads nobody until it is forced (again). RR_E_INVALID, RR_E_LOCKED,
 * RR_E_IDENTITY (another node or cluster), RR_E_REMOVED, and what opening an engine says. */
int rr_force_new_cluster(const struct rr_force_options *options, struct rr_error *error);

/* ---- snapshots ----------------------------------------------------------- */

/* Any thread; never waits. A snapshot now, whatever the policy says. 0: exactly one completion of
 * kind RR_COMPLETION_SNAPSHOT. RR_OK: there is a durable one, of `index`, which holds everything
 * that was applied here when the call came. RR_E_STATE_MACHINE, RR_E_NO_SPACE, RR_E_IO: it could
 * not be taken; RR_E_SNAPSHOT_TEMPORARILY_UNAVAILABLE: this node waits to be joined, and has no
 * state yet; RR_E_CLOSED. Negative: RR_E_INVALID, RR_E_CLOSED, RR_E_NO_MEMORY; no completion
 * follows. */
int rr_snapshot(struct rr_group *group, uint64_t tag);
/* The same, and a copy of it lies at `path`, durable and whole. RR_E_NOT_EMPTY: something lies
 * there already; nothing is overwritten. RR_E_CORRUPT: the snapshot is damaged. After any failure
 * there is either no file or, after RR_E_CLOSED, perhaps a whole one. A new cluster is made of it
 * by rr_group_options.restore_from. */
int rr_backup(struct rr_group *group, const char *path, uint64_t tag);

/* ---- leadership ---------------------------------------------------------- */

/* Any thread; never waits. Asks the leader to hand over to the voter `to` within timeout_ms (0: an
 * election timeout; at most a minute). Until then it takes no proposals: they complete with
 * RR_E_BUSY, certainly not in the log; afterwards it serves on.
 *
 * Negative: refused, no completion follows (RR_E_INVALID, RR_E_CLOSED). 0: exactly one completion.
 * RR_OK: `to` leads. RR_E_NOT_LEADER: this node does not, or
 * another one than `to` does now. RR_E_NOT_VOTER: `to` is a learner or no member. RR_E_BUSY:
 * another transfer is under way. RR_E_DEADLINE: `to` did not take over in time. RR_E_CLOSED. */
int rr_transfer_leadership(struct rr_group *group, uint64_t to, uint32_t timeout_ms, uint64_t tag);

/* ---- status -------------------------------------------------------------- */

enum rr_member_role {
    RR_MEMBER_ROLE_VOTER = 1,
    RR_MEMBER_ROLE_LEARNER = 2,
    RR_MEMBER_ROLE_LEAVING = 3, /* votes until the joint configuration is left */
};

/* Any thread: a consistent picture as of the end of a recent turn. */
struct rr_group_status {
    size_t size;
    uint64_t node_id, group_id;
    uint64_t term, vote, commit, applied, last_index, first_index, lead;
    uint8_t role; /* enum rr_state of <ringraft/raft.h> */
    uint8_t voter_count;
    int32_t error; /* why the group or node stopped (RR_E_POISONED, RR_E_STATE_MACHINE…), or 0 */
    uint64_t snapshot_index;
    int32_t snapshot_error; /* why the last attempt to take a snapshot failed, or 0 */
    uint64_t durable_writes, entries_written, wal_bytes, wal_padded_bytes;
    uint64_t segments_recycled, segments_zeroed;
    uint64_t enter_count, wake_count, turn_count;
    uint64_t proposals_accepted, proposals_completed;
    uint64_t messages_sent, messages_received;
    struct {
        uint64_t node, match, next;
        uint8_t state; /* enum rr_progress_state */
        bool active, connected;
        int32_t refusal;  /* why the peer refuses this node or is refused, or 0 */
        uint8_t role;     /* enum rr_member_role */
        char address[23]; /* "": not known */
    } peers[31];          /* the members as of `applied`, this node included */
    uint32_t peer_count;
    bool durable_direct; /* O_DIRECT|DSYNC in use */
    bool ram_file_system;
    char backend[12];
    /* Of the engine, in bytes: how memory_bytes_max is cut up, and what is in use. */
    struct {
        uint64_t log, log_max;             /* blocks of the log: cache, writes, sends, apply */
        uint64_t transport, transport_max; /* blocks of frames, both ways */
        uint64_t groups, groups_max;       /* claimed by open groups: their queues when full */
        uint64_t snapshots_max;            /* windows of transfers */
    } memory;
    uint64_t cached_index;     /* entries from here on are in memory, older ones in the log only */
    uint64_t log_reads;        /* reads of old entries from the disk, of all groups */
    uint64_t log_memory_bytes; /* of all groups' entries; log_cache_bytes bounds it */
    uint64_t log_moved_bytes;  /* written again because an idle group kept old segments, ditto */
};
int rr_group_status(struct rr_group *group, struct rr_group_status *status);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif
#endif
