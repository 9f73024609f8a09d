/* SPDX-License-Identifier: Apache-2.0
 *
 * The books of the clients. A proposal of at least 8 bytes carries its tag, so that what is applied
 * can be found in the books.
 */
#include "tests/sim/workload.h"

#include "tests/check/linearize.h"
#include "tests/sim/chain_machine.h"
#include "tests/sim/failure.h"

#include <stdlib.h>

#define BATCH_MAX 8u
/* Of each register's history. */
#define WINDOWS_PER_KEY 2u
#define WINDOW_OPS      300u
#define WINDOW_STEPS    100000u

typedef unsigned long long ull;

void workload_init(struct workload *workload, const struct plan *plan, struct oracle *oracle,
                   const struct sim *sim)
{
    *workload = (struct workload){
        .plan = plan, .oracle = oracle, .sim = sim, .chance = stream_make(plan->seed, 0xc11e)};
    workload->bytes = malloc((size_t)BATCH_MAX * (plan->engine.entry_bytes_max + 1));
    RR_ASSERT(workload->bytes);
}

void workload_fini(struct workload *workload)
{
    free(workload->proposals);
    free(workload->bytes);
    for (uint32_t slot = 0; slot < PLAN_GROUPS_MAX; slot++)
        history_free(&workload->histories[slot]);
}

static uint64_t new_tag(struct workload *workload)
{
    if (++workload->count >= workload->cap) {
        workload->cap = workload->cap ? 2 * workload->cap : 1024;
        workload->proposals =
            realloc(workload->proposals, workload->cap * sizeof(workload->proposals[0]));
        RR_ASSERT(workload->proposals);
    }
    return workload->count;
}

/* Small ones mostly; now and then the largest there may be, or one byte more. */
static uint32_t draw_size(struct workload *workload)
{
    struct sim_stream *s = &workload->chance;
    uint32_t limit = workload->plan->engine.entry_bytes_max;

    if (stream_chance(s, 1, 200))
        return limit + 1;
    if (stream_chance(s, 1, 100))
        return limit;
    if (stream_chance(s, 1, 20))
        return (uint32_t)stream_below(s, 9);
    return (uint32_t)stream_below(s, stream_below(s, workload->plan->size_max + 1) + 1);
}

static void fill(uint8_t *bytes, uint32_t size, uint64_t tag)
{
    uint64_t word = tag;
    for (uint32_t i = 0; i < size; i += 8) {
        memcpy(bytes + i, &word, size - i < 8 ? size - i : 8);
        word = hash_mix(word, tag);
    }
}

static uint64_t offer(struct workload *workload, const struct workload_target *target,
                      struct rr_proposal *item, uint8_t *bytes)
{
    uint64_t tag = new_tag(workload);
    uint32_t size = draw_size(workload);

    fill(bytes, size, tag);
    *item = (struct rr_proposal){bytes, size, tag};
    workload->proposals[tag] = (struct proposal){.hash = hash_bytes(0, bytes, size),
                                                 .size = size,
                                                 .source = target->source,
                                                 .incarnation = target->incarnation};
    if (size >= sizeof(tag)) {
        struct history_op op = {.key = chain_key(tag),
                                .invoked_ns = sim_now(workload->sim),
                                .value = tag,
                                .kind = HISTORY_WRITE,
                                .outcome = HISTORY_UNKNOWN};
        workload->proposals[tag].written =
            history_add(&workload->histories[target->source.slot], &op);
    }
    workload->pending++;
    return tag;
}

/* What became of it is known. */
static void conclude(struct workload *workload, const struct proposal *proposal,
                     enum history_outcome outcome)
{
    if (proposal->size < sizeof(uint64_t))
        return;
    struct history_op *op = &workload->histories[proposal->source.slot].ops[proposal->written];
    op->outcome = (uint8_t)outcome;
    op->returned_ns = sim_now(workload->sim);
}

static void refuse(struct workload *workload, uint64_t tag, int why)
{
    struct proposal *proposal = &workload->proposals[tag];
    RR_ASSERT(proposal->state == PROPOSAL_PENDING);
    if (proposal->index != 0)
        failure_report("proposal %llu was refused and is applied at %llu", (ull)tag,
                       (ull)proposal->index);
    proposal->state = PROPOSAL_REFUSED;
    conclude(workload, proposal, HISTORY_FAILED);
    workload->last_refusal = why;
    workload->pending--;
    workload->refused_count++;
}

void workload_propose(struct workload *workload, const struct workload_target *target,
                      uint32_t count)
{
    struct rr_proposal items[BATCH_MAX];
    uint32_t room = workload->plan->engine.entry_bytes_max + 1;

    RR_ASSERT(count >= 1 && count <= BATCH_MAX);
    for (uint32_t i = 0; i < count; i++)
        offer(workload, target, &items[i], workload->bytes + (size_t)i * room);
    int accepted;
    if (count == 1) {
        accepted = rr_propose(target->group, items[0].data, items[0].size, items[0].tag);
        if (accepted > 0)
            failure_report("rr_propose returned %d", accepted);
        accepted += accepted == 0; /* one, as rr_propose_batch would say */
    } else
        accepted = rr_propose_batch(target->group, items, count);
    if (accepted > (int)count)
        failure_report("rr_propose_batch took %d of %u", accepted, count);
    for (uint32_t i = accepted > 0 ? (uint32_t)accepted : 0; i < count; i++)
        refuse(workload, items[i].tag, accepted);
}

static bool is_offered_to(const struct proposal *proposal, const struct workload_target *target)
{
    struct workload_target offered = {NULL, proposal->source, proposal->incarnation};
    return workload_same_target(&offered, target);
}

static void complete_ok(struct workload *workload, const struct workload_target *target,
                        const struct rr_completion *completion, struct proposal *proposal)
{
    if (proposal->size > workload->plan->engine.entry_bytes_max)
        failure_report("a proposal of %u bytes was not refused", proposal->size);
    if (proposal->size >= 8 && proposal->index != completion->index)
        failure_report("proposal %llu is acknowledged at %llu and was applied at %llu",
                       (ull)completion->tag, (ull)completion->index, (ull)proposal->index);
    proposal->index = completion->index;
    proposal->state = PROPOSAL_DONE;
    conclude(workload, proposal, HISTORY_OK);
    workload->done_count++;
    oracle_acknowledge(workload->oracle, target->source, completion->index, completion->term,
                       completion->result);
}

void workload_complete(struct workload *workload, const struct workload_target *target,
                       const struct rr_completion *completion)
{
    if (completion->tag == 0 || completion->tag > workload->count)
        failure_report("a completion for proposal %llu, which was never made",
                       (ull)completion->tag);
    struct proposal *proposal = &workload->proposals[completion->tag];
    if (proposal->state != PROPOSAL_PENDING || !is_offered_to(proposal, target))
        failure_report("node %u completes proposal %llu again, or one that is not its own",
                       target->source.node, (ull)completion->tag);
    switch (completion->status) {
    case RR_OK:
        workload->pending--;
        complete_ok(workload, target, completion, proposal);
        break;
    case RR_E_UNKNOWN_OUTCOME:
        workload->pending--;
        workload->unknown_count++;
        proposal->state = PROPOSAL_UNKNOWN;
        break;
    case RR_E_NOT_LEADER:
    case RR_E_BUSY:
    case RR_E_CLOSED:
    case RR_E_TOO_LARGE:
    case RR_E_CANCELED:
    case RR_E_DEADLINE:
        refuse(workload, completion->tag, completion->status);
        break;
    default:
        failure_report("proposal %llu completes with %s", (ull)completion->tag,
                       rr_err_name(completion->status));
    }
}

void workload_apply(struct workload *workload, uint32_t slot, const struct rr_apply_entry *entry)
{
    uint64_t tag;

    if (entry->size < 8)
        return;
    memcpy(&tag, entry->data, 8);
    if (tag == 0 || tag > workload->count)
        failure_report("entry %llu holds bytes that nobody proposed", (ull)entry->index);
    struct proposal *proposal = &workload->proposals[tag];
    if (proposal->size != entry->size || proposal->hash != hash_bytes(0, entry->data, entry->size))
        failure_report("entry %llu holds other bytes than proposal %llu", (ull)entry->index,
                       (ull)tag);
    if (proposal->source.slot != slot)
        failure_report("entry %llu of group %u is proposal %llu, which was for group %u",
                       (ull)entry->index, slot, (ull)tag, proposal->source.slot);
    if (proposal->state == PROPOSAL_REFUSED)
        failure_report("entry %llu is proposal %llu, which was refused", (ull)entry->index,
                       (ull)tag);
    if (proposal->index != 0 && proposal->index != entry->index)
        failure_report("proposal %llu is applied at %llu and at %llu", (ull)tag,
                       (ull)proposal->index, (ull)entry->index);
    proposal->index = entry->index;
}

void workload_forget(struct workload *workload, const struct workload_target *target)
{
    for (uint64_t tag = workload->count; tag > 0 && workload->pending > 0; tag--) {
        struct proposal *proposal = &workload->proposals[tag];
        if (proposal->state != PROPOSAL_PENDING || !is_offered_to(proposal, target))
            continue;
        proposal->state = PROPOSAL_UNKNOWN;
        workload->pending--;
        workload->unknown_count++;
    }
}

/* ---- judging ------------------------------------------------------------- */

/* One window of one register's history, of about WINDOW_OPS calls. */
static void judge_window(struct workload *workload, uint32_t slot, const struct history_op *ops,
                         size_t count)
{
    struct linearize_options options = {.is_initial_unknown = true, .steps_max = WINDOW_STEPS};
    size_t first = stream_below(&workload->chance, count);
    size_t last = first + WINDOW_OPS < count ? first + WINDOW_OPS : count - 1;
    struct history_op *window = malloc(count * sizeof(*window));

    RR_ASSERT(window);
    size_t kept =
        linearize_window(ops, count, ops[first].invoked_ns, ops[last].invoked_ns + 1, window);
    struct check_verdict verdict = linearize(window, kept, &options);
    free(window);
    workload->window_count += verdict.result == CHECK_HOLDS;
    if (verdict.result == CHECK_BROKEN)
        failure_report("group %u: %s", slot, verdict.why);
}

void workload_judge(struct workload *workload)
{
    for (uint32_t slot = 0; slot < workload->plan->group_count; slot++) {
        struct history *history = &workload->histories[slot];
        history_sort(history);
        for (size_t first = 0, end; first < history->count; first = end) {
            end = history_key_end(history, first);
            for (uint32_t i = 0; i < WINDOWS_PER_KEY; i++)
                judge_window(workload, slot, history->ops + first, end - first);
        }
    }
}
