/* SPDX-License-Identifier: Apache-2.0
 *
 * Quorums and changes of configuration against their definitions: sets are bit masks here, and
 * rules are written down as the thesis states them.
 */
#include "raft/confchange.h"
#include "raft/quorum.h"

#include "tests/unit/check.h"
#include "tests/unit/property.h"
#include "tests/unit/raft_heap.h"

#define MEMBERS 9u /* ids 1 to 9; bit i stands for id i */

typedef uint32_t members;

static struct raft_heap heap;

static members bit(uint64_t id)
{
    return 1u << id;
}

static uint32_t count_of(members set)
{
    return (uint32_t)__builtin_popcount(set);
}

static members draw_members(struct draws *d)
{
    members set = 0;
    for (uint64_t id = 1; id <= MEMBERS; id++)
        set |= draw(d, 2) ? bit(id) : 0;
    return set;
}

static void say_members(const struct draws *d, const char *name, members set)
{
    property_say(d, " %s=(", name);
    for (uint64_t id = 1; id <= MEMBERS; id++)
        if (set & bit(id))
            property_say(d, " %u", (unsigned)id);
    property_say(d, " )");
}

static members mask_of(const struct id_set *set)
{
    members mask = 0;
    for (uint32_t i = 0; i < set->count; i++)
        mask |= bit(set->ids[i]);
    return mask;
}

/* ---- quorums ------------------------------------------------------------- */

static bool has_majority(members of, members set)
{
    return of == 0 || count_of(of & set) > count_of(of) / 2;
}

/* A tracker with these two halves. */
static bool make_tracker(struct tracker *t, members incoming, members outgoing)
{
    uint64_t ids[2][MEMBERS];
    struct rr_conf_state state = {.voters = ids[0], .voters_outgoing = ids[1]};
    for (uint64_t id = 1; id <= MEMBERS; id++) {
        if (incoming & bit(id))
            ids[0][state.voter_count++] = id;
        if (outgoing & bit(id))
            ids[1][state.voter_outgoing_count++] = id;
    }
    *t = (struct tracker){.allocator = raft_heap_allocator(&heap), .max_inflight_msgs = 10};
    return confchange_restore(t, &state, 1) == NULL;
}

static bool committed_is_what_both_majorities_have(struct draws *d)
{
    struct tracker t;
    members incoming = draw_members(d) | bit(1 + draw(d, MEMBERS));
    members outgoing = draw(d, 2) ? draw_members(d) : 0;
    uint64_t match[MEMBERS + 1];
    uint64_t expected = 0;
    CHECK(make_tracker(&t, incoming, outgoing));
    say_members(d, "incoming", incoming);
    say_members(d, "outgoing", outgoing);
    for (uint64_t id = 1; id <= MEMBERS; id++) {
        match[id] = draw(d, 12);
        property_say(d, " %u:%u", (unsigned)id, (unsigned)match[id]);
        if (tracker_find(&t, id))
            tracker_find(&t, id)->match = match[id];
    }
    for (uint64_t index = 1; index < 12; index++) {
        members reached = 0;
        for (uint64_t id = 1; id <= MEMBERS; id++)
            reached |= match[id] >= index ? bit(id) : 0;
        if (has_majority(incoming, reached) && has_majority(outgoing, reached))
            expected = index;
    }
    uint64_t committed = tracker_committed(&t);
    property_say(d, " committed=%u expected=%u", (unsigned)committed, (unsigned)expected);
    tracker_fini(&t);
    return committed == expected && heap.outstanding == 0;
}

static enum vote_result expected_vote(members voters, members yes, members no)
{
    if (has_majority(voters, yes))
        return VOTE_WON;
    return has_majority(voters, voters & ~no) ? VOTE_PENDING : VOTE_LOST;
}

static enum vote_result expected_joint_vote(enum vote_result a, enum vote_result b)
{
    if (a == VOTE_LOST || b == VOTE_LOST)
        return VOTE_LOST;
    return a == VOTE_WON && b == VOTE_WON ? VOTE_WON : VOTE_PENDING;
}

static bool votes_are_won_by_both_majorities(struct draws *d)
{
    struct tracker t;
    members incoming = draw_members(d) | bit(1 + draw(d, MEMBERS));
    members outgoing = draw(d, 2) ? draw_members(d) : 0;
    members said[2] = {0, 0}; /* no, yes */
    CHECK(make_tracker(&t, incoming, outgoing));
    say_members(d, "incoming", incoming);
    say_members(d, "outgoing", outgoing);
    for (uint64_t turn = draw(d, 2 * MEMBERS); turn > 0; turn--) {
        uint64_t id = 1 + draw(d, MEMBERS);
        uint64_t granted = draw(d, 2);
        property_say(d, " %u:%s", (unsigned)id, granted ? "yes" : "no");
        tracker_record_vote(&t, id, granted);
        if (((said[0] | said[1]) & bit(id)) == 0) /* the first one counts */
            said[granted] |= bit(id);
    }
    uint32_t granted;
    uint32_t rejected;
    enum vote_result result = tracker_tally_votes(&t, &granted, &rejected);
    members all = incoming | outgoing;
    bool holds = result == expected_joint_vote(expected_vote(incoming, said[1], said[0]),
                                               expected_vote(outgoing, said[1], said[0])) &&
                 granted == count_of(said[1] & all) && rejected == count_of(said[0] & all);
    property_say(d, " result=%d granted=%u rejected=%u", (int)result, granted, rejected);
    tracker_fini(&t);
    return holds && heap.outstanding == 0;
}

/* ---- changes of configuration -------------------------------------------- */

struct model {
    members incoming, outgoing, learners, learners_next;
    bool auto_leave;
};

static members known(const struct model *m)
{
    return m->incoming | m->outgoing | m->learners | m->learners_next;
}

static void take_roles(struct model *m, members who)
{
    m->incoming &= ~who;
    m->learners &= ~who;
    m->learners_next &= ~who;
}

static void apply_one(struct model *m, const struct rr_conf_change_single *change)
{
    members who = bit(change->node_id);
    if (change->node_id == 0 || change->type == RR_CONF_CHANGE_UPDATE_NODE)
        return;
    if (change->type == RR_CONF_CHANGE_REMOVE_NODE) {
        take_roles(m, who);
    } else if (change->type == RR_CONF_CHANGE_ADD_NODE) {
        take_roles(m, who);
        m->incoming |= who;
    } else if ((m->learners & who) == 0) {
        take_roles(m, who);
        /* Who votes in the old half becomes a learner when that is left. */
        if (m->outgoing & who)
            m->learners_next |= who;
        else
            m->learners |= who;
    }
}

/* False: to be refused. */
static bool change_model(struct model *m, const struct confchange *change, uint64_t kind,
                         bool auto_leave)
{
    struct model next = *m;
    bool is_joint = m->outgoing != 0;
    if (kind == CONFCHANGE_LEAVE_JOINT) {
        next = (struct model){.incoming = m->incoming, .learners = m->learners | m->learners_next};
        *m = is_joint ? next : *m;
        return is_joint;
    }
    if (is_joint || (kind == CONFCHANGE_ENTER_JOINT && m->incoming == 0))
        return false;
    if (kind == CONFCHANGE_ENTER_JOINT)
        next.outgoing = m->incoming;
    for (uint32_t i = 0; i < change->count; i++)
        apply_one(&next, &change->changes[i]);
    if (next.incoming == 0)
        return false;
    if (kind == CONFCHANGE_SIMPLE && count_of(m->incoming ^ next.incoming) > 1)
        return false;
    next.auto_leave = kind == CONFCHANGE_ENTER_JOINT && auto_leave;
    *m = next;
    return true;
}

static bool is_like(const struct tracker *t, const struct model *m)
{
    const struct tracker_config *c = &t->config;
    members tracked = 0;
    members learners = 0;
    for (uint32_t i = 0; i < t->progress_count; i++) {
        tracked |= bit(t->progress[i].id);
        learners |= t->progress[i].is_learner ? bit(t->progress[i].id) : 0;
    }
    return mask_of(&c->incoming) == m->incoming && mask_of(&c->outgoing) == m->outgoing &&
           mask_of(&c->learners) == m->learners && mask_of(&c->learners_next) == m->learners_next &&
           c->auto_leave == m->auto_leave && tracked == known(m) && learners == m->learners;
}

static bool can_be_rebuilt(const struct tracker *t)
{
    struct rr_conf_state state;
    struct rr_conf_state rebuilt;
    struct tracker copy = {.allocator = raft_heap_allocator(&heap), .max_inflight_msgs = 10};
    tracker_conf_state(t, &state);
    bool same = confchange_restore(&copy, &state, 1) == NULL;
    tracker_conf_state(&copy, &rebuilt);
    same = same && confchange_equivalent(&state, &rebuilt);
    tracker_fini(&copy);
    return same;
}

static void draw_change(struct draws *d, struct rr_conf_change_single *changes,
                        struct confchange *change)
{
    static const char letters[] = "vrul";
    change->count = (uint32_t)draw(d, 5);
    for (uint32_t i = 0; i < change->count; i++) {
        changes[i].type = (uint8_t)draw(d, 4);
        changes[i].node_id = draw(d, MEMBERS + 1);
        property_say(d, " %c%u", letters[changes[i].type], (unsigned)changes[i].node_id);
    }
}

/* Sent entries wait for acknowledgement, so that a window which is lost shows. */
static void fill_windows(struct tracker *t)
{
    for (uint32_t i = 0; i < t->progress_count; i++)
        if (t->progress[i].inflights.count == 0)
            inflights_add(&t->progress[i].inflights, &t->allocator, 1, 1);
}

static bool changes_follow_the_rules(struct draws *d)
{
    static const char *const names[] = {"simple", "enter-joint", "leave-joint"};
    struct tracker t = {.allocator = raft_heap_allocator(&heap), .max_inflight_msgs = 10};
    struct model m = {.incoming = 0};
    bool holds = true;
    for (uint64_t turn = draw(d, 12); holds && turn > 0; turn--) {
        struct rr_conf_change_single changes[4];
        struct confchange change = {.changes = changes, .last_index = 3};
        uint64_t kind = draw(d, 3);
        bool auto_leave = draw(d, 2) != 0;
        property_say(d, "\n  %s%s", names[kind], auto_leave ? " autoleave" : "");
        draw_change(d, changes, &change);
        const char *reason;
        if (kind == CONFCHANGE_LEAVE_JOINT)
            reason = confchange_leave_joint(&t);
        else if (kind == CONFCHANGE_ENTER_JOINT)
            reason = confchange_enter_joint(&t, &change, auto_leave);
        else
            reason = confchange_simple(&t, &change);
        bool expected = change_model(&m, &change, kind, auto_leave);
        property_say(d, " -> %s, expected to be %s", reason ? reason : "done",
                     expected ? "done" : "refused");
        fill_windows(&t);
        holds = expected == !reason && is_like(&t, &m) && can_be_rebuilt(&t);
    }
    tracker_fini(&t);
    return holds && heap.outstanding == 0;
}

int main(void)
{
    HOLDS(committed_is_what_both_majorities_have, 20000);
    HOLDS(votes_are_won_by_both_majorities, 20000);
    HOLDS(changes_follow_the_rules, 20000);
    return 0;
}
