/* SPDX-License-Identifier: Apache-2.0
 *
 * The configuration of the group (who votes, who learns) and the progress of each of its members,
 * in one small array sorted by id: every broadcast and every listing goes through it in ascending
 * order. The votes of the running election are counted here too. Changing a configuration:
 * confchange.h.
 */
#ifndef RR_RAFT_TRACKER_H
#define RR_RAFT_TRACKER_H

#include "raft/progress.h"
#include "raft/quorum.h"

/* Most members of one configuration, in all roles together; proposals that would exceed it are
 * refused. */
#define TRACKER_IDS_MAX 64

/* Distinct ids, ascending. */
struct id_set {
    uint64_t ids[TRACKER_IDS_MAX];
    uint32_t count;
};

bool id_set_contains(const struct id_set *set, uint64_t id);
void id_set_add(struct id_set *set, uint64_t id);    /* nothing if it is there */
void id_set_remove(struct id_set *set, uint64_t id); /* nothing if it is not there */

/* Invariants: learners are in neither half of the voters; learners_next is a part of outgoing;
 * without outgoing there is no learners_next and no auto_leave. */
struct tracker_config {
    struct id_set incoming; /* voters */
    struct id_set outgoing; /* the old voters while the configuration is joint, else empty */
    struct id_set learners;
    struct id_set
        learners_next; /* outgoing voters that become learners when the joint one is left */
    bool auto_leave;   /* the leader leaves the joint configuration on its own */
};

struct tracker_vote {
    uint64_t id;
    bool granted;
};

struct tracker {
    struct tracker_config config;
    struct progress *progress; /* ascending ids */
    uint32_t progress_count;
    uint32_t progress_cap;
    uint32_t max_inflight_msgs;
    uint32_t vote_count;
    uint64_t max_inflight_bytes;
    /* Positions in `progress` of the voters, kept by tracker_index. */
    uint8_t incoming_slots[TRACKER_IDS_MAX];
    uint8_t outgoing_slots[TRACKER_IDS_MAX];
    struct tracker_vote votes[2 * TRACKER_IDS_MAX];
    struct rr_allocator allocator;
};

static inline bool tracker_is_joint(const struct tracker *t)
{
    return t->config.outgoing.count > 0;
}

static inline bool tracker_is_singleton(const struct tracker *t)
{
    return t->config.incoming.count == 1 && t->config.outgoing.count == 0;
}

/* NULL if there is no such member. */
static inline struct progress *tracker_find(const struct tracker *t, uint64_t id)
{
    for (uint32_t i = 0; i < t->progress_count; i++) {
        if (t->progress[i].id == id)
            return &t->progress[i];
    }
    return NULL;
}

bool tracker_is_voter(const struct tracker *t, uint64_t id);
/* The ids of both halves of the voters, ascending. */
void tracker_voters(const struct tracker *t, struct id_set *voters);
/* Arrays borrowed from the tracker. */
void tracker_conf_state(const struct tracker *t, struct rr_conf_state *out);

/* The index that the quorum (of both halves) has acknowledged. */
uint64_t tracker_committed_by_sorting(const struct tracker *t);
static inline uint64_t tracker_committed(const struct tracker *t)
{
    uint32_t voters = t->config.incoming.count;
    if (RR_UNLIKELY((voters != 3 && voters != 2) || t->config.outgoing.count != 0))
        return tracker_committed_by_sorting(t);
    const uint8_t *slots = t->incoming_slots;
    /* Of two, both must have it: as if a third one had nothing. */
    return quorum_committed_of_three(t->progress[slots[0]].match, t->progress[slots[1]].match,
                                     voters == 3 ? t->progress[slots[2]].match : 0);
}
bool tracker_quorum_active(const struct tracker *t);

void tracker_reset_votes(struct tracker *t);
/* The first vote of a member counts, later ones are ignored. */
void tracker_record_vote(struct tracker *t, uint64_t id, bool granted);
/* `granted` and `rejected` count the members that are not learners. */
enum vote_result tracker_tally_votes(const struct tracker *t, uint32_t *granted,
                                     uint32_t *rejected);

/* Recomputes the slots; to be called when config or progress were replaced. */
void tracker_index(struct tracker *t);
/* Back to the empty configuration, without votes. */
void tracker_clear(struct tracker *t);
void tracker_fini(struct tracker *t);
/* Asserts the invariants above, and that every member has a progress. */
void tracker_check(const struct tracker *t);

#endif
