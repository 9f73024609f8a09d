/* SPDX-License-Identifier: Apache-2.0
 *
 * The search accepts what has an order and refuses what has none: hand-made histories, histories
 * made from a known order, and the same with one answer falsified.
 */
#include "tests/check/linearize.h"

#include "io/sim/sim_random.h"
#include "tests/unit/check.h"

static struct history_op call(enum history_kind kind, uint64_t value, uint64_t invoked,
                              uint64_t returned)
{
    return (struct history_op){
        .invoked_ns = invoked, .returned_ns = returned, .value = value, .kind = (uint8_t)kind};
}

static struct history_op write_of(uint64_t value, uint64_t invoked, uint64_t returned)
{
    return call(HISTORY_WRITE, value, invoked, returned);
}

static struct history_op read_of(uint64_t value, uint64_t invoked, uint64_t returned)
{
    return call(HISTORY_READ, value, invoked, returned);
}

static struct history_op cas_of(uint64_t expected, uint64_t value, uint64_t invoked,
                                uint64_t returned)
{
    struct history_op op = call(HISTORY_CAS, value, invoked, returned);
    op.expected = expected;
    return op;
}

static struct history_op with(struct history_op op, enum history_outcome outcome)
{
    op.outcome = (uint8_t)outcome;
    return op;
}

static enum check_result judge(const struct history_op *ops, size_t count)
{
    struct linearize_options options = {.initial = 0};
    return linearize(ops, count, &options).result;
}

#define OPS(...)                                                                                   \
    (const struct history_op[]){__VA_ARGS__},                                                      \
        sizeof((const struct history_op[]){__VA_ARGS__}) / sizeof(struct history_op)

static void test_registers_with_an_order_hold(void)
{
    CHECK(judge(NULL, 0) == CHECK_HOLDS);
    CHECK(judge(OPS(write_of(1, 0, 10), read_of(1, 11, 12))) == CHECK_HOLDS);
    CHECK(judge(OPS(write_of(1, 0, 10), read_of(0, 5, 6), read_of(1, 7, 8))) == CHECK_HOLDS);
    CHECK(judge(OPS(write_of(1, 0, 10), write_of(2, 0, 10), read_of(1, 11, 12))) == CHECK_HOLDS);
    CHECK(judge(OPS(cas_of(0, 1, 0, 10), cas_of(1, 2, 0, 10), read_of(2, 11, 12))) == CHECK_HOLDS);
    CHECK(judge(OPS(write_of(1, 0, 10), read_of(0, 10, 12))) == CHECK_HOLDS); /* they touch */
    CHECK(judge(OPS(with(cas_of(5, 1, 0, 10), HISTORY_MISMATCH), read_of(0, 11, 12))) ==
          CHECK_HOLDS);
}

static void test_registers_without_an_order_are_refused(void)
{
    CHECK(judge(OPS(write_of(1, 0, 10), read_of(0, 11, 12))) == CHECK_BROKEN);
    CHECK(judge(OPS(write_of(1, 0, 10), read_of(1, 5, 6), read_of(0, 7, 8))) == CHECK_BROKEN);
    CHECK(judge(OPS(read_of(3, 0, 10))) == CHECK_BROKEN);
    CHECK(judge(OPS(cas_of(0, 1, 0, 10), cas_of(0, 2, 0, 10))) == CHECK_BROKEN);
    CHECK(judge(OPS(with(cas_of(0, 1, 0, 10), HISTORY_MISMATCH))) == CHECK_BROKEN);
    CHECK(judge(OPS(write_of(1, 0, 50), write_of(2, 0, 50), read_of(1, 10, 12), read_of(2, 13, 14),
                    read_of(1, 15, 16))) == CHECK_BROKEN);
}

static void test_unknown_calls_may_happen_late_or_never(void)
{
    struct history_op unknown = with(write_of(1, 0, 0), HISTORY_UNKNOWN);
    CHECK(judge(OPS(unknown, read_of(0, 11, 12))) == CHECK_HOLDS);
    CHECK(judge(OPS(unknown, read_of(0, 11, 12), read_of(1, 900, 901))) == CHECK_HOLDS);
    CHECK(judge(OPS(unknown, read_of(1, 11, 12), read_of(0, 13, 14))) == CHECK_BROKEN);
    CHECK(judge(OPS(with(write_of(1, 100, 0), HISTORY_UNKNOWN), read_of(1, 11, 12))) ==
          CHECK_BROKEN); /* not before it was asked for */
    CHECK(judge(OPS(with(write_of(1, 0, 10), HISTORY_FAILED), read_of(1, 11, 12))) == CHECK_BROKEN);
    CHECK(judge(OPS(with(cas_of(7, 1, 0, 0), HISTORY_UNKNOWN), read_of(1, 11, 12))) ==
          CHECK_BROKEN);
}

static void test_lists_are_judged_by_their_order(void)
{
    uint64_t one = linearize_append(0, 1), two = linearize_append(one, 2);
    uint64_t other = linearize_append(linearize_append(0, 2), 1);
    CHECK(one != other && two != other);
    CHECK(judge(OPS(call(HISTORY_APPEND, 1, 0, 10), call(HISTORY_APPEND, 2, 5, 15),
                    read_of(other, 20, 21))) == CHECK_HOLDS);
    CHECK(judge(OPS(call(HISTORY_APPEND, 1, 0, 10), call(HISTORY_APPEND, 2, 11, 15),
                    read_of(two, 20, 21))) == CHECK_HOLDS);
    CHECK(judge(OPS(call(HISTORY_APPEND, 1, 0, 10), call(HISTORY_APPEND, 2, 11, 15),
                    read_of(other, 20, 21))) == CHECK_BROKEN);
}

/* ---- made histories ------------------------------------------------------ */

#define OPS_MAX 120u

/* Calls that take effect at known moments in [invoked, returned], so that an order exists. */
static size_t make(struct sim_stream *s, struct history_op *ops, uint64_t width)
{
    uint64_t content = 0, time = 100;
    for (size_t i = 0; i < OPS_MAX; i++) {
        time += 10;
        uint64_t value = 1 + stream_below(s, 5);
        struct history_op op = {.value = value, .expected = stream_below(s, 6)};
        op.kind = (uint8_t)(stream_chance(s, 1, 2)   ? HISTORY_READ
                            : stream_chance(s, 1, 2) ? HISTORY_WRITE
                                                     : HISTORY_CAS);
        op.invoked_ns = time - stream_below(s, width);
        op.returned_ns = time + stream_below(s, width);
        bool happens = op.kind == HISTORY_READ || stream_chance(s, 9, 10);
        if (op.kind == HISTORY_READ)
            op.value = content;
        else if (op.kind == HISTORY_CAS && op.expected != content)
            op.outcome = HISTORY_MISMATCH;
        else if (happens)
            content = value;
        if (!happens)
            op.outcome = HISTORY_FAILED;
        else if (op.kind != HISTORY_READ && op.outcome == HISTORY_OK && stream_chance(s, 1, 12))
            op.outcome = HISTORY_UNKNOWN;
        ops[i] = op;
    }
    return OPS_MAX;
}

static void test_made_histories_hold_and_falsified_ones_do_not(void)
{
    uint32_t refused = 0, tried = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct sim_stream s = stream_make(seed, 1);
        struct history_op ops[OPS_MAX], window[OPS_MAX];
        struct linearize_options options = {.initial = 0};
        size_t count = make(&s, ops, stream_between(&s, 1, 60));
        CHECK(linearize(ops, count, &options).result == CHECK_HOLDS);

        struct linearize_options any = {.is_initial_unknown = true};
        uint64_t from = stream_below(&s, 800);
        size_t kept = linearize_window(ops, count, from, from + 400, window);
        CHECK(linearize(window, kept, &any).result == CHECK_HOLDS);

        size_t victim = stream_below(&s, count);
        if (ops[victim].kind != HISTORY_READ)
            continue;
        ops[victim].value = 77; /* which nobody wrote */
        tried++;
        refused += linearize(ops, count, &options).result == CHECK_BROKEN;
    }
    CHECK(tried > 50 && refused == tried);
}

static void test_window_finds_what_happens_inside_and_believes_its_beginning(void)
{
    struct history_op ops[] = {write_of(1, 0, 10), write_of(2, 20, 30), read_of(2, 40, 41),
                               read_of(1, 42, 43)};
    struct history_op window[4];
    struct linearize_options any = {.is_initial_unknown = true};
    size_t count = linearize_window(ops, 4, 35, 60, window);
    CHECK(count == 2 && linearize(window, count, &any).result == CHECK_BROKEN);
    count = linearize_window(ops, 4, 42, 60, window);
    CHECK(count == 1 && linearize(window, count, &any).result == CHECK_HOLDS);
}

static void test_search_gives_up_when_told_to(void)
{
    struct history_op ops[24];
    struct linearize_options options = {.steps_max = 1000};
    for (size_t i = 0; i < 23; i++)
        ops[i] = write_of(i + 1, 0, 100);
    ops[23] = read_of(99, 200, 201);
    CHECK(linearize(ops, 24, &options).result == CHECK_GAVE_UP);
}

int main(void)
{
    RUN(test_registers_with_an_order_hold);
    RUN(test_registers_without_an_order_are_refused);
    RUN(test_unknown_calls_may_happen_late_or_never);
    RUN(test_lists_are_judged_by_their_order);
    RUN(test_made_histories_hold_and_falsified_ones_do_not);
    RUN(test_window_finds_what_happens_inside_and_believes_its_beginning);
    RUN(test_search_gives_up_when_told_to);
    return 0;
}
