/* SPDX-License-Identifier: Apache-2.0
 *
 * Log events: what the core has to say about itself, as numbers and borrowed pointers instead of
 * text. The core fills a struct rr_log_event and hands it to the config's `log`; whoever wants the
 * reference's line asks rr_describe_log_event (raft/describe.h). The core formats nothing.
 *
 * This table is the only place that knows an event's level, its wording and its arguments: the
 * letters in the text say, in order, what args[0], args[1] … hold.
 *
 *   %x id, in hex      %d number, decimal     %t enum rr_message_type   %r enum rr_state
 *   %c const struct tracker_config *          %P the same: its voters only, comma-separated
 *   %p const struct progress *                %l const struct raft_log *
 *   %v const struct rr_conf_change_v2 *       %s const struct rr_conf_state *
 *   %e enum rr_err (negative, as int64_t in u64)
 *
 * Pointers in args are valid during the callback only. (The reference has two more lines, for
 * errors inside a tick, which cannot occur.)
 */
#ifndef RR_RAFT_LOG_EVENT_H
#define RR_RAFT_LOG_EVENT_H

#include <stdint.h>

enum rr_log_level { RR_LOG_DEBUG = 0, RR_LOG_INFO = 1, RR_LOG_WARN = 2, RR_LOG_ERROR = 3 };

/* X(name, level, text) */
#define RR_LOG_EVENTS(X)                                                                           \
    /* a node, its configuration and its role */                                                   \
    X(NEW_RAFT, INFO,                                                                              \
      "newRaft %x [peers: [%P], term: %d, commit: %d, applied: %d, lastindex: %d, lastterm: %d]")  \
    X(SWITCHED_CONFIG, INFO, "%x switched to configuration %c")                                    \
    X(BECAME_FOLLOWER, INFO, "%x became follower at term %d")                                      \
    X(BECAME_CANDIDATE, INFO, "%x became candidate at term %d")                                    \
    X(BECAME_PRE_CANDIDATE, INFO, "%x became pre-candidate at term %d")                            \
    X(BECAME_LEADER, INFO, "%x became leader at term %d")                                          \
    /* elections */                                                                                \
    X(STARTING_ELECTION, INFO, "%x is starting a new election at term %d")                         \
    X(UNPROMOTABLE, WARN, "%x is unpromotable and can not campaign")                               \
    X(CAMPAIGN_PENDING_CONF, WARN,                                                                 \
      "%x cannot campaign at term %d since there are still pending configuration changes to "      \
      "apply")                                                                                     \
    X(HUP_ALREADY_LEADER, DEBUG, "%x ignoring MsgHup because already leader")                      \
    X(CAMPAIGN_UNPROMOTABLE, WARN, "%x is unpromotable; campaign() should have been called")       \
    X(SENT_VOTE_REQUEST, INFO, "%x [logterm: %d, index: %d] sent %t request to %x at term %d")     \
    X(RECEIVED_VOTE, INFO, "%x received %t from %x at term %d")                                    \
    X(RECEIVED_REJECTION, INFO, "%x received %t rejection from %x at term %d")                     \
    X(VOTE_TALLY, INFO, "%x has received %d %t votes and %d vote rejections")                      \
    X(LEASE_NOT_EXPIRED, INFO,                                                                     \
      "%x [logterm: %d, index: %d, vote: %x] ignored %t from %x [logterm: %d, index: %d] at term " \
      "%d: lease is not expired (remaining ticks: %d)")                                            \
    X(HIGHER_TERM, INFO,                                                                           \
      "%x [term: %d] received a %t message with higher term from %x [term: %d]")                   \
    X(REJECTED_VOTE, INFO,                                                                         \
      "%x [logterm: %d, index: %d, vote: %x] rejected %t from %x [logterm: %d, index: %d] at "     \
      "term %d")                                                                                   \
    X(CAST_VOTE, INFO,                                                                             \
      "%x [logterm: %d, index: %d, vote: %x] cast %t for %x [logterm: %d, index: %d] at term %d")  \
    X(LOWER_TERM_APPEND, INFO,                                                                     \
      "%x [term: %d] ignored entry appends from a %t message with lower term [term: %d]")          \
    X(LOWER_TERM, INFO, "%x [term: %d] ignored a %t message with lower term from %x [term: %d]")   \
    X(QUORUM_NOT_ACTIVE, WARN, "%x stepped down to follower since quorum is not active")           \
    /* proposals */                                                                                \
    X(PROPOSAL_IN_TRANSFER, DEBUG,                                                                 \
      "%x [term %d] transfer leadership to %x is in progress; dropping proposal")                  \
    X(CONF_REFUSED_PENDING, INFO,                                                                  \
      "%x ignoring conf change %v at config %c: possible unapplied conf change at index %d "       \
      "(applied to %d)")                                                                           \
    X(CONF_REFUSED_JOINT, INFO,                                                                    \
      "%x ignoring conf change %v at config %c: must transition out of joint config first")        \
    X(CONF_REFUSED_NOT_JOINT, INFO,                                                                \
      "%x ignoring conf change %v at config %c: not in joint state; refusing empty conf change")   \
    X(UNCOMMITTED_LIMIT, WARN,                                                                     \
      "%x appending new entries to log would exceed uncommitted entry size limit; dropping "       \
      "proposal")                                                                                  \
    X(NO_LEADER_PROPOSAL, INFO, "%x no leader at term %d; dropping proposal")                      \
    X(NOT_FORWARDING, INFO, "%x not forwarding to leader %x at term %d; dropping proposal")        \
    X(AUTO_LEAVE, INFO, "initiating automatic transition out of joint configuration %c")           \
    X(AUTO_LEAVE_FAILED, DEBUG,                                                                    \
      "not initiating automatic transition out of joint configuration %c: %e")                     \
    /* replication */                                                                              \
    X(NO_PROGRESS, DEBUG, "%x no progress available for %x")                                       \
    X(APP_RESP_REJECTED, DEBUG,                                                                    \
      "%x received MsgAppResp(rejected, hint: (index %d, term %d)) from %x for index %d")          \
    X(DECREASED_PROGRESS, DEBUG, "%x decreased progress of %x to [%p]")                            \
    X(RECOVERED_FROM_SNAPSHOT, DEBUG,                                                              \
      "%x recovered from needing snapshot, resumed sending replication messages to %x [%p]")       \
    X(SNAPSHOT_SUCCEEDED, DEBUG,                                                                   \
      "%x snapshot succeeded, resumed sending replication messages to %x [%p]")                    \
    X(SNAPSHOT_FAILED, DEBUG,                                                                      \
      "%x snapshot failed, resumed sending replication messages to %x [%p]")                       \
    X(UNREACHABLE, DEBUG, "%x failed to send message to %x because it is unreachable [%p]")        \
    X(SNAPSHOT_PEER_INACTIVE, DEBUG,                                                               \
      "ignore sending snapshot to %x since it is not recently active")                             \
    X(SNAPSHOT_UNAVAILABLE, DEBUG,                                                                 \
      "%x failed to send snapshot to %x because snapshot is temporarily unavailable")              \
    X(SENT_SNAPSHOT, DEBUG,                                                                        \
      "%x [firstindex: %d, commit: %d] sent snapshot[index: %d, term: %d] to %x [%p]")             \
    X(PAUSED_REPLICATION, DEBUG, "%x paused sending replication messages to %x [%p]")              \
    X(APP_REJECTED, DEBUG,                                                                         \
      "%x [logterm: %d, index: %d] rejected MsgApp [logterm: %d, index: %d] from %x")              \
    /* leadership transfer */                                                                      \
    X(TRANSFER_TIMEOUT_NOW, INFO, "%x sent MsgTimeoutNow to %x after received MsgAppResp")         \
    X(TRANSFER_LEARNER, DEBUG, "%x is learner. Ignored transferring leadership")                   \
    X(TRANSFER_SAME, INFO,                                                                         \
      "%x [term %d] transfer leadership to %x is in progress, ignores request to same node %x")    \
    X(TRANSFER_ABORT_PREVIOUS, INFO, "%x [term %d] abort previous transferring leadership to %x")  \
    X(TRANSFER_TO_SELF, DEBUG, "%x is already leader. Ignored transferring leadership to self")    \
    X(TRANSFER_STARTS, INFO, "%x [term %d] starts to transfer leadership to %x")                   \
    X(TRANSFER_IMMEDIATE, INFO,                                                                    \
      "%x sends MsgTimeoutNow to %x immediately as %x already has up-to-date log")                 \
    X(NO_LEADER_TRANSFER, INFO, "%x no leader at term %d; dropping leader transfer msg")           \
    X(RECEIVED_TIMEOUT_NOW, INFO,                                                                  \
      "%x [term %d] received MsgTimeoutNow from %x and starts an election to get leadership.")     \
    X(IGNORED_TIMEOUT_NOW, DEBUG, "%x [term %d state %r] ignored MsgTimeoutNow from %x")           \
    X(FORGET_LEASE_BASED, ERROR, "ignoring MsgForgetLeader due to ReadOnlyLeaseBased")             \
    X(FORGETTING_LEADER, INFO, "%x forgetting leader %x at term %d")                               \
    /* reads */                                                                                    \
    X(NO_LEADER_READ, INFO, "%x no leader at term %d; dropping index reading msg")                 \
    X(INVALID_READ_RESP, ERROR,                                                                    \
      "%x invalid format of MsgReadIndexResp from %x, entries count: %d")                          \
    X(READ_BEFORE_COMMIT, ERROR,                                                                   \
      "pending MsgReadIndex should be released only after first commit in current term")           \
    /* snapshots received */                                                                       \
    X(RESTORE_STARTS, INFO, "log [%l] starts to restore snapshot [index: %d, term: %d]")           \
    X(RESTORED, INFO,                                                                              \
      "%x [commit: %d, lastindex: %d, lastterm: %d] restored snapshot [index: %d, term: %d]")      \
    X(SNAPSHOT_RESTORED, INFO, "%x [commit: %d] restored snapshot [index: %d, term: %d]")          \
    X(SNAPSHOT_IGNORED, INFO, "%x [commit: %d] ignored snapshot [index: %d, term: %d]")            \
    X(FAST_FORWARDED, INFO,                                                                        \
      "%x [commit: %d, lastindex: %d, lastterm: %d] fast-forwarded commit to snapshot "            \
      "[index: %d, term: %d]")                                                                     \
    X(RESTORE_AS_LEADER, WARN, "%x attempted to restore snapshot as leader; should never happen")  \
    X(RESTORE_NOT_MEMBER, WARN,                                                                    \
      "%x attempted to restore snapshot but it is not in the ConfState %s; should never happen")   \
    /* the log */                                                                                  \
    X(FOUND_CONFLICT, INFO,                                                                        \
      "found conflict at index %d [existing term: %d, conflicting term: %d]")                      \
    X(REPLACE_UNSTABLE, INFO, "replace the unstable entries from index %d")                        \
    X(TRUNCATE_UNSTABLE, INFO, "truncate the unstable entries before index %d")                    \
    X(STABLE_MISSING, INFO, "entry at index %d missing from unstable log; ignoring")               \
    X(STABLE_SNAPSHOT, INFO, "entry at index %d matched unstable snapshot; ignoring")              \
    X(STABLE_MISMATCH, INFO,                                                                       \
      "entry at (index,term)=(%d,%d) mismatched with entry at (%d,%d) in unstable log; ignoring")  \
    /* the thread-safe node (engine/node.c) */                                                     \
    X(NODE_ELECTED_LEADER, INFO, "raft.node: %x elected leader %x at term %d")                     \
    X(NODE_CHANGED_LEADER, INFO, "raft.node: %x changed leader from %x to %x at term %d")          \
    X(NODE_LOST_LEADER, INFO, "raft.node: %x lost leader %x at term %d")                           \
    X(NODE_TICK_MISSED, WARN, "%x A tick missed to fire. Node blocks too long!")

enum rr_log_event_id {
#define X(name, level, text) RR_LOG_EVENT_##name,
    RR_LOG_EVENTS(X)
#undef X
        RR_LOG_EVENT_COUNT
};

enum { RR_LOG_ARGS_MAX = 10 };

union rr_log_arg {
    uint64_t u64;
    const void *pointer;
};

struct rr_log_event {
    union rr_log_arg args[RR_LOG_ARGS_MAX];
    uint8_t id;    /* enum rr_log_event_id */
    uint8_t level; /* enum rr_log_level: rr_log_event_level(id), compared with config.log_level */
};

static inline union rr_log_arg rr_log_u64(uint64_t value)
{
    return (union rr_log_arg){.u64 = value};
}

static inline union rr_log_arg rr_log_pointer(const void *pointer)
{
    return (union rr_log_arg){.pointer = pointer};
}

static inline enum rr_log_level rr_log_event_level(enum rr_log_event_id id)
{
    static const uint8_t levels[RR_LOG_EVENT_COUNT] = {
#define X(name, level, text) RR_LOG_##level,
        RR_LOG_EVENTS(X)
#undef X
    };
    return (enum rr_log_level)levels[id];
}

#endif
