/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers: which of them wait for the own disk, and with which term and index they speak. Node 2
 * of three follows node 1, with storage by messages: what is not in the responses of its
 * MsgStorageAppend goes out at once.
 */
#include "tests/unit/raft_world.h"

#include "tests/unit/check.h"

static struct world w;

static void async_mode(struct rr_config *config)
{
    config->async_storage_writes = true;
}

static void async_check_quorum(struct rr_config *config)
{
    config->async_storage_writes = true;
    config->check_quorum = true;
}

static void begin(void (*adjust)(struct rr_config *config))
{
    world_begin(&w, 3, adjust);
    world_campaign(&w, 1);
    CHECK(world_raft(&w, 2)->lead == 1);
}

static struct rr_message from_1(enum rr_message_type type)
{
    return (struct rr_message){
        .type = (uint8_t)type, .to = 2, .from = 1, .term = world_raft(&w, 1)->term};
}

/* Steps a message at node 2; the answer must be a response of the append thread and nothing else
 * may go out. The Ready stays unserved: nothing of it is durable. */
static struct rr_message answer_that_waits(struct rr_message m, enum rr_message_type type)
{
    CHECK(world_step(&w, m) == 0);
    struct rr_ready ready;
    rr_raw_node_ready(world_raw(&w, 2), &ready);
    CHECK_EQ_U64(ready.message_count, 1);
    CHECK(ready.messages[0].type == RR_MSG_STORAGE_APPEND);
    CHECK(ready.messages[0].response_count >= 1);
    CHECK(ready.messages[0].responses[0].type == type);
    return ready.messages[0].responses[0];
}

static void test_rejected_entries_wait(void)
{
    begin(async_mode);
    struct rr_message m = from_1(RR_MSG_APP);
    m.index = 9;
    m.log_term = m.term;
    struct rr_message answer = answer_that_waits(m, RR_MSG_APP_RESP);
    CHECK(answer.reject);
    CHECK_EQ_U64(answer.index, 9);
    CHECK_EQ_U64(answer.reject_hint, 2);
    world_end(&w);
}

static void test_accepted_entries_wait(void)
{
    begin(async_mode);
    struct rr_message m = from_1(RR_MSG_APP);
    m.index = 2;
    m.log_term = m.term;
    struct rr_message answer = answer_that_waits(m, RR_MSG_APP_RESP);
    CHECK(!answer.reject);
    CHECK_EQ_U64(answer.index, 2);
    world_end(&w);
}

static void test_pre_votes_wait(void)
{
    begin(async_mode);
    struct rr_message m = from_1(RR_MSG_PRE_VOTE);
    m.term += 1;
    m.index = 9;
    m.log_term = m.term;
    struct rr_message answer = answer_that_waits(m, RR_MSG_PRE_VOTE_RESP);
    CHECK(!answer.reject);
    CHECK_EQ_U64(answer.term, m.term);
    CHECK_EQ_U64(world_raft(&w, 2)->term, m.term - 1);
    world_end(&w);
}

static void test_refused_pre_vote_waits_and_tells_the_own_term(void)
{
    begin(async_mode);
    struct rr_message m = from_1(RR_MSG_PRE_VOTE);
    m.term += 5;
    struct rr_message answer = answer_that_waits(m, RR_MSG_PRE_VOTE_RESP);
    CHECK(answer.reject);
    CHECK_EQ_U64(answer.term, m.term - 5);
    world_end(&w);
}

static void test_votes_wait(void)
{
    begin(async_mode);
    struct rr_message m = from_1(RR_MSG_VOTE);
    m.term += 1;
    m.index = 9;
    m.log_term = m.term;
    struct rr_message answer = answer_that_waits(m, RR_MSG_VOTE_RESP);
    CHECK(!answer.reject);
    m.from = 3;
    answer = answer_that_waits(m, RR_MSG_VOTE_RESP);
    CHECK(answer.reject);
    world_end(&w);
}

/* Entries of this leader end at 2, and 2 is committed; what lies behind may be another's. */
static void test_old_entries_are_acknowledged_up_to_the_commit_index(void)
{
    begin(async_mode);
    struct rr_entry entry = {
        .index = 3, .term = world_raft(&w, 1)->term, .has = RR_ENTRY_HAS_TERM | RR_ENTRY_HAS_INDEX};
    struct rr_message m = from_1(RR_MSG_APP);
    m.index = 2;
    m.log_term = m.term;
    m.entries = &entry;
    m.entry_count = 1;
    CHECK(world_step(&w, m) == 0);
    world_settle(&w);
    CHECK_EQ_U64(raft_log_last_index(&world_raft(&w, 2)->log), 3);
    m = from_1(RR_MSG_APP);
    m.index = 1;
    m.log_term = 1;
    CHECK_EQ_U64(answer_that_waits(m, RR_MSG_APP_RESP).index, 2);
    world_end(&w);
}

/* The follower's log has the terms 1 1 1 4 4; whoever asks behind 5 with term 3 hears of index 3,
 * not of 5. */
static void test_hint_skips_terms_that_cannot_match(void)
{
    begin(async_mode);
    static const uint64_t terms[] = {1, 4, 4};
    struct rr_entry entries[3];
    for (uint32_t i = 0; i < 3; i++)
        entries[i] = (struct rr_entry){
            .index = 3 + i, .term = terms[i], .has = RR_ENTRY_HAS_TERM | RR_ENTRY_HAS_INDEX};
    struct rr_message m = from_1(RR_MSG_APP);
    m.term = 4;
    m.index = 2;
    m.log_term = 1;
    m.entries = entries;
    m.entry_count = 3;
    CHECK(world_step(&w, m) == 0);
    world_settle(&w);
    m = from_1(RR_MSG_APP);
    m.term = 5;
    m.index = 5;
    m.log_term = 3;
    struct rr_message answer = answer_that_waits(m, RR_MSG_APP_RESP);
    CHECK(answer.reject);
    CHECK_EQ_U64(answer.reject_hint, 3);
    CHECK_EQ_U64(answer.log_term, 1);
    world_end(&w);
}

/* ABA: an entry is written, overwritten by a newer leader and written again in the same form; the
 * acknowledgement of the first write says nothing about the second. */
static void test_acknowledgement_of_an_older_term_makes_nothing_stable(void)
{
    begin(async_mode);
    struct raft *r = world_raft(&w, 2);
    struct rr_entry entry = {.index = 3, .term = 1, .has = RR_ENTRY_HAS_TERM | RR_ENTRY_HAS_INDEX};
    struct rr_message m = from_1(RR_MSG_APP);
    m.index = 2;
    m.log_term = 1;
    m.entries = &entry;
    m.entry_count = 1;
    CHECK(world_step(&w, m) == 0);
    CHECK_EQ_U64(r->log.unstable.count, 1);
    m = from_1(RR_MSG_HEARTBEAT);
    m.term = 2;
    CHECK(world_step(&w, m) == 0);
    struct rr_message late = {.type = RR_MSG_STORAGE_APPEND_RESP,
                              .to = 2,
                              .from = RR_LOCAL_APPEND_THREAD,
                              .term = 1,
                              .index = 3,
                              .log_term = 1};
    CHECK(world_step(&w, late) == 0);
    CHECK_EQ_U64(r->log.unstable.count, 1);
    CHECK_EQ_U64(r->log.unstable.offset, 3);
    late.term = 2;
    CHECK(world_step(&w, late) == 0);
    CHECK_EQ_U64(r->log.unstable.count, 0);
    world_end(&w);
}

/* A leader that is behind hears the newer term from whoever does not vote against it, and from
 * nobody else: a lower-term answer to anything but entries and heartbeats would be noise. */
static void test_only_entries_and_heartbeats_of_a_lower_term_are_answered(void)
{
    begin(async_check_quorum);
    struct rr_message m = from_1(RR_MSG_HEARTBEAT);
    m.term = 5;
    CHECK(world_step(&w, m) == 0);
    world_ready(&w, 2);
    uint32_t answers = w.sent[RR_MSG_APP_RESP];
    m = from_1(RR_MSG_TIMEOUT_NOW);
    m.term = 2;
    CHECK(world_step(&w, m) == 0);
    CHECK(!rr_raw_node_has_ready(world_raw(&w, 2)));
    m.type = RR_MSG_APP;
    CHECK_EQ_U64(answer_that_waits(m, RR_MSG_APP_RESP).term, 5);
    CHECK_EQ_U64(w.sent[RR_MSG_APP_RESP], answers);
    world_end(&w);
}

int main(void)
{
    RUN(test_rejected_entries_wait);
    RUN(test_accepted_entries_wait);
    RUN(test_pre_votes_wait);
    RUN(test_refused_pre_vote_waits_and_tells_the_own_term);
    RUN(test_votes_wait);
    RUN(test_old_entries_are_acknowledged_up_to_the_commit_index);
    RUN(test_hint_skips_terms_that_cannot_match);
    RUN(test_acknowledgement_of_an_older_term_makes_nothing_stable);
    RUN(test_only_entries_and_heartbeats_of_a_lower_term_are_answered);
    return 0;
}
