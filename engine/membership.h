/* SPDX-License-Identifier: Apache-2.0
 *
 * Who belongs to a group: the configuration as its log says, what follows from it (who is dialled,
 * whose hello is accepted, what status shows), and the one change that may be in flight. Cold. Loop
 * thread; while opening the opening thread.
 *
 * A committed change takes effect when it is applied, in this order: the core's configuration, the
 * address book, transport, the event, the completion. Who was removed is kept connected for an
 * election timeout, so that it hears that its removal was committed; afterwards its hellos are
 * refused with RR_E_REMOVED.
 *
 * A removed node goes quiet: it does not tick, so it never campaigns, and forgets the peers that
 * refuse it. It still answers who asks it: peers that have not applied its removal yet may need its
 * vote for that (of two nodes, the leader removes itself). One that was removed while it was away
 * learns of it from a peer; that is hearsay, and forgotten when a leader speaks to it. A removed
 * leader hands over first (leadership.h).
 */
#ifndef RR_ENGINE_MEMBERSHIP_H
#define RR_ENGINE_MEMBERSHIP_H

#include "engine/engine_state.h"
#include "engine/members.h"

/* A change that this node proposed, until it is in effect. */
struct member_change {
    bool is_active;
    uint64_t tag;
    uint64_t index; /* of its entry; 0 if not active */
    uint64_t term;
};

/* Who was removed, and is still connected. */
struct leaver {
    uint64_t node;
    uint64_t gone_at_ns;
};

struct membership {
    struct member_change change;
    struct leaver leavers[CONFIG_PEERS_MAX];
    uint32_t leaver_count;
    bool is_removed; /* this node: the log says so */
    bool is_told_so; /* a peer says so */
};

struct rr_group;
struct log_cache;
struct log_snapshot;
struct tracker;
struct frame_notice;

/* ---- of a group ---------------------------------------------------------- */

/* While opening: configuration and address book as of `applied`, from the snapshot and the log.
 * RR_E_CORRUPT, RR_E_MALFORMED, RR_E_NO_MEMORY. */
int membership_begin(struct rr_group *group);
/* What the conf changes between the log's snapshot and `upto` make of a configuration, in
 * `tracker`, and of its book. */
int membership_replay(const struct log_cache *log, uint64_t upto, struct tracker *tracker,
                      struct members *members);
/* The loop has the group: who is in the book is dialled; a joining node dials whom it was told. */
void membership_adopt(struct rr_group *group);
/* The group, which is not the loop's any more, needs its peers no longer. */
void membership_leave(struct rr_group *group);
/* An applied entry: a conf change, or what the core put in the place of ours. */
int membership_apply(struct rr_group *group, const struct rr_entry *entry);
/* The state machine has become what the snapshot says: so do configuration and book. */
int membership_restore(struct rr_group *group, const struct log_snapshot *snapshot);
/* The change in flight, if its entry lies in [from, to], gets RR_E_UNKNOWN_OUTCOME. */
void membership_fail_change(struct rr_group *group, uint64_t from, uint64_t to);
/* Every turn: closes the connections of those who left long enough ago. */
void membership_turn(struct rr_group *group, uint64_t now_ns);
/* A leader speaks to this node, which was told that it was removed: it is a member. */
void membership_unhear(struct rr_group *group);
/* A message of a node that was removed from this group: it is told so. */
void membership_tell_removed(struct rr_group *group, uint64_t node);
/* Is the node in any role in this configuration? */
bool membership_is_in(const struct rr_conf_state *conf_state, uint64_t node);
/* enum rr_member_role; 0: not a member. */
uint8_t membership_role(const struct rr_group *group, uint64_t node);

/* Has this node nothing to do with the group any more? Then it does not tick. */
static inline bool membership_is_over(const struct membership *membership)
{
    return membership->is_removed || membership->is_told_so;
}

/* ---- of an engine: the transport's questions and news -------------------- */

enum peer_standing membership_standing(struct rr_engine *engine, uint64_t node);
void membership_peer_up(struct rr_engine *engine, uint64_t node);
/* A peer refuses this node because it was removed. */
void membership_refused(struct rr_engine *engine, uint64_t node);
void membership_on_address(void *ctx, uint64_t node, const struct io_address *address);
void membership_on_notice(void *ctx, uint64_t from, uint64_t group_id,
                          const struct frame_notice *notice);

#endif
