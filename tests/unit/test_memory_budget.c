/* SPDX-License-Identifier: Apache-2.0
 *
 * The budget: how it is cut up, who is refused, and that what is promised holds under load that
 * cannot drain.
 */
#include "engine/memory_budget.h"

#include "engine/config.h"
#include "engine/group.h"
#include "tests/unit/check.h"
#include "tests/unit/engine_harness.h"

#include <unistd.h>

#define MIB (1024ull * 1024)

static struct rr_engine_options engine_of(uint64_t memory_bytes_max)
{
    struct rr_engine_options given = {.size = sizeof(given),
                                      .dir = "d",
                                      .listen = "127.0.0.1:1",
                                      .cluster_id = 1,
                                      .node_id = 1,
                                      .memory_bytes_max = memory_bytes_max};
    struct rr_engine_options options;
    struct rr_error error;
    CHECK(config_resolve_engine(&given, &options, &error) == 0);
    return options;
}

static void on_nothing(void *ctx, const struct rr_completion *completions, uint32_t count)
{
    (void)ctx, (void)completions, (void)count;
}

static struct rr_group_options group_of(const struct rr_engine_options *engine)
{
    static const struct rr_peer_address self = {1, "127.0.0.1:1"};
    struct rr_group_options given = {.size = sizeof(given),
                                     .group_id = 7,
                                     .peers = &self,
                                     .peer_count = 1,
                                     .on_complete = on_nothing};
    struct rr_group_options options;
    struct rr_error error;
    CHECK(config_resolve_group(&given, engine, &options, &error) == 0);
    return options;
}

/* How many groups of default options fit, and the queue of the last. */
static uint32_t fill(struct memory_budget *memory, const struct rr_engine_options *engine,
                     struct rr_group_options *last, struct rr_error *error)
{
    struct rr_group_options options = group_of(engine);
    uint32_t count = 0;
    for (;; count++) {
        options.proposal_queue_bytes = memory_default_queue(memory, engine);
        if (memory_claim_group(memory, &options, error) != 0)
            return count;
        *last = options;
    }
}

static void test_memory_default_budget_holds_one_large_or_many_smaller_groups(void)
{
    struct rr_engine_options engine = engine_of(0);
    struct rr_group_options last;
    struct memory_budget memory;
    struct rr_error error = {0};
    CHECK(memory_budget_init(&memory, &engine, &error) == 0);
    CHECK_EQ_U64(memory_default_queue(&memory, &engine), 64 * MIB);
    uint32_t count = fill(&memory, &engine, &last, &error);
    CHECK(count >= 64);
    CHECK(error.code == RR_E_NO_MEMORY && strstr(error.message, "memory_bytes_max"));
    CHECK(last.proposal_queue_bytes >= 2 * engine.entry_bytes_max);
    CHECK(memory.groups <= memory.groups_max);
    memory_release_group(&memory, &last);
    CHECK(memory_claim_group(&memory, &last, &error) == 0);
    /* What all together may take is the budget. */
    CHECK_EQ_U64(memory.log_max + memory.transport_max + memory.snapshots_max + memory.groups_max,
                 memory.all);
}

static void test_memory_budget_without_room_for_groups_is_refused(void)
{
    struct rr_engine_options engine = engine_of(64 * MIB);
    struct memory_budget memory;
    struct rr_error error = {0};
    CHECK(memory_budget_init(&memory, &engine, &error) == RR_E_INVALID);
    CHECK(strstr(error.message, "memory_bytes_max is 64 MiB"));
    CHECK(strstr(error.message, "log_cache_bytes"));
}

/* ---- under load ------------------------------------------------------------ */

static uint64_t resident_bytes(void)
{
    unsigned long long size, resident;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file && fscanf(file, "%llu %llu", &size, &resident) == 2);
    fclose(file);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Small enough that breaking it shows. */
static void set_budget(struct harness *harness)
{
    harness->engine_options.memory_bytes_max = 256 * MIB;
    harness->engine_options.log_cache_bytes = 8 * MIB;
    harness->engine_options.wal_write_bytes_max = 256 * 1024;
    harness->engine_options.frame_bytes_max = 2 * MIB;
    harness->group_options.proposal_queue_bytes = 8 * MIB;
}

/* So much is offered that without limits it would not fit; RR_E_BUSY is an answer. */
static void flood(struct harness_node *node, uint64_t bytes)
{
    static uint8_t entry[16 * 1024];
    uint32_t busy = 0;
    for (uint64_t offered = 0; offered < bytes && busy < 2000;) {
        int rc = rr_propose(node->group, entry, sizeof(entry), node->next_tag);
        CHECK(rc == 0 || rc == RR_E_BUSY);
        if (rc == 0) {
            node->next_tag++;
            offered += sizeof(entry);
        } else {
            busy++;
            harness_sleep_ms(1);
        }
    }
}

/* Three nodes of one process: each may take what its engine's limits say. */
static void check_within_budget(const struct harness *harness, uint64_t before)
{
    uint64_t limit = 0;
    for (uint32_t i = 0; i < harness->node_count; i++) {
        const struct harness_node *node = &harness->nodes[i];
        if (!node->group)
            continue;
        struct rr_group_status status = harness_status(node);
        CHECK(status.memory.log <= status.memory.log_max);
        CHECK(status.memory.transport <= status.memory.transport_max);
        CHECK(status.memory.groups > 0 && status.memory.groups <= status.memory.groups_max);
        limit += status.memory.log_max + status.memory.transport + status.memory.groups;
    }
    uint64_t taken = resident_bytes() - before;
    fprintf(stderr, "    %llu MiB of at most %llu\n", (unsigned long long)(taken / MIB),
            (unsigned long long)(limit / MIB));
    CHECK(taken <= limit);
}

static void test_memory_flood_without_quorum_stays_within_it(void)
{
    struct harness harness;
    uint64_t before = resident_bytes();
    harness_init(&harness, 3);
    set_budget(&harness);
    for (uint32_t i = 0; i < 3; i++)
        harness_open(&harness, i);
    struct harness_node *leader = harness_leader(&harness);
    for (uint32_t i = 0; i < 3; i++)
        if (&harness.nodes[i] != leader)
            harness_close(&harness, i, RR_CLOSE_ABORT);
    flood(leader, 512 * MIB);
    check_within_budget(&harness, before);
    harness_fini(&harness);
}

static void test_memory_dead_follower_costs_the_others_nothing(void)
{
    struct harness harness;
    uint64_t before = resident_bytes();
    harness_init(&harness, 3);
    set_budget(&harness);
    for (uint32_t i = 0; i < 3; i++)
        harness_open(&harness, i);
    struct harness_node *leader = harness_leader(&harness);
    harness_close(&harness, (uint32_t)(leader->id % 3), RR_CLOSE_ABORT);
    flood(leader, 512 * MIB);
    check_within_budget(&harness, before);
    harness_fini(&harness);
}

static void test_memory_sleeping_state_machine_stays_within_it(void)
{
    struct harness harness;
    uint64_t before = resident_bytes();
    harness_init(&harness, 3);
    set_budget(&harness);
    for (uint32_t i = 0; i < 3; i++)
        harness_open(&harness, i);
    struct harness_node *leader = harness_leader(&harness);
    for (uint32_t i = 0; i < 3; i++)
        harness.nodes[i].chain.sleeps = true;
    flood(leader, 512 * MIB);
    check_within_budget(&harness, before);
    for (uint32_t i = 0; i < 3; i++)
        harness.nodes[i].chain.sleeps = false;
    harness_fini(&harness);
}

static void test_memory_of_many_idle_groups_is_not_resident(void)
{
    struct rr_engine_options engine = engine_of(0);
    struct rr_group_options options = group_of(&engine);
    uint64_t before = resident_bytes();
    static struct proposal_queue queues[64];
    static struct outcomes outcomes[64];
    for (uint32_t i = 0; i < 64; i++) {
        CHECK(proposal_queue_init(&queues[i], options.proposal_queue_entries,
                                  options.proposal_queue_bytes) == 0);
        CHECK(outcomes_init(&outcomes[i], 2 * options.proposal_queue_entries) == 0);
    }
    CHECK(resident_bytes() - before < 8 * MIB); /* of four gigabytes */
    for (uint32_t i = 0; i < 64; i++) {
        proposal_queue_fini(&queues[i]);
        outcomes_fini(&outcomes[i]);
    }
}

int main(void)
{
    RUN(test_memory_default_budget_holds_one_large_or_many_smaller_groups);
    RUN(test_memory_budget_without_room_for_groups_is_refused);
    RUN(test_memory_of_many_idle_groups_is_not_resident);
    RUN(test_memory_flood_without_quorum_stays_within_it);
    RUN(test_memory_dead_follower_costs_the_others_nothing);
    RUN(test_memory_sleeping_state_machine_stays_within_it);
    return 0;
}
