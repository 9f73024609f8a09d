/* SPDX-License-Identifier: Apache-2.0
 *
 * See wal_scan.h. The bytes come from a disk and may be anything: every length is checked against
 * what was read before it is used, and each step moves forward.
 */
#include "io/wal_scan.h"

#include <stdlib.h>
#include <string.h>

#define READ_BYTES (1024u * 1024)

/* ---- files --------------------------------------------------------------------------- */

struct found {
    uint64_t numbers[WAL_SEGMENTS_MAX];
    uint32_t count;
    bool overflow;
};

static void find_segment(void *ctx, const char *name)
{
    struct found *found = ctx;
    uint64_t number = wal_segment_number(name);
    if (number == 0)
        return;
    if (found->count == WAL_SEGMENTS_MAX)
        found->overflow = true;
    else
        found->numbers[found->count++] = number;
}

static int compare_numbers(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void find_lowest(void *ctx, const char *name)
{
    uint64_t *lowest = ctx;
    uint64_t number = wal_segment_number(name);
    if (number != 0 && (*lowest == 0 || number < *lowest))
        *lowest = number;
}

int wal_scan_lowest(struct io *io, const char *dir, uint64_t *number)
{
    *number = 0;
    return io->ops->list(io, dir, find_lowest, number);
}

static int list_segments(struct wal_scan *scan)
{
    struct wal_segments *segments = scan->segments;
    struct io *io = segments->io;
    struct found *found = calloc(1, sizeof(*found));
    if (!found)
        return rr_fail(scan->error, RR_E_NO_MEMORY, "no memory for reading the log");
    int err = io->ops->list(io, segments->dir, find_segment, found);
    qsort(found->numbers, found->count, sizeof(found->numbers[0]), compare_numbers);
    memcpy(scan->numbers, found->numbers, sizeof(scan->numbers));
    scan->count = scan->loaded = found->count;
    bool overflow = found->overflow;
    free(found);
    if (err)
        return rr_fail(scan->error, RR_E_IO, "%s: cannot be listed: %s", segments->dir,
                       strerror(-err));
    if (scan->count == 0 || overflow)
        return rr_fail(scan->error, RR_E_CORRUPT,
                       "%.300s: %u segments where there may be 1 to %u; nothing was changed; "
                       "replace this node by a new one",
                       segments->dir, scan->count, WAL_SEGMENTS_MAX);
    return 0;
}

/* Every segment was made whole before it got its name, and names are given in order: a gap or
 * another size is not the work of a crash. */
static int open_segment(struct wal_scan *scan, uint32_t file)
{
    struct wal_segments *segments = scan->segments;
    struct io *io = segments->io;
    char path[WAL_PATH_SIZE];
    uint64_t expected = scan->numbers[0] + file;
    wal_segment_path(segments, path, expected);
    if (scan->numbers[file] != expected)
        return rr_fail(scan->error, RR_E_CORRUPT,
                       "%.300s: this segment is missing, later ones exist; nothing was changed; "
                       "replace this node by a new one",
                       path);
    int fd = io->ops->open(io, path, wal_segment_open_flags(segments));
    int64_t size = fd < 0 ? fd : io->ops->file_size(io, fd);
    wal_segment_at(segments, expected)->fd = fd < 0 ? -1 : fd;
    if (size < 0)
        return rr_fail(scan->error, RR_E_IO, "%.300s: cannot be opened: %s", path,
                       strerror((int)-size));
    if ((uint64_t)size != segments->segment_bytes)
        return rr_fail(scan->error, RR_E_CORRUPT,
                       "%.300s: this segment has %lld bytes instead of %llu; nothing was changed; "
                       "replace this node by a new one",
                       path, (long long)size, (unsigned long long)segments->segment_bytes);
    return 0;
}

static int open_segments(struct wal_scan *scan)
{
    struct wal_segments *segments = scan->segments;
    segments->oldest = segments->active = scan->numbers[0];
    segments->newest = scan->numbers[0] + scan->count - 1;
    for (uint64_t number = segments->oldest; number <= segments->newest; number++)
        *wal_segment_at(segments, number) = (struct wal_segment){.fd = -1};
    int err = 0;
    for (uint32_t file = 0; !err && file < scan->count; file++)
        err = open_segment(scan, file);
    return err;
}

int wal_scan_open(struct wal_scan *scan, struct wal_segments *segments, uint32_t seed,
                  struct rr_error *error)
{
    RR_ASSERT(segments->segment_bytes % WAL_BLOCK_MIN == 0);
    *scan = (struct wal_scan){.segments = segments, .seed = seed, .error = error};
    scan->buffer = aligned_alloc(WAL_BLOCK_MIN, segments->segment_bytes);
    scan->peek = aligned_alloc(WAL_BLOCK_MIN, WAL_BLOCK_MIN);
    int err = 0;
    if (!scan->buffer || !scan->peek)
        err = rr_fail(error, RR_E_NO_MEMORY, "no memory for reading the log");
    if (!err)
        err = list_segments(scan);
    if (!err)
        err = open_segments(scan);
    if (err)
        wal_scan_close(scan);
    return err;
}

void wal_scan_close(struct wal_scan *scan)
{
    free(scan->buffer);
    free(scan->peek);
    scan->buffer = scan->peek = NULL;
}

static int read_segment(struct wal_scan *scan, uint32_t file, uint8_t *to, uint64_t size)
{
    struct io *io = scan->segments->io;
    int fd = wal_segment_at(scan->segments, scan->numbers[file])->fd;
    uint64_t done = 0;
    while (done < size) {
        int64_t n =
            io->ops->pread(io, fd, to + done, (size_t)rr_min_u64(READ_BYTES, size - done), done);
        if (n < 0) {
            char path[WAL_PATH_SIZE];
            wal_segment_path(scan->segments, path, scan->numbers[file]);
            return rr_fail(scan->error, RR_E_IO,
                           "%s: cannot be read at offset %llu: %s; nothing was changed; replace "
                           "this node by a new one",
                           path, (unsigned long long)done, strerror((int)-n));
        }
        done += (uint64_t)n;
        if (n == 0 || done % WAL_BLOCK_MIN != 0) /* the end of a file that is too short */
            break;
    }
    memset(to + done, 0, size - done);
    return 0;
}

static int load(struct wal_scan *scan, uint32_t file)
{
    RR_ASSERT(file < scan->count);
    if (scan->loaded == file)
        return 0;
    scan->loaded = scan->count;
    int err = read_segment(scan, file, scan->buffer, scan->segments->segment_bytes);
    if (!err)
        scan->loaded = file;
    return err;
}

/* ---- the walk ------------------------------------------------------------------------ */

int wal_scan_refuse(struct wal_scan *scan, int err, struct wal_scan_place place, uint64_t seq,
                    const char *what)
{
    char path[WAL_PATH_SIZE];
    wal_segment_path(scan->segments, path, scan->numbers[place.file]);
    return rr_fail(scan->error, err,
                   "%.300s: at offset %llu: write %llu %s; nothing was changed; %s", path,
                   (unsigned long long)place.offset, (unsigned long long)seq, what,
                   err == RR_E_VERSION ? "open it with the version that wrote it"
                                       : "replace this node by a new one");
}

/* Could the write at `place` of the loaded segment, whose header is `header`, be the next one? */
static bool can_follow(const struct wal_scan *scan, const struct wal_header *header,
                       struct wal_scan_place place)
{
    if (header->epoch != scan->numbers[place.file])
        return false;
    if (scan->header.seq != 0 && !wal_header_follows(&scan->header, header))
        return false;
    return wal_padded_size(header) <= scan->segments->segment_bytes - place.offset;
}

/* 1: the next write stands there; 0: none, or a damaged one; RR_E_VERSION. */
static int try_place(struct wal_scan *scan, struct wal_scan_place place)
{
    int err = load(scan, place.file);
    if (err)
        return err;
    RR_ASSERT(place.offset <= scan->segments->segment_bytes);
    if (scan->segments->segment_bytes - place.offset < WAL_BLOCK_MIN)
        return 0;
    struct wal_header header;
    const uint8_t *at = scan->buffer + place.offset;
    switch (wal_header_check(at, scan->seed, &header)) {
    case WAL_HEADER_FOREIGN:
        return wal_scan_refuse(scan, RR_E_VERSION, place, scan->header.seq + 1,
                               "has a format of another version");
    case WAL_HEADER_INVALID:
        return 0;
    case WAL_HEADER_VALID:
        break;
    }
    if (!can_follow(scan, &header, place) || !wal_payload_check(&header, at + sizeof(header)))
        return 0;
    scan->header = header;
    scan->at = place;
    RR_ASSERT(scan->at.file >= scan->end.file);
    scan->end = (struct wal_scan_place){place.file, place.offset + wal_padded_size(&header)};
    return 1;
}

/* Does the log, if it does not go on here, seem to go on at the beginning of the next segment? */
static int peek_next_segment(struct wal_scan *scan)
{
    uint32_t file = scan->end.file + 1;
    if (scan->header.seq == 0 || file >= scan->count)
        return 0;
    int err = read_segment(scan, file, scan->peek, WAL_BLOCK_MIN);
    if (err)
        return err;
    struct wal_header header;
    return wal_header_check(scan->peek, scan->seed, &header) == WAL_HEADER_VALID &&
           can_follow(scan, &header, (struct wal_scan_place){file, 0});
}

int wal_scan_next(struct wal_scan *scan, const uint8_t **payload)
{
    scan->damage = scan->end;
    int found = try_place(scan, scan->end);
    if (found == 0 && (found = peek_next_segment(scan)) > 0) {
        scan->damage = (struct wal_scan_place){scan->end.file + 1, 0};
        found = try_place(scan, scan->damage);
    }
    if (found > 0)
        *payload = scan->buffer + scan->at.offset + sizeof(scan->header);
    return found;
}

void wal_scan_rewind(struct wal_scan *scan, const struct wal_scan_point *point)
{
    scan->header = point->header;
    scan->at = point->at;
    scan->end = point->end;
}

/* ---- the verdict --------------------------------------------------------------------- */

/* Is there a header in the loaded segment, from `offset` on, that says `seq` was durable? */
static bool find_proof(const struct wal_scan *scan, uint64_t offset, uint64_t seq)
{
    for (; offset + WAL_BLOCK_MIN <= scan->segments->segment_bytes; offset += WAL_BLOCK_MIN) {
        struct wal_header header;
        if (wal_header_check(scan->buffer + offset, scan->seed, &header) == WAL_HEADER_VALID &&
            header.durable_seq >= seq)
            return true;
    }
    return false;
}

/* Does the loaded segment begin with a write of its own lap? */
static bool has_begun(const struct wal_scan *scan)
{
    struct wal_header header;
    return wal_header_check(scan->buffer, scan->seed, &header) == WAL_HEADER_VALID &&
           header.epoch == scan->numbers[scan->loaded];
}

int wal_scan_judge(struct wal_scan *scan)
{
    uint64_t seq = scan->header.seq + 1;
    if (scan->header.seq == 0) /* creation made its first write durable, and recycling keeps a
                                  segment that has begun */
        return wal_scan_refuse(scan, RR_E_CORRUPT, scan->damage, 0,
                               "(the log's oldest) is damaged or missing");
    for (uint32_t file = scan->end.file; file < scan->count && file <= scan->end.file + 1; file++) {
        int err = load(scan, file);
        if (err)
            return err;
        bool is_next = file > scan->end.file;
        if (!find_proof(scan, is_next ? 0 : scan->end.offset, seq))
            continue;
        /* The next segment's first write is gone if none of its lap is there, or had no room here.
         */
        bool is_full = scan->segments->segment_bytes - scan->end.offset < WAL_BLOCK_MIN;
        if (is_next && (is_full || !has_begun(scan)))
            scan->damage = (struct wal_scan_place){file, 0};
        return wal_scan_refuse(scan, RR_E_CORRUPT, scan->damage, seq,
                               "is damaged, and was durable before");
    }
    return 0;
}
