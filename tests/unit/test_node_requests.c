/* SPDX-License-Identifier: Apache-2.0
 *
 * What is asked of a thread-safe node: messages and which of them are dropped, proposals and how
 * they wait.
 */
#include "tests/unit/node_world.h"

#include "tests/unit/check.h"

static struct node_world w;

static int propose(uint64_t id, const char *text, const struct rr_node_wait *wait)
{
    return rr_node_propose(node_world_node(&w, id), (const uint8_t *)text, (uint32_t)strlen(text),
                           wait);
}

/* Proposes with a tag, to wait as long as it takes. */
static int propose_waiting(uint64_t id, const char *text, uint64_t tag)
{
    return propose(id, text, &(struct rr_node_wait){.tag = tag});
}

static const struct applied_entry *last_applied(uint64_t id)
{
    const struct node_member *member = &w.members[id - 1];
    CHECK(member->applied_count > 0);
    return &member->applied[member->applied_count - 1];
}

/* ---- messages (reference: TestNodeStep, TestNodeStepUnblock) --------------- */

static void test_local_messages_are_dropped_silently(void)
{
    static const uint8_t local[] = {RR_MSG_HUP,
                                    RR_MSG_BEAT,
                                    RR_MSG_UNREACHABLE,
                                    RR_MSG_SNAP_STATUS,
                                    RR_MSG_CHECK_QUORUM,
                                    RR_MSG_STORAGE_APPEND,
                                    RR_MSG_STORAGE_APPEND_RESP,
                                    RR_MSG_STORAGE_APPLY,
                                    RR_MSG_STORAGE_APPLY_RESP};
    node_world_begin(&w, 2, NULL);
    for (size_t i = 0; i < RR_ARRAY_SIZE(local); i++) {
        struct rr_message m = {.type = local[i], .to = 1, .from = 2, .term = 1};
        CHECK(rr_node_step(node_world_node(&w, 1), &m) == 0);
        m.from = RR_LOCAL_APPEND_THREAD;
        CHECK(rr_node_step(node_world_node(&w, 1), &m) == 0);
    }
    CHECK(!node_world_is_readable(&w, 1));
    CHECK_EQ_U64(node_world_status(&w, 1).basic.hard_state.term, 0);
    node_world_end(&w);
}

static void test_messages_of_the_network_reach_the_core(void)
{
    static const uint8_t types[] = {
        RR_MSG_APP,       RR_MSG_APP_RESP, RR_MSG_VOTE,           RR_MSG_VOTE_RESP,
        RR_MSG_HEARTBEAT, RR_MSG_PRE_VOTE, RR_MSG_HEARTBEAT_RESP, RR_MSG_TIMEOUT_NOW};
    for (size_t i = 0; i < RR_ARRAY_SIZE(types); i++) {
        node_world_begin(&w, 2, NULL);
        const struct rr_message m = {.type = types[i], .to = 1, .from = 2, .term = 7};
        CHECK(rr_node_step(node_world_node(&w, 1), &m) == 0);
        /* A pre-vote is answered, everything else of a later term is adopted. */
        CHECK(node_world_is_readable(&w, 1));
        bool adopts = types[i] != RR_MSG_PRE_VOTE;
        uint64_t term = node_world_status(&w, 1).basic.hard_state.term;
        CHECK(adopts ? term >= 7 : term == 0);
        node_world_end(&w);
    }
}

static void test_responses_of_strangers_are_dropped_silently(void)
{
    static const uint8_t responses[] = {RR_MSG_APP_RESP, RR_MSG_VOTE_RESP, RR_MSG_HEARTBEAT_RESP,
                                        RR_MSG_PRE_VOTE_RESP};
    node_world_begin(&w, 2, NULL);
    for (size_t i = 0; i < RR_ARRAY_SIZE(responses); i++) {
        const struct rr_message m = {.type = responses[i], .to = 1, .from = 9, .term = 7};
        CHECK(rr_node_step(node_world_node(&w, 1), &m) == 0);
    }
    CHECK_EQ_U64(node_world_status(&w, 1).basic.hard_state.term, 0);
    node_world_end(&w);
}

static void test_what_would_break_the_core_is_refused(void)
{
    node_world_begin(&w, 2, NULL);
    struct rr_node *node = node_world_node(&w, 1);
    struct rr_message m = {.type = RR_MSG_HEARTBEAT, .to = 1, .from = 2, .term = 7, .commit = 99};
    CHECK(rr_node_step(node, &m) == RR_E_MALFORMED); /* commits beyond the log */
    m = (struct rr_message){.type = RR_MSG_APP_RESP, .to = 1, .from = 1, .term = 7};
    CHECK(rr_node_step(node, &m) == RR_E_MALFORMED); /* claims to be us */
    m = (struct rr_message){.type = RR_MSG_APP, .to = 2, .from = 2, .term = 7};
    CHECK(rr_node_step(node, &m) == RR_E_MALFORMED); /* for somebody else */
    CHECK_EQ_U64(node_world_status(&w, 1).basic.hard_state.term, 0);
    node_world_end(&w);
}

static void free_nothing(struct rr_block *block)
{
    (void)block;
    CHECK(false);
}

static void test_entries_of_a_message_are_copied(void)
{
    node_world_begin(&w, 2, NULL);
    struct rr_node *node = node_world_node(&w, 1);
    uint8_t bytes[] = {'a', 'b', 'c'};
    struct rr_block block = {.refs = 1, .cap = 3, .bytes = bytes, .free = free_nothing};
    const uint8_t all = RR_ENTRY_HAS_TERM | RR_ENTRY_HAS_INDEX | RR_ENTRY_HAS_DATA;
    struct rr_entry entries[] = {
        {.term = 7, .index = 2, .data = bytes, .size = 1, .block = &block, .has = all},
        {.term = 7, .index = 3, .data = bytes + 1, .size = 2, .block = &block, .has = all}};
    const struct rr_message m = {.type = RR_MSG_APP,
                                 .to = 1,
                                 .from = 2,
                                 .term = 7,
                                 .log_term = 1,
                                 .index = 1,
                                 .commit = 3,
                                 .entries = entries,
                                 .entry_count = 2};
    CHECK(rr_node_step(node, &m) == 0);
    CHECK_EQ_U64(block.refs, 1);
    memset(bytes, 'x', sizeof(bytes));
    memset(entries, 0xff, sizeof(entries));
    node_world_settle(&w);
    CHECK_EQ_U64(w.members[0].applied_count, 2);
    CHECK(strcmp(w.members[0].applied[0].text, "a") == 0);
    CHECK(strcmp(w.members[0].applied[1].text, "bc") == 0);
    node_world_end(&w);
}

static void test_snapshot_of_a_message_is_copied(void)
{
    node_world_begin(&w, 2, NULL);
    struct rr_node *node = node_world_node(&w, 1);
    uint64_t voters[] = {1, 2};
    uint8_t bytes[] = {'s', 'm'};
    struct rr_block block = {.refs = 1, .cap = 2, .bytes = bytes, .free = free_nothing};
    struct rr_snapshot snapshot = {
        .metadata = {.index = 9, .term = 7, .conf_state = {.voters = voters, .voter_count = 2}},
        .data = bytes,
        .size = 2,
        .block = &block};
    const struct rr_message m = {
        .type = RR_MSG_SNAP, .to = 1, .from = 2, .term = 7, .snapshot = &snapshot};
    CHECK(rr_node_step(node, &m) == 0);
    CHECK_EQ_U64(block.refs, 1);
    memset(bytes, 'x', sizeof(bytes));
    memset(voters, 0xff, sizeof(voters));
    struct rr_ready ready;
    CHECK(rr_node_ready(node, &ready) == 0);
    CHECK(ready.snapshot && ready.snapshot->metadata.index == 9);
    CHECK(ready.snapshot->size == 2 && memcmp(ready.snapshot->data, "sm", 2) == 0);
    CHECK(ready.snapshot->metadata.conf_state.voters[1] == 2);
    node_world_store(&w.members[0], &ready);
    CHECK(rr_node_advance(node) == 0);
    node_world_end(&w);
}

/* ---- proposals (TestNodePropose, TestBlockProposal, …WaitDropped) ---------- */

static void test_proposal_is_applied_everywhere(void)
{
    node_world_begin(&w, 3, NULL);
    node_world_campaign(&w, 1);
    CHECK(propose(1, "somedata", NULL) == 0);
    node_world_settle(&w);
    CHECK(propose(3, "forwarded", NULL) == 0);
    node_world_settle(&w);
    for (uint64_t id = 1; id <= 3; id++) {
        const struct node_member *member = &w.members[id - 1];
        CHECK_EQ_U64(member->applied_count, 3);
        CHECK(strcmp(member->applied[1].text, "somedata") == 0);
        CHECK(strcmp(member->applied[2].text, "forwarded") == 0);
    }
    node_world_end(&w);
}

static uint64_t proposer_seen;

static bool note_proposer(struct node_world *world, const struct rr_message *m)
{
    (void)world;
    if (m->type == RR_MSG_PROP)
        proposer_seen = m->from;
    return true;
}

static void test_forwarded_proposal_goes_on_as_the_nodes_own(void)
{
    node_world_begin(&w, 3, NULL);
    node_world_campaign(&w, 1);
    w.filter = note_proposer;
    const struct rr_entry entry = {
        .data = (const uint8_t *)"p", .size = 1, .has = RR_ENTRY_HAS_DATA};
    const struct rr_message m = {
        .type = RR_MSG_PROP, .to = 2, .from = 3, .entries = &entry, .entry_count = 1};
    CHECK(rr_node_step(node_world_node(&w, 2), &m) == 0);
    node_world_settle(&w);
    CHECK_EQ_U64(proposer_seen, 2);
    CHECK(strcmp(last_applied(3)->text, "p") == 0);
    node_world_end(&w);
}

static void test_proposal_without_leader_is_dropped_or_waits(void)
{
    node_world_begin(&w, 1, NULL);
    CHECK(propose(1, "now", NULL) == RR_E_PROPOSAL_DROPPED);
    CHECK(propose_waiting(1, "first", 5) == 0);
    CHECK(propose_waiting(1, "second", 6) == 0);
    CHECK_EQ_U64(node_world_status(&w, 1).waiting_count, 2);
    CHECK_EQ_U64(node_world_status(&w, 1).waiting_bytes, 11);
    CHECK(!node_world_is_readable(&w, 1));
    CHECK(rr_node_campaign(node_world_node(&w, 1)) == 0);
    node_world_ready(&w, 1); /* votes for itself, leads, and takes them */
    CHECK_EQ_U64(node_world_status(&w, 1).waiting_count, 0);
    CHECK_EQ_U64(node_world_status(&w, 1).waiting_bytes, 0);
    struct rr_node_outcome outcomes[3];
    CHECK_EQ_U64(rr_node_take_outcomes(node_world_node(&w, 1), outcomes, 1), 1);
    CHECK(outcomes[0].tag == 5 && outcomes[0].status == 0);
    CHECK_EQ_U64(rr_node_take_outcomes(node_world_node(&w, 1), outcomes, 3), 1);
    CHECK(outcomes[0].tag == 6 && outcomes[0].status == 0);
    CHECK_EQ_U64(rr_node_take_outcomes(node_world_node(&w, 1), outcomes, 3), 0);
    node_world_settle(&w);
    CHECK_EQ_U64(w.members[0].applied_count, 3);
    CHECK(strcmp(w.members[0].applied[1].text, "first") == 0);
    CHECK(strcmp(w.members[0].applied[2].text, "second") == 0);
    node_world_end(&w);
}

static void test_waiting_proposal_is_heard_of_although_there_is_a_leader(void)
{
    node_world_begin(&w, 1, NULL);
    node_world_campaign(&w, 1);
    CHECK(propose_waiting(1, "a", 5) == 0);
    struct rr_node_outcome outcome = node_world_outcome(&w, 1);
    CHECK(outcome.tag == 5 && outcome.status == 0);
    node_world_end(&w);
}

static void test_proposal_that_the_core_refuses_is_dropped(void)
{
    node_world_begin(&w, 2, NULL);
    node_world_campaign(&w, 1);
    CHECK(rr_node_transfer_leader(node_world_node(&w, 1), 2) == 0); /* while it lasts, none pass */
    CHECK(propose(1, "a", NULL) == RR_E_PROPOSAL_DROPPED);
    CHECK(propose_waiting(1, "a", 5) == 0);
    struct rr_node_outcome outcome = node_world_outcome(&w, 1);
    CHECK(outcome.tag == 5 && outcome.status == RR_E_PROPOSAL_DROPPED);
    node_world_end(&w);
}

static void test_waiting_proposals_can_be_canceled(void)
{
    node_world_begin(&w, 1, NULL);
    struct rr_node *node = node_world_node(&w, 1);
    CHECK(propose_waiting(1, "a", 5) == 0);
    CHECK(propose_waiting(1, "b", 6) == 0);
    CHECK(rr_node_cancel(node, 7) == RR_E_NOT_FOUND);
    CHECK(rr_node_cancel(node, 5) == 0);
    CHECK(node_world_is_readable(&w, 1)); /* for its outcome */
    struct rr_node_outcome outcome = node_world_outcome(&w, 1);
    CHECK(outcome.tag == 5 && outcome.status == RR_E_CANCELED);
    CHECK(!node_world_is_readable(&w, 1));
    CHECK(rr_node_cancel(node, 5) == RR_E_NOT_FOUND);
    CHECK(rr_node_campaign(node) == 0);
    node_world_ready(&w, 1);
    CHECK(node_world_outcome(&w, 1).tag == 6);
    node_world_settle(&w);
    CHECK_EQ_U64(w.members[0].applied_count, 2);
    CHECK(strcmp(last_applied(1)->text, "b") == 0);
    node_world_end(&w);
}

static void test_waiting_proposals_give_up_after_their_ticks(void)
{
    node_world_begin(&w, 2, NULL);
    struct rr_node *node = node_world_node(&w, 1);
    rr_node_tick(node);
    CHECK(propose(1, "a", &(struct rr_node_wait){.tag = 5, .ticks = 3}) == 0);
    CHECK(propose(1, "b", &(struct rr_node_wait){.tag = 6, .ticks = 2}) == 0);
    CHECK(propose_waiting(1, "c", 7) == 0);
    rr_node_tick(node);
    CHECK_EQ_U64(node_world_status(&w, 1).waiting_count, 3);
    rr_node_tick(node);
    struct rr_node_outcome outcome = node_world_outcome(&w, 1);
    CHECK(outcome.tag == 6 && outcome.status == RR_E_PROPOSAL_DROPPED);
    rr_node_tick(node);
    CHECK(node_world_outcome(&w, 1).tag == 5);
    for (int i = 0; i < 100; i++)
        rr_node_tick(node);
    CHECK_EQ_U64(node_world_status(&w, 1).waiting_count, 1);
    node_world_end(&w);
}

static void test_stop_ends_all_waiting(void)
{
    node_world_begin(&w, 2, NULL);
    CHECK(propose_waiting(1, "a", 5) == 0);
    CHECK(propose_waiting(1, "b", 6) == 0);
    rr_node_stop(node_world_node(&w, 1));
    struct rr_node_outcome outcomes[3];
    CHECK_EQ_U64(rr_node_take_outcomes(node_world_node(&w, 1), outcomes, 3), 2);
    CHECK(outcomes[0].tag == 5 && outcomes[0].status == RR_E_STOPPED);
    CHECK(outcomes[1].tag == 6 && outcomes[1].status == RR_E_STOPPED);
    node_world_end(&w);
}

static void small_queue(struct rr_config *config, struct rr_node_options *options)
{
    (void)config;
    options->proposals_max = 3;
    options->proposal_bytes_max = 8;
}

static void test_full_queue_is_busy_until_outcomes_are_taken(void)
{
    node_world_begin(&w, 1, small_queue);
    CHECK(propose_waiting(1, "123456789", 1) == RR_E_TOO_LARGE);
    CHECK(propose_waiting(1, "12345", 2) == 0);
    CHECK(propose_waiting(1, "1234", 3) == RR_E_BUSY); /* bytes */
    CHECK(propose_waiting(1, "123", 4) == 0);
    CHECK(propose_waiting(1, "", 5) == 0);
    CHECK(propose_waiting(1, "", 6) == RR_E_BUSY); /* count */
    CHECK(rr_node_cancel(node_world_node(&w, 1), 2) == 0);
    CHECK(propose_waiting(1, "", 7) == RR_E_BUSY); /* an outcome holds its place */
    CHECK(node_world_outcome(&w, 1).tag == 2);
    CHECK(propose_waiting(1, "1234", 8) == 0);
    node_world_end(&w);
}

static void no_forwarding(struct rr_config *config, struct rr_node_options *options)
{
    (void)options;
    config->disable_proposal_forwarding = config->id == 3;
}

static void test_disabled_forwarding_drops_proposals_of_followers(void)
{
    node_world_begin(&w, 3, no_forwarding);
    node_world_campaign(&w, 1);
    CHECK(propose(2, "a", NULL) == 0);
    CHECK(propose(3, "b", NULL) == RR_E_PROPOSAL_DROPPED);
    CHECK(!node_world_is_readable(&w, 3));
    node_world_settle(&w);
    CHECK(strcmp(last_applied(1)->text, "a") == 0);
    node_world_end(&w);
}

int main(void)
{
    RUN(test_local_messages_are_dropped_silently);
    RUN(test_messages_of_the_network_reach_the_core);
    RUN(test_responses_of_strangers_are_dropped_silently);
    RUN(test_what_would_break_the_core_is_refused);
    RUN(test_entries_of_a_message_are_copied);
    RUN(test_snapshot_of_a_message_is_copied);
    RUN(test_proposal_is_applied_everywhere);
    RUN(test_forwarded_proposal_goes_on_as_the_nodes_own);
    RUN(test_proposal_without_leader_is_dropped_or_waits);
    RUN(test_waiting_proposal_is_heard_of_although_there_is_a_leader);
    RUN(test_proposal_that_the_core_refuses_is_dropped);
    RUN(test_waiting_proposals_can_be_canceled);
    RUN(test_waiting_proposals_give_up_after_their_ticks);
    RUN(test_stop_ends_all_waiting);
    RUN(test_full_queue_is_busy_until_outcomes_are_taken);
    RUN(test_disabled_forwarding_drops_proposals_of_followers);
    return 0;
}
