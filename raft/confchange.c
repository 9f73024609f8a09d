/* SPDX-License-Identifier: Apache-2.0
 *
 * Every change is made on a draft: a copy of the configuration and of the progress array, in which
 * the windows' rings are shared with the original. A draft that turns out well replaces the
 * original, and the rings of members that left are freed; otherwise it is thrown away.
 */
#include "raft/confchange.h"

#include <string.h>

struct draft {
    struct tracker_config config;
    struct progress *progress;
    uint32_t count;
    uint32_t cap;
    uint64_t last_index;
    const struct tracker *tracker; /* the original */
};

static void draft_begin(struct draft *draft, const struct tracker *t, uint64_t last_index)
{
    tracker_check(t);
    *draft = (struct draft){.config = t->config, .last_index = last_index, .tracker = t};
    draft->cap = TRACKER_IDS_MAX;
    draft->progress = memory_alloc(&t->allocator, draft->cap * sizeof(*draft->progress));
    draft->count = t->progress_count;
    if (draft->count)
        memcpy(draft->progress, t->progress, draft->count * sizeof(*draft->progress));
}

static struct progress *draft_find(struct draft *draft, uint64_t id)
{
    for (uint32_t i = 0; i < draft->count; i++) {
        if (draft->progress[i].id == id)
            return &draft->progress[i];
    }
    return NULL;
}

/* `reason` NULL: the draft becomes the tracker's configuration. */
static const char *draft_end(struct draft *draft, struct tracker *t, const char *reason)
{
    if (reason) {
        memory_free(&t->allocator, draft->progress, draft->cap * sizeof(*draft->progress));
        return reason;
    }
    for (uint32_t i = 0; i < t->progress_count; i++) {
        struct progress *old = &t->progress[i];
        const struct progress *now = draft_find(draft, old->id);
        /* Who left and came back in one change has a new window. */
        if (!now || now->inflights.ring != old->inflights.ring)
            inflights_fini(&old->inflights, &t->allocator);
    }
    memory_free(&t->allocator, t->progress, t->progress_cap * sizeof(*t->progress));
    t->config = draft->config;
    t->progress = draft->progress;
    t->progress_count = draft->count;
    t->progress_cap = draft->cap;
    tracker_check(t);
    tracker_index(t);
    return NULL;
}

static const char *add_member(struct draft *draft, uint64_t id, bool is_learner)
{
    if (draft->count == TRACKER_IDS_MAX)
        return "too many members in one configuration";
    uint32_t i = draft->count;
    for (; i > 0 && draft->progress[i - 1].id > id; i--)
        draft->progress[i] = draft->progress[i - 1];
    draft->count++;
    /* Probed at the last index first. Active, so that CheckQuorum does not fire before it could
     * answer. */
    draft->progress[i] = (struct progress){
        .id = id,
        .next = rr_max_u64(draft->last_index, 1),
        .inflights = {.max_count = draft->tracker->max_inflight_msgs,
                      .max_bytes = draft->tracker->max_inflight_bytes},
        .state = RR_PROGRESS_PROBE,
        .recent_active = true,
        .is_learner = is_learner,
    };
    id_set_add(is_learner ? &draft->config.learners : &draft->config.incoming, id);
    return NULL;
}

static void remove_progress(struct draft *draft, struct progress *pr)
{
    uint32_t i = (uint32_t)(pr - draft->progress);
    draft->count--;
    memmove(pr, pr + 1, (draft->count - i) * sizeof(*pr));
}

/* Takes the roles of `id` away, except that of an outgoing voter. */
static void remove_roles(struct draft *draft, uint64_t id)
{
    id_set_remove(&draft->config.incoming, id);
    id_set_remove(&draft->config.learners, id);
    id_set_remove(&draft->config.learners_next, id);
}

static const char *make_voter(struct draft *draft, uint64_t id)
{
    struct progress *pr = draft_find(draft, id);
    if (!pr)
        return add_member(draft, id, false);
    pr->is_learner = false;
    id_set_remove(&draft->config.learners, id);
    id_set_remove(&draft->config.learners_next, id);
    id_set_add(&draft->config.incoming, id);
    return NULL;
}

static const char *make_learner(struct draft *draft, uint64_t id)
{
    struct progress *pr = draft_find(draft, id);
    if (!pr)
        return add_member(draft, id, true);
    if (pr->is_learner)
        return NULL;
    remove_roles(draft, id);
    /* Still a voter of the outgoing half: it becomes a learner when the joint configuration is
     * left. */
    if (id_set_contains(&draft->config.outgoing, id)) {
        id_set_add(&draft->config.learners_next, id);
    } else {
        pr->is_learner = true;
        id_set_add(&draft->config.learners, id);
    }
    return NULL;
}

static void remove_member(struct draft *draft, uint64_t id)
{
    struct progress *pr = draft_find(draft, id);
    if (!pr)
        return;
    remove_roles(draft, id);
    if (!id_set_contains(&draft->config.outgoing, id))
        remove_progress(draft, pr);
}

static const char *apply_single(struct draft *draft, const struct rr_conf_change_single *single)
{
    if (single->node_id == RR_NONE)
        return NULL;
    switch (single->type) {
    case RR_CONF_CHANGE_ADD_NODE:
        return make_voter(draft, single->node_id);
    case RR_CONF_CHANGE_ADD_LEARNER_NODE:
        return make_learner(draft, single->node_id);
    case RR_CONF_CHANGE_REMOVE_NODE:
        remove_member(draft, single->node_id);
        return NULL;
    case RR_CONF_CHANGE_UPDATE_NODE:
        return NULL;
    default:
        return "unexpected conf type";
    }
}

static const char *apply_changes(struct draft *draft, const struct confchange *change)
{
    for (uint32_t i = 0; i < change->count; i++) {
        const char *reason = apply_single(draft, &change->changes[i]);
        if (reason)
            return reason;
    }
    return draft->config.incoming.count == 0 ? "removed all voters" : NULL;
}

/* How many ids are in one of the sets and not in the other. */
static uint32_t symmetric_difference(const struct id_set *a, const struct id_set *b)
{
    uint32_t common = 0;
    for (uint32_t i = 0; i < a->count; i++)
        common += id_set_contains(b, a->ids[i]);
    return a->count + b->count - 2 * common;
}

const char *confchange_simple(struct tracker *t, const struct confchange *change)
{
    if (tracker_is_joint(t))
        return "can't apply simple config change in joint config";
    struct draft draft;
    draft_begin(&draft, t, change->last_index);
    const char *reason = apply_changes(&draft, change);
    if (!reason && symmetric_difference(&t->config.incoming, &draft.config.incoming) > 1)
        reason = "more than one voter changed without entering joint config";
    return draft_end(&draft, t, reason);
}

const char *confchange_enter_joint(struct tracker *t, const struct confchange *change,
                                   bool auto_leave)
{
    if (tracker_is_joint(t))
        return "config is already joint";
    if (t->config.incoming.count == 0)
        return "can't make a zero-voter config joint";
    struct draft draft;
    draft_begin(&draft, t, change->last_index);
    draft.config.outgoing = draft.config.incoming;
    const char *reason = apply_changes(&draft, change);
    draft.config.auto_leave = auto_leave;
    return draft_end(&draft, t, reason);
}

const char *confchange_leave_joint(struct tracker *t)
{
    if (!tracker_is_joint(t))
        return "can't leave a non-joint config";
    struct draft draft;
    draft_begin(&draft, t, 0);
    struct tracker_config *config = &draft.config;
    for (uint32_t i = 0; i < config->learners_next.count; i++) {
        uint64_t id = config->learners_next.ids[i];
        id_set_add(&config->learners, id);
        draft_find(&draft, id)->is_learner = true;
    }
    config->learners_next.count = 0;
    for (uint32_t i = 0; i < config->outgoing.count; i++) {
        uint64_t id = config->outgoing.ids[i];
        if (!id_set_contains(&config->incoming, id) && !id_set_contains(&config->learners, id))
            remove_progress(&draft, draft_find(&draft, id));
    }
    config->outgoing.count = 0;
    config->auto_leave = false;
    return draft_end(&draft, t, NULL);
}

/* ---- from a ConfState ---------------------------------------------------- */

/* The single changes that lead to a configuration, in order. */
struct change_list {
    struct rr_conf_change_single changes[4 * TRACKER_IDS_MAX];
    uint32_t count;
};

static void list_add(struct change_list *list, enum rr_conf_change_type type, const uint64_t *ids,
                     uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        list->changes[list->count++] =
            (struct rr_conf_change_single){.node_id = ids[i], .type = (uint8_t)type};
}

static const char *apply_one_by_one(struct tracker *t, const struct change_list *list,
                                    uint64_t last_index)
{
    for (uint32_t i = 0; i < list->count; i++) {
        struct confchange change = {
            .changes = &list->changes[i], .count = 1, .last_index = last_index};
        const char *reason = confchange_simple(t, &change);
        if (reason)
            return reason;
    }
    return NULL;
}

const char *confchange_restore(struct tracker *t, const struct rr_conf_state *state,
                               uint64_t last_index)
{
    RR_ASSERT(t->progress_count == 0);
    if (state->voter_count > TRACKER_IDS_MAX || state->learner_count > TRACKER_IDS_MAX ||
        state->voter_outgoing_count > TRACKER_IDS_MAX ||
        state->learner_next_count > TRACKER_IDS_MAX)
        return "too many members in one configuration";

    struct change_list outgoing = {.count = 0};
    struct change_list incoming = {.count = 0};
    list_add(&outgoing, RR_CONF_CHANGE_ADD_NODE, state->voters_outgoing,
             state->voter_outgoing_count);
    list_add(&incoming, RR_CONF_CHANGE_REMOVE_NODE, state->voters_outgoing,
             state->voter_outgoing_count);
    list_add(&incoming, RR_CONF_CHANGE_ADD_NODE, state->voters, state->voter_count);
    list_add(&incoming, RR_CONF_CHANGE_ADD_LEARNER_NODE, state->learners, state->learner_count);
    list_add(&incoming, RR_CONF_CHANGE_ADD_LEARNER_NODE, state->learners_next,
             state->learner_next_count);
    if (state->voter_outgoing_count == 0)
        return apply_one_by_one(t, &incoming, last_index);

    /* Joint: first the outgoing half as a configuration of its own, then enter the joint one from
     * it. */
    const char *reason = apply_one_by_one(t, &outgoing, last_index);
    if (reason)
        return reason;
    struct confchange change = {
        .changes = incoming.changes, .count = incoming.count, .last_index = last_index};
    return confchange_enter_joint(t, &change, state->auto_leave);
}

static bool same_ids(const uint64_t *a, uint32_t a_count, const uint64_t *b, uint32_t b_count)
{
    if (a_count != b_count)
        return false;
    /* As multisets: every id occurs equally often in both. */
    for (uint32_t i = 0; i < a_count; i++) {
        uint32_t in_a = 0;
        uint32_t in_b = 0;
        for (uint32_t j = 0; j < a_count; j++) {
            in_a += a[j] == a[i];
            in_b += b[j] == a[i];
        }
        if (in_a != in_b)
            return false;
    }
    return true;
}

bool confchange_equivalent(const struct rr_conf_state *a, const struct rr_conf_state *b)
{
    return same_ids(a->voters, a->voter_count, b->voters, b->voter_count) &&
           same_ids(a->learners, a->learner_count, b->learners, b->learner_count) &&
           same_ids(a->voters_outgoing, a->voter_outgoing_count, b->voters_outgoing,
                    b->voter_outgoing_count) &&
           same_ids(a->learners_next, a->learner_next_count, b->learners_next,
                    b->learner_next_count) &&
           a->auto_leave == b->auto_leave;
}

/* ---- V2 changes ---------------------------------------------------------- */

struct rr_conf_change_v2 confchange_as_v2(const struct rr_conf_change *change,
                                          struct rr_conf_change_single *single)
{
    *single = (struct rr_conf_change_single){.node_id = change->node_id, .type = change->type};
    return (struct rr_conf_change_v2){.changes = single,
                                      .change_count = 1,
                                      .context = change->context,
                                      .context_size = change->context_size,
                                      .has_context = change->has_context};
}

enum confchange_kind confchange_kind(const struct rr_conf_change_v2 *change, bool *auto_leave)
{
    *auto_leave = change->transition != RR_CONF_CHANGE_TRANSITION_JOINT_EXPLICIT;
    if (change->transition != RR_CONF_CHANGE_TRANSITION_AUTO || change->change_count > 1)
        return CONFCHANGE_ENTER_JOINT;
    return change->change_count == 0 ? CONFCHANGE_LEAVE_JOINT : CONFCHANGE_SIMPLE;
}

const char *confchange_apply(struct tracker *t, const struct rr_conf_change_v2 *change,
                             uint64_t last_index)
{
    struct confchange singles = {
        .changes = change->changes, .count = change->change_count, .last_index = last_index};
    bool auto_leave;
    switch (confchange_kind(change, &auto_leave)) {
    case CONFCHANGE_LEAVE_JOINT:
        return confchange_leave_joint(t);
    case CONFCHANGE_ENTER_JOINT:
        if (change->transition > RR_CONF_CHANGE_TRANSITION_JOINT_EXPLICIT)
            return "unknown conf change transition";
        return confchange_enter_joint(t, &singles, auto_leave);
    case CONFCHANGE_SIMPLE:
        break;
    }
    return confchange_simple(t, &singles);
}

/* ---- checks without effect ----------------------------------------------- */

const char *confchange_check(const struct tracker *t, const struct rr_conf_change_v2 *change)
{
    struct tracker scratch = *t;
    scratch.progress_cap = t->progress_count;
    scratch.progress = NULL;
    if (t->progress_count) {
        size_t size = t->progress_count * sizeof(*t->progress);
        scratch.progress = memory_alloc(&t->allocator, size);
        memcpy(scratch.progress, t->progress, size);
    }
    /* The rings belong to the original. */
    for (uint32_t i = 0; i < scratch.progress_count; i++)
        scratch.progress[i].inflights = (struct inflights){.max_count = t->max_inflight_msgs};
    const char *reason = confchange_apply(&scratch, change, 0);
    tracker_fini(&scratch);
    return reason;
}

const char *confchange_check_state(const struct rr_allocator *allocator,
                                   const struct rr_conf_state *state)
{
    struct tracker scratch = {.allocator = *allocator, .max_inflight_msgs = 1};
    const char *reason = confchange_restore(&scratch, state, 0);
    struct rr_conf_state rebuilt;
    tracker_conf_state(&scratch, &rebuilt);
    if (!reason && !confchange_equivalent(state, &rebuilt))
        reason = "the configuration contradicts itself";
    if (!reason && state->voter_count == 0)
        reason = "the configuration has no voters";
    tracker_fini(&scratch);
    return reason;
}
