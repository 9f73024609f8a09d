/* SPDX-License-Identifier: Apache-2.0
 *
 * A group's log: its newest entries in memory, and the core's storage interface on all of it. Loop
 * thread only (recovery: the opening thread). Hot: appending and reading allocate nothing but, now
 * and then, a chunk of descriptors, which eviction and compaction give back.
 *
 *      prev │ first ── in the WAL only ── │ cached ── descriptors, in chunks of 4096 ── last
 *                                                      │ each holds one reference on its block
 *      blocks:   log blocks of the WAL (shared with writes and sends), cache blocks (small writes,
 * copied together)
 *
 * What is in memory has been *staged*: it runs ahead of the disk, and the core hears of durability
 * only by the responses that the Ready pipeline holds back. The oldest durable entries are evicted
 * when memory is short; they come back through a window of their own (log_reader.h), while terms
 * and conf changes of all live entries stay (log_index.h).
 *
 * Truncation and eviction drop descriptors, never bytes: whoever still sends or applies a block
 * holds a reference of his own.
 */
#ifndef RR_ENGINE_LOG_CACHE_H
#define RR_ENGINE_LOG_CACHE_H

#include "engine/log_snapshot.h"

#include "engine/log_index.h"
#include "engine/log_reader.h"

#define LOG_CACHE_CHUNK 4096u
/* Payloads of writes below this are copied into a shared block, so that a small entry does not pin
 * a padded write. */
#define LOG_CACHE_SMALL_WRITE 2048u

struct cache_block;

/* What the logs of a loop take together: a block in which entries of several groups lie is there
 * once. */
struct log_memory {
    uint64_t block_bytes;          /* of the blocks in which entries lie, each counted once */
    uint64_t shared_bytes;         /* of the blocks of small writes that exist */
    uint64_t entry_count;          /* descriptors */
    uint64_t window_bytes;         /* of what was read back */
    struct rr_entry *spare_chunks; /* a list through the first bytes of each */
    struct cache_block *spare_blocks;
};
static inline uint64_t log_memory_bytes(const struct log_memory *memory)
{
    return memory->block_bytes + memory->entry_count * sizeof(struct rr_entry) +
           memory->window_bytes;
}
/* Gives back what is kept for the next small writes. */
void log_memory_trim(struct log_memory *memory);
/* When no log is left and nobody sends from one. Zeroes are how it begins. */
void log_memory_fini(struct log_memory *memory);

struct log_cache {
    struct rr_entry **chunks; /* ring by index / LOG_CACHE_CHUNK */
    uint32_t chunk_cap;       /* power of two */
    uint64_t first;           /* first <= cached <= last + 1 */
    uint64_t cached;          /* entries from here on are in memory */
    uint64_t last;
    uint64_t durable; /* entries up to here are known to be durable; first - 1 <= durable <= last */
    uint64_t prev_term; /* of entry first - 1 */
    struct log_memory *memory;
    struct log_index index;
    struct log_reader *reader;                /* ours; NULL: nothing may be read back (yet) */
    struct cache_block *filling;              /* the shared block that takes the next small write */
    struct rr_hard_state initial;             /* what the core is started with … */
    const struct rr_conf_state *initial_conf; /* … and who its members are; NULL: the snapshot's */
    struct log_snapshot *snapshot;            /* never NULL after log_cache_set_snapshot */
};

/* An empty log that begins at index 1. */
int log_cache_init(struct log_cache *log, struct log_memory *memory);
void log_cache_fini(struct log_cache *log);

/* Nothing is read back any more; what is being read is forgotten. Loop thread. */
void log_cache_end_reads(struct log_cache *log);

/* Moves a log that no core reads (as recovery or a closed group leaves it) to another place. */
void log_cache_take(struct log_cache *to, struct log_cache *from);

struct rr_storage log_cache_storage(struct log_cache *log);

/* Adds entries behind last (entries[0].index == last + 1), taking a reference for each.
 * RR_E_NO_MEMORY. */
int log_cache_append(struct log_cache *log, const struct rr_entry *entries, uint32_t count);
/* Drops the entries from `index` on. */
void log_cache_truncate(struct log_cache *log, uint64_t index);
/* Drops the entries below `first`, which lies within [log->first, last + 1]. */
void log_cache_compact(struct log_cache *log, uint64_t first);
/* Forgets everything: the log continues behind (index, term). */
void log_cache_reset(struct log_cache *log, uint64_t index, uint64_t term);

/* (index, term) and everything before it is durable. */
void log_cache_note_durable(struct log_cache *log, uint64_t index, uint64_t term);
/* Some of the oldest entries leave memory: durable ones below `end`, an eighth of them, but so few
 * at a time that no turn takes long. False: there are none. */
bool log_cache_evict_some(struct log_cache *log, uint64_t end);

/* An entry in memory. */
const struct rr_entry *log_cache_at(const struct log_cache *log, uint64_t index);
/* 0 outside of [first - 1, last]. */
uint64_t log_cache_term(const struct log_cache *log, uint64_t index);

/* A small write is done: its entries [first, first + count), as far as they are still here, move to
 * the shared block. Out of memory: they stay where they are. */
void log_cache_move_small(struct log_cache *log, uint64_t first, uint32_t count);

/* Takes the reference over. */
void log_cache_set_snapshot(struct log_cache *log, struct log_snapshot *snapshot);

void log_cache_check(const struct log_cache *log);

#endif
