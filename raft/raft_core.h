/* SPDX-License-Identifier: Apache-2.0
 *
 * The state machine itself. raft_step.c receives messages and treats terms and votes;
 * raft_follower.c, raft_candidate.c and raft_leader.c are the roles; raft_replication.c and
 * raft_snapshot.c send and receive the log; raft_conf.c applies configurations; raft_core.c holds
 * construction, changes of role and time. The functions here are what these files call of each
 * other. One thread: that of the node's caller.
 */
#ifndef RR_RAFT_RAFT_CORE_H
#define RR_RAFT_RAFT_CORE_H

#include "raft/raft_log.h"
#include "raft/read_only.h"
#include "raft/tracker.h"

enum campaign_kind { CAMPAIGN_PRE_ELECTION, CAMPAIGN_ELECTION, CAMPAIGN_TRANSFER };

/* MsgVote.Context of a candidate that was told to campaign: it overrides the voters' lease. */
#define CAMPAIGN_TRANSFER_CONTEXT "CampaignTransfer"

struct raft {
    uint64_t id;
    uint64_t term;
    uint64_t vote;               /* who got our vote in this term; RR_NONE */
    uint64_t lead;               /* the leader of this term as far as known; RR_NONE */
    uint64_t lead_transferee;    /* RR_NONE: no transfer under way */
    uint64_t pending_conf_index; /* leader: conf changes are refused until this index is applied */
    uint64_t uncommitted_size;   /* leader: payload bytes proposed in this term and not applied */
    uint8_t state;               /* enum rr_state */
    bool is_learner;
    bool check_quorum;
    bool pre_vote;
    bool disable_proposal_forwarding;
    bool disable_conf_change_validation;
    bool step_down_on_removal;
    bool async_storage_writes;
    int32_t election_elapsed; /* ticks since the leader was heard (leader: since the last check) */
    int32_t heartbeat_elapsed;
    int32_t election_timeout;
    int32_t heartbeat_timeout;
    int32_t randomized_election_timeout; /* in [election_timeout, 2 * election_timeout) */
    uint64_t max_msg_size;
    uint64_t max_uncommitted_size;
    struct raft_log log;
    struct tracker tracker;
    struct read_only read_only;
    struct read_queue
        parked_reads; /* until the leader has committed in its term; survives a reset */
    struct outbox outbox;
    struct event_sink events;
    struct rr_allocator allocator;
    uint32_t (*jitter)(void *ctx, uint32_t bound);
    void *jitter_ctx;
    uint64_t random; /* state of the own generator, used without `jitter` */
};

/* ---- raft_core.c: construction, roles, time ------------------------------ */
void raft_init(struct raft *r, const struct rr_config *config);
void raft_fini(struct raft *r);
void raft_become_follower(struct raft *r, uint64_t term, uint64_t lead);
void raft_become_candidate(struct raft *r);
void raft_become_pre_candidate(struct raft *r);
void raft_become_leader(struct raft *r);
void raft_tick(struct raft *r);
/* May this node campaign: a voter without a snapshot that is still to be stored. */
bool raft_is_promotable(const struct raft *r);
void raft_abort_leader_transfer(struct raft *r);
void raft_check(const struct raft *r);

/* ---- messages out -------------------------------------------------------- */

/* Queues an otherwise empty message of the own term, to be completed in place. What promises
 * durability waits until it is given; only such messages may be addressed to the node itself. */
static inline struct rr_message *raft_message(struct raft *r, enum rr_message_type type,
                                              uint64_t to)
{
    bool waits =
        type == RR_MSG_APP_RESP || type == RR_MSG_VOTE_RESP || type == RR_MSG_PRE_VOTE_RESP;
    RR_ASSERT_SAYS(waits || to != r->id, "node % sends itself a message of type %", to, type);
    struct rr_message *m =
        waits ? outbox_message_after_append(&r->outbox) : outbox_message(&r->outbox);
    message_init(m, type, to, r->id);
    m->term = r->term;
    return m;
}

/* ---- messages in --------------------------------------------------------- */
typedef int (*raft_handler)(struct raft *r, const struct rr_message *m);
enum { RAFT_MESSAGE_TYPES = RR_MSG_FORGET_LEADER + 1 };

/* What each role does with a message, by its type; NULL: nothing. */
extern const raft_handler raft_follower_handlers[RAFT_MESSAGE_TYPES];
extern const raft_handler raft_candidate_handlers[RAFT_MESSAGE_TYPES];
extern const raft_handler raft_leader_handlers[RAFT_MESSAGE_TYPES];
extern const raft_handler *const raft_roles[]; /* by enum rr_state */

static inline int raft_step_own_term(struct raft *r, const struct rr_message *m)
{
    if (RR_UNLIKELY(m->type >= RAFT_MESSAGE_TYPES))
        return 0;
    raft_handler handler = raft_roles[r->state][m->type];
    return handler ? handler(r, m) : 0;
}

RR_COLD int raft_step_other_term(struct raft *r, const struct rr_message *m);
static inline int raft_step(struct raft *r, const struct rr_message *m)
{
    /* Term 0: a local message, or one that is forwarded whatever the term. */
    if (RR_UNLIKELY(m->term != r->term && m->term != 0))
        return raft_step_other_term(r, m);
    return raft_step_own_term(r, m);
}

/* What every role does in the same way. */
int raft_handle_hup(struct raft *r, const struct rr_message *m);
int raft_handle_vote_request(struct raft *r, const struct rr_message *m);
int raft_handle_storage_append_resp(struct raft *r, const struct rr_message *m);
int raft_handle_storage_apply_resp(struct raft *r, const struct rr_message *m);
void raft_hup(struct raft *r, enum campaign_kind kind);
void raft_check_quorum(struct raft *r);

/* ---- raft_proposal.c: entries into the leader's log ---------------------- */
int raft_handle_proposal(struct raft *r, const struct rr_message *m);
/* Appends the empty entry that every leader begins its term with. */
void raft_append_empty_entry(struct raft *r);
void raft_reduce_uncommitted_size(struct raft *r, uint64_t payload_size);

/* ---- raft_replication.c, raft_snapshot.c: the log to and from others ----- */
bool raft_maybe_send_append(struct raft *r, struct progress *pr, bool send_if_empty);
void raft_broadcast_append(struct raft *r);
/* An acknowledgement of who is not being replicated to; true if it is news. */
bool raft_end_probing(struct raft *r, struct progress *pr, uint64_t index);
void raft_append_rejected(struct raft *r, struct progress *pr, const struct rr_message *m);
void raft_broadcast_heartbeat(struct raft *r);
static inline bool raft_maybe_commit(struct raft *r)
{
    struct entry_id quorum = {.term = r->term, .index = tracker_committed(&r->tracker)};
    return raft_log_maybe_commit(&r->log, quorum);
}
bool raft_has_committed_in_term(const struct raft *r);
void raft_storage_ready(struct raft *r, uint64_t from, uint64_t to);
bool raft_maybe_send_snapshot(struct raft *r, struct progress *pr);
int raft_handle_snapshot(struct raft *r, const struct rr_message *m);

/* ---- raft_conf.c --------------------------------------------------------- */
void raft_apply_conf_change(struct raft *r, const struct rr_conf_change_v2 *change);
/* Replaces configuration and progress by those of `state`; it must be one that can be rebuilt. */
void raft_restore_config(struct raft *r, const struct rr_conf_state *state);

#endif
