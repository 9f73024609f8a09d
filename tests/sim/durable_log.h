/* SPDX-License-Identifier: Apache-2.0
 *
 * What one machine's disk would still know after a power loss right now: the log, the term and the
 * vote, read from the durable image of the disk model by the log's own format functions, never from
 * what the node believes. It follows the log write by write; when it has lost its place (segments
 * were recycled beneath it) it reads all from the oldest segment again.
 */
#ifndef RR_TESTS_SIM_DURABLE_LOG_H
#define RR_TESTS_SIM_DURABLE_LOG_H

#include "io/sim/sim.h"
#include "io/wal_format.h"

struct durable_entry {
    uint64_t term;
    uint64_t hash; /* of type and data */
};

struct durable_log {
    struct sim *sim;
    uint32_t machine;
    const char *dir;
    uint64_t instance; /* 0: not known yet, nothing is read */
    void *ctx;
    /* Each entry as it is found, possibly again. */
    void (*on_entry)(void *ctx, uint64_t index, const struct durable_entry *entry);

    uint64_t version;       /* of the disk, when read last */
    struct wal_header last; /* the newest write that was understood */
    bool has_last;
    bool has_state;   /* since start_over */
    uint64_t segment; /* where the next one is looked for */
    uint64_t offset;

    uint64_t term;
    uint64_t vote;
    uint64_t first_index; /* below it: covered by the snapshot */
    uint64_t last_index;
    struct durable_entry *entries; /* by index; valid in [first_index, last_index] */
    uint64_t entry_cap;
    uint64_t reread_count;
    uint8_t *payload;
    size_t payload_cap;
};

void durable_log_init(struct durable_log *log, struct sim *sim, uint32_t machine, const char *dir);
void durable_log_fini(struct durable_log *log);
/* Reads what became durable since the last call. */
void durable_log_advance(struct durable_log *log);
/* Is this entry durable here, itself or in a snapshot? */
bool durable_log_has(const struct durable_log *log, uint64_t index, uint64_t term);

#endif
