/* SPDX-License-Identifier: Apache-2.0
 *
 * The log over memory storage: `stable` entries 1..stable in the storage, then an unstable tail.
 */
#include "raft/raft_log.h"

#include "tests/unit/check.h"
#include "tests/unit/raft_heap.h"

static struct raft_heap heap;
static struct outbox outbox;
static struct rr_memory_storage *storage;
static const struct event_sink silent = {.level = UINT8_MAX};

/* Two bytes each for term and index below 128: 4 encoded bytes per entry. */
static struct rr_entry entry(uint64_t index, uint64_t term)
{
    return (struct rr_entry){
        .index = index, .term = term, .has = RR_ENTRY_HAS_TERM | RR_ENTRY_HAS_INDEX};
}

static void append_all(struct raft_log *log, uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i <= to; i++) {
        struct rr_entry one = entry(i, i);
        raft_log_append(log, &one, 1);
    }
}

/* Entries i/i: 1..stable in the storage, the others up to `last` unstable. */
static void begin(struct raft_log *log, uint64_t stable, uint64_t last, uint64_t max_applying)
{
    struct rr_config config = {.allocator = raft_heap_allocator(&heap)};
    storage = rr_memory_storage_new(&config.allocator);
    for (uint64_t i = 1; i <= stable; i++) {
        struct rr_entry one = entry(i, i);
        rr_memory_storage_append(storage, &one, 1);
    }
    outbox_init(&outbox, &config);
    struct raft_log_options options = {.storage = rr_memory_storage_interface(storage),
                                       .outbox = &outbox,
                                       .events = &silent,
                                       .max_applying_ents_size = max_applying};
    raft_log_init(log, &options);
    append_all(log, stable + 1, last);
}

static void end(struct raft_log *log)
{
    raft_log_check(log);
    raft_log_fini(log);
    outbox_fini(&outbox);
    rr_memory_storage_free(storage);
    CHECK_EQ_U64(heap.outstanding, 0);
}

static void test_find_conflict_is_the_first_that_differs(void)
{
    static const struct {
        uint64_t index, term;
        uint32_t count;
        uint64_t conflict;
    } rows[] = {
        {1, 1, 0, 0}, {1, 1, 3, 0}, {2, 2, 2, 0}, {3, 3, 1, 0},
        {1, 1, 5, 4}, {3, 3, 2, 4}, {4, 4, 2, 4}, {1, 9, 2, 1},
    };
    struct raft_log log;
    begin(&log, 2, 3, UINT64_MAX);
    for (size_t k = 0; k < RR_ARRAY_SIZE(rows); k++) {
        struct rr_entry entries[5];
        for (uint32_t i = 0; i < rows[k].count; i++)
            entries[i] = entry(rows[k].index + i, rows[k].term + i);
        CHECK_EQ_U64(raft_log_find_conflict(&log, entries, rows[k].count), rows[k].conflict);
    }
    end(&log);
}

/* Terms 2,2,5,5,5 at 101..105, compacted at 100 (term 2). */
static void test_find_conflict_by_term(void)
{
    static const struct {
        uint64_t index, term, found, found_term;
    } rows[] = {
        {100, 2, 100, 2}, {105, 4, 102, 2}, {105, 5, 105, 5}, {105, 6, 105, 5},
        {104, 1, 99, 0},  {106, 5, 106, 0}, {103, 2, 102, 2}, {0, 3, 0, 0},
    };
    struct raft_log log;
    begin(&log, 0, 0, UINT64_MAX);
    struct rr_snapshot snapshot = {.metadata = {.index = 100, .term = 2}};
    raft_log_restore(&log, &snapshot);
    struct rr_entry entries[] = {entry(101, 2), entry(102, 2), entry(103, 5), entry(104, 5),
                                 entry(105, 5)};
    raft_log_append(&log, entries, 5);
    for (size_t k = 0; k < RR_ARRAY_SIZE(rows); k++) {
        struct entry_id id = raft_log_find_conflict_by_term(&log, rows[k].index, rows[k].term);
        CHECK_EQ_U64(id.index, rows[k].found);
        CHECK_EQ_U64(id.term, rows[k].found_term);
    }
    end(&log);
}

static void test_up_to_date_is_term_first_then_index(void)
{
    static const struct {
        uint64_t term, index;
        bool is_up_to_date;
    } rows[] = {
        {4, 2, true},  {4, 3, true},  {4, 4, true}, {2, 2, false},
        {2, 4, false}, {3, 2, false}, {3, 3, true}, {3, 4, true},
    };
    struct raft_log log;
    begin(&log, 1, 3, UINT64_MAX);
    for (size_t k = 0; k < RR_ARRAY_SIZE(rows); k++) {
        struct entry_id other = {.term = rows[k].term, .index = rows[k].index};
        CHECK(raft_log_is_up_to_date(&log, other) == rows[k].is_up_to_date);
    }
    end(&log);
}

static void test_maybe_append_takes_what_fits_and_commits_no_further(void)
{
    static const struct {
        uint64_t log_term, index;
        uint32_t count;
        uint64_t first_term, commit;
        bool fits;
        uint64_t last_new, committed, last;
    } rows[] = {
        {2, 3, 1, 4, 3, false, 0, 1, 3}, /* other term */
        {3, 4, 1, 4, 3, false, 0, 1, 3}, /* beyond the end */
        {3, 3, 0, 0, 3, true, 3, 3, 3},  /* a heartbeat's worth */
        {3, 3, 0, 0, 4, true, 3, 3, 3},  /* commit is cut at the last new index */
        {3, 3, 0, 0, 2, true, 3, 2, 3},  {3, 3, 0, 0, 0, true, 3, 1, 3}, /* never back */
        {0, 0, 0, 0, 3, true, 0, 1, 3},  {3, 3, 1, 4, 3, true, 4, 3, 4},
        {3, 3, 1, 4, 5, true, 4, 4, 4},  {3, 3, 2, 4, 4, true, 5, 4, 5},
        {2, 2, 1, 4, 3, true, 3, 3, 3},  {1, 1, 1, 4, 3, true, 2, 2, 2}, /* overwrites */
        {1, 1, 2, 4, 3, true, 3, 3, 3},
    };
    for (size_t k = 0; k < RR_ARRAY_SIZE(rows); k++) {
        struct raft_log log;
        begin(&log, 0, 3, UINT64_MAX);
        raft_log_commit_to(&log, 1);
        struct rr_entry entries[2];
        for (uint32_t i = 0; i < rows[k].count; i++)
            entries[i] = entry(rows[k].index + 1 + i, rows[k].first_term);
        struct rr_message m = {.type = RR_MSG_APP,
                               .index = rows[k].index,
                               .log_term = rows[k].log_term,
                               .commit = rows[k].commit,
                               .entries = entries,
                               .entry_count = rows[k].count};
        uint64_t last_new = 0;
        CHECK(raft_log_maybe_append(&log, &m, &last_new) == rows[k].fits);
        CHECK_EQ_U64(last_new, rows[k].last_new);
        CHECK_EQ_U64(log.committed, rows[k].committed);
        CHECK_EQ_U64(raft_log_last_index(&log), rows[k].last);
        end(&log);
    }
}

/* After a restart nothing is unstable, and the term of the last entry is the storage's to tell. */
static void test_maybe_append_after_a_restart_asks_the_storage(void)
{
    static const struct {
        uint64_t log_term;
        uint32_t count;
        bool fits;
    } rows[] = {{0, 0, false}, {0, 1, false}, {2, 1, false},
                {4, 1, false}, {3, 0, true},  {3, 1, true}};
    for (size_t k = 0; k < RR_ARRAY_SIZE(rows); k++) {
        struct raft_log log;
        begin(&log, 3, 3, UINT64_MAX);
        const struct rr_entry next = entry(4, 4);
        struct rr_message m = {.type = RR_MSG_APP,
                               .index = 3,
                               .log_term = rows[k].log_term,
                               .entries = &next,
                               .entry_count = rows[k].count};
        uint64_t last_new = 0;
        CHECK(raft_log_maybe_append(&log, &m, &last_new) == rows[k].fits);
        CHECK_EQ_U64(last_new, rows[k].fits ? 3 + rows[k].count : 0);
        CHECK_EQ_U64(raft_log_last_index(&log), rows[k].fits ? 3 + rows[k].count : 3);
        end(&log);
    }
}

static void test_maybe_commit_only_in_the_given_term(void)
{
    struct raft_log log;
    begin(&log, 0, 3, UINT64_MAX);
    CHECK(!raft_log_maybe_commit(&log, (struct entry_id){.term = 3, .index = 2}));
    CHECK(!raft_log_maybe_commit(&log, (struct entry_id){.term = 0, .index = 2}));
    CHECK(raft_log_maybe_commit(&log, (struct entry_id){.term = 2, .index = 2}));
    CHECK(!raft_log_maybe_commit(&log, (struct entry_id){.term = 1, .index = 1}));
    CHECK(!raft_log_maybe_commit(&log, (struct entry_id){.term = 4, .index = UINT64_MAX}));
    CHECK_EQ_U64(log.committed, 2);
    end(&log);
}

static void test_term_inside_and_outside(void)
{
    struct raft_log log;
    uint64_t term;
    begin(&log, 5, 8, UINT64_MAX);
    rr_memory_storage_compact(storage, 3);
    CHECK(raft_log_term(&log, 2, &term) == RR_E_COMPACTED);
    for (uint64_t i = 3; i <= 8; i++)
        CHECK(raft_log_term(&log, i, &term) == 0 && term == i);
    CHECK(raft_log_term(&log, 9, &term) == RR_E_UNAVAILABLE);
    /* A pending snapshot hides the storage, but for its own position. */
    struct rr_snapshot snapshot = {.metadata = {.index = 20, .term = 19}};
    raft_log_restore(&log, &snapshot);
    CHECK(raft_log_term(&log, 5, &term) == RR_E_COMPACTED);
    CHECK(raft_log_term(&log, 20, &term) == 0 && term == 19);
    CHECK(raft_log_term(&log, 21, &term) == RR_E_UNAVAILABLE);
    CHECK_EQ_U64(raft_log_first_index(&log), 21);
    log.committed = 20;
    log.applied = log.applying = 20;
    end(&log);
}

/* 1..5 stable, 6..10 unstable, 4 bytes each. */
static void test_slice_across_storage_and_unstable_by_size(void)
{
    static const struct {
        uint64_t lo, hi, max_size;
        uint32_t count;
    } rows[] = {
        {1, 1, 0, 0},          {1, 6, UINT64_MAX, 5}, {6, 11, UINT64_MAX, 5},
        {4, 8, UINT64_MAX, 4}, {4, 8, 0, 1},          {4, 8, 4, 1},
        {4, 8, 7, 1},          {4, 8, 8, 2},          {4, 8, 11, 2}, /* not one of the tail */
        {4, 8, 12, 3},         {4, 8, 15, 3},         {4, 8, 16, 4},
        {6, 8, 0, 1},          {6, 8, 7, 1},          {6, 8, 8, 2},
        {5, 8, 4, 1},          {5, 8, 5, 1},          {5, 8, 8, 2},
    };
    struct raft_log log;
    begin(&log, 5, 10, UINT64_MAX);
    for (size_t k = 0; k < RR_ARRAY_SIZE(rows); k++) {
        struct entry_pieces pieces;
        CHECK(raft_log_slice(&log, rows[k].lo, rows[k].hi, rows[k].max_size, &pieces) == 0);
        CHECK_EQ_U64(pieces.count, rows[k].count);
        const struct rr_entry *copy = outbox_copy_log(&outbox, rows[k].lo, &pieces);
        for (uint32_t i = 0; i < pieces.count; i++)
            CHECK_EQ_U64(copy[i].index, rows[k].lo + i);
        outbox_close(&outbox);
    }
    rr_memory_storage_compact(storage, 4);
    struct entry_pieces pieces;
    CHECK(raft_log_slice(&log, 4, 8, UINT64_MAX, &pieces) == RR_E_COMPACTED);
    end(&log);
}

/* 1..3 stable, 4..5 unstable, all committed but 5; nothing applied. */
static void test_next_committed_by_mode_pause_and_snapshot(void)
{
    struct raft_log log;
    struct committed_run out;
    begin(&log, 3, 5, UINT64_MAX);
    CHECK(!raft_log_has_next_committed(&log, true));
    raft_log_commit_to(&log, 4);
    raft_log_next_committed(&log, true, &out);
    CHECK_EQ_U64(out.count, 4);
    raft_log_next_committed(&log, false, &out); /* 4 is not durable here */
    CHECK_EQ_U64(out.count, 3);
    raft_log_accept_applying(&log, 3, 12, false);
    CHECK(!raft_log_has_next_committed(&log, false));
    CHECK(raft_log_has_next_committed(&log, true));
    struct rr_snapshot snapshot = {.metadata = {.index = 9, .term = 9}};
    raft_log_restore(&log, &snapshot);
    CHECK(!raft_log_has_next_committed(&log, true));
    end(&log);
}

static void test_applying_is_paused_by_outstanding_size(void)
{
    static const struct {
        uint64_t index, size;
        bool is_paused, is_paused_after_ack;
    } rows[] = {
        {5, 20, true, false}, /* the limit is reached; 16 come back */
        {5, 19, false, false},
        {4, 12, true, false}, /* cut below what could be applied */
        {5, 40, true, true},
    };
    for (size_t k = 0; k < RR_ARRAY_SIZE(rows); k++) {
        struct raft_log log;
        begin(&log, 5, 5, 20);
        raft_log_commit_to(&log, 5);
        raft_log_accept_applying(&log, rows[k].index, rows[k].size, true);
        CHECK(log.applying_ents_paused == rows[k].is_paused);
        raft_log_applied_to(&log, 4, 16);
        CHECK(log.applying_ents_paused == rows[k].is_paused_after_ack);
        CHECK_EQ_U64(log.applied, 4);
        end(&log);
    }
}

static void test_size_that_comes_back_equals_what_was_handed_out(void)
{
    struct raft_log log;
    struct rr_entry entries[3];
    for (uint64_t i = 0; i < 3; i++)
        entries[i] = entry(1 + i, 1 + i);
    begin(&log, 5, 5, UINT64_MAX);
    raft_log_commit_to(&log, 5);
    raft_log_accept_applying(&log, 2, 8, true);
    raft_log_accept_applying(&log, 3, 4, true);
    CHECK_EQ_U64(raft_log_applying_size(&log, entries, 2), 8);  /* counted */
    CHECK_EQ_U64(raft_log_applying_size(&log, entries, 3), 12); /* all that is outstanding */
    end(&log);
}

static void test_encoded_sizes_count_presence(void)
{
    static const uint8_t bytes[200] = {0};
    const uint8_t usual = RR_ENTRY_HAS_TERM | RR_ENTRY_HAS_INDEX;
    const struct {
        struct rr_entry entry;
        uint64_t size;
    } rows[] = {
        {{.has = 0}, 0},
        {{.term = 1, .index = 1, .has = usual}, 4},
        {{.has = usual}, 4},
        {{.term = 1, .index = 1, .has = usual | RR_ENTRY_HAS_TYPE}, 6},
        {{.term = 1, .index = 1, .data = bytes, .size = 1, .has = usual | RR_ENTRY_HAS_DATA}, 7},
        {{.term = 1, .index = 1, .data = bytes, .has = usual | RR_ENTRY_HAS_DATA}, 6},
        {{.term = 128, .index = 300, .data = bytes, .size = 200, .has = usual | RR_ENTRY_HAS_DATA},
         209},
    };
    for (size_t k = 0; k < RR_ARRAY_SIZE(rows); k++)
        CHECK_EQ_U64(raft_log_entries_size(&rows[k].entry, 1), rows[k].size);
}

/* A run is counted faster than entry by entry; the sum is the same wherever lengths change. */
static void test_encoded_size_of_runs_equals_the_sum(void)
{
    static const uint64_t firsts[] = {1, 120, 16380, 2097150, UINT32_MAX, UINT64_MAX - 300};
    static const uint8_t bytes[300] = {0};
    for (size_t k = 0; k < RR_ARRAY_SIZE(firsts); k++) {
        struct rr_entry run[200];
        uint64_t sum = 0;
        for (uint32_t i = 0; i < RR_ARRAY_SIZE(run); i++) {
            run[i] = entry(firsts[k] + i, i < 90 ? 127 : 128);
            run[i].data = bytes;
            run[i].size = i;
            run[i].has |= i % 7 ? RR_ENTRY_HAS_DATA : RR_ENTRY_HAS_TYPE;
            sum += raft_log_entries_size(&run[i], 1);
        }
        CHECK_EQ_U64(raft_log_entries_size(run, RR_ARRAY_SIZE(run)), sum);
        CHECK_EQ_U64(raft_log_limit_size(run, RR_ARRAY_SIZE(run), sum), RR_ARRAY_SIZE(run));
        CHECK_EQ_U64(raft_log_limit_size(run, RR_ARRAY_SIZE(run), sum - 1), RR_ARRAY_SIZE(run) - 1);
    }
}

static void test_conf_changes_are_found_page_by_page(void)
{
    struct raft_log log;
    begin(&log, 5, 8, UINT64_MAX);
    CHECK(!raft_log_has_conf_change(&log, 1, 9, 1));
    struct rr_entry change = entry(9, 9);
    change.type = RR_ENTRY_CONF_CHANGE_V2;
    raft_log_append(&log, &change, 1);
    CHECK(!raft_log_has_conf_change(&log, 1, 9, 1));
    CHECK(raft_log_has_conf_change(&log, 1, 10, 1));
    CHECK(raft_log_has_conf_change(&log, 9, 10, UINT64_MAX));
    end(&log);
}

int main(void)
{
    RUN(test_find_conflict_is_the_first_that_differs);
    RUN(test_find_conflict_by_term);
    RUN(test_up_to_date_is_term_first_then_index);
    RUN(test_maybe_append_takes_what_fits_and_commits_no_further);
    RUN(test_maybe_append_after_a_restart_asks_the_storage);
    RUN(test_maybe_commit_only_in_the_given_term);
    RUN(test_term_inside_and_outside);
    RUN(test_slice_across_storage_and_unstable_by_size);
    RUN(test_next_committed_by_mode_pause_and_snapshot);
    RUN(test_applying_is_paused_by_outstanding_size);
    RUN(test_size_that_comes_back_equals_what_was_handed_out);
    RUN(test_encoded_sizes_count_presence);
    RUN(test_encoded_size_of_runs_equals_the_sum);
    RUN(test_conf_changes_are_found_page_by_page);
    return 0;
}
