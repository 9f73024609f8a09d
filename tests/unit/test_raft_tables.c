/* SPDX-License-Identifier: Apache-2.0
 *
 * What the reference pins with tables and with chance: votes in every role, stepping down, the
 * spread of election timeouts, and how much of a backlog goes into each message.
 */
#include "tests/unit/raft_world.h"

#include "raft/raft_core.h"
#include "tests/unit/check.h"

static struct world w;

static void play_role(struct raft *r, enum rr_state role)
{
    if (role == RR_STATE_PRE_CANDIDATE)
        raft_become_pre_candidate(r);
    if (role == RR_STATE_CANDIDATE || role == RR_STATE_LEADER)
        raft_become_candidate(r);
    if (role == RR_STATE_LEADER)
        raft_become_leader(r);
}

/* The newest message that waits for the own disk. */
static const struct rr_message *newest_answer(const struct raft *r)
{
    const struct message_list *list = &r->outbox.open->after_append;
    CHECK(message_list_count(list) > 0);
    return list->next - 1;
}

/* ---- votes --------------------------------------------------------------- */

struct vote_row {
    enum rr_state role;
    uint64_t vote; /* before: nobody, the candidate (2), or another (3) */
    uint64_t lead;
    uint64_t term;  /* of the candidate's last entry */
    uint64_t index; /* of it */
};

/* The node's own log ends with (1, 2): term first, then index (thesis 3.6.1). */
static bool expect_granted(const struct vote_row *row)
{
    bool can_vote = row->vote == 2 || (row->vote == RR_NONE && row->lead == RR_NONE);
    return can_vote && (row->term > 1 || (row->term == 1 && row->index >= 2));
}

static void check_vote(enum rr_message_type type, const struct vote_row *row)
{
    struct raft *r = world_raft(&w, 1);
    r->state = (uint8_t)row->role;
    r->vote = row->vote;
    r->lead = row->lead;
    const struct rr_message m = {.type = (uint8_t)type,
                                 .from = 2,
                                 .to = 1,
                                 .term = r->term,
                                 .log_term = row->term,
                                 .index = row->index};
    CHECK(raft_step(r, &m) == 0);
    const struct rr_message *answer = newest_answer(r);
    CHECK_EQ_U64(answer->type, type == RR_MSG_VOTE ? RR_MSG_VOTE_RESP : RR_MSG_PRE_VOTE_RESP);
    CHECK_EQ_U64(answer->to, 2);
    CHECK_EQ_U64(answer->reject, !expect_granted(row));
    CHECK_EQ_U64(r->state, row->role);
    CHECK_EQ_U64(r->vote, type == RR_MSG_VOTE && expect_granted(row) ? 2 : row->vote);
}

static void check_votes(enum rr_message_type type)
{
    world_begin(&w, 3, NULL);
    world_campaign(&w, 1); /* term 1, and an entry of it at index 2 */
    struct raft *r = world_raft(&w, 1);
    enum rr_state role_before = (enum rr_state)r->state;
    struct vote_row row;
    for (int role = RR_STATE_FOLLOWER; role <= RR_STATE_PRE_CANDIDATE; role++)
        for (row.vote = 0; row.vote <= 3; row.vote++)
            for (row.lead = 0; row.lead <= 3; row.lead += 3)
                for (row.term = 0; row.term <= 2; row.term++)
                    for (row.index = 0; row.index <= 3; row.index++) {
                        row.role = (enum rr_state)role;
                        if (row.vote != 1)
                            check_vote(type, &row);
                    }
    r->state = (uint8_t)role_before;
    r->lead = 1;
    world_end(&w);
}

static void test_votes_in_every_role_follow_the_rule(void)
{
    check_votes(RR_MSG_VOTE);
    check_votes(RR_MSG_PRE_VOTE);
}

/* ---- stepping down ------------------------------------------------------- */

static void check_step_down(enum rr_state role, enum rr_message_type type, bool is_from_leader)
{
    world_begin(&w, 3, NULL);
    struct raft *r = world_raft(&w, 1);
    play_role(r, role);
    uint64_t last = raft_log_last_index(&r->log);
    const struct rr_message m = {
        .type = (uint8_t)type, .from = 2, .to = 1, .term = 5, .log_term = 5, .index = 9};
    CHECK(raft_step(r, &m) == 0);
    CHECK_EQ_U64(r->state, RR_STATE_FOLLOWER);
    CHECK_EQ_U64(r->term, 5);
    CHECK_EQ_U64(r->lead, is_from_leader ? 2 : RR_NONE);
    CHECK_EQ_U64(raft_log_last_index(&r->log), last);
    world_end(&w);
}

static void test_every_role_steps_down_for_a_newer_term(void)
{
    for (int role = RR_STATE_FOLLOWER; role <= RR_STATE_PRE_CANDIDATE; role++) {
        check_step_down((enum rr_state)role, RR_MSG_VOTE, false);
        check_step_down((enum rr_state)role, RR_MSG_APP_RESP, false);
        check_step_down((enum rr_state)role, RR_MSG_HEARTBEAT_RESP, false);
        check_step_down((enum rr_state)role, RR_MSG_APP, true);
        check_step_down((enum rr_state)role, RR_MSG_HEARTBEAT, true);
    }
}

/* ---- chance -------------------------------------------------------------- */

static void use_own_chance(struct rr_config *config)
{
    config->jitter = NULL;
    config->seed = 4711;
}

static void check_spread(enum rr_state role)
{
    bool seen[2 * WORLD_ELECTION_TICK] = {false};
    world_begin(&w, 3, use_own_chance);
    struct raft *r = world_raft(&w, 1);
    for (int i = 0; i < 1000; i++) {
        raft_become_follower(r, r->term + 1, RR_NONE);
        play_role(r, role);
        CHECK(r->randomized_election_timeout >= WORLD_ELECTION_TICK);
        CHECK(r->randomized_election_timeout < 2 * WORLD_ELECTION_TICK);
        seen[r->randomized_election_timeout] = true;
    }
    for (int timeout = WORLD_ELECTION_TICK; timeout < 2 * WORLD_ELECTION_TICK; timeout++)
        CHECK(seen[timeout]);
    world_end(&w);
}

static void test_election_timeouts_spread_over_the_whole_interval(void)
{
    check_spread(RR_STATE_FOLLOWER);
    check_spread(RR_STATE_CANDIDATE);
}

/* Of five nodes one is alone the first to stand, mostly. */
static void test_nodes_mostly_do_not_stand_together(void)
{
    uint32_t together = 0;
    world_begin(&w, 5, use_own_chance);
    for (int round = 0; round < 1000; round++) {
        int32_t first = INT32_MAX;
        uint32_t count = 0;
        for (uint64_t id = 1; id <= 5; id++) {
            struct raft *r = world_raft(&w, id);
            raft_become_follower(r, r->term + 1, RR_NONE);
            int32_t timeout = r->randomized_election_timeout;
            count = timeout < first ? 1 : count + (timeout == first);
            first = timeout < first ? timeout : first;
        }
        together += count > 1;
    }
    CHECK(together < 300);
    world_end(&w);
}

/* ---- how a backlog is cut ------------------------------------------------ */

static void limit_messages(struct rr_config *config)
{
    config->max_inflight_msgs = 3;
    config->max_size_per_msg = 2048;
    config->max_inflight_bytes = 9000;
}

/* Takes a Ready and checks how many entries the messages to node 2 hold; 0 ends the list. Returns
 * the index of the last entry sent. */
static uint64_t check_messages(const uint32_t *expected)
{
    struct world_node *node = &w.nodes[0];
    struct rr_ready ready;
    uint64_t last = 0;
    uint32_t at = 0;
    rr_raw_node_ready(node->raw, &ready);
    for (uint32_t i = 0; i < ready.message_count; i++) {
        const struct rr_message *m = &ready.messages[i];
        if (m->type != RR_MSG_APP || m->entry_count == 0)
            continue;
        CHECK_EQ_U64(m->entry_count, expected[at]);
        at++;
        last = m->entries[m->entry_count - 1].index;
    }
    CHECK_EQ_U64(expected[at], 0);
    rr_memory_storage_append(node->storage, ready.entries, ready.entry_count);
    rr_raw_node_advance(node->raw);
    return last;
}

static uint64_t acknowledge(uint64_t index, const uint32_t *expected)
{
    const struct rr_message m = {
        .type = RR_MSG_APP_RESP, .from = 2, .to = 1, .term = 1, .index = index};
    CHECK(rr_raw_node_step(world_raw(&w, 1), &m) == 0);
    return check_messages(expected);
}

static void test_backlog_is_cut_by_size_by_window_and_by_bytes(void)
{
    static const uint8_t data[5000];
    world_begin(&w, 2, limit_messages);
    struct raft *r = world_raft(&w, 1);
    play_role(r, RR_STATE_LEADER);
    for (int i = 0; i < 22; i++) {
        bool is_large = i >= 10 && i < 16;
        CHECK(rr_raw_node_propose(world_raw(&w, 1), data, is_large ? 5000 : 1000, NULL) == 0);
    }
    /* Probing: one message, of the empty entry and the first proposal, which came before the
     * others. */
    uint64_t index = check_messages((const uint32_t[]){2, 0});
    index = acknowledge(index, (const uint32_t[]){2, 2, 2, 0});
    index = acknowledge(index, (const uint32_t[]){2, 1, 1, 0});
    /* Large ones: two fill the window of bytes. */
    index = acknowledge(index, (const uint32_t[]){1, 1, 0});
    index = acknowledge(index, (const uint32_t[]){1, 1, 0});
    index = acknowledge(index, (const uint32_t[]){1, 2, 2, 0});
    index = acknowledge(index, (const uint32_t[]){2, 0});
    CHECK_EQ_U64(index, raft_log_last_index(&r->log));
    world_end(&w);
}

int main(void)
{
    RUN(test_votes_in_every_role_follow_the_rule);
    RUN(test_every_role_steps_down_for_a_newer_term);
    RUN(test_election_timeouts_spread_over_the_whole_interval);
    RUN(test_nodes_mostly_do_not_stand_together);
    RUN(test_backlog_is_cut_by_size_by_window_and_by_bytes);
    return 0;
}
