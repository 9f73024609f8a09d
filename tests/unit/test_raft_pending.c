/* SPDX-License-Identifier: Apache-2.0
 *
 * Storage that answers "pending": a wrapper around memory storage that withholds ranges, by hand
 * or at random. What is committed and applied must be the same as without it.
 */
#include "tests/unit/raft_world.h"

#include "tests/unit/check.h"

static struct world w;

/* Node 1's storage, seen through the wrapper. */
static struct {
    struct rr_storage inner;
    bool withhold;   /* every read pends */
    uint32_t random; /* else: one in `random` reads pends; 0: none */
    uint32_t state;
    uint64_t asked, from, to; /* reads that pended, and the last one's range */
    uint64_t had_none;        /* conf-change scans answered */
} slow;

static int slow_initial_state(void *ctx, struct rr_hard_state *hard, struct rr_conf_state *conf)
{
    (void)ctx;
    return slow.inner.ops->initial_state(slow.inner.ctx, hard, conf);
}

static int slow_entries(void *ctx, uint64_t lo, uint64_t hi, uint64_t max_size,
                        struct rr_entry_spans *out)
{
    (void)ctx;
    slow.state = slow.state * 1664525u + 1013904223u;
    bool pends = slow.withhold || (slow.random && (slow.state >> 16) % slow.random == 0);
    if (pends) {
        slow.asked++;
        slow.from = lo;
        slow.to = hi;
        return RR_E_PENDING;
    }
    return slow.inner.ops->entries(slow.inner.ctx, lo, hi, max_size, out);
}

static int slow_term(void *ctx, uint64_t index, uint64_t *term)
{
    (void)ctx;
    return slow.inner.ops->term(slow.inner.ctx, index, term);
}

static int slow_last_index(void *ctx, uint64_t *index)
{
    (void)ctx;
    return slow.inner.ops->last_index(slow.inner.ctx, index);
}

static int slow_first_index(void *ctx, uint64_t *index)
{
    (void)ctx;
    return slow.inner.ops->first_index(slow.inner.ctx, index);
}

static int slow_snapshot(void *ctx, const struct rr_snapshot **snapshot)
{
    (void)ctx;
    return slow.inner.ops->snapshot(slow.inner.ctx, snapshot);
}

static int slow_has_conf_change(void *ctx, uint64_t lo, uint64_t hi, bool *found)
{
    (void)ctx;
    (void)lo;
    (void)hi;
    slow.had_none++;
    *found = false;
    return 0;
}

static const struct rr_storage_ops slow_ops = {
    .initial_state = slow_initial_state,
    .entries = slow_entries,
    .term = slow_term,
    .last_index = slow_last_index,
    .first_index = slow_first_index,
    .snapshot = slow_snapshot,
    .has_conf_change = slow_has_conf_change,
};

static void slow_async_node_1(struct rr_config *config)
{
    config->async_storage_writes = true;
    config->max_size_per_msg = 64;
    if (config->id != 1)
        return;
    memset(&slow, 0, sizeof(slow));
    slow.inner = config->storage;
    slow.state = 1;
    config->storage = (struct rr_storage){.ops = &slow_ops};
}

static void propose_some(int count)
{
    for (int i = 0; i < count; i++) {
        CHECK(world_propose(&w, 1, "0123456789") == 0);
        world_settle(&w);
    }
}

static void test_peer_waits_and_resumes_where_it_was(void)
{
    world_begin(&w, 3, slow_async_node_1);
    world_campaign(&w, 1);
    world_isolate(&w, 3, true);
    propose_some(5);
    rr_raw_node_report_unreachable(world_raw(&w, 1), 3); /* replicate -> probe */
    slow.withhold = true;
    world_isolate(&w, 3, false);
    uint32_t sent = w.sent[RR_MSG_APP];
    world_tick(&w, 1, 1); /* a heartbeat response asks for entries that are not in memory */
    CHECK_EQ_U64(slow.asked, 1);
    CHECK_EQ_U64(w.sent[RR_MSG_APP], sent);
    const struct progress *pr = tracker_find(&world_raft(&w, 1)->tracker, 3);
    CHECK(!progress_is_paused(pr)); /* no output shows it */
    world_tick(&w, 1, 3);
    CHECK_EQ_U64(slow.asked, 1); /* and it is not asked again and again */
    slow.withhold = false;
    rr_raw_node_storage_ready(world_raw(&w, 1), slow.to, slow.to + 1); /* another range */
    CHECK(!rr_raw_node_has_ready(world_raw(&w, 1)));
    rr_raw_node_storage_ready(world_raw(&w, 1), slow.from, slow.to);
    world_settle(&w);
    CHECK_EQ_U64(w.nodes[2].applied, w.nodes[0].applied);
    world_end(&w);
}

static void test_due_empty_append_is_sent_when_resumed(void)
{
    world_begin(&w, 3, slow_async_node_1);
    world_campaign(&w, 1);
    struct raft *r = world_raft(&w, 1);
    struct progress *pr = tracker_find(&r->tracker, 3);
    pr->pending_read = pr->next;
    CHECK(!raft_maybe_send_append(r, pr, true));
    CHECK(pr->empty_append_due);
    CHECK(!rr_raw_node_has_ready(world_raw(&w, 1)));
    rr_raw_node_storage_ready(world_raw(&w, 1), pr->next, pr->next + 1);
    uint32_t sent = w.sent[RR_MSG_APP];
    world_settle(&w);
    CHECK_EQ_U64(w.sent[RR_MSG_APP], sent + 1);
    CHECK_EQ_U64(w.last[RR_MSG_APP].entry_count, 0);
    world_end(&w);
}

/* Entries 3..12 are committed at once, and more than one Ready may hand out to be applied: what is
 * left is in the storage only when its turn comes, and the storage answers "pending". */
static void commit_more_than_is_applied(void)
{
    world_begin(&w, 1, slow_async_node_1);
    world_campaign(&w, 1);
    slow.withhold = true;
    for (int i = 0; i < 10; i++)
        CHECK(world_propose(&w, 1, "0123456789") == 0);
    world_settle(&w); /* ends: nothing is offered that cannot be read */
    CHECK_EQ_U64(world_raft(&w, 1)->log.committed, 12);
    CHECK(w.nodes[0].applied < 12);
    CHECK_EQ_U64(slow.asked, 1);
    slow.withhold = false;
}

static void test_apply_waits_and_hides_from_has_ready(void)
{
    commit_more_than_is_applied();
    uint64_t applied = w.nodes[0].applied;
    CHECK(!rr_raw_node_has_ready(world_raw(&w, 1)));
    rr_raw_node_storage_ready(world_raw(&w, 1), applied + 1, applied + 2);
    CHECK(rr_raw_node_has_ready(world_raw(&w, 1)));
    world_settle(&w);
    CHECK_EQ_U64(w.nodes[0].applied, 12);
    world_end(&w);
}

static void test_campaign_asks_the_list_of_conf_changes(void)
{
    commit_more_than_is_applied();
    slow.withhold = true;
    rr_raw_node_step_down(world_raw(&w, 1));
    rr_raw_node_campaign(world_raw(&w, 1)); /* entries are committed and not applied */
    CHECK(slow.had_none > 0);
    CHECK(world_raft(&w, 1)->state == RR_STATE_CANDIDATE);
    slow.withhold = false;
    rr_raw_node_storage_ready(world_raw(&w, 1), 3, 13);
    world_settle(&w);
    world_end(&w);
}

static void test_random_pending_changes_nothing_that_is_committed(void)
{
    for (uint32_t seed = 1; seed <= 20; seed++) {
        world_begin(&w, 3, slow_async_node_1);
        slow.state = seed * 7919;
        slow.random = 2;
        world_campaign(&w, 1);
        for (int round = 0; round < 60; round++) {
            world_isolate(&w, 3, round % 7 < 4);
            for (int i = 0; i < 6; i++) /* more than a Ready hands out */
                CHECK(world_propose(&w, 1, "0123456789") == 0);
            world_settle(&w);
            if (round % 3 == 0)
                rr_raw_node_storage_ready(world_raw(&w, 1), 1, UINT64_MAX);
            world_tick(&w, 1, 1);
        }
        world_isolate(&w, 3, false);
        slow.random = 0;
        for (int round = 0; round < 30; round++) {
            rr_raw_node_storage_ready(world_raw(&w, 1), 1, UINT64_MAX);
            world_tick(&w, 1, 1);
        }
        CHECK(slow.asked > 10);
        for (uint32_t i = 0; i < 3; i++) {
            CHECK_EQ_U64(w.nodes[i].applied, 362);
            CHECK_EQ_U64(w.nodes[i].applied_count, 360);
        }
        world_end(&w);
    }
}

int main(void)
{
    RUN(test_peer_waits_and_resumes_where_it_was);
    RUN(test_due_empty_append_is_sent_when_resumed);
    RUN(test_apply_waits_and_hides_from_has_ready);
    RUN(test_campaign_asks_the_list_of_conf_changes);
    RUN(test_random_pending_changes_nothing_that_is_committed);
    return 0;
}
