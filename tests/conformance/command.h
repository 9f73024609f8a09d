/* SPDX-License-Identifier: Apache-2.0
 *
 * One command of a scenario while it runs: its arguments by name, and why it did not work. There
 * are two ways not to: *failing*, which is part of the story (the text belongs to the output), and
 * being *bad* (an unknown command, a malformed argument), which is an error of the scenario and is
 * reported with file and line.
 */
#ifndef RR_CONFORMANCE_COMMAND_H
#define RR_CONFORMANCE_COMMAND_H

#include "tests/conformance/datadriven.h"

#include <ringraft/types.h>

#include <stdint.h>

enum outcome { OUTCOME_OK = 0, OUTCOME_FAILED = 1, OUTCOME_BAD = -1 };

struct command {
    const struct dd_case *c;
    struct scenario_memory *memory;
    const char **positionals; /* filled by command_parse */
    size_t positional_count;
    char reason[400]; /* unless OK */
};

enum outcome command_failed(struct command *cmd, const char *text);
enum outcome command_bad(struct command *cmd, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* What may stand as key=value, and where the value goes; the caller sets the defaults. */
enum option_kind {
    OPTION_U64,  /* uint64_t; `max` is 2^64-1 */
    OPTION_I32,  /* int32_t */
    OPTION_BOOL, /* bool */
    OPTION_FLAG, /* bool; the key alone means true */
    OPTION_TEXT, /* const char * */
    OPTION_IDS,  /* struct id_list, to which the values are appended */
    OPTION_LIST, /* any number of values, read by the handler itself; no target */
};

struct option {
    const char *key;
    enum option_kind kind;
    void *target;
};

struct id_list {
    uint64_t *ids;
    uint32_t count;
    bool is_given;
};

/* Sorts the arguments into options and positionals. Anything else is bad, and so is a number of
 * positionals outside [least, most]. */
struct command_shape {
    const struct option *options;
    size_t option_count;
    size_t least;
    size_t most;
};
enum outcome command_parse(struct command *cmd, const struct command_shape *shape);

/* Numbers and the like; `what` is named when they are malformed. */
enum outcome command_u64(struct command *cmd, const char *what, const char *value, uint64_t *out);
enum outcome command_bool(struct command *cmd, const char *what, const char *value, bool *out);
enum outcome command_id_list(struct command *cmd, const struct dd_argument *argument,
                             struct id_list *out);
/* Splits text at single separators (runs of them count as one); the words in scenario memory. */
size_t command_split(struct command *cmd, const char *text, char separator, const char ***words);

/* Configuration changes: `v<id>` voter, `l<id>` learner, `r<id>` remove, `u<id>` update. */
struct conf_ops {
    struct rr_conf_change_single *changes;
    uint32_t count;
};
enum outcome command_conf_ops(struct command *cmd, const char *text, char separator,
                              struct conf_ops *out);

/* ---- dialects ------------------------------------------------------------ */

/* A scenario language: which commands it has, and what runs them. */
struct dialect {
    bool (*owns)(const char *name);
    void *(*open)(struct scenario_memory *memory);
    /* Appends the result to `output`; OK or BAD. */
    enum outcome (*run)(void *state, struct command *cmd, struct rr_text *output);
    void (*close)(void *state);
};

extern const struct dialect quorum_dialect;
extern const struct dialect confchange_dialect;
extern const struct dialect cluster_dialect;

/* For tables of command names that end with NULL. */
bool name_is_in(const char *name, const char *const *names);

#endif
