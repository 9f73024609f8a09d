/* SPDX-License-Identifier: Apache-2.0
 *
 * The thread-safe node's life and its consumer's side: what a Ready holds at start, restart and
 * from a snapshot, when one waits, pages, asynchronous mode, ticks, stop.
 */
#include "tests/unit/node_world.h"

#include "tests/unit/check.h"

#include <fcntl.h>

static struct node_world w;

/* ---- a node made by hand, on an own storage ------------------------------ */

static struct node_member lone;

static void begin_lone(void)
{
    memset(&w, 0, sizeof(w));
    memset(&lone, 0, sizeof(lone));
    struct rr_allocator allocator = raft_heap_allocator(&w.heap);
    lone.storage = rr_memory_storage_new(&allocator);
    lone.config = node_world_config(&w, 1, lone.storage);
}

static void open_lone(const struct rr_peer *peers, uint32_t peer_count)
{
    struct rr_node_options options = {
        .size = sizeof(options), .config = &lone.config, .peers = peers, .peer_count = peer_count};
    const char *reason = "";
    CHECK(rr_node_new(&options, &lone.node, &reason) == 0);
    CHECK(reason == NULL);
}

static void end_lone(void)
{
    rr_node_free(lone.node);
    rr_memory_storage_free(lone.storage);
    CHECK_EQ_U64(w.heap.outstanding, 0);
}

static struct rr_ready take_lone(void)
{
    struct rr_ready ready;
    CHECK(rr_node_ready(lone.node, &ready) == 0);
    node_world_store(&lone, &ready);
    return ready;
}

static bool lone_has_ready(void)
{
    w.members[0].node = lone.node;
    w.count = 1;
    return node_world_is_readable(&w, 1);
}

static bool is_hard(const struct rr_ready *ready, uint64_t term, uint64_t vote, uint64_t commit)
{
    return ready->hard_state && ready->hard_state->term == term &&
           ready->hard_state->vote == vote && ready->hard_state->commit == commit;
}

static bool is_entry(const struct rr_entry *entry, uint64_t term, uint64_t index, const char *text)
{
    size_t size = strlen(text);
    return entry->term == term && entry->index == index && entry->size == size &&
           (size == 0 || memcmp(entry->data, text, size) == 0);
}

/* ---- construction -------------------------------------------------------- */

static void test_bad_options_are_refused_with_a_sentence(void)
{
    begin_lone();
    struct rr_node_options good = {.size = sizeof(good), .config = &lone.config};
    struct rr_config no_id = lone.config;
    no_id.id = RR_NONE;
    struct rr_config with_release = lone.config;
    with_release.release = (void (*)(void *, const struct rr_entry *, size_t))abort;
    struct rr_node_options bad[] = {good, good, good, good};
    bad[0].size = 1;
    bad[1].config = NULL;
    bad[2].config = &no_id;
    bad[3].config = &with_release;
    static const char *const sentences[] = {
        "unknown size of the options struct",
        "config cannot be nil",
        "cannot use none as id",
        "a node copies what it is given: release must be nil",
    };
    for (size_t i = 0; i < RR_ARRAY_SIZE(bad); i++) {
        const char *reason = NULL;
        CHECK(rr_node_new(&bad[i], &lone.node, &reason) == RR_E_INVALID);
        CHECK(strcmp(reason, sentences[i]) == 0);
    }
    CHECK(lone.node == NULL);
    end_lone();
}

static void test_bootstrap_of_a_used_storage_is_refused(void)
{
    begin_lone();
    struct rr_entry entry = {.index = 1, .term = 1, .has = RR_ENTRY_HAS_TERM | RR_ENTRY_HAS_INDEX};
    CHECK(rr_memory_storage_append(lone.storage, &entry, 1) == 0);
    const struct rr_peer self = {.id = 1};
    struct rr_node_options options = {
        .size = sizeof(options), .config = &lone.config, .peers = &self, .peer_count = 1};
    const char *reason = NULL;
    CHECK(rr_node_new(&options, &lone.node, &reason) == RR_E_INVALID);
    CHECK(strcmp(reason, "can't bootstrap a nonempty Storage") == 0);
    end_lone();
}

static void test_fd_is_closed_on_exec_and_never_blocks(void)
{
    begin_lone();
    open_lone(NULL, 0);
    int fd = rr_node_ready_fd(lone.node);
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
    end_lone();
}

/* ---- start and restart (reference: TestNodeStart, TestNodeRestart…) ------- */

static void test_start_hands_out_members_election_and_proposal(void)
{
    begin_lone();
    const struct rr_peer self = {.id = 1};
    open_lone(&self, 1);
    CHECK(lone_has_ready());
    struct rr_ready ready = take_lone();
    CHECK(is_hard(&ready, 1, 0, 1) && ready.must_sync);
    CHECK(ready.entry_count == 1 && ready.committed_entry_count == 1);
    CHECK(ready.entries[0].type == RR_ENTRY_CONF_CHANGE && ready.entries[0].index == 1);
    const struct rr_conf_change add = {.type = RR_CONF_CHANGE_ADD_NODE, .node_id = 1};
    struct rr_conf_state state;
    CHECK(rr_node_apply_conf_change(lone.node, &add, &state) == 0);
    CHECK(state.voter_count == 1 && state.voters[0] == 1);
    CHECK(rr_node_advance(lone.node) == 0);
    CHECK(!lone_has_ready());

    CHECK(rr_node_campaign(lone.node) == 0);
    ready = take_lone();
    CHECK(is_hard(&ready, 2, 1, 1));
    CHECK(rr_node_advance(lone.node) == 0);
    ready = take_lone();
    CHECK(ready.soft_state && ready.soft_state->lead == 1);
    CHECK(ready.entry_count == 1 && is_entry(&ready.entries[0], 2, 2, ""));
    CHECK(rr_node_advance(lone.node) == 0);

    CHECK(rr_node_propose(lone.node, (const uint8_t *)"foo", 3, NULL) == 0);
    ready = take_lone();
    CHECK(is_hard(&ready, 2, 1, 2) && ready.must_sync);
    CHECK(ready.entry_count == 1 && is_entry(&ready.entries[0], 2, 3, "foo"));
    CHECK(ready.committed_entry_count == 1 && is_entry(&ready.committed_entries[0], 2, 2, ""));
    CHECK(rr_node_advance(lone.node) == 0);
    ready = take_lone();
    CHECK(is_hard(&ready, 2, 1, 3) && !ready.must_sync && ready.entry_count == 0);
    CHECK(ready.committed_entry_count == 1 && is_entry(&ready.committed_entries[0], 2, 3, "foo"));
    CHECK(rr_node_advance(lone.node) == 0);
    CHECK(!lone_has_ready());
    CHECK(rr_node_ready(lone.node, &ready) == RR_E_NOT_FOUND);
    end_lone();
}

static void test_restart_hands_out_what_was_committed_and_nothing_more(void)
{
    begin_lone();
    const uint8_t both = RR_ENTRY_HAS_TERM | RR_ENTRY_HAS_INDEX;
    const struct rr_entry entries[] = {{.term = 1, .index = 1, .has = both},
                                       {.term = 1,
                                        .index = 2,
                                        .data = (const uint8_t *)"foo",
                                        .size = 3,
                                        .has = both | RR_ENTRY_HAS_DATA}};
    CHECK(rr_memory_storage_append(lone.storage, entries, 2) == 0);
    rr_memory_storage_set_hard_state(lone.storage, &(struct rr_hard_state){.term = 1, .commit = 1});
    open_lone(NULL, 0);
    struct rr_ready ready = take_lone();
    CHECK(!ready.hard_state && !ready.must_sync && ready.entry_count == 0);
    CHECK(ready.committed_entry_count == 1 && is_entry(&ready.committed_entries[0], 1, 1, ""));
    CHECK(rr_node_advance(lone.node) == 0);
    CHECK(!lone_has_ready());
    end_lone();
}

static void test_restart_from_snapshot_goes_on_behind_it(void)
{
    begin_lone();
    static const uint64_t voters[] = {1, 2};
    const struct rr_snapshot snapshot = {
        .metadata = {.index = 2, .term = 1, .conf_state = {.voters = voters, .voter_count = 2}}};
    CHECK(rr_memory_storage_apply_snapshot(lone.storage, &snapshot) == 0);
    const struct rr_entry entry = {.term = 1,
                                   .index = 3,
                                   .data = (const uint8_t *)"foo",
                                   .size = 3,
                                   .has =
                                       RR_ENTRY_HAS_TERM | RR_ENTRY_HAS_INDEX | RR_ENTRY_HAS_DATA};
    CHECK(rr_memory_storage_append(lone.storage, &entry, 1) == 0);
    rr_memory_storage_set_hard_state(lone.storage, &(struct rr_hard_state){.term = 1, .commit = 3});
    open_lone(NULL, 0);
    struct rr_ready ready = take_lone();
    CHECK(!ready.hard_state && !ready.must_sync && !ready.snapshot && ready.entry_count == 0);
    CHECK(ready.committed_entry_count == 1 && is_entry(&ready.committed_entries[0], 1, 3, "foo"));
    CHECK(rr_node_advance(lone.node) == 0);
    CHECK(!lone_has_ready());
    end_lone();
}

/* ---- when a Ready waits (TestNodeAdvance) --------------------------------- */

static void test_next_ready_waits_for_advance(void)
{
    node_world_begin(&w, 1, NULL);
    struct rr_node *node = node_world_node(&w, 1);
    CHECK(!node_world_is_readable(&w, 1));
    CHECK(rr_node_advance(node) == RR_E_INVALID);
    node_world_campaign(&w, 1);
    CHECK(rr_node_propose(node, (const uint8_t *)"a", 1, NULL) == 0);
    CHECK(node_world_is_readable(&w, 1));
    struct rr_ready ready;
    CHECK(rr_node_ready(node, &ready) == 0);
    CHECK(node_world_status(&w, 1).is_ready_out);
    CHECK(rr_node_propose(node, (const uint8_t *)"b", 1, NULL) == 0);
    CHECK(!node_world_is_readable(&w, 1));
    struct rr_ready second;
    CHECK(rr_node_ready(node, &second) == RR_E_NOT_FOUND);
    CHECK(ready.entry_count == 1 && is_entry(&ready.entries[0], 1, 3, "a"));
    node_world_store(&w.members[0], &ready);
    CHECK(rr_node_advance(node) == 0);
    CHECK(node_world_is_readable(&w, 1));
    CHECK(rr_node_ready(node, &second) == 0);
    CHECK(second.entry_count == 1 && is_entry(&second.entries[0], 1, 4, "b"));
    node_world_end(&w);
}

static void test_payload_of_a_ready_is_not_the_callers(void)
{
    node_world_begin(&w, 1, NULL);
    node_world_campaign(&w, 1);
    uint8_t bytes[] = {'a', 'b'};
    CHECK(rr_node_propose(node_world_node(&w, 1), bytes, 2, NULL) == 0);
    memset(bytes, 'x', sizeof(bytes));
    node_world_settle(&w);
    CHECK_EQ_U64(w.members[0].applied_count, 2);
    CHECK(strcmp(w.members[0].applied[1].text, "ab") == 0);
    node_world_end(&w);
}

/* ---- pages (TestCommitPagination…) ---------------------------------------- */

static void small_pages(struct rr_config *config, struct rr_node_options *options)
{
    (void)options;
    config->max_committed_size_per_ready = 2048;
}

static void propose_blobs(uint64_t id, int count)
{
    static uint8_t blob[1000];
    memset(blob, 'a', sizeof(blob));
    for (int i = 0; i < count; i++)
        CHECK(rr_node_propose(node_world_node(&w, id), blob, sizeof(blob), NULL) == 0);
}

static void test_committed_entries_come_in_pages(void)
{
    node_world_begin(&w, 1, small_pages);
    node_world_campaign(&w, 1);
    propose_blobs(1, 3);
    uint32_t before = w.members[0].applied_count;
    node_world_ready(&w, 1);
    CHECK_EQ_U64(w.members[0].applied_count, before); /* durable only with this Ready */
    node_world_ready(&w, 1);
    CHECK_EQ_U64(w.members[0].applied_count, before + 2);
    node_world_ready(&w, 1);
    CHECK_EQ_U64(w.members[0].applied_count, before + 3);
    CHECK(!node_world_is_readable(&w, 1));
    node_world_end(&w);
}

/* Asynchronous mode: does what storage messages say, their Responses are kept for the test. */
#define PENDING_MAX 16
static struct rr_message pending[PENDING_MAX];
static struct rr_entry pending_entries[PENDING_MAX][8];
static uint32_t pending_count;

static uint32_t take_async(bool *has_apply)
{
    struct rr_ready ready;
    struct node_member *member = &w.members[0];
    CHECK(rr_node_ready(member->node, &ready) == 0);
    node_world_store(member, &ready);
    uint32_t applied = 0;
    for (uint32_t i = 0; i < ready.message_count; i++) {
        const struct rr_message *m = &ready.messages[i];
        if (m->type == RR_MSG_STORAGE_APPLY) {
            applied = m->entry_count;
            *has_apply = true;
        }
        for (uint32_t k = 0; k < m->response_count; k++) {
            CHECK(pending_count < PENDING_MAX && m->responses[k].entry_count <= 8);
            struct rr_message *copy = &pending[pending_count];
            *copy = m->responses[k];
            if (copy->entry_count)
                memcpy(pending_entries[pending_count], copy->entries,
                       copy->entry_count * sizeof(*copy->entries));
            copy->entries = pending_entries[pending_count++];
        }
    }
    return applied;
}

static void respond_all(void)
{
    for (uint32_t i = 0; i < pending_count; i++)
        CHECK(rr_node_step_storage(node_world_node(&w, 1), &pending[i]) == 0);
    pending_count = 0;
}

static void small_async_pages(struct rr_config *config, struct rr_node_options *options)
{
    small_pages(config, options);
    config->async_storage_writes = true;
}

static void test_async_pages_span_readys_until_they_are_applied(void)
{
    bool has_apply = false;
    node_world_begin(&w, 1, small_async_pages);
    pending_count = 0;
    CHECK(rr_node_campaign(node_world_node(&w, 1)) == 0);
    while (node_world_is_readable(&w, 1)) {
        take_async(&has_apply);
        respond_all();
    }
    CHECK(has_apply); /* the leader's empty entry */
    propose_blobs(1, 3);
    has_apply = false;
    CHECK_EQ_U64(take_async(&has_apply), 0); /* they go to the disk first */
    respond_all();
    CHECK_EQ_U64(take_async(&has_apply), 2);
    /* The page counts until its application is acknowledged, so the third has to wait. */
    uint32_t unanswered = pending_count;
    CHECK(unanswered > 0);
    while (node_world_is_readable(&w, 1))
        CHECK_EQ_U64(take_async(&has_apply), 0);
    respond_all();
    CHECK_EQ_U64(take_async(&has_apply), 1);
    respond_all();
    CHECK(rr_node_advance(node_world_node(&w, 1)) == RR_E_INVALID);
    node_world_end(&w);
}

static void test_async_ready_may_be_taken_before_the_last_is_done(void)
{
    bool has_apply = false;
    node_world_begin(&w, 1, small_async_pages);
    pending_count = 0;
    CHECK(rr_node_campaign(node_world_node(&w, 1)) == 0);
    while (node_world_is_readable(&w, 1)) {
        take_async(&has_apply);
        respond_all();
    }
    propose_blobs(1, 1);
    take_async(&has_apply);
    propose_blobs(1, 1);
    take_async(&has_apply);
    CHECK_EQ_U64(node_world_status(&w, 1).basic.hard_state.commit, 2);
    respond_all();
    CHECK_EQ_U64(node_world_status(&w, 1).basic.hard_state.commit, 4);
    node_world_end(&w);
}

static void test_only_own_responses_pass_as_storage(void)
{
    node_world_begin(&w, 2, small_async_pages);
    struct rr_node *node = node_world_node(&w, 1);
    struct rr_message m = {
        .type = RR_MSG_STORAGE_APPEND_RESP, .to = 1, .from = RR_LOCAL_APPEND_THREAD};
    CHECK(rr_node_step_storage(node, &m) == 0);
    m.to = 2;
    CHECK(rr_node_step_storage(node, &m) == RR_E_INVALID);
    m = (struct rr_message){.type = RR_MSG_APP_RESP, .to = 1, .from = 2, .term = 1};
    CHECK(rr_node_step_storage(node, &m) == RR_E_INVALID);
    node_world_end(&w);
    node_world_begin(&w, 1, NULL);
    m = (struct rr_message){
        .type = RR_MSG_STORAGE_APPEND_RESP, .to = 1, .from = RR_LOCAL_APPEND_THREAD};
    CHECK(rr_node_step_storage(node_world_node(&w, 1), &m) == RR_E_INVALID);
    node_world_end(&w);
}

/* ---- ticks (TestNodeTick) -------------------------------------------------- */

static void test_ticks_start_an_election(void)
{
    node_world_begin(&w, 3, NULL);
    for (int i = 0; i < NODE_WORLD_ELECTION - 1; i++)
        rr_node_tick(node_world_node(&w, 1));
    CHECK_EQ_U64(node_world_status(&w, 1).basic.hard_state.term, 0);
    rr_node_tick(node_world_node(&w, 1));
    CHECK_EQ_U64(node_world_status(&w, 1).basic.hard_state.term, 1);
    CHECK(node_world_is_readable(&w, 1));
    node_world_end(&w);
}

static void test_ticks_wait_for_the_lock_and_those_beyond_128_are_missed(void)
{
    node_world_begin(&w, 3, NULL);
    struct rr_node *node = node_world_node(&w, 1);
    rr_node_lock(node);
    for (int i = 0; i < 131; i++)
        rr_node_tick(node);
    CHECK_EQ_U64(w.events[RR_LOG_EVENT_STARTING_ELECTION], 0);
    rr_node_unlock(node);
    CHECK_EQ_U64(w.events[RR_LOG_EVENT_STARTING_ELECTION], 128 / NODE_WORLD_ELECTION);
    CHECK_EQ_U64(w.events[RR_LOG_EVENT_NODE_TICK_MISSED], 3);
    CHECK_EQ_U64(w.last[RR_LOG_EVENT_NODE_TICK_MISSED].args[0].u64, 1);
    CHECK_EQ_U64(node_world_status(&w, 1).ticks_missed, 3);
    /* There is room again. */
    for (int i = 0; i < 2; i++)
        rr_node_tick(node);
    CHECK_EQ_U64(node_world_status(&w, 1).ticks_missed, 3);
    CHECK_EQ_U64(w.events[RR_LOG_EVENT_STARTING_ELECTION], 13);
    node_world_end(&w);
}

/* ---- stop (TestNodeStop) ---------------------------------------------------- */

static void test_stopped_node_refuses_everything(void)
{
    node_world_begin(&w, 1, NULL);
    node_world_campaign(&w, 1);
    struct rr_node *node = node_world_node(&w, 1);
    CHECK(rr_node_propose(node, (const uint8_t *)"a", 1, NULL) == 0);
    struct rr_ready ready, other;
    CHECK(rr_node_ready(node, &ready) == 0);
    rr_node_stop(node);
    CHECK(node_world_is_readable(&w, 1)); /* so that the consumer hears of it */
    rr_node_tick(node);
    struct rr_node_status status;
    struct rr_progress_status progress;
    uint32_t count;
    const struct rr_message m = {.type = RR_MSG_HEARTBEAT, .to = 1, .from = 1, .term = 9};
    const struct rr_conf_change change = {.node_id = 2};
    const struct rr_conf_change_v2 change_v2 = {.changes = NULL};
    CHECK(rr_node_campaign(node) == RR_E_STOPPED);
    CHECK(rr_node_propose(node, NULL, 0, NULL) == RR_E_STOPPED);
    CHECK(rr_node_propose(node, NULL, 0, &(struct rr_node_wait){.tag = 1}) == RR_E_STOPPED);
    CHECK(rr_node_propose_conf_change(node, &change, NULL) == RR_E_STOPPED);
    CHECK(rr_node_propose_conf_change_v2(node, &change_v2, NULL) == RR_E_STOPPED);
    CHECK(rr_node_cancel(node, 1) == RR_E_STOPPED);
    CHECK(rr_node_step(node, &m) == RR_E_STOPPED);
    CHECK(rr_node_step_storage(node, &m) == RR_E_STOPPED);
    CHECK(rr_node_transfer_leader(node, 1) == RR_E_STOPPED);
    CHECK(rr_node_read_index(node, NULL, 0) == RR_E_STOPPED);
    CHECK(rr_node_forget_leader(node) == RR_E_STOPPED);
    CHECK(rr_node_report_unreachable(node, 2) == RR_E_STOPPED);
    CHECK(rr_node_report_snapshot(node, 2, true) == RR_E_STOPPED);
    CHECK(rr_node_status(node, &status) == RR_E_STOPPED);
    CHECK(rr_node_progress(node, &progress, 1, &count) == RR_E_STOPPED);
    CHECK(rr_node_ready(node, &other) == RR_E_STOPPED);
    CHECK(rr_node_advance(node) == RR_E_STOPPED);
    CHECK(rr_node_apply_conf_change(node, &change, NULL) == RR_E_STOPPED);
    CHECK(ready.entry_count == 1 && is_entry(&ready.entries[0], 1, 3, "a")); /* still valid */
    rr_node_stop(node);
    node_world_end(&w);
}

int main(void)
{
    RUN(test_bad_options_are_refused_with_a_sentence);
    RUN(test_bootstrap_of_a_used_storage_is_refused);
    RUN(test_fd_is_closed_on_exec_and_never_blocks);
    RUN(test_start_hands_out_members_election_and_proposal);
    RUN(test_restart_hands_out_what_was_committed_and_nothing_more);
    RUN(test_restart_from_snapshot_goes_on_behind_it);
    RUN(test_next_ready_waits_for_advance);
    RUN(test_payload_of_a_ready_is_not_the_callers);
    RUN(test_committed_entries_come_in_pages);
    RUN(test_async_pages_span_readys_until_they_are_applied);
    RUN(test_async_ready_may_be_taken_before_the_last_is_done);
    RUN(test_only_own_responses_pass_as_storage);
    RUN(test_ticks_start_an_election);
    RUN(test_ticks_wait_for_the_lock_and_those_beyond_128_are_missed);
    RUN(test_stopped_node_refuses_everything);
    return 0;
}
