/* SPDX-License-Identifier: Apache-2.0 */
#include <ringraft/error.h>

#include "proto/base.h"
#include "tests/unit/check.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_error_codes_have_name_and_sentence(void)
{
    CHECK(strcmp(rr_err_name(-5), "RR_E_COMPACTED") == 0);
    CHECK(strcmp(rr_err_sentence(-5), "requested index is unavailable due to compaction") == 0);
    CHECK(strcmp(rr_err_name(RR_OK), "RR_OK") == 0);
    CHECK(strcmp(rr_err_sentence(RR_OK), "success") == 0);
#define X(name, number, sentence)                                                                  \
    CHECK(strcmp(rr_err_name(number), "RR_E_" #name) == 0);                                        \
    CHECK(strcmp(rr_err_sentence(number), sentence) == 0);
    RR_ERR_MAP(X)
#undef X
}

static void test_error_codes_that_are_unknown_are_named_so(void)
{
    CHECK(strcmp(rr_err_name(1), "RR_E_?") == 0);
    CHECK(strcmp(rr_err_name(-9999), "RR_E_?") == 0);
    CHECK(strcmp(rr_err_sentence(-9999), "unknown error code") == 0);
}

/* Numbers are stored by callers: none may ever mean something else. */
static void test_error_numbers_are_what_they_were(void)
{
    CHECK_EQ_U64(-RR_E_PROPOSAL_DROPPED, 1);
    CHECK_EQ_U64(-RR_E_MALFORMED, 12);
    CHECK_EQ_U64(-RR_E_UNKNOWN_OUTCOME, 17);
    CHECK_EQ_U64(-RR_E_CORRUPT, 20);
    CHECK_EQ_U64(-RR_E_BAD_ADDRESS, 34);
}

static void test_fail_fills_code_and_sentence_and_returns_the_code(void)
{
    struct rr_error error;
    CHECK(rr_fail(&error, RR_E_IO, "%s: write at %d", "wal-1", 4096) == RR_E_IO);
    CHECK(error.code == RR_E_IO);
    CHECK(strcmp(error.message, "wal-1: write at 4096") == 0);
    CHECK(rr_fail(NULL, RR_E_BUSY, "nobody reads this") == RR_E_BUSY);
}

static void test_fail_cuts_a_sentence_that_is_too_long(void)
{
    struct rr_error error;
    memset(&error, 0xff, sizeof error);
    rr_fail(&error, RR_E_IO, "%0600d", 7);
    CHECK_EQ_U64(strlen(error.message), sizeof error.message - 1);
}

static jmp_buf broken;
static char broken_expression[64];

static void leave(const char *file, int line, const char *expression)
{
    CHECK(strstr(file, "test_error.c") && line > 0);
    snprintf(broken_expression, sizeof broken_expression, "%s", expression);
    longjmp(broken, 1);
}

static void test_assert_that_holds_evaluates_once_and_goes_on(void)
{
    int evaluated = 0;
    RR_ASSERT(++evaluated == 1);
    CHECK_EQ_U64(evaluated, 1);
}

static void test_assert_that_is_broken_calls_the_hook_with_its_expression(void)
{
    volatile int two = 2;
    rr_assert_hook before = rr_assert_set_hook(leave);
    CHECK(before == NULL);
    bool left = false;
    if (setjmp(broken) == 0)
        RR_ASSERT(two == 3);
    else
        left = true;
    CHECK(left);
    CHECK(strcmp(broken_expression, "two == 3") == 0);
    CHECK(rr_assert_set_hook(NULL) == leave);
}

static void test_assert_with_a_sentence_fills_its_values_in(void)
{
    volatile uint64_t three = 3;
    rr_assert_set_hook(leave);
    volatile bool left = false;
    if (setjmp(broken) == 0)
        RR_ASSERT_SAYS(three > 3, "% of % is not enough", three, UINT64_MAX);
    else
        left = true;
    rr_assert_set_hook(NULL);
    CHECK(left);
    CHECK(strcmp(broken_expression, "3 of 18446744073709551615 is not enough") == 0);
}

static void test_assert_slow_is_checked_only_when_it_is_built_in(void)
{
    rr_assert_set_hook(leave);
    volatile bool left = false;
    volatile int evaluated = 0;
    if (setjmp(broken) == 0)
        RR_ASSERT_SLOW(++evaluated == 0);
    else
        left = true;
    rr_assert_set_hook(NULL);
#if defined(RR_SLOW_CHECKS) && RR_SLOW_CHECKS
    CHECK(left && evaluated == 1);
#else
    CHECK(!left && evaluated == 0);
#endif
}

static void test_assert_that_is_broken_without_a_hook_says_where_and_aborts(void)
{
    int ends[2];
    CHECK(pipe(ends) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        rr_assert_failed("some_file.c", 42, "a == b");
    }
    close(ends[1]);
    char text[200] = {0};
    CHECK(read(ends[0], text, sizeof text - 1) > 0);
    CHECK(strcmp(text, "some_file.c:42: assertion failed: a == b\n") == 0);
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    close(ends[0]);
}

int main(void)
{
    RUN(test_error_codes_have_name_and_sentence);
    RUN(test_error_codes_that_are_unknown_are_named_so);
    RUN(test_error_numbers_are_what_they_were);
    RUN(test_fail_fills_code_and_sentence_and_returns_the_code);
    RUN(test_fail_cuts_a_sentence_that_is_too_long);
    RUN(test_assert_that_holds_evaluates_once_and_goes_on);
    RUN(test_assert_that_is_broken_calls_the_hook_with_its_expression);
    RUN(test_assert_that_is_broken_without_a_hook_says_where_and_aborts);
    RUN(test_assert_with_a_sentence_fills_its_values_in);
    RUN(test_assert_slow_is_checked_only_when_it_is_built_in);
    return 0;
}
