/* SPDX-License-Identifier: Apache-2.0
 *
 * Blocks come back to their pool, oversized ones do not, and runs are found exactly.
 */
#include "io/log_block.h"

#include "tests/unit/check.h"

#define BLOCK 8192u

static void test_put_block_is_taken_again(void)
{
    struct log_block_pool *pool = log_block_pool_new(BLOCK, 2);
    CHECK_EQ_U64(log_block_pool_count(pool), 2);
    struct log_block *a = log_block_take(pool, 100);
    CHECK_EQ_U64(a->base.cap, BLOCK);
    CHECK((uintptr_t)a->base.bytes % LOG_BLOCK_ALIGN == 0);
    a->used = 4096;
    log_block_add_run(a, 64, 100, 7);
    log_block_put(a);
    struct log_block *b = log_block_take(pool, BLOCK);
    CHECK(a == b && b->used == 0 && b->run_count == 0);
    log_block_put(b);
    CHECK_EQ_U64(log_block_pool_count(pool), 2);
    log_block_pool_free(pool);
}

static void test_pool_grows_when_none_is_idle(void)
{
    struct log_block_pool *pool = log_block_pool_new(BLOCK, 0);
    struct log_block *blocks[5];
    for (uint32_t i = 0; i < 5; i++)
        blocks[i] = log_block_take(pool, 1);
    CHECK_EQ_U64(log_block_pool_count(pool), 5);
    for (uint32_t i = 0; i < 5; i++)
        log_block_put(blocks[i]);
    for (uint32_t i = 0; i < 5; i++)
        blocks[i] = log_block_take(pool, 1);
    CHECK_EQ_U64(log_block_pool_count(pool), 5);
    for (uint32_t i = 0; i < 5; i++)
        log_block_put(blocks[i]);
    log_block_pool_free(pool);
}

static void test_oversized_block_is_freed_when_put(void)
{
    struct log_block_pool *pool = log_block_pool_new(BLOCK, 1);
    struct log_block *big = log_block_take(pool, 5 * BLOCK + 1);
    CHECK_EQ_U64(big->base.cap, 5 * BLOCK + LOG_BLOCK_ALIGN);
    big->base.bytes[5 * BLOCK] = 1;
    log_block_put(big);
    CHECK_EQ_U64(log_block_pool_count(pool), 1);
    log_block_pool_free(pool);
}

static void test_referenced_block_outlives_its_pool(void)
{
    struct log_block_pool *pool = log_block_pool_new(BLOCK, 3);
    struct log_block *block = log_block_take(pool, 1);
    struct log_block *big = log_block_take(pool, 3 * BLOCK);
    rr_block_get(&block->base, 2);
    log_block_pool_free(pool);
    block->base.bytes[BLOCK - 1] = 1;
    rr_block_put(&block->base, 3);
    log_block_put(big); /* the pool goes with it; the leak checker is the judge */
}

static void test_run_is_found_only_exactly(void)
{
    struct log_block_pool *pool = log_block_pool_new(BLOCK, 1);
    struct log_block *block = log_block_take(pool, 1);
    const uint8_t *bytes = block->base.bytes;
    uint32_t crc;
    for (uint32_t i = 0; i < 100; i++)
        log_block_add_run(block, 10 * i, 8, 1000 + i);
    for (uint32_t i = 0; i < 100; i++) {
        CHECK(log_block_find_run(&block->base, bytes + 10 * i, 8, &crc));
        CHECK_EQ_U64(crc, 1000 + i);
        CHECK(!log_block_find_run(&block->base, bytes + 10 * i, 7, &crc));
        CHECK(!log_block_find_run(&block->base, bytes + 10 * i + 1, 8, &crc));
    }
    CHECK(!log_block_find_run(&block->base, bytes + 1000, 8, &crc));
    log_block_put(block);
    log_block_pool_free(pool);
}

static void test_foreign_block_has_no_runs(void)
{
    uint8_t bytes[16];
    uint32_t crc;
    struct rr_block foreign = {.refs = 1, .cap = sizeof(bytes), .bytes = bytes};
    CHECK(!log_block_find_run(&foreign, bytes, 8, &crc));
    CHECK(!log_block_find_run(NULL, bytes, 8, &crc));
}

static void test_runs_beyond_the_table_are_unknown(void)
{
    struct log_block_pool *pool = log_block_pool_new(BLOCK, 1);
    struct log_block *block = log_block_take(pool, 1);
    uint32_t crc;
    for (uint32_t i = 0; i < LOG_BLOCK_RUNS_MAX + 10; i++)
        log_block_add_run(block, 8 * i, 8, i);
    uint8_t *last = block->base.bytes + (size_t)8 * (LOG_BLOCK_RUNS_MAX - 1);
    CHECK(log_block_find_run(&block->base, last, 8, &crc));
    CHECK(!log_block_find_run(&block->base, last + 8, 8, &crc));
    log_block_put(block);
    log_block_pool_free(pool);
}

int main(void)
{
    RUN(test_put_block_is_taken_again);
    RUN(test_pool_grows_when_none_is_idle);
    RUN(test_oversized_block_is_freed_when_put);
    RUN(test_referenced_block_outlives_its_pool);
    RUN(test_run_is_found_only_exactly);
    RUN(test_foreign_block_has_no_runs);
    RUN(test_runs_beyond_the_table_are_unknown);
    return 0;
}
