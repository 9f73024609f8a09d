/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading ranges of the log, across storage and unstable tail, within a limit of encoded bytes.
 *
 * Hot: run for every MsgApp with entries and for every batch of committed entries.
 */
#include "raft/raft_log.h"

#include "raft/entry_size.h"

uint64_t raft_log_entries_size(const struct rr_entry *entries, uint32_t count)
{
    struct sizer sizer = {.index_span = 0};
    uint64_t size = 0;
    for (uint32_t i = 0; i < count; i++)
        size += sizer_next(&sizer, &entries[i]);
    return size;
}

uint32_t raft_log_limit_size(const struct rr_entry *entries, uint32_t count, uint64_t max_size)
{
    if (count <= 1 || max_size == UINT64_MAX)
        return count;
    struct sizer sizer = {.index_span = 0};
    uint64_t size = sizer_next(&sizer, &entries[0]);
    for (uint32_t i = 1; i < count; i++) {
        size += sizer_next(&sizer, &entries[i]);
        if (size > max_size)
            return i;
    }
    return count;
}

static void add_piece(struct entry_pieces *out, int place, const struct rr_entry *entries,
                      uint32_t count)
{
    out->piece[place].entries = entries;
    out->piece[place].count = count;
    out->count += count;
}

/* [lo, hi) of the tail, behind what is there already. */
static void add_tail(const struct raft_log *log, uint64_t lo, uint64_t hi, uint64_t max_size,
                     struct entry_pieces *out)
{
    const struct unstable *u = &log->unstable;
    /* In front of all others one always fits. */
    uint64_t end = out->count == 0 ? unstable_limit_run(u, lo, hi, max_size)
                                   : unstable_limit_size(u, lo, hi, max_size);
    if (end == lo)
        return;
    struct rr_entry_spans spans = unstable_spans(u, lo, end);
    add_piece(out, TAIL_PIECE, spans.first, (uint32_t)spans.first_count);
    add_piece(out, TAIL_PIECE + 1, spans.second, (uint32_t)spans.second_count);
}

int raft_log_slice(const struct raft_log *log, uint64_t lo, uint64_t hi, uint64_t max_size,
                   struct entry_pieces *out)
{
    RR_ASSERT_SAYS(lo <= hi, "the log has no range from % to %", lo, hi);
    *out = (struct entry_pieces){.count = 0};
    uint64_t offset = log->unstable.offset;
    /* What a pending snapshot covers is gone; what the storage has compacted, it says itself. */
    if (log->unstable.snapshot && lo <= log->unstable.snapshot->snapshot.metadata.index)
        return RR_E_COMPACTED;
    RR_ASSERT_SAYS(hi <= raft_log_last_index(log) + 1,
                   "the range from % to % reaches beyond the last index, %", lo, hi,
                   raft_log_last_index(log));
    if (lo == hi)
        return 0;
    if (lo >= offset) {
        add_tail(log, lo, hi, max_size, out);
        return 0;
    }
    uint64_t cut = rr_min_u64(hi, offset);
    struct rr_entry_spans spans = {0};
    int err = log->storage.ops->entries(log->storage.ctx, lo, cut, max_size, &spans);
    if (err != 0) {
        RR_ASSERT_SAYS(err == RR_E_COMPACTED || err == RR_E_PENDING,
                       "the storage does not read entries from % to %: error -%", lo, cut,
                       (uint64_t)-err);
        return err;
    }
    add_piece(out, STORAGE_PIECE, spans.first, (uint32_t)spans.first_count);
    add_piece(out, STORAGE_PIECE + 1, spans.second, (uint32_t)spans.second_count);
    RR_ASSERT_SAYS(out->count > 0, "the storage has no entries from % to %", lo, cut);
    /* A short answer means that the limit was reached, or that the rest is not in memory. */
    if (hi <= offset || out->count < cut - lo)
        return 0;
    uint64_t size = raft_log_entries_size(spans.first, (uint32_t)spans.first_count) +
                    raft_log_entries_size(spans.second, (uint32_t)spans.second_count);
    if (size < max_size)
        add_tail(log, offset, hi, max_size - size, out);
    return 0;
}

int raft_log_read_stored(const struct raft_log *log, uint64_t lo, uint64_t hi, uint64_t max_size,
                         struct log_run *out)
{
    struct entry_pieces pieces;
    int err = raft_log_slice(log, lo, hi, max_size, &pieces);
    out->count = err == 0 ? pieces.count : 0;
    if (out->count > 0)
        out->entries = outbox_copy_log(log->unstable.outbox, lo, &pieces);
    return err;
}

static bool has_conf_change(const struct rr_entry *entries, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (entries[i].type != RR_ENTRY_NORMAL)
            return true;
    }
    return false;
}

bool raft_log_has_conf_change(const struct raft_log *log, uint64_t lo, uint64_t hi,
                              uint64_t page_size)
{
    const struct rr_storage_ops *ops = log->storage.ops;
    uint64_t offset = log->unstable.offset;
    if (ops->has_conf_change && lo < offset) {
        bool found = false;
        int err = ops->has_conf_change(log->storage.ctx, lo, rr_min_u64(hi, offset), &found);
        RR_ASSERT_SAYS(err == 0, "the storage does not look for conf changes from % to %: error -%",
                       lo, hi, (uint64_t)-err);
        if (found)
            return true;
        lo = rr_min_u64(hi, offset);
    }
    while (lo < hi) {
        struct entry_pieces page;
        int err = raft_log_slice(log, lo, hi, page_size, &page);
        /* A storage that can answer "pending" has has_conf_change. */
        RR_ASSERT_SAYS(err == 0, "committed entries from % to % cannot be read: error -%", lo, hi,
                       (uint64_t)-err);
        RR_ASSERT(page.count > 0);
        for (int i = 0; i < PIECES_MAX; i++) {
            if (has_conf_change(page.piece[i].entries, page.piece[i].count))
                return true;
        }
        lo += page.count;
    }
    return false;
}
