/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/fake_net.h"

#include "proto/crc32c.h"
#include "tests/unit/check.h"

#include <errno.h>

struct fake_net *fake_net_new(void)
{
    struct fake_net *net = calloc(1, sizeof(*net));
    CHECK(net);
    net->recv_max = net->send_max = SIZE_MAX;
    net->now_ns = 1;
    net->random = 1;
    net->end_count = 1;
    net->last_job = &net->jobs;
    return net;
}

void fake_net_free(struct fake_net *net)
{
    for (int i = 0; i < net->end_count; i++)
        free(net->ends[i].bytes);
    free(net);
}

static struct fake_net *net_of(struct io *io)
{
    return ((struct fake_io *)io)->net;
}

static struct fake_end *end_of(struct fake_net *net, int fd)
{
    CHECK(fd > 0 && fd < net->end_count && net->ends[fd].is_open);
    return &net->ends[fd];
}

static int new_end(struct fake_net *net, struct io *owner)
{
    CHECK(net->end_count < FAKE_ENDS_MAX);
    net->ends[net->end_count] =
        (struct fake_end){.owner = owner, .other = -1, .backlog = -1, .is_open = true};
    net->open_count++;
    return net->end_count++;
}

static int find_listener(struct fake_net *net, uint16_t port)
{
    for (int fd = 1; fd < net->end_count; fd++)
        if (net->ends[fd].is_open && net->ends[fd].port == port)
            return fd;
    return -1;
}

/* Joins `fd` to a new end that waits in the listener's backlog, behind those already there. */
static bool join(struct fake_net *net, int fd, uint16_t port)
{
    int listener = find_listener(net, port);
    if (listener < 0)
        return false;
    int far = new_end(net, net->ends[listener].owner);
    net->ends[fd].other = far;
    net->ends[far].other = fd;
    int at = listener;
    while (net->ends[at].backlog >= 0)
        at = net->ends[at].backlog;
    net->ends[at].backlog = far;
    return true;
}

static int take_backlog(struct fake_net *net, int listener)
{
    int fd = net->ends[listener].backlog;
    if (fd >= 0) {
        net->ends[listener].backlog = net->ends[fd].backlog;
        net->ends[fd].backlog = -1;
    }
    return fd;
}

static bool is_gone(const struct fake_net *net, int fd)
{
    return fd < 0 || !net->ends[fd].is_open;
}

static void deposit(struct fake_end *end, const void *bytes, size_t size)
{
    if (end->size + size > end->cap) {
        end->cap = 2 * (end->size + size);
        end->bytes = realloc(end->bytes, end->cap);
        CHECK(end->bytes);
    }
    memcpy(end->bytes + end->size, bytes, size);
    end->size += size;
}

static size_t withdraw(struct fake_end *end, void *bytes, size_t cap)
{
    size_t size = end->size < cap ? end->size : cap;
    if (size == 0)
        return 0;
    memcpy(bytes, end->bytes, size);
    memmove(end->bytes, end->bytes + size, end->size - size);
    end->size -= size;
    return size;
}

static int64_t do_send(struct fake_net *net, struct fake_end *end, const struct io_op *op)
{
    if (is_gone(net, end->other))
        return -EPIPE;
    size_t left = net->send_max, sent = 0;
    for (uint32_t i = 0; i < op->iov_count && left > 0; i++) {
        size_t size = op->iov[i].iov_len < left ? op->iov[i].iov_len : left;
        deposit(&net->ends[end->other], op->iov[i].iov_base, size);
        sent += size;
        left -= size;
    }
    return (int64_t)sent;
}

static uint32_t crc_of(const struct io_op *op)
{
    uint32_t crc = 0;
    for (uint32_t i = 0; i < op->iov_count; i++)
        crc = crc32c(crc, op->iov[i].iov_base, op->iov[i].iov_len);
    return crc;
}

static int64_t do_recv(struct fake_net *net, struct fake_end *end, const struct io_op *op)
{
    size_t left = net->recv_max, received = 0;
    for (uint32_t i = 0; i < op->iov_count && left > 0 && end->size > 0; i++) {
        size_t size = op->iov[i].iov_len < left ? op->iov[i].iov_len : left;
        size = withdraw(end, op->iov[i].iov_base, size);
        received += size;
        left -= size;
    }
    return (int64_t)received;
}

static bool complete(struct io_op **op, int64_t result)
{
    struct io_op *done = *op;
    *op = NULL;
    done->result = result;
    done->in_flight = false;
    done->done(done);
    return true;
}

static bool step_reading(struct fake_net *net, struct fake_end *end, int fd)
{
    if (end->is_canceled)
        return complete(&end->reading, -ECANCELED);
    if (end->reading->kind == IO_RECV) {
        if (end->size > 0)
            return complete(&end->reading, do_recv(net, end, end->reading));
        return is_gone(net, end->other) && complete(&end->reading, 0);
    }
    if (end->backlog >= 0 && net->socket_failures > 0) {
        net->socket_failures--;
        return complete(&end->reading, -EMFILE);
    }
    int accepted = take_backlog(net, fd);
    return accepted >= 0 && complete(&end->reading, accepted);
}

/* Until its completion comes, a send's buffers are not its sender's. */
static bool step_held_send(struct fake_net *net, struct fake_end *end)
{
    if (!end->has_sent) {
        end->has_sent = true;
        end->sent = do_send(net, end, end->writing);
        end->crc = crc_of(end->writing);
    }
    if (net->holds_sends == end->owner)
        return false;
    CHECK(crc_of(end->writing) == end->crc);
    end->has_sent = false;
    return complete(&end->writing, end->sent);
}

static bool step_writing(struct fake_net *net, struct fake_end *end, int fd)
{
    if (end->is_canceled)
        return complete(&end->writing, -ECANCELED);
    if (end->writing->kind == IO_CONNECT && net->loses_connects)
        return false;
    if (end->writing->kind == IO_CONNECT)
        return complete(&end->writing,
                        join(net, fd, end->writing->address->port) ? 0 : -ECONNREFUSED);
    if (!is_gone(net, end->other) && net->ends[end->other].is_stalled)
        return false;
    if (end->has_sent || (end->owner && end->owner == net->holds_sends))
        return step_held_send(net, end);
    return complete(&end->writing, do_send(net, end, end->writing));
}

static int try_ops(struct fake_net *net)
{
    int completed = 0;
    int count = net->end_count;
    for (int fd = 1; fd < count; fd++) {
        struct fake_end *end = &net->ends[fd];
        if (end->writing)
            completed += step_writing(net, end, fd);
        if (end->reading)
            completed += step_reading(net, end, fd);
    }
    return completed;
}

/* ---- the seam ------------------------------------------------------------------------ */

static void fake_submit(struct io *io, struct io_op *op)
{
    struct fake_end *end = end_of(net_of(io), op->fd);
    bool is_reading = op->kind == IO_RECV || op->kind == IO_ACCEPT;
    struct io_op **place = is_reading ? &end->reading : &end->writing;
    CHECK(!*place && !op->in_flight);
    *place = op;
    op->in_flight = true;
    io->submit_count++;
}

static void fake_cancel(struct io *io, struct io_op *op)
{
    CHECK(op->in_flight);
    end_of(net_of(io), op->fd)->is_canceled = true;
}

static uint64_t fake_now(struct io *io)
{
    return net_of(io)->now_ns;
}

static uint64_t fake_random(struct io *io)
{
    struct fake_net *net = net_of(io);
    net->random = net->random * 6364136223846793005u + 1442695040888963407u;
    return net->random >> 16;
}

static int fake_io_listen(struct io *io, const struct io_address *address, struct io_address *bound)
{
    struct fake_net *net = net_of(io);
    *bound = *address;
    if (bound->port == 0)
        bound->port = (uint16_t)(1000 + net->end_count);
    if (find_listener(net, bound->port) >= 0)
        return -EADDRINUSE;
    int fd = new_end(net, io);
    net->ends[fd].port = bound->port;
    return fd;
}

static int fake_socket(struct io *io, uint32_t patience_ms)
{
    CHECK(patience_ms > 0);
    struct fake_net *net = net_of(io);
    if (net->socket_failures > 0) {
        net->socket_failures--;
        return -EMFILE;
    }
    return new_end(net, io);
}

static void fake_io_close(struct io *io, int fd)
{
    struct fake_net *net = net_of(io);
    struct fake_end *end = end_of(net, fd);
    CHECK(!end->reading && !end->writing);
    fake_close(net, fd);
}

/* A worker is nobody: whoever steps the net does its jobs. */
static struct io_worker *fake_worker_new(struct io *io, const char *name)
{
    (void)name;
    return (struct io_worker *)net_of(io);
}

static void fake_worker_post(struct io_worker *worker, struct io_job *job)
{
    struct fake_net *net = (struct fake_net *)worker;
    job->next = NULL;
    *net->last_job = job;
    net->last_job = &job->next;
}

static int run_jobs(struct fake_net *net)
{
    int count = 0;
    struct io_job *job = net->jobs;
    net->jobs = NULL;
    net->last_job = &net->jobs;
    while (job) {
        struct io_job *next = job->next;
        job->run(job);
        job->done(job);
        job = next;
        count++;
    }
    return count;
}

static void fake_worker_free(struct io_worker *worker)
{
    (void)run_jobs((struct fake_net *)worker);
}

int fake_net_step(struct fake_net *net)
{
    return (net->holds_jobs ? 0 : run_jobs(net)) + try_ops(net);
}

static const struct io_ops fake_ops = {
    .name = "fake",
    .submit = fake_submit,
    .cancel = fake_cancel,
    .now = fake_now,
    .random = fake_random,
    .listen = fake_io_listen,
    .socket = fake_socket,
    .close = fake_io_close,
    .worker_new = fake_worker_new,
    .worker_post = fake_worker_post,
    .worker_free = fake_worker_free,
};

void fake_io_init(struct fake_io *fake, struct fake_net *net)
{
    *fake = (struct fake_io){.io.ops = &fake_ops, .net = net};
}

void fake_io_join(struct fake_io *fake)
{
    for (int fd = 1; fd < fake->net->end_count; fd++) {
        struct fake_end *end = &fake->net->ends[fd];
        if (end->owner != &fake->io)
            continue;
        if (end->reading)
            complete(&end->reading, -ECANCELED);
        if (end->writing)
            complete(&end->writing, -ECANCELED);
    }
}

/* ---- the test's own ends ------------------------------------------------------------- */

int fake_connect(struct fake_net *net, uint16_t port)
{
    int fd = new_end(net, NULL);
    if (join(net, fd, port))
        return fd;
    fake_close(net, fd);
    return -1;
}

int fake_listen(struct fake_net *net, uint16_t port)
{
    int fd = new_end(net, NULL);
    net->ends[fd].port = port;
    return fd;
}

int fake_accept(struct fake_net *net, int listener)
{
    return take_backlog(net, listener);
}

void fake_write(struct fake_net *net, int fd, const void *bytes, size_t size)
{
    struct fake_end *end = end_of(net, fd);
    if (!is_gone(net, end->other))
        deposit(&net->ends[end->other], bytes, size);
}

size_t fake_read(struct fake_net *net, int fd, void *bytes, size_t cap)
{
    return withdraw(end_of(net, fd), bytes, cap);
}

bool fake_is_closed(const struct fake_net *net, int fd)
{
    return is_gone(net, net->ends[fd].other);
}

void fake_close(struct fake_net *net, int fd)
{
    struct fake_end *end = end_of(net, fd);
    end->is_open = false;
    end->port = 0;
    net->open_count--;
}
