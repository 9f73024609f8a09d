/* SPDX-License-Identifier: Apache-2.0
 *
 * The loop under test.
 */
#include "tests/unit/io_harness.h"

#include "io/backend.h"

#include <dirent.h>
#include <errno.h>
#include <time.h>

struct io *harness_open(const char *backend)
{
    struct io *io;
    struct rr_error error;
    int number = strcmp(backend, "uring") == 0 ? IO_BACKEND_URING : IO_BACKEND_POSIX;
    int err = io_open_backend(number, &io, NULL, 0, &error);
    if (err == RR_E_NOT_SUPPORTED)
        SKIP(error.message);
    if (err != 0)
        fprintf(stderr, "%s\n", error.message);
    CHECK(err == 0);
    return io;
}

void harness_close_io(struct io *io)
{
    io_close_backend(io);
}

static bool harness_turn(void *ctx, uint64_t now_ns, uint64_t *deadline_ns)
{
    struct harness *h = ctx;
    pthread_mutex_lock(&h->lock);
    h->loop_thread = pthread_self();
    void (*call)(void *arg) = h->call;
    void *arg = h->call_arg;
    bool stop = h->stop;
    pthread_mutex_unlock(&h->lock);
    if (call != NULL) {
        call(arg);
        pthread_mutex_lock(&h->lock);
        h->call = NULL;
        pthread_cond_broadcast(&h->changed);
        pthread_mutex_unlock(&h->lock);
    }
    if (h->each_turn != NULL)
        h->each_turn(h, now_ns);
    if (h->deadline_ns != 0)
        *deadline_ns = h->deadline_ns;
    return !stop;
}

void harness_init(struct harness *h, struct io *io)
{
    memset(h, 0, sizeof(*h));
    h->io = io;
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->changed, NULL);
}

void harness_start(struct harness *h)
{
    CHECK(h->io->ops->start(h->io, harness_turn, h) == 0);
}

void harness_join(struct harness *h)
{
    pthread_mutex_lock(&h->lock);
    h->stop = true;
    pthread_mutex_unlock(&h->lock);
    io_wake(h->io);
    h->io->ops->join(h->io);
    pthread_cond_destroy(&h->changed);
    pthread_mutex_destroy(&h->lock);
}

void harness_call(struct harness *h, void (*fn)(void *arg), void *arg)
{
    pthread_mutex_lock(&h->lock);
    h->call = fn;
    h->call_arg = arg;
    pthread_mutex_unlock(&h->lock);
    io_wake(h->io);
    pthread_mutex_lock(&h->lock);
    while (h->call != NULL)
        pthread_cond_wait(&h->changed, &h->lock);
    pthread_mutex_unlock(&h->lock);
}

static void test_op_done(struct io_op *op)
{
    struct test_op *t = RR_CONTAINER_OF(op, struct test_op, op);
    struct harness *h = t->harness;
    bool submit_again = t->submit_again;
    CHECK(!op->in_flight);
    t->submit_again = false;
    pthread_mutex_lock(&h->lock);
    t->done_count++;
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
    if (submit_again)
        io_submit(h->io, op);
}

void test_op_init(struct test_op *t, struct harness *h, enum io_kind kind, int fd, void *buf,
                  size_t size)
{
    memset(t, 0, sizeof(*t));
    t->harness = h;
    t->iov[0] = (struct iovec){buf, size};
    t->op.kind = (uint8_t)kind;
    t->op.fd = fd;
    t->op.iov = t->iov;
    t->op.iov_count = buf != NULL;
    t->op.address = &t->address;
    t->op.done = test_op_done;
}

struct submission {
    struct harness *harness;
    struct test_op *const *ops;
    uint32_t count;
};

static void submit_all(void *arg)
{
    struct submission *s = arg;
    for (uint32_t i = 0; i < s->count; i++)
        io_submit(s->harness->io, &s->ops[i]->op);
}

void harness_submit(struct harness *h, struct test_op *const *ops, uint32_t count)
{
    struct submission s = {h, ops, count};
    for (uint32_t i = 0; i < count; i++)
        ops[i]->done_count = 0;
    harness_call(h, submit_all, &s);
}

void harness_submit_one(struct harness *h, struct test_op *t)
{
    harness_submit(h, &t, 1);
}

static void cancel_one(void *arg)
{
    struct test_op *t = arg;
    io_cancel(t->harness->io, &t->op);
}

void harness_cancel(struct harness *h, struct test_op *t)
{
    harness_call(h, cancel_one, t);
}

int64_t harness_wait(struct harness *h, struct test_op *t)
{
    pthread_mutex_lock(&h->lock);
    while (t->done_count == 0)
        pthread_cond_wait(&h->changed, &h->lock);
    CHECK(t->done_count == 1);
    int64_t result = t->op.result;
    pthread_mutex_unlock(&h->lock);
    return result;
}

uint32_t harness_done_count(struct harness *h, struct test_op *t)
{
    pthread_mutex_lock(&h->lock);
    uint32_t count = t->done_count;
    pthread_mutex_unlock(&h->lock);
    return count;
}

int64_t harness_run(struct harness *h, struct test_op *t)
{
    harness_submit_one(h, t);
    return harness_wait(h, t);
}

int harness_listen(struct harness *h, struct io_address *bound)
{
    struct io_address any = {.ip = 127u << 24 | 1, .port = 0};
    int fd = h->io->ops->listen(h->io, &any, bound);
    CHECK(fd >= 0);
    CHECK(bound->ip == any.ip && bound->port != 0);
    return fd;
}

void harness_connect(struct harness *h, int *dialled, int *accepted)
{
    struct test_op accept, connect;
    test_op_init(&connect, h, IO_CONNECT, h->io->ops->socket(h->io, 2000), NULL, 0);
    int listener = harness_listen(h, &connect.address);
    test_op_init(&accept, h, IO_ACCEPT, listener, NULL, 0);
    struct test_op *both[] = {&accept, &connect};
    harness_submit(h, both, 2);
    CHECK(harness_wait(h, &connect) == 0);
    *dialled = connect.op.fd;
    *accepted = (int)harness_wait(h, &accept);
    CHECK(*accepted >= 0);
    h->io->ops->close(h->io, listener);
}

enum { CROWD = 300 };
struct crowd {
    struct test_op recvs[CROWD], sends[CROWD];
    struct test_op *all_recvs[CROWD], *all_sends[CROWD];
    int dialled[CROWD], accepted[CROWD];
    char in[CROWD];
};

static void cancel_crowd(void *arg)
{
    struct crowd *crowd = arg;
    for (int i = 0; i < CROWD; i++)
        io_cancel(crowd->recvs[i].harness->io, &crowd->recvs[i].op);
}

void harness_run_crowd(struct harness *h)
{
    static struct crowd crowd;
    for (int i = 0; i < CROWD; i++) {
        harness_connect(h, &crowd.dialled[i], &crowd.accepted[i]);
        test_op_init(&crowd.recvs[i], h, IO_RECV, crowd.accepted[i], &crowd.in[i], 1);
        test_op_init(&crowd.sends[i], h, IO_SEND, crowd.dialled[i], "x", 1);
        crowd.all_recvs[i] = &crowd.recvs[i];
        crowd.all_sends[i] = &crowd.sends[i];
    }
    harness_submit(h, crowd.all_recvs, CROWD);
    harness_submit(h, crowd.all_sends, CROWD);
    for (int i = 0; i < CROWD; i++) {
        CHECK(harness_wait(h, &crowd.sends[i]) == 1);
        CHECK(harness_wait(h, &crowd.recvs[i]) == 1 && crowd.in[i] == 'x');
    }
    harness_submit(h, crowd.all_recvs, CROWD);
    harness_call(h, cancel_crowd, &crowd);
    for (int i = 0; i < CROWD; i++)
        CHECK(harness_wait(h, &crowd.recvs[i]) == -ECANCELED);
    harness_submit(h, crowd.all_recvs, CROWD);
    harness_join(h);
    for (int i = 0; i < CROWD; i++) {
        CHECK(crowd.recvs[i].done_count == 1 && crowd.recvs[i].op.result == -ECANCELED);
        h->io->ops->close(h->io, crowd.dialled[i]);
        h->io->ops->close(h->io, crowd.accepted[i]);
    }
}

uint64_t test_now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

int count_open_fds(void)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    CHECK(dir != NULL);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}
