/* SPDX-License-Identifier: Apache-2.0
 *
 * The search for counterexamples, on claims whose smallest one is known.
 */
#include "tests/unit/property.h"

#include "proto/base.h"
#include "tests/unit/check.h"

static struct draws smallest;

static bool every_number_is_below_hundred(struct draws *draws)
{
    uint64_t count = draw(draws, 30);
    for (uint64_t i = 0; i < count; i++)
        if (draw(draws, 1000) >= 100)
            return false;
    return true;
}

static bool no_list_sums_up_to_fifty(struct draws *draws)
{
    uint64_t sum = 0;
    while (draw(draws, 10) != 0)
        sum += draw(draws, 20);
    return sum < 50;
}

static bool an_assertion_holds(struct draws *draws)
{
    RR_ASSERT(draw(draws, 500) < 250);
    return true;
}

static bool what_is_true(struct draws *draws)
{
    return draw(draws, 7) < 7;
}

static void test_counterexample_is_the_smallest_list(void)
{
    CHECK(property_refute(every_number_is_below_hundred, 100, &smallest));
    CHECK_EQ_U64(smallest.count, 2);
    CHECK_EQ_U64(smallest.numbers[0], 1);
    CHECK_EQ_U64(smallest.numbers[1], 100);
}

static void test_counterexample_cannot_lose_another_number(void)
{
    uint64_t sum = 0;
    CHECK(property_refute(no_list_sums_up_to_fifty, 1000, &smallest));
    for (size_t i = 0; i + 1 < smallest.count; i += 2) {
        CHECK_EQ_U64(smallest.numbers[i], 1);
        sum += smallest.numbers[i + 1];
    }
    CHECK_EQ_U64(sum, 50);
}

static void test_broken_assertion_is_a_counterexample(void)
{
    CHECK(property_refute(an_assertion_holds, 100, &smallest));
    CHECK_EQ_U64(smallest.count, 1);
    CHECK_EQ_U64(smallest.numbers[0], 250);
}

static void test_true_claim_is_not_refuted(void)
{
    CHECK(!property_refute(what_is_true, 1000, &smallest));
}

int main(void)
{
    RUN(test_counterexample_is_the_smallest_list);
    RUN(test_counterexample_cannot_lose_another_number);
    RUN(test_broken_assertion_is_a_counterexample);
    RUN(test_true_claim_is_not_refuted);
    return 0;
}
