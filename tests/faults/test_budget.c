/* SPDX-License-Identifier: Apache-2.0
 *
 * What a committed entry costs in steady state, by counters and without a clock: allocations,
 * memory, io_uring_enter calls, durable writes. Each figure is a difference between two quiet
 * moments after a warm-up that has filled pools and taken snapshots. What a figure may hold besides
 * is said where it is judged.
 */
#include "tests/faults/count_malloc.h"
#include "tests/faults/fault_node.h"
#include "tests/unit/check.h"

#include <sched.h>
#include <unistd.h>

#define DEPTH1_COUNT    2000u
#define SATURATED_COUNT 120000u
#define ENTRY_SIZE      128u
#define TICK_MS         100u

struct cost {
    uint64_t entries, writes, enters, wakes, received, allocations, resident_kib;
};

static uint64_t resident_kib(void)
{
    unsigned long long size, resident;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file && fscanf(file, "%llu %llu", &size, &resident) == 2);
    fclose(file);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
}

/* Allocations and memory are the whole process's, and thereby all nodes'; what the reading itself
 * allocates comes before the count at the beginning and after it at the end. */
static struct cost cost_begin(const struct harness_node *node)
{
    struct rr_group_status status = harness_status(node);
    return (struct cost){.entries = status.commit,
                         .writes = status.durable_writes,
                         .enters = status.enter_count,
                         .wakes = status.wake_count,
                         .received = status.messages_received,
                         .resident_kib = resident_kib(),
                         .allocations = count_malloc_calls()};
}

static struct cost cost_end(const char *what, const struct cost *begin,
                            const struct harness_node *node)
{
    struct cost now = {.allocations = count_malloc_calls() - begin->allocations};
    struct rr_group_status status = harness_status(node);
    now.resident_kib = resident_kib() - begin->resident_kib;
    now.entries = status.commit - begin->entries;
    now.writes = status.durable_writes - begin->writes;
    now.enters = status.enter_count - begin->enters;
    now.wakes = status.wake_count - begin->wakes;
    now.received = status.messages_received - begin->received;
    fprintf(stderr,
            "    %s: %llu entries, %llu writes, %llu enters, %llu wakes, %llu received, "
            "%llu allocations, %lld KiB\n",
            what, (unsigned long long)now.entries, (unsigned long long)now.writes,
            (unsigned long long)now.enters, (unsigned long long)now.wakes,
            (unsigned long long)now.received, (unsigned long long)now.allocations,
            (long long)now.resident_kib);
    return now;
}

/* When nothing is under way and the status page has caught up. */
static void wait_quiet(struct harness *harness)
{
    harness_check_equal(harness);
    harness_sleep_ms(2 * TICK_MS + 10);
}

static void init(struct harness *harness, uint32_t node_count, bool is_inline)
{
    harness_init(harness, node_count);
    harness->group_options.tick_ms = TICK_MS;
    harness->group_options.heartbeat_ticks = 1;
    harness->group_options.election_ticks = 10;
    harness->group_options.batch_wait_max_us = 1000 * 1000; /* its timer is no part of this */
    harness->group_options.apply_inline = is_inline;
    harness->group_options.snapshot_log_bytes = 8 << 20;
    fault_open_all(harness);
}

/* Each outcome proposes the next; the first by hand. Allocates nothing itself. */
static void run_depth1(struct harness_node *node, uint32_t count)
{
    static const uint8_t bytes[ENTRY_SIZE];
    uint64_t before = node->ok + node->failed;
    node->repropose = true;
    node->repropose_left = count - 1;
    CHECK(rr_propose(node->group, bytes, sizeof(bytes), node->next_tag++) == 0);
    harness_wait_outcomes(node, before + count);
    CHECK(node->failed == 0 && node->repropose_left == 0);
    node->repropose = false;
}

static void run_saturated(struct harness_node *node, uint32_t count)
{
    static const uint8_t bytes[ENTRY_SIZE];
    uint64_t before = node->ok + node->failed;
    for (uint32_t i = 0; i < count; i++) {
        int rc;
        while ((rc = rr_propose(node->group, bytes, sizeof(bytes), node->next_tag)) == RR_E_BUSY)
            sched_yield();
        CHECK(rc == 0);
        node->next_tag++;
    }
    harness_wait_outcomes(node, before + count);
    CHECK(node->failed == 0);
}

/* Nothing is allocated for an entry. What is: a block of the log (2 MiB) or of its cache for
 * hundreds of writes, and a handful of things for a snapshot, on each node. */
static void check_allocations(const struct cost *cost, uint32_t node_count)
{
    CHECK(cost->allocations * 100 <= cost->entries * node_count);
}

static void check_costs(uint32_t node_count, bool is_inline)
{
    struct harness harness;
    init(&harness, node_count, is_inline);
    struct harness_node *leader = harness_leader(&harness);
    run_saturated(leader, 2 * SATURATED_COUNT);
    run_depth1(leader, DEPTH1_COUNT);
    wait_quiet(&harness);

    struct cost begin = cost_begin(leader);
    run_saturated(leader, SATURATED_COUNT);
    wait_quiet(&harness);
    struct cost saturated = cost_end("saturated", &begin, leader);
    CHECK_EQ_U64(saturated.entries, SATURATED_COUNT);
    CHECK(saturated.enters * 50 <= saturated.entries);
    check_allocations(&saturated, node_count);

    begin = cost_begin(leader);
    run_depth1(leader, DEPTH1_COUNT);
    wait_quiet(&harness);
    struct cost depth1 = cost_end("depth 1", &begin, leader);
    CHECK_EQ_U64(depth1.entries, DEPTH1_COUNT);
    CHECK(depth1.writes <= depth1.entries + depth1.entries / 100 + 5); /* marks, states */
    check_allocations(&depth1, node_count);
    /* An entry of 128 bytes lies in a padded write of 4 KiB, but does not hold it in memory. Memory
     * comes in arenas of 2 MiB, of which one or two may be new on each node. */
    CHECK((int64_t)depth1.resident_kib < (int64_t)(3 * DEPTH1_COUNT * node_count));
    /* A turn is due to a durable write, another thread, or a message. Applied on a thread of its
     * own, each entry's way there and back may find the loop awake, which no counter sees. */
    uint64_t reasons = depth1.writes + depth1.wakes + depth1.received;
    if (!is_inline)
        reasons += 2 * depth1.entries;
    CHECK(depth1.enters * 10 <= 11 * reasons + 10 * 50); /* 50: ticks of some seconds */
    harness_fini(&harness);
}

static void test_budget_of_one_node_inline(void)
{
    check_costs(1, true);
}

static void test_budget_of_one_node(void)
{
    check_costs(1, false);
}

static void test_budget_of_three_nodes_inline(void)
{
    check_costs(3, true);
}

static void test_budget_of_three_nodes(void)
{
    check_costs(3, false);
}

/* Heartbeats and commits are not written; the tail is proven by one mark. */
static void test_budget_of_an_idle_cluster(void)
{
    struct harness harness;
    struct rr_group_status before[3], after[3];
    init(&harness, 3, false);
    run_saturated(harness_leader(&harness), 100);
    wait_quiet(&harness);
    harness_sleep_ms(300); /* the mark's delay is 100 */
    for (uint32_t i = 0; i < 3; i++)
        before[i] = harness_status(&harness.nodes[i]);
    harness_sleep_ms(1500);
    for (uint32_t i = 0; i < 3; i++) {
        after[i] = harness_status(&harness.nodes[i]);
        CHECK_EQ_U64(after[i].durable_writes, before[i].durable_writes);
        CHECK(after[i].messages_received > before[i].messages_received);
    }
    harness_fini(&harness);
}

int main(void)
{
    RUN(test_budget_of_one_node_inline);
    RUN(test_budget_of_one_node);
    RUN(test_budget_of_three_nodes_inline);
    RUN(test_budget_of_three_nodes);
    RUN(test_budget_of_an_idle_cluster);
    return 0;
}
