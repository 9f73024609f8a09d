/* SPDX-License-Identifier: Apache-2.0
 *
 * Claims about whatever can be drawn, and the smallest counterexample when one fails.
 *
 * A case is nothing but the numbers that were drawn for it. So a failing one is made smaller
 * without knowing what they mean: numbers are left out, in runs and singly, and the others lowered,
 * for as long as the claim still fails; what is drawn beyond the end is 0. Generators should
 * therefore make of smaller numbers smaller things, and of 0 the simplest.
 */
#ifndef RR_TESTS_PROPERTY_H
#define RR_TESTS_PROPERTY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROPERTY_DRAWS_MAX 4096

struct draws {
    uint64_t numbers[PROPERTY_DRAWS_MAX];
    size_t count; /* numbers that are set */
    size_t at;    /* the next one to be drawn */
    uint64_t random;
    bool is_replay; /* beyond the end comes 0, not chance */
    bool is_loud;   /* property_say prints */
};

/* A number below `bound` (> 0). */
uint64_t draw(struct draws *draws, uint64_t bound);
/* How the case reads, printed of the smallest counterexample only. */
void property_say(const struct draws *draws, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Draws a case and says whether the claim holds for it. An assertion that breaks within counts as
 * no. */
typedef bool (*property)(struct draws *draws);

/* The smallest counterexample that is found in so many cases; false: none. */
bool property_refute(property holds, uint32_t cases, struct draws *smallest);
/* Prints the counterexample and ends the test if there is one. */
void property_check(const char *name, property holds, uint32_t cases);

#define HOLDS(claim, cases) property_check(#claim, claim, cases)

#endif
