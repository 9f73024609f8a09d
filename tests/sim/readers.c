/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/readers.h"

#include "tests/sim/failure.h"

#define MS 1000000ull

typedef unsigned long long ull;

void readers_init(struct readers *readers, struct workload *workload, uint32_t slot)
{
    *readers = (struct readers){.oracle = &workload->oracle->groups[slot],
                                .sim = workload->sim,
                                .calls = &workload->histories[slot],
                                .takes_snapshots = workload->plan->snapshots_on_demand,
                                .chance = stream_make(workload->plan->seed + slot, 0x4ead)};
}

static uint64_t floor_now(const struct readers *readers)
{
    return rr_max_u64(readers->oracle->acknowledged_max, readers->seen);
}

/* The floor as it was at this time; 0 if that is not remembered any more. */
static uint64_t floor_at(const struct readers *readers, uint64_t time_ns)
{
    for (uint64_t i = readers->history_count; i > 0 && readers->history_count - i < READERS_HISTORY;
         i--) {
        const struct floor_sample *sample = &readers->history[(i - 1) % READERS_HISTORY];
        if (sample->time_ns <= time_ns)
            return sample->floor;
    }
    return 0;
}

static void ask_stale(struct readers *readers, const struct workload_target *target,
                      uint64_t now_ns, uint64_t state)
{
    uint32_t bound_ms = (uint32_t)stream_between(&readers->chance, 1, 2000);
    uint64_t bound_ns = bound_ms * MS * 3 / 2; /* the node's clock may be slow */
    uint64_t applied;

    if (rr_read_stale(target->group, bound_ms, &applied) != 0)
        return;
    readers->stale_count++;
    uint64_t floor = now_ns > bound_ns ? floor_at(readers, now_ns - bound_ns) : 0;
    if (applied < floor || state < floor)
        failure_report("a read of node %u, at most %u ms old, is promised %llu, its state is "
                       "%llu, and %llu had been acknowledged",
                       target->source.node, bound_ms, (ull)applied, (ull)state, (ull)floor);
}

static struct reading *find(struct readers *readers, uint64_t tag)
{
    for (uint32_t i = 0; i < READERS_PENDING_MAX; i++)
        if (readers->pending[i].tag == tag)
            return &readers->pending[i];
    return NULL;
}

static void ask_snapshot(struct readers *readers, struct reading *reading,
                         const struct workload_target *target, uint64_t state)
{
    uint64_t tag = READERS_TAG | ++readers->last_tag;
    int rc = rr_snapshot(target->group, tag);

    if (rc != 0 && rc != RR_E_CLOSED)
        failure_report("rr_snapshot returned %d", rc);
    if (rc != 0)
        return;
    *reading = (struct reading){.tag = tag, .floor = state, .target = *target, .is_snapshot = true};
    readers->pending_count++;
}

static void complete_snapshot(struct readers *readers, const struct reading *reading,
                              const struct rr_completion *completion)
{
    int status = completion->status;
    if (status != RR_OK && status != RR_E_CLOSED && status != RR_E_STATE_MACHINE &&
        status != RR_E_NO_SPACE && status != RR_E_IO && status != RR_E_POISONED)
        failure_report("a snapshot completes with %s", rr_err_name(status));
    if (status == RR_OK && completion->index < reading->floor)
        failure_report("a snapshot of node %u is of index %llu; when it was asked for %llu had "
                       "been applied",
                       reading->target.source.node, (ull)completion->index, (ull)reading->floor);
    readers->snapshot_count += status == RR_OK;
}

void readers_ask(struct readers *readers, const struct workload_target *target, uint64_t now_ns,
                 uint64_t state)
{
    readers->history[readers->history_count++ % READERS_HISTORY] =
        (struct floor_sample){now_ns, floor_now(readers)};
    if (stream_chance(&readers->chance, 1, 4)) {
        ask_stale(readers, target, now_ns, state);
        return;
    }
    struct reading *reading = find(readers, 0);
    if (!reading)
        return;
    /* Who waits to be joined has nothing to take one of, and waits for that. */
    if (readers->takes_snapshots && state > 0 && stream_chance(&readers->chance, 1, 64)) {
        ask_snapshot(readers, reading, target, state);
        return;
    }
    uint64_t tag = READERS_TAG | ++readers->last_tag;
    *reading = (struct reading){.tag = tag,
                                .floor = floor_now(readers),
                                .target = *target,
                                .key = (uint32_t)stream_below(&readers->chance, CHAIN_REGISTERS),
                                .invoked_ns = now_ns};
    readers->pending_count++;
    int rc = rr_read_index(target->group, tag, (uint32_t)stream_between(&readers->chance, 1, 3000));
    if (rc == 0)
        return;
    if (rc != RR_E_BUSY && rc != RR_E_CLOSED)
        failure_report("rr_read_index returned %d", rc);
    reading->tag = 0;
    readers->pending_count--;
}

void readers_complete(struct readers *readers, const struct workload_target *target,
                      const struct rr_completion *completion, const struct chain_machine *machine)
{
    struct reading *reading = find(readers, completion->tag);
    uint64_t state = machine->index;

    if (!reading || !workload_same_target(&reading->target, target) ||
        completion->kind != (reading->is_snapshot ? RR_COMPLETION_SNAPSHOT : RR_COMPLETION_READ))
        failure_report("node %u completes a read again, or one that is not its own",
                       target->source.node);
    reading->tag = 0;
    readers->pending_count--;
    if (reading->is_snapshot) {
        complete_snapshot(readers, reading, completion);
        return;
    }
    switch (completion->status) {
    case RR_OK:
        readers->done_count++;
        if (state < reading->floor || completion->index < reading->floor)
            failure_report("a read of node %u has index %llu and sees %llu; when it was asked "
                           "%llu had been acknowledged",
                           target->source.node, (ull)completion->index, (ull)state,
                           (ull)reading->floor);
        readers->seen = rr_max_u64(readers->seen, state);
        history_add(readers->calls, &(struct history_op){.key = reading->key,
                                                         .invoked_ns = reading->invoked_ns,
                                                         .returned_ns = sim_now(readers->sim),
                                                         .value = machine->registers[reading->key],
                                                         .kind = HISTORY_READ});
        break;
    case RR_E_NOT_LEADER:
    case RR_E_DEADLINE:
    case RR_E_CLOSED:
        readers->failed_count++;
        break;
    default:
        failure_report("a read completes with %s", rr_err_name(completion->status));
    }
}

void readers_forget(struct readers *readers, const struct workload_target *target)
{
    for (uint32_t i = 0; i < READERS_PENDING_MAX; i++) {
        struct reading *reading = &readers->pending[i];
        if (reading->tag == 0 || !workload_same_target(&reading->target, target))
            continue;
        reading->tag = 0;
        readers->pending_count--;
    }
}
