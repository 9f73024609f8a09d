/* SPDX-License-Identifier: Apache-2.0
 *
 * What is particular to the io_uring backend: rings that are too small, kernels that refuse it or
 * lack something, and counters checked against the kernel's own. The seam's promises are tested in
 * test_io_backend.c and test_io_loop.c.
 */
#include "io/uring/uring.h"

#include "io/backend.h"
#include "io/uring/uring_op.h"
#include "io/uring/uring_probe.h"
#include "tests/unit/io_harness.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static struct harness harness;
static struct harness *const h = &harness;

/* ---- rings that are too small -------------------------------------------- */

static void test_more_ops_than_sq_and_cq_hold_all_complete(void)
{
    struct uring_options options = {.sq_entries = 4, .cq_entries = 8};
    struct io *io;
    CHECK(uring_open(&options, &io, NULL) == 0);
    harness_init(h, io);
    harness_start(h);
    harness_run_crowd(h);
    uring_free(io);
}

static void submit_nothing(void *arg)
{
    (void)arg;
}

/* The eventfd is never read, so its count is the number of writes. */
static uint64_t kicks_of(struct io *io)
{
    char path[64], line[128];
    unsigned long long count = 0;
    bool is_found = false;
    snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", os_loop_of(io)->wake_fd);
    FILE *file = fopen(path, "re");
    CHECK(file != NULL);
    while (fgets(line, sizeof(line), file) != NULL)
        is_found |= sscanf(line, "eventfd-count: %llx", &count) == 1;
    fclose(file);
    CHECK(is_found);
    return count;
}

static void wake_from_the_loop(void *arg)
{
    for (int i = 0; i < 100; i++)
        io_wake(arg);
}

static void test_wake_count_is_the_number_of_kernel_calls(void)
{
    struct io *io;
    CHECK(uring_open(NULL, &io, NULL) == 0);
    harness_init(h, io);
    for (int i = 0; i < 10; i++)
        io_wake(io); /* not started: the first turn comes anyway */
    CHECK(kicks_of(io) == 0);
    harness_start(h);
    for (int i = 0; i < 50; i++) {
        harness_call(h, submit_nothing, NULL);
        harness_call(h, wake_from_the_loop, io);
        usleep(i % 2 ? 200 : 0);
    }
    harness_join(h);
    CHECK_EQ_U64(io->wake_count, kicks_of(io));
    CHECK(io->wake_count >= 1 && io->wake_count <= 101);
    uring_free(io);
}

/* ---- what is asked of the kernel ----------------------------------------- */

static const struct io_uring_sqe *filled_sqe(struct io *io, struct test_op *t)
{
    struct uring *uring = uring_of(io);
    for (unsigned i = uring->ring.sq.sqe_head; i != uring->ring.sq.sqe_tail; i++) {
        const struct io_uring_sqe *sqe = &uring->ring.sq.sqes[i & uring->ring.sq.ring_mask];
        if (sqe->user_data == (uintptr_t)&t->op)
            return sqe;
    }
    fprintf(stderr, "no SQE of this op\n");
    exit(1);
}

static void read_turn_count(void *arg)
{
    *(uint64_t *)arg = h->io->turn_count;
}

/* How many turns it takes to send so many bytes, one at a time. */
static uint64_t turns_of_sends(uint8_t flags)
{
    enum { COUNT = 50 };
    struct test_op sends[COUNT];
    int dialled, accepted;
    uint64_t before, after;
    char byte;
    harness_connect(h, &dialled, &accepted);
    harness_call(h, read_turn_count, &before);
    for (int i = 0; i < COUNT; i++) {
        test_op_init(&sends[i], h, IO_SEND, dialled, "x", 1);
        sends[i].op.flags = flags;
        harness_submit_one(h, &sends[i]);
        CHECK(recv(accepted, &byte, 1, 0) == 1 && byte == 'x');
        usleep(500); /* a turn, if there is reason for one */
    }
    harness_call(h, read_turn_count, &after);
    for (int i = 0; i < COUNT; i++)
        CHECK(harness_wait(h, &sends[i]) == 1);
    h->io->ops->close(h->io, dialled);
    h->io->ops->close(h->io, accepted);
    return (after - before) / COUNT;
}

static void test_a_quiet_send_makes_no_turn(void)
{
    struct io *io;
    CHECK(uring_open(NULL, &io, NULL) == 0);
    harness_init(h, io);
    harness_start(h);
    CHECK_EQ_U64(turns_of_sends(IO_QUIET), 1);
    CHECK(turns_of_sends(0) >= 2);
    harness_join(h);
    uring_free(io);
}

static void test_flags_are_handed_to_the_kernel(void)
{
    enum { DURABLE, VECTORED, PLAIN, SYNC, ACCEPT, SEND, SENDMSG, COUNT };
    struct test_op t[COUNT];
    struct io_address bound;
    struct io *io;
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    CHECK(uring_open(NULL, &io, NULL) == 0);
    harness_init(h, io);
    int listener = harness_listen(h, &bound);
    test_op_init(&t[DURABLE], h, IO_WRITE, fd, "x", 1);
    test_op_init(&t[VECTORED], h, IO_WRITE, fd, "x", 1);
    test_op_init(&t[PLAIN], h, IO_WRITE, fd, "x", 1);
    test_op_init(&t[SYNC], h, IO_SYNC, fd, NULL, 0);
    test_op_init(&t[ACCEPT], h, IO_ACCEPT, listener, NULL, 0);
    test_op_init(&t[SEND], h, IO_SEND, listener, "x", 1);
    test_op_init(&t[SENDMSG], h, IO_SEND, listener, "x", 1);
    t[DURABLE].op.flags = t[VECTORED].op.flags = IO_DSYNC;
    t[VECTORED].op.offset = 10;
    t[PLAIN].op.offset = 20;
    t[VECTORED].iov[1] = t[SENDMSG].iov[1] = t[SEND].iov[0];
    t[VECTORED].op.iov_count = t[SENDMSG].op.iov_count = 2;
    for (int i = 0; i < COUNT; i++)
        io_submit(io, &t[i].op);
    uring_fill(uring_of(io)); /* not started yet: they stay in the SQ to be looked at */
    CHECK(filled_sqe(io, &t[DURABLE])->rw_flags == RWF_DSYNC);
    CHECK(filled_sqe(io, &t[VECTORED])->rw_flags == RWF_DSYNC);
    CHECK(filled_sqe(io, &t[PLAIN])->rw_flags == 0);
    CHECK(filled_sqe(io, &t[SYNC])->fsync_flags == IORING_FSYNC_DATASYNC);
    CHECK(filled_sqe(io, &t[ACCEPT])->accept_flags == SOCK_CLOEXEC);
    CHECK(filled_sqe(io, &t[SEND])->msg_flags == MSG_NOSIGNAL);
    CHECK(filled_sqe(io, &t[SENDMSG])->msg_flags == MSG_NOSIGNAL);
    harness_start(h);
    harness_join(h);
    for (int i = 0; i < COUNT; i++)
        CHECK(t[i].done_count == 1);
    close(fd);
    close(listener);
    uring_free(io);
}

/* ---- what can be missing ------------------------------------------------- */

/* From now on, in this process, the system call fails with `err`. */
static void refuse(unsigned call, int err)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)err),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {RR_ARRAY_SIZE(code), code};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        SKIP("seccomp filters are not available");
}

/* Runs a test in a process of its own, since what it does to the process cannot be undone. */
static void run_alone(void (*test)(void))
{
    int status;
    fflush(NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        test();
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        SKIP("see above");
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void expect_sentence(const struct rr_error *error, const char *part)
{
    if (strstr(error->message, part) == NULL)
        fprintf(stderr, "\"%s\" does not say \"%s\"\n", error->message, part);
    CHECK(strstr(error->message, part) != NULL);
}

static void seccomp_eperm(void)
{
    struct rr_error error;
    struct io *io = NULL;
    refuse(__NR_io_uring_setup, EPERM);
    CHECK(uring_open(NULL, &io, &error) == RR_E_NOT_SUPPORTED);
    expect_sentence(&error, "seccomp filter");
    expect_sentence(&error, "EPERM");
    CHECK(io == NULL);
}

static void seccomp_enosys(void)
{
    struct rr_error error;
    struct io *io = NULL;
    refuse(__NR_io_uring_setup, ENOSYS);
    CHECK(uring_open(NULL, &io, &error) == RR_E_NOT_SUPPORTED);
    expect_sentence(&error, "ENOSYS");
    expect_sentence(&error, "Linux 6.1");
}

static void seccomp_enter_only(void)
{
    struct rr_error error;
    struct io *io = NULL;
    int before = count_open_fds();
    refuse(__NR_io_uring_enter, EPERM);
    CHECK(uring_open(NULL, &io, &error) == RR_E_NOT_SUPPORTED);
    expect_sentence(&error, "io_uring_enter is refused (Operation not permitted)");
    CHECK(count_open_fds() == before);
}

static void seccomp_register_only(void)
{
    struct rr_error error;
    struct io *io = NULL;
    refuse(__NR_io_uring_register, EPERM);
    CHECK(uring_open(NULL, &io, &error) == RR_E_NOT_SUPPORTED);
    expect_sentence(&error, "io_uring_register");
}

static void seccomp_auto(void)
{
    struct rr_error error;
    struct io *io = NULL;
    char notice[600];
    refuse(__NR_io_uring_setup, EPERM);
    CHECK(io_open_backend(IO_BACKEND_URING, &io, notice, sizeof(notice), &error) ==
          RR_E_NOT_SUPPORTED);
    CHECK(io_open_backend(IO_BACKEND_AUTO, &io, notice, sizeof(notice), &error) == 0);
    CHECK(strcmp(io->ops->name, "posix") == 0);
    CHECK(strstr(notice, "slower") != NULL && strstr(notice, "seccomp") != NULL);
    io_close_backend(io);
}

static void no_descriptors(void)
{
    struct rr_error error;
    struct io *io = NULL;
    char notice[600] = "untouched";
    struct rlimit limit = {0, 0};
    int used = dup(0);
    limit.rlim_cur = limit.rlim_max = (rlim_t)used; /* no number below it is free */
    close(used);
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    CHECK(uring_open(NULL, &io, &error) == RR_E_IO);
    expect_sentence(&error, "RLIMIT_NOFILE");
    CHECK(io_open_backend(IO_BACKEND_AUTO, &io, notice, sizeof(notice), &error) == RR_E_IO);
    CHECK(notice[0] == '\0');                           /* not a reason to fall back */
    limit.rlim_cur = limit.rlim_max = (rlim_t)used + 1; /* the ring gets one, the eventfd none */
    if (setrlimit(RLIMIT_NOFILE, &limit) == 0) {
        CHECK(uring_open(NULL, &io, &error) == RR_E_IO);
        expect_sentence(&error, "wake-up");
    }
}

static void test_refusals_are_explained(void)
{
    run_alone(seccomp_eperm);
    run_alone(seccomp_enosys);
    run_alone(seccomp_enter_only);
    run_alone(seccomp_register_only);
    run_alone(seccomp_auto);
    run_alone(no_descriptors);
}

static void test_each_errno_has_its_sentence(void)
{
    struct rr_error error;
    CHECK(uring_explain_setup(EINVAL, &error) == RR_E_NOT_SUPPORTED);
    expect_sentence(&error, "too old");
    CHECK(uring_explain_setup(ENFILE, &error) == RR_E_IO);
    expect_sentence(&error, "fs.file-max");
    CHECK(uring_explain_setup(ENOMEM, &error) == RR_E_NO_MEMORY);
    expect_sentence(&error, "memory");
    CHECK(uring_explain_setup(EIO, &error) == RR_E_IO);
    expect_sentence(&error, "errno 5");
}

static void test_missing_features_and_opcodes_are_named(void)
{
    struct rr_error error;
    CHECK(uring_check_features(~0u, &error) == 0);
    CHECK(uring_check_features(~(unsigned)IORING_FEAT_NODROP, &error) == RR_E_NOT_SUPPORTED);
    expect_sentence(&error, "NODROP");
    CHECK(uring_check_features(~(unsigned)IORING_FEAT_EXT_ARG, &error) == RR_E_NOT_SUPPORTED);
    expect_sentence(&error, "EXT_ARG");

    struct io_uring_probe *probe = io_uring_get_probe();
    CHECK(probe != NULL);
    CHECK(uring_check_opcodes(probe, &error) == 0);
    probe->ops[IORING_OP_RECVMSG].flags = 0;
    probe->last_op = IORING_OP_SEND; /* RECV comes behind it */
    CHECK(uring_check_opcodes(probe, &error) == RR_E_NOT_SUPPORTED);
    expect_sentence(&error, " RECVMSG");
    expect_sentence(&error, " RECV ");
    CHECK(strstr(error.message, "FSYNC") == NULL);
    io_uring_free_probe(probe);
}

static void test_opened_and_freed_leaves_no_fd(void)
{
    int before = count_open_fds();
    for (int i = 0; i < 20; i++) {
        struct io *io;
        CHECK(uring_open(NULL, &io, NULL) == 0);
        if (i % 2) {
            harness_init(h, io);
            harness_start(h);
            harness_join(h);
        }
        uring_free(io);
    }
    CHECK(count_open_fds() == before);
}

/* ---- the lock outlives the process's table of files ---------------------- */

/* What SIGKILL does first is to close the files; the ring, and with it what is in flight, goes
 * later. Until then the lock must hold. */
static void test_lock_is_held_until_the_ring_is_gone(void)
{
    char path[] = "/tmp/rr-lock-XXXXXX";
    int fd = mkstemp(path);
    int other = open(path, O_RDWR | O_CLOEXEC);
    struct io *io;
    CHECK(fd >= 0 && other >= 0);
    CHECK(uring_open(NULL, &io, NULL) == 0);
    CHECK(io->ops->lock(io, fd) == 0);
    CHECK(close(fd) == 0);
    CHECK(flock(other, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK);
    uring_free(io);
    CHECK(flock(other, LOCK_EX) == 0);
    CHECK(close(other) == 0 && unlink(path) == 0);
}

static void test_lock_ends_with_an_orderly_close(void)
{
    char path[] = "/tmp/rr-lock-XXXXXX";
    int fd = mkstemp(path);
    int other = open(path, O_RDWR | O_CLOEXEC);
    struct io *io;
    CHECK(fd >= 0 && other >= 0);
    CHECK(uring_open(NULL, &io, NULL) == 0);
    CHECK(io->ops->lock(io, fd) == 0);
    io->ops->close(io, fd);
    CHECK(flock(other, LOCK_EX | LOCK_NB) == 0);
    uring_free(io);
    CHECK(close(other) == 0 && unlink(path) == 0);
}

int main(void)
{
    struct rr_error error;
    struct io *io;
    int err = uring_open(NULL, &io, &error);
    if (err == RR_E_NOT_SUPPORTED)
        SKIP(error.message);
    CHECK(err == 0);
    uring_free(io);
    RUN(test_more_ops_than_sq_and_cq_hold_all_complete);
    RUN(test_wake_count_is_the_number_of_kernel_calls);
    RUN(test_a_quiet_send_makes_no_turn);
    RUN(test_flags_are_handed_to_the_kernel);
    RUN(test_refusals_are_explained);
    RUN(test_each_errno_has_its_sentence);
    RUN(test_missing_features_and_opcodes_are_named);
    RUN(test_opened_and_freed_leaves_no_fd);
    RUN(test_lock_is_held_until_the_ring_is_gone);
    RUN(test_lock_ends_with_an_orderly_close);
    return 0;
}
