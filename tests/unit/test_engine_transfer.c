/* SPDX-License-Identifier: Apache-2.0
 *
 * Large snapshots between engines: who was away gets the file while the others go on, whoever dies
 * in the middle, and nothing is left behind. In the simulator, on virtual time.
 */
#include "tests/unit/check.h"
#include "tests/unit/sim_cluster.h"

#include "engine/group.h"

#include <stdlib.h>
#include <string.h>

#define STATE_BYTES (3u << 20)
#define RATE        (2u << 20) /* so a transfer takes one and a half seconds */
#define ELECTION_MS (20u * 25u)

static struct sim_cluster *cluster;

static uint64_t next_tag = 1;

/* So much is proposed and applied at the leader. */
static void write_some(uint32_t count)
{
    struct sim_node *leader = sim_cluster_leader(cluster, NULL);
    for (uint32_t i = 0; i < count; i++) {
        CHECK_EQ_U64(sim_cluster_propose(leader, next_tag++, 1), 1);
        sim_cluster_run_ms(cluster, 2);
    }
    sim_cluster_run_ms(cluster, 20);
}

/* Three nodes, of which `away` was away while the log before it was compacted. */
static struct sim_node *begin(uint64_t seed)
{
    cluster = calloc(1, sizeof(*cluster));
    CHECK(cluster);
    sim_cluster_init(cluster, seed, 3);
    cluster->state_bytes = STATE_BYTES;
    cluster->engine_options.snapshot_send_bytes_per_second = RATE;
    cluster->group_options.snapshot_entries = 50;
    cluster->group_options.trailing_entries = 1;
    sim_cluster_open(cluster);
    struct sim_node *away = sim_cluster_next(sim_cluster_leader(cluster, NULL), 1);
    write_some(10);
    sim_cluster_kill(cluster, away->number - 1);
    write_some(200);
    sim_cluster_run_ms(cluster, 500);
    struct rr_group_status status = sim_cluster_status(sim_cluster_leader(cluster, NULL));
    CHECK(status.first_index > 50 && status.snapshot_index > 50);
    return away;
}

static void finish(void)
{
    sim_cluster_fini(cluster);
    free(cluster);
}

static void bring_back(struct sim_node *node)
{
    sim_cluster_open_node(cluster, node->number - 1);
    node->restores = 0; /* what it became at open was its own */
}

static bool is_level(const struct sim_node *node)
{
    struct rr_group_status leader = sim_cluster_status(sim_cluster_leader(cluster, NULL));
    struct rr_group_status status = sim_cluster_status(node);
    return status.applied == leader.applied && status.commit == leader.commit;
}

static void wait_until_level(const struct sim_node *node)
{
    for (uint32_t tries = 0; !is_level(node); tries++) {
        CHECK(tries < 400);
        sim_cluster_run_ms(cluster, 100);
    }
}

static struct snapshot_stream_stats streams_of(const struct sim_node *node)
{
    struct snapshot_stream_stats stats;
    snapshot_streams_stats(node->engine->streams, &stats);
    return stats;
}

/* Until the transfer to the node is well on its way. */
static void wait_for_the_middle(const struct sim_node *to)
{
    for (uint32_t tries = 0; streams_of(to).bytes_received < STATE_BYTES / 3; tries++) {
        CHECK(tries < 10000);
        sim_cluster_run_ms(cluster, 5);
    }
    CHECK(streams_of(to).receiving == 1 && streams_of(to).bytes_received < STATE_BYTES);
}

static void count_part(void *ctx, const char *name)
{
    *(uint32_t *)ctx += strstr(name, ".recv") || strstr(name, ".part");
}

static uint32_t parts_of(struct sim_node *node)
{
    uint32_t count = 0;
    struct io *io = node->engine->io;
    CHECK(io->ops->list(io, node->engine->dir, count_part, &count) == 0);
    return count;
}

/* Newer ones were taken meanwhile: who waits for his turn has not even opened his. */
static bool has_file_under_way(struct sim_node *node)
{
    struct io *io = node->engine->io;
    char path[FILE_PATH_SIZE];
    uint64_t index =
        snapshot_streams_lowest_sent(node->engine->streams, node->group->options.group_id);
    CHECK(index < sim_cluster_status(node).snapshot_index);
    CHECK(snapshot_path(node->group, index, path, NULL) == 0);
    int fd = io->ops->open(io, path, IO_O_READ_ONLY);
    if (fd >= 0)
        io->ops->close(io, fd);
    return fd >= 0;
}

static void test_node_that_was_away_gets_the_file_while_the_others_go_on(void)
{
    struct sim_node *away = begin(1), *leader = sim_cluster_leader(cluster, NULL);
    uint64_t term = sim_cluster_status(leader).term;
    uint64_t ok = leader->ok;
    bring_back(away);
    wait_for_the_middle(away);
    write_some(100);
    CHECK_EQ_U64(leader->ok, ok + 100);
    CHECK(streams_of(away).receiving == 1); /* all of them while it was under way */
    CHECK(has_file_under_way(leader));
    wait_until_level(away);
    CHECK(away->restores == 1 && away->restored_bytes == STATE_BYTES);
    CHECK_EQ_U64(sim_cluster_status(leader).term, term); /* nobody missed a heartbeat */
    sim_cluster_run_ms(cluster, 1000);
    CHECK(streams_of(leader).sends_done == 1 && streams_of(leader).sending == 0);
    CHECK(streams_of(away).receives_done == 1 && parts_of(away) == 0);
    finish();
}

static void test_receiver_that_dies_in_the_middle_gets_it_after_all(void)
{
    struct sim_node *away = begin(2);
    bring_back(away);
    wait_for_the_middle(away);
    sim_cluster_kill(cluster, away->number - 1);
    write_some(5);
    bring_back(away);
    wait_until_level(away);
    CHECK(away->restores >= 1 && parts_of(away) == 0);
    finish();
}

static void test_leader_that_dies_in_the_middle_is_replaced_by_another(void)
{
    struct sim_node *away = begin(3), *leader = sim_cluster_leader(cluster, NULL);
    bring_back(away);
    wait_for_the_middle(away);
    sim_cluster_kill(cluster, leader->number - 1);
    struct sim_node *next = sim_cluster_leader(cluster, leader);
    CHECK(next != away); /* it lacks what is committed */
    wait_until_level(away);
    CHECK(away->restores == 1);
    CHECK(streams_of(next).sends_done == 1);
    finish();
}

static void test_link_that_breaks_in_the_middle_costs_the_window_only(void)
{
    struct sim_node *away = begin(4), *leader = sim_cluster_leader(cluster, NULL);
    bring_back(away);
    wait_for_the_middle(away);
    sim_cluster_isolate(away, true);
    sim_cluster_run_ms(cluster, 15000); /* both ends give up */
    CHECK(streams_of(leader).sends_failed >= 1 && streams_of(away).receives_failed == 1);
    uint64_t received = streams_of(away).bytes_received;
    sim_cluster_isolate(away, false);
    wait_until_level(away);
    CHECK(streams_of(away).resumed == 1);
    CHECK(streams_of(away).bytes_received - received < STATE_BYTES - STATE_BYTES / 8);
    CHECK(away->restores == 1);
    finish();
}

static void test_leader_that_steps_down_sends_no_more(void)
{
    struct sim_node *away = begin(5), *leader = sim_cluster_leader(cluster, NULL);
    struct sim_node *other = sim_cluster_next(leader, 2);
    CHECK(other != away);
    bring_back(away);
    wait_for_the_middle(away);
    CHECK(rr_transfer_leadership(leader->group, other->number, 0, 1u << 20) == 0);
    sim_cluster_run_ms(cluster, 300);
    CHECK(sim_cluster_status(other).role == RR_STATE_LEADER);
    CHECK(streams_of(leader).sending == 0 && streams_of(leader).sends_failed == 1);
    wait_until_level(away);
    finish();
}

static void test_group_that_is_closed_in_the_middle_leaves_nothing_running(void)
{
    struct sim_node *away = begin(6), *leader = sim_cluster_leader(cluster, NULL);
    bring_back(away);
    wait_for_the_middle(away);
    CHECK(rr_group_close(away->group, RR_CLOSE_ABORT) == 0);
    CHECK(streams_of(away).receiving == 0 && streams_of(away).bytes_received < STATE_BYTES);
    sim_cluster_run_ms(cluster, 3000);
    CHECK(streams_of(leader).sends_failed >= 1); /* and is told that there is no such group */
    finish();
}

int main(void)
{
    RUN(test_node_that_was_away_gets_the_file_while_the_others_go_on);
    RUN(test_receiver_that_dies_in_the_middle_gets_it_after_all);
    RUN(test_leader_that_dies_in_the_middle_is_replaced_by_another);
    RUN(test_link_that_breaks_in_the_middle_costs_the_window_only);
    RUN(test_leader_that_steps_down_sends_no_more);
    RUN(test_group_that_is_closed_in_the_middle_leaves_nothing_running);
    return 0;
}
