/* SPDX-License-Identifier: Apache-2.0
 *
 * The tags of proposals that were appended and have no outcome yet, by index and term: what makes
 * every outcome come exactly once. Loop thread only. Hot: allocates nothing.
 *
 * A tag enters when its entry is appended, and leaves by one of two doors: outcomes_take, when the
 * entry at its index is handed to the apply stage (the term says whether it is still the same
 * entry), or outcomes_fail_after, when leadership is lost before it was committed.
 */
#ifndef RR_ENGINE_OUTCOMES_H
#define RR_ENGINE_OUTCOMES_H

#include <stdbool.h>
#include <stdint.h>

/* Consecutive indexes appended in one term. A leader adds to its newest run; there is an older one
 * only while entries of a former leadership, committed before it ended, wait to be applied. */
struct outcome_run {
    uint64_t first;
    uint64_t next;
    uint64_t term;
};
#define OUTCOME_RUNS_MAX 64u

struct outcomes {
    uint64_t *tags;    /* ring by index */
    uint32_t cap;      /* power of two */
    uint32_t count;    /* tags held, without those canceled */
    uint64_t *canceled; /* a bit for each place of the ring */
    uint32_t canceled_count;
    uint32_t run_head; /* of the ring of runs */
    uint32_t run_count;
    struct outcome_run runs[OUTCOME_RUNS_MAX];
};

int outcomes_init(struct outcomes *outcomes, uint32_t cap);
void outcomes_fini(struct outcomes *outcomes);

/* How many more tags may enter from `index` on. */
uint32_t outcomes_room(const struct outcomes *outcomes, uint64_t index);
void outcomes_put(struct outcomes *outcomes, uint64_t index, uint64_t term, const uint64_t *tags,
                  uint32_t count);

enum outcome_kind {
    OUTCOME_NONE,    /* nobody waits for this index */
    OUTCOME_SAME,    /* the entry that was proposed */
    OUTCOME_REPLACED /* another leader's entry took its place */
};
/* The tag at `index`, which leaves. Indexes are asked for in ascending order, without gaps. */
enum outcome_kind outcomes_take(struct outcomes *outcomes, uint64_t index, uint64_t term,
                                uint64_t *tag);

/* The oldest tag that is `tag` is not waited for any more: its entry will leave like one of
 * OUTCOME_NONE. False: there is none. */
bool outcomes_cancel(struct outcomes *outcomes, uint64_t tag, uint64_t *at, uint64_t *term);

/* The newest tag above `index`, which leaves; false: there is none. */
bool outcomes_fail_after(struct outcomes *outcomes, uint64_t index, uint64_t *tag, uint64_t *at,
                         uint64_t *term);
/* The oldest tag at or below `index`, which leaves; false: there is none. */
bool outcomes_fail_up_to(struct outcomes *outcomes, uint64_t index, uint64_t *tag, uint64_t *at,
                         uint64_t *term);

#endif
