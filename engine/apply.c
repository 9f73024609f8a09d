/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/apply.h"

#include "proto/base.h"

#include <stdlib.h>
#include <string.h>

void apply_init(struct apply *apply, const struct apply_options *options, uint64_t applied)
{
    memset(apply, 0, sizeof(*apply));
    apply->options = *options;
    apply->submitted_index = applied;
}

void apply_fini(struct apply *apply)
{
    while (apply->done_first) { /* came back after the loop's last look: nobody is told any more */
        struct apply_batch *batch = apply->done_first;
        apply->done_first = batch->next;
        apply->running--;
        apply_put_back(apply, batch);
    }
    RR_ASSERT(apply_is_idle(apply));
    while (apply->pool) {
        struct apply_batch *batch = apply->pool;
        apply->pool = batch->next;
        free(batch);
    }
}

/* ---- the worker's side --------------------------------------------------- */

/* The user's entries of the batch without their envelopes; how many there are, or an error. */
static int unwrap(struct apply *apply, const struct apply_batch *batch)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < batch->entry_count; i++) {
        const struct rr_entry *entry = &batch->entries[i];
        if (entry->type != RR_ENTRY_NORMAL || entry->size == 0)
            continue;
        if (entry->data[0] != APPLY_ENVELOPE_USER)
            return RR_E_VERSION;
        apply->user_entries[count] = (struct rr_apply_entry){.data = entry->data + 1,
                                                             .size = entry->size - 1,
                                                             .index = entry->index,
                                                             .term = entry->term};
        apply->positions[count++] = i;
    }
    return (int)count;
}

static void add_completion(struct apply_batch *batch, uint32_t i, int32_t status, uint64_t result)
{
    batch->completions[batch->completion_count++] =
        (struct rr_completion){.tag = batch->tags[i],
                               .status = status,
                               .index = batch->entries[i].index,
                               .term = batch->entries[i].term,
                               .result = result};
}

/* Every proposal of a batch that was not applied still gets its one outcome. */
static RR_COLD void fail_batch(struct apply_batch *batch)
{
    batch->completion_count = 0;
    for (uint32_t i = 0; i < batch->entry_count; i++)
        if (batch->outcomes[i] != OUTCOME_NONE)
            add_completion(batch, i, RR_E_UNKNOWN_OUTCOME, 0);
}

static void apply_to_state_machine(struct apply *apply, struct apply_batch *batch)
{
    const struct rr_state_machine *machine = &apply->options.state_machine;
    int count = unwrap(apply, batch);
    if (RR_UNLIKELY(count < 0)) {
        apply->failure = count;
        fail_batch(batch);
        return;
    }
    if (count &&
        machine->apply(machine->ctx, apply->user_entries, (uint32_t)count, apply->results)) {
        apply->failure = RR_E_STATE_MACHINE;
        fail_batch(batch);
        return;
    }
    if (RR_UNLIKELY(batch->takes_hash))
        batch->hash = machine->hash(machine->ctx);
    for (uint32_t k = 0; k < (uint32_t)count; k++) {
        uint32_t i = apply->positions[k];
        if (batch->outcomes[i] == OUTCOME_SAME)
            add_completion(batch, i, RR_OK, apply->results[k]);
        else if (RR_UNLIKELY(batch->outcomes[i] == OUTCOME_REPLACED))
            add_completion(batch, i, RR_E_UNKNOWN_OUTCOME, 0);
    }
}

static void batch_run(struct io_job *job)
{
    struct apply_batch *batch = RR_CONTAINER_OF(job, struct apply_batch, job);
    struct apply *apply = batch->apply;
    if (batch->entry_count && !apply->failure)
        apply_to_state_machine(apply, batch);
    else if (batch->entry_count)
        fail_batch(batch);
    batch->failure = batch->entry_count ? apply->failure : 0;
    if (batch->completion_count)
        apply->options.on_complete(apply->options.ctx, batch->completions, batch->completion_count);
}

/* ---- the loop's side ----------------------------------------------------- */

static void batch_done(struct io_job *job)
{
    struct apply_batch *batch = RR_CONTAINER_OF(job, struct apply_batch, job);
    struct apply *apply = batch->apply;
    batch->next = NULL;
    if (apply->done_last)
        apply->done_last->next = batch;
    else
        apply->done_first = batch;
    apply->done_last = batch;
    apply->options.came_back(apply);
}

static void start_job(struct apply *apply, struct io_job *job)
{
    if (!apply->options.is_inline) {
        apply->options.io->ops->worker_post(apply->options.worker, job);
        return;
    }
    job->run(job);
    job->done(job);
}

/* Those that wait go to the worker, while it has fewer than `count`. */
static void start_waiting(struct apply *apply, uint32_t count)
{
    while (apply->waiting_first && apply->out_count < count) {
        struct apply_batch *batch = apply->waiting_first;
        apply->waiting_first = batch->next;
        apply->out_count++;
        start_job(apply, &batch->job);
    }
}

static void hand_over(struct apply *apply, struct apply_batch *batch)
{
    batch->next = NULL;
    if (apply->waiting_first)
        apply->waiting_last->next = batch;
    else
        apply->waiting_first = batch;
    apply->waiting_last = batch;
    apply->running++;
    start_waiting(apply, APPLY_BATCHES_OUT);
}

void apply_start_all(struct apply *apply)
{
    start_waiting(apply, UINT32_MAX);
}

void apply_post(struct apply *apply, struct io_job *job)
{
    apply_start_all(apply); /* they come before it */
    apply->running++;
    start_job(apply, job);
}

void apply_posted_done(struct apply *apply)
{
    RR_ASSERT(apply->running > 0);
    apply->running--;
    apply->options.came_back(apply);
}

static struct apply_batch *batch_new(struct apply *apply)
{
    struct apply_batch *batch = apply->pool;
    if (RR_LIKELY(batch != NULL)) {
        apply->pool = batch->next;
        apply->pool_count--;
    } else {
        batch = malloc(sizeof(*batch));
        if (!batch)
            return NULL;
        apply->batch_allocations++;
    }
    batch->job = (struct io_job){.run = batch_run, .done = batch_done};
    batch->apply = apply;
    batch->entry_count = batch->block_count = batch->completion_count = 0;
    batch->takes_hash = false;
    return batch;
}

static void batch_add(struct apply_batch *batch, struct outcomes *outcomes,
                      const struct rr_entry *entry)
{
    uint32_t i = batch->entry_count++;
    batch->entries[i] = *entry;
    batch->outcomes[i] =
        (uint8_t)outcomes_take(outcomes, entry->index, entry->term, &batch->tags[i]);
    if (entry->block &&
        (batch->block_count == 0 || batch->blocks[batch->block_count - 1] != entry->block)) {
        rr_block_get(entry->block, 1);
        batch->blocks[batch->block_count++] = entry->block;
    }
}

/* How many of the entries from `index` on go into a batch with room for `room`: a hash is due
 * behind the last. */
static uint32_t entries_together(const struct apply *apply, uint64_t index, uint32_t count,
                                 uint32_t room)
{
    uint64_t every = apply->options.hash_entries;
    uint32_t most = count < room ? count : room;
    if (RR_LIKELY(every == 0))
        return most;
    uint64_t left = every - (index - 1) % every;
    return left < most ? (uint32_t)left : most;
}

/* The batch that more entries may be added to, or NULL. */
static struct apply_batch *open_batch(const struct apply *apply)
{
    struct apply_batch *batch = apply->waiting_first ? apply->waiting_last : NULL;
    bool is_open = batch && batch->entry_count > 0 && batch->entry_count < APPLY_BATCH_ENTRIES &&
                   !batch->takes_hash;
    return is_open ? batch : NULL;
}

int apply_entries(struct apply *apply, struct outcomes *outcomes, const struct rr_entry *entries,
                  uint32_t count)
{
    apply_flush(apply);
    while (count) {
        struct apply_batch *added_to = open_batch(apply);
        struct apply_batch *batch = added_to ? added_to : batch_new(apply);
        if (!batch)
            return RR_E_NO_MEMORY;
        uint32_t n = entries_together(apply, entries->index, count,
                                      APPLY_BATCH_ENTRIES - batch->entry_count);
        for (uint32_t i = 0; i < n; i++) {
            RR_ASSERT(entries[i].index == apply->submitted_index + 1);
            apply->submitted_index++;
            batch_add(batch, outcomes, &entries[i]);
        }
        entries += n;
        count -= n;
        uint64_t every = apply->options.hash_entries;
        batch->takes_hash = every && apply->submitted_index % every == 0;
        if (!added_to)
            hand_over(apply, batch);
    }
    return 0;
}

int apply_complete(struct apply *apply, const struct rr_completion *completion)
{
    if (!apply->lone && !(apply->lone = batch_new(apply)))
        return RR_E_NO_MEMORY;
    struct apply_batch *batch = apply->lone;
    batch->completions[batch->completion_count++] = *completion;
    if (batch->completion_count == APPLY_BATCH_ENTRIES)
        apply_flush(apply);
    return 0;
}

void apply_flush(struct apply *apply)
{
    struct apply_batch *batch = apply->lone;
    if (!batch)
        return;
    apply->lone = NULL;
    hand_over(apply, batch);
}

struct apply_batch *apply_take_done(struct apply *apply)
{
    struct apply_batch *batch = apply->done_first;
    if (!batch)
        return NULL;
    apply->done_first = batch->next;
    if (!apply->done_first)
        apply->done_last = NULL;
    apply->completed_count += batch->completion_count;
    apply->out_count--;
    start_waiting(apply, APPLY_BATCHES_OUT);
    apply_posted_done(apply);
    return batch;
}

void apply_put_back(struct apply *apply, struct apply_batch *batch)
{
    for (uint32_t i = 0; i < batch->block_count; i++)
        rr_block_put(batch->blocks[i], 1);
    if (apply->pool_count == APPLY_BATCHES_KEPT) {
        free(batch);
        return;
    }
    apply->pool_count++;
    batch->next = apply->pool;
    apply->pool = batch;
}
