/* SPDX-License-Identifier: Apache-2.0
 *
 * Reader of scenario files; see datadriven.h. Lines are spans of the file's text; only what a case
 * keeps (command, arguments, input, expected output) is copied.
 */
#include "tests/conformance/datadriven.h"

#include "proto/base.h"

#include <string.h>

static const char separator[] = "----";

struct span {
    const char *bytes;
    size_t size;
};

void dd_init(struct dd_reader *reader, const char *text, size_t size,
             struct scenario_memory *memory)
{
    *reader = (struct dd_reader){.text = text, .size = size, .memory = memory};
}

/* ---- lines --------------------------------------------------------------- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f';
}

static struct span trim(struct span s)
{
    while (s.size > 0 && is_blank(s.bytes[0]))
        s.bytes++, s.size--;
    while (s.size > 0 && is_blank(s.bytes[s.size - 1]))
        s.size--;
    return s;
}

static bool next_line(struct dd_reader *reader, struct span *line)
{
    if (reader->at >= reader->size)
        return false;
    const char *begin = reader->text + reader->at;
    const char *newline = memchr(begin, '\n', reader->size - reader->at);
    size_t size = newline ? (size_t)(newline - begin) : reader->size - reader->at;
    reader->at += size + (newline != NULL);
    reader->line++;
    *line = (struct span){begin, size > 0 && begin[size - 1] == '\r' ? size - 1 : size};
    return true;
}

static bool is_separator(struct span line)
{
    return line.size == sizeof(separator) - 1 && memcmp(line.bytes, separator, line.size) == 0;
}

static int fail_at(struct dd_reader *reader, size_t line, const char *problem)
{
    reader->problem = problem;
    reader->problem_line = line;
    return -1;
}

/* ---- arguments ----------------------------------------------------------- */

struct argument_parser {
    struct scenario_memory *memory;
    const char *at;
    const char *end;
    const char *problem;
};

static char *copy_span(struct scenario_memory *memory, const char *begin, const char *end)
{
    return scenario_copy(memory, begin, (size_t)(end - begin));
}

static void add_value(struct argument_parser *p, struct dd_argument *argument, const char *begin,
                      const char *end)
{
    const char **values = scenario_array(p->memory, argument->value_count + 1, sizeof(char *));
    if (argument->value_count > 0)
        memcpy(values, argument->values, argument->value_count * sizeof(char *));
    values[argument->value_count++] = copy_span(p->memory, begin, end);
    argument->values = values;
}

/* Behind the opening parenthesis: values up to the matching one. `()` holds none. */
static bool parse_list(struct argument_parser *p, struct dd_argument *argument)
{
    size_t depth = 1;
    const char *begin = p->at;
    for (; p->at < p->end; p->at++) {
        if (*p->at == '(')
            depth++;
        bool is_close = *p->at == ')' && --depth == 0;
        if (!is_close && !(*p->at == ',' && depth == 1))
            continue;
        if (argument->value_count > 0 || p->at > begin || !is_close)
            add_value(p, argument, begin, p->at);
        if (is_close) {
            p->at++;
            return true;
        }
        while (p->at + 1 < p->end && p->at[1] == ' ')
            p->at++;
        begin = p->at + 1;
    }
    p->problem = "a parenthesis is not closed";
    return false;
}

static bool parse_argument(struct argument_parser *p, struct dd_argument *argument)
{
    const char *begin = p->at;
    while (p->at < p->end && *p->at != ' ' && *p->at != '=')
        p->at++;
    argument->key = copy_span(p->memory, begin, p->at);
    argument->is_positional = p->at == p->end || *p->at == ' ';
    if (argument->is_positional)
        return true;
    if (p->at == begin) {
        p->problem = "an argument begins with '='";
        return false;
    }
    p->at++;
    if (p->at < p->end && *p->at == '(') {
        p->at++;
        if (!parse_list(p, argument))
            return false;
        if (p->at < p->end && *p->at != ' ') {
            p->problem = "a closing parenthesis must be followed by a space";
            return false;
        }
        return true;
    }
    begin = p->at;
    while (p->at < p->end && *p->at != ' ')
        p->at++;
    add_value(p, argument, begin, p->at);
    return true;
}

static bool parse_directive(struct argument_parser *p, struct dd_case *out)
{
    const char *begin = p->at;
    while (p->at < p->end && *p->at != ' ')
        p->at++;
    out->command = copy_span(p->memory, begin, p->at);
    /* An argument takes at least a space and a character. */
    out->arguments =
        scenario_array(p->memory, (size_t)(p->end - p->at) / 2 + 1, sizeof(*out->arguments));
    for (;;) {
        while (p->at < p->end && *p->at == ' ')
            p->at++;
        if (p->at == p->end)
            return true;
        if (!parse_argument(p, &out->arguments[out->argument_count++]))
            return false;
    }
}

/* ---- cases --------------------------------------------------------------- */

/* The next line that is neither blank nor a comment, with its continuations joined. */
static int read_directive(struct dd_reader *reader, struct dd_case *out)
{
    struct span line;
    do {
        if (!next_line(reader, &line))
            return 0;
        line = trim(line);
    } while (line.size == 0 || line.bytes[0] == '#');
    out->line = reader->line;

    char *joined = scenario_copy(reader->memory, line.bytes, line.size);
    size_t size = line.size;
    while (size > 0 && joined[size - 1] == '\\') {
        if (!next_line(reader, &line))
            return fail_at(reader, reader->line, "the file ends inside a continued line");
        line = trim(line);
        char *longer = scenario_alloc(reader->memory, size + line.size + 1);
        memcpy(longer, joined, size - 1);
        longer[size - 1] = ' ';
        memcpy(longer + size, line.bytes, line.size);
        joined = longer;
        size += line.size;
    }
    struct argument_parser parser = {.memory = reader->memory, .at = joined, .end = joined + size};
    if (!parse_directive(&parser, out))
        return fail_at(reader, out->line, parser.problem);
    return 1;
}

/* Lines up to the separator; false if the file ends before it. */
static bool read_input(struct dd_reader *reader, struct dd_case *out)
{
    const char *begin = reader->text + reader->at;
    bool found = false;
    out->separator_at = reader->at;
    for (struct span line; next_line(reader, &line);) {
        found = is_separator(line);
        if (found)
            break;
        out->separator_at = reader->at;
    }
    /* A CR before LF is not part of a line. */
    const char *end = reader->text + out->separator_at;
    char *input = scenario_alloc(reader->memory, (size_t)(end - begin) + 1);
    size_t size = 0;
    for (const char *c = begin; c < end; c++) {
        if (*c == '\r' && c[1] == '\n')
            continue;
        input[size++] = *c;
    }
    struct span trimmed = trim((struct span){input, size});
    out->input = scenario_copy(reader->memory, trimmed.bytes, trimmed.size);
    return found;
}

static void add_expected(struct rr_text *expected, struct span line)
{
    rr_text_bytes(expected, line.bytes, line.size);
    rr_text_char(expected, '\n');
}

/* Behind a doubled separator: everything up to two consecutive separators. */
static bool read_fenced(struct dd_reader *reader, struct rr_text *expected)
{
    for (struct span line; next_line(reader, &line);) {
        if (is_separator(line)) {
            struct span second;
            if (!next_line(reader, &second))
                return false;
            if (is_separator(second))
                return true;
            add_expected(expected, line);
            line = second;
        }
        add_expected(expected, line);
    }
    return false;
}

static bool read_expected(struct dd_reader *reader, struct dd_case *out, struct rr_text *expected)
{
    struct span line;
    bool is_first = true;
    out->end_at = reader->at;
    out->expected_line = reader->line + 1;
    while (next_line(reader, &line)) {
        if (is_first && is_separator(line)) {
            out->expected_line++;
            bool closed = read_fenced(reader, expected);
            out->end_at = reader->at;
            return closed;
        }
        is_first = false;
        if (trim(line).size == 0)
            break;
        add_expected(expected, line);
        out->end_at = reader->at;
    }
    return true;
}

int dd_next(struct dd_reader *reader, struct dd_case *out)
{
    *out = (struct dd_case){0};
    int found = read_directive(reader, out);
    if (found <= 0)
        return found;
    struct rr_text expected = {.grow = heap_text_grow};
    bool ok = true;
    if (read_input(reader, out))
        ok = read_expected(reader, out, &expected);
    else
        out->end_at = reader->at, out->expected_line = reader->line + 1;
    out->expected = scenario_copy(reader->memory, expected.bytes, expected.size);
    out->expected_size = expected.size;
    heap_text_free(&expected);
    if (!ok)
        return fail_at(reader, out->line, "the output between `----` lines is not closed");
    return 1;
}

/* ---- comparing and writing ----------------------------------------------- */

bool dd_matches(const struct dd_case *c, const char *output, size_t size)
{
    bool lacks_newline = size > 0 && output[size - 1] != '\n';
    if (size + lacks_newline != c->expected_size)
        return false;
    return (size == 0 || memcmp(output, c->expected, size) == 0) &&
           (!lacks_newline || c->expected[size] == '\n');
}

/* Would the usual form end this output too early, or take it for the fenced form? */
static bool needs_fence(const char *output, size_t size)
{
    struct dd_reader lines;
    dd_init(&lines, output, size, NULL);
    bool is_first = true;
    for (struct span line; next_line(&lines, &line); is_first = false)
        if (trim(line).size == 0 || (is_first && is_separator(line)))
            return true;
    return false;
}

void dd_write_output(struct rr_text *text, const char *output, size_t size)
{
    bool fenced = needs_fence(output, size);
    rr_text_string(text, fenced ? "----\n----\n" : "----\n");
    rr_text_bytes(text, output, size);
    if (size > 0 && output[size - 1] != '\n')
        rr_text_char(text, '\n');
    if (fenced)
        rr_text_string(text, "----\n----\n");
}
