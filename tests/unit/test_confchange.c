/* SPDX-License-Identifier: Apache-2.0 */
#include "raft/confchange.h"

#include "tests/unit/check.h"
#include "tests/unit/raft_heap.h"

static struct raft_heap heap;

static struct tracker make(void)
{
    return (struct tracker){.allocator = raft_heap_allocator(&heap), .max_inflight_msgs = 10};
}

static void done(struct tracker *t)
{
    tracker_fini(t);
    CHECK_EQ_U64(heap.outstanding, 0);
}

static struct rr_conf_change_single single(enum rr_conf_change_type type, uint64_t id)
{
    return (struct rr_conf_change_single){.node_id = id, .type = (uint8_t)type};
}

static const char *simple(struct tracker *t, enum rr_conf_change_type type, uint64_t id)
{
    struct rr_conf_change_single change = single(type, id);
    return confchange_simple(t,
                             &(struct confchange){.changes = &change, .count = 1, .last_index = 7});
}

static void check_ids(const struct id_set *set, const char *expected)
{
    char text[256] = "";
    size_t at = 0;
    for (uint32_t i = 0; i < set->count; i++)
        at += (size_t)snprintf(text + at, sizeof(text) - at, i ? " %llu" : "%llu",
                               (unsigned long long)set->ids[i]);
    CHECK(strcmp(text, expected) == 0);
}

static void test_new_member_is_probed_at_the_last_index_and_active(void)
{
    struct tracker t = make();
    CHECK(simple(&t, RR_CONF_CHANGE_ADD_NODE, 3) == NULL);
    const struct progress *pr = tracker_find(&t, 3);
    CHECK(pr != NULL);
    CHECK_EQ_U64(pr->match, 0);
    CHECK_EQ_U64(pr->next, 7);
    CHECK(pr->recent_active);
    CHECK(pr->state == RR_PROGRESS_PROBE);
    done(&t);
}

static void test_refused_changes_leave_everything_as_it_was(void)
{
    struct tracker t = make();
    CHECK(strcmp(confchange_leave_joint(&t), "can't leave a non-joint config") == 0);
    struct rr_conf_change_single two[] = {single(RR_CONF_CHANGE_ADD_NODE, 2),
                                          single(RR_CONF_CHANGE_ADD_NODE, 3)};
    struct confchange both = {.changes = two, .count = 2, .last_index = 7};
    CHECK(strcmp(confchange_enter_joint(&t, &both, false),
                 "can't make a zero-voter config joint") == 0);
    CHECK(simple(&t, RR_CONF_CHANGE_ADD_NODE, 1) == NULL);
    CHECK(strcmp(confchange_simple(&t, &both),
                 "more than one voter changed without entering joint config") == 0);
    CHECK(strcmp(simple(&t, RR_CONF_CHANGE_REMOVE_NODE, 1), "removed all voters") == 0);
    CHECK(strcmp(simple(&t, (enum rr_conf_change_type)9, 5), "unexpected conf type") == 0);
    check_ids(&t.config.incoming, "1");
    CHECK_EQ_U64(t.progress_count, 1);
    CHECK(confchange_enter_joint(&t, &both, false) == NULL);
    CHECK(strcmp(confchange_enter_joint(&t, &both, false), "config is already joint") == 0);
    CHECK(strcmp(simple(&t, RR_CONF_CHANGE_ADD_NODE, 4),
                 "can't apply simple config change in joint config") == 0);
    done(&t);
}

static void test_id_zero_and_update_change_nothing(void)
{
    struct tracker t = make();
    CHECK(simple(&t, RR_CONF_CHANGE_ADD_NODE, 1) == NULL);
    CHECK(simple(&t, RR_CONF_CHANGE_ADD_NODE, RR_NONE) == NULL);
    CHECK(simple(&t, RR_CONF_CHANGE_UPDATE_NODE, 1) == NULL);
    CHECK(simple(&t, RR_CONF_CHANGE_REMOVE_NODE, 9) == NULL);
    check_ids(&t.config.incoming, "1");
    done(&t);
}

static void test_joint_demotion_waits_as_learner_next_and_keeps_progress(void)
{
    struct tracker t = make();
    simple(&t, RR_CONF_CHANGE_ADD_NODE, 1);
    simple(&t, RR_CONF_CHANGE_ADD_NODE, 2);
    tracker_find(&t, 2)->match = 5;
    struct rr_conf_change_single changes[] = {single(RR_CONF_CHANGE_ADD_LEARNER_NODE, 2),
                                              single(RR_CONF_CHANGE_ADD_NODE, 3)};
    struct confchange change = {.changes = changes, .count = 2, .last_index = 7};
    CHECK(confchange_enter_joint(&t, &change, true) == NULL);
    check_ids(&t.config.incoming, "1 3");
    check_ids(&t.config.outgoing, "1 2");
    check_ids(&t.config.learners_next, "2");
    CHECK(t.config.auto_leave);
    CHECK(!tracker_find(&t, 2)->is_learner);
    CHECK(confchange_leave_joint(&t) == NULL);
    check_ids(&t.config.learners, "2");
    check_ids(&t.config.learners_next, "");
    CHECK(tracker_find(&t, 2)->is_learner);
    CHECK_EQ_U64(tracker_find(&t, 2)->match, 5);
    CHECK(!t.config.auto_leave);
    done(&t);
}

static void test_leaving_drops_only_who_has_no_role(void)
{
    struct tracker t = make();
    simple(&t, RR_CONF_CHANGE_ADD_NODE, 1);
    simple(&t, RR_CONF_CHANGE_ADD_NODE, 2);
    struct rr_conf_change_single change = single(RR_CONF_CHANGE_REMOVE_NODE, 2);
    struct confchange remove = {.changes = &change, .count = 1};
    CHECK(confchange_enter_joint(&t, &remove, false) == NULL);
    CHECK(tracker_find(&t, 2) != NULL);
    CHECK(confchange_leave_joint(&t) == NULL);
    CHECK(tracker_find(&t, 2) == NULL);
    CHECK(tracker_find(&t, 1) != NULL);
    done(&t);
}

static void test_who_leaves_and_comes_back_in_one_change_begins_anew(void)
{
    struct tracker t = make();
    CHECK(simple(&t, RR_CONF_CHANGE_ADD_NODE, 1) == NULL);
    CHECK(simple(&t, RR_CONF_CHANGE_ADD_NODE, 2) == NULL);
    struct progress *pr = tracker_find(&t, 2);
    progress_maybe_update(pr, 5);
    inflights_add(&pr->inflights, &t.allocator, 6, 10);
    struct rr_conf_change_single both[] = {single(RR_CONF_CHANGE_REMOVE_NODE, 2),
                                           single(RR_CONF_CHANGE_ADD_NODE, 2)};
    struct confchange change = {.changes = both, .count = 2, .last_index = 9};
    CHECK(confchange_simple(&t, &change) == NULL);
    pr = tracker_find(&t, 2);
    CHECK_EQ_U64(pr->match, 0);
    CHECK_EQ_U64(pr->next, 9);
    CHECK_EQ_U64(pr->inflights.count, 0);
    done(&t); /* and nothing of the old window is left behind */
}

static void test_more_members_than_fit_are_refused(void)
{
    struct tracker t = make();
    for (uint64_t id = 1; id <= TRACKER_IDS_MAX; id++)
        CHECK(simple(&t, RR_CONF_CHANGE_ADD_NODE, id) == NULL);
    CHECK(strcmp(simple(&t, RR_CONF_CHANGE_ADD_LEARNER_NODE, 1000),
                 "too many members in one configuration") == 0);
    CHECK_EQ_U64(t.progress_count, TRACKER_IDS_MAX);
    done(&t);
}

static void test_kind_of_v2_changes(void)
{
    static const struct {
        uint8_t transition;
        uint32_t count;
        enum confchange_kind kind;
        bool auto_leave;
    } rows[] = {
        {RR_CONF_CHANGE_TRANSITION_AUTO, 0, CONFCHANGE_LEAVE_JOINT, true},
        {RR_CONF_CHANGE_TRANSITION_AUTO, 1, CONFCHANGE_SIMPLE, true},
        {RR_CONF_CHANGE_TRANSITION_AUTO, 2, CONFCHANGE_ENTER_JOINT, true},
        {RR_CONF_CHANGE_TRANSITION_JOINT_IMPLICIT, 0, CONFCHANGE_ENTER_JOINT, true},
        {RR_CONF_CHANGE_TRANSITION_JOINT_IMPLICIT, 1, CONFCHANGE_ENTER_JOINT, true},
        {RR_CONF_CHANGE_TRANSITION_JOINT_EXPLICIT, 1, CONFCHANGE_ENTER_JOINT, false},
    };
    struct rr_conf_change_single two[2] = {single(RR_CONF_CHANGE_ADD_NODE, 2),
                                           single(RR_CONF_CHANGE_ADD_NODE, 3)};
    for (size_t i = 0; i < RR_ARRAY_SIZE(rows); i++) {
        struct rr_conf_change_v2 change = {
            .changes = two, .change_count = rows[i].count, .transition = rows[i].transition};
        bool auto_leave;
        CHECK(confchange_kind(&change, &auto_leave) == rows[i].kind);
        if (rows[i].kind == CONFCHANGE_ENTER_JOINT)
            CHECK(auto_leave == rows[i].auto_leave);
    }
}

static void test_restore_rebuilds_every_configuration(void)
{
    static const uint64_t v[] = {1, 2, 3}, l[] = {5}, vo[] = {1, 2, 4, 6}, ln[] = {4};
    const struct rr_conf_state states[] = {
        {.voters = v, .voter_count = 3},
        {.voters = v, .voter_count = 3, .learners = l, .learner_count = 1},
        {.voters = v, .voter_count = 3, .voters_outgoing = vo, .voter_outgoing_count = 4},
        {.voters = v,
         .voter_count = 3,
         .learners = l,
         .learner_count = 1,
         .voters_outgoing = vo,
         .voter_outgoing_count = 4,
         .learners_next = ln,
         .learner_next_count = 1,
         .auto_leave = true},
        {.voter_count = 0},
    };
    for (size_t i = 0; i < RR_ARRAY_SIZE(states); i++) {
        struct tracker t = make();
        CHECK(confchange_restore(&t, &states[i], 10) == NULL);
        struct rr_conf_state rebuilt;
        tracker_conf_state(&t, &rebuilt);
        CHECK(confchange_equivalent(&states[i], &rebuilt));
        done(&t);
    }
}

static void test_equivalence_ignores_order_but_not_auto_leave(void)
{
    static const uint64_t a[] = {1, 2, 3}, b[] = {3, 1, 2}, twice[] = {1, 1, 2};
    struct rr_conf_state x = {.voters = a, .voter_count = 3};
    struct rr_conf_state y = {.voters = b, .voter_count = 3};
    CHECK(confchange_equivalent(&x, &y));
    y.auto_leave = true;
    CHECK(!confchange_equivalent(&x, &y));
    y = (struct rr_conf_state){.voters = twice, .voter_count = 3};
    CHECK(!confchange_equivalent(&x, &y));
    CHECK(!confchange_equivalent(&y, &x));
}

static void test_check_says_what_apply_would_and_changes_nothing(void)
{
    struct tracker t = make();
    simple(&t, RR_CONF_CHANGE_ADD_NODE, 1);
    struct rr_conf_change_single remove = single(RR_CONF_CHANGE_REMOVE_NODE, 1);
    struct rr_conf_change_v2 change = {.changes = &remove, .change_count = 1};
    CHECK(strcmp(confchange_check(&t, &change), "removed all voters") == 0);
    struct rr_conf_change_single add = single(RR_CONF_CHANGE_ADD_NODE, 2);
    change.changes = &add;
    CHECK(confchange_check(&t, &change) == NULL);
    CHECK(tracker_find(&t, 2) == NULL);
    struct rr_conf_state contradiction = {.voters = (const uint64_t[]){1, 1}, .voter_count = 2};
    CHECK(confchange_check_state(&t.allocator, &contradiction) != NULL);
    done(&t);
}

/* Changes made one by one, or all at once through a joint configuration, lead to the same members.
 */
static void test_joint_equals_one_by_one(void)
{
    uint32_t state = 7;
    for (int round = 0; round < 1000; round++) {
        struct tracker one = make();
        struct tracker all = make();
        simple(&one, RR_CONF_CHANGE_ADD_NODE, 1);
        simple(&all, RR_CONF_CHANGE_ADD_NODE, 1);
        struct rr_conf_change_single changes[9];
        uint32_t count = 1 + (uint32_t)round % 9;
        for (uint32_t i = 0; i < count; i++) {
            state = state * 1664525u + 1013904223u;
            changes[i] = single((enum rr_conf_change_type)(state >> 16 & 3), 2 + (state >> 20) % 9);
            CHECK(simple(&one, (enum rr_conf_change_type)changes[i].type, changes[i].node_id) ==
                  NULL);
        }
        struct confchange change = {.changes = changes, .count = count, .last_index = 7};
        CHECK(confchange_enter_joint(&all, &change, round % 2 == 0) == NULL);
        CHECK(confchange_leave_joint(&all) == NULL);
        struct rr_conf_state a, b;
        tracker_conf_state(&one, &a);
        tracker_conf_state(&all, &b);
        CHECK(confchange_equivalent(&a, &b));
        CHECK_EQ_U64(one.progress_count, all.progress_count);
        tracker_fini(&one);
        done(&all);
    }
}

int main(void)
{
    RUN(test_new_member_is_probed_at_the_last_index_and_active);
    RUN(test_refused_changes_leave_everything_as_it_was);
    RUN(test_id_zero_and_update_change_nothing);
    RUN(test_joint_demotion_waits_as_learner_next_and_keeps_progress);
    RUN(test_leaving_drops_only_who_has_no_role);
    RUN(test_who_leaves_and_comes_back_in_one_change_begins_anew);
    RUN(test_more_members_than_fit_are_refused);
    RUN(test_kind_of_v2_changes);
    RUN(test_restore_rebuilds_every_configuration);
    RUN(test_equivalence_ignores_order_but_not_auto_leave);
    RUN(test_check_says_what_apply_would_and_changes_nothing);
    RUN(test_joint_equals_one_by_one);
    return 0;
}
