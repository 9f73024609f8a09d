/* SPDX-License-Identifier: Apache-2.0
 *
 * One line of text each way between rr-bench and its child processes, over a socket pair: `verb
 * key=value key=value`.
 */
#ifndef RR_BENCH_CONTROL_H
#define RR_BENCH_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct control {
    int fd;
    pid_t pid; /* the child, on the parent's side */
    size_t used;
    char buffer[4096]; /* bytes read behind the last line */
};

/* The descriptor under which a child finds its end. */
#define CONTROL_CHILD_FD 3

/* Starts this very program with `arguments` (NULL-terminated, without argv[0]); false: no process
 * could be made. */
bool control_spawn(struct control *control, char *const *arguments);
/* Another program that speaks the same. */
bool control_spawn_program(struct control *control, const char *program, char *const *arguments);
void control_child(struct control *control);
/* False: the other side is gone. */
bool control_send(struct control *control, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The next line without its newline; false: nothing came for timeout_ms (negative: wait for ever),
 * or the other side is gone. */
bool control_read(struct control *control, char *line, size_t cap, int timeout_ms);
/* Asks the child to end, waits a little, then ends it. */
void control_stop(struct control *control);

/* Value of `key=` in a line; false: there is none. */
bool control_u64(const char *line, const char *key, uint64_t *value);
bool control_double(const char *line, const char *key, double *value);
bool control_word(const char *line, const char *key, char *word, size_t cap);

#endif
