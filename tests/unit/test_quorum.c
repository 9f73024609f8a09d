/* SPDX-License-Identifier: Apache-2.0 */
#include "raft/quorum.h"

#include "tests/unit/check.h"

/* The committed index by its definition: the largest value that a majority has reached. */
static uint64_t naive_committed(const uint64_t *acked, size_t count)
{
    uint64_t best = 0;
    for (size_t i = 0; i < count; i++) {
        size_t reached = 0;
        for (size_t j = 0; j < count; j++)
            reached += acked[j] >= acked[i];
        if (reached >= count / 2 + 1 && acked[i] > best)
            best = acked[i];
    }
    return best;
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void test_committed_of_no_voters_is_the_maximum(void)
{
    uint64_t none[1] = {0};
    CHECK_EQ_U64(quorum_committed(none, 0), QUORUM_INDEX_MAX);
}

static void test_committed_needs_a_majority(void)
{
    static const struct {
        uint64_t acked[5];
        size_t count;
        uint64_t committed;
    } rows[] = {
        {{12}, 1, 12},
        {{12, 5}, 2, 5},
        {{100, 101, 99}, 3, 100},
        {{0, 101, 99}, 3, 99},
        {{0, 0, 103}, 3, 0},
        {{101, 104, 103, 103}, 4, 103},
        {{50, 60, 70, 80}, 4, 60},
        {{101, 104, 103, 103, 105}, 5, 103},
    };
    for (size_t i = 0; i < RR_ARRAY_SIZE(rows); i++) {
        uint64_t acked[5];
        memcpy(acked, rows[i].acked, sizeof(acked));
        CHECK_EQ_U64(quorum_committed(acked, rows[i].count), rows[i].committed);
    }
}

static void test_committed_of_random_groups_equals_the_definition(void)
{
    uint64_t state = 42;
    for (int round = 0; round < 50000; round++) {
        uint64_t acked[9];
        size_t count = 1 + next_random(&state) % 9;
        for (size_t i = 0; i < count; i++)
            acked[i] = next_random(&state) % 20;
        uint64_t expected = naive_committed(acked, count);
        CHECK_EQ_U64(quorum_committed(acked, count), expected);
    }
}

static void test_vote_results_by_count(void)
{
    static const struct {
        size_t voters, granted, rejected;
        enum vote_result result;
    } rows[] = {
        {0, 0, 0, VOTE_WON},     {1, 0, 0, VOTE_PENDING}, {1, 1, 0, VOTE_WON},
        {1, 0, 1, VOTE_LOST},    {2, 1, 0, VOTE_PENDING}, {2, 1, 1, VOTE_LOST},
        {3, 2, 0, VOTE_WON},     {3, 1, 1, VOTE_PENDING}, {3, 0, 2, VOTE_LOST},
        {4, 2, 1, VOTE_PENDING}, {4, 2, 2, VOTE_LOST},    {4, 3, 0, VOTE_WON},
        {5, 2, 2, VOTE_PENDING}, {5, 3, 2, VOTE_WON},     {5, 2, 3, VOTE_LOST},
    };
    for (size_t i = 0; i < RR_ARRAY_SIZE(rows); i++)
        CHECK(quorum_vote(rows[i].voters, rows[i].granted, rows[i].rejected) == rows[i].result);
}

static void test_joint_vote_needs_both_halves(void)
{
    CHECK(quorum_vote_joint(VOTE_WON, VOTE_WON) == VOTE_WON);
    CHECK(quorum_vote_joint(VOTE_WON, VOTE_PENDING) == VOTE_PENDING);
    CHECK(quorum_vote_joint(VOTE_PENDING, VOTE_WON) == VOTE_PENDING);
    CHECK(quorum_vote_joint(VOTE_LOST, VOTE_WON) == VOTE_LOST);
    CHECK(quorum_vote_joint(VOTE_PENDING, VOTE_LOST) == VOTE_LOST);
    CHECK(quorum_vote_joint(VOTE_LOST, VOTE_LOST) == VOTE_LOST);
}

int main(void)
{
    RUN(test_committed_of_no_voters_is_the_maximum);
    RUN(test_committed_needs_a_majority);
    RUN(test_committed_of_random_groups_equals_the_definition);
    RUN(test_vote_results_by_count);
    RUN(test_joint_vote_needs_both_halves);
    return 0;
}
