/* SPDX-License-Identifier: Apache-2.0
 *
 * A group's old entries, those that left the cache, read back from the WAL: a small window of
 * pieces, each a run of entries in memory of its own, which whoever lags behind shares: followers
 * at different places, the apply stage. Loop thread only.
 *
 * Happy path: an entry is asked for that is in no piece: RR_E_PENDING, and a read begins; when it
 * is done (came_back), log_reader_collect makes a piece of it in the group's turn, and whoever
 * waited asks again. Who reads on finds the next piece already on its way. The least recently used
 * piece goes when there is no room; what is being sent or applied holds references of its own.
 * Failure path: what cannot be read, or is not what was written, is RR_E_CORRUPT with a sentence
 * that names the place: the group must stop.
 */
#ifndef RR_ENGINE_LOG_READER_H
#define RR_ENGINE_LOG_READER_H

#include "engine/log_index.h"
#include "io/wal_read.h"
#include "proto/base.h"
#include "proto/codec.h"

#define LOG_PIECES_MAX 16u
#define LOG_READS_MAX  8u /* at a time: more than half of the pieces cannot be replaced at once */

struct log_reader_options {
    struct wal *wal;
    uint64_t group;
    uint64_t bytes_max;  /* of the window; at least one piece, however large */
    uint64_t *bytes_sum; /* what all windows take: ours is kept up to date in it */
    /* A read is done: log_reader_collect is to be called. From a completion; may only record. */
    void (*came_back)(void *ctx);
    void *ctx;
};

/* Entries [first, first + count); 0: a free place. */
struct log_piece {
    uint64_t first;
    uint32_t count;
    uint64_t bytes;   /* of memory */
    uint64_t used_at; /* the reader's clock */
    bool was_used;    /* since it came */
    struct rr_entry *entries;
    struct rr_block *block;
};

enum log_read_state { LOG_READ_FREE, LOG_READ_RUNNING, LOG_READ_DONE };

struct log_read {
    struct wal_read read;
    struct log_reader *reader;
    enum log_read_state state;
};

struct log_reader {
    struct log_reader_options options;
    uint64_t end;   /* entries below it are durable and may be read; the cache's first */
    uint64_t clock; /* one more with each collect */
    uint64_t bytes; /* of the pieces */
    uint64_t span;  /* entries in the newest piece: a guess how far a read will reach */
    bool has_news;  /* something was read, or whoever waits has to ask again */
    struct log_piece pieces[LOG_PIECES_MAX];
    struct log_read reads[LOG_READS_MAX];
};

/* NULL: no memory. */
struct log_reader *log_reader_new(const struct log_reader_options *options);
/* May be NULL. Reads that run are forgotten. */
void log_reader_free(struct log_reader *reader);

/* Some of [lo, hi), which ends at or below reader->end, from lo on: at most `size_max` encoded
 * bytes or one entry; borrowed until the next collect. RR_E_PENDING: the first is not here; it is
 * being read. */
int log_reader_entries(struct log_reader *reader, uint64_t lo, uint64_t hi, uint64_t size_max,
                       struct rr_entry_spans *out);
/* Entries from `from` on, or below `first`, are gone: so are pieces and reads of them. */
void log_reader_truncate(struct log_reader *reader, uint64_t from);
void log_reader_compact(struct log_reader *reader, uint64_t first);
/* In the group's turn, when has_news: what was read becomes pieces. 0: those who met RR_E_PENDING
 * may ask again; RR_E_NO_MEMORY: not yet, in a later turn; RR_E_CORRUPT with a sentence. */
int log_reader_collect(struct log_reader *reader, const struct log_index *index, uint64_t first,
                       struct rr_error *error);
/* Gives the memory of what was used back, unless more of it is being read. */
void log_reader_trim(struct log_reader *reader);

/* How many of the entries fit into `*budget` encoded bytes, which is reduced by them; the first of
 * an answer always does. */
static inline size_t log_span_cut(const struct rr_entry *entries, size_t count, bool is_first,
                                  uint64_t *budget)
{
    size_t taken = 0;
    while (taken < count) {
        uint64_t size = rr_entry_body_size(&entries[taken]);
        if (size > *budget && !(is_first && taken == 0))
            break;
        *budget -= rr_min_u64(size, *budget);
        taken++;
    }
    return taken;
}

#endif
