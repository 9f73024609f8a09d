/* SPDX-License-Identifier: Apache-2.0
 *
 * A running loop for tests of real backends: the test's thread has functions called on the loop,
 * submits ops and waits for them. Time limits are ctest's: what hangs, fails.
 */
#ifndef RR_TESTS_IO_HARNESS_H
#define RR_TESTS_IO_HARNESS_H

#include "io/io.h"
#include "proto/base.h"
#include "tests/unit/check.h"

#include <pthread.h>

struct harness {
    struct io *io;
    pthread_mutex_t lock;
    pthread_cond_t changed;  /* broadcast after each call and each done */
    void (*call)(void *arg); /* to be called in the next turn */
    void *call_arg;
    bool stop;
    pthread_t loop_thread; /* as seen in the last turn */
    uint64_t deadline_ns;  /* handed to the backend at the end of each turn; 0: none */
    void (*each_turn)(struct harness *h, uint64_t now_ns); /* or NULL */
};

/* An op with what the test wants to know about it. Zeroed, then filled. */
struct test_op {
    struct io_op op;
    struct iovec iov[4];
    struct io_address address;
    struct harness *harness;
    uint32_t done_count;
    bool submit_again; /* once more, from its done */
};

struct io *harness_open(const char *backend);
void harness_close_io(struct io *io);
/* start and join; init before start if the io is used unstarted. */
void harness_init(struct harness *h, struct io *io);
void harness_start(struct harness *h);
void harness_join(struct harness *h);

/* Calls fn on the loop and returns when it has returned. */
void harness_call(struct harness *h, void (*fn)(void *arg), void *arg);

/* Prepares an op on one buffer. */
void test_op_init(struct test_op *t, struct harness *h, enum io_kind kind, int fd, void *buf,
                  size_t size);
/* Submits all in one turn. */
void harness_submit(struct harness *h, struct test_op *const *ops, uint32_t count);
void harness_submit_one(struct harness *h, struct test_op *t);
void harness_cancel(struct harness *h, struct test_op *t);
/* Waits for done; its result. */
int64_t harness_wait(struct harness *h, struct test_op *t);
uint32_t harness_done_count(struct harness *h, struct test_op *t);
int64_t harness_run(struct harness *h, struct test_op *t);

/* Two connected sockets; the listener is closed again. */
void harness_connect(struct harness *h, int *dialled, int *accepted);
int harness_listen(struct harness *h, struct io_address *bound);

/* Hundreds of sockets with an op each: all wait, complete, wait again and are cancelled one by one,
 * wait again and are left to join, which is called here. */
void harness_run_crowd(struct harness *h);

uint64_t test_now_ns(void);
int count_open_fds(void);

#endif
