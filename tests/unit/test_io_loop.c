/* SPDX-License-Identifier: Apache-2.0
 *
 * test_io_loop uring|posix: turns, deadlines, wake-ups and workers of a real backend.
 */
#include "tests/unit/io_harness.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

static const char *backend;
static struct harness harness;
static struct harness *const h = &harness;

static void open_loop(void)
{
    harness_init(h, harness_open(backend));
}

static void close_loop(void)
{
    harness_join(h);
    harness_close_io(h->io);
}

/* ---- turns and deadlines ------------------------------------------------- */

static uint64_t turn_times[1000];
static _Atomic uint32_t turns_seen;

static void note_turn(struct harness *harness_now, uint64_t now_ns)
{
    uint32_t n = atomic_load(&turns_seen);
    CHECK(io_now(harness_now->io) == now_ns); /* one clock read per turn */
    CHECK(harness_now->io->turn_count == harness_now->io->enter_count + 1);
    if (n < 1000) {
        turn_times[n] = now_ns;
        atomic_store(&turns_seen, n + 1);
    }
}

static void note_turns_every_20_ms(struct harness *harness_now, uint64_t now_ns)
{
    note_turn(harness_now, now_ns);
    harness_now->deadline_ns = now_ns + 20000000;
}

static void open_noting(void (*each_turn)(struct harness *, uint64_t))
{
    open_loop();
    atomic_store(&turns_seen, 0);
    h->each_turn = each_turn;
}

static void test_first_turn_comes_at_once_and_no_second_without_reason(void)
{
    open_noting(note_turn);
    uint64_t before = test_now_ns();
    harness_start(h);
    while (atomic_load(&turns_seen) == 0)
        usleep(100);
    usleep(50000);
    CHECK(atomic_load(&turns_seen) == 1);
    CHECK(turn_times[0] >= before && turn_times[0] < before + 1000000000);
    close_loop();
}

static void test_deadline_makes_a_turn_not_early_and_not_late(void)
{
    open_noting(note_turns_every_20_ms);
    harness_start(h);
    while (atomic_load(&turns_seen) < 6)
        usleep(1000);
    for (int i = 1; i < 6; i++) {
        CHECK(turn_times[i] >= turn_times[i - 1] + 20000000);
        CHECK(turn_times[i] < turn_times[i - 1] + 520000000); /* generous: the machine is shared */
    }
    close_loop();
}

static void deadline_is_now(struct harness *harness_now, uint64_t now_ns)
{
    note_turn(harness_now, now_ns);
    CHECK(harness_now->io->wait_count == 0);
    harness_now->deadline_ns = now_ns;
}

static void test_deadline_that_has_passed_does_not_wait(void)
{
    open_noting(deadline_is_now);
    harness_start(h);
    while (atomic_load(&turns_seen) < 1000)
        usleep(100);
    close_loop();
}

struct counts {
    uint64_t enter, turn, submit;
};

static void read_counts(void *arg)
{
    struct counts *counts = arg;
    *counts = (struct counts){h->io->enter_count, h->io->turn_count, h->io->submit_count};
}

static void test_ops_of_one_turn_share_one_enter(void)
{
    enum { COUNT = 40 };
    static struct test_op ops[COUNT];
    struct test_op *all[COUNT];
    struct counts before, after;
    char c = 'x', in[COUNT];
    int dialled[COUNT], accepted[COUNT];
    open_noting(note_turn);
    harness_start(h);
    for (int i = 0; i < COUNT; i++)
        harness_connect(h, &dialled[i], &accepted[i]);
    for (int i = 0; i < COUNT; i++) {
        test_op_init(&ops[i], h, IO_SEND, dialled[i], &c, 1);
        all[i] = &ops[i];
    }
    harness_call(h, read_counts, &before);
    harness_submit(h, all, COUNT);
    for (int i = 0; i < COUNT; i++)
        CHECK(harness_wait(h, &ops[i]) == 1);
    harness_call(h, read_counts, &after);
    CHECK(after.submit - before.submit == COUNT);
    /* read_counts' own turn, the turn of the submission, and the turn that saw the completions;
     * the two wake-ups of the calls may each cost one more. */
    CHECK(after.enter - before.enter >= 2 && after.enter - before.enter <= 5);
    CHECK(after.turn - before.turn == after.enter - before.enter);

    for (int i = 0; i < COUNT; i++)
        test_op_init(&ops[i], h, IO_RECV, accepted[i], &in[i], 1);
    harness_submit(h, all, COUNT);
    for (int i = 0; i < COUNT; i++) {
        CHECK(harness_wait(h, &ops[i]) == 1 && in[i] == 'x');
        h->io->ops->close(h->io, dialled[i]);
        h->io->ops->close(h->io, accepted[i]);
    }
    close_loop();
}

static void test_join_of_a_loop_that_never_started_cancels(void)
{
    struct test_op recv;
    char byte;
    open_loop();
    int sock = h->io->ops->socket(h->io, 2000);
    test_op_init(&recv, h, IO_RECV, sock, &byte, 1);
    recv.submit_again = true;
    io_submit(h->io, &recv.op);
    h->io->ops->join(h->io);
    CHECK(recv.done_count == 2 && recv.op.result == -ECANCELED && !recv.op.in_flight);
    h->io->ops->close(h->io, sock);
    harness_close_io(h->io);
}

static void check_signals_are_blocked(void *arg)
{
    sigset_t blocked;
    (void)arg;
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &blocked) == 0);
    CHECK(sigismember(&blocked, SIGTERM) && sigismember(&blocked, SIGUSR1));
}

static void test_signals_of_the_host_do_not_come_to_the_loop(void)
{
    open_loop();
    harness_start(h);
    harness_call(h, check_signals_are_blocked, NULL);
    close_loop();
}

static void test_random_numbers_differ(void)
{
    open_loop();
    uint64_t a = h->io->ops->random(h->io), b = h->io->ops->random(h->io);
    CHECK(a != b);
    CHECK(io_now(h->io) <= test_now_ns() && io_now(h->io) + 1000000000 > test_now_ns());
    harness_close_io(h->io); /* never started */
}

/* ---- wake-ups ------------------------------------------------------------ */

enum { PRODUCERS = 3, WAKES = 20000, ROUNDS = 3000 };
/* Relaxed on purpose, here and below: io_wake must bring them over. */
static _Atomic uint64_t handed[PRODUCERS];
static _Atomic uint64_t seen_sum;

static void sum_up(struct harness *harness_now, uint64_t now_ns)
{
    uint64_t sum = 0;
    (void)harness_now;
    (void)now_ns;
    for (int i = 0; i < PRODUCERS; i++)
        sum += atomic_load_explicit(&handed[i], memory_order_relaxed);
    atomic_store(&seen_sum, sum);
}

static void *produce(void *arg)
{
    _Atomic uint64_t *mine = arg;
    for (uint64_t i = 1; i <= WAKES; i++) {
        atomic_store_explicit(mine, i, memory_order_relaxed);
        io_wake(h->io);
        if (i % 1000 == 0)
            usleep(300); /* lets the loop fall asleep now and then */
    }
    return NULL;
}

static void test_wakes_of_many_threads_are_coalesced_and_none_is_lost(void)
{
    pthread_t threads[PRODUCERS];
    open_loop();
    atomic_store(&seen_sum, 0);
    h->each_turn = sum_up;
    harness_start(h);
    for (int i = 0; i < PRODUCERS; i++)
        CHECK(pthread_create(&threads[i], NULL, produce, &handed[i]) == 0);
    for (int i = 0; i < PRODUCERS; i++)
        pthread_join(threads[i], NULL);
    while (atomic_load(&seen_sum) != PRODUCERS * WAKES) /* hangs if the last wake is lost */
        usleep(100);
    harness_join(h);
    CHECK(h->io->wake_count >= 1 && h->io->wake_count < PRODUCERS * WAKES);
    harness_close_io(h->io);
}

static _Atomic uint64_t asked, answered;

static void answer_round(struct harness *harness_now, uint64_t now_ns)
{
    (void)harness_now;
    (void)now_ns;
    atomic_store(&answered, atomic_load_explicit(&asked, memory_order_relaxed));
}

static void test_a_wake_reaches_a_sleeping_loop_every_time(void)
{
    open_loop();
    h->each_turn = answer_round;
    harness_start(h);
    for (uint64_t i = 1; i <= ROUNDS; i++) {
        atomic_store_explicit(&asked, i, memory_order_relaxed);
        io_wake(h->io);
        while (atomic_load(&answered) != i) /* hangs if a wake is lost */
            sched_yield();
    }
    harness_join(h);
    CHECK(h->io->wake_count <= ROUNDS + 1);
    harness_close_io(h->io);
}

static void wake_often(void *arg)
{
    uint64_t *wakes_before = arg;
    *wakes_before = h->io->wake_count;
    for (int i = 0; i < 1000; i++)
        io_wake(h->io);
    CHECK(h->io->wake_count == *wakes_before);
}

static void test_wakes_while_the_loop_is_awake_cost_no_kernel_call(void)
{
    uint64_t before;
    open_loop();
    harness_start(h);
    harness_call(h, wake_often, &before);
    harness_join(h);
    CHECK(h->io->wake_count <= before + 1); /* the one of join */
    harness_close_io(h->io);
}

/* ---- workers ------------------------------------------------------------- */

enum { JOBS = 5000 };
struct test_job {
    struct io_job job;
    uint32_t number;
    bool ran;
};
static struct test_job jobs[JOBS];
static struct io_worker *worker;
static pthread_t worker_thread;
static uint32_t run_next; /* worker thread only */
static _Atomic uint32_t done_next;
static uint32_t post_next;

static void run_job(struct io_job *job)
{
    struct test_job *t = RR_CONTAINER_OF(job, struct test_job, job);
    CHECK(t->number == run_next++);
    if (t->number == 0)
        worker_thread = pthread_self();
    CHECK(pthread_equal(worker_thread, pthread_self()));
    t->ran = true;
}

static void job_done(struct io_job *job)
{
    struct test_job *t = RR_CONTAINER_OF(job, struct test_job, job);
    CHECK(t->ran);
    CHECK(t->number == atomic_fetch_add(&done_next, 1));
}

static void reset_jobs(void)
{
    memset(jobs, 0, sizeof(jobs));
    run_next = post_next = 0;
    atomic_store(&done_next, 0);
    for (uint32_t i = 0; i < JOBS; i++)
        jobs[i] = (struct test_job){{run_job, job_done, NULL}, i, false};
}

static void post_some(void *arg)
{
    uint32_t count = *(uint32_t *)arg;
    for (uint32_t i = 0; i < count; i++)
        h->io->ops->worker_post(worker, &jobs[post_next++].job);
}

static void test_jobs_run_and_complete_in_order(void)
{
    open_loop();
    reset_jobs();
    worker = h->io->ops->worker_new(h->io, "test-worker");
    CHECK(worker != NULL);
    harness_start(h);
    for (uint32_t batch = 1; post_next < JOBS; batch = batch % 7 + 1) {
        uint32_t count = (uint32_t)rr_min_u64(batch, JOBS - post_next);
        harness_call(h, post_some, &count);
        if (batch == 3)
            while (atomic_load(&done_next) < post_next) /* lets the worker fall asleep */
                usleep(10);
    }
    while (atomic_load(&done_next) < JOBS)
        usleep(100);
    harness_join(h);
    h->io->ops->worker_free(worker);
    CHECK(atomic_load(&done_next) == JOBS && run_next == JOBS);
    harness_close_io(h->io);
}

static void test_free_runs_what_is_queued_before_start_and_after_join(void)
{
    uint32_t count = 100;
    open_loop();
    reset_jobs();
    worker = h->io->ops->worker_new(h->io, "test-worker");
    post_some(&count);
    h->io->ops->worker_free(worker);
    CHECK(atomic_load(&done_next) == 100);

    reset_jobs();
    worker = h->io->ops->worker_new(h->io, "a name that is longer than the system allows");
    harness_start(h);
    count = JOBS;
    harness_call(h, post_some, &count);
    harness_join(h);
    h->io->ops->worker_free(worker);
    CHECK(atomic_load(&done_next) == JOBS);
    harness_close_io(h->io);
}

static void free_worker(void *arg)
{
    (void)arg;
    h->io->ops->worker_free(worker);
}

static void test_free_in_a_turn_calls_the_dones(void)
{
    uint32_t count = 1000;
    open_loop();
    reset_jobs();
    worker = h->io->ops->worker_new(h->io, "test-worker");
    struct io_worker *other = h->io->ops->worker_new(h->io, "other");
    harness_start(h);
    harness_call(h, post_some, &count);
    harness_call(h, free_worker, NULL);
    CHECK(atomic_load(&done_next) == 1000);
    harness_join(h);
    h->io->ops->worker_free(other);
    harness_close_io(h->io);
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    backend = argv[1];
    RUN(test_first_turn_comes_at_once_and_no_second_without_reason);
    RUN(test_deadline_makes_a_turn_not_early_and_not_late);
    RUN(test_deadline_that_has_passed_does_not_wait);
    RUN(test_ops_of_one_turn_share_one_enter);
    RUN(test_join_of_a_loop_that_never_started_cancels);
    RUN(test_signals_of_the_host_do_not_come_to_the_loop);
    RUN(test_random_numbers_differ);
    RUN(test_wakes_of_many_threads_are_coalesced_and_none_is_lost);
    RUN(test_a_wake_reaches_a_sleeping_loop_every_time);
    RUN(test_wakes_while_the_loop_is_awake_cost_no_kernel_call);
    RUN(test_jobs_run_and_complete_in_order);
    RUN(test_free_runs_what_is_queued_before_start_and_after_join);
    RUN(test_free_in_a_turn_calls_the_dones);
    return 0;
}
