/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/property.h"

#include "proto/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static jmp_buf broken;

static void leave(const char *file, int line, const char *expression)
{
    (void)file;
    (void)line;
    (void)expression;
    longjmp(broken, 1);
}

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15ull); /* splitmix64 */
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

uint64_t draw(struct draws *draws, uint64_t bound)
{
    if (draws->at == PROPERTY_DRAWS_MAX)
        return 0;
    if (draws->at == draws->count) {
        draws->numbers[draws->count] = draws->is_replay ? 0 : next_random(&draws->random) % bound;
        draws->count++;
    }
    uint64_t number = draws->numbers[draws->at++];
    return number < bound ? number : bound - 1;
}

void property_say(const struct draws *draws, const char *format, ...)
{
    if (!draws->is_loud)
        return;
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
}

static bool holds_for(property holds, struct draws *draws)
{
    volatile bool held = false;
    draws->at = 0;
    rr_assert_hook before = rr_assert_set_hook(leave);
    if (setjmp(broken) == 0)
        held = holds(draws);
    rr_assert_set_hook(before);
    return held;
}

/* ---- smaller ------------------------------------------------------------- */

/* Takes the candidate if it is a counterexample too. */
static bool take(property holds, struct draws *smallest, const struct draws *candidate)
{
    struct draws *trial = malloc(sizeof(*trial));
    *trial = *candidate;
    trial->is_replay = true;
    bool taken = !holds_for(holds, trial);
    if (taken) {
        /* What was not asked for does not belong to it. */
        *smallest = *candidate;
        if (trial->at < smallest->count)
            smallest->count = trial->at;
    }
    free(trial);
    return taken;
}

static bool leave_out(property holds, struct draws *smallest, struct draws *candidate, size_t run)
{
    bool progress = false;
    for (size_t i = smallest->count; i-- > 0;) {
        if (i + run > smallest->count)
            continue;
        *candidate = *smallest;
        memmove(&candidate->numbers[i], &candidate->numbers[i + run],
                (candidate->count - i - run) * sizeof(uint64_t));
        candidate->count -= run;
        progress |= take(holds, smallest, candidate);
    }
    return progress;
}

/* To 0, else by halves and ones. */
static bool lower(property holds, struct draws *smallest, struct draws *candidate)
{
    bool progress = false;
    for (size_t i = 0; i < smallest->count; i++) {
        uint64_t step = smallest->numbers[i];
        while (step > 0 && i < smallest->count && smallest->numbers[i] > 0) {
            *candidate = *smallest;
            candidate->numbers[i] -= rr_min_u64(step, candidate->numbers[i]);
            if (take(holds, smallest, candidate))
                progress = true;
            else
                step /= 2;
        }
    }
    return progress;
}

static void make_smaller(property holds, struct draws *smallest)
{
    struct draws *candidate = malloc(sizeof(*candidate));
    bool progress = true;
    while (progress) {
        progress = false;
        for (size_t run = 16; run > 0; run /= 2)
            progress |= leave_out(holds, smallest, candidate, run);
        progress |= lower(holds, smallest, candidate);
    }
    free(candidate);
}

/* ---- cases --------------------------------------------------------------- */

bool property_refute(property holds, uint32_t cases, struct draws *smallest)
{
    for (uint32_t i = 0; i < cases; i++) {
        smallest->count = 0;
        smallest->random = i;
        smallest->is_replay = false;
        smallest->is_loud = false;
        if (holds_for(holds, smallest))
            continue;
        smallest->is_replay = true;
        make_smaller(holds, smallest);
        return true;
    }
    return false;
}

void property_check(const char *name, property holds, uint32_t cases)
{
    struct draws *smallest = malloc(sizeof(*smallest));
    fprintf(stderr, "  %s\n", name);
    if (property_refute(holds, cases, smallest)) {
        fprintf(stderr, "%s does not hold; the smallest counterexample:\n", name);
        smallest->is_loud = true;
        (void)holds_for(holds, smallest);
        fprintf(stderr, "\ndrawn:");
        for (size_t i = 0; i < smallest->count; i++)
            fprintf(stderr, " %llu", (unsigned long long)smallest->numbers[i]);
        fprintf(stderr, "\n");
        exit(1);
    }
    free(smallest);
}
