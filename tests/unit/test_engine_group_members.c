/* SPDX-License-Identifier: Apache-2.0
 *
 * A node that is a member of one group and was removed from another: it has to learn that of the
 * one, while the other goes on over the same connections. In the simulator.
 */
#include "tests/unit/check.h"
#include "tests/unit/groups_world.h"

static struct groups_world world;

static void remove_from_group(uint32_t g, uint32_t leader, uint64_t node)
{
    struct world_group *own = &world.nodes[leader].groups[g];
    struct rr_member_change change = {
        .size = sizeof(change), .kind = RR_MEMBER_REMOVE, .node = node};
    uint64_t before = own->ok;
    CHECK(rr_conf_change(own->group, &change, 1u << 30, NULL) == 0);
    for (uint32_t waited = 0; waited < 500 && own->ok == before; waited++)
        groups_world_run_ms(&world, 10);
    CHECK_EQ_U64(own->ok, before + 1);
}

/* Not the leader of either group. */
static uint32_t follower_of_both(void)
{
    uint32_t a = groups_world_leader(&world, 0), b = groups_world_leader(&world, 1), i = 0;
    while (i == a || i == b)
        i++;
    return i;
}

static void check_member_of_the_second_alone(uint32_t away)
{
    uint32_t g0_leader = groups_world_leader(&world, 0);
    CHECK_EQ_U64(groups_world_status(&world, g0_leader, 0).voter_count, 2);
    CHECK(groups_world_status(&world, away, 0).error == RR_E_REMOVED);
    CHECK(groups_world_status(&world, away, 1).error == 0);
    groups_world_write(&world, 0, 20, 50);
    groups_world_write(&world, 1, 20, 50);
    groups_world_run_ms(&world, 3000);
    CHECK_EQ_U64(groups_world_status(&world, away, 1).applied,
                 groups_world_status(&world, g0_leader, 1).applied);
    CHECK_EQ_U64(groups_world_status(&world, away, 1).voter_count, 3);
}

static void test_node_removed_from_one_of_its_groups_stays_in_the_other(void)
{
    groups_world_init(&world, 1, 3, 2);
    groups_world_open(&world);
    groups_world_write(&world, 0, 20, 50);
    groups_world_write(&world, 1, 20, 50);
    uint32_t away = follower_of_both();
    remove_from_group(0, groups_world_leader(&world, 0), away + 1);
    groups_world_run_ms(&world, 3000);
    check_member_of_the_second_alone(away);
    groups_world_fini(&world);
}

/* Its hello is accepted for the sake of the other group: it is told when it campaigns. */
static void test_node_that_was_away_is_told_of_which_group_it_was_removed(void)
{
    groups_world_init(&world, 2, 3, 2);
    groups_world_open(&world);
    groups_world_write(&world, 0, 20, 50);
    groups_world_write(&world, 1, 20, 50);
    uint32_t away = follower_of_both();
    groups_world_kill(&world, away);
    remove_from_group(0, groups_world_leader(&world, 0), away + 1);
    groups_world_run_ms(&world, 3000);
    uint64_t term = groups_world_status(&world, groups_world_leader(&world, 0), 0).term;
    groups_world_start(&world, away);
    groups_world_open_group(&world, away, 0);
    groups_world_open_group(&world, away, 1);
    groups_world_run_ms(&world, 5000);
    check_member_of_the_second_alone(away);
    CHECK_EQ_U64(groups_world_status(&world, groups_world_leader(&world, 0), 0).term, term);
    groups_world_fini(&world);
}

int main(void)
{
    RUN(test_node_removed_from_one_of_its_groups_stays_in_the_other);
    RUN(test_node_that_was_away_is_told_of_which_group_it_was_removed);
    return 0;
}
