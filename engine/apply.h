/* SPDX-License-Identifier: Apache-2.0
 *
 * The apply stage: committed entries to the state machine, outcomes to the application, in order,
 * never skipped. Hot: batches come from a pool, nothing is allocated in steady state.
 *
 *      loop                                            worker (inline groups: the loop itself)
 *      apply_entries: descriptors copied, one           apply(entries[n]) →
 * on_complete(completions[n]) reference per block, tags looked up    ──job──▶ apply_take_done: conf
 * changes, answer to  ◀─done── the core, references dropped
 *
 * Everything for the worker goes through one first-in-first-out: batches, lone completions,
 * snapshots, restores. The worker has a few batches at a time; what is committed meanwhile is added
 * to those that wait, so that a slow state machine gets large batches, and few of them exist,
 * however small the entries. How much waits is bounded by the core, which withholds committed
 * entries while max_committed_bytes_per_ready of them are unanswered, and by the outcomes' ring.
 * Failure path: an error of the state machine, or an envelope of an unknown version, stops the
 * stage: the rest of the batch and all later ones are not applied, their proposals get
 * RR_E_UNKNOWN_OUTCOME, and the group stops.
 */
#ifndef RR_ENGINE_APPLY_H
#define RR_ENGINE_APPLY_H

#include "engine/outcomes.h"
#include "io/io.h"

#include <ringraft/raft.h>
#include <ringraft/ringraft.h>

#define APPLY_BATCH_ENTRIES 1024u
#define APPLY_BATCHES_OUT   8u /* that the worker has at a time */
/* In the pool: those, and what a megabyte of entries of 128 bytes takes besides. */
#define APPLY_BATCHES_KEPT (APPLY_BATCHES_OUT + 8u)

/* The first byte of every non-empty normal entry. */
#define APPLY_ENVELOPE_USER 0u

struct apply;

/* Entries to apply, or (entry_count 0) completions that only have to be delivered. */
struct apply_batch {
    struct io_job job;
    struct apply *apply;
    struct apply_batch *next; /* pool, or list of those that wait or are done */
    uint32_t entry_count;
    uint32_t block_count;
    uint32_t completion_count;
    int failure;     /* set when it was not applied */
    bool takes_hash; /* of the state behind the last entry */
    uint64_t hash;
    struct rr_entry entries[APPLY_BATCH_ENTRIES];
    struct rr_block *blocks[APPLY_BATCH_ENTRIES];
    uint64_t tags[APPLY_BATCH_ENTRIES];
    uint8_t outcomes[APPLY_BATCH_ENTRIES]; /* enum outcome_kind */
    struct rr_completion completions[APPLY_BATCH_ENTRIES];
};

struct apply_options {
    struct io *io;
    struct io_worker *worker;
    bool is_inline;
    struct rr_state_machine state_machine;
    uint64_t hash_entries; /* a hash of the state is taken at the multiples of it; 0: never */
    void (*on_complete)(void *ctx, const struct rr_completion *completions, uint32_t count);
    void *ctx;
    void (*came_back)(struct apply *apply); /* a batch or job, on the loop; may only record */
};

struct apply {
    struct apply_options options;
    /* The loop's. */
    struct apply_batch *pool;
    uint32_t pool_count;
    struct apply_batch *done_first, *done_last;
    struct apply_batch *waiting_first, *waiting_last; /* not yet with the worker */
    struct apply_batch *lone;                         /* completions being collected */
    uint32_t running;         /* batches and other jobs handed over and not yet taken back … */
    uint32_t out_count;       /* … of them batches that the worker has */
    uint64_t submitted_index; /* the last entry handed over */
    uint64_t completed_count; /* completions delivered, as of the last done batch */
    uint64_t batch_allocations;
    /* The worker's. */
    int failure; /* why nothing more is applied */
    struct rr_apply_entry user_entries[APPLY_BATCH_ENTRIES];
    uint64_t results[APPLY_BATCH_ENTRIES];
    uint32_t positions[APPLY_BATCH_ENTRIES]; /* of user_entries in the batch */
};

void apply_init(struct apply *apply, const struct apply_options *options, uint64_t applied);
/* Nothing is running; what came back and was not taken is dropped. */
void apply_fini(struct apply *apply);

/* Hands entries over (consecutive, behind submitted_index), with the tags that `outcomes` holds for
 * them. RR_E_NO_MEMORY. */
int apply_entries(struct apply *apply, struct outcomes *outcomes, const struct rr_entry *entries,
                  uint32_t count);
/* Delivers an outcome that is not RR_OK, after everything handed over before. Collected until
 * apply_flush. */
int apply_complete(struct apply *apply, const struct rr_completion *completion);
/* Hands collected completions over. */
void apply_flush(struct apply *apply);
/* What waits goes to the worker now, all of it: because something comes behind it, or the worker is
 * about to end. */
void apply_start_all(struct apply *apply);
/* Another job for the stage (snapshot, restore), in its order. */
void apply_post(struct apply *apply, struct io_job *job);
/* The job's done must call this. */
void apply_posted_done(struct apply *apply);

/* The oldest batch that came back, or NULL; apply_put_back drops its references. */
struct apply_batch *apply_take_done(struct apply *apply);
void apply_put_back(struct apply *apply, struct apply_batch *batch);
static inline bool apply_is_idle(const struct apply *apply)
{
    return apply->running == 0 && !apply->lone;
}

#endif
