/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/outcomes.h"

#include "tests/unit/check.h"

static void test_outcomes_leave_once_in_order_of_index(void)
{
    struct outcomes outcomes;
    uint64_t tags[3] = {10, 11, 12}, tag = 0;
    CHECK(outcomes_init(&outcomes, 8) == 0);
    outcomes_put(&outcomes, 5, 2, tags, 3);
    CHECK(outcomes_take(&outcomes, 4, 2, &tag) == OUTCOME_NONE);
    for (uint64_t i = 0; i < 3; i++)
        CHECK(outcomes_take(&outcomes, 5 + i, 2, &tag) == OUTCOME_SAME && tag == 10 + i);
    CHECK(outcomes_take(&outcomes, 8, 2, &tag) == OUTCOME_NONE);
    CHECK_EQ_U64(outcomes.count, 0);
    outcomes_fini(&outcomes);
}

static void test_outcomes_entry_of_another_term_is_replaced(void)
{
    struct outcomes outcomes;
    uint64_t tags[1] = {7}, tag = 0;
    CHECK(outcomes_init(&outcomes, 8) == 0);
    outcomes_put(&outcomes, 5, 2, tags, 1);
    CHECK(outcomes_take(&outcomes, 5, 3, &tag) == OUTCOME_REPLACED && tag == 7);
    outcomes_fini(&outcomes);
}

static void test_outcomes_lost_leadership_fails_only_what_is_above_commit(void)
{
    struct outcomes outcomes;
    uint64_t tags[4] = {1, 2, 3, 4}, tag, at, term;
    CHECK(outcomes_init(&outcomes, 8) == 0);
    outcomes_put(&outcomes, 10, 2, tags, 4);
    CHECK(outcomes_fail_after(&outcomes, 11, &tag, &at, &term) && tag == 4 && at == 13 &&
          term == 2);
    CHECK(outcomes_fail_after(&outcomes, 11, &tag, &at, &term) && tag == 3 && at == 12);
    CHECK(!outcomes_fail_after(&outcomes, 11, &tag, &at, &term));
    /* A later leadership of the same node puts behind them. */
    outcomes_put(&outcomes, 15, 4, tags, 1);
    CHECK(outcomes_take(&outcomes, 10, 2, &tag) == OUTCOME_SAME && tag == 1);
    CHECK(outcomes_take(&outcomes, 11, 2, &tag) == OUTCOME_SAME && tag == 2);
    CHECK(outcomes_take(&outcomes, 12, 3, &tag) == OUTCOME_NONE);
    CHECK(outcomes_fail_up_to(&outcomes, UINT64_MAX, &tag, &at, &term) && at == 15 && term == 4);
    CHECK(!outcomes_fail_up_to(&outcomes, UINT64_MAX, &tag, &at, &term));
    outcomes_fini(&outcomes);
}

static void test_outcomes_room_shrinks_with_the_span_of_indexes(void)
{
    struct outcomes outcomes;
    uint64_t tags[8] = {0}, tag;
    CHECK(outcomes_init(&outcomes, 8) == 0);
    CHECK_EQ_U64(outcomes_room(&outcomes, 100), 8);
    outcomes_put(&outcomes, 100, 1, tags, 6);
    CHECK_EQ_U64(outcomes_room(&outcomes, 106), 2);
    CHECK_EQ_U64(outcomes_room(&outcomes, 107), 1);
    outcomes_put(&outcomes, 106, 1, tags, 2);
    CHECK_EQ_U64(outcomes_room(&outcomes, 108), 0);
    CHECK(outcomes_take(&outcomes, 100, 1, &tag) == OUTCOME_SAME);
    CHECK_EQ_U64(outcomes_room(&outcomes, 108), 1);
    outcomes_fini(&outcomes);
}

static void test_outcomes_canceled_tag_leaves_without_an_outcome(void)
{
    struct outcomes outcomes;
    uint64_t tags[6] = {1, 2, 3, 2, 5, 6}, tag, at, term;
    CHECK(outcomes_init(&outcomes, 8) == 0);
    outcomes_put(&outcomes, 10, 2, tags, 6);
    CHECK(outcomes_cancel(&outcomes, 2, &at, &term) && at == 11 && term == 2);
    CHECK(outcomes_cancel(&outcomes, 2, &at, &term) && at == 13);
    CHECK(!outcomes_cancel(&outcomes, 2, &at, &term) && !outcomes_cancel(&outcomes, 9, &at, &term));
    CHECK(outcomes_cancel(&outcomes, 6, &at, &term) && outcomes_cancel(&outcomes, 1, &at, &term));
    CHECK_EQ_U64(outcomes.count, 2);
    CHECK(outcomes_fail_up_to(&outcomes, 12, &tag, &at, &term) && tag == 3 && at == 12);
    CHECK(!outcomes_fail_up_to(&outcomes, 12, &tag, &at, &term));
    CHECK(outcomes_take(&outcomes, 13, 2, &tag) == OUTCOME_NONE);
    CHECK(outcomes_fail_after(&outcomes, 13, &tag, &at, &term) && tag == 5);
    CHECK(!outcomes_fail_after(&outcomes, 13, &tag, &at, &term));
    CHECK_EQ_U64(outcomes.count + outcomes.canceled_count + outcomes.run_count, 0);
    outcomes_fini(&outcomes);
}

int main(void)
{
    RUN(test_outcomes_canceled_tag_leaves_without_an_outcome);
    RUN(test_outcomes_leave_once_in_order_of_index);
    RUN(test_outcomes_entry_of_another_term_is_replaced);
    RUN(test_outcomes_lost_leadership_fails_only_what_is_above_commit);
    RUN(test_outcomes_room_shrinks_with_the_span_of_indexes);
    return 0;
}
