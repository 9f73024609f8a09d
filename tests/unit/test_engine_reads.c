/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads without log entries, in the simulator: what they must have seen, what they must not wait
 * for, and what becomes of them when nobody leads.
 */
#include "engine/group.h"
#include "tests/unit/check.h"
#include "tests/unit/sim_cluster.h"

#define MS 1000000ull

static struct sim_cluster cluster;

static void run_ms(uint64_t ms)
{
    sim_cluster_run_ms(&cluster, ms);
}

/* A cluster with a leader, and ten writes acknowledged. */
static struct sim_node *open_cluster(uint64_t seed, uint32_t node_count, bool lease_reads)
{
    sim_cluster_init(&cluster, seed, node_count);
    cluster.group_options.lease_reads = lease_reads;
    sim_cluster_open(&cluster);
    struct sim_node *leader = sim_cluster_leader(&cluster, NULL);
    CHECK_EQ_U64(sim_cluster_propose(leader, 1000, 10), 10);
    for (uint32_t waited = 0; leader->ok < 10 && waited < 1000; waited++)
        run_ms(1);
    CHECK_EQ_U64(leader->ok, 10);
    return leader;
}

static int status_of(const struct sim_node *node, uint64_t tag)
{
    const struct rr_completion *completion = sim_cluster_completion(node, tag);
    CHECK(completion != NULL && completion->kind == RR_COMPLETION_READ);
    return completion->status;
}

static void test_read_on_every_node_sees_what_was_acknowledged(void)
{
    struct sim_node *leader = open_cluster(1, 3, false);
    uint64_t last = sim_cluster_status(leader).last_index;
    for (uint32_t i = 0; i < 3; i++)
        CHECK(rr_read_index(cluster.nodes[i].group, i, 0) == 0);
    run_ms(50);
    for (uint32_t i = 0; i < 3; i++) {
        CHECK(status_of(&cluster.nodes[i], i) == RR_OK);
        CHECK(sim_cluster_applied_at(&cluster.nodes[i], i) >= 10);
    }
    CHECK_EQ_U64(sim_cluster_status(leader).last_index, last); /* nothing was logged */
    sim_cluster_fini(&cluster);
}

/* A follower with a slow disk: it applies only what is durable there, long after the others. */
static void test_read_waits_until_its_index_is_applied(void)
{
    struct sim_node *leader = open_cluster(2, 3, false);
    struct sim_node *follower = sim_cluster_next(leader, 1);
    run_ms(200);
    sim_disk_latency(cluster.sim, follower->number, 20 * MS, 40 * MS);
    for (uint32_t round = 0; round < 50; round++) {
        uint64_t acknowledged = leader->ok;
        CHECK(rr_read_index(follower->group, round, 0) == 0);
        CHECK_EQ_U64(sim_cluster_propose(leader, 2000 + round, 1), 1);
        run_ms(1 + round % 10);
        while (!sim_cluster_completion(follower, round))
            run_ms(1);
        CHECK(status_of(follower, round) == RR_OK);
        CHECK(sim_cluster_applied_at(follower, round) >= acknowledged);
    }
    sim_cluster_fini(&cluster);
}

static void test_read_without_a_leader_fails(void)
{
    struct sim_node *leader = open_cluster(3, 3, false);
    struct sim_node *follower = sim_cluster_next(leader, 1);
    sim_cluster_isolate(follower, true);
    CHECK(rr_read_index(follower->group, 1, 100) == 0);
    CHECK(rr_read_index(follower->group, 2, 60000) == 0);
    run_ms(300);
    CHECK(status_of(follower, 1) == RR_E_DEADLINE);
    CHECK(sim_cluster_completion(follower, 2) == NULL);
    run_ms(2000);
    CHECK(status_of(follower, 2) == RR_E_NOT_LEADER); /* as soon as it gave its leader up */
    CHECK(rr_read_index(follower->group, 3, 0) == 0);
    run_ms(5);
    CHECK(status_of(follower, 3) == RR_E_NOT_LEADER);
    sim_cluster_fini(&cluster);
}

/* The old leader believes in itself for a while longer than the others do. */
static void test_read_on_a_deposed_leader_is_never_answered(void)
{
    for (uint64_t seed = 10; seed < 20; seed++) {
        struct sim_node *old = open_cluster(seed, 3, seed % 2);
        sim_cluster_isolate(old, true);
        uint64_t tag = 0;
        for (uint32_t waited = 0; waited < 4000; waited += 10) {
            CHECK(rr_read_index(old->group, ++tag, 0) == 0);
            run_ms(10);
            struct sim_node *next = sim_cluster_next(old, 1);
            for (uint32_t k = 1; k < 3; k++)
                if (sim_cluster_status(sim_cluster_next(old, k)).role == RR_STATE_LEADER)
                    next = sim_cluster_next(old, k);
            if (sim_cluster_status(next).role == RR_STATE_LEADER)
                sim_cluster_propose(next, waited, 1);
            const struct rr_completion *read = sim_cluster_completion(old, tag);
            if (read && read->status == RR_OK)
                CHECK_EQ_U64(next->ok, 0); /* else it had to see that */
        }
        CHECK(status_of(old, 1 + tag / 2) == RR_E_NOT_LEADER);
        sim_cluster_fini(&cluster);
    }
}

/* The commit index on disk is behind what was acknowledged; the only voter leads at once. */
static void test_read_of_a_restarted_single_node_sees_what_was_acknowledged(void)
{
    struct sim_node *node = open_cluster(4, 1, false);
    for (uint64_t round = 1; round <= 20; round++) {
        CHECK_EQ_U64(sim_cluster_propose(node, 2000, 1), 1);
        while (!sim_cluster_completion(node, 2000))
            run_ms(1);
        CHECK(sim_cluster_completion(node, 2000)->status == RR_OK);
        sim_cluster_kill(&cluster, 0);
        sim_cluster_open_node(&cluster, 0);
        while (!sim_cluster_completion(node, 1) ||
               sim_cluster_completion(node, 1)->status != RR_OK) {
            node->completion_count = 0;
            CHECK(rr_read_index(node->group, 1, 0) == 0);
            for (uint32_t step = 0; step < 100 && !node->completion_count; step++)
                sim_run_until(cluster.sim, sim_now(cluster.sim) + MS / 20);
        }
        CHECK(sim_cluster_applied_at(node, 1) >= 10 + round);
        node->completion_count = 0;
    }
    sim_cluster_fini(&cluster);
}

static void test_request_that_was_lost_is_made_again(void)
{
    struct sim_node *leader = open_cluster(5, 3, false);
    struct sim_node *follower = sim_cluster_next(leader, 1);
    run_ms(200);
    uint64_t term = sim_cluster_status(leader).term;
    /* The leader restarts the connection: what was under way on it is lost. */
    sim_cut(cluster.sim, follower->number, leader->number, true);
    CHECK(rr_read_index(follower->group, 1, 5000) == 0);
    run_ms(60);
    sim_cut(cluster.sim, follower->number, leader->number, false);
    run_ms(3000);
    CHECK_EQ_U64(sim_cluster_status(leader).term, term);
    CHECK(status_of(follower, 1) == RR_OK);
    sim_cluster_fini(&cluster);
}

static void test_reads_share_requests(void)
{
    struct sim_node *leader = open_cluster(6, 3, false);
    run_ms(200);
    uint64_t before = sim_cluster_status(leader).messages_sent;
    for (uint64_t tag = 0; tag < 1000; tag++)
        CHECK(rr_read_index(leader->group, tag, 0) == 0);
    run_ms(50);
    for (uint64_t tag = 0; tag < 1000; tag++)
        CHECK(status_of(leader, tag) == RR_OK);
    CHECK(sim_cluster_status(leader).messages_sent - before < 12);
    sim_cluster_fini(&cluster);
}

static void test_read_queue_that_is_full_refuses(void)
{
    sim_cluster_init(&cluster, 7, 3);
    cluster.group_options.read_queue_entries = 16;
    sim_cluster_open(&cluster);
    struct sim_node *leader = sim_cluster_leader(&cluster, NULL);
    int rc = 0;
    uint32_t accepted = 0;
    while ((rc = rr_read_index(leader->group, accepted, 0)) == 0)
        accepted++;
    CHECK(rc == RR_E_BUSY && accepted == 16);
    run_ms(100);
    CHECK_EQ_U64(leader->completion_count, 16);
    CHECK(rr_read_index(leader->group, 99, 0) == 0);
    run_ms(50);
    CHECK(status_of(leader, 99) == RR_OK);
    sim_cluster_fini(&cluster);
}

static void test_stopped_group_fails_its_reads(void)
{
    struct sim_node *leader = open_cluster(8, 3, false);
    uint64_t applied;
    sim_cluster_isolate(leader, true);
    CHECK(rr_read_index(leader->group, 1, 60000) == 0);
    run_ms(1);
    sim_disk_error(cluster.sim, leader->number, 5, 1);
    sim_cluster_propose(leader, 2, 1);
    run_ms(100);
    CHECK(status_of(leader, 1) == RR_E_NOT_LEADER || status_of(leader, 1) == RR_E_CLOSED);
    CHECK(rr_read_index(leader->group, 3, 0) == RR_E_CLOSED);
    CHECK(rr_read_stale(leader->group, 60000, &applied) == RR_E_CLOSED);
    sim_cluster_fini(&cluster);
}

static void test_stale_read_keeps_its_bound(void)
{
    struct sim_node *leader = open_cluster(9, 3, false);
    struct sim_node *follower = sim_cluster_next(leader, 1);
    uint64_t applied = 0;
    CHECK(rr_read_stale(follower->group, 1000, &applied) == RR_E_STALE); /* not prepared yet */
    run_ms(200);
    CHECK(rr_read_stale(follower->group, 200, &applied) == 0);
    CHECK(applied >= 11 && follower->applied_count >= 10);
    CHECK(rr_read_stale(leader->group, 200, NULL) == RR_E_STALE);
    run_ms(200);
    CHECK(rr_read_stale(leader->group, 200, NULL) == 0);
    /* Cut off, its state ages; what the others acknowledge meanwhile it does not claim to have. */
    sim_cluster_isolate(follower, true);
    run_ms(300);
    CHECK(rr_read_stale(follower->group, 200, &applied) == RR_E_STALE);
    CHECK(rr_read_stale(follower->group, 2000, &applied) == 0);
    CHECK_EQ_U64(sim_cluster_propose(leader, 5000, 5), 5);
    run_ms(2000);
    CHECK(rr_read_stale(follower->group, 2000, &applied) == RR_E_STALE);
    sim_cluster_isolate(follower, false);
    run_ms(5000);
    CHECK(rr_read_stale(follower->group, 200, &applied) == 0);
    CHECK(applied >= 16 && follower->applied_count == 15);
    sim_cluster_fini(&cluster);
}

static void test_leased_read_asks_nobody(void)
{
    struct sim_node *leader = open_cluster(11, 3, true);
    CHECK(rr_read_index(leader->group, 0, 0) == 0);
    run_ms(60); /* that one asked */
    uint64_t before = sim_cluster_status(leader).messages_sent;
    for (uint64_t tag = 1; tag <= 30; tag++) {
        CHECK(rr_read_index(leader->group, tag, 0) == 0);
        run_ms(1);
        CHECK(status_of(leader, tag) == RR_OK);
    }
    CHECK(sim_cluster_status(leader).messages_sent - before <= 2); /* a heartbeat */
    sim_cluster_fini(&cluster);
}

/* Stopped for longer than its lease, with reads at the door when it goes on. */
static void test_leased_read_after_a_stall_asks(void)
{
    for (uint64_t seed = 30; seed < 40; seed++) {
        struct sim_node *leader = open_cluster(seed, 3, true);
        CHECK(rr_read_index(leader->group, 1, 0) == 0);
        run_ms(60);
        CHECK(status_of(leader, 1) == RR_OK);
        sim_pause(cluster.sim, leader->number, true);
        run_ms(1000);
        struct sim_node *next = sim_cluster_leader(&cluster, leader);
        CHECK_EQ_U64(sim_cluster_propose(next, 1, 5), 5);
        while (next->ok < 5)
            run_ms(1);
        CHECK(rr_read_index(leader->group, 2, 0) == 0);
        sim_pause(cluster.sim, leader->number, false);
        run_ms(100);
        if (status_of(leader, 2) == RR_OK)
            CHECK(sim_cluster_applied_at(leader, 2) >= 15);
        sim_cluster_fini(&cluster);
    }
}

/* A leader that has no room for entries takes them from nobody; a forwarded read is none, though
 * its context travels where entries do. */
static void test_forwarded_read_is_answered_by_a_leader_without_room(void)
{
    static const char bytes[4096];
    struct sim_node *leader = open_cluster(12, 3, false);
    struct sim_node *follower = sim_cluster_next(leader, 1);
    uint64_t tag = 100000;
    run_ms(200);
    sim_disk_capacity(cluster.sim, leader->number, sim_disk_used(cluster.sim, leader->number));
    for (uint32_t round = 0; round < 4000 && wal_admits_entries(leader->engine->wal) == 0;
         round++) {
        for (uint32_t i = 0; i < 8; i++)
            (void)rr_propose(leader->group, bytes, sizeof(bytes), tag++);
        run_ms(2);
    }
    CHECK(wal_admits_entries(leader->engine->wal) != 0);
    CHECK(sim_cluster_status(leader).role == RR_STATE_LEADER);
    CHECK(rr_read_index(follower->group, 1, 0) == 0);
    run_ms(50);
    CHECK(status_of(follower, 1) == RR_OK);
    sim_cluster_fini(&cluster);
}

int main(void)
{
    RUN(test_read_on_every_node_sees_what_was_acknowledged);
    RUN(test_read_waits_until_its_index_is_applied);
    RUN(test_read_without_a_leader_fails);
    RUN(test_read_on_a_deposed_leader_is_never_answered);
    RUN(test_read_of_a_restarted_single_node_sees_what_was_acknowledged);
    RUN(test_request_that_was_lost_is_made_again);
    RUN(test_forwarded_read_is_answered_by_a_leader_without_room);
    RUN(test_reads_share_requests);
    RUN(test_read_queue_that_is_full_refuses);
    RUN(test_stopped_group_fails_its_reads);
    RUN(test_stale_read_keeps_its_bound);
    RUN(test_leased_read_asks_nobody);
    RUN(test_leased_read_after_a_stall_asks);
    return 0;
}
