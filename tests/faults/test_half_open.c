/* SPDX-License-Identifier: Apache-2.0
 *
 * A connection whose other end has vanished without a word is noticed within the patience it was
 * made with: two network namespaces, whose packets are lost one way or the other. Needs root and
 * `ip`.
 */
#include "tests/unit/check.h"
#include "tests/unit/io_harness.h"

#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define MS          UINT64_C(1000000)
#define PATIENCE_MS 300u
#define PORT        7000

static bool run(const char *format, ...)
{
    char command[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(command, sizeof(command), format, arguments);
    va_end(arguments);
    return system(command) == 0;
}

static void skip(const char *why)
{
    printf("skipped: %s\n", why);
    exit(77);
}

/* The other end: accepts one connection, and loses what comes or goes when it is told to. */
static void be_the_other_end(const char *backend, int said, int heard)
{
    struct harness h;
    struct io_address address = {.ip = 10u << 24 | 78 << 16 | 2, .port = PORT}, bound;
    struct test_op accept;
    char order;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    CHECK(unshare(CLONE_NEWNET) == 0);
    CHECK(write(said, "n", 1) == 1 && read(heard, &order, 1) == 1); /* it has its wire */
    CHECK(run("ip addr add 10.78.0.2/24 dev vb && ip link set vb up"));
    harness_init(&h, harness_open(backend));
    harness_start(&h);
    int listener = h.io->ops->listen(h.io, &address, &bound);
    CHECK(listener >= 0 && write(said, "l", 1) == 1);
    test_op_init(&accept, &h, IO_ACCEPT, listener, NULL, 0);
    CHECK(harness_run(&h, &accept) >= 0);
    CHECK(write(said, "a", 1) == 1 && read(heard, &order, 1) == 1);
    CHECK(run(order == 'm' ? "ip route add blackhole 10.78.0.1/32" : "ip link set vb down"));
    CHECK(write(said, "d", 1) == 1 && read(heard, &order, 1) == 0); /* until the test is over */
    _exit(0);
}

static void hear(int fd, char wanted)
{
    char said;
    CHECK(read(fd, &said, 1) == 1 && said == wanted);
}

/* 'm': what we send arrives, and nothing comes back; 'v': nothing arrives either. */
static void check_noticed(const char *backend, char how)
{
    int to[2], from[2];
    CHECK(pipe(to) == 0 && pipe(from) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        close(to[1]);
        close(from[0]);
        be_the_other_end(backend, from[1], to[0]);
    }
    close(to[0]);
    close(from[1]);
    hear(from[0], 'n');
    if (!run("ip link add va type veth peer name vb netns %d", (int)child))
        skip("no virtual wires here");
    CHECK(run("ip addr add 10.78.0.1/24 dev va && ip link set va up"));
    CHECK(write(to[1], "w", 1) == 1);
    hear(from[0], 'l');
    struct harness h;
    struct test_op connect, send, recv;
    char byte = 'x', in;
    harness_init(&h, harness_open(backend));
    harness_start(&h);
    int fd = h.io->ops->socket(h.io, PATIENCE_MS);
    test_op_init(&connect, &h, IO_CONNECT, fd, NULL, 0);
    connect.address = (struct io_address){.ip = 10u << 24 | 78 << 16 | 2, .port = PORT};
    CHECK(harness_run(&h, &connect) == 0);
    hear(from[0], 'a');
    CHECK(write(to[1], &how, 1) == 1);
    hear(from[0], 'd');
    test_op_init(&recv, &h, IO_RECV, fd, &in, 1); /* as a dialler waits for the close */
    harness_submit_one(&h, &recv);
    uint64_t since = test_now_ns();
    test_op_init(&send, &h, IO_SEND, fd, &byte, 1);
    CHECK(harness_run(&h, &send) == 1);
    CHECK(harness_wait(&h, &recv) <= 0);
    uint64_t passed_ms = (test_now_ns() - since) / MS;
    printf("  %s: '%c' noticed after %llu ms\n", backend, how, (unsigned long long)passed_ms);
    CHECK(passed_ms >= PATIENCE_MS / 2 && passed_ms < 5 * PATIENCE_MS);
    h.io->ops->close(h.io, fd);
    struct io *io = h.io;
    harness_join(&h);
    harness_close_io(io);
    close(to[1]);
    close(from[0]);
    CHECK(waitpid(child, NULL, 0) == child);
    (void)run(
        "ip link del va 2>/dev/null"); /* the kernel lets go of the other end in its own time */
}

int main(int argc, char **argv)
{
    const char *backend = argc > 1 ? argv[1] : "uring";
    if (geteuid() != 0 || unshare(CLONE_NEWNET) != 0 || !run("ip link set lo up"))
        skip("needs root and a network namespace");
    check_noticed(backend, 'm');
    check_noticed(backend, 'v');
    return 0;
}
