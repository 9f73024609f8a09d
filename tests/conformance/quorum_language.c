/* SPDX-License-Identifier: Apache-2.0
 *
 * The language of quorum arithmetic: `committed` and `vote` on a majority (cfg) or a joint pair of
 * them (cfg, cfgj). Values are given per voter, in the order in which the ids first appear. The
 * table is drawn here; the answers are the core's.
 */
#include "tests/conformance/command.h"

#include "proto/base.h"
#include "raft/quorum.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct voter {
    uint64_t id;
    uint64_t index; /* 0: none */
    char vote;      /* 'y', 'n', '_' */
    bool in_half[2];
    size_t bar;
};

struct quorum_case {
    struct voter *voters; /* ascending ids once all is read */
    size_t count;
    size_t half_counts[2];
};

/* ---- reading ------------------------------------------------------------- */

static const struct dd_argument *find_argument(const struct dd_case *c, const char *key)
{
    for (size_t i = 0; i < c->argument_count; i++)
        if (strcmp(c->arguments[i].key, key) == 0)
            return &c->arguments[i];
    return NULL;
}

static void add_voter(struct quorum_case *q, uint64_t id, int half)
{
    size_t i = 0;
    while (i < q->count && q->voters[i].id != id)
        i++;
    if (i == q->count)
        q->voters[q->count++] = (struct voter){.id = id, .vote = '_'};
    q->half_counts[half] += !q->voters[i].in_half[half];
    q->voters[i].in_half[half] = true;
}

static enum outcome read_half(struct command *cmd, struct quorum_case *q, const char *key, int half)
{
    const struct dd_argument *argument = find_argument(cmd->c, key);
    if (!argument)
        return OUTCOME_OK;
    if (half == 1 && argument->value_count == 1 && strcmp(argument->values[0], "zero") == 0)
        return OUTCOME_OK;
    struct id_list ids = {0};
    enum outcome outcome = command_id_list(cmd, argument, &ids);
    for (uint32_t i = 0; outcome == OUTCOME_OK && i < ids.count; i++)
        add_voter(q, ids.ids[i], half);
    return outcome;
}

static enum outcome read_value(struct command *cmd, struct voter *voter, const char *key,
                               const char *value)
{
    bool is_none = strcmp(value, "_") == 0;
    if (strcmp(key, "idx") == 0)
        return is_none ? OUTCOME_OK : command_u64(cmd, key, value, &voter->index);
    if (!is_none && strcmp(value, "y") != 0 && strcmp(value, "n") != 0)
        return command_bad(cmd, "votes: '%s' is not one of y, n, _", value);
    voter->vote = value[0];
    return OUTCOME_OK;
}

static int by_id(const void *a, const void *b)
{
    uint64_t x = ((const struct voter *)a)->id;
    uint64_t y = ((const struct voter *)b)->id;
    return (x > y) - (x < y);
}

/* `key`: idx or votes. */
static enum outcome read_case(struct command *cmd, const char *key, struct quorum_case *q)
{
    const struct dd_case *c = cmd->c;
    size_t most = 0;
    for (size_t i = 0; i < c->argument_count; i++) {
        const struct dd_argument *argument = &c->arguments[i];
        const char *const known[] = {"cfg", "cfgj", key, NULL};
        if (argument->is_positional || !name_is_in(argument->key, known))
            return command_bad(cmd, "%s knows no argument '%s'", c->command, argument->key);
        most += argument->value_count;
    }
    *q = (struct quorum_case){.voters = scenario_array(cmd->memory, most, sizeof(*q->voters))};
    enum outcome outcome = read_half(cmd, q, "cfg", 0);
    if (outcome == OUTCOME_OK)
        outcome = read_half(cmd, q, "cfgj", 1);
    const struct dd_argument *values = find_argument(c, key);
    size_t given = values ? values->value_count : 0;
    if (outcome == OUTCOME_OK && given != q->count)
        return command_bad(cmd, "%zu values in %s for %zu voters", given, key, q->count);
    for (size_t i = 0; outcome == OUTCOME_OK && i < given; i++)
        outcome = read_value(cmd, &q->voters[i], key, values->values[i]);
    if (q->count > 0)
        qsort(q->voters, q->count, sizeof(*q->voters), by_id);
    return outcome;
}

/* ---- answering ----------------------------------------------------------- */

/* bar: how many voters have a smaller index, ties counting as the first of them. */
static void measure_bars(struct quorum_case *q)
{
    for (size_t i = 0; i < q->count; i++)
        for (size_t j = 0; j < q->count; j++)
            q->voters[i].bar += q->voters[j].index < q->voters[i].index;
}

static void draw_table(struct quorum_case *q, struct rr_text *out)
{
    if (q->count == 0) {
        rr_text_string(out, "<empty majority quorum>");
        return;
    }
    measure_bars(q);
    rr_text_spaces(out, q->count);
    rr_text_string(out, "    idx\n");
    for (size_t i = 0; i < q->count; i++) {
        const struct voter *voter = &q->voters[i];
        for (size_t x = 0; x < voter->bar; x++)
            rr_text_char(out, 'x');
        rr_text_char(out, voter->index == 0 ? '?' : '>');
        rr_text_spaces(out, q->count - voter->bar);
        char columns[80];
        snprintf(columns, sizeof(columns), " %5" PRIu64 "    (id=%" PRIx64 ")\n", voter->index,
                 voter->id);
        rr_text_string(out, columns);
    }
}

static uint64_t half_committed(struct command *cmd, const struct quorum_case *q, int half)
{
    uint64_t *acked = scenario_array(cmd->memory, q->count, sizeof(uint64_t));
    size_t count = 0;
    for (size_t i = 0; i < q->count; i++)
        if (q->voters[i].in_half[half])
            acked[count++] = q->voters[i].index;
    return quorum_committed(acked, count);
}

static enum vote_result half_vote(const struct quorum_case *q, int half)
{
    size_t granted = 0;
    size_t rejected = 0;
    for (size_t i = 0; i < q->count; i++) {
        granted += q->voters[i].in_half[half] && q->voters[i].vote == 'y';
        rejected += q->voters[i].in_half[half] && q->voters[i].vote == 'n';
    }
    return quorum_vote(q->half_counts[half], granted, rejected);
}

static enum outcome run_committed(struct command *cmd, struct rr_text *out)
{
    struct quorum_case q;
    enum outcome outcome = read_case(cmd, "idx", &q);
    if (outcome != OUTCOME_OK)
        return outcome;
    draw_table(&q, out);
    uint64_t committed = rr_min_u64(half_committed(cmd, &q, 0), half_committed(cmd, &q, 1));
    if (committed == QUORUM_INDEX_MAX)
        rr_text_string(out, "∞");
    else
        rr_text_decimal(out, committed);
    rr_text_char(out, '\n');
    return OUTCOME_OK;
}

static enum outcome run_vote(struct command *cmd, struct rr_text *out)
{
    static const char *const names[] = {
        [VOTE_PENDING] = "VotePending\n", [VOTE_LOST] = "VoteLost\n", [VOTE_WON] = "VoteWon\n"};
    struct quorum_case q;
    enum outcome outcome = read_case(cmd, "votes", &q);
    if (outcome != OUTCOME_OK)
        return outcome;
    rr_text_string(out, names[quorum_vote_joint(half_vote(&q, 0), half_vote(&q, 1))]);
    return OUTCOME_OK;
}

/* ---- the dialect --------------------------------------------------------- */

static const char *const commands[] = {"committed", "vote", NULL};

static bool quorum_owns(const char *name)
{
    return name_is_in(name, commands);
}

static void *quorum_open(struct scenario_memory *memory)
{
    return memory; /* stateless: any pointer will do */
}

static enum outcome quorum_run(void *state, struct command *cmd, struct rr_text *output)
{
    (void)state;
    if (strcmp(cmd->c->command, "committed") == 0)
        return run_committed(cmd, output);
    if (strcmp(cmd->c->command, "vote") == 0)
        return run_vote(cmd, output);
    return command_bad(cmd, "unknown command '%s' (a scenario of quorums)", cmd->c->command);
}

static void quorum_close(void *state)
{
    (void)state;
}

const struct dialect quorum_dialect = {quorum_owns, quorum_open, quorum_run, quorum_close};
