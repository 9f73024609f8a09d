/* SPDX-License-Identifier: Apache-2.0 */
#include "raft/inflights.h"

#include "tests/unit/check.h"
#include "tests/unit/raft_heap.h"

static struct raft_heap heap;

static struct inflights make(uint32_t max_count, uint64_t max_bytes)
{
    return (struct inflights){.max_count = max_count, .max_bytes = max_bytes};
}

static void fill(struct inflights *in, uint64_t first, uint64_t last)
{
    struct rr_allocator allocator = raft_heap_allocator(&heap);
    for (uint64_t i = first; i <= last; i++)
        inflights_add(in, &allocator, i, 100 + i);
}

static void done(struct inflights *in)
{
    struct rr_allocator allocator = raft_heap_allocator(&heap);
    inflights_fini(in, &allocator);
    CHECK_EQ_U64(heap.outstanding, 0);
}

/* The window must hold exactly first..last, in order. */
static void check_window(const struct inflights *in, uint64_t first, uint64_t last)
{
    uint64_t bytes = 0;
    CHECK_EQ_U64(in->count, last + 1 - first);
    for (uint64_t i = first; i <= last; i++) {
        const struct inflight *item = &in->ring[(in->start + (i - first)) % in->cap];
        CHECK_EQ_U64(item->index, i);
        CHECK_EQ_U64(item->bytes, 100 + i);
        bytes += item->bytes;
    }
    CHECK_EQ_U64(in->bytes, bytes);
}

static void test_add_wraps_around_the_ring(void)
{
    struct inflights in = make(10, 0);
    fill(&in, 0, 9);
    check_window(&in, 0, 9);
    inflights_free_le(&in, 4);
    check_window(&in, 5, 9);
    fill(&in, 10, 14);
    check_window(&in, 5, 14);
    CHECK_EQ_U64(in.cap, 10);
    done(&in);
}

static void test_growth_keeps_the_order_of_a_wrapped_ring(void)
{
    struct inflights in = make(1000, 0);
    fill(&in, 1, 16);
    inflights_free_le(&in, 10);
    fill(&in, 17, 26);
    CHECK_EQ_U64(in.count, 16);
    CHECK(in.start != 0);
    fill(&in, 27, 60);
    check_window(&in, 11, 60);
    done(&in);
}

static void test_free_le_frees_up_to_and_including(void)
{
    struct inflights in = make(10, 0);
    fill(&in, 1, 10);
    inflights_free_le(&in, 0);
    check_window(&in, 1, 10);
    inflights_free_le(&in, 6);
    check_window(&in, 7, 10);
    inflights_free_le(&in, 6);
    check_window(&in, 7, 10);
    inflights_free_le(&in, 100);
    CHECK_EQ_U64(in.count, 0);
    CHECK_EQ_U64(in.bytes, 0);
    done(&in);
}

static void test_full_by_count_or_by_bytes(void)
{
    static const struct {
        uint32_t max_count;
        uint64_t max_bytes;
        uint32_t fill;
        bool is_full;
    } rows[] = {
        {1, 0, 0, false},   {1, 0, 1, true},   {3, 0, 2, false},   {3, 0, 3, true},
        {9, 203, 1, false}, {9, 203, 2, true}, {9, 204, 2, false}, {9, 202, 2, true},
    };
    for (size_t i = 0; i < RR_ARRAY_SIZE(rows); i++) {
        struct inflights in = make(rows[i].max_count, rows[i].max_bytes);
        if (rows[i].fill)
            fill(&in, 1, rows[i].fill); /* 101, then 102 bytes */
        CHECK(inflights_is_full(&in) == rows[i].is_full);
        inflights_free_le(&in, 100);
        CHECK(!inflights_is_full(&in));
        done(&in);
    }
}

static void test_reset_forgets_and_keeps_the_ring(void)
{
    struct inflights in = make(20, 0);
    fill(&in, 1, 20);
    uint64_t calls = heap.calls;
    inflights_reset(&in);
    CHECK_EQ_U64(in.count, 0);
    CHECK_EQ_U64(in.bytes, 0);
    fill(&in, 21, 40);
    check_window(&in, 21, 40);
    CHECK_EQ_U64(heap.calls, calls);
    done(&in);
}

int main(void)
{
    RUN(test_add_wraps_around_the_ring);
    RUN(test_growth_keeps_the_order_of_a_wrapped_ring);
    RUN(test_free_le_frees_up_to_and_including);
    RUN(test_full_by_count_or_by_bytes);
    RUN(test_reset_forgets_and_keeps_the_ring);
    return 0;
}
