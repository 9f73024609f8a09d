/* SPDX-License-Identifier: Apache-2.0
 *
 * The loop that the backends on a real system share: its thread, the turn, the wake-up, the
 * workers, clock and randomness. A backend embeds it first in its own struct and brings an
 * os_driver, which does the ops. One thread runs it; start waits until that thread has begun.
 */
#ifndef RR_IO_OS_LOOP_H
#define RR_IO_OS_LOOP_H

#include "io/io.h"
#include "io/os/os_embed.h"
#include "io/os/os_file.h"
#include "io/os/os_gate.h"
#include "io/os/os_socket.h"
#include "io/os/os_wake.h"
#include "io/os/os_worker.h"
#include "io/os/os_writes.h"

#include <pthread.h>

struct os_loop;

/* How a backend does ops. All on the loop's thread. */
struct os_driver {
    /* Takes the ring or its like into possession: 0 or -errno. */
    int (*begin)(struct os_loop *loop);
    /* The one entry into the kernel of a turn: submits what is queued and waits for a completion
     * or a kick at most wait_ns (0: not at all; UINT64_MAX: for ever). */
    void (*enter)(struct os_loop *loop, uint64_t wait_ns);
    /* Calls the done of all that is complete. */
    void (*dispatch)(struct os_loop *loop);
    /* The loop ends: asks to cancel everything, called before each enter until it is idle. From
     * the first call on what is submitted completes with -ECANCELED. */
    void (*cancel_all)(struct os_loop *loop);
    bool (*is_idle)(const struct os_loop *loop);
    /* For an embedded loop: an fd that polls readable, by these epoll events, when enter or
     * dispatch would find something (or -errno); and whether dispatch would, now. */
    int (*notify_fd)(struct os_loop *loop, uint32_t *events);
    bool (*is_due)(const struct os_loop *loop);
    void (*end)(struct os_loop *loop);
};

enum os_loop_state { OS_LOOP_OPEN, OS_LOOP_RUNNING, OS_LOOP_JOINED };

struct os_loop {
    struct io io; /* first: the seam's handle is the loop */
    const struct os_driver *driver;
    bool (*turn)(void *ctx, uint64_t now_ns, uint64_t *deadline_ns);
    void *turn_ctx;
    uint64_t now_ns;           /* as of the last enter */
    struct os_workers workers; /* that the seam's user made */
    struct os_writes writes;   /* in flight */
    int wake_fd;               /* eventfd that `enter` listens to; written by kickers */
    enum os_loop_state state;  /* written by start and join */
    struct os_embed embed;     /* instead of the thread */
    pthread_t thread;
    pthread_mutex_t begin_lock; /* start waits for begun */
    pthread_cond_t begin_cond;
    bool has_begun;
    int begin_result;
    struct os_wake wake __attribute__((aligned(64))); /* other threads write this line */
};

/* 0 or -errno. The wake-up is pending from the start, so that the first turn comes at once. */
int os_loop_init(struct os_loop *loop, const struct io_ops *ops, const struct os_driver *driver);
/* Joined or never started; all workers freed. */
void os_loop_fini(struct os_loop *loop);

/* The part of the seam that is the same in every such backend. */
int os_loop_start(struct io *io, bool (*turn)(void *ctx, uint64_t now_ns, uint64_t *deadline_ns),
                  void *ctx);
void os_loop_join(struct io *io);
uint64_t os_loop_clock(void);
void os_loop_wake(struct io *io);
uint64_t os_loop_now(struct io *io);
uint64_t os_loop_random(struct io *io);
struct io_worker *os_loop_worker_new(struct io *io, const char *name);

/* Initialisers of an io_ops for all that a backend does not do itself. */
#define OS_LOOP_OPS                                                                                \
    .start = os_loop_start, .embed = os_embed_start, .turn = os_embed_turn, .join = os_loop_join,  \
    .may_wait = os_gate_may_wait, .gate_wait = os_gate_wait, .gate_open = os_gate_open,            \
    .wake = os_loop_wake, .now = os_loop_now, .random = os_loop_random,                            \
    .shutdown = os_socket_shutdown, .worker_new = os_loop_worker_new,                              \
    .worker_post = os_worker_post, .worker_free = os_worker_free, .open = os_file_open,            \
    .pread = os_file_pread, .pwrite = os_file_pwrite, .fsync = os_file_fsync,                      \
    .file_size = os_file_size, .truncate = os_file_truncate, .mkdir = os_file_mkdir,               \
    .sync_dir = os_file_sync_dir, .rename = os_file_rename, .unlink = os_file_unlink,              \
    .list = os_file_list, .fs_probe = os_file_probe

static inline struct os_loop *os_loop_of(struct io *io)
{
    return (struct os_loop *)io;
}

#endif
