/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of the simulator, shared by sim.c (the world), sim_faults.c, sim_loop.c (ops and
 * turns), sim_worker.c, sim_file.c and sim_net.c. One thread touches all of it. An op's way:
 *
 *     submit --> flight (an event, or waiting for bytes) --> completed --turn--> done
 *                   |                                            |
 *                 crash --> kept until join says -ECANCELED <-- crash
 */
#ifndef RR_IO_SIM_MACHINE_H
#define RR_IO_SIM_MACHINE_H

#include "io/sim/sim.h"
#include "io/sim/sim_disk.h"
#include "io/sim/sim_heap.h"
#include "io/sim/sim_random.h"

struct machine;
struct listener;
struct endpoint;
struct connection;

struct sim {
    struct sim_heap heap;
    struct sim_stream schedule; /* tiebreaks, turns, workers */
    struct sim_stream net;
    struct sim_stream driver;
    struct machine *machines[SIM_MACHINES_MAX]; /* by number - 1; NULL: never asked for */
    bool cut[SIM_MACHINES_MAX][SIM_MACHINES_MAX];
    struct connection *connections; /* all that exist */
    uint64_t net_delay_min_ns;
    uint64_t net_delay_max_ns;
    uint32_t corrupt_per_million; /* sends */
    uint64_t now;
    uint64_t sequence; /* of scheduled events */
    uint64_t event_count;
    uint64_t seed;
    uint64_t trace;
    bool in_event;
};

/* What an op is while the world works on it. */
struct flight {
    struct sim_event event;
    struct machine *machine;
    struct io_op *op;
    struct flight *next, **link; /* the machine's list */
    struct inode *inode;         /* disk ops: a reference */
    uint64_t sequence;           /* IO_SYNC: what was written before it was submitted */
    uint64_t hash;               /* of the bytes at submission: IO_WRITE, IO_SEND */
    size_t size;                 /* of the vector */
    uint64_t deadline;           /* IO_CONNECT */
    bool is_cancelled;
    bool is_hung; /* due, and the disk does not answer */
};

enum slot_kind { SLOT_FREE, SLOT_FILE, SLOT_LISTENER, SLOT_SOCKET };

/* What a file descriptor stands for. Numbers are not used twice by one process. */
struct slot {
    enum slot_kind kind;
    unsigned flags; /* enum io_open_flags */
    bool owns_lock;
    union {
        struct inode *inode;
        struct listener *listener;
        struct endpoint *endpoint;
    };
};

struct op_queue {
    struct io_op *first;
    struct io_op **end;
};

struct job_queue {
    struct io_job *first;
    struct io_job **end;
};

struct io_worker {
    struct sim_event event;
    struct machine *machine;
    struct io_worker *next;
    struct job_queue waiting;  /* the first may have run already */
    struct job_queue finished; /* run, and not yet told to the loop */
    const char *name;          /* a literal */
    bool has_run;              /* the first of `waiting` */
    bool uses_disk;            /* a job of it called a file function */
    bool is_held;              /* due, while the process is paused, its disk hangs, or it sleeps */
};

struct machine {
    struct io io; /* what the process sees */
    struct sim *sim;
    uint32_t number;

    /* the loop */
    struct sim_event turn_event;
    bool (*turn)(void *ctx, uint64_t now_ns, uint64_t *deadline_ns);
    void *turn_ctx;
    struct op_queue completed;
    struct flight *flights;
    struct io_worker *workers;
    struct io_worker *working; /* whose job runs right now */
    const char *held_workers;  /* by name; NULL: none sleep */
    struct sim_stream process; /* what the process gets from io->ops->random */
    uint64_t busy_until;       /* the last turn's cost in virtual time */
    /* The clock: it showed clock_base when the world's was clock_since. */
    uint64_t clock_base;
    uint64_t clock_since;
    uint32_t clock_ppm;
    uint64_t job_cost_max_ns;
    bool is_looping;
    bool is_paused;
    bool has_missed_turn; /* while paused */
    bool is_crashed;
    bool lost_power; /* and was not reset since: packets to it vanish */

    /* files and sockets */
    struct slot *slots;
    size_t slot_count;
    size_t slot_cap;
    size_t slots_open;
    struct listener *listeners;
    uint16_t next_port;

    /* the disk and its faults */
    struct disk disk;
    uint64_t latency_min_ns;
    uint64_t latency_max_ns;
    uint32_t short_per_mille;
    int error;
    uint64_t error_countdown;
    uint64_t read_error_countdown;
    uint64_t lost_write_countdown;
    bool misdirects;
    bool is_hung;
    bool is_buffered;

    /* the crash that is waiting to happen */
    uint64_t crash_countdown;
    uint64_t crash_points;
    bool crash_power;
    enum sim_power_loss crash_how;
};

#define MACHINE_FD_FIRST 3
/* How far the bytes of an op are watched: a megabyte that leaves by short sends is submitted often.
 */
#define HASHED_MAX 8192u

static inline struct machine *machine_of(struct io *io)
{
    return RR_CONTAINER_OF(io, struct machine, io);
}

/* The machine's clock. */
static inline uint64_t machine_now(const struct machine *machine)
{
    unsigned __int128 passed = machine->sim->now - machine->clock_since;
    return machine->clock_base + (uint64_t)(passed * machine->clock_ppm / 1000000);
}

/* When the machine's clock will show this. */
static inline uint64_t machine_due(const struct machine *machine, uint64_t clock)
{
    if (clock <= machine->clock_base)
        return machine->clock_since;
    unsigned __int128 scaled = (unsigned __int128)(clock - machine->clock_base) * 1000000;
    return machine->clock_since +
           (uint64_t)((scaled + machine->clock_ppm - 1) / machine->clock_ppm);
}

/* ---- sim.c --------------------------------------------------------------- */
struct machine *sim_machine_at(const struct sim *sim, uint32_t number);
void sim_schedule(struct sim *sim, struct sim_event *event, uint64_t time);
void sim_unschedule(struct sim *sim, struct sim_event *event);
static inline void sim_trace(struct sim *sim, uint64_t what, uint64_t a, uint64_t b)
{
    sim->trace = hash_mix(hash_mix(hash_mix(sim->trace, what), a), b);
}
/* A moment at which the machine may be crashed. False: it is dead, now or since long. */
bool machine_crash_point(struct machine *machine);

/* ---- sim_loop.c ---------------------------------------------------------- */
int machine_slot_new(struct machine *machine, struct slot slot); /* the fd */
struct slot *machine_any_slot(struct machine *machine, int fd);
struct slot *machine_slot(struct machine *machine, int fd, enum slot_kind kind);
void machine_slot_free(struct machine *machine, int fd);
void machine_request_turn(struct machine *machine, uint64_t time);
/* The op's fate is known: it is told so at the next turn. The flight is gone after this. */
void flight_complete(struct flight *flight, int64_t result);
size_t op_size(const struct io_op *op);
uint64_t op_hash(const struct io_op *op);          /* of its first bytes */
void machine_forget_loop(struct machine *machine); /* at a crash */
/* The pause is over, or the disk answers: what was held goes on. */
void machine_release(struct machine *machine);
void sim_loop_submit(struct io *io, struct io_op *op);
void sim_loop_cancel(struct io *io, struct io_op *op);
int sim_loop_start(struct io *io, bool (*turn)(void *ctx, uint64_t now_ns, uint64_t *deadline_ns),
                   void *ctx);
int sim_loop_turn(struct io *io, uint32_t wait_ms);
void sim_loop_join(struct io *io);
bool sim_may_wait(struct io *io);
bool sim_gate_wait(struct io *io, struct io_gate *gate);
void sim_gate_open(struct io *io, struct io_gate *gate);
void sim_loop_wake(struct io *io);
void sim_loop_close(struct io *io, int fd);

/* ---- sim_worker.c -------------------------------------------------------- */
struct io_worker *sim_worker_new(struct io *io, const char *name);
void sim_worker_post(struct io_worker *worker, struct io_job *job);
void sim_worker_free(struct io_worker *worker);
void sim_worker_dispatch(struct io_worker *worker); /* the `done`s that are due */
void sim_worker_stop(struct io_worker *worker);     /* at a crash */
void sim_worker_release(struct io_worker *worker);  /* it was held */

/* ---- sim_file.c ---------------------------------------------------------- */
void sim_file_submit(struct flight *flight);
void sim_file_crash(struct flight *flight); /* a write in flight happened, did not, or in part */
void sim_file_close(struct machine *machine, struct slot *slot);
void sim_file_release(struct flight *flight); /* the disk answers again */
int sim_file_open(struct io *io, const char *path, unsigned flags);
int64_t sim_file_pread(struct io *io, int fd, void *buf, size_t size, uint64_t offset);
int64_t sim_file_pwrite(struct io *io, int fd, const void *buf, size_t size, uint64_t offset,
                        unsigned flags);
int sim_file_fsync(struct io *io, int fd);
int64_t sim_file_size(struct io *io, int fd);
int sim_file_truncate(struct io *io, int fd, uint64_t size);
int sim_file_mkdir(struct io *io, const char *path);
int sim_file_sync_dir(struct io *io, const char *path);
int sim_file_rename(struct io *io, const char *from, const char *to);
int sim_file_unlink(struct io *io, const char *path);
int sim_file_list(struct io *io, const char *path, void (*each)(void *ctx, const char *name),
                  void *ctx);
int sim_file_lock(struct io *io, int fd);
int sim_file_fs_probe(struct io *io, const char *path, struct io_fs_info *info);

/* ---- sim_net.c ----------------------------------------------------------- */
void sim_net_submit(struct flight *flight);
void sim_net_cancel(struct flight *flight); /* it completes with -ECANCELED */
int sim_net_listen(struct io *io, const struct io_address *address, struct io_address *bound);
int sim_net_socket(struct io *io, uint32_t patience_ms);
void sim_net_shutdown(struct io *io, int fd);
void sim_net_close(struct machine *machine, struct slot *slot, bool silently);

#endif
