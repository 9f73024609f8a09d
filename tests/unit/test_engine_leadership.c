/* SPDX-License-Identifier: Apache-2.0
 *
 * Leadership that moves: on purpose, within its time or not at all, and after a leader died. In the
 * simulator, on virtual time.
 */
#include "tests/unit/check.h"
#include "tests/unit/sim_cluster.h"

#define ELECTION_MS (20u * 25u) /* the defaults: ticks, and how long one is */

static struct sim_node *begin(struct sim_cluster *cluster, uint64_t seed, uint32_t nodes)
{
    sim_cluster_init(cluster, seed, nodes);
    sim_cluster_open(cluster);
    struct sim_node *leader = sim_cluster_leader(cluster, NULL);
    sim_cluster_run_ms(cluster, 200);
    return leader;
}

static int32_t status_of(const struct sim_node *node, uint64_t tag)
{
    const struct rr_completion *completion = sim_cluster_completion(node, tag);
    CHECK(completion);
    return completion->status;
}

static void test_transfer_makes_the_other_one_lead_at_once(void)
{
    struct sim_cluster cluster;
    struct sim_node *leader = begin(&cluster, 1, 3);
    for (uint64_t tag = 1; tag <= 20; tag++) {
        struct sim_node *to = sim_cluster_next(leader, 1 + (uint32_t)tag % 2);
        CHECK(rr_transfer_leadership(leader->group, to->number, 0, tag) == 0);
        sim_cluster_run_ms(&cluster, 100);
        CHECK(status_of(leader, tag) == RR_OK);
        CHECK(sim_cluster_completion(leader, tag)->kind == RR_COMPLETION_TRANSFER);
        CHECK(sim_cluster_status(to).role == RR_STATE_LEADER);
        leader = to;
        CHECK_EQ_U64(sim_cluster_propose(leader, 1000 + tag, 1), 1);
        sim_cluster_run_ms(&cluster, 50);
        CHECK(status_of(leader, 1000 + tag) == RR_OK);
    }
    sim_cluster_fini(&cluster);
}

static void test_transfer_that_makes_no_sense_is_refused(void)
{
    struct sim_cluster cluster;
    struct sim_node *leader = begin(&cluster, 2, 3);
    struct sim_node *follower = sim_cluster_next(leader, 1);
    CHECK(rr_transfer_leadership(leader->group, 0, 0, 1) == RR_E_INVALID);
    CHECK(rr_transfer_leadership(leader->group, 2, 60001, 1) == RR_E_INVALID);
    CHECK(rr_transfer_leadership(leader->group, 77, 0, 1) == 0);
    CHECK(rr_transfer_leadership(leader->group, leader->number, 0, 2) == 0);
    CHECK(rr_transfer_leadership(follower->group, leader->number, 0, 3) == 0);
    sim_cluster_run_ms(&cluster, 50);
    CHECK(status_of(leader, 1) == RR_E_NOT_VOTER);
    CHECK(status_of(leader, 2) == RR_OK);
    CHECK(status_of(follower, 3) == RR_E_NOT_LEADER);
    sim_cluster_fini(&cluster);
}

/* The target does not answer: proposals are refused at once, and served after the deadline. */
static void test_transfer_to_a_dead_node_ends_at_its_deadline(void)
{
    struct sim_cluster cluster;
    struct sim_node *leader = begin(&cluster, 3, 3);
    struct sim_node *dead = sim_cluster_next(leader, 1), *other = sim_cluster_next(leader, 2);
    uint64_t term = sim_cluster_status(leader).term;
    sim_cluster_isolate(dead, true);
    CHECK(rr_transfer_leadership(leader->group, dead->number, 1200, 1) == 0);
    CHECK(rr_transfer_leadership(leader->group, other->number, 0, 2) == 0);
    for (uint64_t at_ms = 0; at_ms < 1100; at_ms += 100) {
        sim_cluster_run_ms(&cluster, 50);
        CHECK_EQ_U64(sim_cluster_propose(leader, 1000 + at_ms, 1), 1);
        sim_cluster_run_ms(&cluster, 50);
        CHECK(status_of(leader, 1000 + at_ms) == RR_E_BUSY);
    }
    CHECK(status_of(leader, 2) == RR_E_BUSY && !sim_cluster_completion(leader, 1));
    sim_cluster_run_ms(&cluster, 150);
    CHECK(status_of(leader, 1) == RR_E_DEADLINE);
    CHECK_EQ_U64(sim_cluster_propose(leader, 5000, 1), 1);
    sim_cluster_run_ms(&cluster, 50);
    CHECK(status_of(leader, 5000) == RR_OK);
    CHECK_EQ_U64(sim_cluster_status(leader).term, term);
    sim_cluster_fini(&cluster);
}

/* It is behind: the transfer waits until it has caught up. */
static void test_transfer_to_a_laggard_waits_for_it(void)
{
    struct sim_cluster cluster;
    struct sim_node *leader = begin(&cluster, 4, 3);
    struct sim_node *slow = sim_cluster_next(leader, 1);
    sim_cluster_isolate(slow, true);
    CHECK_EQ_U64(sim_cluster_propose(leader, 1000, 500), 500);
    sim_cluster_run_ms(&cluster, 300);
    CHECK(rr_transfer_leadership(leader->group, slow->number, 10000, 1) == 0);
    sim_cluster_run_ms(&cluster, 300);
    CHECK(!sim_cluster_completion(leader, 1));
    sim_cluster_isolate(slow, false);
    sim_cluster_run_ms(&cluster, 9000);
    CHECK(status_of(leader, 1) == RR_OK && sim_cluster_status(slow).role == RR_STATE_LEADER);
    sim_cluster_fini(&cluster);
}

static void test_transfer_whose_leader_loses_its_quorum_is_answered(void)
{
    struct sim_cluster cluster;
    struct sim_node *leader = begin(&cluster, 5, 3);
    sim_cluster_isolate(leader, true);
    CHECK(rr_transfer_leadership(leader->group, sim_cluster_next(leader, 1)->number, 3000, 1) == 0);
    sim_cluster_run_ms(&cluster, 2000);
    struct sim_node *heir = sim_cluster_leader(&cluster, leader);
    sim_cluster_isolate(leader, false);
    sim_cluster_run_ms(&cluster, 5000);
    int32_t status = status_of(leader, 1);
    CHECK(status == (heir == sim_cluster_next(leader, 1) ? RR_OK : RR_E_NOT_LEADER) ||
          status == RR_E_DEADLINE);
    sim_cluster_fini(&cluster);
}

static void test_transfer_pending_at_the_close_is_answered(void)
{
    struct sim_cluster cluster;
    struct sim_node *leader = begin(&cluster, 6, 3);
    sim_cluster_isolate(leader, true);
    CHECK(rr_transfer_leadership(leader->group, sim_cluster_next(leader, 1)->number, 3000, 1) == 0);
    sim_cluster_run_ms(&cluster, 50);
    CHECK(rr_engine_close(leader->engine, RR_CLOSE_ABORT) == 0);
    leader->engine = NULL;
    leader->group = NULL;
    CHECK(status_of(leader, 1) == RR_E_CLOSED);
    sim_cluster_fini(&cluster);
}

/* Whoever is killed, and whenever. A follower waits one to two election timeouts since it last
 * heard of the leader, at random; no two of them draw the same number (leadership_jitter), or one
 * kill in twenty would end in a split vote and another round. */
static void test_new_leader_within_two_election_timeouts_of_a_kill(void)
{
    const uint32_t rounds = 60;
    uint64_t sum = 0, late = 0;
    for (uint64_t seed = 1; seed <= rounds; seed++) {
        struct sim_cluster cluster;
        struct sim_node *leader = begin(&cluster, 100 + seed, seed % 2 ? 3 : 5);
        sim_cluster_propose(leader, 1, 100);
        sim_cluster_run_ms(&cluster, 7 * seed);
        sim_cluster_kill(&cluster, leader->number - 1);
        uint64_t from = sim_now(cluster.sim);
        sim_cluster_leader(&cluster, leader);
        uint64_t took_ms = (sim_now(cluster.sim) - from) / 1000000;
        sum += took_ms;
        late += took_ms > 2 * ELECTION_MS;
        CHECK(took_ms <= 4 * ELECTION_MS);
        sim_cluster_fini(&cluster);
    }
    fprintf(stderr, "    %llu ms on average, %llu of %u later than two election timeouts\n",
            (unsigned long long)(sum / rounds), (unsigned long long)late, rounds);
    CHECK(late <= 1);
}

int main(void)
{
    RUN(test_transfer_makes_the_other_one_lead_at_once);
    RUN(test_transfer_that_makes_no_sense_is_refused);
    RUN(test_transfer_to_a_dead_node_ends_at_its_deadline);
    RUN(test_transfer_to_a_laggard_waits_for_it);
    RUN(test_transfer_whose_leader_loses_its_quorum_is_answered);
    RUN(test_transfer_pending_at_the_close_is_answered);
    RUN(test_new_leader_within_two_election_timeouts_of_a_kill);
    return 0;
}
