/* SPDX-License-Identifier: Apache-2.0
 *
 * Which groups this directory holds, open or not. What a group that is not open left in the log is
 * kept here, in memory, so that it can be opened (again) and so that the loop can write it again
 * when it keeps segments from being recycled.
 *
 *              ┌── claim ──> BUSY ── registry_open ──> OPEN
 *     DORMANT ─┤               │                         │
 *              └<─ release ────┘ <────── claim_open ─────┘
 *
 * A lock guards the table, for the threads that open, close and remove groups; cold. Whoever made
 * an entry BUSY owns it until he ends that. The loop holds the lock while it writes a DORMANT one
 * again.
 */
#ifndef RR_ENGINE_REGISTRY_H
#define RR_ENGINE_REGISTRY_H

#include "engine/id_map.h"
#include "engine/log_cache.h"
#include "io/wal.h"

#include <pthread.h>

struct rr_group;

/* What a group is without a core: its log and what is recorded beside it. */
struct dormant {
    struct rr_hard_state hard_state; /* as staged; commit: the highest known, <= log.last */
    struct log_cache log;            /* log.chunks NULL: nothing is recorded of this group */
    int error;                       /* why it cannot be opened again in this process, or 0 */
    bool is_large;                   /* the log is too large to be written again at once */
};

enum registry_state { REGISTRY_DORMANT, REGISTRY_BUSY, REGISTRY_OPEN };

struct registry_entry {
    uint64_t id;
    enum registry_state state;
    struct dormant dormant; /* of a group that is not open */
    struct rr_group *group; /* of one that is open; of one that was, the empty shell; or NULL */
};

struct registry {
    pthread_mutex_t lock;
    struct id_map entries; /* of struct registry_entry */
    struct log_memory *memory;
};

void registry_init(struct registry *registry, struct log_memory *memory);
/* The logs go; groups are the caller's. */
void registry_fini(struct registry *registry);

/* While opening an engine: the entry of a group that the log holds, its log empty. NULL: no memory.
 */
struct registry_entry *registry_add_recorded(struct registry *registry, uint64_t id);

/* ---- any thread ---------------------------------------------------------- */

/* To open a group: its entry, new or DORMANT, becomes BUSY and is the caller's. RR_E_INVALID: it is
 * open, or somebody is busy with it. The error that it stopped with, if that lasts. RR_E_NO_MEMORY.
 */
int registry_claim(struct registry *registry, uint64_t id, struct registry_entry **entry,
                   struct rr_error *error);
/* To remove one: DORMANT becomes BUSY. RR_E_NOT_FOUND: the directory does not hold it.
 * RR_E_INVALID: it is not DORMANT. */
int registry_claim_dormant(struct registry *registry, uint64_t id, struct registry_entry **entry,
                           struct rr_error *error);
/* To close one: OPEN becomes BUSY. RR_E_CLOSED: this group is not open. */
int registry_claim_open(struct registry *registry, struct registry_entry *entry,
                        const struct rr_group *group);
/* BUSY becomes OPEN. Returns the shell of the time before, or NULL: the caller's now. */
struct rr_group *registry_open(struct registry *registry, struct registry_entry *entry,
                               struct rr_group *group);
/* BUSY becomes DORMANT; an entry of which nothing is recorded goes. */
void registry_release(struct registry *registry, struct registry_entry *entry);

/* ---- the loop ------------------------------------------------------------ */

/* A group that is not open is written again, so that what holds it can be recycled: at once, or
 * over many turns if it is large and it is time to. */
int registry_rewrite(struct registry *registry, uint64_t id, struct wal *wal);
/* It cannot be opened again in this process, nor written again. */
void registry_note_damage(struct registry *registry, uint64_t id);

#endif
