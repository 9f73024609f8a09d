/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/log_cache.h"

#include "proto/codec.h"
#include "tests/unit/check.h"

/* A block that counts how often it was freed and holds encoded entries. */
struct test_block {
    struct rr_block block;
    uint32_t used;
    int freed;
    uint8_t bytes[1 << 20];
};

static void test_block_free(struct rr_block *block)
{
    ((struct test_block *)block)->freed++;
}

static struct test_block *test_block_new(void)
{
    struct test_block *block = calloc(1, sizeof(*block));
    block->block = (struct rr_block){
        .refs = 1, .cap = sizeof(block->bytes), .bytes = block->bytes, .free = test_block_free};
    return block;
}

static struct rr_entry entry_in(struct test_block *block, uint64_t index, uint64_t term,
                                uint32_t size)
{
    uint8_t data[512];
    memset(data, (int)(index & 0xff), size);
    struct rr_entry entry = {.term = term,
                             .index = index,
                             .data = data,
                             .size = size,
                             .has = RR_ENTRY_HAS_TERM | RR_ENTRY_HAS_INDEX | RR_ENTRY_HAS_DATA};
    uint8_t *at = block->bytes + block->used;
    block->used += (uint32_t)(rr_entry_encode(&entry, at, NULL, &entry) - at);
    entry.block = &block->block;
    return entry;
}

static struct log_memory memory;

static void append(struct log_cache *log, struct test_block *block, uint64_t to, uint64_t term)
{
    while (log->last < to) {
        struct rr_entry entry = entry_in(block, log->last + 1, term, 20);
        CHECK(log_cache_append(log, &entry, 1) == 0);
    }
    log_cache_check(log);
}

static void put_all(struct test_block *block)
{
    rr_block_put(&block->block, 1);
    CHECK_EQ_U64(block->freed, 1);
    free(block);
}

static void test_log_references_are_balanced(void)
{
    struct log_cache log;
    struct test_block *block = test_block_new();
    CHECK(log_cache_init(&log, &memory) == 0);
    append(&log, block, 10000, 1);
    CHECK_EQ_U64(block->block.refs, 10001);
    CHECK_EQ_U64(memory.block_bytes, sizeof(block->bytes));
    log_cache_truncate(&log, 9001);
    CHECK_EQ_U64(log.last, 9000);
    log_cache_compact(&log, 5000);
    log_cache_check(&log);
    CHECK_EQ_U64(block->block.refs, 4002);
    log_cache_compact(&log, 9001);
    CHECK_EQ_U64(block->block.refs, 1);
    CHECK_EQ_U64(memory.block_bytes, 0);
    CHECK_EQ_U64(log_cache_term(&log, 9000), 1);
    append(&log, block, 9100, 2);
    CHECK_EQ_U64(log_cache_term(&log, 9001), 2);
    log_cache_fini(&log);
    put_all(block);
}

static void test_log_spans_cross_chunks_and_respect_sizes(void)
{
    struct log_cache log;
    struct test_block *block = test_block_new();
    CHECK(log_cache_init(&log, &memory) == 0);
    append(&log, block, 3 * LOG_CACHE_CHUNK, 1);
    struct rr_storage storage = log_cache_storage(&log);
    struct rr_entry_spans spans;
    uint64_t lo = LOG_CACHE_CHUNK - 10;
    CHECK(storage.ops->entries(storage.ctx, lo, lo + 30, UINT64_MAX, &spans) == 0);
    CHECK_EQ_U64(spans.first_count, 10);
    CHECK_EQ_U64(spans.second_count, 20);
    CHECK_EQ_U64(spans.first[0].index, lo);
    CHECK_EQ_U64(spans.second[19].index, lo + 29);
    uint64_t size = rr_entry_body_size(log_cache_at(&log, lo));
    CHECK(storage.ops->entries(storage.ctx, lo, lo + 30, 3 * size + 1, &spans) == 0);
    CHECK_EQ_U64(spans.first_count, 3);
    CHECK_EQ_U64(spans.second_count, 0);
    CHECK(storage.ops->entries(storage.ctx, lo, lo + 30, 0, &spans) == 0);
    CHECK_EQ_U64(spans.first_count, 1);
    log_cache_compact(&log, lo + 1);
    CHECK(storage.ops->entries(storage.ctx, lo, lo + 1, 0, &spans) == RR_E_COMPACTED);
    uint64_t term;
    CHECK(storage.ops->term(storage.ctx, lo, &term) == 0 && term == 1);
    CHECK(storage.ops->term(storage.ctx, lo - 1, &term) == RR_E_COMPACTED);
    CHECK(storage.ops->term(storage.ctx, log.last + 1, &term) == RR_E_UNAVAILABLE);
    log_cache_fini(&log);
    put_all(block);
}

static void test_log_ring_of_chunks_grows_and_wraps(void)
{
    struct log_cache log;
    struct test_block *block = test_block_new();
    CHECK(log_cache_init(&log, &memory) == 0);
    struct rr_entry entry = entry_in(block, 1, 1, 20);
    for (uint64_t index = 1; index <= 200ull * LOG_CACHE_CHUNK; index++) {
        entry.index = index;
        CHECK(log_cache_append(&log, &entry, 1) == 0);
        if (index > 150ull * LOG_CACHE_CHUNK)
            log_cache_compact(&log, index - 140ull * LOG_CACHE_CHUNK);
    }
    CHECK_EQ_U64(block->block.refs, 140ull * LOG_CACHE_CHUNK + 2);
    CHECK_EQ_U64(log_cache_at(&log, 100ull * LOG_CACHE_CHUNK)->index, 100ull * LOG_CACHE_CHUNK);
    log_cache_check(&log);
    log_cache_fini(&log);
    put_all(block);
}

static void test_log_small_writes_leave_their_block(void)
{
    struct log_cache log;
    struct test_block *block = test_block_new();
    CHECK(log_cache_init(&log, &memory) == 0);
    append(&log, block, 50, 3);
    log_cache_move_small(&log, 11, 20);
    log_cache_check(&log);
    CHECK_EQ_U64(block->block.refs, 31);
    log_cache_move_small(&log, 1, 1000); /* what is not there, or already moved, is left alone */
    log_cache_check(&log);
    CHECK_EQ_U64(block->block.refs, 1);
    for (uint64_t index = 1; index <= 50; index++) {
        const struct rr_entry *entry = log_cache_at(&log, index);
        const uint8_t *at = rr_entry_wire(entry);
        struct rr_entry decoded;
        CHECK(rr_entry_decode(&at, at + entry->wire_size, NULL, &decoded) == 0);
        CHECK(decoded.index == index && decoded.term == 3 && decoded.size == 20);
        CHECK(decoded.data[19] == (index & 0xff));
    }
    log_cache_fini(&log);
    put_all(block);
}

static void test_log_blocks_are_counted_once_however_entries_alternate(void)
{
    struct log_cache log;
    struct test_block *block = test_block_new();
    CHECK(log_cache_init(&log, &memory) == 0);
    for (uint32_t i = 0; i < 1000; i++) {
        append(&log, block, log.last + 2, 1);
        log_cache_move_small(&log, log.last, 1); /* every second one lies in the shared block */
    }
    CHECK(memory.block_bytes > block->block.cap && memory.block_bytes < 2ull * block->block.cap);
    log_cache_compact(&log, log.last);
    CHECK(memory.block_bytes <
          block->block.cap); /* only the last one is left, in the shared block */
    log_cache_fini(&log);
    put_all(block);
}

static void test_log_conf_changes_are_found_in_their_range(void)
{
    struct log_cache log;
    struct test_block *block = test_block_new();
    CHECK(log_cache_init(&log, &memory) == 0);
    append(&log, block, 9, 1);
    struct rr_entry change = entry_in(block, 10, 1, 4);
    change.type = RR_ENTRY_CONF_CHANGE_V2;
    CHECK(log_cache_append(&log, &change, 1) == 0);
    append(&log, block, 20, 1);
    struct rr_storage storage = log_cache_storage(&log);
    bool found;
    CHECK(storage.ops->has_conf_change(storage.ctx, 1, 10, &found) == 0 && !found);
    CHECK(storage.ops->has_conf_change(storage.ctx, 10, 11, &found) == 0 && found);
    log_cache_truncate(&log, 10);
    CHECK(storage.ops->has_conf_change(storage.ctx, 1, 100, &found) == 0 && !found);
    log_cache_fini(&log);
    put_all(block);
}

static void test_log_snapshot_is_a_copy(void)
{
    struct log_cache log;
    uint64_t voters[3] = {1, 2, 3};
    uint8_t data[5] = "state";
    struct log_snapshot from = {
        .kind = LOG_SNAPSHOT_INLINE,
        .snapshot = {.metadata = {.conf_state = {.voters = voters, .voter_count = 3},
                                  .index = 7,
                                  .term = 2},
                     .data = data,
                     .size = sizeof(data)},
        .group_data = data,
        .group_data_size = 3};
    CHECK(log_cache_init(&log, &memory) == 0);
    log_cache_set_snapshot(&log, log_snapshot_new(&from));
    memset(voters, 0, sizeof(voters));
    memset(data, 0, sizeof(data));
    struct rr_storage storage = log_cache_storage(&log);
    const struct rr_snapshot *snapshot;
    CHECK(storage.ops->snapshot(storage.ctx, &snapshot) == 0);
    CHECK(snapshot->size == 5 && memcmp(snapshot->data, "state", 5) == 0);
    CHECK(snapshot->metadata.conf_state.voters[2] == 3 && snapshot->metadata.index == 7);
    CHECK(log.snapshot->group_data_size == 3 && memcmp(log.snapshot->group_data, "sta", 3) == 0);
    from = (struct log_snapshot){.kind = LOG_SNAPSHOT_NONE};
    log_cache_set_snapshot(&log, log_snapshot_new(&from));
    CHECK(storage.ops->snapshot(storage.ctx, &snapshot) == RR_E_SNAPSHOT_TEMPORARILY_UNAVAILABLE);
    log_cache_fini(&log);
}

static void test_log_evicts_only_what_is_durable_and_keeps_its_terms(void)
{
    struct log_cache log;
    struct test_block *block = test_block_new();
    CHECK(log_cache_init(&log, &memory) == 0);
    append(&log, block, 3000, 1);
    append(&log, block, 6000, 4);
    CHECK(!log_cache_evict_some(&log, UINT64_MAX));
    log_cache_note_durable(&log, 5000, 3); /* of an entry that was replaced */
    CHECK(!log_cache_evict_some(&log, UINT64_MAX));
    log_cache_note_durable(&log, 5000, 4);
    while (log_cache_evict_some(&log, 4001))
        log_cache_check(&log);
    CHECK_EQ_U64(log.cached, 4001);
    while (log_cache_evict_some(&log, UINT64_MAX))
        ;
    CHECK_EQ_U64(log.cached, 5001);
    CHECK(log.first == 1 && log.last == 6000);
    CHECK_EQ_U64(memory.entry_count, 1000);
    CHECK_EQ_U64(block->block.refs, 1001);
    CHECK(log_cache_term(&log, 1) == 1 && log_cache_term(&log, 3000) == 1);
    CHECK(log_cache_term(&log, 3001) == 4 && log_cache_term(&log, 5500) == 4);
    log_cache_compact(&log, 4500); /* in what left memory */
    log_cache_check(&log);
    CHECK(log.first == 4500 && log.cached == 5001 && log.prev_term == 4);
    CHECK(log_cache_term(&log, 4499) == 4 && log_cache_term(&log, 4400) == 0);
    log_cache_truncate(&log, 4800); /* in it, too */
    log_cache_check(&log);
    CHECK(log.last == 4799 && log.cached == 4800 && log.durable == 4799);
    CHECK_EQ_U64(memory.entry_count, 0);
    append(&log, block, 4900, 9);
    CHECK(log_cache_term(&log, 4799) == 4 && log_cache_term(&log, 4800) == 9);
    CHECK(!log_cache_evict_some(&log, UINT64_MAX));
    log_cache_fini(&log);
    put_all(block);
}

int main(void)
{
    RUN(test_log_references_are_balanced);
    RUN(test_log_spans_cross_chunks_and_respect_sizes);
    RUN(test_log_ring_of_chunks_grows_and_wraps);
    RUN(test_log_small_writes_leave_their_block);
    RUN(test_log_blocks_are_counted_once_however_entries_alternate);
    RUN(test_log_conf_changes_are_found_in_their_range);
    RUN(test_log_snapshot_is_a_copy);
    RUN(test_log_evicts_only_what_is_durable_and_keeps_its_terms);
    return 0;
}
