/* SPDX-License-Identifier: Apache-2.0
 *
 * Groups and threads, on the real backend: a state machine that sleeps delays nobody else; groups
 * open, close and go while other threads propose to them.
 */
#include "tests/unit/check.h"
#include "tests/unit/engine_harness.h"

#include <unistd.h>

#define GROUPS 8u

struct counter {
    struct rr_group *group;
    _Atomic uint64_t applied, ok, failed;
    _Atomic bool sleeps;
};

static struct counter counters[GROUPS];

static int counter_open(void *ctx, uint64_t *applied)
{
    ((struct counter *)ctx)->applied = 0;
    *applied = 0;
    return 0;
}

static int counter_apply(void *ctx, const struct rr_apply_entry *entries, uint32_t count,
                         uint64_t *results)
{
    struct counter *counter = ctx;
    (void)entries;
    while (counter->sleeps)
        harness_sleep_ms(1);
    memset(results, 0, count * sizeof(*results));
    counter->applied += count;
    return 0;
}

static int counter_begin(void *ctx, void **context)
{
    *context = ctx;
    return 0;
}

static int counter_read(void *ctx, void *context, uint8_t *buf, size_t cap, size_t *size)
{
    (void)ctx, (void)context, (void)buf, (void)cap;
    *size = 0;
    return 0;
}

static void counter_end(void *ctx, void *context)
{
    (void)ctx, (void)context;
}

static int counter_write(void *ctx, void *context, const uint8_t *buf, size_t size)
{
    (void)ctx, (void)context, (void)buf, (void)size;
    return 0;
}

static int counter_restored(void *ctx, void *context, bool complete)
{
    (void)ctx, (void)context, (void)complete;
    return 0;
}

static void on_complete(void *ctx, const struct rr_completion *completions, uint32_t count)
{
    struct counter *counter = ctx;
    for (uint32_t i = 0; i < count; i++) {
        if (completions[i].status == RR_OK)
            counter->ok++;
        else
            counter->failed++;
    }
}

static void open_counter(struct harness *harness, uint32_t g)
{
    struct rr_peer_address peer = {1, harness->addresses[0]};
    struct rr_group_options options = harness->group_options;
    struct rr_error error = {0};
    options.group_id = 100 + g;
    options.peers = &peer;
    options.peer_count = 1;
    options.tick_ms = 5;
    options.on_complete = on_complete;
    options.ctx = &counters[g];
    struct rr_state_machine machine = {.size = sizeof(machine),
                                       .ctx = &counters[g],
                                       .open = counter_open,
                                       .apply = counter_apply,
                                       .snapshot_begin = counter_begin,
                                       .snapshot_read = counter_read,
                                       .snapshot_end = counter_end,
                                       .restore_begin = counter_begin,
                                       .restore_write = counter_write,
                                       .restore_end = counter_restored};
    int rc =
        rr_group_open(harness->nodes[0].engine, &options, &machine, &counters[g].group, &error);
    if (rc != 0)
        fprintf(stderr, "%s\n", error.message);
    CHECK(rc == 0);
}

static void begin(struct harness *harness)
{
    memset(counters, 0, sizeof(counters));
    harness_init(harness, 1);
    harness_open(harness, 0);
}

static void wait_for_leader(uint32_t g)
{
    struct rr_group_status status = {.size = sizeof(status)};
    for (uint32_t waited = 0; waited < 30000; waited++) {
        CHECK(rr_group_status(counters[g].group, &status) == 0);
        if (status.role == RR_STATE_LEADER)
            return;
        harness_sleep_ms(1);
    }
    CHECK(false && "a leader in time");
}

static void test_threads_sleeping_state_machine_delays_no_other_group(void)
{
    struct harness harness;
    begin(&harness);
    for (uint32_t g = 0; g < 2; g++) {
        open_counter(&harness, g);
        wait_for_leader(g);
    }
    counters[0].sleeps = true;
    for (uint32_t i = 0; i < 100; i++)
        CHECK(rr_propose(counters[0].group, "entry", 5, i) == 0);
    for (uint32_t i = 0; i < 1000; i++)
        while (rr_propose(counters[1].group, "entry", 5, i) != 0)
            harness_sleep_ms(1);
    for (uint32_t waited = 0; counters[1].ok < 1000 && waited < 30000; waited++)
        harness_sleep_ms(1);
    CHECK_EQ_U64(counters[1].ok, 1000);
    CHECK_EQ_U64(counters[0].ok, 0);
    counters[0].sleeps = false;
    CHECK(rr_group_close(counters[0].group, RR_CLOSE_DRAIN) == 0);
    CHECK_EQ_U64(counters[0].ok, 100);
    harness_fini(&harness);
}

struct proposer {
    pthread_t thread;
    _Atomic bool must_stop;
    uint64_t accepted[GROUPS];
};

/* Proposes to every group; a closed one says so. Handles are valid while their group is not opened
 * anew, so here none is. */
static void *propose_to_all(void *arg)
{
    struct proposer *proposer = arg;
    while (!proposer->must_stop)
        for (uint32_t g = 0; g < GROUPS; g++) {
            int rc = rr_propose(counters[g].group, "entry", 5, 1);
            CHECK(rc == 0 || rc == RR_E_BUSY || rc == RR_E_CLOSED);
            proposer->accepted[g] += rc == 0;
        }
    return NULL;
}

static void test_threads_close_under_proposals_gives_every_outcome(void)
{
    struct harness harness;
    static struct proposer proposers[3];
    begin(&harness);
    memset(proposers, 0, sizeof(proposers));
    for (uint32_t g = 0; g < GROUPS; g++)
        open_counter(&harness, g);
    for (uint32_t i = 0; i < 3; i++)
        CHECK(pthread_create(&proposers[i].thread, NULL, propose_to_all, &proposers[i]) == 0);
    for (uint32_t g = 0; g < GROUPS; g++) {
        harness_sleep_ms(20);
        CHECK(rr_group_close(counters[g].group, g % 2 ? RR_CLOSE_DRAIN : RR_CLOSE_ABORT) == 0);
    }
    for (uint32_t i = 0; i < 3; i++) {
        proposers[i].must_stop = true;
        CHECK(pthread_join(proposers[i].thread, NULL) == 0);
    }
    for (uint32_t g = 0; g < GROUPS; g++) {
        uint64_t accepted = 0;
        for (uint32_t i = 0; i < 3; i++)
            accepted += proposers[i].accepted[g];
        CHECK_EQ_U64(counters[g].ok + counters[g].failed, accepted);
    }
    harness_fini(&harness);
}

/* Each thread has groups of its own and opens, closes and removes them. */
static void *churn(void *arg)
{
    struct harness *harness = arg;
    static _Atomic uint32_t next;
    uint32_t g = next++ % GROUPS;
    struct rr_error error;
    for (uint32_t round = 0; round < 6; round++) {
        open_counter(harness, g);
        wait_for_leader(g);
        for (uint32_t i = 0; i < 50; i++)
            CHECK(rr_propose(counters[g].group, "entry", 5, i) == 0);
        CHECK(rr_group_close(counters[g].group, RR_CLOSE_DRAIN) == 0);
        CHECK_EQ_U64(counters[g].ok, 50 * (round + 1));
        CHECK_EQ_U64(counters[g].applied, 50 * (round % 3 + 1));
        if (round % 3 == 2)
            CHECK(rr_group_remove(harness->nodes[0].engine, 100 + g, &error) == 0);
    }
    return NULL;
}

static void test_threads_open_close_and_remove_side_by_side(void)
{
    struct harness harness;
    pthread_t threads[4];
    begin(&harness);
    for (uint32_t i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, churn, &harness) == 0);
    for (uint32_t i = 0; i < 4; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    harness_fini(&harness);
}

int main(void)
{
    RUN(test_threads_sleeping_state_machine_delays_no_other_group);
    RUN(test_threads_close_under_proposals_gives_every_outcome);
    RUN(test_threads_open_close_and_remove_side_by_side);
    return 0;
}
