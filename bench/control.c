/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define STOP_WAIT_MS  5000
#define ARGUMENTS_MAX 32

bool control_spawn(struct control *control, char *const *arguments)
{
    return control_spawn_program(control, "/proc/self/exe", arguments);
}

bool control_spawn_program(struct control *control, const char *program, char *const *arguments)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return false;
    char *argv[ARGUMENTS_MAX] = {(char *)"rr-bench"};
    for (uint32_t i = 0; arguments[i] && i + 2 < ARGUMENTS_MAX; i++)
        argv[i + 1] = arguments[i];
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        /* A bench that is killed leaves no replicas behind. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGINT, SIG_IGN); /* ^C is for the bench, which still reports */
        if (getppid() != parent)
            _exit(1);
        if (pair[1] == CONTROL_CHILD_FD)
            fcntl(pair[1], F_SETFD, 0);
        else
            dup2(pair[1], CONTROL_CHILD_FD);
        execv(program, argv);
        _exit(127);
    }
    close(pair[1]);
    *control = (struct control){.fd = pair[0], .pid = pid};
    if (pid < 0)
        close(pair[0]);
    return pid > 0;
}

void control_child(struct control *control)
{
    *control = (struct control){.fd = CONTROL_CHILD_FD};
    fcntl(CONTROL_CHILD_FD, F_SETFD, FD_CLOEXEC);
}

bool control_send(struct control *control, const char *format, ...)
{
    char line[2048];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(line, sizeof(line) - 1, format, arguments);
    va_end(arguments);
    if (size < 0 || (size_t)size >= sizeof(line) - 1)
        return false;
    line[size++] = '\n';
    for (int sent = 0; sent < size;) {
        ssize_t n = send(control->fd, line + sent, (size_t)(size - sent), MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        sent += (int)n;
    }
    return true;
}

static bool take_line(struct control *control, char *line, size_t cap)
{
    char *end = memchr(control->buffer, '\n', control->used);
    if (!end)
        return false;
    size_t size = (size_t)(end - control->buffer);
    size_t kept = size < cap - 1 ? size : cap - 1;
    memcpy(line, control->buffer, kept);
    line[kept] = 0;
    control->used -= size + 1;
    memmove(control->buffer, end + 1, control->used);
    return true;
}

bool control_read(struct control *control, char *line, size_t cap, int timeout_ms)
{
    while (!take_line(control, line, cap)) {
        if (control->used == sizeof(control->buffer))
            return false;
        struct pollfd wait = {.fd = control->fd, .events = POLLIN};
        int ready = poll(&wait, 1, timeout_ms);
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0)
            return false;
        ssize_t n = read(control->fd, control->buffer + control->used,
                         sizeof(control->buffer) - control->used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        control->used += (size_t)n;
    }
    return true;
}

void control_stop(struct control *control)
{
    if (control->pid <= 0)
        return;
    char line[64];
    if (control_send(control, "quit"))
        while (control_read(control, line, sizeof(line), STOP_WAIT_MS))
            ;
    kill(control->pid, SIGKILL);
    while (waitpid(control->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    close(control->fd);
    *control = (struct control){.fd = -1};
}

static const char *find(const char *line, const char *key)
{
    size_t size = strlen(key);
    for (const char *at = line; (at = strstr(at, key)) != NULL; at += size)
        if (at > line && at[-1] == ' ' && at[size] == '=')
            return at + size + 1;
    return NULL;
}

bool control_u64(const char *line, const char *key, uint64_t *value)
{
    const char *at = find(line, key);
    if (at)
        *value = strtoull(at, NULL, 10);
    return at != NULL;
}

bool control_double(const char *line, const char *key, double *value)
{
    const char *at = find(line, key);
    if (at)
        *value = strtod(at, NULL);
    return at != NULL;
}

bool control_word(const char *line, const char *key, char *word, size_t cap)
{
    const char *at = find(line, key);
    if (!at)
        return false;
    size_t size = strcspn(at, " ");
    if (size >= cap)
        size = cap - 1;
    memcpy(word, at, size);
    word[size] = 0;
    return true;
}
