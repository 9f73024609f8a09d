/* SPDX-License-Identifier: Apache-2.0
 *
 * Turns, wake-ups, workers, crashes at a given point, and the promise that one seed is one trace.
 */
#include "io/sim/sim.h"

#include "tests/unit/check.h"

#include <errno.h>

#define BLOCK 4096u

struct process {
    struct sim *sim;
    struct io *io;
    struct io_worker *worker;
    uint64_t turns;
    uint64_t last_turn_ns;
    uint64_t deadline_ns;
    bool ends;
    char story[64]; /* what happened, a letter each */
};

static void tell(struct process *process, char letter)
{
    size_t size = strlen(process->story);
    CHECK(size + 1 < sizeof(process->story));
    process->story[size] = letter;
}

static bool turn(void *ctx, uint64_t now_ns, uint64_t *deadline_ns)
{
    struct process *process = ctx;
    CHECK(io_now(process->io) == now_ns);
    process->turns++;
    process->last_turn_ns = now_ns;
    *deadline_ns = process->deadline_ns;
    return !process->ends;
}

static struct process process_new(uint64_t seed)
{
    struct process process = {.sim = sim_new(seed), .deadline_ns = UINT64_MAX};
    process.io = sim_machine(process.sim, 1);
    return process;
}

static void start(struct process *process)
{
    CHECK(process->io->ops->start(process->io, turn, process) == 0);
}

static void test_turn_comes_at_its_deadline_and_when_woken(void)
{
    struct process p = process_new(1);
    start(&p);
    sim_run_until(p.sim, sim_now(p.sim) + 1000);
    CHECK_EQ_U64(p.turns, 1);

    uint64_t due = sim_now(p.sim) + 5000000;
    p.deadline_ns = due;
    io_wake(p.io);
    io_wake(p.io);
    sim_run_until(p.sim, due - 1);
    CHECK_EQ_U64(p.turns, 2);
    p.deadline_ns = UINT64_MAX;
    sim_run_until(p.sim, due + 1000000);
    CHECK_EQ_U64(p.turns, 3);
    CHECK_EQ_U64(p.last_turn_ns, due);

    p.ends = true;
    io_wake(p.io);
    p.io->ops->join(p.io);
    CHECK(!sim_step(p.sim));
    sim_reset(p.sim, 1);
    sim_free(p.sim);
}

struct job {
    struct io_job job;
    struct process *process;
    char run, done;
};

static void run_job(struct io_job *job)
{
    struct job *j = (struct job *)job;
    tell(j->process, j->run);
}

static void job_done(struct io_job *job)
{
    struct job *j = (struct job *)job;
    tell(j->process, j->done);
}

static void post(struct process *process, struct job *job, char run, char done)
{
    *job = (struct job){{.run = run_job, .done = job_done}, process, run, done};
    process->io->ops->worker_post(process->worker, &job->job);
}

static void test_jobs_run_in_order_and_complete_on_the_loop(void)
{
    struct process p = process_new(1);
    struct job a, b;

    start(&p);
    p.worker = p.io->ops->worker_new(p.io, "apply");
    post(&p, &a, 'a', 'A');
    post(&p, &b, 'b', 'B');
    CHECK(p.story[0] == 0);
    sim_run_until(p.sim, sim_now(p.sim) + 10000000);
    CHECK(strcmp(p.story, "aAbB") == 0 || strcmp(p.story, "abAB") == 0);
    p.io->ops->worker_free(p.worker);
    sim_kill(p.sim, 1);
    p.io->ops->join(p.io);
    sim_free(p.sim);
}

static void test_worker_free_completes_what_is_queued_also_after_a_crash(void)
{
    for (int crashes = 0; crashes < 2; crashes++) {
        struct process p = process_new(1);
        struct job a, b;
        start(&p);
        p.worker = p.io->ops->worker_new(p.io, "apply");
        post(&p, &a, 'a', 'A');
        post(&p, &b, 'b', 'B');
        if (crashes)
            sim_kill(p.sim, 1);
        sim_run_until(p.sim, sim_now(p.sim) + (crashes ? 10000000 : 0));
        CHECK(p.story[0] == 0);
        p.io->ops->worker_free(p.worker);
        CHECK(strcmp(p.story, "aAbB") == 0);
        sim_kill(p.sim, 1);
        p.io->ops->join(p.io);
        sim_free(p.sim);
    }
}

/* A small log writer: write a block, sync it by DSYNC, say so; then the next. */
struct writer {
    struct io_op op;
    struct iovec iov;
    struct process *process;
    uint64_t acknowledged;
    uint8_t *block;
};

static void start_write(struct writer *writer);

static void write_done(struct io_op *op)
{
    struct writer *writer = (struct writer *)op;
    if (op->result != BLOCK)
        return;
    writer->acknowledged++;
    if (writer->acknowledged < 8)
        start_write(writer);
}

static void start_write(struct writer *writer)
{
    memset(writer->block, (int)writer->acknowledged + 1, BLOCK);
    writer->iov = (struct iovec){writer->block, BLOCK};
    writer->op.offset = writer->acknowledged * BLOCK;
    io_submit(writer->process->io, &writer->op);
}

/* Returns what was acknowledged before the machine died at the n-th point, and checks that it is
 * there. */
static uint64_t write_and_crash_at(uint64_t n, uint64_t seed, bool *crashed)
{
    struct process p = process_new(seed);
    const struct io_ops *ops = p.io->ops;
    struct writer writer = {.process = &p, .block = aligned_alloc(BLOCK, BLOCK)};
    int fd = ops->open(p.io, "log", IO_O_CREATE);

    CHECK(fd >= 0 && ops->truncate(p.io, fd, 8 * BLOCK) == 0 && ops->fsync(p.io, fd) == 0);
    CHECK(ops->sync_dir(p.io, "/") == 0);
    start(&p);
    sim_crash_at_io(p.sim, 1, n, true, (enum sim_power_loss)(seed % SIM_POWER_LOSS_COUNT));
    writer.op = (struct io_op){
        .done = write_done, .kind = IO_WRITE, .fd = fd, .iov_count = 1, .flags = IO_DSYNC};
    writer.op.iov = &writer.iov;
    start_write(&writer);
    sim_run_until(p.sim, sim_now(p.sim) + 100000000);
    *crashed = sim_crashed(p.sim, 1);
    uint64_t acknowledged = writer.acknowledged;
    for (uint64_t i = 0; i < acknowledged; i++) {
        uint8_t seen[BLOCK];
        CHECK(sim_durable_read(p.sim, 1, "log", seen, BLOCK, i * BLOCK) == BLOCK);
        CHECK(seen[0] == i + 1 && seen[BLOCK - 1] == i + 1);
    }
    if (!*crashed)
        sim_kill(p.sim, 1);
    ops->join(p.io);
    CHECK(writer.acknowledged == acknowledged);
    sim_free(p.sim);
    free(writer.block);
    return acknowledged;
}

static void test_crash_at_every_point_loses_nothing_acknowledged(void)
{
    uint64_t n = 1;
    for (bool crashed = true; crashed; n++)
        for (uint64_t seed = 1; seed <= 8; seed++) {
            uint64_t acknowledged = write_and_crash_at(n, seed, &crashed);
            CHECK(acknowledged == (crashed ? (n - 1) / 2 : 8));
        }
    CHECK_EQ_U64(n - 1, 8 * 2 + 1); /* each write has two points */
}

static void test_dead_process_has_no_effect(void)
{
    struct process p = process_new(1);
    const struct io_ops *ops = p.io->ops;
    struct writer writer = {.process = &p, .block = aligned_alloc(BLOCK, BLOCK)};
    struct io_address address = sim_address(1, 7001);
    int fd = ops->open(p.io, "log", IO_O_CREATE);

    start(&p);
    sim_kill(p.sim, 1);
    CHECK(ops->pwrite(p.io, fd, "x", 1, 0, 0) == -EIO && ops->fsync(p.io, fd) == -EIO);
    CHECK(ops->open(p.io, "other", IO_O_CREATE) == -EIO && ops->unlink(p.io, "log") == -EIO);
    CHECK(ops->listen(p.io, &address, NULL) == -EIO && ops->socket(p.io, 0) == -EIO);
    ops->close(p.io, fd);
    io_wake(p.io);
    writer.op = (struct io_op){.done = write_done, .kind = IO_WRITE, .fd = fd, .iov_count = 1};
    writer.op.iov = &writer.iov;
    start_write(&writer);
    CHECK(writer.op.in_flight && !sim_step(p.sim) && p.turns == 0);
    ops->join(p.io);
    CHECK(!writer.op.in_flight && writer.op.result == -ECANCELED);
    sim_reset(p.sim, 1);
    fd = ops->open(p.io, "log", 0);
    CHECK(fd >= 0 && ops->file_size(p.io, fd) == 0);
    sim_free(p.sim);
    free(writer.block);
}

static void test_same_seed_is_the_same_trace(void)
{
    uint64_t first = 0;
    for (int i = 0; i < 3; i++) {
        bool crashed;
        struct process p = process_new(i < 2 ? 7 : 8);
        struct job a, b;
        start(&p);
        p.worker = p.io->ops->worker_new(p.io, "apply");
        post(&p, &a, 'a', 'A');
        post(&p, &b, 'b', 'B');
        sim_run_until(p.sim, sim_now(p.sim) + 10000000);
        CHECK(i == 0 || (sim_trace_hash(p.sim) == first) == (i == 1));
        first = sim_trace_hash(p.sim);
        p.io->ops->worker_free(p.worker);
        sim_free(p.sim);
        (void)write_and_crash_at(5, 7, &crashed);
    }
}

int main(void)
{
    RUN(test_turn_comes_at_its_deadline_and_when_woken);
    RUN(test_jobs_run_in_order_and_complete_on_the_loop);
    RUN(test_worker_free_completes_what_is_queued_also_after_a_crash);
    RUN(test_crash_at_every_point_loses_nothing_acknowledged);
    RUN(test_dead_process_has_no_effect);
    RUN(test_same_seed_is_the_same_trace);
    return 0;
}
