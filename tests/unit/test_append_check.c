/* SPDX-License-Identifier: Apache-2.0
 *
 * The cheap judge accepts what may happen and names what may not.
 */
#include "tests/check/append_check.h"

#include "tests/unit/check.h"

static struct history_op append(uint64_t value, uint64_t invoked, uint64_t returned)
{
    return (struct history_op){
        .invoked_ns = invoked, .returned_ns = returned, .value = value, .kind = HISTORY_APPEND};
}

static struct history_op append_with(uint64_t value, uint64_t invoked, enum history_outcome outcome)
{
    struct history_op op = append(value, invoked, invoked);
    op.outcome = (uint8_t)outcome;
    return op;
}

static struct history_op read_of(uint64_t length, uint64_t last, uint64_t invoked,
                                 uint64_t returned)
{
    return (struct history_op){.invoked_ns = invoked,
                               .returned_ns = returned,
                               .value = length,
                               .expected = last,
                               .kind = HISTORY_READ};
}

static void expect(const char *why, const struct history_op *ops, size_t count,
                   const uint64_t *list, size_t length)
{
    struct check_verdict verdict = append_check(ops, count, list, length);
    if (verdict.result != (why ? CHECK_BROKEN : CHECK_HOLDS))
        fprintf(stderr, "  %s\n", verdict.why);
    CHECK(verdict.result == (why ? CHECK_BROKEN : CHECK_HOLDS));
    CHECK(!why || strstr(verdict.why, why));
}

#define OPS(...)                                                                                   \
    (const struct history_op[]){__VA_ARGS__},                                                      \
        sizeof((const struct history_op[]){__VA_ARGS__}) / sizeof(struct history_op)
#define LIST(...)                                                                                  \
    (const uint64_t[]){__VA_ARGS__}, sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t)

static void test_good_histories_hold(void)
{
    expect(NULL, NULL, 0, NULL, 0);
    expect(NULL, OPS(append(1, 0, 10), append(2, 5, 15)), LIST(2, 1)); /* they overlap */
    expect(NULL, OPS(append(1, 0, 10), append(2, 11, 15), append(3, 11, 15)), LIST(1, 3, 2));
    expect(NULL, OPS(append_with(1, 0, HISTORY_UNKNOWN), append(2, 100, 110)), LIST(2, 1));
    expect(NULL, OPS(append_with(1, 0, HISTORY_UNKNOWN), append(2, 100, 110)), LIST(2));
    expect(NULL, OPS(append_with(1, 0, HISTORY_FAILED)), NULL, 0);
    expect(NULL, OPS(append(1, 0, 10), read_of(1, 1, 3, 5), read_of(1, 1, 20, 21)), LIST(1));
    expect(NULL, OPS(append(1, 0, 10), read_of(0, 0, 3, 5)), LIST(1));  /* while it is under way */
    expect(NULL, OPS(append(1, 0, 10), append(2, 10, 20)), LIST(2, 1)); /* at the same time */
}

static void test_lost_and_invented_elements_are_found(void)
{
    expect("not in the list", OPS(append(1, 0, 10)), NULL, 0);
    expect("failed", OPS(append_with(1, 0, HISTORY_FAILED)), LIST(1));
    expect("twice", OPS(append(1, 0, 10)), LIST(1, 1));
    expect("by nobody", OPS(append(1, 0, 10)), LIST(1, 2));
    expect("two calls", OPS(append(1, 0, 10), append(1, 20, 30)), LIST(1));
}

static void test_order_against_real_time_is_found(void)
{
    expect("behind it", OPS(append(1, 0, 10), append(2, 11, 20)), LIST(2, 1));
    expect("behind it", OPS(append(1, 0, 10), append(2, 5, 40), append(3, 30, 40)), LIST(3, 2, 1));
    expect("behind it", OPS(append(1, 0, 10), append_with(2, 11, HISTORY_UNKNOWN)), LIST(2, 1));
}

static void test_stale_and_impossible_reads_are_found(void)
{
    expect("were visible", OPS(append(1, 0, 10), read_of(0, 0, 11, 12)), LIST(1));
    expect("were visible",
           OPS(append(1, 0, 10), append(2, 0, 90), read_of(2, 2, 20, 30), read_of(1, 1, 31, 40)),
           LIST(1, 2));
    expect("after it returned", OPS(append(1, 50, 60), read_of(1, 1, 0, 10)), LIST(1));
    expect("as element", OPS(append(1, 0, 10), append(2, 0, 10), read_of(1, 2, 11, 12)),
           LIST(1, 2));
    expect("of 1", OPS(append(1, 0, 10), read_of(2, 2, 11, 12)), LIST(1));
}

int main(void)
{
    RUN(test_good_histories_hold);
    RUN(test_lost_and_invented_elements_are_found);
    RUN(test_order_against_real_time_is_found);
    RUN(test_stale_and_impossible_reads_are_found);
    return 0;
}
