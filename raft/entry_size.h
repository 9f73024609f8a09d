/* SPDX-License-Identifier: Apache-2.0
 *
 * Encoded sizes along a run of entries, as the reference counts them: an entry's body in a message,
 * without tag and length. Neighbours mostly share their term, the length of their index and the
 * size of their data: then they are equally long.
 */
#ifndef RR_RAFT_ENTRY_SIZE_H
#define RR_RAFT_ENTRY_SIZE_H

#include "proto/base.h"
#include "proto/codec.h"

/* All zero: nothing learned yet. */
struct sizer {
    uint64_t term;
    uint64_t index_base; /* indexes in [base, base + span) encode equally long */
    uint64_t index_span;
    uint64_t body; /* of an entry with these and `size` bytes of data, and all fields but `type` */
    uint32_t size;
};

static inline uint64_t sizer_learn(struct sizer *sizer, const struct rr_entry *entry)
{
    uint32_t index_size = varint_size(entry->index);
    sizer->term = entry->term;
    sizer->index_base = index_size == 1 ? 0 : (uint64_t)1 << (7 * (index_size - 1));
    sizer->index_span = index_size >= 9 ? 1 : ((uint64_t)1 << (7 * index_size)) - sizer->index_base;
    sizer->size = entry->size;
    sizer->body = 3 + varint_size(entry->term) + index_size + varint_size(entry->size) +
                  (uint64_t)entry->size;
    return rr_entry_body_size(entry);
}

static inline uint64_t sizer_next(struct sizer *sizer, const struct rr_entry *entry)
{
    const uint8_t usual = RR_ENTRY_HAS_TERM | RR_ENTRY_HAS_INDEX | RR_ENTRY_HAS_DATA;
    if (RR_LIKELY(entry->size == sizer->size && entry->term == sizer->term &&
                  entry->index - sizer->index_base < sizer->index_span && entry->has == usual))
        return sizer->body;
    return sizer_learn(sizer, entry);
}

#endif
