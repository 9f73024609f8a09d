/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/reads.h"

#include "engine/group.h"
#include "proto/base.h"

#include <stdlib.h>
#include <string.h>

#define FEATURE_LEVEL_READS 2u

#define MS     (1000ull * 1000)
#define SECOND (1000 * MS)

/* What arrives while so many requests are unanswered waits for the next one. */
#define REQUESTS_AT_ONCE 2u

/* rr_read_stale is prepared for so long after it was called. */
#define KEEP_FRESH_NS (10 * SECOND)

_Static_assert(sizeof(struct read_context) == 16, "it travels as it lies in memory");
_Static_assert((READ_REQUESTS_MAX & (READ_REQUESTS_MAX - 1)) == 0, "positions wrap by a mask");

int reads_init(struct reads *reads, uint32_t entries_max)
{
    memset(reads, 0, sizeof(*reads));
    reads->earliest_ns = UINT64_MAX;
    reads->cap = 1;
    while (reads->cap < entries_max)
        reads->cap *= 2;
    reads->waiting = malloc(reads->cap * sizeof(*reads->waiting));
    return reads->waiting ? proposal_queue_init(&reads->queue, entries_max, entries_max * 8ull)
                          : RR_E_NO_MEMORY;
}

void reads_fini(struct reads *reads)
{
    proposal_queue_fini(&reads->queue);
    free(reads->waiting);
    reads->waiting = NULL;
}

void reads_close(struct reads *reads)
{
    proposal_queue_close(&reads->queue);
    atomic_store_explicit(&reads->fresh_ns, READS_CLOSED, memory_order_relaxed);
}

bool reads_is_quiet(const struct reads *reads)
{
    return reads->first == reads->next && proposal_queue_count(&reads->queue) == 0;
}

bool reads_may_sleep(struct reads *reads)
{
    if (reads->next - reads->first == reads->cap) /* what ends that is an event or a deadline */
        return true;
    return proposal_queue_arm(&reads->queue, 0);
}

static struct waiting_read *read_at(const struct reads *reads, uint64_t number)
{
    return &reads->waiting[number & (reads->cap - 1)];
}

static struct read_request *request_at(struct reads *reads, uint32_t i)
{
    RR_ASSERT(i < reads->request_count);
    return &reads->requests[(reads->request_head + i) & (READ_REQUESTS_MAX - 1)];
}

static uint64_t election_ns(const struct rr_group *group)
{
    return group->options.election_ticks * group->tick_ns;
}

static void complete(struct rr_group *group, struct waiting_read *read, int status, uint64_t index)
{
    if (RR_UNLIKELY(read->deadline_ns == 0))
        return;
    read->deadline_ns = 0;
    struct rr_completion completion = {
        .tag = read->tag, .status = status, .kind = RR_COMPLETION_READ, .index = index};
    group_complete(group, &completion);
}

/* ---- coming in ----------------------------------------------------------- */

static void take_in(struct rr_group *group, uint64_t now_ns)
{
    struct reads *reads = &group->reads;
    struct proposal_cursor cursor = proposal_queue_begin(&reads->queue);
    struct proposal_view view;
    uint64_t before = reads->next;
    while (reads->next - reads->first < reads->cap &&
           proposal_queue_next(&reads->queue, &cursor, &view)) {
        uint32_t timeout_ms;
        RR_ASSERT(view.first_size == sizeof(timeout_ms)); /* a unit of the queue never wraps */
        memcpy(&timeout_ms, view.first, sizeof(timeout_ms));
        uint64_t timeout_ns = timeout_ms ? timeout_ms * MS : 2 * election_ns(group);
        struct waiting_read read = {.tag = view.tag, .deadline_ns = now_ns + timeout_ns};
        *read_at(reads, reads->next++) = read;
        reads->earliest_ns = rr_min_u64(reads->earliest_ns, read.deadline_ns);
    }
    if (reads->next != before)
        proposal_queue_release(&reads->queue, cursor);
}

/* ---- asking -------------------------------------------------------------- */

static struct rr_basic_status core_of(const struct rr_group *group)
{
    struct rr_basic_status core;
    rr_raw_node_basic_status(group->node, &core);
    return core;
}

/* Until then the commit index may be behind what an older leader acknowledged. */
static bool has_committed_in_term(const struct rr_group *group, const struct rr_basic_status *core)
{
    return log_cache_term(&group->log, core->hard_state.commit) == core->hard_state.term;
}

/* The core itself waits for the first commit of the term, but not as the only voter; and it takes a
 * removed leader, which hands over, for the only voter when there is one other. */
bool group_serves_reads(const struct rr_group *group)
{
    struct rr_basic_status core = core_of(group);
    return core.soft_state.raft_state == RR_STATE_LEADER && !group->membership.is_removed &&
           (group->conf_state.voter_count > 1 || has_committed_in_term(group, &core));
}

bool group_owes_lease(const struct rr_group *group)
{
    return group->options.lease_reads &&
           group->engine->now_ns - group->reads.began_ns < election_ns(group);
}

/* Does a lease hold now? Not this turn's clock is asked: a read that was just taken in may be
 * younger than it, and while the loop did not run somebody else may have been elected. */
static bool has_lease(const struct rr_group *group, uint64_t term)
{
    const struct reads *reads = &group->reads;
    return group->options.lease_reads && reads->voided_term != term &&
           io_now(group->engine->io) < reads->lease_until_ns;
}

/* Room for one more request, or NULL: all are answered and wait for the state machine. One that
 * stayed without an answer gives way: those behind it cover its reads. */
static struct read_request *add_request(struct reads *reads)
{
    if (reads->request_count == READ_REQUESTS_MAX) {
        if (reads->answered_count > 0)
            return NULL;
        reads->request_head++;
        reads->request_count--;
    }
    reads->request_count++;
    return request_at(reads, reads->request_count - 1);
}

/* It was asked later than those before it that still wait: what holds for it holds for them. */
static void answer(struct reads *reads, uint32_t i, uint64_t index)
{
    while (reads->answered_count <= i)
        request_at(reads, reads->answered_count++)->index = index;
}

/* One request for all that wait. */
static void ask(struct rr_group *group, const struct rr_basic_status *core, uint64_t now_ns)
{
    struct reads *reads = &group->reads;
    bool is_leader = core->soft_state.raft_state == RR_STATE_LEADER;
    if (is_leader && (group->membership.is_removed || !has_committed_in_term(group, core)))
        return;
    struct read_request *request = add_request(reads);
    if (!request)
        return;
    *request = (struct read_request){.id = ++reads->last_id,
                                     .next = reads->next,
                                     .sent_ns = now_ns,
                                     .term = core->hard_state.term};
    reads->asked = reads->next;
    reads->asked_ns = now_ns;
    if (is_leader && has_lease(group, core->hard_state.term)) {
        answer(reads, reads->request_count - 1, core->hard_state.commit);
        return;
    }
    struct read_context context = {.nonce = group->engine->lineage.nonce, .id = request->id};
    rr_raw_node_read_index(group->node, (const uint8_t *)&context, sizeof(context));
}

/* A leader of the first version would take a forwarded read for a fault and close the connection.
 */
static bool knows_forwarded_reads(const struct rr_group *group, uint64_t lead)
{
    const struct rr_engine *engine = group->engine;
    return lead == engine->options.node_id ||
           transport_peer_feature_level(engine->transport, lead) >= FEATURE_LEVEL_READS;
}

static bool is_request_due(const struct rr_group *group, uint64_t now_ns)
{
    const struct reads *reads = &group->reads;
    bool keeps_fresh = now_ns < reads->keep_fresh_ns;
    if (reads->first == reads->next && !keeps_fresh)
        return false;
    uint64_t since_ns = now_ns - reads->asked_ns;
    uint32_t unanswered = reads->request_count - reads->answered_count;
    if (unanswered && since_ns >= election_ns(group) / 2)
        return true; /* it may be lost */
    if (unanswered >= REQUESTS_AT_ONCE)
        return false;
    return reads->asked < reads->next ||
           (keeps_fresh && since_ns >= group->options.heartbeat_ticks * group->tick_ns);
}

/* ---- deadlines ----------------------------------------------------------- */

static RR_COLD void expire(struct rr_group *group, uint64_t now_ns)
{
    struct reads *reads = &group->reads;
    reads->earliest_ns = UINT64_MAX;
    for (uint64_t number = reads->first; number < reads->next; number++) {
        struct waiting_read *read = read_at(reads, number);
        if (read->deadline_ns > now_ns)
            reads->earliest_ns = rr_min_u64(reads->earliest_ns, read->deadline_ns);
        else
            complete(group, read, RR_E_DEADLINE, 0);
    }
    while (reads->first < reads->next && read_at(reads, reads->first)->deadline_ns == 0)
        reads->first++;
    reads->asked = rr_max_u64(reads->asked, reads->first);
}

void group_read(struct rr_group *group, uint64_t now_ns)
{
    struct reads *reads = &group->reads;
    RR_ASSERT(reads->first <= reads->asked && reads->asked <= reads->next);
    RR_ASSERT(reads->answered_count <= reads->request_count);
    take_in(group, now_ns);
    if (RR_UNLIKELY(reads->earliest_ns <= now_ns))
        expire(group, now_ns);
    if (RR_UNLIKELY(atomic_load_explicit(&reads->is_stale_asked, memory_order_relaxed))) {
        atomic_store_explicit(&reads->is_stale_asked, false, memory_order_relaxed);
        reads->keep_fresh_ns = now_ns + KEEP_FRESH_NS;
    }
    if (RR_LIKELY(!is_request_due(group, now_ns)))
        return;
    struct rr_basic_status core = core_of(group);
    if (core.soft_state.lead == RR_NONE)
        group_fail_unanswered_reads(group);
    else if (knows_forwarded_reads(group, core.soft_state.lead))
        ask(group, &core, now_ns);
}

/* ---- answers ------------------------------------------------------------- */

/* A quorum followed this leader at some time after the request: it does not elect another one
 * before its election timeout, less the tick in which it counts from, is over on its clocks. Half
 * of that on ours. */
static void renew_lease(struct rr_group *group, const struct read_request *request)
{
    struct reads *reads = &group->reads;
    struct rr_basic_status core = core_of(group);
    if (core.soft_state.raft_state == RR_STATE_LEADER && core.hard_state.term == request->term)
        reads->lease_until_ns =
            request->sent_ns + (group->options.election_ticks - 1) * group->tick_ns / 2;
}

void group_take_read_states(struct rr_group *group, const struct rr_read_state *states,
                            uint32_t count)
{
    struct reads *reads = &group->reads;
    for (uint32_t k = 0; k < count; k++) {
        struct read_context context;
        if (states[k].request_ctx_size != sizeof(context))
            continue;
        memcpy(&context, states[k].request_ctx, sizeof(context));
        if (context.nonce != group->engine->lineage.nonce)
            continue;
        uint32_t i = reads->answered_count;
        while (i < reads->request_count && request_at(reads, i)->id != context.id)
            i++;
        if (i == reads->request_count)
            continue; /* given up since */
        answer(reads, i, states[k].index);
        renew_lease(group, request_at(reads, i));
    }
}

void group_finish_reads(struct rr_group *group)
{
    struct reads *reads = &group->reads;
    while (reads->answered_count > 0 && request_at(reads, 0)->index <= group->applied) {
        const struct read_request *request = request_at(reads, 0);
        for (; reads->first < request->next; reads->first++)
            complete(group, read_at(reads, reads->first), RR_OK, request->index);
        if (request->sent_ns > atomic_load_explicit(&reads->fresh_ns, memory_order_relaxed)) {
            atomic_store_explicit(&reads->fresh_applied, group->applied, memory_order_relaxed);
            atomic_store_explicit(&reads->fresh_ns, request->sent_ns, memory_order_release);
        }
        reads->request_head++;
        reads->request_count--;
        reads->answered_count--;
    }
    if (reads->first == reads->next)
        reads->earliest_ns = UINT64_MAX;
}

/* ---- failing ------------------------------------------------------------- */

/* Reads from this number on fail. */
static void fail_from(struct rr_group *group, uint64_t number, int status)
{
    struct reads *reads = &group->reads;
    number = rr_max_u64(number, reads->first); /* those of an answered request may have expired */
    for (uint64_t k = number; k < reads->next; k++)
        complete(group, read_at(reads, k), status, 0);
    reads->next = number;
    reads->asked = rr_min_u64(reads->asked, number);
    RR_ASSERT(reads->first <= reads->asked && reads->asked <= reads->next);
}

void group_fail_unanswered_reads(struct rr_group *group)
{
    struct reads *reads = &group->reads;
    uint32_t answered = reads->answered_count;
    reads->request_count = answered;
    reads->lease_until_ns = 0;
    fail_from(group, answered ? request_at(reads, answered - 1)->next : reads->first,
              RR_E_NOT_LEADER);
}

void group_fail_reads(struct rr_group *group, int status)
{
    struct reads *reads = &group->reads;
    reads->request_count = reads->answered_count = 0;
    do {
        fail_from(group, reads->first, status);
        take_in(group, group->engine->now_ns);
    } while (reads->first != reads->next);
    apply_flush(&group->apply);
}

void reads_void_lease(struct reads *reads, uint64_t term)
{
    reads->voided_term = term;
}

/* ---- the doors ----------------------------------------------------------- */

int rr_read_index(struct rr_group *group, uint64_t tag, uint32_t timeout_ms)
{
    struct rr_proposal item = {.data = &timeout_ms, .size = sizeof(timeout_ms), .tag = tag};
    bool wake;
    int rc = proposal_queue_push(&group->reads.queue, &item, 1, &wake);
    if (wake)
        engine_call(group->engine, group);
    return rc < 0 ? rc : 0;
}

int rr_read_stale(struct rr_group *group, uint32_t staleness_max_ms, uint64_t *applied)
{
    struct reads *reads = &group->reads;
    uint64_t fresh_ns = atomic_load_explicit(&reads->fresh_ns, memory_order_acquire);
    if (fresh_ns == READS_CLOSED)
        return RR_E_CLOSED;
    if (!atomic_load_explicit(&reads->is_stale_asked, memory_order_relaxed))
        atomic_store_explicit(&reads->is_stale_asked, true, memory_order_relaxed);
    if (fresh_ns == 0 || io_now(group->engine->io) - fresh_ns > staleness_max_ms * MS)
        return RR_E_STALE;
    if (applied)
        *applied = atomic_load_explicit(&reads->fresh_applied, memory_order_relaxed);
    return 0;
}
