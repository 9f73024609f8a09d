/* SPDX-License-Identifier: Apache-2.0
 *
 * The seam: everything Ringraft wants from the outside world, completion based, as one table of
 * functions. Backends: io/uring (product), io/posix (fallback), io/sim (simulator). Called per
 * batch and per turn, never per entry. errno exists only below this line: results are -errno.
 *
 * One `struct io` belongs to one loop. Threads: io_wake and the blocking file calls from any
 * thread; everything else from the loop's thread only (before start and after join: from the
 * thread that opened it).
 *
 * Happy path: prepare an op, io_submit (only queues), return from the turn; the backend enters the
 * kernel once with everything queued, waits until a completion, a wake-up or the deadline, calls
 * each op's `done` in completion order, then the turn function. Failure path: `done` comes with a
 * negative errno; it always comes, exactly once, also after io_cancel and at join.
 */
#ifndef RR_IO_IO_H
#define RR_IO_IO_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct io;
struct io_op;
struct io_job;
struct io_worker;

/* EINTR and EAGAIN are dealt with below the seam; all else is reported, short counts included. At
 * most one reading (ACCEPT, RECV) and one writing op (CONNECT, SEND) may be in flight on a socket.
 */
enum io_kind {
    IO_READ,    /* fd, iov, offset; short at the end of the file */
    IO_WRITE,   /* fd, iov, offset, flags: IO_DSYNC makes the bytes durable before completion */
    IO_SYNC,    /* fd: fdatasync */
    IO_ACCEPT,  /* fd of a listener; result: the new fd (CLOEXEC, the listener's peer options) */
    IO_CONNECT, /* fd of ops->socket; address */
    IO_SEND,    /* fd, iov, flags: IO_QUIET; may be short */
    IO_RECV,    /* fd, iov; whatever is there, at least a byte; 0: the peer closed */
};

enum io_flags {
    IO_DSYNC = 1,
    /* SEND: that all of it was sent is no reason for a turn; `done` may be as late as the next one
     * with a reason of its own. A short or failed send is a reason. */
    IO_QUIET = 2,
};

/* An operation. Owned by its caller until `done` has been called; neither it nor the bytes behind
 * `iov` (nor the iov array) nor `address` may be touched between submit and done. */
struct io_op {
    void (*done)(struct io_op *op); /* loop thread; records and returns; may submit and free */
    const struct iovec *iov;
    const struct io_address *address;
    uint64_t offset;
    int64_t result; /* bytes, fd or 0; negative: -errno */
    int fd;
    uint32_t iov_count;
    uint8_t kind;        /* enum io_kind */
    uint8_t flags;       /* enum io_flags */
    bool in_flight;      /* written by the backend: true from submit to just before done */
    struct io_op *next;  /* the backend's, while in flight */
    uint64_t backend[8]; /* the backend's, while in flight */
};

/* A numeric endpoint: IPv4, or the simulator's node number in the same form. */
struct io_address {
    uint32_t ip; /* host byte order */
    uint16_t port;
};

/* Work for another thread: `run` on the worker, then `done` on the loop. FIFO per worker. */
struct io_job {
    void (*run)(struct io_job *job);
    void (*done)(struct io_job *job); /* may post, and free the job */
    struct io_job *next;              /* the backend's, from post to just before done */
};

/* Where a thread waits for an answer of the loop. Begins as zero. */
struct io_gate {
    _Atomic uint32_t is_open;
};

enum io_open_flags {
    IO_O_CREATE = 1, /* create if missing */
    IO_O_EXCL = 2,   /* with CREATE: fail if it exists */
    IO_O_DIRECT = 4,
    IO_O_READ_ONLY = 8,
    IO_O_TRUNCATE = 16,
};

/* What fs_probe learns about the directory's file system and device. */
struct io_fs_info {
    bool is_ram;         /* tmpfs, ramfs: RAM only */
    bool direct_dsync;   /* a real O_DIRECT|RWF_DSYNC write of one block was accepted */
    uint32_t block_size; /* alignment for O_DIRECT: larger of 4096 and the physical block */
    uint64_t free_bytes;
};

struct io_ops {
    const char *name; /* "io_uring", "posix", "sim" */

    /* --- the loop --------------------------------------------------------------------------- */
    void (*submit)(struct io *io, struct io_op *op);
    /* A request: done still comes, with -ECANCELED or with the real result (an ACCEPT may have
     * got its fd: close it). Nothing happens to an op that is not in flight. */
    void (*cancel)(struct io *io, struct io_op *op);
    /* Runs the loop: enter, dispatch `done`s, then turn(ctx, now_ns, &deadline_ns); until turn
     * returns false. `deadline_ns` (absolute, io_now's clock; UINT64_MAX, its value at the call:
     * none; at most now: do not wait, only submit and reap) says when the next turn is due without
     * any completion. The first turn comes at once. start makes the loop's thread (sim: registers
     * the turn) and returns 0 or -errno; once per io. join waits for its end and leaves no op in
     * flight: the rest are cancelled, their done called, and what such a done submits gets
     * -ECANCELED too. That holds for an io that was never started as well, or whose start failed.
     * Own-thread mode of docs/DESIGN.md. */
    int (*start)(struct io *io, bool (*turn)(void *ctx, uint64_t now_ns, uint64_t *deadline_ns),
                 void *ctx);
    void (*join)(struct io *io);
    /* Instead of start: no thread is made; the thread of the first `turn` is the loop's for ever.
     * Returns an fd that polls readable when a turn is due (0 in the simulator, which turns by
     * itself), or -errno. `turn` runs one turn, having waited for something to do for at most so
     * long (UINT32_MAX: for ever): 0, -EPERM: another thread's, or called in a turn; -errno: the
     * loop cannot begin. join is for that thread, too: it turns until the end. */
    int (*embed)(struct io *io, bool (*turn)(void *ctx, uint64_t now_ns, uint64_t *deadline_ns),
                 void *ctx);
    int (*turn)(struct io *io, uint32_t wait_ms);
    /* Any thread: makes a turn happen that sees all that was written before; coalesced. Costs one
     * atomic exchange while the loop is awake. */
    void (*wake)(struct io *io);
    /* May this thread wait for the loop? Not in a turn, nor in a worker's job. */
    bool (*may_wait)(struct io *io);
    /* Who may wait: returns once the loop has opened the gate, which it must be sure to do. (The
     * simulator plays until then; false: the machine died.) An embedded loop is turned meanwhile,
     * and only its thread may wait for it. */
    bool (*gate_wait)(struct io *io, struct io_gate *gate);
    /* The loop's thread. The waiter may give the gate's memory back at once. */
    void (*gate_open)(struct io *io, struct io_gate *gate);
    uint64_t (*now)(struct io *io);    /* monotonic ns; read once per turn by the backend */
    uint64_t (*random)(struct io *io); /* for timeouts, ids, nonces; seeded in the simulator */

    /* --- sockets (never block) -------------------------------------------------------------- */
    int (*listen)(struct io *io, const struct io_address *address, struct io_address *bound);
    /* A stream socket for IO_CONNECT, with peer options. The connection ends when nobody
     * acknowledges what it sent for so long (the simulator's does not). */
    int (*socket)(struct io *io, uint32_t patience_ms);
    void (*close)(struct io *io, int fd);    /* sockets and files; no op on it may be in flight */
    void (*shutdown)(struct io *io, int fd); /* both directions; pending ops complete */

    /* --- workers ---------------------------------------------------------------------------- */
    /* NULL: no thread to be had. Up to 15 bytes of the name are shown by the system. */
    struct io_worker *(*worker_new)(struct io *io, const char *name);
    void (*worker_post)(struct io_worker *worker, struct io_job *job); /* loop thread */
    /* Runs what is queued, joins; dones are called. Not from a job's done; before start, in a
     * turn or after join. All workers are freed before the backend is. */
    void (*worker_free)(struct io_worker *worker);

    /* --- blocking file calls (opening, recovery, workers) ----------------------------------- */
    int (*open)(struct io *io, const char *path, unsigned flags); /* fd, 0600, CLOEXEC */
    /* All of it, or short: pread at the end of the file, pwrite never. */
    int64_t (*pread)(struct io *io, int fd, void *buf, size_t size, uint64_t offset);
    int64_t (*pwrite)(struct io *io, int fd, const void *buf, size_t size, uint64_t offset,
                      unsigned flags);
    int (*fsync)(struct io *io, int fd); /* data and size */
    int64_t (*file_size)(struct io *io, int fd);
    int (*truncate)(struct io *io, int fd, uint64_t size);
    int (*mkdir)(struct io *io, const char *path); /* 0700; -EEXIST if there */
    int (*sync_dir)(struct io *io, const char *path);
    int (*rename)(struct io *io, const char *from, const char *to); /* durable after sync_dir */
    int (*unlink)(struct io *io, const char *path);
    /* Calls each name once (files only, no order), or returns -errno. */
    int (*list)(struct io *io, const char *path, void (*each)(void *ctx, const char *name),
                void *ctx);
    /* An exclusive lock on an open file until it is closed: 0 or -EWOULDBLOCK. */
    int (*lock)(struct io *io, int fd);
    int (*fs_probe)(struct io *io, const char *path, struct io_fs_info *info);
};

/* The public head of every backend. The counters belong to the loop's thread; they are for tests,
 * status and benches. */
struct io {
    const struct io_ops *ops;
    uint64_t enter_count;  /* io_uring_enter calls (or their like) */
    uint64_t wait_count;   /* those that were allowed to wait */
    uint64_t wake_count;   /* wake-ups that really reached the kernel */
    uint64_t submit_count; /* ops submitted */
    uint64_t turn_count;
};

static inline void io_submit(struct io *io, struct io_op *op)
{
    io->ops->submit(io, op);
}

static inline void io_cancel(struct io *io, struct io_op *op)
{
    io->ops->cancel(io, op);
}

static inline void io_wake(struct io *io)
{
    io->ops->wake(io);
}

static inline uint64_t io_now(struct io *io)
{
    return io->ops->now(io);
}

#endif
