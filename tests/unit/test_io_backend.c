/* SPDX-License-Identifier: Apache-2.0
 *
 * test_io_backend uring|posix: what the seam promises about ops, on a real backend. Its loop,
 * wake-ups and workers are tested in test_io_loop.c.
 */
#include "tests/unit/flush_counter.h"
#include "tests/unit/io_harness.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *backend;
static struct harness harness;
static struct harness *const h = &harness;

/* A file without a name, in the working directory. */
static int open_scratch(void)
{
    char name[64];
    snprintf(name, sizeof(name), "io-backend-%d.tmp", (int)getpid());
    int fd = h->io->ops->open(h->io, name, IO_O_CREATE | IO_O_EXCL);
    CHECK(fd >= 0);
    CHECK(unlink(name) == 0);
    return fd;
}

static void close_fd(int fd)
{
    h->io->ops->close(h->io, fd);
}

/* ---- files --------------------------------------------------------------- */

static void test_write_then_read_gives_the_same_bytes(void)
{
    struct test_op t;
    char buf[16] = {0};
    int fd = open_scratch();
    test_op_init(&t, h, IO_WRITE, fd, "durable bytes", 13);
    t.op.offset = 100;
    t.op.flags = IO_DSYNC;
    CHECK(harness_run(h, &t) == 13);
    CHECK(h->io->ops->file_size(h->io, fd) == 113);
    test_op_init(&t, h, IO_READ, fd, buf, sizeof(buf));
    t.op.offset = 100;
    CHECK(harness_run(h, &t) == 13); /* short at the end of the file */
    CHECK(memcmp(buf, "durable bytes", 13) == 0);
    t.op.offset = 113;
    CHECK(harness_run(h, &t) == 0);
    test_op_init(&t, h, IO_SYNC, fd, NULL, 0);
    CHECK(harness_run(h, &t) == 0);
    close_fd(fd);
}

static void test_vectored_write_and_read_keep_order(void)
{
    struct test_op t;
    char first[3], second[4];
    int fd = open_scratch();
    test_op_init(&t, h, IO_WRITE, fd, "ab", 2);
    t.iov[1] = (struct iovec){"cdef", 4};
    t.iov[2] = (struct iovec){"g", 1};
    t.op.iov_count = 3;
    CHECK(harness_run(h, &t) == 7);
    test_op_init(&t, h, IO_READ, fd, first, 3);
    t.iov[1] = (struct iovec){second, 4};
    t.op.iov_count = 2;
    CHECK(harness_run(h, &t) == 7);
    CHECK(memcmp(first, "abc", 3) == 0 && memcmp(second, "defg", 4) == 0);
    close_fd(fd);
}

static void test_file_errors_are_reported(void)
{
    struct test_op t;
    char byte = 0;
    int fd = open_scratch();
    int read_only = h->io->ops->open(h->io, "/proc/self/exe", IO_O_READ_ONLY);
    test_op_init(&t, h, IO_WRITE, read_only, &byte, 1);
    CHECK(harness_run(h, &t) == -EBADF);
    close_fd(read_only);
    test_op_init(&t, h, IO_READ, 9999, &byte, 1);
    CHECK(harness_run(h, &t) == -EBADF);
    test_op_init(&t, h, IO_SYNC, 9999, NULL, 0);
    CHECK(harness_run(h, &t) == -EBADF);
    close_fd(fd);
}

/* Durable writes, or plain ones each followed by a sync; one by one, so that no two can share a
 * flush. */
static uint64_t flushes_of(int fd, uint8_t flags, int count)
{
    struct test_op write, sync;
    uint64_t before, after;
    test_op_init(&write, h, IO_WRITE, fd, "durable", 7);
    test_op_init(&sync, h, IO_SYNC, fd, NULL, 0);
    write.op.flags = flags;
    CHECK(flush_counter_read(fd, &before));
    for (int i = 0; i < count; i++) {
        CHECK(harness_run(h, &write) == 7);
        if (!(flags & IO_DSYNC))
            CHECK(harness_run(h, &sync) == 0);
    }
    CHECK(flush_counter_read(fd, &after));
    return after - before;
}

static void test_durable_writes_reach_the_medium(void)
{
    enum { COUNT = 20 };
    uint64_t count;
    int fd = open_scratch();
    if (flush_counter_read(fd, &count)) {
        CHECK(flushes_of(fd, IO_DSYNC, COUNT) >= COUNT);
        CHECK(flushes_of(fd, 0, COUNT) >= COUNT);
    } else {
        fprintf(stderr, "    flushes cannot be counted on this device: not tried\n");
    }
    close_fd(fd);
}

static void test_many_writes_in_one_turn_all_land(void)
{
    enum { COUNT = 100 };
    static struct test_op ops[COUNT];
    static char blocks[COUNT][64], back[COUNT * 64];
    struct test_op *all[COUNT], t;
    int fd = open_scratch();
    for (int i = 0; i < COUNT; i++) {
        memset(blocks[i], 'A' + i % 26, 64);
        test_op_init(&ops[i], h, IO_WRITE, fd, blocks[i], 64);
        ops[i].op.offset = (uint64_t)i * 64;
        all[i] = &ops[i];
    }
    harness_submit(h, all, COUNT);
    for (int i = 0; i < COUNT; i++)
        CHECK(harness_wait(h, &ops[i]) == 64);
    test_op_init(&t, h, IO_READ, fd, back, sizeof(back));
    CHECK(harness_run(h, &t) == sizeof(back));
    CHECK(memcmp(back, blocks, sizeof(back)) == 0);
    close_fd(fd);
}

static void submit_two_writes(uint64_t offset_of_second)
{
    struct test_op first, second;
    harness_init(h, harness_open(backend));
    int fd = open_scratch();
    test_op_init(&first, h, IO_WRITE, fd, "0123456789", 10);
    test_op_init(&second, h, IO_WRITE, fd, "0123456789", 10);
    first.op.offset = 100;
    second.op.offset = offset_of_second;
    io_submit(h->io, &first.op);
    io_submit(h->io, &second.op);
    harness_start(h);
    CHECK(harness_wait(h, &first) == 10 && harness_wait(h, &second) == 10);
    harness_join(h);
    harness_close_io(h->io);
    close(fd);
}

static bool is_fatal(uint64_t offset_of_second)
{
    int status;
    fflush(NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        submit_two_writes(offset_of_second);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) ? WTERMSIG(status) == SIGABRT : WEXITSTATUS(status) == 0);
    return WIFSIGNALED(status);
}

static void test_writes_in_flight_that_overlap_are_fatal(void)
{
    CHECK(!is_fatal(90) && !is_fatal(110));
    CHECK(is_fatal(91) && is_fatal(109) && is_fatal(100));
}

/* ---- sockets ------------------------------------------------------------- */

static void test_bytes_travel_both_ways(void)
{
    struct test_op send, recv;
    char head[4], rest[32];
    int dialled, accepted;
    harness_connect(h, &dialled, &accepted);
    test_op_init(&recv, h, IO_RECV, accepted, head, 4);
    recv.iov[1] = (struct iovec){rest, sizeof(rest)};
    recv.op.iov_count = 2;
    harness_submit_one(h, &recv); /* waits for bytes that are not there yet */
    test_op_init(&send, h, IO_SEND, dialled, "head", 4);
    send.iov[1] = (struct iovec){"and body", 8};
    send.op.iov_count = 2;
    CHECK(harness_run(h, &send) == 12);
    CHECK(harness_wait(h, &recv) == 12);
    CHECK(memcmp(head, "head", 4) == 0 && memcmp(rest, "and body", 8) == 0);

    test_op_init(&send, h, IO_SEND, accepted, "answer", 6);
    CHECK(harness_run(h, &send) == 6);
    test_op_init(&recv, h, IO_RECV, dialled, rest, sizeof(rest));
    CHECK(harness_run(h, &recv) == 6); /* less than asked for: what is there */
    CHECK(memcmp(rest, "answer", 6) == 0);
    close_fd(dialled);
    CHECK((recv.op.fd = accepted, harness_run(h, &recv)) == 0); /* the peer closed */
    close_fd(accepted);
}

static void test_send_to_a_closed_peer_is_an_error_not_a_signal(void)
{
    struct test_op t;
    int dialled, accepted;
    int64_t result = 1;
    harness_connect(h, &dialled, &accepted);
    close_fd(accepted);
    test_op_init(&t, h, IO_SEND, dialled, "x", 1);
    for (int i = 0; i < 100 && result > 0; i++)
        result = harness_run(h, &t);
    CHECK(result == -EPIPE || result == -ECONNRESET);
    close_fd(dialled);
}

static void do_nothing(void *arg)
{
    (void)arg;
}

static void fill_a_socket(uint8_t flags)
{
    enum { SIZE = 16 << 20 };
    struct test_op send, recv;
    char *out = malloc(SIZE), *in = malloc(SIZE);
    size_t sent = 0, received = 0;
    int dialled, accepted;
    CHECK(out != NULL && in != NULL);
    for (size_t i = 0; i < SIZE; i++)
        out[i] = (char)(i * 31 >> 7);
    harness_connect(h, &dialled, &accepted);
    test_op_init(&send, h, IO_SEND, dialled, out, SIZE);
    send.op.flags = flags;
    test_op_init(&recv, h, IO_RECV, accepted, in, SIZE);
    harness_submit_one(h, &send);
    usleep(20000); /* nobody receives: the buffers fill */
    while (received < SIZE) {
        int64_t n = harness_run(h, &recv);
        CHECK(n > 0);
        received += (size_t)n;
        recv.iov[0] = (struct iovec){in + received, SIZE - received};
        if (sent < SIZE && harness_done_count(h, &send) == 1) {
            sent += (size_t)harness_wait(h, &send);
            send.iov[0] = (struct iovec){out + sent, SIZE - sent};
            if (sent < SIZE)
                harness_submit_one(h, &send);
        }
    }
    CHECK(memcmp(in, out, SIZE) == 0);
    harness_call(h, do_nothing, NULL); /* the turn that a quiet send's end may wait for */
    harness_wait(h, &send);
    free(out);
    free(in);
    close_fd(dialled);
    close_fd(accepted);
}

static void test_a_full_socket_waits_and_delivers_everything(void)
{
    fill_a_socket(0);
}

static void test_a_full_socket_takes_quiet_sends_too(void)
{
    fill_a_socket(IO_QUIET);
}

static void test_a_quiet_send_that_fails_is_a_reason_for_a_turn(void)
{
    struct test_op t;
    int dialled, accepted;
    int64_t result = 1;
    harness_connect(h, &dialled, &accepted);
    close_fd(accepted);
    test_op_init(&t, h, IO_SEND, dialled, "x", 1);
    t.op.flags = IO_QUIET;
    for (int i = 0; i < 100 && result > 0; i++) {
        harness_submit_one(h, &t);
        usleep(1000);
        bool is_silent = harness_done_count(h, &t) == 0;
        if (is_silent)
            harness_call(h, do_nothing, NULL);
        result = harness_wait(h, &t);
        CHECK(!is_silent || result == 1);
    }
    CHECK(result == -EPIPE || result == -ECONNRESET);
    close_fd(dialled);
}

static void test_connect_to_nobody_is_refused(void)
{
    struct test_op t;
    test_op_init(&t, h, IO_CONNECT, h->io->ops->socket(h->io, 2000), NULL, 0);
    close_fd(harness_listen(h, &t.address));
    CHECK(harness_run(h, &t) == -ECONNREFUSED);
    close_fd(t.op.fd);
}

static void test_listen_on_a_taken_port_is_refused(void)
{
    struct io_address bound, again;
    int listener = harness_listen(h, &bound);
    CHECK(h->io->ops->listen(h->io, &bound, &again) == -EADDRINUSE);
    close_fd(listener);
}

static int get_option(int fd, int level, int option)
{
    int value = 0;
    socklen_t size = sizeof(value);
    CHECK(getsockopt(fd, level, option, &value, &size) == 0);
    return value;
}

static void test_both_ends_have_the_peer_options(void)
{
    int ends[2];
    harness_connect(h, &ends[0], &ends[1]);
    for (int i = 0; i < 2; i++) {
        CHECK(get_option(ends[i], IPPROTO_TCP, TCP_NODELAY) == 1);
        CHECK(get_option(ends[i], IPPROTO_TCP, TCP_USER_TIMEOUT) == 2000);
        CHECK(get_option(ends[i], SOL_SOCKET, SO_KEEPALIVE) == 1);
        CHECK(fcntl(ends[i], F_GETFD) & FD_CLOEXEC);
        close_fd(ends[i]);
    }
}

static void test_shutdown_completes_a_waiting_recv(void)
{
    struct test_op recv;
    char byte;
    int dialled, accepted;
    harness_connect(h, &dialled, &accepted);
    test_op_init(&recv, h, IO_RECV, dialled, &byte, 1);
    harness_submit_one(h, &recv);
    h->io->ops->shutdown(h->io, dialled);
    CHECK(harness_wait(h, &recv) == 0);
    close_fd(dialled);
    close_fd(accepted);
}

static void test_churn_of_connections_leaks_no_fd(void)
{
    int before = count_open_fds();
    for (int i = 0; i < 1000; i++) {
        int dialled, accepted;
        harness_connect(h, &dialled, &accepted);
        close_fd(i % 2 ? dialled : accepted);
        close_fd(i % 2 ? accepted : dialled);
    }
    CHECK(count_open_fds() == before);
}

/* ---- cancel -------------------------------------------------------------- */

static void test_cancel_of_waiting_ops_completes_them_once(void)
{
    struct test_op recv, accept;
    struct io_address bound;
    char byte;
    int dialled, accepted;
    harness_connect(h, &dialled, &accepted);
    int listener = harness_listen(h, &bound);
    test_op_init(&recv, h, IO_RECV, accepted, &byte, 1);
    test_op_init(&accept, h, IO_ACCEPT, listener, NULL, 0);
    struct test_op *both[] = {&recv, &accept};
    harness_submit(h, both, 2);
    usleep(1000);
    CHECK(harness_done_count(h, &recv) == 0 && harness_done_count(h, &accept) == 0);
    harness_cancel(h, &recv);
    harness_cancel(h, &recv); /* asking twice changes nothing */
    harness_cancel(h, &accept);
    CHECK(harness_wait(h, &recv) == -ECANCELED);
    CHECK(harness_wait(h, &accept) == -ECANCELED);
    harness_cancel(h, &recv); /* not in flight: nothing happens */

    /* The same op again: an old request must not hit it. */
    struct test_op send;
    harness_submit_one(h, &recv);
    test_op_init(&send, h, IO_SEND, dialled, "x", 1);
    CHECK(harness_run(h, &send) == 1);
    CHECK(harness_wait(h, &recv) == 1);
    close_fd(dialled);
    close_fd(accepted);
    close_fd(listener);
}

static void submit_and_cancel(void *arg)
{
    struct test_op *t = arg;
    io_submit(h->io, &t->op);
    io_cancel(h->io, &t->op);
    CHECK(t->done_count == 0); /* done never comes from inside the call */
}

static void test_cancel_in_the_turn_of_its_submit(void)
{
    struct test_op recv;
    char byte;
    int dialled, accepted;
    harness_connect(h, &dialled, &accepted);
    test_op_init(&recv, h, IO_RECV, accepted, &byte, 1);
    harness_call(h, submit_and_cancel, &recv);
    CHECK(harness_wait(h, &recv) == -ECANCELED);
    close_fd(dialled);
    close_fd(accepted);
}

static void test_cancel_of_a_write_gives_one_done(void)
{
    struct test_op t;
    static char block[1 << 16];
    int fd = open_scratch();
    for (int i = 0; i < 100; i++) {
        test_op_init(&t, h, IO_WRITE, fd, block, sizeof(block));
        t.op.flags = IO_DSYNC;
        harness_submit_one(h, &t);
        if (i % 2 == 0)
            usleep((useconds_t)i * 3);
        harness_cancel(h, &t);
        int64_t result = harness_wait(h, &t);
        CHECK(result == sizeof(block) || result == -ECANCELED);
    }
    close_fd(fd);
}

/* ---- the end ------------------------------------------------------------- */

static void test_join_finishes_what_is_in_flight(void)
{
    static struct test_op recv, accept, write;
    static char block[1 << 16];
    struct io_address bound;
    int dialled, accepted;
    harness_connect(h, &dialled, &accepted);
    int listener = harness_listen(h, &bound);
    int fd = open_scratch();
    test_op_init(&recv, h, IO_RECV, accepted, block, 1);
    recv.submit_again = true;
    test_op_init(&accept, h, IO_ACCEPT, listener, NULL, 0);
    test_op_init(&write, h, IO_WRITE, fd, block, sizeof(block));
    write.op.flags = IO_DSYNC;
    struct test_op *all[] = {&recv, &accept, &write};
    harness_submit(h, all, 3);
    harness_join(h);
    CHECK(recv.done_count == 2 && recv.op.result == -ECANCELED);
    CHECK(accept.done_count == 1 && accept.op.result == -ECANCELED);
    CHECK(write.done_count == 1);
    CHECK(write.op.result == sizeof(block) || write.op.result == -ECANCELED);
    CHECK(!recv.op.in_flight && !accept.op.in_flight && !write.op.in_flight);
    close_fd(dialled);
    close_fd(accepted);
    close_fd(listener);
    close_fd(fd);
}

static void test_two_loops_talk_to_each_other(void)
{
    struct harness other;
    struct test_op accept, connect, send, recv;
    char byte = 0;
    harness_init(h, harness_open(backend));
    harness_init(&other, harness_open(backend));
    harness_start(h);
    harness_start(&other);
    test_op_init(&connect, &other, IO_CONNECT, other.io->ops->socket(other.io, 2000), NULL, 0);
    int listener = harness_listen(h, &connect.address);
    test_op_init(&accept, h, IO_ACCEPT, listener, NULL, 0);
    harness_submit_one(h, &accept);
    CHECK(harness_run(&other, &connect) == 0);
    test_op_init(&recv, h, IO_RECV, (int)harness_wait(h, &accept), &byte, 1);
    harness_submit_one(h, &recv);
    test_op_init(&send, &other, IO_SEND, connect.op.fd, "y", 1);
    CHECK(harness_run(&other, &send) == 1);
    CHECK(harness_wait(h, &recv) == 1 && byte == 'y');
    close_fd(recv.op.fd);
    close_fd(listener);
    harness_join(&other);
    other.io->ops->close(other.io, connect.op.fd);
    harness_close_io(other.io);
    harness_join(h);
    harness_close_io(h->io);
}

static void test_a_crowd_waits_completes_and_is_cancelled(void)
{
    harness_init(h, harness_open(backend));
    harness_start(h);
    harness_run_crowd(h);
    harness_close_io(h->io);
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    backend = argv[1];
    harness_close_io(harness_open(backend));           /* skips where there is none */
    RUN(test_writes_in_flight_that_overlap_are_fatal); /* forks: before there are threads */
    harness_init(h, harness_open(backend));
    harness_start(h);
    RUN(test_write_then_read_gives_the_same_bytes);
    RUN(test_vectored_write_and_read_keep_order);
    RUN(test_file_errors_are_reported);
    RUN(test_durable_writes_reach_the_medium);
    RUN(test_many_writes_in_one_turn_all_land);
    RUN(test_bytes_travel_both_ways);
    RUN(test_send_to_a_closed_peer_is_an_error_not_a_signal);
    RUN(test_a_full_socket_waits_and_delivers_everything);
    RUN(test_a_full_socket_takes_quiet_sends_too);
    RUN(test_a_quiet_send_that_fails_is_a_reason_for_a_turn);
    RUN(test_connect_to_nobody_is_refused);
    RUN(test_listen_on_a_taken_port_is_refused);
    RUN(test_both_ends_have_the_peer_options);
    RUN(test_shutdown_completes_a_waiting_recv);
    RUN(test_churn_of_connections_leaks_no_fd);
    RUN(test_cancel_of_waiting_ops_completes_them_once);
    RUN(test_cancel_in_the_turn_of_its_submit);
    RUN(test_cancel_of_a_write_gives_one_done);
    RUN(test_join_finishes_what_is_in_flight);
    harness_close_io(h->io);
    RUN(test_two_loops_talk_to_each_other);
    RUN(test_a_crowd_waits_completes_and_is_cancelled);
    return 0;
}
