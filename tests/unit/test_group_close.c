/* SPDX-License-Identifier: Apache-2.0
 *
 * Groups that leave a running engine, and come back.
 */
#include "engine/group.h"
#include "tests/unit/check.h"
#include "tests/unit/groups_world.h"

static struct groups_world world; /* large */

static struct world_group *at(uint32_t i, uint32_t g)
{
    return &world.nodes[i].groups[g];
}

/* The handle lives on as a shell; the test's own record says that it is not open. */
static struct rr_group *close_group(uint32_t i, uint32_t g, enum rr_close_mode mode)
{
    struct rr_group *group = at(i, g)->group;
    CHECK(rr_group_close(group, mode) == 0);
    at(i, g)->group = NULL;
    return group;
}

static void test_close_drain_gives_real_outcomes_and_abort_gives_all(void)
{
    groups_world_init(&world, 11, 1, 2);
    groups_world_open(&world);
    for (uint32_t g = 0; g < 2; g++) {
        groups_world_leader(&world, g);
        for (uint32_t i = 0; i < 1000; i++)
            CHECK(rr_propose(at(0, g)->group, "entry", 5, i) == 0);
    }
    close_group(0, 0, RR_CLOSE_DRAIN);
    CHECK_EQ_U64(at(0, 0)->ok, 1000);
    close_group(0, 1, RR_CLOSE_ABORT);
    CHECK_EQ_U64(at(0, 1)->ok + at(0, 1)->failed, 1000);
    groups_world_fini(&world);
}

static void test_close_leaves_a_handle_that_says_so(void)
{
    groups_world_init(&world, 12, 1, 2);
    groups_world_open(&world);
    groups_world_write(&world, 0, 10, 100);
    struct rr_group *group = close_group(0, 0, RR_CLOSE_DRAIN);
    struct rr_group_status status = {.size = sizeof(status)};
    CHECK(rr_propose(group, "late", 4, 1) == RR_E_CLOSED);
    CHECK(rr_group_status(group, &status) == 0 && status.error == RR_E_CLOSED);
    CHECK(rr_group_close(group, RR_CLOSE_DRAIN) == RR_E_CLOSED);
    groups_world_write(&world, 1, 10, 100); /* the other one does not notice */
    CHECK_EQ_U64(world.nodes[0].engine->groups.count, 1);
    groups_world_fini(&world);
}

/* Every call there is, on a handle whose group is closed. */
static void test_close_refuses_every_call_after_it(void)
{
    groups_world_init(&world, 21, 1, 1);
    groups_world_open(&world);
    groups_world_write(&world, 0, 10, 100);
    struct rr_group *group = close_group(0, 0, RR_CLOSE_DRAIN);
    const struct rr_proposal item = {.data = "late", .size = 4, .tag = 1};
    const struct rr_member_change change = {
        .size = sizeof(change), .kind = RR_MEMBER_REMOVE, .node = 1};
    struct rr_error error = {0};
    uint64_t applied, completed = at(0, 0)->ok + at(0, 0)->failed;
    CHECK(rr_propose(group, "late", 4, 1) == RR_E_CLOSED);
    CHECK(rr_propose_batch(group, &item, 1) == RR_E_CLOSED);
    CHECK(rr_cancel(group, 1) == RR_E_CLOSED);
    CHECK(rr_read_index(group, 1, 0) == RR_E_CLOSED);
    CHECK(rr_read_stale(group, 1000, &applied) == RR_E_CLOSED);
    CHECK(rr_conf_change(group, &change, 1, &error) == RR_E_CLOSED && error.message[0]);
    CHECK(rr_transfer_leadership(group, 1, 0, 1) == RR_E_CLOSED);
    CHECK(rr_snapshot(group, 1) == RR_E_CLOSED);
    CHECK(rr_backup(group, "/backup", 1) == RR_E_CLOSED);
    CHECK(rr_group_close(group, RR_CLOSE_ABORT) == RR_E_CLOSED);
    groups_world_run_ms(&world, 1000);
    CHECK_EQ_U64(at(0, 0)->ok + at(0, 0)->failed, completed); /* what was refused stays so */
    groups_world_fini(&world);
}

static void test_close_and_open_again_finds_everything(void)
{
    groups_world_init(&world, 13, 1, 3);
    groups_world_open(&world);
    uint64_t count = 0;
    for (uint32_t round = 0; round < 5; round++) {
        groups_world_write(&world, 1, 20, 3000);
        count += 20;
        CHECK_EQ_U64(at(0, 1)->machine.count, count);
        close_group(0, 1, round % 2 ? RR_CLOSE_ABORT : RR_CLOSE_DRAIN);
        groups_world_write(&world, 0, 100, 8000); /* what is dormant is written again */
        groups_world_open_group(&world, 0, 1);
    }
    groups_world_leader(&world, 1);
    groups_world_run_ms(&world, 10);
    CHECK_EQ_U64(at(0, 1)->machine.count, count);
    /* And a restart finds it, closed or not. */
    close_group(0, 1, RR_CLOSE_DRAIN);
    groups_world_kill(&world, 0);
    groups_world_open(&world);
    groups_world_leader(&world, 1);
    groups_world_run_ms(&world, 10);
    CHECK_EQ_U64(at(0, 1)->machine.count, count);
    groups_world_fini(&world);
}

static void test_close_on_one_node_is_a_lost_node_to_the_others(void)
{
    groups_world_init(&world, 14, 3, 2);
    groups_world_open(&world);
    groups_world_write(&world, 0, 10, 100);
    uint32_t leader = groups_world_leader(&world, 0);
    close_group(leader, 0, RR_CLOSE_DRAIN);
    groups_world_write(&world, 0, 10, 100); /* by another leader */
    CHECK(groups_world_leader(&world, 0) != leader);
    groups_world_open_group(&world, leader, 0);
    groups_world_write(&world, 0, 10, 100);
    groups_world_check_equal(&world);
    CHECK_EQ_U64(at(leader, 0)->machine.count, 30);
    groups_world_fini(&world);
}

static void test_close_of_a_follower_without_end_of_entries(void)
{
    groups_world_init(&world, 15, 3, 1);
    groups_world_open(&world);
    uint32_t leader = groups_world_leader(&world, 0), follower = (leader + 1) % 3;
    for (uint32_t i = 0; i < 3000; i++)
        CHECK(rr_propose(at(leader, 0)->group, "entry", 5, i) == 0);
    close_group(follower, 0, RR_CLOSE_DRAIN);
    groups_world_open_group(&world, follower, 0);
    groups_world_check_equal(&world);
    CHECK_EQ_U64(at(follower, 0)->machine.count, 3000);
    groups_world_fini(&world);
}

static void test_close_without_a_quorum_ends_at_the_deadline(void)
{
    groups_world_init(&world, 16, 3, 1);
    groups_world_open(&world);
    uint32_t leader = groups_world_leader(&world, 0);
    for (uint32_t i = 0; i < 3; i++)
        if (i != leader)
            groups_world_kill(&world, i);
    for (uint32_t i = 0; i < 100; i++)
        CHECK(rr_propose(at(leader, 0)->group, "entry", 5, i) == 0);
    uint64_t before = sim_now(world.sim);
    close_group(leader, 0, RR_CLOSE_DRAIN);
    CHECK(sim_now(world.sim) - before < 1100000000ull); /* two election timeouts are a second */
    CHECK_EQ_U64(at(leader, 0)->failed, 100);
    CHECK(at(leader, 0)->last_failure == RR_E_UNKNOWN_OUTCOME);
    groups_world_fini(&world);
}

static void test_close_waits_until_the_disk_has_everything(void)
{
    groups_world_init(&world, 17, 1, 1);
    groups_world_open(&world);
    groups_world_leader(&world, 0);
    sim_disk_latency(world.sim, 1, 300000000, 300000001);
    CHECK(rr_propose(at(0, 0)->group, "entry", 5, 1) == 0);
    groups_world_run_ms(&world, 10); /* appended, and on its way */
    uint64_t before = sim_now(world.sim);
    close_group(0, 0, RR_CLOSE_ABORT);
    /* A core that starts on the record takes all of it for durable: so it must be. */
    CHECK(sim_now(world.sim) - before > 200000000ull);
    groups_world_fini(&world);
}

static void test_close_parts_from_peers_that_no_group_needs(void)
{
    groups_world_init(&world, 18, 3, 2);
    groups_world_open(&world);
    for (uint32_t g = 0; g < 2; g++)
        groups_world_write(&world, g, 1, 10);
    close_group(0, 0, RR_CLOSE_DRAIN);
    CHECK(transport_peer_is_up(world.nodes[0].engine->transport, 2));
    close_group(0, 1, RR_CLOSE_DRAIN);
    CHECK(!transport_peer_is_up(world.nodes[0].engine->transport, 2));
    groups_world_open_group(&world, 0, 1);
    groups_world_run_ms(&world, 5000);
    CHECK(transport_peer_is_up(world.nodes[0].engine->transport, 2));
    groups_world_check_equal(&world);
    groups_world_fini(&world);
}

static void test_remove_is_durable_and_says_what_it_cannot(void)
{
    struct rr_error error = {0};
    groups_world_init(&world, 20, 1, 3);
    groups_world_open(&world);
    for (uint32_t g = 0; g < 3; g++)
        groups_world_write(&world, g, 10, 500);
    CHECK(rr_group_remove(world.nodes[0].engine, 2, &error) == RR_E_INVALID && error.message[0]);
    close_group(0, 1, RR_CLOSE_DRAIN);
    CHECK(rr_group_remove(world.nodes[0].engine, 2, &error) == 0);
    error.message[0] = 0;
    CHECK(rr_group_remove(world.nodes[0].engine, 2, &error) == RR_E_NOT_FOUND && error.message[0]);
    CHECK(rr_group_remove(world.nodes[0].engine, 77, &error) == RR_E_NOT_FOUND);
    groups_world_kill(&world, 0); /* at once */
    groups_world_start(&world, 0);
    CHECK(!id_map_find(&world.nodes[0].engine->registry.entries, 2));
    CHECK(id_map_find(&world.nodes[0].engine->registry.entries, 1));
    /* One that was never opened in this process goes as well. */
    CHECK(rr_group_remove(world.nodes[0].engine, 3, &error) == 0);
    groups_world_kill(&world, 0);
    groups_world_open(&world);
    for (uint32_t g = 0; g < 3; g++) {
        groups_world_leader(&world, g);
        groups_world_run_ms(&world, 10);
        CHECK_EQ_U64(at(0, g)->machine.count, g == 0 ? 10 : 0); /* they begin anew */
    }
    groups_world_fini(&world);
}

static void test_remove_lets_segments_go(void)
{
    groups_world_init(&world, 21, 1, 2);
    groups_world_open(&world);
    struct rr_error error;
    for (uint32_t round = 0; round < 8; round++) {
        groups_world_write(&world, 1, 60, 8000);
        close_group(0, 1, RR_CLOSE_ABORT);
        CHECK(rr_group_remove(world.nodes[0].engine, 2, &error) == 0);
        groups_world_open_group(&world, 0, 1);
        groups_world_write(&world, 0, 60, 8000);
    }
    CHECK_EQ_U64(at(0, 0)->machine.count, 8 * 60);
    groups_world_fini(&world);
}

static int refusals[3];

static void close_in_callback(void *ctx, const struct rr_completion *completions, uint32_t count)
{
    (void)completions, (void)count;
    struct world_group *own = ctx;
    struct rr_engine *engine = world.nodes[0].engine;
    refusals[0] = rr_group_close(own->group, RR_CLOSE_ABORT);
    refusals[1] = rr_group_remove(engine, world.group_options.group_id, NULL);
    refusals[2] = rr_engine_close(engine, RR_CLOSE_ABORT);
    own->ok++;
}

static void test_calls_that_wait_are_refused_in_a_callback(void)
{
    groups_world_init(&world, 19, 1, 1);
    world.group_options.on_complete = close_in_callback;
    groups_world_open(&world);
    groups_world_write(&world, 0, 1, 1);
    for (uint32_t i = 0; i < RR_ARRAY_SIZE(refusals); i++)
        CHECK(refusals[i] == RR_E_WRONG_THREAD);
    groups_world_write(&world, 0, 1, 1); /* nothing has happened */
    groups_world_fini(&world);
}

int main(void)
{
    RUN(test_close_drain_gives_real_outcomes_and_abort_gives_all);
    RUN(test_close_leaves_a_handle_that_says_so);
    RUN(test_close_refuses_every_call_after_it);
    RUN(test_close_and_open_again_finds_everything);
    RUN(test_close_on_one_node_is_a_lost_node_to_the_others);
    RUN(test_close_of_a_follower_without_end_of_entries);
    RUN(test_close_without_a_quorum_ends_at_the_deadline);
    RUN(test_close_waits_until_the_disk_has_everything);
    RUN(test_close_parts_from_peers_that_no_group_needs);
    RUN(test_remove_is_durable_and_says_what_it_cannot);
    RUN(test_remove_lets_segments_go);
    RUN(test_calls_that_wait_are_refused_in_a_callback);
    return 0;
}
