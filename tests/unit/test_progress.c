/* SPDX-License-Identifier: Apache-2.0 */
#include "raft/progress.h"

#include "tests/unit/check.h"
#include "tests/unit/raft_heap.h"

static struct raft_heap heap;

static struct progress make(enum rr_progress_state state, uint64_t match, uint64_t next)
{
    return (struct progress){.id = 2,
                             .state = (uint8_t)state,
                             .match = match,
                             .next = next,
                             .inflights = {.max_count = 2}};
}

static void test_is_paused_by_state(void)
{
    static const struct {
        enum rr_progress_state state;
        bool flow_paused, is_paused;
    } rows[] = {
        {RR_PROGRESS_PROBE, false, false},     {RR_PROGRESS_PROBE, true, true},
        {RR_PROGRESS_REPLICATE, false, false}, {RR_PROGRESS_REPLICATE, true, true},
        {RR_PROGRESS_SNAPSHOT, false, true},   {RR_PROGRESS_SNAPSHOT, true, true},
    };
    for (size_t i = 0; i < RR_ARRAY_SIZE(rows); i++) {
        struct progress pr = make(rows[i].state, 0, 1);
        pr.msg_app_flow_paused = rows[i].flow_paused;
        CHECK(progress_is_paused(&pr) == rows[i].is_paused);
    }
}

static void test_become_probe_resumes_behind_match_or_snapshot(void)
{
    static const struct {
        enum rr_progress_state from;
        uint64_t pending_snapshot, next;
    } rows[] = {
        {RR_PROGRESS_REPLICATE, 0, 2},
        {RR_PROGRESS_SNAPSHOT, 10, 11}, /* the snapshot arrived */
        {RR_PROGRESS_SNAPSHOT, 0, 2},   /* it failed */
    };
    for (size_t i = 0; i < RR_ARRAY_SIZE(rows); i++) {
        struct progress pr = make(rows[i].from, 1, 5);
        pr.pending_snapshot = rows[i].pending_snapshot;
        pr.sent_commit = 50;
        pr.msg_app_flow_paused = true;
        progress_become_probe(&pr);
        CHECK(pr.state == RR_PROGRESS_PROBE);
        CHECK_EQ_U64(pr.match, 1);
        CHECK_EQ_U64(pr.next, rows[i].next);
        CHECK_EQ_U64(pr.sent_commit, rows[i].next - 1);
        CHECK_EQ_U64(pr.pending_snapshot, 0);
        CHECK(!pr.msg_app_flow_paused);
    }
}

static void test_become_replicate_sends_behind_match(void)
{
    struct progress pr = make(RR_PROGRESS_PROBE, 1, 5);
    progress_become_replicate(&pr);
    CHECK(pr.state == RR_PROGRESS_REPLICATE);
    CHECK_EQ_U64(pr.next, 2);
}

static void test_become_snapshot_expects_what_follows_it(void)
{
    struct progress pr = make(RR_PROGRESS_PROBE, 1, 5);
    progress_become_snapshot(&pr, 10);
    CHECK(pr.state == RR_PROGRESS_SNAPSHOT);
    CHECK_EQ_U64(pr.pending_snapshot, 10);
    CHECK_EQ_U64(pr.next, 11);
    CHECK_EQ_U64(pr.sent_commit, 10);
}

static void test_sent_entries_probe_pauses_only_with_entries(void)
{
    struct rr_allocator allocator = raft_heap_allocator(&heap);
    struct progress pr = make(RR_PROGRESS_PROBE, 1, 2);
    progress_sent_nothing(&pr);
    CHECK(!pr.msg_app_flow_paused);
    progress_sent_entries(&pr, &allocator, 3, 30);
    CHECK(pr.msg_app_flow_paused);
    CHECK_EQ_U64(pr.next, 2);
}

static void test_sent_entries_replicate_advances_until_the_window_is_full(void)
{
    struct rr_allocator allocator = raft_heap_allocator(&heap);
    struct progress pr = make(RR_PROGRESS_REPLICATE, 1, 2);
    progress_sent_entries(&pr, &allocator, 3, 30);
    CHECK_EQ_U64(pr.next, 5);
    CHECK(!pr.msg_app_flow_paused);
    progress_sent_entries(&pr, &allocator, 1, 10);
    CHECK_EQ_U64(pr.next, 6);
    CHECK(pr.msg_app_flow_paused);
    CHECK_EQ_U64(pr.inflights.count, 2);
    CHECK_EQ_U64(pr.inflights.bytes, 40);
    /* An empty message into a full window pauses again. */
    pr.msg_app_flow_paused = false;
    progress_sent_nothing(&pr);
    CHECK(pr.msg_app_flow_paused);
    inflights_free_le(&pr.inflights, 4);
    progress_sent_nothing(&pr);
    CHECK(!pr.msg_app_flow_paused);
    inflights_fini(&pr.inflights, &allocator);
}

static void test_maybe_update_takes_only_news(void)
{
    static const struct {
        uint64_t update, match, next;
        bool is_news;
    } rows[] = {
        {2, 3, 5, false}, {3, 3, 5, false}, {4, 4, 5, true}, {5, 5, 6, true}, {9, 9, 10, true}};
    for (size_t i = 0; i < RR_ARRAY_SIZE(rows); i++) {
        struct progress pr = make(RR_PROGRESS_REPLICATE, 3, 5);
        pr.msg_app_flow_paused = true;
        CHECK(progress_maybe_update(&pr, rows[i].update) == rows[i].is_news);
        CHECK_EQ_U64(pr.match, rows[i].match);
        CHECK_EQ_U64(pr.next, rows[i].next);
        CHECK(pr.msg_app_flow_paused == !rows[i].is_news);
    }
}

static void test_maybe_decr_to_by_state(void)
{
    static const struct {
        enum rr_progress_state state;
        uint64_t match, next, rejected, hint;
        bool is_genuine;
        uint64_t next_after;
    } rows[] = {
        {RR_PROGRESS_REPLICATE, 5, 10, 5, 5, false, 10}, /* stale */
        {RR_PROGRESS_REPLICATE, 5, 10, 4, 4, false, 10}, /* stale */
        {RR_PROGRESS_REPLICATE, 5, 10, 9, 9, true, 6},   /* to match + 1, whatever the hint */
        {RR_PROGRESS_REPLICATE, 5, 10, 9, 2, true, 6},
        {RR_PROGRESS_PROBE, 0, 0 + 1, 5, 5, false, 1}, /* next - 1 is not what was rejected */
        {RR_PROGRESS_PROBE, 0, 10, 5, 5, false, 10},
        {RR_PROGRESS_PROBE, 0, 10, 9, 9, true, 9},
        {RR_PROGRESS_PROBE, 0, 2, 1, 1, true, 1},
        {RR_PROGRESS_PROBE, 0, 1, 0, 0, true, 1},
        {RR_PROGRESS_PROBE, 0, 10, 9, 2, true, 3},
        {RR_PROGRESS_PROBE, 0, 10, 9, 0, true, 1},
        {RR_PROGRESS_PROBE, 4, 10, 9, 2, true, 5}, /* never at or below match */
    };
    for (size_t i = 0; i < RR_ARRAY_SIZE(rows); i++) {
        struct progress pr = make(rows[i].state, rows[i].match, rows[i].next);
        pr.sent_commit = 9;
        pr.msg_app_flow_paused = true;
        CHECK(progress_maybe_decr_to(&pr, rows[i].rejected, rows[i].hint) == rows[i].is_genuine);
        CHECK_EQ_U64(pr.match, rows[i].match);
        CHECK_EQ_U64(pr.next, rows[i].next_after);
        if (rows[i].is_genuine)
            CHECK_EQ_U64(pr.sent_commit, rr_min_u64(9, pr.next - 1));
        if (rows[i].is_genuine && rows[i].state == RR_PROGRESS_PROBE)
            CHECK(!pr.msg_app_flow_paused);
    }
}

static void test_can_bump_commit_only_if_nothing_in_flight_does(void)
{
    struct progress pr = make(RR_PROGRESS_REPLICATE, 5, 10);
    pr.sent_commit = 5;
    CHECK(progress_can_bump_commit(&pr, 6));
    CHECK(!progress_can_bump_commit(&pr, 5));
    pr.sent_commit = 9;
    CHECK(!progress_can_bump_commit(&pr, 20));
}

int main(void)
{
    RUN(test_is_paused_by_state);
    RUN(test_become_probe_resumes_behind_match_or_snapshot);
    RUN(test_become_replicate_sends_behind_match);
    RUN(test_become_snapshot_expects_what_follows_it);
    RUN(test_sent_entries_probe_pauses_only_with_entries);
    RUN(test_sent_entries_replicate_advances_until_the_window_is_full);
    RUN(test_maybe_update_takes_only_news);
    RUN(test_maybe_decr_to_by_state);
    RUN(test_can_bump_commit_only_if_nothing_in_flight_does);
    return 0;
}
