/* SPDX-License-Identifier: Apache-2.0
 *
 * Unified differences: equal heads and tails are set aside, what lies between is compared by the
 * table of longest common subsequences; a middle too large for the table is shown as replaced.
 */
#include "tests/conformance/unified_diff.h"

#include "proto/base.h"

#include <stdlib.h>
#include <string.h>

enum { CONTEXT = 3, TABLE_CELLS_MAX = 4 * 1024 * 1024 };

struct lines {
    struct diff_side *items;
    size_t count;
};

/* One line of the result: ' ' in both, '-' expected only, '+' actual only. */
struct edit {
    char kind;
    struct diff_side line;
};

struct edits {
    struct edit *items;
    size_t count;
};

static void *must_have(void *bytes)
{
    RR_ASSERT(bytes != NULL);
    return bytes;
}

static struct lines split_lines(struct diff_side text)
{
    struct lines lines = {.items = must_have(malloc((text.size + 1) * sizeof(*lines.items)))};
    while (text.size > 0) {
        const char *newline = memchr(text.bytes, '\n', text.size);
        size_t size = newline ? (size_t)(newline - text.bytes) : text.size;
        lines.items[lines.count++] = (struct diff_side){text.bytes, size};
        size_t step = newline ? size + 1 : size;
        text.bytes += step;
        text.size -= step;
    }
    return lines;
}

static bool same_line(struct diff_side a, struct diff_side b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.bytes, b.bytes, a.size) == 0);
}

static void add_edit(struct edits *edits, char kind, struct diff_side line)
{
    edits->items[edits->count++] = (struct edit){kind, line};
}

/* The edits between two runs that share neither their first nor their last line. */
static void diff_middle(struct edits *edits, struct lines a, struct lines b)
{
    size_t width = b.count + 1;
    bool fits = a.count + 1 <= TABLE_CELLS_MAX / width;
    /* common[i * width + j]: the longest common subsequence of a[i ..] and b[j ..] */
    uint32_t *common = must_have(calloc(fits ? (a.count + 1) * width : 1, sizeof(*common)));
    for (size_t i = a.count; fits && i-- > 0;) {
        for (size_t j = b.count; j-- > 0;) {
            uint32_t down = common[(i + 1) * width + j];
            uint32_t right = common[i * width + j + 1];
            common[i * width + j] = same_line(a.items[i], b.items[j])
                                        ? common[(i + 1) * width + j + 1] + 1
                                    : down > right ? down
                                                   : right;
        }
    }
    size_t i = 0;
    size_t j = 0;
    while (i < a.count || j < b.count) {
        if (fits && i < a.count && j < b.count && same_line(a.items[i], b.items[j])) {
            add_edit(edits, ' ', a.items[i++]);
            j++;
        } else if (i < a.count && (j == b.count || !fits ||
                                   common[(i + 1) * width + j] >= common[i * width + j + 1])) {
            add_edit(edits, '-', a.items[i++]);
        } else {
            add_edit(edits, '+', b.items[j++]);
        }
    }
    free(common);
}

static struct edits compare(struct lines a, struct lines b)
{
    struct edits edits = {.items =
                              must_have(malloc((a.count + b.count + 1) * sizeof(struct edit)))};
    size_t head = 0;
    while (head < a.count && head < b.count && same_line(a.items[head], b.items[head]))
        add_edit(&edits, ' ', a.items[head++]);
    size_t tail = 0;
    while (tail < a.count - head && tail < b.count - head &&
           same_line(a.items[a.count - tail - 1], b.items[b.count - tail - 1]))
        tail++;
    diff_middle(&edits, (struct lines){a.items + head, a.count - head - tail},
                (struct lines){b.items + head, b.count - head - tail});
    for (; tail > 0; tail--)
        add_edit(&edits, ' ', a.items[a.count - tail]);
    return edits;
}

/* Is one of the edits in [from, to) a difference? */
static bool has_change(const struct edits *edits, size_t from, size_t to)
{
    for (size_t i = from; i < to && i < edits->count; i++)
        if (edits->items[i].kind != ' ')
            return true;
    return false;
}

static void write_range(struct rr_text *out, char sign, size_t start, size_t count)
{
    rr_text_char(out, ' ');
    rr_text_char(out, sign);
    rr_text_decimal(out, count == 0 ? start - 1 : start);
    rr_text_field(out, ",", count);
}

static void write_hunk(struct rr_text *out, const struct edits *edits, size_t from, size_t to,
                       const size_t starts[2])
{
    size_t counts[2] = {0, 0};
    for (size_t i = from; i < to; i++) {
        counts[0] += edits->items[i].kind != '+';
        counts[1] += edits->items[i].kind != '-';
    }
    rr_text_string(out, "@@");
    write_range(out, '-', starts[0], counts[0]);
    write_range(out, '+', starts[1], counts[1]);
    rr_text_string(out, " @@\n");
    for (size_t i = from; i < to; i++) {
        rr_text_char(out, edits->items[i].kind);
        rr_text_bytes(out, edits->items[i].line.bytes, edits->items[i].line.size);
        rr_text_char(out, '\n');
    }
}

void unified_diff(struct rr_text *out, struct diff_side expected, struct diff_side actual,
                  size_t line)
{
    struct lines a = split_lines(expected);
    struct lines b = split_lines(actual);
    struct edits edits = compare(a, b);
    size_t starts[2] = {line, line};
    for (size_t i = 0; i < edits.count;) {
        size_t end = i;
        if (has_change(&edits, i, i + CONTEXT + 1)) { /* a hunk begins here */
            while (end < edits.count && has_change(&edits, end, end + 2 * CONTEXT + 1))
                end++;
            while (end < edits.count && has_change(&edits, end < CONTEXT ? 0 : end - CONTEXT, end))
                end++;
            write_hunk(out, &edits, i, end, starts);
        } else {
            end = i + 1;
        }
        for (; i < end; i++) {
            starts[0] += edits.items[i].kind != '+';
            starts[1] += edits.items[i].kind != '-';
        }
    }
    free(edits.items);
    free(a.items);
    free(b.items);
}
