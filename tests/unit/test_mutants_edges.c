/* SPDX-License-Identifier: Apache-2.0
 *
 * The core's data structures where they are full, empty or shared: memory that grows, runs of
 * entries that are used twice, tables without room, states that a storage may hold at start.
 */
#include "tests/unit/raft_world.h"

#include "raft/describe.h"
#include "tests/unit/check.h"

static struct world w;

static uint32_t ignored_lines;

static void ignore_line(void *ctx, const struct rr_log_event *event)
{
    (void)ctx;
    (void)event;
    ignored_lines++;
}

static void async_mode(struct rr_config *config)
{
    config->async_storage_writes = true;
}

static void own_jitter(struct rr_config *config)
{
    config->jitter = NULL;
    config->seed = 7;
}

static struct raft *begin(uint32_t count, void (*adjust)(struct rr_config *config))
{
    world_begin(&w, count, adjust);
    world_campaign(&w, 1);
    return world_raft(&w, 1);
}

/* ---- construction -------------------------------------------------------- */

static void *no_memory(void *ctx, size_t size)
{
    (void)ctx;
    (void)size;
    return NULL;
}

static void test_config_edges(void)
{
    world_begin(&w, 1, NULL);
    struct rr_raw_node *node = NULL;
    const char *reason;
    struct rr_config config = w.nodes[0].config;
    config.size = 0;
    CHECK(rr_raw_node_new(&config, &node, &reason) == RR_E_INVALID);
    CHECK(strcmp(reason, "unknown size of the config struct") == 0);
    config.size = sizeof(config) + 1;
    CHECK(rr_raw_node_new(&config, &node, NULL) == RR_E_INVALID);
    config = w.nodes[0].config;
    config.id = RR_LOCAL_APPEND_THREAD;
    CHECK(rr_raw_node_new(&config, &node, NULL) == RR_E_INVALID);
    config = w.nodes[0].config;
    config.allocator.alloc = NULL;
    CHECK(rr_raw_node_new(&config, &node, NULL) == RR_E_INVALID);
    config = w.nodes[0].config;
    config.allocator.free = NULL;
    CHECK(rr_raw_node_new(&config, &node, NULL) == RR_E_INVALID);
    config = w.nodes[0].config;
    config.allocator.alloc = no_memory;
    CHECK(rr_raw_node_new(&config, &node, &reason) == RR_E_NO_MEMORY);
    CHECK(node == NULL && reason == NULL);
    rr_raw_node_free(NULL);
    rr_memory_storage_free(NULL);
    CHECK(rr_raw_node_bootstrap(world_raw(&w, 1), NULL, 0, NULL) == RR_E_INVALID);
    world_end(&w);
}

/* An older caller's struct is shorter: what it lacks is zero. */
static void test_shorter_config_is_read(void)
{
    world_begin(&w, 1, NULL);
    struct rr_config config = w.nodes[0].config;
    config.size = offsetof(struct rr_config, release);
    config.release_ctx = &w;
    struct rr_raw_node *node;
    CHECK(rr_raw_node_new(&config, &node, NULL) == 0);
    CHECK(node->raft.outbox.release_ctx == NULL);
    rr_raw_node_free(node);
    world_end(&w);
}

/* A node without anything has nothing to say. */
static void test_empty_storage_makes_no_ready(void)
{
    world_begin(&w, 1, NULL);
    struct rr_memory_storage *storage = rr_memory_storage_new(&w.nodes[0].config.allocator);
    struct rr_config config = w.nodes[0].config;
    config.storage = rr_memory_storage_interface(storage);
    struct rr_raw_node *node;
    CHECK(rr_raw_node_new(&config, &node, NULL) == 0);
    CHECK(!rr_raw_node_has_ready(node));
    CHECK(rr_raw_node_check_conf_change_v2(node, &(struct rr_conf_change_v2){.change_count = 0},
                                           NULL) == RR_E_CONF_REFUSED);
    rr_raw_node_tick(node);
    rr_raw_node_campaign(node);
    CHECK(!rr_raw_node_has_ready(node));
    rr_raw_node_free(node);
    rr_memory_storage_free(storage);
    world_end(&w);
}

/* Each of the three alone makes a hard state that is loaded. */
static void test_any_part_of_a_hard_state_is_loaded(void)
{
    static const struct rr_hard_state states[] = {
        {.term = 3, .commit = 1}, {.vote = 2, .commit = 1}, {.commit = 1}};
    for (size_t i = 0; i < RR_ARRAY_SIZE(states); i++) {
        world_begin(&w, 3, NULL);
        rr_memory_storage_set_hard_state(w.nodes[0].storage, &states[i]);
        world_restart(&w, 1, 1);
        struct raft *r = world_raft(&w, 1);
        CHECK_EQ_U64(r->term, states[i].term);
        CHECK_EQ_U64(r->vote, states[i].vote);
        CHECK_EQ_U64(r->log.committed, 1);
        CHECK(!rr_raw_node_has_ready(world_raw(&w, 1)));
        world_end(&w);
    }
}

/* Without a given jitter all values of [10, 20) come up, and none beside them. */
static void test_own_jitter_spreads_the_timeouts(void)
{
    world_begin(&w, 3, own_jitter);
    struct raft *r = world_raft(&w, 1);
    uint32_t seen[2 * WORLD_ELECTION_TICK] = {0};
    for (uint64_t term = 1; term <= 1000; term++) {
        raft_become_follower(r, term, RR_NONE);
        CHECK(r->randomized_election_timeout >= WORLD_ELECTION_TICK);
        CHECK(r->randomized_election_timeout < 2 * WORLD_ELECTION_TICK);
        seen[r->randomized_election_timeout]++;
    }
    for (uint32_t i = WORLD_ELECTION_TICK; i < 2 * WORLD_ELECTION_TICK; i++)
        CHECK(seen[i] > 50);
    CHECK(world_raft(&w, 2)->random != world_raft(&w, 3)->random);
    world_end(&w);
}

/* ---- entries ------------------------------------------------------------- */

/* A forwarded proposal that was encoded for another place: its bytes are worth nothing here. */
static void test_forwarded_entry_is_encoded_anew(void)
{
    struct raft *r = begin(1, NULL);
    const uint8_t both = RR_ENTRY_HAS_TERM | RR_ENTRY_HAS_INDEX;
    const struct rr_entry rows[] = {{.term = r->term, .index = 99, .wire_size = 4, .has = both},
                                    {.term = 99, .index = 4, .wire_size = 4, .has = both},
                                    {.term = r->term, .index = 5, .wire_size = 4, .has = both}};
    struct rr_message m = {
        .type = RR_MSG_PROP, .to = 1, .from = 1, .entries = rows, .entry_count = 3};
    CHECK(world_step(&w, m) == 0);
    CHECK_EQ_U64(unstable_at(&r->log.unstable, 3)->wire_size, 0);
    CHECK_EQ_U64(unstable_at(&r->log.unstable, 4)->wire_size, 0);
    CHECK_EQ_U64(unstable_at(&r->log.unstable, 5)->wire_size, 4);
    world_end(&w);
}

/* A newer leader's entry at index 3 comes to node 1. */
static void overwrite_from_index_3(void)
{
    struct rr_entry entry = {.term = 2, .index = 3, .has = RR_ENTRY_HAS_TERM | RR_ENTRY_HAS_INDEX};
    struct rr_message m = {.type = RR_MSG_APP,
                           .to = 1,
                           .from = 2,
                           .term = 2,
                           .index = 2,
                           .log_term = 1,
                           .entries = &entry,
                           .entry_count = 1};
    CHECK(world_step(&w, m) == 0);
}

/* The leader has sent what it appended; before that is handed out to be stored, a newer leader
 * overwrites it. Stored is what lies there now. */
static void test_sent_run_is_not_stored_after_a_truncation(void)
{
    begin(3, async_mode);
    struct rr_ready ready;
    CHECK(world_propose(&w, 1, "a") == 0);
    overwrite_from_index_3();
    rr_raw_node_ready(world_raw(&w, 1), &ready);
    CHECK_EQ_U64(ready.entry_count, 1);
    CHECK_EQ_U64(ready.entries[0].term, 2);
    CHECK_EQ_U64(ready.entries[0].size, 0);
    world_end(&w);
}

/* All within one Ready: the leader sends "b" at index 4, a newer leader truncates it, and the node,
 * elected again, sends its own empty entry at index 4, where the log is as long as it was. */
static void test_sent_run_is_not_sent_after_a_truncation(void)
{
    begin(3, NULL);
    CHECK(world_propose(&w, 1, "a") == 0 && world_propose(&w, 1, "b") == 0);
    overwrite_from_index_3();
    CHECK(rr_raw_node_campaign(world_raw(&w, 1)) == 0);
    for (uint64_t from = 2; from <= 3; from++)
        CHECK(world_step(&w, (struct rr_message){
                                 .type = RR_MSG_VOTE_RESP, .to = 1, .from = from, .term = 3}) == 0);
    struct rr_ready ready;
    uint32_t sent = 0;
    rr_raw_node_ready(world_raw(&w, 1), &ready);
    for (uint32_t i = 0; i < ready.message_count; i++) {
        const struct rr_message *app = &ready.messages[i];
        if (app->type != RR_MSG_APP || app->term != 3)
            continue;
        sent++;
        CHECK(app->index == 3 && app->entry_count == 1 && app->entries[0].size == 0);
        CHECK_EQ_U64(app->entries[0].term, 3);
    }
    CHECK_EQ_U64(sent, 2);
    world_end(&w);
}

static uint64_t released;

static void count_released(void *ctx, const struct rr_entry *entries, size_t count)
{
    (void)ctx;
    for (size_t i = 0; i < count; i++)
        CHECK(entries[i].block == NULL);
    released += count;
}

static void release_mode(struct rr_config *config)
{
    config->release = count_released;
}

static void keep_block(struct rr_block *block)
{
    (void)block;
}

/* Entries with and without a block in one batch: given back are those without, once each, also the
 * conf change that was refused. */
static void test_mixed_batch_gives_back_what_has_no_block(void)
{
    begin(1, release_mode);
    struct rr_block block = {.refs = 1, .free = keep_block};
    const struct rr_entry entries[] = {
        {.block = &block}, {.size = 0},
        {.size = 0},       {.block = &block},
        {.block = &block}, {.type = RR_ENTRY_CONF_CHANGE_V2, .has = RR_ENTRY_HAS_TYPE},
        {.block = &block},
    };
    released = 0;
    CHECK(rr_raw_node_propose_batch(world_raw(&w, 1), entries, 7) == 0);
    world_settle(&w);
    CHECK(world_propose(&w, 1, "x") == 0);
    world_settle(&w);
    CHECK(world_propose(&w, 1, "y") == 0);
    world_settle(&w);
    world_end(&w);
    CHECK_EQ_U64(block.refs, 1);
    /* The leader's own empty entry, the two, the change, and the empty entry in its place. */
    CHECK_EQ_U64(released, 5);
}

static bool scan_found;

static int scan_conf_change(void *ctx, uint64_t lo, uint64_t hi, bool *found)
{
    (void)ctx;
    CHECK(lo < hi);
    *found = scan_found;
    return 0;
}

/* The storage's word counts for its part of the log; the rest is looked through. */
static void test_storage_knows_its_conf_changes(void)
{
    struct raft *r = begin(1, NULL);
    struct rr_storage storage = r->log.storage;
    struct rr_storage_ops ops = *storage.ops;
    ops.has_conf_change = scan_conf_change;
    r->log.storage.ops = &ops;
    scan_found = true;
    CHECK(raft_log_has_conf_change(&r->log, 2, 3, UINT64_MAX));
    scan_found = false;
    CHECK(!raft_log_has_conf_change(&r->log, 2, 3, UINT64_MAX));
    const struct rr_conf_change change = {.type = RR_CONF_CHANGE_ADD_LEARNER_NODE, .node_id = 4};
    CHECK(rr_raw_node_propose_conf_change(world_raw(&w, 1), &change) == 0);
    CHECK(raft_log_has_conf_change(&r->log, 2, 4, UINT64_MAX));
    CHECK(raft_log_has_conf_change(&r->log, 3, 4, UINT64_MAX));
    r->log.storage = storage;
    world_end(&w);
}

/* Entries come back one by one, or all at once: then their size is known already. */
static void test_applied_entries_give_their_size_back(void)
{
    struct raft *r = begin(1, NULL);
    struct raft_log *log = &r->log;
    struct rr_entry entries[3];
    for (uint32_t i = 0; i < 3; i++)
        entries[i] = (struct rr_entry){
            .term = 1, .index = 3 + i, .has = RR_ENTRY_HAS_TERM | RR_ENTRY_HAS_INDEX};
    log->applied = 2;
    log->applying = 5;
    log->applying_ents_size = 77;
    CHECK_EQ_U64(raft_log_applying_size(log, entries, 3), 77);
    CHECK_EQ_U64(raft_log_applying_size(log, entries, 2), 8);
    CHECK_EQ_U64(raft_log_applying_size(log, entries + 1, 2), 8);
    entries[1] = entries[2];
    CHECK_EQ_U64(raft_log_applying_size(log, entries, 2), 8);
    log->applying = 2;
    world_end(&w);
}

/* Two peers that probe the same place of the stored log get the same entries. */
static void test_two_peers_are_sent_the_same_stored_entries(void)
{
    struct raft *r = begin(3, NULL);
    for (uint64_t id = 2; id <= 3; id++) {
        struct progress *pr = tracker_find(&r->tracker, id);
        pr->match = 1;
        pr->next = 2;
        pr->state = RR_PROGRESS_PROBE;
        CHECK(raft_maybe_send_append(r, pr, false));
    }
    const struct message_list *sent = &r->outbox.open->messages;
    CHECK_EQ_U64(message_list_count(sent), 2);
    for (uint32_t i = 0; i < 2; i++) {
        CHECK_EQ_U64(sent->items[i].entry_count, 1);
        CHECK_EQ_U64(sent->items[i].entries[0].index, 2);
    }
    world_end(&w);
}

/* A probe is repeated after the log has grown: it carries what came since. */
static void test_repeated_probe_carries_the_new_entries(void)
{
    struct raft *r = begin(2, NULL);
    rr_raw_node_report_unreachable(world_raw(&w, 1), 2);
    CHECK(world_propose(&w, 1, "a") == 0);
    CHECK(world_propose(&w, 1, "b") == 0);
    CHECK(world_step(&w,
                     (struct rr_message){
                         .type = RR_MSG_HEARTBEAT_RESP, .to = 1, .from = 2, .term = r->term}) == 0);
    const struct message_list *sent = &r->outbox.open->messages;
    CHECK_EQ_U64(message_list_count(sent), 2);
    CHECK_EQ_U64(sent->items[0].index, sent->items[1].index);
    CHECK_EQ_U64(sent->items[0].entry_count, 1);
    CHECK_EQ_U64(sent->items[1].entry_count, 2);
    world_end(&w);
}

/* Empty data is data; none is none. On a follower a batch keeps the numbers its maker gave it. */
static void test_proposals_with_and_without_data(void)
{
    struct raft *r = begin(3, NULL);
    CHECK(rr_raw_node_propose(world_raw(&w, 1), NULL, 0, NULL) == 0);
    CHECK(rr_raw_node_propose(world_raw(&w, 1), (const uint8_t *)"", 0, NULL) == 0);
    CHECK((unstable_at(&r->log.unstable, 3)->has & RR_ENTRY_HAS_DATA) == 0);
    CHECK((unstable_at(&r->log.unstable, 4)->has & RR_ENTRY_HAS_DATA) != 0);
    static const uint8_t wire[] = {0x3a, 4, 0x10, 1, 0x18, 9};
    const struct rr_entry entry = {.term = 1,
                                   .index = 9,
                                   .data = wire + sizeof(wire),
                                   .wire_size = sizeof(wire),
                                   .has = RR_ENTRY_HAS_TERM | RR_ENTRY_HAS_INDEX};
    CHECK(rr_raw_node_propose_batch(world_raw(&w, 2), &entry, 1) == 0);
    world_settle(&w);
    CHECK_EQ_U64(r->log.committed, 5);
    world_end(&w);
}

/* ---- a snapshot that is to be stored ------------------------------------- */

static void test_log_under_a_pending_snapshot(void)
{
    begin(3, async_mode);
    struct raft *r = world_raft(&w, 2);
    r->events.log = ignore_line;
    r->events.level = 0;
    struct rr_snapshot snapshot = {.metadata = {.index = 9, .term = 1}};
    raft_log_restore(&r->log, &snapshot);
    snapshot.metadata.index = 19;
    raft_log_restore(&r->log, &snapshot);
    const struct rr_snapshot *pending;
    CHECK(raft_log_snapshot(&r->log, &pending) == 0);
    CHECK_EQ_U64(pending->metadata.index, 19);
    uint64_t term;
    CHECK(raft_log_storage_term(&r->log, 19, &term) == 0 && term == 1);
    CHECK(raft_log_storage_term(&r->log, 9, &term) == RR_E_COMPACTED);
    CHECK(raft_log_storage_term(&r->log, 2, &term) == RR_E_COMPACTED);
    struct rr_entry entry = {.term = 1, .index = 20, .has = RR_ENTRY_HAS_TERM | RR_ENTRY_HAS_INDEX};
    raft_log_append(&r->log, &entry, 1);
    raft_log_append(&r->log, &entry, 0);
    struct entry_pieces pieces;
    CHECK(raft_log_slice(&r->log, 19, 21, UINT64_MAX, &pieces) == RR_E_COMPACTED);
    CHECK(raft_log_slice(&r->log, 20, 21, UINT64_MAX, &pieces) == 0);
    CHECK_EQ_U64(pieces.count, 1);
    CHECK(raft_log_slice(&r->log, 20, 20, UINT64_MAX, &pieces) == 0);
    CHECK_EQ_U64(pieces.count, 0);
    /* Acknowledgements that are not about entries of the tail. */
    uint32_t lines = ignored_lines;
    unstable_stable_to(&r->log.unstable, 1, 19);
    unstable_stable_to(&r->log.unstable, 1, 7);
    CHECK_EQ_U64(ignored_lines, lines + 2);
    CHECK_EQ_U64(r->log.unstable.count, 1);
    unstable_stable_snap_to(&r->log.unstable, 9);
    CHECK(r->log.unstable.snapshot != NULL);
    unstable_stable_snap_to(&r->log.unstable, 19);
    unstable_stable_snap_to(&r->log.unstable, 19);
    CHECK(r->log.unstable.snapshot == NULL);
    r->log.applying = r->log.applied = 19;
    CHECK(raft_log_slice(&r->log, 20, 20, UINT64_MAX, &pieces) == 0);
    CHECK_EQ_U64(pieces.count, 0);
    world_end(&w);
}

static void test_pending_snapshot_is_sent_as_it_is(void)
{
    struct raft *r = begin(3, NULL);
    struct progress *pr = tracker_find(&r->tracker, 2);
    struct rr_block block = {.refs = 1, .free = keep_block};
    struct rr_snapshot snapshot = {
        .metadata = {.index = 9, .term = 1}, .data = (const uint8_t *)"s", .size = 1};
    snapshot.block = &block;
    raft_log_restore(&r->log, &snapshot);
    CHECK_EQ_U64(block.refs, 2);
    CHECK(raft_maybe_send_snapshot(r, pr));
    CHECK_EQ_U64(pr->pending_snapshot, 9);
    CHECK_EQ_U64(block.refs, 2); /* shared, not copied */
    struct rr_memory_storage *storage = w.nodes[0].storage;
    CHECK(rr_memory_storage_apply_snapshot(storage, &snapshot) == 0);
    /* Only the snapshot is news, and it is reason enough for a Ready. */
    rr_raw_node_free(w.nodes[0].raw);
    w.nodes[0].config.applied = 9;
    rr_memory_storage_set_hard_state(storage, &(struct rr_hard_state){.term = 1, .commit = 9});
    CHECK(rr_raw_node_new(&w.nodes[0].config, &w.nodes[0].raw, NULL) == 0);
    r = world_raft(&w, 1);
    CHECK(!rr_raw_node_has_ready(world_raw(&w, 1)));
    snapshot.metadata.index = 19;
    unstable_restore(&r->log.unstable, &snapshot);
    CHECK(rr_raw_node_has_ready(world_raw(&w, 1)));
    unstable_stable_snap_to(&r->log.unstable, 19);
    r->log.committed = r->log.applying = r->log.applied = 19;
    world_end(&w);
    CHECK_EQ_U64(block.refs, 1);
}

/* ---- pending reads of the storage ---------------------------------------- */

static void test_ready_range_has_two_ends(void)
{
    struct raft *r = begin(3, NULL);
    struct progress *pr = tracker_find(&r->tracker, 2);
    pr->pending_read = 7;
    r->log.pending_apply = 7;
    rr_raw_node_storage_ready(world_raw(&w, 1), 3, 7);
    rr_raw_node_storage_ready(world_raw(&w, 1), 8, 9);
    CHECK_EQ_U64(pr->pending_read, 7);
    CHECK_EQ_U64(r->log.pending_apply, 7);
    /* It sends on meanwhile if what it waits for is not what comes next. */
    CHECK(raft_maybe_send_append(r, pr, true));
    rr_raw_node_storage_ready(world_raw(&w, 1), 7, 8);
    CHECK_EQ_U64(pr->pending_read, 0);
    CHECK_EQ_U64(r->log.pending_apply, 0);
    world_end(&w);
}

/* ---- tables -------------------------------------------------------------- */

static void test_tables_without_room_lose_what_nobody_needs(void)
{
    struct raft *r = begin(3, NULL);
    for (uint64_t id = 100; id < 100 + 4 * TRACKER_IDS_MAX; id++) {
        read_only_record_ack(&r->read_only, id, 1);
        tracker_record_vote(&r->tracker, id, true);
    }
    CHECK_EQ_U64(r->read_only.ack_count, RR_ARRAY_SIZE(r->read_only.acks));
    CHECK_EQ_U64(r->tracker.vote_count, RR_ARRAY_SIZE(r->tracker.votes));
    CHECK(!tracker_is_voter(&r->tracker, 100));
    CHECK(tracker_is_voter(&r->tracker, 3));
    id_set_add(&r->tracker.config.outgoing, 3);
    id_set_remove(&r->tracker.config.incoming, 3);
    CHECK(tracker_is_voter(&r->tracker, 3));
    tracker_index(&r->tracker);
    world_end(&w);
}

static void test_status_of_more_peers_than_room(void)
{
    begin(3, NULL);
    struct rr_progress_status status[3] = {{.id = 0}};
    CHECK_EQ_U64(rr_raw_node_progress(world_raw(&w, 1), status, 2), 3);
    CHECK_EQ_U64(status[0].id, 1);
    CHECK_EQ_U64(status[1].id, 2);
    CHECK_EQ_U64(status[2].id, 0);
    CHECK_EQ_U64(rr_raw_node_progress(world_raw(&w, 1), status, 3), 3);
    CHECK_EQ_U64(status[2].id, 3);
    CHECK_EQ_U64(rr_raw_node_progress(world_raw(&w, 2), status, 2), 0);
    world_end(&w);
}

/* Requests of all sizes through a queue that slides and grows; none at all is a size too. */
static void test_read_queue_slides_and_grows(void)
{
    static uint8_t bytes[3000];
    struct raft *r = begin(3, NULL);
    struct read_queue queue = {.count = 0};
    uint64_t pushed = 0;
    uint64_t popped = 0;
    for (int round = 0; round < 200; round++) {
        struct rr_entry entry = {.data = bytes, .size = (uint32_t)(round * 13 % 3000)};
        struct read_request request = {
            .from = pushed++, .entries = &entry, .entry_count = round % 3 > 0};
        read_queue_push(&queue, &r->allocator, &request);
        if (round % 4 == 0)
            continue;
        read_queue_pop(&queue, &r->outbox, &request);
        CHECK_EQ_U64(request.from, popped++);
    }
    CHECK_EQ_U64(queue.count, pushed - popped);
    read_queue_fini(&queue, &r->allocator);
    world_end(&w);
}

static void test_arena_joins_its_chunks(void)
{
    world_begin(&w, 1, NULL);
    struct arena arena = {.allocator = &w.nodes[0].config.allocator};
    arena_reset(&arena);
    for (int i = 0; i < 20; i++)
        memset(arena_alloc(&arena, 3000), i, 3000);
    arena_reset(&arena);
    uint64_t calls = w.heap.calls;
    for (int i = 0; i < 20; i++)
        memset(arena_alloc(&arena, 3000), i, 3000);
    arena_reset(&arena);
    CHECK_EQ_U64(w.heap.calls, calls);
    arena_fini(&arena);
    world_end(&w);
}

/* The ring of the tail: what is stable makes room; more than it has room for makes it grow. */
static void test_unstable_ring_wraps_and_grows(void)
{
    static struct rr_entry entries[200];
    for (uint32_t i = 0; i < 200; i++)
        entries[i] = (struct rr_entry){
            .term = 1, .index = 2 + i, .has = RR_ENTRY_HAS_TERM | RR_ENTRY_HAS_INDEX};
    world_begin(&w, 3, NULL);
    struct unstable *u = &world_raft(&w, 1)->log.unstable;
    unstable_truncate_and_append(u, entries, 100);
    CHECK_EQ_U64(u->cap, 128);
    unstable_stable_to(u, 1, 2 + 90);
    unstable_drop_kept(u);
    unstable_drop_kept(u);
    unstable_truncate_and_append(u, entries + 100, 60);
    CHECK_EQ_U64(u->cap, 128);
    CHECK_EQ_U64(unstable_at(u, 2 + 91)->index, 2 + 91);
    CHECK_EQ_U64(unstable_at(u, 2 + 159)->index, 2 + 159);
    unstable_reserve(u, 128 - 69);
    CHECK_EQ_U64(u->cap, 128);
    unstable_reserve(u, 128 - 69 + 1);
    CHECK_EQ_U64(u->cap, 256);
    CHECK_EQ_U64(unstable_at(u, 2 + 91)->index, 2 + 91);
    CHECK_EQ_U64(unstable_at(u, 2 + 159)->index, 2 + 159);
    world_end(&w);
}

int main(void)
{
    RUN(test_config_edges);
    RUN(test_shorter_config_is_read);
    RUN(test_empty_storage_makes_no_ready);
    RUN(test_any_part_of_a_hard_state_is_loaded);
    RUN(test_own_jitter_spreads_the_timeouts);
    RUN(test_forwarded_entry_is_encoded_anew);
    RUN(test_sent_run_is_not_stored_after_a_truncation);
    RUN(test_sent_run_is_not_sent_after_a_truncation);
    RUN(test_mixed_batch_gives_back_what_has_no_block);
    RUN(test_storage_knows_its_conf_changes);
    RUN(test_applied_entries_give_their_size_back);
    RUN(test_two_peers_are_sent_the_same_stored_entries);
    RUN(test_repeated_probe_carries_the_new_entries);
    RUN(test_proposals_with_and_without_data);
    RUN(test_log_under_a_pending_snapshot);
    RUN(test_pending_snapshot_is_sent_as_it_is);
    RUN(test_ready_range_has_two_ends);
    RUN(test_tables_without_room_lose_what_nobody_needs);
    RUN(test_status_of_more_peers_than_room);
    RUN(test_read_queue_slides_and_grows);
    RUN(test_arena_joins_its_chunks);
    RUN(test_unstable_ring_wraps_and_grows);
    return 0;
}
