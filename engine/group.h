/* SPDX-License-Identifier: Apache-2.0
 *
 * One Raft group on its loop: the core, its log, and what lies between the core's Readys and the
 * world. Loop thread only, but for the proposal queue (any thread) and the status page (written by
 * the loop, read by any).
 *
 *      queue ──propose.c──▶ core ──pipeline.c──▶ WAL, transport, apply stage
 *                             ▲                  │
 *                             └── responses, held back until durable_seq covers them (pipeline.c)
 *
 * Failure path: group_stop, for a poisoned log or a failed state machine: the core steps down and
 * is not touched again, so that the node neither acks, votes nor campaigns; every outstanding
 * proposal gets its outcome.
 */
#ifndef RR_ENGINE_GROUP_H
#define RR_ENGINE_GROUP_H

#include "engine/apply.h"
#include "engine/deadlines.h"
#include "engine/engine_state.h"
#include "engine/leadership.h"
#include "engine/log_cache.h"
#include "engine/membership.h"
#include "engine/outcomes.h"
#include "engine/proposal_queue.h"
#include "engine/reads.h"
#include "engine/group_status.h"
#include "engine/hashes.h"
#include "engine/snapshot.h"

/* A response that the core wants delivered once what it vouches for is durable. */
struct held_response {
    uint64_t seq;                 /* deliverable when durable_seq reaches it */
    struct rr_message message;    /* no pointers, but for a MsgStorageAppendResp's snapshot … */
    struct rr_snapshot snapshot;  /* … this one: index and term are all the core looks at */
    struct log_snapshot *restore; /* a reference: it waits until the state machine became this */
    bool is_superseded;           /* a later ack of the same release says more */
    uint32_t small_count;         /* entries of a small write, to be moved to a shared block … */
    uint64_t small_first;         /* … from here on */
};

struct held_responses {
    struct held_response *ring;
    uint32_t cap; /* power of two */
    uint32_t head;
    uint32_t count;
};

#define GROUP_BATCH_MAX 2048u /* entries in one MsgProp */

/* What one group needs while it has its turn; the loop has one. */
struct group_scratch {
    struct rr_entry batch[GROUP_BATCH_MAX];
    uint64_t tags[GROUP_BATCH_MAX];
};

struct rr_group {
    struct rr_engine *engine;
    struct registry_entry *entry;
    struct command open_command;
    bool has_claim;              /* of the engine's memory */
    struct rr_group *shell;      /* until it is adopted: what was left of this group, to be freed */
    struct group_close *closing; /* NULL: nobody closes it */
    uint64_t close_deadline_ns;
    /* The loop's list of groups to be looked at. */
    struct rr_group *next_busy;
    bool is_busy;
    bool must_snapshot;              /* a new member waits for one that knows it */
    bool must_rewrite;               /* the WAL wants its state and tail written again … */
    bool is_large;                   /* … but it stopped, with more than can be written at once */
    struct rr_group_options options; /* resolved; peers are a copy of ours */
    struct rr_peer_address *peers;
    struct rr_raw_node *node; /* NULL: only a shell is left */
    struct log_cache log;
    struct apply apply;
    struct outcomes outcomes;
    struct hashes hashes;
    struct deadlines deadlines;
    bool has_canceled; /* of what is in the queue something may be canceled */
    struct held_responses held;
    struct status_page status;
    int error; /* why the group stopped, or 0 */

    /* What is staged in the WAL. */
    struct rr_hard_state staged; /* term and vote of the newest state; commit as last recorded */
    uint64_t staged_seq;         /* the write of this group's newest section */
    uint64_t placed_term; /* of this term, entries up to placed_last were encoded in place, */
    uint64_t placed_last; /* before their Ready */
    bool must_stage_first_state; /* the first state section is yet to be staged */

    /* Time. */
    uint64_t tick_ns;
    uint64_t last_tick_ns;
    uint64_t waiting_since_ns; /* the queue was not empty and could not be cut since; 0: not so */
    bool is_watched;           /* looked at in every turn: its queue may become worth a cut */
    bool is_blocked;           /* the queue is not empty, and more in it would not help to cut it */
    uint64_t refused_since_ns; /* entries are not admitted since; 0: they are */

    /* Soft state as last seen. */
    uint8_t role;           /* enum rr_state */
    uint64_t lead;          /* who leads; 0: nobody that this node knows, … */
    uint64_t leaderless_ns; /* … since then */
    uint64_t applied;       /* answered to the core */

    /* Snapshots. */
    struct rr_conf_state conf_state; /* as of `applied`; arrays in conf_ids */
    uint64_t conf_index;             /* where it last changed */
    uint64_t conf_ids[4 * CONFIG_PEERS_MAX];
    struct members members; /* as of `applied` */
    struct membership membership;
    struct leadership leadership;
    struct group_snapshots snapshots;

    /* Any thread. */
    _Atomic uint32_t calls;  /* of other threads, posted and not yet run */
    _Atomic(bool) is_called; /* stands in engine->called */
    struct rr_group *next_called;
    _Alignas(64) struct proposal_queue queue;
    struct reads reads;
};

/* The core's memory. */
extern const struct rr_allocator group_heap;

/* ---- group.c ------------------------------------------------------------- */

/* On the loop, once: peers are dialled, the first state is staged, time begins. */
void group_adopt(struct rr_engine *engine, struct command *command);
/* On the loop, when the apply stage is idle, or after the loop's end: its thread ends, what it
 * still had is told. */
void group_stop_worker(struct rr_group *group);
/* The loop's part of a group goes, but for its log; nothing runs. Loop thread. */
void group_fini_core(struct rr_group *group);
/* What threads share with the loop. */
void group_fini_shared(struct rr_group *group);
/* After the loop's end; or a shell. */
void group_free(struct rr_group *group);
/* One turn; returns when the next is due, ticks apart. */
uint64_t group_turn(struct rr_group *group, uint64_t now_ns);
/* Who leads, as the core says or because the group stops; observers hear of a change. */
void group_note_lead(struct rr_group *group, uint64_t lead, uint64_t term);
/* Fail-stop: see the head of this file. Halting is the same without a word about it. */
void group_stop(struct rr_group *group, int error);
void group_halt(struct rr_group *group, int error);
/* Every outcome that is still owed is given: proposals in the queue (`queued`), entries appended
 * (RR_E_UNKNOWN_OUTCOME). */
void group_fail_all(struct rr_group *group, int queued);
/* Has it nothing more to do before an event of its own? After group_may_sleep. */
bool group_rests(const struct rr_group *group);
/* Is no outcome owed that is not on its way? */
bool group_owes_nothing(const struct rr_group *group);
/* And nothing running? */
bool group_is_quiet(const struct rr_group *group);
/* Is the group, or the engine, about to be closed? */
static inline bool group_is_ending(const struct rr_group *group)
{
    return group->closing || group->engine->phase != ENGINE_RUNNING;
}
/* As long as an orderly end may take. */
uint64_t group_patience_ns(const struct rr_group *group);
void group_complete(struct rr_group *group, const struct rr_completion *completion);
/* The configuration as of `index`. */
void group_set_conf_state(struct rr_group *group, const struct rr_conf_state *conf_state,
                          uint64_t index);

/* ---- group_close.c ------------------------------------------------------- */

/* Any thread, for calls that are posted to the loop as commands: false: the group is closed. After
 * true one group_call_end on the loop, when the command was run: a group waits for them. */
bool group_call_begin(struct rr_group *group);
void group_call_end(struct rr_group *group);
/* A turn of a group that is being closed. True: it was; what is left of it is not the loop's. */
bool group_close_step(struct rr_group *group, uint64_t now_ns);
/* When that is to be called at the latest. */
uint64_t group_close_deadline(const struct rr_group *group, uint64_t now_ns);

/* ---- group_remove.c ------------------------------------------------------ */

/* Those who wait for a removal that became durable are told. In each turn. */
void engine_end_removals(struct rr_engine *engine);

/* ---- propose.c ----------------------------------------------------------- */

/* Cuts waiting proposals into the log when the log can take them. */
void group_propose(struct rr_group *group, uint64_t now_ns);
/* So many of the oldest proposals in the queue complete with `status`. */
void group_refuse_oldest(struct rr_group *group, uint32_t count, int status);
/* Every proposal in the queue does. */
void group_refuse_queued(struct rr_group *group, int status);
/* Before the loop sleeps: arms the queue's wake-up. False: there is work at once. */
bool group_may_sleep(struct rr_group *group);

/* ---- pipeline.c ---------------------------------------------------------- */

int held_init(struct held_responses *held);
void held_fini(struct held_responses *held);
/* Takes a Ready if there is one and starts everything it asks for. */
bool group_take_ready(struct rr_group *group);
/* The same, but only if the core holds something that the WAL has not seen. */
void group_take_ready_if_unstaged(struct rr_group *group);
/* Delivers the responses that became deliverable, in order. */
void group_release(struct rr_group *group);
/* A state section as of now, with this snapshot. */
int group_stage_state(struct rr_group *group);

/* ---- snapshot_*.c -------------------------------------------------------- */

/* Takes a snapshot when there is a reason to; finishes one that was taken; rewrites what hinders
 * recycling; has files removed that nothing refers to. */
void group_snapshot_policy(struct rr_group *group);
/* Writes the group's state and its whole log again, so that old segments can be recycled. False:
 * the log is too large for that, a snapshot has to come first. */
bool group_rewrite(struct rr_group *group);
/* The same for a log of any size of which no snapshot can be taken, over many turns, if it is time
 * to. */
void group_move_log(struct rr_group *group);
/* The entries before the newest snapshot are kept for slow followers as a courtesy: they go, or
 * will when the one that is being taken is there. False: there are none. */
bool group_drop_trail(struct rr_group *group);
/* The newest one cannot be read: a new one is wanted. */
bool snapshot_file_is_lost(const struct rr_group *group);
/* Has the state machine become what `snapshot` says? Starts that if it has not begun, behind
 * everything that the apply stage has; ask again. */
bool group_restore(struct rr_group *group, struct log_snapshot *snapshot);
/* To be called whenever `applied` moved: what a snapshot that is being taken says of the group is
 * said as of its index. */
void snapshot_capture(struct rr_group *group);
/* A MsgSnap goes out, and the core hears what became of it. */
void snapshot_send_message(struct rr_group *group, const struct rr_message *message);
/* A MsgSnap came and is about to be stepped: what it brings is kept until the core has decided, by
 * the end of the turn. RR_E_NO_MEMORY. */
int snapshot_arrives(struct rr_group *group, const struct rr_message *message,
                     const struct snapshot_offer *offer);
/* The core wants the one it accepted. */
struct log_snapshot *snapshot_take_arrived(struct rr_group *group,
                                           const struct rr_snapshot_metadata *metadata);
void snapshot_drop_arrived(struct rr_group *group);
/* In the turns of a group that stopped or is about to leave: what runs is brought to its end. */
void snapshot_wind_down(struct rr_group *group);
/* Is nothing running that would come back to the group? */
bool snapshots_are_quiet(const struct rr_group *group);
/* After all that ran has ended. */
void snapshots_fini(struct rr_group *group);

#endif
