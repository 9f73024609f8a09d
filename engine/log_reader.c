/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/log_reader.h"

#include <stdlib.h>

struct log_reader *log_reader_new(const struct log_reader_options *options)
{
    struct log_reader *reader = calloc(1, sizeof(*reader));
    if (!reader)
        return NULL;
    reader->options = *options;
    for (uint32_t i = 0; i < LOG_READS_MAX; i++)
        reader->reads[i].reader = reader;
    return reader;
}

static void drop_piece(struct log_reader *reader, struct log_piece *piece)
{
    if (piece->count == 0)
        return;
    reader->bytes -= piece->bytes;
    *reader->options.bytes_sum -= piece->bytes;
    rr_block_put(piece->block, 1);
    free(piece->entries);
    *piece = (struct log_piece){.count = 0};
}

/* What it brings is not wanted any more; who waits for it asks again. */
static void forget_read(struct log_reader *reader, struct log_read *read)
{
    if (read->state == LOG_READ_RUNNING)
        wal_read_forget(reader->options.wal, &read->read);
    else if (read->state == LOG_READ_DONE)
        rr_block_put(read->read.block, 1);
    else
        return;
    read->state = LOG_READ_FREE;
    reader->has_news = true;
}

void log_reader_free(struct log_reader *reader)
{
    if (!reader)
        return;
    for (uint32_t i = 0; i < LOG_READS_MAX; i++)
        forget_read(reader, &reader->reads[i]);
    for (uint32_t i = 0; i < LOG_PIECES_MAX; i++)
        drop_piece(reader, &reader->pieces[i]);
    free(reader);
}

/* ---- asking ---------------------------------------------------------------------------- */

static void read_done(struct wal_read *wal_read)
{
    struct log_read *read = RR_CONTAINER_OF(wal_read, struct log_read, read);
    struct log_reader *reader = read->reader;
    read->state = LOG_READ_DONE;
    reader->has_news = true;
    reader->options.came_back(reader->options.ctx);
}

static struct log_piece *find_piece(struct log_reader *reader, uint64_t index)
{
    for (uint32_t i = 0; i < LOG_PIECES_MAX; i++) {
        struct log_piece *piece = &reader->pieces[i];
        if (index - piece->first < piece->count)
            return piece;
    }
    return NULL;
}

/* Begins to read from `index` on, unless a read that runs will probably bring it. Without a free
 * place for another read those who wait are told to ask again when one ends. */
static void want(struct log_reader *reader, uint64_t index)
{
    struct log_read *idle = NULL;
    for (uint32_t i = 0; i < LOG_READS_MAX; i++) {
        struct log_read *read = &reader->reads[i];
        if (read->state == LOG_READ_FREE)
            idle = read;
        else if (index == read->read.index || index - read->read.index < reader->span)
            return;
    }
    if (!idle)
        return;
    idle->state = LOG_READ_RUNNING;
    idle->read = (struct wal_read){.group = reader->options.group,
                                   .index = index,
                                   .last_index = reader->end - 1,
                                   .done = read_done};
    wal_read_start(reader->options.wal, &idle->read);
}

int log_reader_entries(struct log_reader *reader, uint64_t lo, uint64_t hi, uint64_t size_max,
                       struct rr_entry_spans *out)
{
    RR_ASSERT(lo < hi && hi <= reader->end);
    struct log_piece *piece = find_piece(reader, lo);
    if (!piece) {
        want(reader, lo);
        return RR_E_PENDING;
    }
    piece->used_at = reader->clock;
    piece->was_used = true;
    uint64_t behind = piece->first + piece->count;
    uint64_t budget = size_max;
    *out = (struct rr_entry_spans){.first = &piece->entries[lo - piece->first]};
    out->first_count =
        log_span_cut(out->first, (size_t)(rr_min_u64(hi, behind) - lo), true, &budget);
    if (behind < reader->end && !find_piece(reader, behind))
        want(reader, behind);
    return 0;
}

/* ---- what goes ------------------------------------------------------------------------- */

void log_reader_truncate(struct log_reader *reader, uint64_t from)
{
    for (uint32_t i = 0; i < LOG_READS_MAX; i++)
        if (reader->reads[i].read.last_index >= from)
            forget_read(reader, &reader->reads[i]);
    for (uint32_t i = 0; i < LOG_PIECES_MAX; i++)
        if (reader->pieces[i].first + reader->pieces[i].count > from)
            drop_piece(reader, &reader->pieces[i]);
}

void log_reader_compact(struct log_reader *reader, uint64_t first)
{
    for (uint32_t i = 0; i < LOG_READS_MAX; i++)
        if (reader->reads[i].read.index < first)
            forget_read(reader, &reader->reads[i]);
    for (uint32_t i = 0; i < LOG_PIECES_MAX; i++)
        if (reader->pieces[i].first + reader->pieces[i].count <= first)
            drop_piece(reader, &reader->pieces[i]);
}

void log_reader_trim(struct log_reader *reader)
{
    for (uint32_t i = 0; i < LOG_READS_MAX; i++)
        if (reader->reads[i].state != LOG_READ_FREE)
            return;
    for (uint32_t i = 0; i < LOG_PIECES_MAX; i++)
        if (reader->pieces[i].was_used)
            drop_piece(reader, &reader->pieces[i]);
}

/* ---- what comes ------------------------------------------------------------------------ */

static int decode(const struct wal_read *read, const struct log_index *index, uint64_t first,
                  struct rr_entry **out, struct rr_error *error)
{
    struct rr_entry *entries = malloc(read->count * sizeof(*entries));
    if (!entries)
        return RR_E_NO_MEMORY;
    int rc = rr_entries_decode(read->bytes, read->size, read->block, entries, read->count);
    for (uint32_t i = 0; rc == 0 && i < read->count; i++) {
        const struct rr_entry *entry = &entries[i];
        if (entry->index != read->first_index + i ||
            (entry->index >= first && entry->term != log_index_term(index, entry->index)))
            rc = RR_E_CORRUPT;
    }
    *out = entries;
    if (rc == 0)
        return 0;
    free(entries);
    return rr_fail(error, RR_E_CORRUPT,
                   "group %llu: the log holds other entries than were written, from %llu on; "
                   "replace this node by a new one",
                   (unsigned long long)read->group, (unsigned long long)read->first_index);
}

/* A place for a piece of `bytes` bytes: the least recently used ones go, but none that came in this
 * turn, or those who wait could take it from each other for ever. */
static struct log_piece *make_place(struct log_reader *reader, uint64_t bytes)
{
    for (;;) {
        struct log_piece *oldest = NULL;
        struct log_piece *place = NULL;
        for (uint32_t i = 0; i < LOG_PIECES_MAX; i++) {
            struct log_piece *piece = &reader->pieces[i];
            if (piece->count == 0)
                place = piece;
            else if (piece->used_at < reader->clock &&
                     (!oldest || piece->used_at < oldest->used_at))
                oldest = piece;
        }
        if ((place && reader->bytes + bytes <= reader->options.bytes_max) || !oldest)
            return place;
        drop_piece(reader, oldest);
    }
}

static void add_piece(struct log_reader *reader, const struct wal_read *read,
                      struct rr_entry *entries)
{
    uint64_t bytes = read->size + read->count * sizeof(*entries);
    struct log_piece *place = make_place(reader, bytes);
    RR_ASSERT(place); /* there are more of them than reads */
    *place = (struct log_piece){.first = read->first_index,
                                .count = read->count,
                                .bytes = bytes,
                                .used_at = reader->clock,
                                .entries = entries,
                                .block = read->block};
    reader->bytes += bytes;
    *reader->options.bytes_sum += bytes;
    reader->span = read->first_index + read->count - read->index;
}

static int collect_read(struct log_reader *reader, struct log_read *read,
                        const struct log_index *index, uint64_t first, struct rr_error *error)
{
    struct rr_entry *entries;
    int rc = read->read.err;
    read->state = LOG_READ_FREE;
    if (rc == RR_E_CORRUPT) {
        *error = read->read.error;
        return rc;
    }
    if (rc == 0) {
        rc = decode(&read->read, index, first, &entries, error);
        if (rc != 0)
            rr_block_put(read->read.block, 1);
    }
    if (rc == 0)
        add_piece(reader, &read->read, entries);
    return rc;
}

int log_reader_collect(struct log_reader *reader, const struct log_index *index, uint64_t first,
                       struct rr_error *error)
{
    int rc = 0;
    reader->clock++;
    for (uint32_t i = 0; i < LOG_READS_MAX && rc != RR_E_CORRUPT; i++) {
        if (reader->reads[i].state != LOG_READ_DONE)
            continue;
        int err = collect_read(reader, &reader->reads[i], index, first, error);
        rc = err ? err : rc;
    }
    reader->has_news = rc == RR_E_NO_MEMORY; /* another turn tries again */
    return rc;
}
