/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls and returns form one list by time. From its beginning, each call that stands before the
 * first return may be the next in the order: it is taken out, with its return, if the state allows
 * it. At a return whose call was not taken the last choice is undone. What was tried before (the
 * same set of calls, the same state) is not tried again.
 */
#include "tests/check/linearize.h"

#include "proto/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEPS_MAX 1000000u
#define NO_RETURN UINT32_MAX

/* A register's or list's content; any, as long as nothing was said about it. */
struct state {
    uint64_t value;
    bool is_any;
};

/* In the list by time. */
struct node {
    uint64_t time_ns;
    uint32_t op;
    bool is_return;
    uint32_t match; /* a call's return, or NO_RETURN: it need not have happened */
    uint32_t previous, next;
};

struct choice {
    uint32_t call; /* node */
    struct state before;
};

/* A set of calls, by a hash that each call adds to, and the state behind them. */
struct tried {
    uint64_t set[2];
    uint64_t value;
    bool is_any, is_used;
};

struct search {
    const struct history_op *ops;
    struct node *nodes; /* [0]: the list's head */
    uint32_t node_count;
    uint32_t returns_left;
    struct choice *choices;
    uint32_t choice_count;
    struct tried *tried; /* open addressing */
    size_t tried_count, tried_cap;
    uint64_t set[2]; /* of what is taken */
    struct state state;
};

static uint64_t mix(uint64_t z)
{
    z += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t linearize_append(uint64_t state, uint64_t value)
{
    return mix(state ^ mix(value)) | 1;
}

/* ---- the model ----------------------------------------------------------- */

/* False: the answer that was given cannot be given in this state. */
static bool apply(const struct history_op *op, struct state *state)
{
    struct state wanted = {op->kind == HISTORY_CAS ? op->expected : op->value, false};
    bool is_wanted = state->is_any || state->value == wanted.value;

    switch (op->kind) {
    case HISTORY_WRITE:
        *state = wanted;
        return true;
    case HISTORY_APPEND:
        if (!state->is_any) /* behind any list stands any list */
            state->value = linearize_append(state->value, op->value);
        return true;
    case HISTORY_READ:
        if (is_wanted)
            *state = wanted;
        return is_wanted;
    default:
        RR_ASSERT(op->kind == HISTORY_CAS);
        if (op->outcome == HISTORY_MISMATCH)
            return state->is_any || !is_wanted;
        if (is_wanted)
            *state = (struct state){op->value, false};
        return is_wanted;
    }
}

/* ---- the list ------------------------------------------------------------ */

static bool must_happen(const struct history_op *op)
{
    return op->outcome == HISTORY_OK || op->outcome == HISTORY_MISMATCH;
}

/* What failed did not happen, and a read that nobody knows of says nothing. */
static bool is_left_out(const struct history_op *op)
{
    return op->outcome == HISTORY_FAILED ||
           (op->outcome == HISTORY_UNKNOWN && op->kind == HISTORY_READ);
}

/* At the same time calls come before returns: they overlap. */
static int by_time(const void *left, const void *right)
{
    const struct node *a = left, *b = right;
    if (a->time_ns != b->time_ns)
        return a->time_ns < b->time_ns ? -1 : 1;
    if (a->is_return != b->is_return)
        return a->is_return ? 1 : -1;
    return a->op < b->op ? -1 : a->op > b->op;
}

/* A write of unknown outcome whose value no answer speaks of explains nothing: without it whatever
 * order there is remains one, as long as nobody says what the register was not. So that a client's
 * many lost calls cost no search. */
static bool is_unseen(const struct search *s, size_t count, const struct history_op *write)
{
    if (write->outcome != HISTORY_UNKNOWN || write->kind != HISTORY_WRITE)
        return false;
    for (size_t i = 0; i < count; i++) {
        const struct history_op *op = &s->ops[i];
        if ((op->kind == HISTORY_READ && op->value == write->value) || op->kind == HISTORY_CAS)
            return false;
    }
    return true;
}

static void make_list(struct search *s, size_t count)
{
    uint32_t *calls = calloc(count + 1, sizeof(*calls));
    RR_ASSERT(calls);
    s->node_count = 1;
    for (uint32_t i = 0; i < count; i++) {
        const struct history_op *op = &s->ops[i];
        if (is_left_out(op) || is_unseen(s, count, op))
            continue;
        s->nodes[s->node_count++] = (struct node){.time_ns = op->invoked_ns, .op = i};
        if (!must_happen(op))
            continue;
        RR_ASSERT(op->returned_ns >= op->invoked_ns);
        s->nodes[s->node_count++] =
            (struct node){.time_ns = op->returned_ns, .op = i, .is_return = true};
        s->returns_left++;
    }
    if (s->node_count > 2)
        qsort(s->nodes + 1, s->node_count - 1, sizeof(s->nodes[0]), by_time);
    for (uint32_t at = 0; at < s->node_count; at++) {
        struct node *node = &s->nodes[at];
        node->previous = at > 0 ? at - 1 : s->node_count - 1;
        node->next = at + 1 < s->node_count ? at + 1 : 0;
        node->match = NO_RETURN;
        if (at > 0 && !node->is_return)
            calls[node->op] = at;
        else if (at > 0)
            s->nodes[calls[node->op]].match = at;
    }
    free(calls);
}

static void take_out(struct search *s, uint32_t at)
{
    s->nodes[s->nodes[at].previous].next = s->nodes[at].next;
    s->nodes[s->nodes[at].next].previous = s->nodes[at].previous;
}

/* In the reverse order of taking out. */
static void put_back(struct search *s, uint32_t at)
{
    s->nodes[s->nodes[at].previous].next = at;
    s->nodes[s->nodes[at].next].previous = at;
}

static void toggle(struct search *s, uint32_t op)
{
    s->set[0] ^= mix(2 * (uint64_t)op + 1);
    s->set[1] ^= mix(2 * (uint64_t)op + 2);
}

/* ---- what was tried ------------------------------------------------------ */

static struct tried *find(const struct search *s, const struct tried *wanted)
{
    size_t at = (size_t)(wanted->set[0] ^ mix(wanted->value + wanted->is_any));
    for (;; at++) {
        struct tried *tried = &s->tried[at & (s->tried_cap - 1)];
        if (!tried->is_used ||
            (tried->set[0] == wanted->set[0] && tried->set[1] == wanted->set[1] &&
             tried->value == wanted->value && tried->is_any == wanted->is_any))
            return tried;
    }
}

static void grow(struct search *s)
{
    struct tried *old = s->tried;
    size_t old_cap = s->tried_cap;

    s->tried_cap = old_cap ? 2 * old_cap : 1024;
    s->tried = calloc(s->tried_cap, sizeof(s->tried[0]));
    RR_ASSERT(s->tried);
    for (size_t i = 0; i < old_cap; i++)
        if (old[i].is_used)
            *find(s, &old[i]) = old[i];
    free(old);
}

/* False: this set and state were met before. */
static bool is_new(struct search *s, const struct state *state)
{
    struct tried wanted = {{s->set[0], s->set[1]}, state->value, state->is_any, true};
    if (2 * s->tried_count >= s->tried_cap)
        grow(s);
    struct tried *place = find(s, &wanted);
    if (place->is_used)
        return false;
    *place = wanted;
    s->tried_count++;
    return true;
}

/* ---- the search ---------------------------------------------------------- */

/* The call at this node becomes the next in the order, if it may. */
static bool choose(struct search *s, uint32_t at)
{
    const struct node *node = &s->nodes[at];
    struct state state = s->state;

    if (!apply(&s->ops[node->op], &state))
        return false;
    toggle(s, node->op);
    if (!is_new(s, &state)) {
        toggle(s, node->op);
        return false;
    }
    s->choices[s->choice_count++] = (struct choice){at, s->state};
    s->state = state;
    take_out(s, at);
    if (node->match != NO_RETURN) {
        take_out(s, node->match);
        s->returns_left--;
    }
    return true;
}

/* Undoes the last choice; where it stood, or 0: there was none. */
static uint32_t undo(struct search *s)
{
    if (s->choice_count == 0)
        return 0;
    const struct choice *choice = &s->choices[--s->choice_count];
    const struct node *node = &s->nodes[choice->call];
    if (node->match != NO_RETURN) {
        put_back(s, node->match);
        s->returns_left++;
    }
    put_back(s, choice->call);
    toggle(s, node->op);
    s->state = choice->before;
    return choice->call;
}

static enum check_result run(struct search *s, uint64_t steps_max, uint32_t *stuck)
{
    uint32_t at = s->nodes[0].next;
    uint64_t furthest = 0;

    for (uint64_t steps = 0; s->returns_left > 0; steps++) {
        if (steps >= steps_max)
            return CHECK_GAVE_UP;
        RR_ASSERT(at != 0); /* a return is left, and stands behind its call */
        if (!s->nodes[at].is_return) {
            at = choose(s, at) ? s->nodes[0].next : s->nodes[at].next;
            continue;
        }
        if (s->nodes[at].time_ns >= furthest) {
            furthest = s->nodes[at].time_ns;
            *stuck = s->nodes[at].op;
        }
        uint32_t call = undo(s);
        if (call == 0)
            return CHECK_BROKEN;
        at = s->nodes[call].next;
    }
    return CHECK_HOLDS;
}

struct check_verdict linearize(const struct history_op *ops, size_t count,
                               const struct linearize_options *options)
{
    typedef unsigned long long ull;
    struct search s = {
        .ops = ops,
        .nodes = calloc(2 * count + 1, sizeof(struct node)),
        .choices = calloc(count + 1, sizeof(struct choice)),
        .state = {options->is_initial_unknown ? 0 : options->initial, options->is_initial_unknown}};
    struct check_verdict verdict = {.result = CHECK_HOLDS};
    uint32_t stuck = 0;

    RR_ASSERT(s.nodes && s.choices && count < NO_RETURN / 2);
    make_list(&s, count);
    verdict.result = run(&s, options->steps_max ? options->steps_max : STEPS_MAX, &stuck);
    if (verdict.result == CHECK_BROKEN) {
        const struct history_op *op = &ops[stuck];
        snprintf(verdict.why, sizeof(verdict.why),
                 "key %llu: no order explains all answers; the call of kind %u with value %llu, "
                 "made at %llu and answered at %llu, is where every order ends",
                 (ull)op->key, op->kind, (ull)op->value, (ull)op->invoked_ns, (ull)op->returned_ns);
    }
    free(s.nodes);
    free(s.choices);
    free(s.tried);
    return verdict;
}

size_t linearize_window(const struct history_op *ops, size_t count, uint64_t from_ns,
                        uint64_t to_ns, struct history_op *window)
{
    size_t kept = 0;

    for (size_t i = 0; i < count; i++) {
        struct history_op op = ops[i];
        bool is_open = op.outcome == HISTORY_UNKNOWN || op.returned_ns >= to_ns;
        if (op.outcome == HISTORY_FAILED || op.invoked_ns >= to_ns ||
            (!is_open && op.returned_ns < from_ns))
            continue;
        /* What began before may have happened before, and what is answered later may happen later:
         * nothing more is known of it here. A mismatch changes nothing. */
        if (is_open || op.invoked_ns < from_ns) {
            if (op.kind == HISTORY_READ || op.outcome == HISTORY_MISMATCH)
                continue;
            op.outcome = HISTORY_UNKNOWN;
        }
        window[kept++] = op;
    }
    return kept;
}
