/* SPDX-License-Identifier: Apache-2.0
 *
 * What one machine's disk would still know after a power loss right now: of each group the log, the
 * term and the vote, and which peers it knows; read from the durable image of the disk model by the
 * log's own format functions, never from what the node believes. It follows the log write by write;
 * when it has lost its place (segments were recycled beneath it) it reads all from the oldest
 * segment again.
 */
#ifndef RR_TESTS_SIM_DURABLE_LOG_H
#define RR_TESTS_SIM_DURABLE_LOG_H

#include "io/sim/sim.h"
#include "io/wal_format.h"
#include "tests/sim/plan.h"

#define DURABLE_PEERS_MAX 64u

struct durable_entry {
    uint64_t term;
    uint64_t hash; /* of type and data */
};

struct durable_group {
    uint64_t term;
    uint64_t vote;
    uint64_t first_index; /* below it: covered by the snapshot */
    uint64_t last_index;
    struct durable_entry *entries; /* by index; valid in [first_index, last_index] */
    uint64_t entry_cap;
    bool has_state; /* since start_over */
    /* A series of moved entries, [moved_first, moved_next), that may or may not be finished. */
    struct durable_entry *moved;
    uint64_t moved_first, moved_next, moved_cap;
};

/* Where something lies in the log. */
struct durable_place {
    uint64_t segment;
    uint64_t offset;
};

struct durable_log {
    struct sim *sim;
    uint32_t machine;
    const char *dir;
    uint64_t first_group; /* the id of groups[0] */
    uint32_t group_count;
    uint64_t instance; /* 0: not known yet, nothing is read */
    void *ctx;
    /* Each entry as it is found, possibly again. */
    void (*on_entry)(void *ctx, uint32_t slot, uint64_t index, const struct durable_entry *entry);

    /* Each conf change, likewise. */
    void (*on_change)(void *ctx, uint32_t slot, const struct rr_entry *entry);

    uint64_t version;       /* of the disk, when read last */
    struct wal_header last; /* the newest write that was understood */
    bool has_last;
    struct durable_place next;    /* where the next write is looked for */
    struct durable_place ends[8]; /* of the newest writes, by sequence number */
    struct durable_place proven;  /* the end of what a later write proves to have been durable */

    struct durable_group groups[PLAN_GROUPS_MAX];
    struct wal_peer peers[DURABLE_PEERS_MAX]; /* the newest record of each */
    uint32_t peer_count;
    uint64_t reread_count;
    uint8_t *payload;
    size_t payload_cap;
};

void durable_log_init(struct durable_log *log, struct sim *sim, uint32_t machine, const char *dir);
void durable_log_fini(struct durable_log *log);
/* A directory of this instance is what to read from now on. */
void durable_log_begin(struct durable_log *log, uint64_t instance);
/* The directory was taken away. What was durable in it counts as durable for ever: its loss is one
 * of those that a quorum outlives. */
void durable_log_end(struct durable_log *log);
/* The machine gets an empty directory, and is no part of anything any more. */
void durable_log_renew(struct durable_log *log);
/* Reads what became durable since the last call. */
void durable_log_advance(struct durable_log *log);
/* Is this entry durable here, itself or in a snapshot? */
bool durable_log_has(const struct durable_log *log, uint32_t slot, uint64_t index, uint64_t term);
/* The boot count under which this disk knows a node; 0: it does not. */
uint64_t durable_log_knows(const struct durable_log *log, uint64_t node);

#endif
