/* SPDX-License-Identifier: Apache-2.0
 *
 * What only a simulator can see: each misuse of the seam stops the process. Every test misuses it
 * in a child.
 */
#include "io/sim/sim.h"

#include "proto/base.h"
#include "tests/unit/check.h"

#include <sys/wait.h>
#include <unistd.h>

#define BLOCK   4096u
#define STOPPED 42

struct scene {
    struct sim *sim;
    struct io *io;
    const struct io_ops *ops;
    struct io_op op[2];
    struct iovec iov[2];
    uint8_t *bytes;
    int fd;
};

static void op_done(struct io_op *op)
{
    (void)op;
}

static bool turn(void *ctx, uint64_t now_ns, uint64_t *deadline_ns)
{
    (void)ctx;
    (void)now_ns;
    (void)deadline_ns;
    return true;
}

static void stop(const char *file, int line, const char *expression)
{
    (void)file;
    (void)line;
    (void)expression;
    _exit(STOPPED);
}

static void write_at(struct scene *s, int slot, uint64_t offset, size_t skew)
{
    s->iov[slot] = (struct iovec){s->bytes + skew, BLOCK};
    s->op[slot] = (struct io_op){.done = op_done,
                                 .kind = IO_WRITE,
                                 .fd = s->fd,
                                 .iov = &s->iov[slot],
                                 .iov_count = 1,
                                 .offset = offset};
    io_submit(s->io, &s->op[slot]);
}

/* Runs the scene in a child: true if an assertion stopped it. */
static bool is_stopped(void (*scene)(struct scene *s))
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        struct scene s = {.sim = sim_new(1), .bytes = aligned_alloc(BLOCK, 4 * BLOCK)};
        s.io = sim_machine(s.sim, 1);
        s.ops = s.io->ops;
        s.fd = s.ops->open(s.io, "a", IO_O_CREATE | IO_O_DIRECT);
        memset(s.bytes, 1, 4 * BLOCK);
        CHECK(s.fd >= 0 && s.ops->start(s.io, turn, NULL) == 0);
        rr_assert_set_hook(stop);
        scene(&s);
        sim_run_until(s.sim, sim_now(s.sim) + 1000000000);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == STOPPED);
    return WEXITSTATUS(status) == STOPPED;
}

static void proper_use(struct scene *s)
{
    write_at(s, 0, 0, 0);
    write_at(s, 1, BLOCK, 0);
}

static void overlap(struct scene *s)
{
    write_at(s, 0, 0, 0);
    write_at(s, 1, 0, 0);
}

static void overlap_by_blocking_write(struct scene *s)
{
    write_at(s, 0, 0, 0);
    s->ops->pwrite(s->io, s->fd, s->bytes, BLOCK, 0, 0);
}

static void change_the_buffer(struct scene *s)
{
    write_at(s, 0, 0, 0);
    s->bytes[BLOCK - 1] = 2;
}

static void misaligned_buffer(struct scene *s)
{
    write_at(s, 0, 0, 512);
}

static void misaligned_offset(struct scene *s)
{
    write_at(s, 0, 512, 0);
}

static void misaligned_size(struct scene *s)
{
    s->ops->pwrite(s->io, s->fd, s->bytes, 512, 0, 0);
}

static void close_twice(struct scene *s)
{
    s->ops->close(s->io, s->fd);
    s->ops->close(s->io, s->fd);
}

static void close_under_a_write(struct scene *s)
{
    write_at(s, 0, 0, 0);
    s->ops->close(s->io, s->fd);
}

static void submit_twice(struct scene *s)
{
    write_at(s, 0, 0, 0);
    io_submit(s->io, &s->op[0]);
}

static void end_with_an_open_file(struct scene *s)
{
    sim_reset(s->sim, 1);
}

static void test_proper_use_is_not_stopped(void)
{
    CHECK(!is_stopped(proper_use));
}

static void test_misuse_is_stopped(void)
{
    CHECK(is_stopped(overlap));
    CHECK(is_stopped(overlap_by_blocking_write));
    CHECK(is_stopped(change_the_buffer));
    CHECK(is_stopped(misaligned_buffer));
    CHECK(is_stopped(misaligned_offset));
    CHECK(is_stopped(misaligned_size));
    CHECK(is_stopped(close_twice));
    CHECK(is_stopped(close_under_a_write));
    CHECK(is_stopped(submit_twice));
    CHECK(is_stopped(end_with_an_open_file));
}

int main(void)
{
    RUN(test_proper_use_is_not_stopped);
    RUN(test_misuse_is_stopped);
    return 0;
}
