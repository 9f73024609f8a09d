/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulator backend: N whole nodes on one thread, one virtual clock, one seed. Each node has an `struct io`
 * (its "machine": disk, sockets, workers, clock); the driver makes machines, opens engines on them, and steps
 * events. Same seed, same trace.
 *
 * Disk: unsynced 512-byte sectors and directory entries are kept apart; a power loss keeps none, all, a random subset or
 * tears one write. Network: byte streams with delay, segmentation, cut and one-way cut. Worker jobs are events.
 */
#ifndef RR_IO_SIM_H
#define RR_IO_SIM_H

#include "io/io.h"

struct sim;

enum sim_sabotage {            /* bugs of the platform that the oracle must find; set by tests through the seam */
    SIM_HONEST = 0,
};

enum sim_power_loss { SIM_LOSE_ALL, SIM_KEEP_ALL, SIM_KEEP_RANDOM, SIM_TEAR_ONE };

struct sim *sim_new(uint64_t seed);
void sim_free(struct sim *sim);

/* The machine with this number (1…); its io stays valid until sim_free; its disk survives crashes. */
struct io *sim_machine(struct sim *sim, uint32_t number);
struct io_address sim_address(uint32_t number, uint16_t port);

uint64_t sim_now(const struct sim *sim);
uint64_t sim_random(struct sim *sim);                 /* the schedule's stream */
uint64_t sim_random_below(struct sim *sim, uint64_t bound);

/* Runs one event; false when none is left. sim_run_until runs all events up to a virtual time. */
bool sim_step(struct sim *sim);
void sim_run_until(struct sim *sim, uint64_t time_ns);

/* Process death: from now on nothing the machine's process does has any effect; sockets close (peers see it later), no
 * completion comes. sim_crashed says so; the driver then frees the engine (abort) and calls sim_reset before reopening.
 * kill keeps all written bytes (page cache survives); power loss applies the model. */
void sim_kill(struct sim *sim, uint32_t number);
void sim_power_loss(struct sim *sim, uint32_t number, enum sim_power_loss how);
bool sim_crashed(const struct sim *sim, uint32_t number);
void sim_reset(struct sim *sim, uint32_t number);
/* Crash at the n-th I/O submission or completion of the machine from now on (0: off), as a kill or a power loss. */
void sim_crash_at_io(struct sim *sim, uint32_t number, uint64_t countdown, bool power, enum sim_power_loss how);

/* Faults. */
void sim_cut(struct sim *sim, uint32_t from, uint32_t to, bool cut);   /* one direction of the link */
void sim_disk_error(struct sim *sim, uint32_t number, int err, uint64_t countdown);  /* the n-th write fails with -err */
void sim_disk_capacity(struct sim *sim, uint32_t number, uint64_t bytes);
void sim_disk_latency(struct sim *sim, uint32_t number, uint64_t min_ns, uint64_t max_ns);

/* The oracle's view: bytes that would survive a power loss that loses everything unsynced. Returns bytes read. */
int64_t sim_durable_read(struct sim *sim, uint32_t number, const char *path, void *buf, size_t size, uint64_t offset);
int sim_durable_list(struct sim *sim, uint32_t number, const char *dir, void (*each)(void *, const char *), void *ctx);
/* Offline surgery on a machine that is down. */
int sim_corrupt(struct sim *sim, uint32_t number, const char *path, uint64_t offset, const void *bytes, size_t size);

/* A hash over all events so far (kind, machine, time, sizes, bytes). */
uint64_t sim_trace_hash(const struct sim *sim);

#endif
