/* SPDX-License-Identifier: Apache-2.0
 *
 * Large snapshots between engines: who was away gets the file while the others go on, whoever dies
 * in the middle, whatever is damaged, and nothing is left behind; observers hear of it. In the
 * simulator, on virtual time.
 */
#include "tests/unit/check.h"
#include "tests/unit/sim_cluster.h"

#include "engine/group.h"
#include "io/transport_impl.h"

#include <stdlib.h>
#include <string.h>

#define STATE_BYTES (3u << 20)
#define RATE        (2u << 20)  /* so a transfer takes one and a half seconds */
#define LARGE_BYTES (24u << 20) /* many slices */
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
static struct sim_node *begin_with(uint64_t seed, uint32_t state_bytes)
{
    cluster = calloc(1, sizeof(*cluster));
    CHECK(cluster);
    sim_cluster_init(cluster, seed, 3);
    cluster->state_bytes = state_bytes;
    cluster->engine_options.snapshot_send_bytes_per_second = state_bytes / STATE_BYTES * RATE;
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

static struct sim_node *begin(uint64_t seed)
{
    return begin_with(seed, STATE_BYTES);
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

/* The newest event of this kind on the node, or NULL. */
static const struct rr_event *told(const struct sim_node *node, enum rr_snapshot_step step)
{
    CHECK(node->event_count <= SIM_CLUSTER_RECORDS);
    for (uint32_t i = node->event_count; i-- > 0;)
        if (node->events[i].kind == RR_EVENT_SNAPSHOT && node->events[i].snapshot_step == step)
            return &node->events[i];
    return NULL;
}

static uint32_t count_told(const struct sim_node *node, enum rr_snapshot_step step)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < node->event_count; i++)
        count += node->events[i].kind == RR_EVENT_SNAPSHOT && node->events[i].snapshot_step == step;
    return count;
}

static const struct rr_event *wait_for_told(const struct sim_node *node, enum rr_snapshot_step step)
{
    for (uint32_t tries = 0; !told(node, step); tries++) {
        CHECK(tries < 20000);
        sim_cluster_run_ms(cluster, 1);
    }
    return told(node, step);
}

static int32_t health_of(const struct sim_node *node, const char *words)
{
    struct rr_health health = {.size = sizeof(health)};
    CHECK(rr_engine_health(node->engine, &health) == 0);
    CHECK(!words || strstr(health.text, words));
    return health.status;
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

/* ---- what is told -------------------------------------------------------- */

static void test_observers_hear_of_taking_sending_and_installing(void)
{
    struct sim_node *away = begin(7), *leader = sim_cluster_leader(cluster, NULL);
    const struct rr_event *event = told(leader, RR_SNAPSHOT_TAKEN);
    CHECK(event && event->group == 1 && event->node == leader->number && event->status == 0);
    CHECK_EQ_U64(event->index, sim_cluster_status(leader).snapshot_index);
    CHECK(event->bytes > STATE_BYTES && event->text == NULL && event->term > 0);
    bring_back(away);
    wait_until_level(away);
    event = told(leader, RR_SNAPSHOT_SENT);
    CHECK(event && event->node == away->number && event->status == 0);
    CHECK(event->bytes > STATE_BYTES);
    const struct rr_event *installed = told(away, RR_SNAPSHOT_INSTALLED);
    CHECK(installed && installed->node == away->number && installed->status == 0);
    CHECK(installed->index == event->index && installed->term == event->term);
    CHECK(installed->bytes == event->bytes && !told(away, RR_SNAPSHOT_RECEIVED));
    finish();
}

static void test_observers_hear_why_it_was_not_taken_or_did_not_arrive(void)
{
    struct sim_node *away = begin(8), *leader = sim_cluster_leader(cluster, NULL);
    bring_back(away);
    wait_for_the_middle(away);
    sim_disk_capacity(cluster->sim, away->number, sim_disk_used(cluster->sim, away->number));
    const struct rr_event *event = wait_for_told(away, RR_SNAPSHOT_RECEIVED);
    CHECK(event->status == RR_E_NO_SPACE && event->node == leader->number);
    CHECK(strcmp(event->text, rr_err_sentence(RR_E_NO_SPACE)) == 0 && event->bytes > STATE_BYTES);
    event = wait_for_told(leader, RR_SNAPSHOT_SENT);
    CHECK(event->status == RR_E_NO_SPACE && event->node == away->number);
    sim_disk_capacity(cluster->sim, away->number, UINT64_MAX);
    wait_until_level(away);
    CHECK(told(leader, RR_SNAPSHOT_SENT)->status == 0);

    leader->fails_to_read = true;
    uint32_t before = leader->event_count;
    write_some(60);
    sim_cluster_run_ms(cluster, 3500); /* several attempts, of which one is told */
    event = told(leader, RR_SNAPSHOT_TAKEN);
    CHECK(event->status == RR_E_STATE_MACHINE && leader->event_count == before + 1);
    CHECK(health_of(leader, "snapshot_error") == RR_E_SNAPSHOT_TEMPORARILY_UNAVAILABLE);
    leader->fails_to_read = false;
    sim_cluster_run_ms(cluster, 1500);
    CHECK(told(leader, RR_SNAPSHOT_TAKEN)->status == 0 && health_of(leader, NULL) == 0);
    finish();
}

/* ---- damage -------------------------------------------------------------- */

/* Found by the receiver: the leader looks for itself, takes another one and sends that. */
static void check_damaged_file_is_replaced(uint64_t seed, enum sim_damage how)
{
    struct sim_node *away = begin(seed), *leader = sim_cluster_leader(cluster, NULL);
    uint64_t index = sim_cluster_status(leader).snapshot_index;
    char path[FILE_PATH_SIZE];
    CHECK(snapshot_path(leader->group, index, path, NULL) == 0);
    CHECK(sim_damage(cluster->sim, leader->number, path, STATE_BYTES / 2, how) == 0);
    bring_back(away);
    const struct rr_event *event = wait_for_told(leader, RR_SNAPSHOT_LOST);
    CHECK(event->index == index && event->node == leader->number);
    CHECK(event->status == RR_E_CORRUPT || event->status == RR_E_IO);
    CHECK(health_of(leader, "damaged") == RR_E_SNAPSHOT_TEMPORARILY_UNAVAILABLE);
    wait_until_level(away);
    CHECK(away->restores == 1 && away->restored_bytes == STATE_BYTES);
    CHECK_EQ_U64(count_told(leader, RR_SNAPSHOT_SENT), 2);
    sim_cluster_run_ms(cluster, 500);
    CHECK(told(leader, RR_SNAPSHOT_TAKEN)->status == 0 && health_of(leader, NULL) == 0);
    write_some(60); /* the next one makes it an old one, which does not stay */
    sim_cluster_run_ms(cluster, 500);
    int fd = leader->engine->io->ops->open(leader->engine->io, path, IO_O_READ_ONLY);
    if (fd >= 0)
        leader->engine->io->ops->close(leader->engine->io, fd);
    CHECK(fd < 0 || sim_cluster_status(leader).snapshot_index == index);
    finish();
}

static void test_damaged_file_is_replaced_by_a_new_one(void)
{
    check_damaged_file_is_replaced(9, SIM_DAMAGE_FLIP);
    check_damaged_file_is_replaced(10, SIM_DAMAGE_UNREADABLE);
}

/* The receiver's disk is to blame: the leader's file is looked through, and stays. */
static void test_file_that_is_sound_is_not_replaced_because_a_receiver_says_so(void)
{
    struct sim_node *away = begin(11), *leader = sim_cluster_leader(cluster, NULL);
    uint64_t index = sim_cluster_status(leader).snapshot_index;
    snapshot_suspect(leader->group, index);
    CHECK(leader->group->snapshots.watch.phase != WATCH_IDLE);
    sim_cluster_run_ms(cluster, 100);
    CHECK(leader->group->snapshots.watch.phase == WATCH_IDLE && !told(leader, RR_SNAPSHOT_LOST));
    snapshot_suspect(leader->group, index - 1); /* not the newest: nobody is offered it */
    CHECK(leader->group->snapshots.watch.phase == WATCH_IDLE);
    bring_back(away);
    wait_until_level(away);
    finish();
}

/* ---- the receiver -------------------------------------------------------- */

static void test_receiver_that_flaps_gets_it_after_all(void)
{
    struct sim_node *away = begin(12), *leader = sim_cluster_leader(cluster, NULL);
    bring_back(away);
    for (uint32_t round = 0; round < 12; round++) {
        sim_cluster_run_ms(cluster, 300 + 37 * round);
        sim_cluster_isolate(away, true);
        write_some(10);
        sim_cluster_run_ms(cluster, 100 + 61 * round);
        sim_cluster_isolate(away, false);
    }
    wait_until_level(away);
    CHECK(away->restores >= 1 && sim_cluster_leader(cluster, NULL) == leader);
    finish();
}

static void test_receiver_with_a_slow_disk_costs_the_others_nothing(void)
{
    struct sim_node *away = begin(13), *leader = sim_cluster_leader(cluster, NULL);
    uint64_t term = sim_cluster_status(leader).term, ok = leader->ok;
    sim_disk_latency(cluster->sim, away->number, 50 * 1000000ull, 200 * 1000000ull);
    bring_back(away);
    wait_for_the_middle(away);
    write_some(100);
    CHECK_EQ_U64(leader->ok, ok + 100);
    wait_until_level(away);
    CHECK_EQ_U64(sim_cluster_status(leader).term, term);
    finish();
}

/* What is kept for it, file and log, is let go. */
static void test_receiver_that_stays_dead_holds_nothing(void)
{
    struct sim_node *away = begin(14), *leader = sim_cluster_leader(cluster, NULL);
    bring_back(away);
    wait_for_the_middle(away);
    uint64_t index = snapshot_streams_lowest_sent(leader->engine->streams, 1);
    sim_cluster_kill(cluster, away->number - 1);
    sim_cluster_run_ms(cluster, 2000);
    CHECK(streams_of(leader).sending == 0 && streams_of(leader).sends_failed >= 1);
    write_some(200);
    CHECK(sim_cluster_status(leader).first_index > index + 50);
    CHECK(leader->group->snapshots.files.count <= 2);
    finish();
}

/* It goes on from the log as of the file, when it has become that: the log is still there. */
static void test_log_is_kept_until_the_receiver_goes_on_from_its_snapshot(void)
{
    struct sim_node *away = begin_with(15, LARGE_BYTES);
    struct sim_node *leader = sim_cluster_leader(cluster, NULL);
    bring_back(away);
    while (streams_of(leader).sends_done == 0)
        CHECK(sim_step(cluster->sim));
    CHECK(told(leader, RR_SNAPSHOT_SENT)->status == 0 && away->restores == 0);
    uint64_t index = told(leader, RR_SNAPSHOT_SENT)->index;
    sim_pause(cluster->sim, away->number, true); /* for less than an election timeout */
    write_some(120);
    struct rr_group_status status = sim_cluster_status(leader);
    CHECK(status.snapshot_index > index + 50 && status.first_index <= index + 1);
    sim_pause(cluster->sim, away->number, false);
    wait_until_level(away);
    CHECK(streams_of(leader).sends_done == 1 && away->restores == 1);
    write_some(120);
    CHECK(sim_cluster_status(leader).first_index > index + 50); /* and not for ever */
    finish();
}

/* A part survives the process that received it. */
static void test_receiver_that_dies_goes_on_where_it_was(void)
{
    struct sim_node *away = begin(16);
    bring_back(away);
    wait_for_the_middle(away);
    sim_cluster_kill(cluster, away->number - 1);
    bring_back(away);
    CHECK(parts_of(away) == 1);
    wait_until_level(away);
    CHECK(streams_of(away).resumed == 1 && parts_of(away) == 0);
    CHECK(streams_of(away).bytes_received < STATE_BYTES - STATE_BYTES / 8);
    finish();
}

/* A member of an older build (its feature level is made up here): nothing breaks, and everybody is
 * told what it takes. */
static void test_member_whose_build_knows_no_files_is_told_of(void)
{
    struct sim_node *away = begin(17), *leader = sim_cluster_leader(cluster, NULL);
    bring_back(away);
    struct peer *peer = transport_find_peer(leader->engine->transport, away->number);
    uint64_t ok = leader->ok;
    for (uint32_t ms = 0; ms < 3000; ms++) { /* whatever its hellos say */
        peer->feature_level = 1;
        sim_cluster_run_ms(cluster, 1);
    }
    const struct rr_event *event = told(leader, RR_SNAPSHOT_SENT);
    CHECK(event && event->status == RR_E_NOT_SUPPORTED && event->node == away->number);
    CHECK(health_of(leader, "upgrade") == RR_E_NOT_SUPPORTED);
    for (uint32_t i = 0; i < 40; i++) {
        peer->feature_level = 1;
        write_some(1);
    }
    CHECK_EQ_U64(leader->ok, ok + 40);
    CHECK_EQ_U64(count_told(leader, RR_SNAPSHOT_SENT), 1); /* once */
    peer->feature_level = IDENTITY_FEATURE_LEVEL;
    wait_until_level(away);
    sim_cluster_run_ms(cluster, 1500);
    CHECK(health_of(leader, NULL) == 0 && away->restores == 1);
    finish();
}

/* ---- an install under way ------------------------------------------------ */

static bool is_restoring(const struct sim_node *node)
{
    enum restore_phase phase = node->group->snapshots.restore.phase;
    return phase == RESTORE_RUNNING || phase == RESTORE_WAITING;
}

/* Until the state machine has begun to become what it was sent. */
static void wait_for_the_restore(const struct sim_node *node)
{
    wait_for_the_middle(node);
    while (node->restored_bytes == 0 || !is_restoring(node))
        CHECK(sim_step(cluster->sim));
    CHECK(node->restores == 0);
}

static void test_group_is_closed_while_its_state_is_being_restored(void)
{
    struct sim_node *away = begin_with(18, LARGE_BYTES);
    bring_back(away);
    away->restored_bytes = 0;
    wait_for_the_restore(away);
    uint64_t since = sim_now(cluster->sim);
    CHECK(rr_group_close(away->group, RR_CLOSE_DRAIN) == 0);
    CHECK(sim_now(cluster->sim) - since < 2000000);
    CHECK(away->restores == 0 && away->restored_bytes < LARGE_BYTES / 2);
    sim_cluster_kill(cluster, away->number - 1);
    bring_back(away); /* from the file that is there */
    wait_until_level(away);
    finish();
}

static void test_engine_is_closed_in_the_middle_of_a_transfer(void)
{
    for (uint64_t is_sender = 0; is_sender < 2; is_sender++) {
        struct sim_node *away = begin(21 + is_sender);
        struct sim_node *closed = is_sender ? sim_cluster_leader(cluster, NULL) : away;
        bring_back(away);
        wait_for_the_middle(away);
        uint64_t since = sim_now(cluster->sim);
        CHECK(rr_engine_close(closed->engine, RR_CLOSE_DRAIN) == 0);
        CHECK(sim_now(cluster->sim) - since < 100 * 1000000ull);
        sim_reset(cluster->sim, closed->number);
        bring_back(closed);
        wait_until_level(away);
        finish();
    }
}

static void test_engine_is_closed_while_a_state_is_being_restored(void)
{
    struct sim_node *away = begin_with(19, LARGE_BYTES);
    bring_back(away);
    away->restored_bytes = 0;
    wait_for_the_restore(away);
    uint64_t since = sim_now(cluster->sim);
    CHECK(rr_engine_close(away->engine, RR_CLOSE_DRAIN) == 0);
    CHECK(sim_now(cluster->sim) - since < 10 * 1000000);
    CHECK(away->restores == 0 && away->restored_bytes < LARGE_BYTES / 2);
    sim_reset(cluster->sim, away->number);
    bring_back(away);
    wait_until_level(away);
    finish();
}

/* Another leader's, which has compacted its log further (here given by hand; it is small). */
static void test_restore_gives_way_to_a_newer_snapshot(void)
{
    struct sim_node *away = begin_with(20, LARGE_BYTES);
    struct sim_node *leader = sim_cluster_leader(cluster, NULL);
    bring_back(away);
    wait_for_the_middle(away);
    cluster->state_bytes = 1000;
    write_some(60);
    sim_cluster_run_ms(cluster, 100);
    const struct log_snapshot *newer = leader->group->log.snapshot;
    CHECK(newer->kind == LOG_SNAPSHOT_INLINE && is_restoring(away) == false);
    away->restored_bytes = 0;
    while (away->restored_bytes == 0)
        CHECK(sim_step(cluster->sim));
    const struct rr_message message = {.type = RR_MSG_SNAP,
                                       .from = leader->number,
                                       .to = away->number,
                                       .term = sim_cluster_status(leader).term,
                                       .snapshot = &newer->snapshot,
                                       .context = newer->group_data,
                                       .context_size = newer->group_data_size};
    uint64_t index = newer->snapshot.metadata.index;
    CHECK(loop_on_message(away->engine, leader->number, 1, &message) == 0);
    sim_cluster_run_ms(cluster, 20);
    CHECK(away->restores == 1 && away->restored_bytes == 1000);
    const struct rr_event *event = told(away, RR_SNAPSHOT_INSTALLED);
    CHECK(event && event->index == index && event->status == 0);
    wait_until_level(away);
    CHECK(away->restores == 1);
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
    RUN(test_observers_hear_of_taking_sending_and_installing);
    RUN(test_observers_hear_why_it_was_not_taken_or_did_not_arrive);
    RUN(test_damaged_file_is_replaced_by_a_new_one);
    RUN(test_file_that_is_sound_is_not_replaced_because_a_receiver_says_so);
    RUN(test_receiver_that_flaps_gets_it_after_all);
    RUN(test_receiver_with_a_slow_disk_costs_the_others_nothing);
    RUN(test_receiver_that_stays_dead_holds_nothing);
    RUN(test_log_is_kept_until_the_receiver_goes_on_from_its_snapshot);
    RUN(test_receiver_that_dies_goes_on_where_it_was);
    RUN(test_member_whose_build_knows_no_files_is_told_of);
    RUN(test_group_is_closed_while_its_state_is_being_restored);
    RUN(test_engine_is_closed_in_the_middle_of_a_transfer);
    RUN(test_engine_is_closed_while_a_state_is_being_restored);
    RUN(test_restore_gives_way_to_a_newer_snapshot);
    return 0;
}
