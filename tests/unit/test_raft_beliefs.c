/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the reference panics, the core stops with a sentence that names the values. Each case
 * breaks one belief in a process of its own and reads what that says before it ends.
 */
#include "tests/unit/raft_world.h"

#include "raft/raft_core.h"
#include "tests/unit/check.h"

#include <sys/wait.h>
#include <unistd.h>

static struct world w;

/* Runs `act` in a child and checks that it ends with this sentence. */
static void expect(void (*act)(void), const char *sentence)
{
    int ends[2];
    CHECK(pipe(ends) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        act();
        _exit(0);
    }
    close(ends[1]);
    char text[4096];
    size_t size = 0;
    for (ssize_t n = 1; n > 0 && size<sizeof(text) - 1; size += n> 0 ? (size_t)n : 0)
        n = read(ends[0], text + size, sizeof(text) - 1 - size);
    text[size] = '\0';
    close(ends[0]);
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) || WEXITSTATUS(status) != 0);
    if (!strstr(text, sentence))
        fprintf(stderr, "expected '%s', got: %s\n", sentence, text);
    CHECK(strstr(text, sentence));
}

/* Node 1 leads in term 1; the entries 1 and 2 are committed everywhere. */
static void begin(void)
{
    world_begin(&w, 3, NULL);
    world_campaign(&w, 1);
}

static void step(struct rr_message m)
{
    (void)raft_step(world_raft(&w, m.to), &m);
}

/* ---- what messages bring ------------------------------------------------- */

static void commit_beyond_the_log(void)
{
    begin();
    step((struct rr_message){.type = RR_MSG_HEARTBEAT, .from = 1, .to = 2, .term = 1, .commit = 9});
}

static void append(uint64_t term, uint64_t index)
{
    const struct rr_entry entry = {
        .term = term, .index = index, .has = RR_ENTRY_HAS_TERM | RR_ENTRY_HAS_INDEX};
    begin();
    step((struct rr_message){.type = RR_MSG_APP,
                             .from = 1,
                             .to = 2,
                             .term = term,
                             .log_term = 1,
                             .index = 2,
                             .entries = &entry,
                             .entry_count = 1});
}

static void conflict_with_committed(void)
{
    append(5, 2);
}

static void conflict_outside_of_the_message(void)
{
    append(1, 9);
}

static void proposal_without_entries(void)
{
    begin();
    step((struct rr_message){.type = RR_MSG_PROP, .from = 2, .to = 1});
}

static void undecodable_change(void)
{
    const struct rr_entry entry = {.data = (const uint8_t *)"\xff",
                                   .size = 1,
                                   .type = RR_ENTRY_CONF_CHANGE,
                                   .has = RR_ENTRY_HAS_TYPE | RR_ENTRY_HAS_DATA};
    begin();
    step((struct rr_message){
        .type = RR_MSG_PROP, .from = 2, .to = 1, .entries = &entry, .entry_count = 1});
}

static void read_without_context(void)
{
    world_begin(&w, 1, NULL);
    world_campaign(&w, 1);
    step((struct rr_message){.type = RR_MSG_READ_INDEX, .to = 1});
}

static void heartbeat_answer(uint64_t from, const char *context, uint32_t size)
{
    step((struct rr_message){.type = RR_MSG_HEARTBEAT_RESP,
                             .from = from,
                             .to = 1,
                             .term = 1,
                             .context = (const uint8_t *)context,
                             .context_size = size});
}

static void short_read_position(void)
{
    begin();
    heartbeat_answer(2, "abc", 3);
}

static void read_position_beyond_the_queue(void)
{
    begin();
    heartbeat_answer(2, "\x9\0\0\0\0\0\0", 8);
    heartbeat_answer(3, "\x9\0\0\0\0\0\0", 8);
}

static void message_from_itself(void)
{
    begin();
    step((struct rr_message){.type = RR_MSG_HEARTBEAT, .from = 1, .to = 1, .term = 2});
}

static void test_beliefs_about_messages(void)
{
    expect(commit_beyond_the_log, "commit index 9 lies beyond the last index, 2: was the log");
    expect(conflict_with_committed, "an entry at index 2 conflicts with what is committed up to 2");
    expect(conflict_outside_of_the_message,
           "the conflict at index 9 lies outside of a message of 1 entries behind 2");
    expect(proposal_without_entries, "a proposal of node 2 has no entries");
    expect(undecodable_change, "a conf change of 1 bytes does not decode: error -");
    expect(read_without_context, "a read of node 1 at index 2 has no context");
    expect(short_read_position, "the read position that node 2 echoes has 3 bytes");
    expect(read_position_beyond_the_queue,
           "read position 9 is confirmed, the last one that waits is 0");
    expect(message_from_itself, "node 1 sends itself a message of type 9");
}

/* ---- what the program does ----------------------------------------------- */

static void ready_twice(void)
{
    struct rr_ready ready;
    begin();
    world_propose(&w, 1, "a");
    rr_raw_node_ready(world_raw(&w, 1), &ready);
    world_propose(&w, 1, "b");
    rr_raw_node_ready(world_raw(&w, 1), &ready);
}

static void write_asynchronously(struct rr_config *config)
{
    config->async_storage_writes = true;
}

static void advance_in_async_mode(void)
{
    world_begin(&w, 1, write_asynchronously);
    rr_raw_node_advance(world_raw(&w, 1));
}

static void change_that_breaks_the_rules(void)
{
    begin();
    rr_raw_node_apply_conf_change_v2(world_raw(&w, 1), &(struct rr_conf_change_v2){.changes = NULL},
                                     NULL);
}

static void restart_applied_too_far(void)
{
    begin();
    world_restart(&w, 2, 9);
}

static void restart_committed_too_far(void)
{
    begin();
    const struct rr_hard_state state = {.term = 1, .commit = 9};
    rr_memory_storage_set_hard_state(w.nodes[1].storage, &state);
    world_restart(&w, 2, 0);
}

static void encoded_for_another_place(void)
{
    const struct rr_entry entry = {.term = 1, .index = 7, .wire_size = 4};
    begin();
    (void)rr_raw_node_propose_batch(world_raw(&w, 1), &entry, 1);
}

static void test_beliefs_about_the_program(void)
{
    expect(ready_twice, "node 1 gives a Ready before Advance of the one before");
    expect(advance_in_async_mode, "node 1 is not advanced: it has asynchronous storage writes");
    expect(change_that_breaks_the_rules, "can't leave a non-joint config");
    expect(restart_applied_too_far, "applied index 9 is out of range, 1 to 2");
    expect(restart_committed_too_far,
           "node 2: the stored commit index, 9, is out of range, 1 to 2");
    expect(encoded_for_another_place,
           "an entry encoded for term 1 and index 7 comes to term 1 and index 3");
}

/* ---- what the storage answers -------------------------------------------- */

/* A storage that answers wrongly: the memory storage's functions, but for what a case replaces. */
static struct rr_storage_ops lies;

static void begin_with_lies(void)
{
    begin();
    lies = *w.nodes[0].config.storage.ops;
    w.nodes[0].raw->raft.log.storage.ops = &lies;
    w.nodes[0].config.storage.ops = &lies;
}

static int no_index(void *ctx, uint64_t *index)
{
    (void)ctx;
    *index = 0;
    return RR_E_IO;
}

static int index_zero(void *ctx, uint64_t *index)
{
    (void)ctx;
    *index = 0;
    return 0;
}

static int no_snapshot(void *ctx, const struct rr_snapshot **snapshot)
{
    (void)ctx;
    (void)snapshot;
    return RR_E_IO;
}

static int empty_snapshot(void *ctx, const struct rr_snapshot **snapshot)
{
    static const struct rr_snapshot empty;
    (void)ctx;
    *snapshot = &empty;
    return 0;
}

static int no_entries(void *ctx, uint64_t lo, uint64_t hi, uint64_t max_size,
                      struct rr_entry_spans *out)
{
    (void)ctx;
    (void)lo;
    (void)hi;
    (void)max_size;
    (void)out;
    return RR_E_IO;
}

static int no_state(void *ctx, struct rr_hard_state *hard_state, struct rr_conf_state *conf_state)
{
    (void)ctx;
    (void)hard_state;
    (void)conf_state;
    return RR_E_IO;
}

static int twice_in_the_configuration(void *ctx, struct rr_hard_state *hard_state,
                                      struct rr_conf_state *conf_state)
{
    static const uint64_t ids[] = {1, 2};
    (void)ctx;
    *hard_state = (struct rr_hard_state){.term = 1};
    *conf_state = (struct rr_conf_state){
        .voters = ids, .voter_count = 2, .learners = ids + 1, .learner_count = 1};
    return 0;
}

static void storage_without_first_index(void)
{
    begin_with_lies();
    lies.first_index = no_index;
    world_restart(&w, 1, 0);
}

static void storage_that_begins_at_zero(void)
{
    begin_with_lies();
    lies.first_index = index_zero;
    world_restart(&w, 1, 0);
}

static void storage_without_last_index(void)
{
    begin_with_lies();
    lies.last_index = no_index;
    world_restart(&w, 1, 0);
}

static void storage_without_state(void)
{
    begin_with_lies();
    lies.initial_state = no_state;
    world_restart(&w, 1, 0);
}

static void storage_with_a_bad_configuration(void)
{
    begin_with_lies();
    lies.initial_state = twice_in_the_configuration;
    world_restart(&w, 1, 0);
}

/* Node 2 lost its log, and node 1 has none from its beginning any more. */
static void need_snapshot(void)
{
    CHECK(rr_memory_storage_compact(w.nodes[0].storage, 2) == 0);
    step((struct rr_message){
        .type = RR_MSG_APP_RESP, .from = 2, .to = 1, .term = 1, .index = 3, .reject = true});
    struct progress *pr = tracker_find(&world_raft(&w, 1)->tracker, 2);
    progress_reset(pr, 0, 1);
    pr->recent_active = true;
    raft_maybe_send_append(world_raft(&w, 1), pr, true);
}

static void storage_without_snapshot(void)
{
    begin_with_lies();
    lies.snapshot = no_snapshot;
    need_snapshot();
}

static void storage_with_an_empty_snapshot(void)
{
    begin_with_lies();
    lies.snapshot = empty_snapshot;
    need_snapshot();
}

static void storage_without_entries(void)
{
    struct entry_pieces pieces;
    begin_with_lies();
    lies.entries = no_entries;
    (void)raft_log_slice(&world_raft(&w, 1)->log, 2, 3, UINT64_MAX, &pieces);
}

static void test_beliefs_about_the_storage(void)
{
    expect(storage_without_first_index, "the storage does not tell its first index: error -");
    expect(storage_that_begins_at_zero, "the storage begins at index 0 and ends at index 2");
    expect(storage_without_last_index, "the storage does not tell its last index: error -");
    expect(storage_without_state, "node 1: the storage does not tell its initial state: error -");
    expect(storage_with_a_bad_configuration,
           "node 1 cannot rebuild a configuration of 2+0 voters and 1+0 learners");
    expect(storage_without_snapshot, "node 1: the storage has no snapshot for node 2: error -");
    expect(storage_with_an_empty_snapshot, "node 1: the storage's snapshot for node 2 is empty");
    expect(storage_without_entries, "the storage does not read entries from 2 to 3: error -");
}

/* ---- the memory storage -------------------------------------------------- */

static void storage_append_with_a_gap(void)
{
    const struct rr_entry entry = {.term = 1, .index = 9};
    begin();
    (void)rr_memory_storage_append(w.nodes[0].storage, &entry, 1);
}

static void storage_compacted_too_far(void)
{
    begin();
    (void)rr_memory_storage_compact(w.nodes[0].storage, 9);
}

static void storage_snapshot_too_far(void)
{
    begin();
    (void)rr_memory_storage_create_snapshot(w.nodes[0].storage, 9, NULL, NULL, 0, NULL);
}

static void storage_read_too_far(void)
{
    struct rr_entry_spans spans;
    begin();
    struct rr_storage storage = rr_memory_storage_interface(w.nodes[0].storage);
    (void)storage.ops->entries(storage.ctx, 2, 9, UINT64_MAX, &spans);
}

static void test_beliefs_of_the_memory_storage(void)
{
    expect(storage_append_with_a_gap, "an entry at index 9 leaves a gap behind the last one, 2");
    expect(storage_compacted_too_far, "compaction to 9 goes beyond the last index, 2");
    expect(storage_snapshot_too_far, "a snapshot at index 9 lies outside of the log, 1 to 2");
    expect(storage_read_too_far, "entries up to 9 reach beyond the last index, 2");
}

/* ---- what only the core itself could break ------------------------------- */

static void leader_becomes_candidate(void)
{
    begin();
    raft_become_candidate(world_raft(&w, 1));
}

static void leader_becomes_pre_candidate(void)
{
    begin();
    raft_become_pre_candidate(world_raft(&w, 1));
}

static void follower_becomes_leader(void)
{
    begin();
    raft_become_leader(world_raft(&w, 2));
}

static void reversed_slice(void)
{
    struct entry_pieces pieces;
    begin();
    (void)raft_log_slice(&world_raft(&w, 1)->log, 3, 2, UINT64_MAX, &pieces);
}

static void slice_beyond_the_log(void)
{
    struct entry_pieces pieces;
    begin();
    (void)raft_log_slice(&world_raft(&w, 1)->log, 2, 9, UINT64_MAX, &pieces);
}

static void append_over_committed(void)
{
    const struct rr_entry entry = {.term = 1, .index = 2};
    begin();
    raft_log_append(&world_raft(&w, 1)->log, &entry, 1);
}

static void entries_for_who_gets_a_snapshot(void)
{
    begin();
    struct raft *r = world_raft(&w, 1);
    struct progress *pr = tracker_find(&r->tracker, 2);
    progress_become_snapshot(pr, 8);
    progress_sent_entries(pr, &r->allocator, 1, 5);
}

static void window_that_overflows(void)
{
    begin();
    struct raft *r = world_raft(&w, 1);
    struct progress *pr = tracker_find(&r->tracker, 2);
    pr->inflights.max_count = 1;
    inflights_add(&pr->inflights, &r->allocator, 3, 5);
    inflights_add(&pr->inflights, &r->allocator, 4, 5);
}

static void test_beliefs_of_the_core(void)
{
    expect(leader_becomes_candidate, "node 1, leader of term 1, becomes a candidate");
    expect(leader_becomes_pre_candidate, "node 1, leader of term 1, becomes a pre-candidate");
    expect(follower_becomes_leader, "node 2, follower in term 1, becomes leader");
    expect(reversed_slice, "the log has no range from 3 to 2");
    expect(slice_beyond_the_log, "the range from 2 to 9 reaches beyond the last index, 2");
    expect(append_over_committed, "an entry at index 2 would overwrite what is committed up to 2");
    expect(entries_for_who_gets_a_snapshot,
           "node 2 is sent entries behind 8 while a snapshot of 8 is under way");
    expect(window_that_overflows, "a full window, of 1 messages and 5 bytes, takes no more");
}

int main(void)
{
    RUN(test_beliefs_about_messages);
    RUN(test_beliefs_about_the_program);
    RUN(test_beliefs_about_the_storage);
    RUN(test_beliefs_of_the_memory_storage);
    RUN(test_beliefs_of_the_core);
    return 0;
}
