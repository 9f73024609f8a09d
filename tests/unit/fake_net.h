/* SPDX-License-Identifier: Apache-2.0
 *
 * The smallest network under the seam that tests of the transport need: byte pipes in memory, whose
 * every completion the test decides. Several machines share it, and the test itself may connect and
 * write raw bytes, as a stranger would. The jobs of workers are run by a step. Files and loops are
 * absent: their functions are NULL.
 */
#ifndef RR_TESTS_FAKE_NET_H
#define RR_TESTS_FAKE_NET_H

#include "io/io.h"

#define FAKE_ENDS_MAX 4096

/* One end of a connection, or a listener. Its fd is its place in the net's table. */
struct fake_end {
    struct io_op *reading; /* RECV or ACCEPT in flight */
    struct io_op *writing; /* SEND or CONNECT in flight */
    struct io *owner;      /* NULL: the test's own */
    uint8_t *bytes;        /* arrived, not yet received */
    size_t size;
    size_t cap;
    int other;     /* the other end's fd, or -1 */
    int backlog;   /* listener: ends waiting to be accepted, linked by `backlog` */
    uint16_t port; /* of a listener; 0: not a listener */
    bool is_open;
    bool is_stalled;  /* takes no more bytes from the other end: a closed window */
    bool is_canceled; /* the ops in flight complete with -ECANCELED */
    bool has_sent;    /* `writing` did what it does, and is held: … */
    int64_t sent;     /* … its result, … */
    uint32_t crc;     /* … and what its buffers held */
};

struct fake_net {
    struct fake_end ends[FAKE_ENDS_MAX]; /* fds from 1 on */
    int end_count;
    int open_count;         /* ends now open: to see leaks of descriptors */
    int socket_failures;    /* so many next io_sockets and accepts fail with -EMFILE */
    bool loses_connects;    /* the first packets of connections */
    size_t recv_max;        /* bytes one receive gets at most */
    size_t send_max;        /* bytes one send takes at most */
    bool holds_jobs;        /* no worker does anything: a disk that hangs */
    struct io *holds_sends; /* of this machine: their bytes arrive, their completions do not come */
    struct io_job *jobs;    /* posted, of all machines, oldest first */
    struct io_job **last_job;
    uint64_t now_ns;
    uint64_t random;
};

struct fake_io {
    struct io io;
    struct fake_net *net;
};

struct fake_net *fake_net_new(void);
void fake_net_free(struct fake_net *net);
void fake_io_init(struct fake_io *fake, struct fake_net *net);

/* What io_join promises: the machine's ops in flight complete with -ECANCELED. */
void fake_io_join(struct fake_io *fake);

/* Runs every job, tries every op in flight once; returns how many completed. */
int fake_net_step(struct fake_net *net);

/* The test's own ends: connect to a listener (no listener: -1), write, read, see a close. */
int fake_connect(struct fake_net *net, uint16_t port);
int fake_listen(struct fake_net *net, uint16_t port);
int fake_accept(struct fake_net *net, int listener); /* -1: nobody is waiting */
void fake_write(struct fake_net *net, int fd, const void *bytes, size_t size);
size_t fake_read(struct fake_net *net, int fd, void *bytes, size_t cap);
bool fake_is_closed(const struct fake_net *net, int fd); /* by the other end */
void fake_close(struct fake_net *net, int fd);

#endif
