/* SPDX-License-Identifier: Apache-2.0
 *
 * rr-conformance: holds the core against text scenarios. Folders are searched for *.txt, in order
 * of their names; the first difference ends a file.
 */
#include "tests/conformance/scenario.h"
#include "tests/conformance/scenario_memory.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char usage[] =
    "rr-conformance [--rewrite] DIR|FILE…   runs every scenario (*.txt in folders, recursively)\n"
    "rr-conformance -                       reads a scenario from standard input and writes it,\n"
    "                                       with the actual outputs, to standard output\n"
    "  --rewrite   writes the actual outputs into the files\n"
    "Exit status: 0 all passed, 1 something differs or is malformed, 2 wrong use.\n";

struct path_list {
    char **items;
    size_t count;
};

struct totals {
    size_t passed;
    size_t failed;
    bool is_rewriting;
};

static void die(const char *what, const char *path)
{
    fprintf(stderr, "rr-conformance: %s: %s\n", path, what);
    exit(2);
}

/* ---- files --------------------------------------------------------------- */

static void add_path(struct path_list *list, const char *path)
{
    char **items = realloc(list->items, (list->count + 1) * sizeof(*items));
    char *copy = strdup(path);
    if (!items || !copy)
        die("out of memory", path);
    list->items = items;
    list->items[list->count++] = copy;
}

static bool is_folder(const char *path)
{
    struct stat status;
    if (stat(path, &status) < 0)
        die(strerror(errno), path);
    return S_ISDIR(status.st_mode);
}

static void add_folder(struct path_list *list, const char *folder)
{
    struct dirent **entries;
    int count = scandir(folder, &entries, NULL, alphasort);
    if (count < 0)
        die(strerror(errno), folder);
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        size_t length = strlen(name);
        char path[4096];
        if (snprintf(path, sizeof(path), "%s/%s", folder, name) >= (int)sizeof(path))
            die("the path is too long", folder);
        if (name[0] != '.' && is_folder(path))
            add_folder(list, path);
        else if (length > 4 && strcmp(name + length - 4, ".txt") == 0)
            add_path(list, path);
        free(entries[i]);
    }
    free(entries);
}

static void read_all(FILE *file, const char *path, struct rr_text *text)
{
    char chunk[65536];
    for (size_t n; (n = fread(chunk, 1, sizeof(chunk), file)) > 0;)
        rr_text_bytes(text, chunk, n);
    if (ferror(file))
        die("cannot be read", path);
}

static void print(FILE *file, const struct rr_text *text)
{
    if (text->size > 0)
        fwrite(text->bytes, 1, text->size, file);
    fflush(file);
}

static void write_file(const char *path, const struct rr_text *text)
{
    FILE *file = fopen(path, "wb");
    if (!file)
        die(strerror(errno), path);
    bool ok = fwrite(text->bytes, 1, text->size, file) == text->size;
    if (fclose(file) != 0 || !ok)
        die("cannot be written", path);
}

/* ---- running ------------------------------------------------------------- */

static void run_file(const char *path, struct totals *totals)
{
    struct rr_text text = {.grow = heap_text_grow};
    struct rr_text report = {.grow = heap_text_grow};
    struct rr_text rewritten = {.grow = heap_text_grow};
    FILE *file = fopen(path, "rb");
    if (!file)
        die(strerror(errno), path);
    read_all(file, path, &text);
    fclose(file);
    struct scenario scenario = {.name = path,
                                .text = text.bytes,
                                .size = text.size,
                                .rewritten = totals->is_rewriting ? &rewritten : NULL};
    enum scenario_verdict verdict = scenario_run(&scenario, &report);
    if (verdict == SCENARIO_PASSED && totals->is_rewriting)
        write_file(path, &rewritten);
    print(stdout, &report);
    totals->passed += verdict == SCENARIO_PASSED;
    totals->failed += verdict != SCENARIO_PASSED;
    heap_text_free(&text);
    heap_text_free(&report);
    heap_text_free(&rewritten);
}

static int filter_standard_input(void)
{
    struct rr_text text = {.grow = heap_text_grow};
    struct rr_text report = {.grow = heap_text_grow};
    struct rr_text rewritten = {.grow = heap_text_grow};
    read_all(stdin, "standard input", &text);
    struct scenario scenario = {
        .name = "stdin", .text = text.bytes, .size = text.size, .rewritten = &rewritten};
    enum scenario_verdict verdict = scenario_run(&scenario, &report);
    print(stdout, &rewritten);
    print(stderr, &report);
    heap_text_free(&text);
    heap_text_free(&report);
    heap_text_free(&rewritten);
    return verdict != SCENARIO_PASSED || ferror(stdout);
}

static int run_paths(const struct path_list *given, struct totals *totals)
{
    struct path_list files = {0};
    for (size_t i = 0; i < given->count; i++) {
        size_t before = files.count;
        if (is_folder(given->items[i]))
            add_folder(&files, given->items[i]);
        else
            add_path(&files, given->items[i]);
        if (files.count == before)
            die("the folder holds no scenario (*.txt)", given->items[i]);
    }
    for (size_t i = 0; i < files.count; i++) {
        run_file(files.items[i], totals);
        free(files.items[i]);
    }
    printf("%zu files\n%zu passed, %zu failed\n", files.count, totals->passed, totals->failed);
    free(files.items);
    return totals->failed > 0;
}

int main(int argc, char **argv)
{
    struct path_list given = {0};
    struct totals totals = {0};
    bool is_filter = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--rewrite") == 0) {
            totals.is_rewriting = true;
        } else if (strcmp(argv[i], "-") == 0) {
            is_filter = true;
        } else if (strcmp(argv[i], "--help") == 0) {
            fputs(usage, stdout);
            return 0;
        } else if (argv[i][0] == '-') {
            die("unknown option", argv[i]);
        } else {
            add_path(&given, argv[i]);
        }
    }
    bool is_wrong = is_filter ? given.count > 0 || totals.is_rewriting : given.count == 0;
    if (is_wrong)
        fputs(usage, stderr);
    int status = is_wrong ? 2 : is_filter ? filter_standard_input() : run_paths(&given, &totals);
    for (size_t i = 0; i < given.count; i++)
        free(given.items[i]);
    free(given.items);
    return status;
}
