/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulator backend: N whole nodes on one thread, one virtual clock, one seed. Each node has a
 * `struct io` (its "machine": disk, sockets, workers, clock); the driver makes machines, opens
 * engines on them, and steps events. Same seed, same trace.
 *
 * Disk: unsynced 512-byte sectors and directory entries are kept apart; a power loss keeps none,
 * all, a random subset or tears one write. Network: byte streams with delay, segmentation, cut and
 * one-way cut. Worker jobs are events. What the model promises stands in sim_disk.h and sim_net.c.
 *
 * Nothing outside of the machines may be called from inside an event except what the callbacks
 * of the engine allow: sim_step, sim_free, sim_reset and closing an engine belong to the driver.
 */
#ifndef RR_IO_SIM_H
#define RR_IO_SIM_H

#include "io/io.h"

struct sim;

#define SIM_MACHINES_MAX 16

enum sim_power_loss {
    SIM_LOSE_ALL,    /* nothing that was not synced survives */
    SIM_KEEP_ALL,    /* everything does, writes in flight too */
    SIM_KEEP_RANDOM, /* each unsynced sector, size and directory entry survives or does not */
    SIM_TEAR_ONE,    /* all before one unsynced write, a part of it, nothing after it */
    SIM_POWER_LOSS_COUNT,
};

enum sim_damage {
    SIM_DAMAGE_FLIP,       /* some bits of the sector are others */
    SIM_DAMAGE_ZERO,       /* it reads as zeros */
    SIM_DAMAGE_UNREADABLE, /* -EIO */
    SIM_DAMAGE_STALE,      /* it reads as another sector's content, or as its own of before */
    SIM_DAMAGE_COUNT,
};

struct sim *sim_new(uint64_t seed);
void sim_free(struct sim *sim);

/* The machine with this number (1…); its io stays valid until sim_free; its disk survives crashes.
 * The root directory "/" exists, nothing else; a path without a slash lies in it. */
struct io *sim_machine(struct sim *sim, uint32_t number);
/* 127.0.0.<number>:<port>. */
struct io_address sim_address(uint32_t number, uint16_t port);

uint64_t sim_now(const struct sim *sim);
/* The driver's stream: drawing from it does not shift what disks and networks do. */
uint64_t sim_random(struct sim *sim);
uint64_t sim_random_below(struct sim *sim, uint64_t bound);

/* Runs one event; false when none is left. sim_run_until runs all events up to a virtual time and
 * leaves the clock there. */
bool sim_step(struct sim *sim);
void sim_run_until(struct sim *sim, uint64_t time_ns);
/* When the next event is due; UINT64_MAX: there is none. */
uint64_t sim_next_time(const struct sim *sim);
uint64_t sim_event_count(const struct sim *sim);

/* Process death: from now on nothing the machine's process does has any effect: blocking calls give
 * -EIO, submitted ops are only remembered, no `done` and no turn comes. The driver then frees the
 * engine (abandon): io join calls every outstanding `done` with -ECANCELED, worker_free runs and
 * completes every queued job, both without effect on the world; then sim_reset, before reopening.
 * kill keeps all written bytes (the page cache survives; a write in flight happened, did not, or
 * in part) and peers see the sockets close. power loss applies the disk model; peers hear nothing.
 */
void sim_kill(struct sim *sim, uint32_t number);
void sim_power_loss(struct sim *sim, uint32_t number, enum sim_power_loss how);
bool sim_crashed(const struct sim *sim, uint32_t number);
/* A new process may start. Also after an orderly close, where every file and socket must be closed.
 */
void sim_reset(struct sim *sim, uint32_t number);
/* Crash at the n-th I/O submission, completion or blocking file call (before or after its effect)
 * of the machine from now on (0: off), as a kill or a power loss. */
void sim_crash_at_io(struct sim *sim, uint32_t number, uint64_t countdown, bool power,
                     enum sim_power_loss how);
/* How many such points the machine has passed: a test crashes at each of them in turn. */
uint64_t sim_crash_points(const struct sim *sim, uint32_t number);

/* SIGSTOP: no turn and no job of the process runs; the kernel goes on for it. Ends with a crash. */
void sim_pause(struct sim *sim, uint32_t number, bool paused);
/* No job of the workers of this name runs, as if it slept, until NULL releases them. Ends with a
 * crash. Who waits for such a job waits that long: do not close the node or its groups
 * meanwhile. */
void sim_hold_workers(struct sim *sim, uint32_t number, const char *name);
/* How fast the machine's clock runs from now on, in millionths. */
void sim_clock_rate(struct sim *sim, uint32_t number, uint32_t ppm);
/* How long a worker is busy with a job at most. */
void sim_job_cost(struct sim *sim, uint32_t number, uint64_t max_ns);

/* What a machine has at its process's disposal right now. */
struct sim_usage {
    uint64_t descriptors; /* open files and sockets */
    uint64_t ops;         /* submitted and not completed */
    uint64_t disk_bytes;  /* sum of the sizes of all files */
};
struct sim_usage sim_usage(const struct sim *sim, uint32_t number);

/* Faults of the network. A cut direction holds bytes back; when it heals, each connection that was
 * held resumes after a retransmission delay, or is reset, by chance. */
void sim_cut(struct sim *sim, uint32_t from, uint32_t to, bool cut);
void sim_net_delay(struct sim *sim, uint64_t min_ns, uint64_t max_ns);
/* So many of a million sends arrive with a bit of theirs flipped. */
void sim_net_corrupt(struct sim *sim, uint32_t per_million);

/* Faults of a disk. The n-th write or sync from now on fails with -err, whatever it left behind. */
void sim_disk_error(struct sim *sim, uint32_t number, int err, uint64_t countdown);
/* The n-th read from now on fails with -EIO. */
void sim_disk_read_error(struct sim *sim, uint32_t number, uint64_t countdown);
/* Has an ordered error not struck yet? */
bool sim_disk_will_fail(const struct sim *sim, uint32_t number);
/* Nothing the disk is asked to do completes, until it is healed; jobs of workers that use it wait
 * too. Blocking calls of the opening thread are not held: do not open or close a node meanwhile. */
void sim_disk_hang(struct sim *sim, uint32_t number, bool hangs);
/* The n-th submitted write from now on completes and never arrives: its place keeps what was there.
 * `misdirected`: another place of the file reads as what was written. */
void sim_disk_lose_write(struct sim *sim, uint32_t number, uint64_t countdown, bool misdirected);
/* The sector at this offset is damaged until it is written or repaired; -ENOENT: there is none. */
int sim_damage(struct sim *sim, uint32_t number, const char *path, uint64_t offset,
               enum sim_damage how);
/* Asks about each damaged sector, by its file and offset, whether it stays so; NULL: none does. */
void sim_damage_filter(struct sim *sim, uint32_t number,
                       bool (*stays)(void *ctx, const char *path, uint64_t offset), void *ctx);
bool sim_is_damaged(const struct sim *sim, uint32_t number);
void sim_disk_capacity(struct sim *sim, uint32_t number, uint64_t bytes);
/* Sum of the sizes of all files. */
uint64_t sim_disk_used(const struct sim *sim, uint32_t number);
void sim_disk_latency(struct sim *sim, uint32_t number, uint64_t min_ns, uint64_t max_ns);
/* So many of 1000 submitted writes are short (by whole blocks). */
void sim_disk_short_writes(struct sim *sim, uint32_t number, uint32_t per_mille);
/* A file system that refuses O_DIRECT. */
void sim_disk_buffered(struct sim *sim, uint32_t number, bool buffered);

/* The oracle's view: bytes that would survive a power loss that loses everything unsynced. Returns
 * bytes read, or -ENOENT. */
int64_t sim_durable_read(struct sim *sim, uint32_t number, const char *path, void *buf, size_t size,
                         uint64_t offset);
int sim_durable_list(struct sim *sim, uint32_t number, const char *dir,
                     void (*each)(void *ctx, const char *name), void *ctx);
/* Grows whenever something on this disk became durable. */
uint64_t sim_durable_version(const struct sim *sim, uint32_t number);
/* Offline surgery on a machine whose process is down: the bytes are changed durably. */
int sim_corrupt(struct sim *sim, uint32_t number, const char *path, uint64_t offset,
                const void *bytes, size_t size);

/* A copy of what is durable on a machine, and putting one in the place of a machine's disk, whose
 * process is down. NULL: an empty disk. The copy stays the caller's. */
struct sim_disk_image;
struct sim_disk_image *sim_disk_copy(const struct sim *sim, uint32_t number);
void sim_disk_replace(struct sim *sim, uint32_t number, const struct sim_disk_image *image);
void sim_disk_image_free(struct sim_disk_image *image);

/* A hash over all events so far (kind, machine, time, sizes, bytes). */
uint64_t sim_trace_hash(const struct sim *sim);

#endif
