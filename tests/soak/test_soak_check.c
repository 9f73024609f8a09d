/* SPDX-License-Identifier: Apache-2.0
 *
 * The soak's verdict on histories whose verdict is known.
 */
#include "tests/soak/soak_check.h"
#include "tests/unit/check.h"

static struct soak_check *check;

static void begin(void)
{
    check = soak_check_new();
}

/* An applied write of `id` to register 1, behind `previous`. */
static void applied(uint64_t node, uint64_t index, uint64_t id, uint64_t previous)
{
    struct soak_applied line = {
        .index = index, .id = id, .previous = previous, .chain = 1000 * id + previous, .key = 1};
    soak_check_add_applied(check, &line, node);
}

static void wrote(uint64_t from, uint64_t to, uint64_t id, uint64_t index, uint64_t previous)
{
    struct soak_operation operation = {.invoked_ns = from,
                                       .completed_ns = to,
                                       .id = id,
                                       .index = index,
                                       .value = previous,
                                       .key = 1};
    soak_check_add_operation(check, &operation);
}

static void read_value(uint64_t from, uint64_t to, uint64_t index, uint64_t value)
{
    struct soak_operation operation = {
        .invoked_ns = from, .completed_ns = to, .index = index, .value = value, .key = 1};
    soak_check_add_operation(check, &operation);
}

static uint64_t violations(void)
{
    struct soak_verdict verdict = soak_check_judge(check);
    soak_check_free(check);
    return verdict.violations;
}

static void three_writes(void)
{
    begin();
    for (uint64_t node = 1; node <= 2; node++) {
        applied(node, 5, 50, 0);
        applied(node, 7, 70, 50);
        applied(node, 9, 90, 70);
    }
    wrote(100, 200, 50, 5, 0);
    wrote(210, 300, 70, 7, 50);
}

static void test_a_sound_history_passes(void)
{
    three_writes();
    wrote(150, 400, 90, 9, 70);
    read_value(10, 20, 0, 0);
    read_value(120, 180, 5, 50); /* the write it saw has not completed */
    read_value(310, 390, 7, 70);
    read_value(320, 390, 9, 90);
    CHECK_EQ_U64(violations(), 0);
}

static void test_a_lost_write_is_found(void)
{
    three_writes();
    wrote(400, 500, 110, 11, 90);
    CHECK_EQ_U64(violations(), 2); /* its answer, and the order without it */
}

static void test_an_answer_from_another_place_is_found(void)
{
    three_writes();
    wrote(310, 400, 90, 9, 50);
    CHECK_EQ_U64(violations(), 1);
}

static void test_a_stale_read_is_found(void)
{
    three_writes();
    read_value(310, 320, 5, 50); /* 7 had been acknowledged */
    CHECK_EQ_U64(violations(), 1);
}

static void test_a_read_behind_another_read_is_found(void)
{
    three_writes();
    read_value(310, 320, 9, 90);
    read_value(330, 340, 7, 70);
    CHECK_EQ_U64(violations(), 1);
}

static void test_a_read_of_a_value_that_was_not_there_is_found(void)
{
    three_writes();
    read_value(310, 320, 7, 50);
    CHECK_EQ_U64(violations(), 1);
}

static void test_a_write_before_what_was_known_is_found(void)
{
    three_writes();
    wrote(310, 320, 90, 9, 70);
    applied(1, 10, 100, 90);
    wrote(50, 60, 100, 10, 90); /* acknowledged at 60; then 5 was asked for at 100 */
    CHECK(violations() >= 1);
}

static void test_two_histories_are_found(void)
{
    three_writes();
    applied(3, 7, 71, 50);
    CHECK_EQ_U64(violations(), 1);
}

int main(void)
{
    RUN(test_a_sound_history_passes);
    RUN(test_a_lost_write_is_found);
    RUN(test_an_answer_from_another_place_is_found);
    RUN(test_a_stale_read_is_found);
    RUN(test_a_read_behind_another_read_is_found);
    RUN(test_a_read_of_a_value_that_was_not_there_is_found);
    RUN(test_a_write_before_what_was_known_is_found);
    RUN(test_two_histories_are_found);
    return 0;
}
