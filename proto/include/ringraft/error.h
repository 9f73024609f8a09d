/* SPDX-License-Identifier: Apache-2.0
 *
 * Error codes of every layer. A function that can fail returns 0 or a negative `enum rr_err`; the
 * sentence for a human travels apart, in a caller-owned `struct rr_error` that is filled where the
 * fact is known and never on the hot path. Numbers are never reused.
 */
#ifndef RINGRAFT_ERROR_H
#define RINGRAFT_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

/* What this header declares is what the library exports; all else is hidden. */
#pragma GCC visibility push(default)

/* X(name, number, sentence). The sentences of the core's errors are the reference's own. */
#define RR_ERR_MAP(X)                                                                              \
    X(PROPOSAL_DROPPED, -1, "raft proposal dropped")                                               \
    X(STEP_LOCAL_MSG, -2, "raft: cannot step raft local message")                                  \
    X(STEP_PEER_NOT_FOUND, -3, "raft: cannot step as peer not found")                              \
    X(STOPPED, -4, "raft: stopped")                                                                \
    X(COMPACTED, -5, "requested index is unavailable due to compaction")                           \
    X(SNAP_OUT_OF_DATE, -6, "requested index is older than the existing snapshot")                 \
    X(UNAVAILABLE, -7, "requested entry at index is unavailable")                                  \
    X(SNAPSHOT_TEMPORARILY_UNAVAILABLE, -8, "snapshot is temporarily unavailable")                 \
    X(PENDING, -9, "the entries are not in memory yet")                                            \
    X(INVALID, -10, "invalid argument")                                                            \
    X(NO_MEMORY, -11, "out of memory")                                                             \
    X(MALFORMED, -12, "malformed message")                                                         \
    X(TOO_LARGE, -13, "larger than the limit")                                                     \
    X(NOT_LEADER, -14, "this node is not the leader")                                              \
    X(BUSY, -15, "a bounded queue is full; try again later")                                       \
    X(CLOSED, -16, "the group or engine is closed")                                                \
    X(UNKNOWN_OUTCOME, -17, "leadership was lost; the entry may or may not be committed")          \
    X(IO, -18, "input/output error")                                                               \
    X(NO_SPACE, -19, "no space left on the device")                                                \
    X(CORRUPT, -20, "durable records are damaged")                                                 \
    X(VERSION, -21, "written by another format version")                                           \
    X(IDENTITY, -22, "the directory belongs to another cluster or node")                           \
    X(INSTANCE, -23, "the peer is not the instance that was known under this id")                  \
    X(LOCKED, -24, "another process uses this directory")                                          \
    X(NOT_EMPTY, -25, "the directory already holds a node")                                        \
    X(NOT_BOOTSTRAPPED, -26,                                                                       \
      "the directory is empty and neither BOOTSTRAP nor JOIN was asked for")                       \
    X(NOT_SUPPORTED, -27, "not supported")                                                         \
    X(WRONG_THREAD, -28, "called from a thread that does not own this object")                     \
    X(POISONED, -29, "a durable write failed; the log takes no more writes in this process")       \
    X(NOT_FOUND, -30, "no such object")                                                            \
    X(CANCELED, -31, "canceled")                                                                   \
    X(CONF_REFUSED, -32, "the configuration change was refused")                                   \
    X(STATE_MACHINE, -33, "the state machine reported an error")                                   \
    X(BAD_ADDRESS, -34, "the address cannot be used")                                              \
    X(CONF_IN_FLIGHT, -35, "another configuration change is in flight")                            \
    X(LAGGING, -36, "the learner is too far behind to be promoted")                                \
    X(NOT_VOTER, -37, "the node is not a voter of the group")                                      \
    X(REMOVED, -38, "this node was removed from the group")                                        \
    X(DEADLINE, -39, "the deadline passed")                                                        \
    X(DIVERGED, -40, "the state machine differs from the leader's")                                \
    X(STALE, -41, "nothing was heard from a leader for longer than was allowed")                   \
    X(STALLED, -42, "the disk did not finish a write for longer than an election timeout")         \
    X(QUORUM_LOST, -43, "no quorum answers")

enum rr_err {
    RR_OK = 0,
#define X(name, number, sentence) RR_E_##name = (number),
    RR_ERR_MAP(X)
#undef X
};

/* A caller-owned sentence about one failure: what happened, to what, and the remedy. */
struct rr_error {
    int code;          /* the enum rr_err that was returned */
    char message[500]; /* NUL-terminated UTF-8, no newline */
};

/* Both return static strings; `rr_err_name(-5)` is "RR_E_COMPACTED". Unknown codes are named so. */
const char *rr_err_name(int err);
const char *rr_err_sentence(int err);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif
#endif
