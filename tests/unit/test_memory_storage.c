/* SPDX-License-Identifier: Apache-2.0
 *
 * The storage holds entries (index, term) 3/3, 4/4, 5/5 of 4 encoded bytes each, compacted at 3.
 */
#include <ringraft/raft.h>

#include "proto/base.h"
#include "tests/unit/check.h"
#include "tests/unit/raft_heap.h"

static struct raft_heap heap;

static struct rr_entry entry(uint64_t index, uint64_t term)
{
    return (struct rr_entry){
        .index = index, .term = term, .has = RR_ENTRY_HAS_TERM | RR_ENTRY_HAS_INDEX};
}

static struct rr_memory_storage *make(void)
{
    struct rr_allocator allocator = raft_heap_allocator(&heap);
    struct rr_memory_storage *s = rr_memory_storage_new(&allocator);
    struct rr_snapshot snapshot = {.metadata = {.index = 3, .term = 3}};
    CHECK(rr_memory_storage_apply_snapshot(s, &snapshot) == 0);
    struct rr_entry entries[] = {entry(4, 4), entry(5, 5)};
    CHECK(rr_memory_storage_append(s, entries, 2) == 0);
    return s;
}

static void done(struct rr_memory_storage *s)
{
    rr_memory_storage_free(s);
    CHECK_EQ_U64(heap.outstanding, 0);
}

static void check_bounds(struct rr_memory_storage *s, uint64_t first, uint64_t last)
{
    struct rr_storage i = rr_memory_storage_interface(s);
    uint64_t index;
    CHECK(i.ops->first_index(i.ctx, &index) == 0 && index == first);
    CHECK(i.ops->last_index(i.ctx, &index) == 0 && index == last);
}

static void test_term_is_known_from_the_place_of_compaction(void)
{
    static const struct {
        uint64_t index;
        int err;
        uint64_t term;
    } rows[] = {{2, RR_E_COMPACTED, 0}, {3, 0, 3}, {4, 0, 4}, {5, 0, 5}, {6, RR_E_UNAVAILABLE, 0}};
    struct rr_memory_storage *s = make();
    struct rr_storage i = rr_memory_storage_interface(s);
    for (size_t k = 0; k < RR_ARRAY_SIZE(rows); k++) {
        uint64_t term = 0;
        CHECK(i.ops->term(i.ctx, rows[k].index, &term) == rows[k].err);
        CHECK_EQ_U64(term, rows[k].term);
    }
    done(s);
}

static void test_entries_are_cut_by_encoded_size_but_never_empty(void)
{
    static const struct {
        uint64_t lo, hi, max_size;
        int err;
        size_t count;
    } rows[] = {
        {2, 6, UINT64_MAX, RR_E_COMPACTED, 0},
        {3, 4, UINT64_MAX, RR_E_COMPACTED, 0},
        {4, 5, UINT64_MAX, 0, 1},
        {4, 6, UINT64_MAX, 0, 2},
        {4, 6, 0, 0, 1},
        {4, 6, 7, 0, 1},
        {4, 6, 8, 0, 2},
    };
    struct rr_memory_storage *s = make();
    struct rr_storage i = rr_memory_storage_interface(s);
    for (size_t k = 0; k < RR_ARRAY_SIZE(rows); k++) {
        struct rr_entry_spans spans = {0};
        CHECK(i.ops->entries(i.ctx, rows[k].lo, rows[k].hi, rows[k].max_size, &spans) ==
              rows[k].err);
        CHECK_EQ_U64(spans.first_count + spans.second_count, rows[k].count);
        if (rows[k].count)
            CHECK_EQ_U64(spans.first[0].index, rows[k].lo);
    }
    done(s);
}

static void test_append_overwrites_from_its_first_index(void)
{
    static const struct {
        uint64_t first;
        uint32_t count;
        uint64_t term, last, term_at_last;
    } rows[] = {
        {1, 2, 1, 5, 5}, /* wholly compacted: ignored */
        {4, 2, 6, 5, 6}, {2, 3, 6, 4, 6}, {4, 1, 6, 4, 6}, {6, 1, 6, 6, 6},
    };
    for (size_t k = 0; k < RR_ARRAY_SIZE(rows); k++) {
        struct rr_memory_storage *s = make();
        struct rr_storage i = rr_memory_storage_interface(s);
        struct rr_entry entries[3];
        for (uint32_t n = 0; n < rows[k].count; n++)
            entries[n] = entry(rows[k].first + n, rows[k].term);
        CHECK(rr_memory_storage_append(s, entries, rows[k].count) == 0);
        check_bounds(s, 4, rows[k].last);
        uint64_t term = 0;
        CHECK(i.ops->term(i.ctx, rows[k].last, &term) == 0);
        CHECK_EQ_U64(term, rows[k].term_at_last);
        done(s);
    }
}

static void test_compact_keeps_the_term_of_its_place(void)
{
    struct rr_memory_storage *s = make();
    struct rr_storage i = rr_memory_storage_interface(s);
    CHECK(rr_memory_storage_compact(s, 3) == RR_E_COMPACTED);
    CHECK(rr_memory_storage_compact(s, 4) == 0);
    check_bounds(s, 5, 5);
    uint64_t term;
    CHECK(i.ops->term(i.ctx, 4, &term) == 0 && term == 4);
    CHECK(rr_memory_storage_compact(s, 5) == 0);
    check_bounds(s, 6, 5);
    struct rr_entry_spans spans;
    CHECK(i.ops->entries(i.ctx, 6, 6, UINT64_MAX, &spans) == RR_E_UNAVAILABLE);
    done(s);
}

static void test_create_snapshot_takes_the_term_of_its_index(void)
{
    struct rr_memory_storage *s = make();
    const uint64_t voters[] = {1, 2, 3};
    struct rr_conf_state conf_state = {.voters = voters, .voter_count = 3};
    const struct rr_snapshot *made = NULL;
    CHECK(rr_memory_storage_create_snapshot(s, 3, &conf_state, NULL, 0, &made) ==
          RR_E_SNAP_OUT_OF_DATE);
    uint8_t data[] = "data";
    CHECK(rr_memory_storage_create_snapshot(s, 4, &conf_state, data, 4, &made) == 0);
    data[0] = 'x'; /* it was copied */
    CHECK_EQ_U64(made->metadata.index, 4);
    CHECK_EQ_U64(made->metadata.term, 4);
    CHECK_EQ_U64(made->metadata.conf_state.voter_count, 3);
    CHECK(memcmp(made->data, "data", 4) == 0);
    /* Without a configuration the last one is kept. */
    CHECK(rr_memory_storage_create_snapshot(s, 5, NULL, NULL, 0, &made) == 0);
    CHECK_EQ_U64(made->metadata.conf_state.voters[2], 3);
    check_bounds(s, 4, 5);
    done(s);
}

static void test_apply_snapshot_refuses_older_ones(void)
{
    struct rr_memory_storage *s = make();
    struct rr_snapshot snapshot = {.metadata = {.index = 3, .term = 3}};
    CHECK(rr_memory_storage_apply_snapshot(s, &snapshot) == RR_E_SNAP_OUT_OF_DATE);
    snapshot.metadata.index = 9;
    snapshot.metadata.term = 7;
    CHECK(rr_memory_storage_apply_snapshot(s, &snapshot) == 0);
    check_bounds(s, 10, 9);
    done(s);
}

static void test_apply_snapshot_at_index_zero_brings_a_configuration(void)
{
    struct rr_allocator allocator = raft_heap_allocator(&heap);
    struct rr_memory_storage *s = rr_memory_storage_new(&allocator);
    struct rr_storage i = rr_memory_storage_interface(s);
    const uint64_t voters[] = {1, 2};
    struct rr_snapshot snapshot = {
        .metadata = {.conf_state = {.voters = voters, .voter_count = 2}}};
    CHECK(rr_memory_storage_apply_snapshot(s, &snapshot) == 0);
    struct rr_hard_state hard;
    struct rr_conf_state conf_state;
    CHECK(i.ops->initial_state(i.ctx, &hard, &conf_state) == 0);
    CHECK_EQ_U64(conf_state.voter_count, 2);
    check_bounds(s, 1, 0);
    done(s);
}

static void count_free(struct rr_block *block)
{
    block->cap++;
}

static void test_blocks_are_held_until_entries_go(void)
{
    struct rr_memory_storage *s = make();
    struct rr_block block = {.refs = 1, .free = count_free};
    struct rr_entry entries[4];
    for (uint64_t k = 0; k < 4; k++) {
        entries[k] = entry(6 + k, 6);
        entries[k].block = &block;
    }
    rr_memory_storage_append(s, entries, 4);
    CHECK_EQ_U64(block.refs, 5);
    rr_memory_storage_append(s, &entries[2], 1); /* truncates two, brings one */
    CHECK_EQ_U64(block.refs, 4);
    rr_memory_storage_compact(s, 7);
    CHECK_EQ_U64(block.refs, 2);
    rr_block_put(&block, 1);
    done(s);
    CHECK_EQ_U64(block.cap, 1);
}

int main(void)
{
    RUN(test_term_is_known_from_the_place_of_compaction);
    RUN(test_entries_are_cut_by_encoded_size_but_never_empty);
    RUN(test_append_overwrites_from_its_first_index);
    RUN(test_compact_keeps_the_term_of_its_place);
    RUN(test_create_snapshot_takes_the_term_of_its_index);
    RUN(test_apply_snapshot_refuses_older_ones);
    RUN(test_apply_snapshot_at_index_zero_brings_a_configuration);
    RUN(test_blocks_are_held_until_entries_go);
    return 0;
}
