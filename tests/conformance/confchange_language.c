/* SPDX-License-Identifier: Apache-2.0
 *
 * The language of configuration changes as pure functions: `simple`, `enter-joint`, `leave-joint`
 * on one changer that starts with the empty configuration. The last index grows by one after every
 * command, failed or not, so that the progress of a new member tells when it came.
 */
#include "tests/conformance/command.h"

#include "raft/confchange.h"
#include "raft/describe.h"
#include "tests/conformance/heap_allocator.h"

#include <string.h>

enum { WINDOW = 10 };

static const char *const commands[] = {"simple", "enter-joint", "leave-joint", NULL};

struct changer {
    struct tracker tracker;
    uint64_t last_index;
};

static enum outcome change_config(struct changer *changer, struct command *cmd, const char **reason)
{
    bool auto_leave = false;
    const struct option options[] = {{"autoleave", OPTION_BOOL, &auto_leave}};
    const char *name = cmd->c->command;
    if (!name_is_in(name, commands))
        return command_bad(cmd, "unknown command '%s' (a scenario of conf changes)", name);
    bool is_enter = strcmp(name, "enter-joint") == 0;
    const struct command_shape shape = {.options = options, .option_count = is_enter ? 1 : 0};
    struct conf_ops ops;
    enum outcome outcome = command_parse(cmd, &shape);
    if (outcome == OUTCOME_OK)
        outcome = command_conf_ops(cmd, cmd->c->input, ' ', &ops);
    if (outcome != OUTCOME_OK)
        return outcome;
    struct confchange change = {ops.changes, ops.count, changer->last_index};
    if (is_enter)
        *reason = confchange_enter_joint(&changer->tracker, &change, auto_leave);
    else if (strcmp(name, "simple") == 0)
        *reason = confchange_simple(&changer->tracker, &change);
    else if (ops.count > 0)
        *reason = "this command takes no input";
    else
        *reason = confchange_leave_joint(&changer->tracker);
    return OUTCOME_OK;
}

/* ---- the dialect --------------------------------------------------------- */

static bool confchange_owns(const char *name)
{
    return name_is_in(name, commands);
}

static void *confchange_open(struct scenario_memory *memory)
{
    struct changer *changer = scenario_alloc(memory, sizeof(*changer));
    changer->tracker.max_inflight_msgs = WINDOW;
    changer->tracker.allocator = heap_allocator;
    return changer;
}

static enum outcome confchange_run(void *state, struct command *cmd, struct rr_text *output)
{
    struct changer *changer = state;
    const char *reason = NULL;
    enum outcome outcome = change_config(changer, cmd, &reason);
    if (outcome != OUTCOME_OK)
        return outcome;
    changer->last_index++;
    if (reason)
        rr_text_string(output, reason);
    else
        rr_describe_config(output, &changer->tracker.config);
    rr_text_char(output, '\n');
    if (!reason)
        rr_describe_progress_map(output, &changer->tracker);
    return OUTCOME_OK;
}

static void confchange_close(void *state)
{
    tracker_fini(&((struct changer *)state)->tracker);
}

const struct dialect confchange_dialect = {confchange_owns, confchange_open, confchange_run,
                                           confchange_close};
