/* SPDX-License-Identifier: Apache-2.0
 *
 * Offline surgery on a node's log: which writes it holds, which of them are proven, and where their
 * bytes lie, by wal_format.h and without the code that recovers.
 */
#ifndef RR_TESTS_LOG_SURGERY_H
#define RR_TESTS_LOG_SURGERY_H

#include "io/wal_format.h"

#define SURGERY_WRITES_MAX   20000u
#define SURGERY_SEGMENTS_MAX 512u

struct surgery_write {
    struct wal_header header;
    char segment[WAL_NAME_SIZE];
    uint64_t offset; /* in the segment */
    uint64_t padded; /* bytes on disk */
    uint32_t kinds;  /* 1 << enum wal_section_kind, or'ed */
    uint32_t entry_count;
    uint64_t first_index; /* of its entries; 0: none */
    bool is_proven;       /* a later write's durable_seq covers it */
};

struct surgery {
    char dir[256];
    uint32_t seed; /* of the header CRCs */
    uint64_t segment_bytes;
    char segments[SURGERY_SEGMENTS_MAX][WAL_NAME_SIZE]; /* in order, spares included */
    uint32_t segment_count;
    struct surgery_write *writes; /* the log, oldest first */
    uint32_t write_count;
};

/* Reads a closed or abandoned directory; exits if it holds no log. */
void surgery_begin(struct surgery *surgery, const char *dir);
void surgery_end(struct surgery *surgery);

static inline const struct surgery_write *surgery_last(const struct surgery *surgery)
{
    return &surgery->writes[surgery->write_count - 1];
}
/* The first write from `from` on that has a section of `kind`; NULL: none. */
const struct surgery_write *surgery_find(const struct surgery *surgery, uint32_t from,
                                         enum wal_section_kind kind);
/* Does the log end in this segment or before it? */
bool surgery_is_spare(const struct surgery *surgery, const char *segment);

/* Replaces the write's header, with a right CRC. */
void surgery_put_header(const struct surgery *surgery, const struct surgery_write *write,
                        struct wal_header header);
/* Zeroes `size` bytes at `offset` of the write. */
void surgery_zero(const struct surgery *surgery, const struct surgery_write *write, uint64_t offset,
                  uint64_t size);
/* As if the machine had stopped before `write` and all after it were submitted. */
void surgery_end_log_before(const struct surgery *surgery, const struct surgery_write *write);

#endif
