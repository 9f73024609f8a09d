/* SPDX-License-Identifier: Apache-2.0
 *
 * Arguments of a command by name, and its failures; see command.h.
 */
#include "tests/conformance/command.h"

#include "proto/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum outcome command_failed(struct command *cmd, const char *text)
{
    snprintf(cmd->reason, sizeof(cmd->reason), "%s", text);
    return OUTCOME_FAILED;
}

enum outcome command_bad(struct command *cmd, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(cmd->reason, sizeof(cmd->reason), format, args);
    va_end(args);
    return OUTCOME_BAD;
}

bool name_is_in(const char *name, const char *const *names)
{
    for (; *names; names++)
        if (strcmp(name, *names) == 0)
            return true;
    return false;
}

/* ---- values -------------------------------------------------------------- */

enum outcome command_u64(struct command *cmd, const char *what, const char *value, uint64_t *out)
{
    if (strcmp(value, "max") == 0) {
        *out = UINT64_MAX;
        return OUTCOME_OK;
    }
    uint64_t number = 0;
    const char *digit = value;
    for (; *digit >= '0' && *digit <= '9'; digit++) {
        uint64_t units = (uint64_t)(*digit - '0');
        if (number > (UINT64_MAX - units) / 10)
            return command_bad(cmd, "%s: the number '%s' is beyond 64 bits", what, value);
        number = number * 10 + units;
    }
    if (digit == value || *digit)
        return command_bad(cmd, "%s: '%s' is not a decimal number", what, value);
    *out = number;
    return OUTCOME_OK;
}

static enum outcome parse_i32(struct command *cmd, const char *what, const char *value,
                              int32_t *out)
{
    uint64_t number;
    enum outcome outcome = command_u64(cmd, what, value, &number);
    if (outcome != OUTCOME_OK)
        return outcome;
    if (number > INT32_MAX)
        return command_bad(cmd, "%s: %s is more than 2^31-1", what, value);
    *out = (int32_t)number;
    return OUTCOME_OK;
}

enum outcome command_bool(struct command *cmd, const char *what, const char *value, bool *out)
{
    static const char *const yes[] = {"1", "t", "T", "TRUE", "true", "True", NULL};
    static const char *const no[] = {"0", "f", "F", "FALSE", "false", "False", NULL};
    *out = name_is_in(value, yes);
    if (!*out && !name_is_in(value, no))
        return command_bad(cmd, "%s: '%s' is not a boolean", what, value);
    return OUTCOME_OK;
}

enum outcome command_id_list(struct command *cmd, const struct dd_argument *argument,
                             struct id_list *out)
{
    uint64_t *ids =
        scenario_array(cmd->memory, out->count + argument->value_count, sizeof(uint64_t));
    if (out->count > 0)
        memcpy(ids, out->ids, out->count * sizeof(uint64_t));
    out->ids = ids;
    out->is_given = true;
    for (size_t i = 0; i < argument->value_count; i++) {
        enum outcome outcome =
            command_u64(cmd, argument->key, argument->values[i], &ids[out->count++]);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
    return OUTCOME_OK;
}

size_t command_split(struct command *cmd, const char *text, char separator, const char ***words)
{
    size_t count = 0;
    *words = scenario_array(cmd->memory, strlen(text) / 2 + 1, sizeof(char *));
    while (*text) {
        if (*text == separator) {
            text++;
            continue;
        }
        const char *end = strchr(text, separator);
        size_t size = end ? (size_t)(end - text) : strlen(text);
        (*words)[count++] = scenario_copy(cmd->memory, text, size);
        text += size;
    }
    return count;
}

enum outcome command_conf_ops(struct command *cmd, const char *text, char separator,
                              struct conf_ops *out)
{
    static const char letters[] = "vrul"; /* in the order of enum rr_conf_change_type */
    const char **words;
    size_t count = command_split(cmd, text, separator, &words);
    *out = (struct conf_ops){.changes = scenario_array(cmd->memory, count, sizeof(*out->changes))};
    for (size_t i = 0; i < count; i++) {
        const char *letter = strchr(letters, words[i][0]);
        if (!letter)
            return command_bad(cmd, "'%s' is not one of v<id>, l<id>, r<id>, u<id>", words[i]);
        struct rr_conf_change_single *change = &out->changes[out->count++];
        change->type = (uint8_t)(letter - letters);
        enum outcome outcome = command_u64(cmd, words[i], words[i] + 1, &change->node_id);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
    return OUTCOME_OK;
}

/* ---- options ------------------------------------------------------------- */

static const struct option *find_option(const struct command_shape *shape,
                                        const struct dd_argument *argument)
{
    for (size_t i = 0; i < shape->option_count; i++) {
        const struct option *option = &shape->options[i];
        bool may_stand = !argument->is_positional || option->kind == OPTION_FLAG;
        if (may_stand && strcmp(option->key, argument->key) == 0)
            return option;
    }
    return NULL;
}

static enum outcome set_option(struct command *cmd, const struct option *option,
                               const struct dd_argument *argument)
{
    const char *key = option->key;
    if (option->kind == OPTION_LIST)
        return OUTCOME_OK;
    if (option->kind == OPTION_IDS)
        return command_id_list(cmd, argument, option->target);
    if (argument->is_positional) {
        *(bool *)option->target = true;
        return OUTCOME_OK;
    }
    if (argument->value_count != 1)
        return command_bad(cmd, "%s: takes one value, not %zu", key, argument->value_count);
    const char *value = argument->values[0];
    switch (option->kind) {
    case OPTION_U64:
        return command_u64(cmd, key, value, option->target);
    case OPTION_I32:
        return parse_i32(cmd, key, value, option->target);
    case OPTION_BOOL:
    case OPTION_FLAG:
        return command_bool(cmd, key, value, option->target);
    default:
        RR_ASSERT(option->kind == OPTION_TEXT);
        *(const char **)option->target = value;
        return OUTCOME_OK;
    }
}

enum outcome command_parse(struct command *cmd, const struct command_shape *shape)
{
    const struct dd_case *c = cmd->c;
    cmd->positionals = scenario_array(cmd->memory, c->argument_count, sizeof(char *));
    cmd->positional_count = 0;
    for (size_t i = 0; i < c->argument_count; i++) {
        const struct dd_argument *argument = &c->arguments[i];
        const struct option *option = find_option(shape, argument);
        if (option) {
            enum outcome outcome = set_option(cmd, option, argument);
            if (outcome != OUTCOME_OK)
                return outcome;
        } else if (argument->is_positional) {
            cmd->positionals[cmd->positional_count++] = argument->key;
        } else {
            return command_bad(cmd, "%s knows no argument '%s'", c->command, argument->key);
        }
    }
    if (cmd->positional_count < shape->least)
        return command_bad(cmd, "%s needs %zu positional argument(s) and got %zu", c->command,
                           shape->least, cmd->positional_count);
    if (cmd->positional_count > shape->most)
        return command_bad(cmd, "%s: unexpected argument '%s'", c->command,
                           cmd->positionals[shape->most]);
    return OUTCOME_OK;
}
