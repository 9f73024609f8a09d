/* SPDX-License-Identifier: Apache-2.0
 *
 * Hot: tracker_committed runs per acknowledgement; everything else is rare.
 */
#include "raft/tracker.h"

#include <string.h>

/* ---- sets of ids --------------------------------------------------------- */

/* Where `id` is or belongs. */
static uint32_t id_set_place(const struct id_set *set, uint64_t id)
{
    uint32_t i = 0;
    while (i < set->count && set->ids[i] < id)
        i++;
    return i;
}

bool id_set_contains(const struct id_set *set, uint64_t id)
{
    uint32_t i = id_set_place(set, id);
    return i < set->count && set->ids[i] == id;
}

void id_set_add(struct id_set *set, uint64_t id)
{
    uint32_t i = id_set_place(set, id);
    if (i < set->count && set->ids[i] == id)
        return;
    RR_ASSERT(set->count < TRACKER_IDS_MAX);
    memmove(&set->ids[i + 1], &set->ids[i], (set->count - i) * sizeof(set->ids[0]));
    set->ids[i] = id;
    set->count++;
}

void id_set_remove(struct id_set *set, uint64_t id)
{
    uint32_t i = id_set_place(set, id);
    if (i == set->count || set->ids[i] != id)
        return;
    set->count--;
    memmove(&set->ids[i], &set->ids[i + 1], (set->count - i) * sizeof(set->ids[0]));
}

/* ---- the configuration --------------------------------------------------- */

bool tracker_is_voter(const struct tracker *t, uint64_t id)
{
    return id_set_contains(&t->config.incoming, id) || id_set_contains(&t->config.outgoing, id);
}

void tracker_voters(const struct tracker *t, struct id_set *voters)
{
    *voters = t->config.incoming;
    for (uint32_t i = 0; i < t->config.outgoing.count; i++)
        id_set_add(voters, t->config.outgoing.ids[i]);
}

void tracker_conf_state(const struct tracker *t, struct rr_conf_state *out)
{
    *out = (struct rr_conf_state){
        .voters = t->config.incoming.ids,
        .learners = t->config.learners.ids,
        .voters_outgoing = t->config.outgoing.ids,
        .learners_next = t->config.learners_next.ids,
        .voter_count = t->config.incoming.count,
        .learner_count = t->config.learners.count,
        .voter_outgoing_count = t->config.outgoing.count,
        .learner_next_count = t->config.learners_next.count,
        .auto_leave = t->config.auto_leave,
        .has_auto_leave = true,
    };
}

static void index_half(const struct tracker *t, const struct id_set *half, uint8_t *slots)
{
    for (uint32_t i = 0; i < half->count; i++) {
        const struct progress *pr = tracker_find(t, half->ids[i]);
        RR_ASSERT(pr != NULL);
        slots[i] = (uint8_t)(pr - t->progress);
    }
}

void tracker_index(struct tracker *t)
{
    index_half(t, &t->config.incoming, t->incoming_slots);
    index_half(t, &t->config.outgoing, t->outgoing_slots);
}

/* ---- quorums over the progress ------------------------------------------- */

static uint64_t half_committed(const struct tracker *t, const struct id_set *half,
                               const uint8_t *slots)
{
    uint64_t acked[TRACKER_IDS_MAX];
    for (uint32_t i = 0; i < half->count; i++)
        acked[i] = t->progress[slots[i]].match;
    return quorum_committed(acked, half->count);
}

uint64_t tracker_committed_by_sorting(const struct tracker *t)
{
    uint64_t incoming = half_committed(t, &t->config.incoming, t->incoming_slots);
    return rr_min_u64(incoming, half_committed(t, &t->config.outgoing, t->outgoing_slots));
}

static enum vote_result half_active(const struct tracker *t, const struct id_set *half,
                                    const uint8_t *slots)
{
    size_t active = 0;
    for (uint32_t i = 0; i < half->count; i++)
        active += t->progress[slots[i]].recent_active;
    return quorum_vote(half->count, active, half->count - active);
}

bool tracker_quorum_active(const struct tracker *t)
{
    return quorum_vote_joint(half_active(t, &t->config.incoming, t->incoming_slots),
                             half_active(t, &t->config.outgoing, t->outgoing_slots)) == VOTE_WON;
}

/* ---- votes --------------------------------------------------------------- */

static const struct tracker_vote *find_vote(const struct tracker *t, uint64_t id)
{
    for (uint32_t i = 0; i < t->vote_count; i++) {
        if (t->votes[i].id == id)
            return &t->votes[i];
    }
    return NULL;
}

void tracker_reset_votes(struct tracker *t)
{
    t->vote_count = 0;
}

void tracker_record_vote(struct tracker *t, uint64_t id, bool granted)
{
    /* A full table can only mean members that came and went during one election; their votes are
     * not needed by anybody, and to lose a vote is always safe. */
    if (find_vote(t, id) || t->vote_count == RR_ARRAY_SIZE(t->votes))
        return;
    t->votes[t->vote_count++] = (struct tracker_vote){.id = id, .granted = granted};
}

static enum vote_result half_vote(const struct tracker *t, const struct id_set *half)
{
    size_t granted = 0;
    size_t rejected = 0;
    for (uint32_t i = 0; i < half->count; i++) {
        const struct tracker_vote *vote = find_vote(t, half->ids[i]);
        granted += vote && vote->granted;
        rejected += vote && !vote->granted;
    }
    return quorum_vote(half->count, granted, rejected);
}

enum vote_result tracker_tally_votes(const struct tracker *t, uint32_t *granted, uint32_t *rejected)
{
    *granted = 0;
    *rejected = 0;
    for (uint32_t i = 0; i < t->progress_count; i++) {
        const struct tracker_vote *vote = find_vote(t, t->progress[i].id);
        if (t->progress[i].is_learner || !vote)
            continue;
        *granted += vote->granted;
        *rejected += !vote->granted;
    }
    return quorum_vote_joint(half_vote(t, &t->config.incoming), half_vote(t, &t->config.outgoing));
}

/* ---- the end, and the invariants ----------------------------------------- */

void tracker_fini(struct tracker *t)
{
    for (uint32_t i = 0; i < t->progress_count; i++)
        inflights_fini(&t->progress[i].inflights, &t->allocator);
    memory_free(&t->allocator, t->progress, t->progress_cap * sizeof(*t->progress));
    t->progress = NULL;
    t->progress_count = 0;
    t->progress_cap = 0;
}

void tracker_clear(struct tracker *t)
{
    tracker_fini(t);
    t->config = (struct tracker_config){.auto_leave = false};
    t->vote_count = 0;
}

static void check_members(const struct tracker *t, const struct id_set *set)
{
    for (uint32_t i = 0; i < set->count; i++) {
        RR_ASSERT(tracker_find(t, set->ids[i]) != NULL);
        RR_ASSERT(i == 0 || set->ids[i - 1] < set->ids[i]);
    }
}

void tracker_check(const struct tracker *t)
{
    const struct tracker_config *config = &t->config;
    check_members(t, &config->incoming);
    check_members(t, &config->outgoing);
    check_members(t, &config->learners);
    check_members(t, &config->learners_next);
    for (uint32_t i = 0; i < config->learners.count; i++) {
        RR_ASSERT(!tracker_is_voter(t, config->learners.ids[i]));
        RR_ASSERT(tracker_find(t, config->learners.ids[i])->is_learner);
    }
    for (uint32_t i = 0; i < config->learners_next.count; i++) {
        RR_ASSERT(id_set_contains(&config->outgoing, config->learners_next.ids[i]));
        RR_ASSERT(!tracker_find(t, config->learners_next.ids[i])->is_learner);
    }
    if (config->outgoing.count == 0) {
        RR_ASSERT(config->learners_next.count == 0);
        RR_ASSERT(!config->auto_leave);
    }
    for (uint32_t i = 1; i < t->progress_count; i++)
        RR_ASSERT(t->progress[i - 1].id < t->progress[i].id);
}
