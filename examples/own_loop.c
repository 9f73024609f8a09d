/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine inside the application's own epoll loop: one thread for both. Each line of standard
 * input is replicated, and numbered aloud once it is durable.     printf 'a\nb\n' | own_loop DIR
 *
 * The engine gives one descriptor, readable whenever it has something to do; the application then
 * turns it once. Callbacks come out of that turn, the state machine's too (apply_inline), so that
 * nothing here needs a lock.
 */
#include <ringraft/raft.h>
#include <ringraft/ringraft.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static uint64_t line_count; /* the state machine: how many lines there were, ever */
static unsigned waiting;    /* proposals without an outcome */

static int lines_open(void *ctx, uint64_t *applied)
{
    (void)ctx;
    *applied = line_count = 0;
    return 0;
}

static int lines_apply(void *ctx, const struct rr_apply_entry *entries, uint32_t count,
                       uint64_t *results)
{
    (void)ctx, (void)entries;
    for (uint32_t i = 0; i < count; i++)
        results[i] = ++line_count;
    return 0;
}

/* The state is one number: a snapshot is a copy of it, read and written in pieces of any size. */
struct copy {
    uint64_t number;
    size_t at;
};

static int copy_begin(void *ctx, void **context)
{
    struct copy *copy = calloc(1, sizeof(*copy));
    (void)ctx;
    if (!copy)
        return RR_E_NO_MEMORY;
    copy->number = line_count;
    *context = copy;
    return 0;
}

static int copy_read(void *ctx, void *context, uint8_t *buf, size_t cap, size_t *size)
{
    struct copy *copy = context;
    size_t left = sizeof(copy->number) - copy->at;
    (void)ctx;
    *size = left < cap ? left : cap;
    memcpy(buf, (const char *)&copy->number + copy->at, *size);
    copy->at += *size;
    return 0;
}

static void copy_end(void *ctx, void *context)
{
    (void)ctx;
    free(context);
}

static int copy_write(void *ctx, void *context, const uint8_t *buf, size_t size)
{
    struct copy *copy = context;
    (void)ctx;
    if (size > sizeof(copy->number) - copy->at)
        return RR_E_CORRUPT;
    memcpy((char *)&copy->number + copy->at, buf, size);
    copy->at += size;
    return 0;
}

static int copy_restored(void *ctx, void *context, bool complete)
{
    const struct copy *copy = context;
    (void)ctx;
    if (complete)
        line_count = copy->number;
    free(context);
    return 0;
}

static void on_complete(void *ctx, const struct rr_completion *completions, uint32_t count)
{
    (void)ctx;
    for (uint32_t i = 0; i < count; i++) {
        waiting--;
        if (completions[i].status == RR_OK)
            printf("line %llu is durable\n", (unsigned long long)completions[i].result);
        else
            printf("a line was lost: %s\n", rr_err_sentence(completions[i].status));
    }
}

static bool is_leading(struct rr_group *group)
{
    struct rr_group_status status = {.size = sizeof(status)};
    return rr_group_status(group, &status) == 0 && status.role == RR_STATE_LEADER;
}

/* What standard input holds now, at most one line's worth of it; false: it has ended. */
static bool take_line(struct rr_group *group)
{
    static char line[4096];
    static size_t size;
    ssize_t got = read(STDIN_FILENO, line + size, 1); /* an example: a byte at a time will do */
    if (got > 0 && line[size] != '\n' && size + 1 < sizeof(line)) {
        size++;
        return true;
    }
    if (size > 0) {
        int rc = rr_propose(group, line, (uint32_t)size, 0);
        waiting += rc == 0;
        if (rc != 0)
            printf("a line was refused: %s\n", rr_err_sentence(rc));
        size = 0;
    }
    return got > 0;
}

/* The application's loop. Input is read once this node leads, and the loop ends when the input has
 * ended and every line has its outcome. */
static bool run(struct rr_engine *engine, struct rr_group *group)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC), engine_fd = rr_loop_fd(engine);
    struct epoll_event interest = {.events = EPOLLIN, .data.fd = engine_fd}, ready[2];
    bool is_reading = false, has_ended = false;
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, engine_fd, &interest) != 0)
        return false;
    while (!has_ended || waiting > 0) {
        int count = epoll_wait(epoll, ready, 2, -1);
        for (int i = 0; i < count; i++) {
            if (ready[i].data.fd == engine_fd && rr_loop_turn(engine, 0) != 0)
                return false;
            if (ready[i].data.fd == STDIN_FILENO && !take_line(group)) {
                epoll_ctl(epoll, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
                has_ended = true;
            }
        }
        interest.data.fd = STDIN_FILENO;
        if (!is_reading && is_leading(group)) {
            if (epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &interest) != 0)
                return false; /* a regular file cannot be waited for: give it through a pipe */
            is_reading = true;
        }
    }
    close(epoll);
    return true;
}

int main(int argc, char **argv)
{
    struct rr_error error;
    struct rr_engine *engine;
    struct rr_group *group;
    struct rr_peer_address self = {.node = 1, .address = "127.0.0.1:7001"};
    struct rr_engine_options options = {.size = sizeof(options),
                                        .dir = argc > 1 ? argv[1] : "own_loop.data",
                                        .listen = "127.0.0.1:0",
                                        .cluster_id = 1,
                                        .node_id = 1,
                                        .create = RR_CREATE_BOOTSTRAP,
                                        .embedded = true};
    struct rr_group_options group_options = {.size = sizeof(group_options),
                                             .group_id = 1,
                                             .peers = &self,
                                             .peer_count = 1,
                                             .apply_inline = true,
                                             .on_complete = on_complete};
    struct rr_state_machine machine = {.size = sizeof(machine),
                                       .open = lines_open,
                                       .apply = lines_apply,
                                       .snapshot_begin = copy_begin,
                                       .snapshot_read = copy_read,
                                       .snapshot_end = copy_end,
                                       .restore_begin = copy_begin,
                                       .restore_write = copy_write,
                                       .restore_end = copy_restored};
    if (rr_engine_open(&options, &engine, &error) != 0 ||
        rr_group_open(engine, &group_options, &machine, &group, &error) != 0) {
        fprintf(stderr, "own_loop: %s\n", error.message);
        return 1;
    }
    bool is_well = run(engine, group);
    rr_engine_close(engine, RR_CLOSE_DRAIN);
    printf("%llu lines in all\n", (unsigned long long)line_count);
    return !is_well;
}
