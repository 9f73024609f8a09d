/* SPDX-License-Identifier: Apache-2.0
 *
 * Flow control, commit, snapshots, reads and transfers of a leader (thesis 3.5, 3.6, 3.10, 6.4,
 * 10.2).
 */
#include "tests/unit/raft_world.h"

#include "tests/unit/check.h"

static struct world w;

static void small_window(struct rr_config *config)
{
    config->max_inflight_msgs = 2;
    config->max_size_per_msg = 16;
}

static void bounded_tail(struct rr_config *config)
{
    config->max_uncommitted_entries_size = 25;
}

static void async_mode(struct rr_config *config)
{
    config->async_storage_writes = true;
}

static struct raft *begin(uint32_t count, void (*adjust)(struct rr_config *))
{
    world_begin(&w, count, adjust);
    world_campaign(&w, 1);
    CHECK(world_raft(&w, 1)->state == RR_STATE_LEADER);
    return world_raft(&w, 1);
}

static struct progress *progress_of(uint64_t id)
{
    return tracker_find(&world_raft(&w, 1)->tracker, id);
}

static struct rr_message from_2(enum rr_message_type type)
{
    return (struct rr_message){
        .type = (uint8_t)type, .to = 1, .from = 2, .term = world_raft(&w, 1)->term};
}

/* ---- flow ------------------------------------------------------------------- */

static void test_full_window_pauses_and_an_ack_sends_all_that_fits(void)
{
    struct raft *r = begin(3, small_window);
    world_isolate(&w, 2, true);
    for (int i = 0; i < 10; i++)
        CHECK(world_propose(&w, 1, "0123456789") == 0); /* one per message */
    world_settle(&w);
    struct progress *pr = progress_of(2);
    CHECK(inflights_is_full(&pr->inflights));
    CHECK(progress_is_paused(pr));
    uint64_t next = pr->next;
    CHECK_EQ_U64(next, 5);
    /* A heartbeat response lets exactly one empty message through, then it pauses again. */
    uint32_t sent = w.sent[RR_MSG_APP];
    world_step(&w, from_2(RR_MSG_HEARTBEAT_RESP));
    world_settle(&w);
    CHECK_EQ_U64(w.sent[RR_MSG_APP], sent + 1);
    CHECK_EQ_U64(w.last[RR_MSG_APP].entry_count, 0);
    CHECK(progress_is_paused(pr));
    /* Both messages acknowledged at once: two go out. */
    struct rr_message ack = from_2(RR_MSG_APP_RESP);
    ack.index = next - 1;
    sent = w.sent[RR_MSG_APP];
    world_step(&w, ack);
    world_settle(&w);
    CHECK_EQ_U64(pr->next, next + 2);
    CHECK(w.sent[RR_MSG_APP] >= sent + 2);
    CHECK_EQ_U64(r->log.committed, 12);
    world_end(&w);
}

static void test_unreachable_peer_is_probed(void)
{
    begin(3, NULL);
    rr_raw_node_report_unreachable(world_raw(&w, 1), 2);
    CHECK(progress_of(2)->state == RR_PROGRESS_PROBE);
    CHECK(world_propose(&w, 1, "a") == 0);
    world_isolate(&w, 2, true);
    world_settle(&w);
    CHECK(progress_is_paused(progress_of(2)));
    world_isolate(&w, 2, false);
    world_tick(&w, 1, 1);
    CHECK(progress_of(2)->state == RR_PROGRESS_REPLICATE);
    CHECK_EQ_U64(w.nodes[1].applied, 3);
    world_end(&w);
}

static void test_probing_peer_that_has_all_recovers_by_heartbeat(void)
{
    begin(3, NULL);
    rr_raw_node_report_unreachable(world_raw(&w, 1), 2);
    world_tick(&w, 1, 1);
    CHECK(progress_of(2)->state == RR_PROGRESS_REPLICATE);
    world_end(&w);
}

static void test_heartbeat_carries_no_more_than_what_matches(void)
{
    struct raft *r = begin(3, NULL);
    struct progress *pr = progress_of(2);
    pr->match = 1;
    rr_raw_node_tick(world_raw(&w, 1));
    world_isolate(&w, 2, true);
    world_settle(&w);
    CHECK_EQ_U64(r->log.committed, 2);
    CHECK_EQ_U64(pr->sent_commit, 1);
    world_isolate(&w, 2, false);
    world_end(&w);
}

static void test_diverged_log_is_found_and_overwritten(void)
{
    begin(3, NULL);
    world_isolate(&w, 1, true);
    for (int i = 0; i < 5; i++)
        CHECK(world_propose(&w, 1, "lost") == 0);
    world_settle(&w);
    world_campaign(&w, 2);
    CHECK(world_propose(&w, 2, "kept") == 0);
    world_settle(&w);
    world_isolate(&w, 1, false);
    world_tick(&w, 2, 1);
    CHECK_EQ_U64(raft_log_last_index(&world_raft(&w, 1)->log), 4);
    CHECK_EQ_U64(w.nodes[0].applied, 4);
    CHECK_EQ_U64(w.nodes[0].applied_count, 1);
    world_end(&w);
}

static void test_entries_of_older_terms_are_not_committed_by_counting(void)
{
    struct raft *r = begin(3, NULL);
    world_isolate(&w, 1, true);
    CHECK(world_propose(&w, 1, "old") == 0); /* index 3, term 1 */
    world_settle(&w);
    rr_raw_node_step_down(world_raw(&w, 1));
    world_settle(&w);
    raft_become_candidate(r);
    raft_become_leader(r); /* index 4, term 2 */
    struct rr_message ack = from_2(RR_MSG_APP_RESP);
    ack.index = 3;
    progress_of(1)->match = 4;
    world_step(&w, ack);
    CHECK_EQ_U64(r->log.committed, 2);
    ack.index = 4;
    world_step(&w, ack);
    CHECK_EQ_U64(r->log.committed, 4);
    world_isolate(&w, 1, false);
    world_end(&w);
}

static void test_uncommitted_limit_spares_the_first_and_the_empty(void)
{
    struct raft *r = begin(3, bounded_tail);
    world_isolate(&w, 1, true);
    CHECK(world_propose(&w, 1, "an entry of more than 25 bytes") == 0);
    CHECK(world_propose(&w, 1, "x") == RR_E_PROPOSAL_DROPPED);
    CHECK(world_propose(&w, 1, "") == 0);
    CHECK_EQ_U64(r->uncommitted_size, 30);
    world_isolate(&w, 1, false);
    world_tick(&w, 1, 1);
    CHECK_EQ_U64(r->uncommitted_size, 0); /* applied */
    CHECK(world_propose(&w, 1, "x") == 0);
    rr_raw_node_step_down(world_raw(&w, 1));
    CHECK_EQ_U64(r->uncommitted_size, 0);
    world_end(&w);
}

/* ---- snapshots ---------------------------------------------------------------- */

/* Node 2 misses entries that are compacted; node 1 has sent it a snapshot, which is lost. */
static struct progress *begin_with_lost_snapshot(void)
{
    begin(3, NULL);
    world_isolate(&w, 2, true);
    for (int i = 0; i < 5; i++)
        CHECK(world_propose(&w, 1, "x") == 0);
    world_settle(&w);
    CHECK(rr_memory_storage_create_snapshot(w.nodes[0].storage, 7, NULL, NULL, 0, NULL) == 0);
    CHECK(rr_memory_storage_compact(w.nodes[0].storage, 7) == 0);
    rr_raw_node_report_unreachable(world_raw(&w, 1), 2);
    world_step(&w, from_2(RR_MSG_HEARTBEAT_RESP));
    world_settle(&w);
    struct progress *pr = progress_of(2);
    CHECK(pr->state == RR_PROGRESS_SNAPSHOT);
    CHECK_EQ_U64(pr->pending_snapshot, 7);
    return pr;
}

static void test_snapshot_report_makes_probe_and_pauses(void)
{
    for (int failed = 0; failed <= 1; failed++) {
        struct progress *pr = begin_with_lost_snapshot();
        rr_raw_node_report_snapshot(world_raw(&w, 1), 2, failed);
        CHECK(pr->state == RR_PROGRESS_PROBE);
        CHECK_EQ_U64(pr->next, failed ? 3 : 8);
        CHECK(pr->msg_app_flow_paused);
        world_isolate(&w, 2, false);
        world_tick(&w, 1, 2);
        CHECK_EQ_U64(w.nodes[1].applied, 7);
        world_end(&w);
    }
}

static void test_acknowledgement_ends_the_snapshot_even_below_it(void)
{
    struct progress *pr = begin_with_lost_snapshot();
    pr->pending_snapshot = 100;
    struct rr_message ack = from_2(RR_MSG_APP_RESP);
    ack.index = 6; /* below our first index - 1: still too far behind */
    world_step(&w, ack);
    CHECK(pr->state == RR_PROGRESS_SNAPSHOT);
    ack.index = 7;
    world_step(&w, ack);
    CHECK(pr->state == RR_PROGRESS_REPLICATE);
    world_isolate(&w, 2, false);
    world_end(&w);
}

static void test_inactive_peer_gets_no_snapshot(void)
{
    struct progress *pr = begin_with_lost_snapshot();
    rr_raw_node_report_snapshot(world_raw(&w, 1), 2, true);
    pr->recent_active = false;
    pr->msg_app_flow_paused = false;
    CHECK(!raft_maybe_send_append(world_raft(&w, 1), pr, true));
    CHECK(pr->state == RR_PROGRESS_PROBE);
    pr->recent_active = true;
    CHECK(raft_maybe_send_append(world_raft(&w, 1), pr, true));
    CHECK(pr->state == RR_PROGRESS_SNAPSHOT);
    world_isolate(&w, 2, false);
    world_end(&w);
}

static void test_snapshot_in_the_log_is_not_restored(void)
{
    begin(3, NULL);
    struct raft *r = world_raft(&w, 2);
    static const uint64_t ids[] = {1, 2, 3};
    struct rr_snapshot snapshot = {
        .metadata = {.index = 2, .term = 1, .conf_state = {.voters = ids, .voter_count = 3}}};
    r->log.committed = 1;
    struct rr_message m = {
        .type = RR_MSG_SNAP, .to = 2, .from = 1, .term = r->term, .snapshot = &snapshot};
    world_step(&w, m);
    CHECK(r->log.unstable.snapshot == NULL);
    CHECK_EQ_U64(r->log.committed, 2);
    /* Nor one whose configuration does not know us. */
    static const uint64_t others[] = {1, 3};
    snapshot.metadata.index = 9;
    snapshot.metadata.conf_state = (struct rr_conf_state){.voters = others, .voter_count = 2};
    world_step(&w, m);
    CHECK(r->log.unstable.snapshot == NULL);
    world_end(&w);
}

static void test_pending_snapshot_forbids_campaign_and_survives_an_old_term(void)
{
    begin(3, async_mode);
    struct raft *r = world_raft(&w, 2);
    static const uint64_t ids[] = {1, 2, 3};
    struct rr_snapshot snapshot = {
        .metadata = {.index = 9, .term = 1, .conf_state = {.voters = ids, .voter_count = 3}}};
    world_step(&w, (struct rr_message){
                       .type = RR_MSG_SNAP, .to = 2, .from = 1, .term = 1, .snapshot = &snapshot});
    CHECK(r->log.unstable.snapshot != NULL);
    CHECK(!raft_is_promotable(r));
    struct rr_ready ready;
    rr_raw_node_ready(world_raw(&w, 2), &ready);
    CHECK(ready.snapshot && ready.snapshot->metadata.index == 9);
    CHECK(rr_memory_storage_apply_snapshot(w.nodes[1].storage, ready.snapshot) == 0);
    raft_become_follower(r, 5, RR_NONE);
    /* The acknowledgement is of an older term: its snapshot counts all the same. */
    world_step(&w, (struct rr_message){.type = RR_MSG_STORAGE_APPEND_RESP,
                                       .to = 2,
                                       .from = RR_LOCAL_APPEND_THREAD,
                                       .term = 1,
                                       .snapshot = &snapshot});
    CHECK(r->log.unstable.snapshot == NULL);
    CHECK_EQ_U64(r->log.applied, 9);
    CHECK(raft_is_promotable(r));
    world_end(&w);
}

static int compacted(void *ctx, uint64_t lo, uint64_t hi, uint64_t max_size,
                     struct rr_entry_spans *out)
{
    (void)ctx, (void)lo, (void)hi, (void)max_size, (void)out;
    return RR_E_COMPACTED;
}

static void test_entries_compacted_under_way_become_a_snapshot(void)
{
    struct raft *r = begin(3, NULL);
    CHECK(rr_memory_storage_create_snapshot(w.nodes[0].storage, 2, NULL, NULL, 0, NULL) == 0);
    struct rr_storage_ops ops = *r->log.storage.ops;
    ops.entries = compacted;
    r->log.storage.ops = &ops;
    struct progress *pr = progress_of(2);
    pr->match = 1;
    pr->next = 2; /* the term before it is known, the entry cannot be read */
    CHECK(!raft_maybe_send_append(r, pr, false));
    CHECK(raft_maybe_send_append(r, pr, true));
    CHECK(pr->state == RR_PROGRESS_SNAPSHOT);
    world_isolate(&w, 2, true);
    world_end(&w);
}

int main(void)
{
    RUN(test_full_window_pauses_and_an_ack_sends_all_that_fits);
    RUN(test_unreachable_peer_is_probed);
    RUN(test_probing_peer_that_has_all_recovers_by_heartbeat);
    RUN(test_heartbeat_carries_no_more_than_what_matches);
    RUN(test_diverged_log_is_found_and_overwritten);
    RUN(test_entries_of_older_terms_are_not_committed_by_counting);
    RUN(test_uncommitted_limit_spares_the_first_and_the_empty);
    RUN(test_snapshot_report_makes_probe_and_pauses);
    RUN(test_acknowledgement_ends_the_snapshot_even_below_it);
    RUN(test_inactive_peer_gets_no_snapshot);
    RUN(test_snapshot_in_the_log_is_not_restored);
    RUN(test_pending_snapshot_forbids_campaign_and_survives_an_old_term);
    RUN(test_entries_compacted_under_way_become_a_snapshot);
    return 0;
}
