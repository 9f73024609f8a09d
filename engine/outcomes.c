/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/outcomes.h"

#include "proto/base.h"

#include <ringraft/error.h>
#include <stdlib.h>
#include <string.h>

int outcomes_init(struct outcomes *outcomes, uint32_t cap)
{
    memset(outcomes, 0, sizeof(*outcomes));
    outcomes->cap = 1;
    while (outcomes->cap < cap)
        outcomes->cap *= 2;
    outcomes->tags = malloc(outcomes->cap * sizeof(*outcomes->tags));
    outcomes->canceled = calloc(outcomes->cap / 64 + 1, sizeof(*outcomes->canceled));
    return outcomes->tags && outcomes->canceled ? 0 : RR_E_NO_MEMORY;
}

void outcomes_fini(struct outcomes *outcomes)
{
    free(outcomes->tags);
    free(outcomes->canceled);
    outcomes->tags = outcomes->canceled = NULL;
}

static struct outcome_run *run_at(struct outcomes *outcomes, uint32_t i)
{
    return &outcomes->runs[(outcomes->run_head + i) % OUTCOME_RUNS_MAX];
}

static uint64_t *tag_at(const struct outcomes *outcomes, uint64_t index)
{
    return &outcomes->tags[index & (outcomes->cap - 1)];
}

static uint64_t *canceled_word(const struct outcomes *outcomes, uint64_t index, uint64_t *bit)
{
    uint32_t place = (uint32_t)(index & (outcomes->cap - 1));
    *bit = 1ull << (place % 64);
    return &outcomes->canceled[place / 64];
}

static bool is_canceled(const struct outcomes *outcomes, uint64_t index)
{
    uint64_t bit;
    return (*canceled_word(outcomes, index, &bit) & bit) != 0;
}

/* The tag at `index` leaves the ring. False: it was canceled before. */
static bool leave(struct outcomes *outcomes, uint64_t index)
{
    if (RR_UNLIKELY(outcomes->canceled_count > 0)) {
        uint64_t bit, *word = canceled_word(outcomes, index, &bit);
        if (*word & bit) {
            *word &= ~bit;
            outcomes->canceled_count--;
            return false;
        }
    }
    RR_ASSERT(outcomes->count > 0);
    outcomes->count--;
    return true;
}

static void drop_first_run(struct outcomes *outcomes)
{
    outcomes->run_head = (outcomes->run_head + 1) % OUTCOME_RUNS_MAX;
    outcomes->run_count--;
}

uint32_t outcomes_room(const struct outcomes *outcomes, uint64_t index)
{
    /* A new run may be needed; the ring of tags spans from the oldest index to the newest. */
    if (outcomes->run_count == OUTCOME_RUNS_MAX)
        return 0;
    if (outcomes->run_count == 0)
        return outcomes->cap;
    uint64_t span = index - outcomes->runs[outcomes->run_head].first;
    return span >= outcomes->cap ? 0 : outcomes->cap - (uint32_t)span;
}

void outcomes_put(struct outcomes *outcomes, uint64_t index, uint64_t term, const uint64_t *tags,
                  uint32_t count)
{
    RR_ASSERT(count <= outcomes_room(outcomes, index));
    struct outcome_run *last =
        outcomes->run_count ? run_at(outcomes, outcomes->run_count - 1) : NULL;
    RR_ASSERT(!last || (index >= last->next && term >= last->term));
    if (!last || last->next != index || last->term != term) {
        last = run_at(outcomes, outcomes->run_count++);
        *last = (struct outcome_run){.first = index, .next = index, .term = term};
    }
    for (uint32_t i = 0; i < count; i++)
        *tag_at(outcomes, index + i) = tags[i];
    last->next += count;
    outcomes->count += count;
}

enum outcome_kind outcomes_take(struct outcomes *outcomes, uint64_t index, uint64_t term,
                                uint64_t *tag)
{
    if (outcomes->run_count == 0)
        return OUTCOME_NONE;
    struct outcome_run *run = run_at(outcomes, 0);
    if (index < run->first)
        return OUTCOME_NONE;
    RR_ASSERT(index == run->first);
    enum outcome_kind kind = run->term == term ? OUTCOME_SAME : OUTCOME_REPLACED;
    *tag = *tag_at(outcomes, index);
    if (++run->first == run->next)
        drop_first_run(outcomes);
    return RR_LIKELY(leave(outcomes, index)) ? kind : OUTCOME_NONE;
}

bool outcomes_cancel(struct outcomes *outcomes, uint64_t tag, uint64_t *at, uint64_t *term)
{
    for (uint32_t i = 0; i < outcomes->run_count; i++) {
        const struct outcome_run *run = run_at(outcomes, i);
        for (uint64_t index = run->first; index < run->next; index++) {
            if (*tag_at(outcomes, index) != tag || is_canceled(outcomes, index))
                continue;
            uint64_t bit;
            *canceled_word(outcomes, index, &bit) |= bit;
            outcomes->canceled_count++;
            outcomes->count--;
            *at = index;
            *term = run->term;
            return true;
        }
    }
    return false;
}

bool outcomes_fail_after(struct outcomes *outcomes, uint64_t index, uint64_t *tag, uint64_t *at,
                         uint64_t *term)
{
    while (outcomes->run_count > 0) {
        struct outcome_run *run = run_at(outcomes, outcomes->run_count - 1);
        RR_ASSERT(run->next > run->first);
        if (run->next - 1 <= index)
            return false;
        *at = --run->next;
        *term = run->term;
        *tag = *tag_at(outcomes, *at);
        if (run->next == run->first)
            outcomes->run_count--;
        if (RR_LIKELY(leave(outcomes, *at)))
            return true;
    }
    return false;
}

bool outcomes_fail_up_to(struct outcomes *outcomes, uint64_t index, uint64_t *tag, uint64_t *at,
                         uint64_t *term)
{
    while (outcomes->run_count > 0 && run_at(outcomes, 0)->first <= index) {
        struct outcome_run *run = run_at(outcomes, 0);
        *at = run->first++;
        *term = run->term;
        *tag = *tag_at(outcomes, *at);
        if (run->first == run->next)
            drop_first_run(outcomes);
        if (RR_LIKELY(leave(outcomes, *at)))
            return true;
    }
    return false;
}
