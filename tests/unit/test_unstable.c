/* SPDX-License-Identifier: Apache-2.0 */
#include "raft/unstable.h"

#include "tests/unit/check.h"
#include "tests/unit/raft_heap.h"

static struct raft_heap heap;
static struct outbox outbox;
static const struct event_sink silent = {.level = UINT8_MAX};

static void free_nothing(struct rr_block *block)
{
    (void)block;
}

/* All entries share it: its count says how many descriptors hold it. */
static struct rr_block block = {.refs = 1, .free = free_nothing};

static void begin(struct unstable *u, uint64_t offset)
{
    struct rr_config config = {.allocator = raft_heap_allocator(&heap)};
    outbox_init(&outbox, &config);
    unstable_init(u, &outbox, &silent, offset);
}

static void end(struct unstable *u)
{
    unstable_fini(u);
    outbox_fini(&outbox);
    CHECK_EQ_U64(block.refs, 1);
    CHECK_EQ_U64(heap.outstanding, 0);
}

static void append(struct unstable *u, uint64_t index, uint64_t term, uint32_t count)
{
    struct rr_entry entries[64];
    CHECK(count <= RR_ARRAY_SIZE(entries));
    for (uint32_t i = 0; i < count; i++)
        entries[i] = (struct rr_entry){.index = index + i,
                                       .term = term,
                                       .block = &block,
                                       .has = RR_ENTRY_HAS_TERM | RR_ENTRY_HAS_INDEX};
    unstable_truncate_and_append(u, entries, count);
}

static void restore(struct unstable *u, uint64_t index, uint64_t term)
{
    struct rr_snapshot snapshot = {.metadata = {.index = index, .term = term}};
    unstable_restore(u, &snapshot);
}

static void check_shape(struct unstable *u, uint64_t offset, uint64_t in_progress, uint32_t count)
{
    unstable_check(u);
    CHECK_EQ_U64(u->offset, offset);
    CHECK_EQ_U64(u->offset_in_progress, in_progress);
    CHECK_EQ_U64(u->count, count);
    /* Two Readys later nothing else is held: neither what is stable nor what was cut off. */
    for (int i = 0; i < 2; i++) {
        unstable_drop_kept(u);
        outbox_close(&outbox);
    }
    unstable_check(u);
    CHECK_EQ_U64(block.refs, 1 + count);
}

static void test_first_index_only_with_a_snapshot(void)
{
    struct unstable u;
    uint64_t index;
    begin(&u, 5);
    append(&u, 5, 1, 1);
    CHECK(!unstable_maybe_first_index(&u, &index));
    restore(&u, 4, 1);
    CHECK(unstable_maybe_first_index(&u, &index));
    CHECK_EQ_U64(index, 5);
    end(&u);
}

static void test_term_of_entries_and_of_the_snapshot(void)
{
    struct unstable u;
    uint64_t term;
    begin(&u, 1);
    restore(&u, 4, 2);
    append(&u, 5, 3, 1);
    CHECK(unstable_maybe_term(&u, 5, &term) && term == 3);
    CHECK(unstable_maybe_term(&u, 4, &term) && term == 2);
    CHECK(!unstable_maybe_term(&u, 3, &term));
    CHECK(!unstable_maybe_term(&u, 6, &term));
    end(&u);
}

static void test_restore_forgets_all_entries(void)
{
    struct unstable u;
    begin(&u, 5);
    append(&u, 5, 1, 3);
    unstable_accept_in_progress(&u);
    restore(&u, 6, 2);
    check_shape(&u, 7, 7, 0);
    CHECK(!u.snapshot_in_progress);
    CHECK_EQ_U64(unstable_next_snapshot(&u)->metadata.index, 6);
    end(&u);
}

static void test_next_snapshot_until_in_progress(void)
{
    struct unstable u;
    begin(&u, 5);
    CHECK(unstable_next_snapshot(&u) == NULL);
    restore(&u, 9, 1);
    CHECK(unstable_next_snapshot(&u) != NULL);
    unstable_accept_in_progress(&u);
    CHECK(unstable_next_snapshot(&u) == NULL);
    unstable_stable_snap_to(&u, 8);
    CHECK(u.snapshot != NULL);
    unstable_stable_snap_to(&u, 9);
    CHECK(u.snapshot == NULL && !u.snapshot_in_progress);
    end(&u);
}

static void test_stable_to_drops_the_prefix(void)
{
    static const struct {
        uint64_t index, term, offset, in_progress;
        uint32_t count;
    } rows[] = {
        {5, 1, 6, 7, 2}, {6, 1, 7, 7, 1}, {7, 1, 8, 8, 0}, /* in progress was 7 */
        {5, 2, 5, 7, 3},                                   /* another term: overwritten since */
        {4, 1, 5, 7, 3}, {9, 1, 5, 7, 3},                  /* unknown positions */
    };
    for (size_t i = 0; i < RR_ARRAY_SIZE(rows); i++) {
        struct unstable u;
        begin(&u, 5);
        append(&u, 5, 1, 2);
        unstable_accept_in_progress(&u);
        append(&u, 7, 1, 1);
        unstable_stable_to(&u, rows[i].term, rows[i].index);
        check_shape(&u, rows[i].offset, rows[i].in_progress, rows[i].count);
        end(&u);
    }
}

static void test_stable_to_ignores_the_position_of_the_snapshot(void)
{
    struct unstable u;
    begin(&u, 1);
    restore(&u, 4, 1);
    append(&u, 5, 1, 1);
    unstable_stable_to(&u, 1, 4);
    check_shape(&u, 5, 5, 1);
    unstable_stable_to(&u, 1, 5);
    check_shape(&u, 6, 6, 0);
    CHECK(u.snapshot != NULL);
    end(&u);
}

static void test_truncate_and_append(void)
{
    static const struct {
        uint64_t index;
        uint32_t add;
        uint64_t offset, in_progress;
        uint32_t count;
    } rows[] = {
        {8, 2, 5, 7, 5}, /* behind */
        {5, 2, 5, 5, 2}, /* replaces everything */
        {4, 4, 4, 4, 4}, /* and what is stable too */
        {6, 1, 5, 6, 2}, /* cuts into what is in progress: it must be written again */
        {7, 3, 5, 7, 5}, /* cuts behind it */
    };
    for (size_t i = 0; i < RR_ARRAY_SIZE(rows); i++) {
        struct unstable u;
        begin(&u, 5);
        append(&u, 5, 1, 2);
        unstable_accept_in_progress(&u);
        append(&u, 7, 1, 1);
        append(&u, rows[i].index, 2, rows[i].add);
        check_shape(&u, rows[i].offset, rows[i].in_progress, rows[i].count);
        CHECK_EQ_U64(unstable_at(&u, rows[i].index)->term, 2);
        end(&u);
    }
}

static void test_reserved_entries_count_only_when_extended(void)
{
    struct unstable u;
    begin(&u, 5);
    append(&u, 5, 1, 1);
    unstable_reserve(&u, 2);
    *unstable_slot(&u, 6) = (struct rr_entry){.index = 6, .term = 1, .block = &block};
    *unstable_slot(&u, 7) = (struct rr_entry){.index = 7, .term = 1, .block = &block};
    check_shape(&u, 5, 5, 1);
    unstable_extend(&u, 2);
    check_shape(&u, 5, 5, 3);
    end(&u);
}

static void test_ring_needs_no_more_memory_than_three_readys(void)
{
    struct unstable u;
    begin(&u, 1);
    uint64_t next = 1;
    uint64_t calls = 0;
    for (int i = 0; i < 1000; i++) {
        append(&u, next, 1, 50);
        next += 50;
        unstable_accept_in_progress(&u);
        unstable_stable_to(&u, 1, next - 11); /* ten stay */
        CHECK_EQ_U64(unstable_at(&u, next - 1)->index, next - 1);
        CHECK_EQ_U64(unstable_at(&u, next - 10)->index, next - 10);
        unstable_drop_kept(&u);
        outbox_close(&outbox);
        unstable_check(&u);
        if (i == 10)
            calls = heap.calls;
    }
    CHECK(u.cap <= 256);
    CHECK_EQ_U64(heap.calls, calls);
    end(&u);
}

/* What a message mentions stays as it was while the log goes on without it. */
static void test_cut_entries_stay_readable_for_two_readys(void)
{
    struct unstable u;
    begin(&u, 5);
    append(&u, 5, 1, 4);
    const struct rr_entry *mentioned = unstable_at(&u, 6);
    append(&u, 6, 2, 1);
    CHECK_EQ_U64(unstable_at(&u, 6)->term, 2);
    unstable_drop_kept(&u);
    outbox_close(&outbox); /* handed out now */
    CHECK_EQ_U64(mentioned[0].term, 1);
    CHECK_EQ_U64(mentioned[2].index, 8);
    CHECK_EQ_U64(block.refs, 1 + 2 + 3);
    unstable_drop_kept(&u);
    outbox_close(&outbox);
    CHECK_EQ_U64(block.refs, 1 + 2);
    end(&u);
}

static void test_stable_entries_are_kept_until_the_ready_after_the_next(void)
{
    struct unstable u;
    begin(&u, 5);
    append(&u, 5, 1, 3);
    unstable_drop_kept(&u);
    unstable_stable_to(&u, 1, 6);
    CHECK_EQ_U64(unstable_spans(&u, 5, 8).first[0].index, 5);
    unstable_drop_kept(&u); /* hands out what was made since the last one */
    CHECK_EQ_U64(u.kept, 5);
    CHECK_EQ_U64(block.refs, 1 + 3);
    unstable_drop_kept(&u);
    CHECK_EQ_U64(u.kept, 7);
    CHECK_EQ_U64(block.refs, 1 + 1);
    end(&u);
}

static void test_ring_wraps_in_two_spans_and_knows_their_size(void)
{
    struct unstable u;
    begin(&u, 1);
    append(&u, 1, 1, 60); /* one byte each for two tags, index and term */
    unstable_stable_to(&u, 1, 60);
    unstable_drop_kept(&u);
    unstable_drop_kept(&u);
    append(&u, 61, 1, 10);
    CHECK_EQ_U64(u.cap, 64);
    struct rr_entry_spans spans = unstable_spans(&u, 61, 71);
    CHECK_EQ_U64(spans.first_count, 3);
    CHECK_EQ_U64(spans.second_count, 7);
    CHECK_EQ_U64(spans.first[2].index, 63);
    CHECK_EQ_U64(spans.second[0].index, 64);
    CHECK_EQ_U64(unstable_size(&u, 61, 71), 40);
    CHECK_EQ_U64(unstable_limit_size(&u, 61, 71, 40), 71);
    CHECK_EQ_U64(unstable_limit_size(&u, 61, 71, 39), 70);
    CHECK_EQ_U64(unstable_limit_size(&u, 61, 71, 4), 62);
    CHECK_EQ_U64(unstable_limit_size(&u, 61, 71, 3), 61);
    end(&u);
}

int main(void)
{
    RUN(test_first_index_only_with_a_snapshot);
    RUN(test_term_of_entries_and_of_the_snapshot);
    RUN(test_restore_forgets_all_entries);
    RUN(test_next_snapshot_until_in_progress);
    RUN(test_stable_to_drops_the_prefix);
    RUN(test_stable_to_ignores_the_position_of_the_snapshot);
    RUN(test_truncate_and_append);
    RUN(test_reserved_entries_count_only_when_extended);
    RUN(test_ring_needs_no_more_memory_than_three_readys);
    RUN(test_cut_entries_stay_readable_for_two_readys);
    RUN(test_stable_entries_are_kept_until_the_ready_after_the_next);
    RUN(test_ring_wraps_in_two_spans_and_knows_their_size);
    return 0;
}
