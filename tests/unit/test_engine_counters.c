/* SPDX-License-Identifier: Apache-2.0
 *
 * What a committed entry costs, counted: allocations, system calls, durable writes. The test's own
 * malloc counts every allocation of the process.
 */
#include "engine/group.h"
#include "tests/unit/check.h"
#include "tests/unit/engine_harness.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_ALLOCATOR 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HAS_ALLOCATOR 0
#endif
#endif
#ifndef HAS_ALLOCATOR
#define HAS_ALLOCATOR 1
#endif

static _Atomic uint64_t allocations;

#if HAS_ALLOCATOR
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *ptr, size_t size);
void *__libc_memalign(size_t align, size_t size);

void *malloc(size_t size)
{
    allocations++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    allocations++;
    return __libc_calloc(count, size);
}

void *realloc(void *ptr, size_t size)
{
    allocations++;
    return __libc_realloc(ptr, size);
}

void *aligned_alloc(size_t align, size_t size)
{
    allocations++;
    return __libc_memalign(align, size);
}
#endif

/* With an election timeout that a busy machine does not reach: a lost leader spoils the count. */
static void open_all(struct harness *harness)
{
    harness->group_options.tick_ms = 100;
    for (uint32_t i = 0; i < harness->node_count; i++)
        harness_open(harness, i);
}

/* Proposes from a buffer that is made once: what is counted is the engine's. */
static void pump(struct harness_node *node, uint32_t count, uint32_t batch)
{
    static const uint8_t bytes[128];
    struct rr_proposal items[64];
    while (count) {
        uint32_t n = batch < count ? batch : count;
        for (uint32_t i = 0; i < n; i++)
            items[i] = (struct rr_proposal){bytes, sizeof(bytes), node->next_tag + i};
        int taken = rr_propose_batch(node->group, items, n);
        CHECK(taken > 0 || taken == RR_E_BUSY);
        if (taken == RR_E_BUSY) {
            sched_yield();
            continue;
        }
        node->next_tag += (uint32_t)taken;
        count -= (uint32_t)taken;
    }
    harness_wait_outcomes(node, node->next_tag);
    CHECK_EQ_U64(node->failed, 0);
}

/* However far the state machines fall behind meanwhile, their batches are those of before. */
static uint64_t batches_made(const struct harness *harness)
{
    uint64_t made = 0;
    for (uint32_t i = 0; i < harness->node_count; i++)
        made += harness->nodes[i].group->apply.batch_allocations;
    return made;
}

static void test_counters_no_allocation_per_committed_entry(void)
{
    if (!HAS_ALLOCATOR)
        return;
    struct harness harness;
    harness_init(&harness, 3);
    harness.group_options.snapshot_log_bytes = 8 << 20;
    open_all(&harness);
    struct harness_node *leader = harness_leader(&harness);
    pump(leader, 400000, 64); /* several snapshots: pools are as large as they get */
    uint64_t before = allocations;
    CHECK(batches_made(&harness) <= 3 * APPLY_BATCHES_KEPT);
    pump(leader, 200000, 64);
    uint64_t made = allocations - before;
    printf("allocations: %llu for 200000 entries\n", (unsigned long long)made);
    CHECK(made < 100); /* a few for each snapshot, on three nodes; none for an entry */
    CHECK(batches_made(&harness) <= 3 * APPLY_BATCHES_KEPT);
    harness_fini(&harness);
}

/* All but a few succeed: a busy machine may lose its leader. */
static void read_many(struct harness_node *node, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        int rc;
        while ((rc = rr_read_index(node->group, node->next_tag, 20000)) == RR_E_BUSY)
            sched_yield();
        CHECK(rc == 0);
        node->next_tag++;
    }
    harness_wait_outcomes(node, node->next_tag);
    CHECK_EQ_U64(node->failed, 0);
}

static void test_counters_no_allocation_per_read(void)
{
    struct harness harness;
    harness_init(&harness, 3);
    open_all(&harness);
    struct harness_node *leader = harness_leader(&harness);
    struct harness_node *follower = &harness.nodes[leader->id % 3];
    pump(leader, 1000, 64);
    harness_check_equal(&harness);
    read_many(leader, 100000);
    read_many(follower, 100000);
    struct rr_group_status before = harness_status(leader);
    uint64_t allocated = allocations;
    read_many(leader, 50000);
    read_many(follower, 50000);
    uint64_t made = allocations - allocated;
    struct rr_group_status after = harness_status(leader);
    printf("allocations: %llu for 100000 reads\n", (unsigned long long)made);
    CHECK(made < 200); /* pools that still grow, on three nodes; none for a read */
    CHECK_EQ_U64(after.last_index, before.last_index);
    harness_fini(&harness);
}

static void test_counters_saturated_enters_are_rare(void)
{
    struct harness harness;
    harness_init(&harness, 3);
    open_all(&harness);
    struct harness_node *leader = harness_leader(&harness);
    pump(leader, 50000, 64);
    harness_sleep_ms(30);
    struct rr_group_status before = harness_status(leader);
    pump(leader, 200000, 64);
    harness_sleep_ms(30);
    struct rr_group_status after = harness_status(leader);
    uint64_t enters = after.enter_count - before.enter_count;
    printf("enters: %llu for 200000 entries\n", (unsigned long long)enters);
    CHECK(enters <= 200000 / 50);
    harness_fini(&harness);
}

/* One node, one entry at a time, applied inline: a turn of the loop is one write and one enter. */
static void test_counters_one_enter_per_write(void)
{
    struct harness harness;
    harness_init(&harness, 1);
    harness.group_options.apply_inline = true;
    harness.group_options.tick_ms = 1000;
    harness.group_options.heartbeat_ticks = 1;
    harness.group_options.election_ticks = 2;
    harness.engine_options.mark_delay_ms = 60000;
    harness_open(&harness, 0);
    struct harness_node *node = harness_leader(&harness);
    node->repropose = true;
    node->repropose_left = 500;
    struct rr_group_status before = harness_status(node);
    harness_propose(node, 1, 128);
    harness_wait_outcomes(node, 501);
    harness_sleep_ms(1100); /* a tick publishes */
    struct rr_group_status after = harness_status(node);
    uint64_t writes = after.durable_writes - before.durable_writes;
    uint64_t enters = after.enter_count - before.enter_count;
    uint64_t wakes = after.wake_count - before.wake_count;
    printf("enters: %llu for %llu writes and %llu wake-ups\n", (unsigned long long)enters,
           (unsigned long long)writes, (unsigned long long)wakes);
    CHECK(writes >= 501 && writes <= 503);
    CHECK(enters * 10 <= 11 * (writes + wakes) + 100); /* 10 for ticks and the mark */
    harness_fini(&harness);
}

/* A follower hears of each commit in a message of its own; only entries are written. */
static void test_counters_commit_alone_is_never_written(void)
{
    struct harness harness;
    harness_init(&harness, 3);
    harness.engine_options.mark_delay_ms = 60000;
    open_all(&harness);
    struct harness_node *leader = harness_leader(&harness);
    pump(leader, 100, 64);
    harness_check_equal(&harness);
    harness_sleep_ms(50);
    struct rr_group_status before[3], after[3];
    for (uint32_t i = 0; i < 3; i++)
        before[i] = harness_status(&harness.nodes[i]);
    for (uint32_t n = 0; n < 100; n++) {
        pump(leader, 1, 1);
        harness_sleep_ms(2);
    }
    harness_check_equal(&harness);
    harness_sleep_ms(50);
    for (uint32_t i = 0; i < 3; i++) {
        after[i] = harness_status(&harness.nodes[i]);
        CHECK(after[i].applied - before[i].applied == 100);
        CHECK(after[i].term == before[i].term);
        CHECK_EQ_U64(after[i].durable_writes - before[i].durable_writes, 100);
    }
    harness_fini(&harness);
}

int main(void)
{
    RUN(test_counters_no_allocation_per_committed_entry);
    RUN(test_counters_no_allocation_per_read);
    RUN(test_counters_saturated_enters_are_rare);
    RUN(test_counters_one_enter_per_write);
    RUN(test_counters_commit_alone_is_never_written);
    return 0;
}
