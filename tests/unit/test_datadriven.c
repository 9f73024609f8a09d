/* SPDX-License-Identifier: Apache-2.0
 *
 * The scenario reader and what scenario files rest on: arguments, inputs, both forms of expected
 * output, rewriting, diffs, and that malformed files are errors with a line.
 */
#include "tests/conformance/command.h"
#include "tests/conformance/datadriven.h"
#include "tests/conformance/scenario.h"
#include "tests/conformance/unified_diff.h"
#include "tests/unit/check.h"

static struct scenario_memory memory;

static struct dd_case read_one(const char *text)
{
    struct dd_reader reader;
    struct dd_case c;
    dd_init(&reader, text, strlen(text), &memory);
    CHECK(dd_next(&reader, &c) == 1);
    return c;
}

static void check_argument(const struct dd_argument *argument, const char *key, size_t count)
{
    CHECK(strcmp(argument->key, key) == 0);
    CHECK_EQ_U64(argument->value_count, count);
}

/* The verdict of a whole scenario; its report in `report` if that is not NULL. */
static enum scenario_verdict judge(const char *text, struct rr_text *report)
{
    struct rr_text own = {.grow = heap_text_grow};
    struct scenario scenario = {.name = "story", .text = text, .size = strlen(text)};
    enum scenario_verdict verdict = scenario_run(&scenario, report ? report : &own);
    heap_text_free(&own);
    return verdict;
}

static void check_bad(const char *text, const char *reason)
{
    struct rr_text report = {.grow = heap_text_grow};
    CHECK(judge(text, &report) == SCENARIO_BAD);
    rr_text_char(&report, '\0');
    if (strcmp(report.bytes, reason) != 0)
        fprintf(stderr, "expected %sgot %s", reason, report.bytes);
    CHECK(strcmp(report.bytes, reason) == 0);
    heap_text_free(&report);
}

/* ---- reading ------------------------------------------------------------- */

static void test_arguments_of_every_form_are_read(void)
{
    struct dd_case c = read_one("cmd pos a= b=v c=(1, 2,(3,4)) d=() e=(1 2) a=w\n----\n");
    CHECK(strcmp(c.command, "cmd") == 0);
    CHECK_EQ_U64(c.argument_count, 7);
    check_argument(&c.arguments[0], "pos", 0);
    CHECK(c.arguments[0].is_positional);
    check_argument(&c.arguments[1], "a", 1);
    CHECK(!c.arguments[1].is_positional && strcmp(c.arguments[1].values[0], "") == 0);
    CHECK(strcmp(c.arguments[2].values[0], "v") == 0);
    check_argument(&c.arguments[3], "c", 3);
    CHECK(strcmp(c.arguments[3].values[1], "2") == 0);
    CHECK(strcmp(c.arguments[3].values[2], "(3,4)") == 0);
    check_argument(&c.arguments[4], "d", 0);
    check_argument(&c.arguments[5], "e", 1);
    CHECK(strcmp(c.arguments[5].values[0], "1 2") == 0);
    CHECK(strcmp(c.arguments[6].values[0], "w") == 0); /* repetition is kept */
}

static void test_comments_and_blanks_are_skipped_between_cases_only(void)
{
    struct dd_case c =
        read_one("# one\n\n   \n  # two\r\n  cmd x\r\n# data\n\n more \n----\nout\n");
    CHECK_EQ_U64(c.line, 5);
    CHECK(strcmp(c.command, "cmd") == 0);
    CHECK(strcmp(c.input, "# data\n\n more") == 0);
    CHECK(strcmp(c.expected, "out\n") == 0);
    CHECK_EQ_U64(c.expected_line, 10);
}

static void test_line_with_backslash_continues(void)
{
    struct dd_case c = read_one("cmd a \\\n   b\\\n c\n----\n");
    CHECK_EQ_U64(c.argument_count, 3);
    check_argument(&c.arguments[2], "c", 0);
}

static void test_output_ends_at_blank_line_or_end_of_file(void)
{
    const char *text = "a\n----\nx\n\nb\n----\ny";
    struct dd_reader reader;
    struct dd_case c;
    dd_init(&reader, text, strlen(text), &memory);
    CHECK(dd_next(&reader, &c) == 1 && strcmp(c.expected, "x\n") == 0);
    CHECK(dd_next(&reader, &c) == 1 && strcmp(c.expected, "y\n") == 0);
    CHECK(dd_next(&reader, &c) == 0);
}

static void test_fenced_output_may_hold_blank_lines_and_separators(void)
{
    const char *text = "a\n----\n----\nx\n\n----\ny\n----\n----\n\nb\n----\nz\n";
    struct dd_reader reader;
    struct dd_case c;
    dd_init(&reader, text, strlen(text), &memory);
    CHECK(dd_next(&reader, &c) == 1);
    CHECK(strcmp(c.expected, "x\n\n----\ny\n") == 0);
    CHECK(dd_next(&reader, &c) == 1 && strcmp(c.expected, "z\n") == 0);
}

static void test_case_without_separator_has_no_expected_output(void)
{
    struct dd_case c = read_one("cmd\ninput\n");
    CHECK(strcmp(c.input, "input") == 0);
    CHECK_EQ_U64(c.expected_size, 0);
}

static void test_comparison_adds_one_missing_newline(void)
{
    struct dd_case c = read_one("cmd\n----\nok\n");
    CHECK(dd_matches(&c, "ok", 2));
    CHECK(dd_matches(&c, "ok\n", 3));
    CHECK(!dd_matches(&c, "ok\n\n", 4));
    CHECK(!dd_matches(&c, "no", 2));
    CHECK(!dd_matches(&c, "", 0));
    struct dd_case empty = read_one("cmd\n----\n");
    CHECK(dd_matches(&empty, "", 0));
    CHECK(!dd_matches(&empty, "ok", 2));
}

/* ---- whole scenarios ----------------------------------------------------- */

static void test_dialect_is_told_by_the_first_command(void)
{
    CHECK(judge("vote cfg=(1) votes=(y)\n----\nVoteWon\n", NULL) == SCENARIO_PASSED);
    CHECK(judge("simple\nv1\n----\nvoters=(1)\n1: StateProbe match=0 next=1\n", NULL) ==
          SCENARIO_PASSED);
    CHECK(judge("election-jitter 1\n----\nok\n", NULL) == SCENARIO_PASSED);
}

static void test_difference_is_reported_with_its_place(void)
{
    struct rr_text report = {.grow = heap_text_grow};
    CHECK(judge("vote cfg=(1) votes=(y)\n----\nVoteLost\n", &report) == SCENARIO_DIFFERS);
    rr_text_char(&report, '\0');
    CHECK(strcmp(report.bytes, "--- story\n+++ actual output of 'vote' in line 1\n"
                               "@@ -3,1 +3,1 @@\n-VoteLost\n+VoteWon\n") == 0);
    heap_text_free(&report);
}

static void test_malformed_scenarios_are_bad_with_file_and_line(void)
{
    check_bad("\nfly 1\n----\n", "story:2: unknown command 'fly'\n");
    check_bad("election-jitter 1\n----\nok\n\nfly\n----\n", "story:5: unknown command 'fly'\n");
    check_bad("campaign 1\n----\n", "story:1: there is no node 1\n");
    check_bad("campaign one\n----\n", "story:1: node: 'one' is not a decimal number\n");
    check_bad("add-nodes 1 voters=(1\n----\n", "story:1: a parenthesis is not closed\n");
    check_bad("add-nodes 1 wings=2\n----\n", "story:1: add-nodes knows no argument 'wings'\n");
    check_bad("add-nodes 1 prevote=yes\n----\n", "story:1: prevote: 'yes' is not a boolean\n");
    check_bad("add-nodes 1 index=18446744073709551616\n----\n",
              "story:1: index: the number '18446744073709551616' is beyond 64 bits\n");
    check_bad("# nothing\n", "story:1: the file holds no command\n");
    check_bad("a\n----\n----\nx\n----\n",
              "story:1: the output between `----` lines is not closed\n");
}

static void test_rewriting_keeps_comments_and_is_stable(void)
{
    const char *text = "# essay\n\nvote cfg=(1) votes=(y)\n----\nwrong\n\n# end\n"
                       "vote votes=()\n----\n----\na\n\nb\n----\n----\n";
    const char *right = "# essay\n\nvote cfg=(1) votes=(y)\n----\nVoteWon\n\n# end\n"
                        "vote votes=()\n----\nVoteWon\n";
    struct rr_text out = {.grow = heap_text_grow};
    struct rr_text report = {.grow = heap_text_grow};
    struct scenario scenario = {
        .name = "story", .text = text, .size = strlen(text), .rewritten = &out};
    CHECK(scenario_run(&scenario, &report) == SCENARIO_PASSED);
    rr_text_char(&out, '\0');
    CHECK(strcmp(out.bytes, right) == 0);
    CHECK(judge(out.bytes, NULL) == SCENARIO_PASSED);
    heap_text_free(&out);
    heap_text_free(&report);
}

static void test_written_output_is_fenced_when_it_must_be(void)
{
    struct rr_text out = {.grow = heap_text_grow};
    dd_write_output(&out, "a\n\nb", 4);
    rr_text_char(&out, '\0');
    CHECK(strcmp(out.bytes, "----\n----\na\n\nb\n----\n----\n") == 0);
    heap_text_free(&out);
}

/* ---- diffs --------------------------------------------------------------- */

static void check_diff(const char *expected, const char *actual, const char *diff)
{
    struct rr_text out = {.grow = heap_text_grow};
    unified_diff(&out, (struct diff_side){expected, strlen(expected)},
                 (struct diff_side){actual, strlen(actual)}, 1);
    rr_text_char(&out, '\0');
    if (strcmp(out.bytes, diff) != 0)
        fprintf(stderr, "expected\n%sgot\n%s", diff, out.bytes);
    CHECK(strcmp(out.bytes, diff) == 0);
    heap_text_free(&out);
}

static void test_diff_shows_three_lines_of_context(void)
{
    check_diff("1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nX\n6\n7\n8\n9\n",
               "@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+X\n 6\n 7\n 8\n");
}

static void test_diff_splits_distant_changes_into_hunks(void)
{
    check_diff("a\n2\n3\n4\n5\n6\n7\n8\nz\n", "b\n2\n3\n4\n5\n6\n7\n8\n",
               "@@ -1,4 +1,4 @@\n-a\n+b\n 2\n 3\n 4\n@@ -6,4 +6,3 @@\n 6\n 7\n 8\n-z\n");
}

static void test_diff_of_insertion_and_of_equal_texts(void)
{
    check_diff("a\nc\n", "a\nb\nc\n", "@@ -1,2 +1,3 @@\n a\n+b\n c\n");
    check_diff("", "a\n", "@@ -0,0 +1,1 @@\n+a\n");
    check_diff("a\n", "a\n", "");
}

int main(void)
{
    RUN(test_arguments_of_every_form_are_read);
    RUN(test_comments_and_blanks_are_skipped_between_cases_only);
    RUN(test_line_with_backslash_continues);
    RUN(test_output_ends_at_blank_line_or_end_of_file);
    RUN(test_fenced_output_may_hold_blank_lines_and_separators);
    RUN(test_case_without_separator_has_no_expected_output);
    RUN(test_comparison_adds_one_missing_newline);
    RUN(test_dialect_is_told_by_the_first_command);
    RUN(test_difference_is_reported_with_its_place);
    RUN(test_malformed_scenarios_are_bad_with_file_and_line);
    RUN(test_rewriting_keeps_comments_and_is_stable);
    RUN(test_written_output_is_fenced_when_it_must_be);
    RUN(test_diff_shows_three_lines_of_context);
    RUN(test_diff_splits_distant_changes_into_hunks);
    RUN(test_diff_of_insertion_and_of_equal_texts);
    scenario_memory_free(&memory);
    return 0;
}
