/* SPDX-License-Identifier: Apache-2.0
 *
 * Running one scenario file; see scenario.h.
 */
#include "tests/conformance/scenario.h"

#include "proto/base.h"
#include "tests/conformance/command.h"
#include "tests/conformance/unified_diff.h"

struct run {
    const struct scenario *scenario;
    struct rr_text *report;
    struct scenario_memory memory;
    const struct dialect *dialect; /* NULL until the first case */
    void *state;
    size_t copied_to; /* the file's bytes before this went to `rewritten` */
};

static enum scenario_verdict bad(struct run *run, size_t line, const char *reason)
{
    rr_text_string(run->report, run->scenario->name);
    rr_text_field(run->report, ":", line);
    rr_text_string(run->report, ": ");
    rr_text_string(run->report, reason);
    rr_text_char(run->report, '\n');
    return SCENARIO_BAD;
}

static enum scenario_verdict differs(struct run *run, const struct dd_case *c,
                                     const struct rr_text *output)
{
    rr_text_string(run->report, "--- ");
    rr_text_string(run->report, run->scenario->name);
    rr_text_string(run->report, "\n+++ actual output of '");
    rr_text_string(run->report, c->command);
    rr_text_field(run->report, "' in line ", c->line);
    rr_text_char(run->report, '\n');
    unified_diff(run->report, (struct diff_side){c->expected, c->expected_size},
                 (struct diff_side){output->bytes, output->size}, c->expected_line);
    return SCENARIO_DIFFERS;
}

static void copy_up_to(struct run *run, size_t end)
{
    RR_ASSERT(run->copied_to <= end && end <= run->scenario->size);
    rr_text_bytes(run->scenario->rewritten, run->scenario->text + run->copied_to,
                  end - run->copied_to);
    run->copied_to = end;
}

static void rewrite(struct run *run, const struct dd_case *c, const struct rr_text *output)
{
    struct rr_text *out = run->scenario->rewritten;
    copy_up_to(run, c->separator_at);
    if (out->size > 0 && out->bytes[out->size - 1] != '\n')
        rr_text_char(out, '\n'); /* the file ended within a directive */
    dd_write_output(out, output->bytes, output->size);
    run->copied_to = c->end_at;
}

static const struct dialect *choose_dialect(const char *command)
{
    static const struct dialect *const dialects[] = {&quorum_dialect, &confchange_dialect,
                                                     &cluster_dialect};
    for (size_t i = 0; i < RR_ARRAY_SIZE(dialects); i++)
        if (dialects[i]->owns(command))
            return dialects[i];
    return NULL;
}

static enum scenario_verdict run_case(struct run *run, const struct dd_case *c,
                                      struct rr_text *output)
{
    struct command cmd = {.c = c, .memory = &run->memory};
    if (!run->dialect) {
        run->dialect = choose_dialect(c->command);
        if (!run->dialect) {
            command_bad(&cmd, "unknown command '%s'", c->command);
            return bad(run, c->line, cmd.reason);
        }
        run->state = run->dialect->open(&run->memory);
    }
    if (run->dialect->run(run->state, &cmd, output) != OUTCOME_OK)
        return bad(run, c->line, cmd.reason);
    if (run->scenario->rewritten)
        rewrite(run, c, output);
    else if (!dd_matches(c, output->bytes, output->size))
        return differs(run, c, output);
    return SCENARIO_PASSED;
}

static enum scenario_verdict run_cases(struct run *run, struct rr_text *output)
{
    struct dd_reader reader;
    struct dd_case c;
    int found;
    dd_init(&reader, run->scenario->text, run->scenario->size, &run->memory);
    while ((found = dd_next(&reader, &c)) > 0) {
        output->size = 0;
        enum scenario_verdict verdict = run_case(run, &c, output);
        if (verdict != SCENARIO_PASSED)
            return verdict;
    }
    if (found < 0)
        return bad(run, reader.problem_line, reader.problem);
    if (!run->dialect)
        return bad(run, 1, "the file holds no command");
    if (run->scenario->rewritten)
        copy_up_to(run, run->scenario->size);
    return SCENARIO_PASSED;
}

enum scenario_verdict scenario_run(const struct scenario *scenario, struct rr_text *report)
{
    struct run run = {.scenario = scenario, .report = report};
    struct rr_text output = {.grow = heap_text_grow};
    enum scenario_verdict verdict = run_cases(&run, &output);
    if (run.state)
        run.dialect->close(run.state);
    heap_text_free(&output);
    scenario_memory_free(&run.memory);
    return verdict;
}
