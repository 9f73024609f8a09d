/* SPDX-License-Identifier: Apache-2.0
 *
 * The node's contract with its driver: config, what a Ready holds and how long, batches, blocks,
 * memory.
 */
#include "tests/unit/raft_world.h"

#include "proto/codec.h"
#include "tests/unit/check.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static struct world w;

static void async_mode(struct rr_config *config)
{
    config->async_storage_writes = true;
}

/* ---- construction -------------------------------------------------------- */

static void test_invalid_configs_are_refused_with_the_sentence(void)
{
    world_begin(&w, 1, NULL);
    struct rr_config good = w.nodes[0].config;
    struct rr_config bad[9];
    for (size_t i = 0; i < RR_ARRAY_SIZE(bad); i++)
        bad[i] = good;
    bad[0].id = RR_NONE;
    bad[1].id = RR_LOCAL_APPLY_THREAD;
    bad[2].heartbeat_tick = 0;
    bad[3].election_tick = bad[3].heartbeat_tick;
    bad[4].storage.ops = NULL;
    bad[5].max_inflight_msgs = 0;
    bad[6].max_inflight_bytes = 5;
    bad[7].read_only_option = RR_READ_ONLY_LEASE_BASED;
    bad[8].allocator.resize = NULL;
    static const char *const sentences[] = {
        "cannot use none as id",
        "cannot use local target as id",
        "heartbeat tick must be greater than 0",
        "election tick must be greater than heartbeat tick",
        "storage cannot be nil",
        "max inflight messages must be greater than 0",
        "max inflight bytes must be >= max message size",
        "CheckQuorum must be enabled when ReadOnlyOption is ReadOnlyLeaseBased",
        "allocator cannot be nil",
    };
    for (size_t i = 0; i < RR_ARRAY_SIZE(bad); i++) {
        struct rr_raw_node *node = NULL;
        const char *reason = NULL;
        CHECK(rr_raw_node_new(&bad[i], &node, &reason) == RR_E_INVALID);
        CHECK(strcmp(reason, sentences[i]) == 0);
        CHECK(node == NULL);
    }
    world_end(&w);
}

static void test_new_node_has_no_ready(void)
{
    world_begin(&w, 3, NULL);
    CHECK(!rr_raw_node_has_ready(world_raw(&w, 1)));
    world_end(&w);
}

static void test_restart_resumes_hard_state_and_applied(void)
{
    world_begin(&w, 1, NULL);
    world_campaign(&w, 1);
    world_propose(&w, 1, "a");
    world_propose(&w, 1, "b");
    world_settle(&w);
    struct rr_basic_status before, after;
    rr_raw_node_basic_status(world_raw(&w, 1), &before);
    CHECK_EQ_U64(before.hard_state.commit, 4);
    world_restart(&w, 1, 3);
    rr_raw_node_basic_status(world_raw(&w, 1), &after);
    CHECK_EQ_U64(after.hard_state.term, before.hard_state.term);
    CHECK_EQ_U64(after.hard_state.vote, 1);
    CHECK_EQ_U64(after.hard_state.commit, 4);
    CHECK_EQ_U64(after.applied, 3);
    /* Only what was committed and not applied comes again. */
    world_ready(&w, 1);
    CHECK_EQ_U64(w.nodes[0].ready.committed_entry_count, 1);
    CHECK_EQ_U64(w.nodes[0].ready.committed_entries[0].index, 4);
    CHECK(w.nodes[0].ready.hard_state == NULL);
    CHECK(!w.nodes[0].ready.must_sync);
    world_end(&w);
}

/* A storage like this cannot have been left by any run: the node must not start on it. */
static void check_start_aborts(uint64_t commit, uint64_t applied)
{
    world_begin(&w, 1, NULL);
    struct rr_hard_state hard = {.term = 1, .commit = commit};
    rr_memory_storage_set_hard_state(w.nodes[0].storage, &hard);
    fflush(NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        fclose(stderr); /* the assertion's line is expected */
        world_restart(&w, 1, applied);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    world_end(&w);
}

static void test_start_refuses_commit_or_applied_outside_the_log(void)
{
    check_start_aborts(2, 0); /* the log ends at 1 */
    check_start_aborts(1, 2); /* applied beyond commit */
}

static void test_bootstrap_hands_out_hard_state_and_members(void)
{
    struct raft_heap heap = {0};
    struct rr_allocator allocator = raft_heap_allocator(&heap);
    struct rr_memory_storage *storage = rr_memory_storage_new(&allocator);
    struct rr_config config = {.size = sizeof(config),
                               .id = 1,
                               .election_tick = 10,
                               .heartbeat_tick = 1,
                               .storage = rr_memory_storage_interface(storage),
                               .max_size_per_msg = UINT64_MAX,
                               .max_inflight_msgs = 256,
                               .allocator = allocator};
    struct rr_raw_node *node;
    const char *reason;
    CHECK(rr_raw_node_new(&config, &node, NULL) == 0);
    CHECK(rr_raw_node_bootstrap(node, NULL, 0, &reason) == RR_E_INVALID);
    CHECK(strcmp(reason, "must provide at least one peer to Bootstrap") == 0);
    const struct rr_peer peers[] = {{.id = 1, .context = (const uint8_t *)"x", .context_size = 1},
                                    {.id = 2}};
    CHECK(rr_raw_node_bootstrap(node, peers, 2, &reason) == 0);
    CHECK(rr_raw_node_bootstrap(node, peers, 2, &reason) == RR_E_INVALID);
    CHECK(strcmp(reason, "can't bootstrap a nonempty Storage") == 0);
    struct rr_ready ready;
    rr_raw_node_ready(node, &ready);
    CHECK(ready.hard_state && ready.hard_state->term == 1 && ready.hard_state->commit == 2);
    CHECK(ready.must_sync);
    CHECK_EQ_U64(ready.entry_count, 2);
    CHECK_EQ_U64(ready.committed_entry_count, 2);
    CHECK_EQ_U64(ready.entries[0].type, RR_ENTRY_CONF_CHANGE);
    CHECK_EQ_U64(tracker_find(&node->raft.tracker, 2)->id, 2);
    rr_raw_node_free(node);
    rr_memory_storage_free(storage);
    CHECK_EQ_U64(heap.outstanding, 0);
}

/* ---- step ------------------------------------------------------------------ */

static void test_step_refuses_local_messages_and_strangers(void)
{
    world_begin(&w, 2, NULL);
    static const uint8_t local[] = {RR_MSG_HUP,
                                    RR_MSG_BEAT,
                                    RR_MSG_UNREACHABLE,
                                    RR_MSG_SNAP_STATUS,
                                    RR_MSG_CHECK_QUORUM,
                                    RR_MSG_STORAGE_APPEND,
                                    RR_MSG_STORAGE_APPEND_RESP,
                                    RR_MSG_STORAGE_APPLY,
                                    RR_MSG_STORAGE_APPLY_RESP};
    for (size_t i = 0; i < RR_ARRAY_SIZE(local); i++)
        CHECK(world_step(&w, (struct rr_message){.type = local[i], .to = 1, .from = 2}) ==
              RR_E_STEP_LOCAL_MSG);
    static const uint8_t responses[] = {RR_MSG_APP_RESP, RR_MSG_VOTE_RESP, RR_MSG_HEARTBEAT_RESP,
                                        RR_MSG_READ_INDEX_RESP, RR_MSG_PRE_VOTE_RESP};
    for (size_t i = 0; i < RR_ARRAY_SIZE(responses); i++) {
        struct rr_message m = {.type = responses[i], .to = 1, .from = 9, .term = 1};
        CHECK(world_step(&w, m) == RR_E_STEP_PEER_NOT_FOUND);
        m.from = 2;
        CHECK(world_step(&w, m) == 0);
    }
    world_end(&w);
}

static void test_proposals_without_a_leader_are_dropped(void)
{
    world_begin(&w, 3, NULL);
    CHECK(world_propose(&w, 1, "x") == RR_E_PROPOSAL_DROPPED);
    rr_raw_node_campaign(world_raw(&w, 1)); /* a candidate */
    CHECK(world_propose(&w, 1, "x") == RR_E_PROPOSAL_DROPPED);
    world_end(&w);
}

/* ---- Ready -------------------------------------------------------------------- */

static void test_commit_alone_needs_no_sync(void)
{
    world_begin(&w, 2, NULL);
    world_campaign(&w, 1);
    world_propose(&w, 1, "x");
    world_ready(&w, 1); /* entries: must sync */
    CHECK(w.nodes[0].ready.must_sync);
    world_ready(&w, 2);
    CHECK(w.nodes[1].ready.must_sync);
    world_ready(&w, 1);
    CHECK(w.nodes[0].ready.hard_state != NULL);
    CHECK(!w.nodes[0].ready.must_sync);
    world_end(&w);
}

static void test_async_apply_waits_for_the_own_write(void)
{
    world_begin(&w, 3, async_mode);
    world_campaign(&w, 1);
    struct raft *r = world_raft(&w, 1);
    CHECK(world_propose(&w, 1, "x") == 0);
    struct rr_ready ready;
    rr_raw_node_ready(world_raw(&w, 1), &ready);
    rr_memory_storage_append(w.nodes[0].storage, ready.entries, ready.entry_count);
    /* The followers acknowledge before our own write does. */
    for (uint64_t from = 2; from <= 3; from++)
        world_step(
            &w, (struct rr_message){
                    .type = RR_MSG_APP_RESP, .to = 1, .from = from, .term = r->term, .index = 3});
    CHECK_EQ_U64(r->log.committed, 3);
    rr_raw_node_ready(world_raw(&w, 1), &ready);
    CHECK_EQ_U64(ready.committed_entry_count, 0);
    world_step(&w, (struct rr_message){.type = RR_MSG_STORAGE_APPEND_RESP,
                                       .to = 1,
                                       .from = RR_LOCAL_APPEND_THREAD,
                                       .term = r->term,
                                       .index = 3,
                                       .log_term = r->term});
    rr_raw_node_ready(world_raw(&w, 1), &ready);
    CHECK_EQ_U64(ready.committed_entry_count, 1);
    world_end(&w);
}

static void test_waiting_messages_alone_make_an_append_message(void)
{
    world_begin(&w, 3, async_mode);
    world_campaign(&w, 1);
    struct raft *follower = world_raft(&w, 2);
    /* An old MsgApp: nothing to store, but the answer must follow the writes before it. */
    world_step(&w, (struct rr_message){
                       .type = RR_MSG_APP, .to = 2, .from = 1, .term = follower->term, .index = 1});
    CHECK(rr_raw_node_has_ready(world_raw(&w, 2)));
    struct rr_ready ready;
    rr_raw_node_ready(world_raw(&w, 2), &ready);
    CHECK_EQ_U64(ready.message_count, 1);
    CHECK_EQ_U64(ready.messages[0].type, RR_MSG_STORAGE_APPEND);
    CHECK_EQ_U64(ready.messages[0].response_count, 1);
    CHECK_EQ_U64(ready.messages[0].responses[0].type, RR_MSG_APP_RESP);
    world_end(&w);
}

static void test_messages_survive_a_truncation_of_the_log(void)
{
    world_begin(&w, 3, NULL);
    world_campaign(&w, 1);
    for (uint64_t id = 2; id <= 3; id++)
        world_isolate(&w, id, true);
    world_propose(&w, 1, "kept");
    struct rr_ready ready;
    rr_raw_node_ready(world_raw(&w, 1), &ready);
    const struct rr_message *app = &ready.messages[0];
    CHECK(app->type == RR_MSG_APP && app->entry_count == 1);
    uint64_t term = app->entries[0].term;
    /* A newer leader overwrites index 3. */
    struct rr_entry other = {.index = 3, .term = 9, .has = RR_ENTRY_HAS_TERM | RR_ENTRY_HAS_INDEX};
    world_step(&w, (struct rr_message){.type = RR_MSG_APP,
                                       .to = 1,
                                       .from = 2,
                                       .term = 9,
                                       .index = 2,
                                       .log_term = term,
                                       .entries = &other,
                                       .entry_count = 1});
    CHECK_EQ_U64(unstable_at(&world_raft(&w, 1)->log.unstable, 3)->term, 9);
    CHECK_EQ_U64(app->entries[0].term, term);
    CHECK(memcmp(app->entries[0].data, "kept", 4) == 0);
    CHECK_EQ_U64(ready.entries[0].term, term);
    world_end(&w);
}

/* ---- batches, blocks, memory ---------------------------------------------------- */

static void test_batch_is_appended_as_one_and_numbered(void)
{
    world_begin(&w, 1, NULL);
    world_campaign(&w, 1);
    struct rr_entry batch[3] = {{.has = 0}, {.has = 0}, {.has = 0}};
    CHECK(rr_raw_node_propose_batch(world_raw(&w, 1), batch, 0) == RR_E_INVALID);
    CHECK(rr_raw_node_propose_batch(world_raw(&w, 1), batch, 3) == 0);
    CHECK_EQ_U64(batch[0].index, 0); /* the caller's are not touched */
    world_ready(&w, 1);
    CHECK_EQ_U64(w.nodes[0].ready.entry_count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        CHECK_EQ_U64(w.nodes[0].ready.entries[i].index, 3 + i);
        CHECK_EQ_U64(w.nodes[0].ready.entries[i].term, world_raft(&w, 1)->term);
    }
    world_end(&w);
}

static void test_encoded_batch_stays_encoded_and_forwarded_one_does_not(void)
{
    world_begin(&w, 1, NULL);
    world_campaign(&w, 1);
    struct raft *r = world_raft(&w, 1);
    struct rr_entry encoded = {
        .term = r->term, .index = 3, .wire_size = 6, .has = RR_ENTRY_HAS_TERM | RR_ENTRY_HAS_INDEX};
    CHECK(rr_raw_node_propose_batch(world_raw(&w, 1), &encoded, 1) == 0);
    CHECK_EQ_U64(unstable_at(&r->log.unstable, 3)->wire_size, 6);
    /* From a peer: encoded without the position it gets now. */
    struct rr_entry foreign = {.wire_size = 2};
    world_step(&w,
               (struct rr_message){
                   .type = RR_MSG_PROP, .to = 1, .from = 2, .entries = &foreign, .entry_count = 1});
    CHECK_EQ_U64(unstable_at(&r->log.unstable, 4)->wire_size, 0);
    world_end(&w);
}

static void test_batch_position_of_a_conf_change_is_its_own(void)
{
    world_begin(&w, 1, NULL);
    world_campaign(&w, 1);
    static const uint8_t add[] = {0x08, 0, 0x12, 4, 0x08, 3, 0x10, 2}; /* learner 2 */
    struct rr_entry batch[3] = {{.has = 0},
                                {.type = RR_ENTRY_CONF_CHANGE_V2,
                                 .data = add,
                                 .size = sizeof(add),
                                 .has = RR_ENTRY_HAS_TYPE | RR_ENTRY_HAS_DATA},
                                {.has = 0}};
    CHECK(rr_raw_node_propose_batch(world_raw(&w, 1), batch, 3) == 0);
    CHECK_EQ_U64(world_raft(&w, 1)->pending_conf_index, 4);
    world_settle(&w);
    CHECK(tracker_find(&world_raft(&w, 1)->tracker, 2)->is_learner);
    world_end(&w);
}

static void count_free(struct rr_block *block)
{
    block->cap++;
}

static void test_block_is_freed_when_nobody_mentions_it(void)
{
    world_begin(&w, 1, NULL);
    world_campaign(&w, 1);
    struct rr_block block = {.refs = 1, .free = count_free};
    static const uint8_t data[1] = {'x'};
    CHECK(rr_raw_node_propose(world_raw(&w, 1), data, 1, &block) == 0);
    rr_block_put(&block, 1);
    world_settle(&w);
    rr_memory_storage_compact(w.nodes[0].storage, 3);
    CHECK_EQ_U64(block.cap, 0); /* the last two Readys may still mention it */
    for (int i = 0; i < 2; i++) {
        world_propose(&w, 1, "y");
        world_settle(&w);
    }
    CHECK_EQ_U64(block.cap, 1);
    world_end(&w);
}

static uint64_t released;

static void count_release(void *ctx, const struct rr_entry *entries, size_t count)
{
    (void)ctx;
    for (size_t i = 0; i < count; i++)
        CHECK(entries[i].block == NULL);
    released += count;
}

static void with_release(struct rr_config *config)
{
    config->release = count_release;
}

static void test_entries_without_block_are_released_once(void)
{
    released = 0;
    world_begin(&w, 1, with_release);
    world_campaign(&w, 1); /* the leader's empty entry has no block either */
    static const uint8_t data[1] = {'x'};
    for (int i = 0; i < 10; i++) {
        CHECK(rr_raw_node_propose(world_raw(&w, 1), data, 1, NULL) == 0);
        world_settle(&w);
    }
    CHECK(released >= 9);
    world_end(&w);
    CHECK_EQ_U64(released, 11);
}

static void steady_round(void)
{
    struct rr_entry batch[16] = {{.has = 0}};
    CHECK(rr_raw_node_propose_batch(world_raw(&w, 1), batch, 16) == 0);
    rr_raw_node_read_index(world_raw(&w, 1), (const uint8_t *)"read", 4);
    world_settle(&w);
    rr_raw_node_tick(world_raw(&w, 1));
    world_settle(&w);
    for (uint32_t i = 0; i < w.count; i++)
        rr_memory_storage_compact(w.nodes[i].storage, w.nodes[i].applied - 8);
}

static void test_steady_state_allocates_nothing(void)
{
    world_begin(&w, 3, async_mode);
    world_campaign(&w, 1);
    for (int i = 0; i < 300; i++)
        steady_round();
    uint64_t calls = w.heap.calls;
    for (int i = 0; i < 300; i++)
        steady_round();
    CHECK_EQ_U64(w.heap.calls, calls);
    CHECK_EQ_U64(w.nodes[2].applied, w.nodes[0].applied);
    world_end(&w);
}

int main(void)
{
    RUN(test_invalid_configs_are_refused_with_the_sentence);
    RUN(test_new_node_has_no_ready);
    RUN(test_restart_resumes_hard_state_and_applied);
    RUN(test_start_refuses_commit_or_applied_outside_the_log);
    RUN(test_bootstrap_hands_out_hard_state_and_members);
    RUN(test_step_refuses_local_messages_and_strangers);
    RUN(test_proposals_without_a_leader_are_dropped);
    RUN(test_commit_alone_needs_no_sync);
    RUN(test_async_apply_waits_for_the_own_write);
    RUN(test_waiting_messages_alone_make_an_append_message);
    RUN(test_messages_survive_a_truncation_of_the_log);
    RUN(test_batch_is_appended_as_one_and_numbered);
    RUN(test_encoded_batch_stays_encoded_and_forwarded_one_does_not);
    RUN(test_batch_position_of_a_conf_change_is_its_own);
    RUN(test_block_is_freed_when_nobody_mentions_it);
    RUN(test_entries_without_block_are_released_once);
    RUN(test_steady_state_allocates_nothing);
    return 0;
}
