/* SPDX-License-Identifier: Apache-2.0
 *
 * A failed durable write, in the simulator: no acknowledgement, no vote, no retry; every outcome is
 * given.
 */
#include "engine/engine.h"
#include "io/sim/sim.h"
#include "tests/unit/check.h"

#include <ringraft/raft.h>

#include <errno.h>

#define NODES 3
#define MS    1000000ull

struct node {
    struct rr_engine *engine;
    struct rr_group *group;
    uint64_t applied, ok, failed;
    int32_t last_failure;
};

static struct sim *sim;
static struct node nodes[NODES];

static int machine_open(void *ctx, uint64_t *applied)
{
    (void)ctx;
    *applied = 0;
    return 0;
}

static int machine_apply(void *ctx, const struct rr_apply_entry *entries, uint32_t count,
                         uint64_t *results)
{
    struct node *node = ctx;
    (void)entries;
    memset(results, 0, count * sizeof(*results));
    node->applied += count;
    return 0;
}

static int machine_begin(void *ctx, void **context)
{
    *context = ctx;
    return 0;
}

static int machine_read(void *ctx, void *context, uint8_t *buf, size_t cap, size_t *size)
{
    (void)ctx, (void)context, (void)buf, (void)cap;
    *size = 0;
    return 0;
}

static void machine_end(void *ctx, void *context)
{
    (void)ctx, (void)context;
}

static int machine_write(void *ctx, void *context, const uint8_t *buf, size_t size)
{
    (void)ctx, (void)context, (void)buf, (void)size;
    return 0;
}

static int machine_restored(void *ctx, void *context, bool complete)
{
    (void)ctx, (void)context, (void)complete;
    return 0;
}

static void on_complete(void *ctx, const struct rr_completion *completions, uint32_t count)
{
    struct node *node = ctx;
    for (uint32_t i = 0; i < count; i++) {
        node->ok += completions[i].status == RR_OK;
        node->failed += completions[i].status != RR_OK;
        if (completions[i].status != RR_OK)
            node->last_failure = completions[i].status;
    }
}

static void open_node(uint32_t i)
{
    static const char *const addresses[NODES] = {"127.0.0.1:70", "127.0.0.2:70", "127.0.0.3:70"};
    struct rr_peer_address peers[NODES];
    for (uint32_t k = 0; k < NODES; k++)
        peers[k] = (struct rr_peer_address){k + 1, addresses[k]};
    struct rr_engine_options engine_options = {.size = sizeof(engine_options),
                                               .dir = "/data",
                                               .listen = addresses[i],
                                               .cluster_id = 5,
                                               .node_id = i + 1,
                                               .create = RR_CREATE_BOOTSTRAP,
                                               .segment_bytes = 256 << 10,
                                               .wal_bytes_max = 4 << 20,
                                               .entry_bytes_max = 8 << 10};
    struct rr_group_options group_options = {.size = sizeof(group_options),
                                             .group_id = 1,
                                             .peers = peers,
                                             .peer_count = NODES,
                                             .on_complete = on_complete,
                                             .ctx = &nodes[i]};
    struct rr_state_machine machine = {.size = sizeof(machine),
                                       .ctx = &nodes[i],
                                       .open = machine_open,
                                       .apply = machine_apply,
                                       .snapshot_begin = machine_begin,
                                       .snapshot_read = machine_read,
                                       .snapshot_end = machine_end,
                                       .restore_begin = machine_begin,
                                       .restore_write = machine_write,
                                       .restore_end = machine_restored};
    struct rr_error error = {0};
    struct io *io = sim_machine(sim, i + 1);
    memset(&nodes[i], 0, sizeof(nodes[i]));
    if (engine_open_on(io, &engine_options, &nodes[i].engine, &error) != 0 ||
        rr_group_open(nodes[i].engine, &group_options, &machine, &nodes[i].group, &error) != 0) {
        fprintf(stderr, "%s\n", error.message);
        exit(1);
    }
}

static struct rr_group_status status_of(const struct node *node)
{
    struct rr_group_status status = {.size = sizeof(status)};
    CHECK(rr_group_status(node->group, &status) == 0);
    return status;
}

static void run_ms(uint64_t ms)
{
    sim_run_until(sim, sim_now(sim) + ms * MS);
}

static struct node *leader_other_than(const struct node *other)
{
    for (uint32_t waited = 0; waited < 1000; waited++) {
        for (uint32_t i = 0; i < NODES; i++)
            if (&nodes[i] != other && status_of(&nodes[i]).role == RR_STATE_LEADER)
                return &nodes[i];
        run_ms(10);
    }
    CHECK(false && "a leader in time");
    return NULL;
}

static uint32_t propose(struct node *node, uint32_t count)
{
    uint32_t accepted = 0;
    for (uint32_t i = 0; i < count; i++)
        accepted += rr_propose(node->group, "entry", 5, i) == 0;
    return accepted;
}

static void open_cluster(uint64_t seed)
{
    sim = sim_new(seed);
    for (uint32_t i = 0; i < NODES; i++)
        open_node(i);
}

static void close_cluster(void)
{
    for (uint32_t i = 0; i < NODES; i++)
        engine_abandon(nodes[i].engine);
    sim_free(sim);
}

static void kill_all(void)
{
    for (uint32_t i = 0; i < NODES; i++)
        sim_kill(sim, i + 1);
}

static void test_poisoned_leader_acknowledges_nothing_and_is_replaced(void)
{
    open_cluster(1);
    struct node *leader = leader_other_than(NULL);
    CHECK_EQ_U64(propose(leader, 10), 10);
    run_ms(50);
    CHECK_EQ_U64(leader->ok, 10);
    sim_disk_error(sim, (uint32_t)(leader - nodes) + 1, EIO, 1);
    uint32_t accepted = propose(leader, 10);
    run_ms(50);
    CHECK_EQ_U64(leader->ok, 10); /* though the two others may well have them */
    CHECK_EQ_U64(leader->failed, accepted);
    CHECK(leader->last_failure == RR_E_UNKNOWN_OUTCOME);
    CHECK(status_of(leader).error == RR_E_POISONED);
    CHECK(rr_propose(leader->group, "x", 1, 99) == RR_E_CLOSED);
    struct node *next = leader_other_than(leader);
    CHECK_EQ_U64(propose(next, 10), 10);
    run_ms(100);
    CHECK_EQ_U64(next->ok, 10);
    CHECK(status_of(leader).role == RR_STATE_FOLLOWER);
    kill_all();
    close_cluster();
}

static void test_poisoned_follower_neither_acks_nor_votes(void)
{
    open_cluster(2);
    struct node *leader = leader_other_than(NULL);
    struct node *poisoned = &nodes[(leader - nodes + 1) % NODES];
    struct node *other = &nodes[(leader - nodes + 2) % NODES];
    run_ms(100);
    sim_disk_error(sim, (uint32_t)(poisoned - nodes) + 1, EIO, 1);
    CHECK_EQ_U64(propose(leader, 1), 1);
    run_ms(50);
    CHECK_EQ_U64(leader->ok, 1); /* by the other */
    CHECK(status_of(poisoned).error == RR_E_POISONED);
    /* Without the other there is no quorum any more: the poisoned node counts for nothing. */
    sim_kill(sim, (uint32_t)(other - nodes) + 1);
    CHECK_EQ_U64(propose(leader, 5), 5);
    run_ms(5000);
    CHECK_EQ_U64(leader->ok, 1);
    CHECK(status_of(leader).role != RR_STATE_LEADER && status_of(poisoned).role == 0);
    kill_all();
    close_cluster();
}

int main(void)
{
    RUN(test_poisoned_leader_acknowledges_nothing_and_is_replaced);
    RUN(test_poisoned_follower_neither_acks_nor_votes);
    return 0;
}
