/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/tally.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct tally_cursor {
    struct tally copy;
    uint64_t at;
};

static int tally_open(void *ctx, uint64_t *applied)
{
    (void)ctx;
    *applied = 0;
    return 0;
}

static void obey(struct tally *tally, const struct rr_apply_entry *entry)
{
    struct tally_order order;
    if (entry->size != sizeof(order))
        return;
    memcpy(&order, entry->data, sizeof(order));
    if (order.order == TALLY_ORDER)
        tally->ballast_bytes = order.ballast_bytes;
}

static int tally_apply(void *ctx, const struct rr_apply_entry *entries, uint32_t count,
                       uint64_t *results)
{
    struct tally *tally = ctx;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t head = 0;
        memcpy(&head, entries[i].data, entries[i].size < 8 ? entries[i].size : 8);
        tally->hash = (tally->hash ^ head ^ entries[i].index) * 0x9e3779b97f4a7c15ull;
        results[i] = ++tally->count;
        obey(tally, &entries[i]);
    }
    tally->applied = entries[count - 1].index;
    return 0;
}

static int tally_snapshot_begin(void *ctx, void **snapshot)
{
    struct tally_cursor *cursor = calloc(1, sizeof(*cursor));
    if (!cursor)
        return RR_E_NO_MEMORY;
    cursor->copy = *(struct tally *)ctx;
    *snapshot = cursor;
    return 0;
}

static int tally_snapshot_read(void *ctx, void *snapshot, uint8_t *buf, size_t cap, size_t *size)
{
    (void)ctx;
    struct tally_cursor *cursor = snapshot;
    uint64_t whole = sizeof(cursor->copy) + cursor->copy.ballast_bytes;
    *size = whole - cursor->at < cap ? (size_t)(whole - cursor->at) : cap;
    size_t head = 0;
    if (cursor->at < sizeof(cursor->copy)) {
        head = sizeof(cursor->copy) - (size_t)cursor->at;
        head = head < *size ? head : *size;
        memcpy(buf, (uint8_t *)&cursor->copy + cursor->at, head);
    }
    memset(buf + head, (int)(cursor->at >> 16 & 0xff), *size - head);
    cursor->at += *size;
    return 0;
}

static void tally_snapshot_end(void *ctx, void *snapshot)
{
    (void)ctx;
    free(snapshot);
}

static int tally_restore_begin(void *ctx, void **restore)
{
    (void)ctx;
    *restore = calloc(1, sizeof(struct tally_cursor));
    return *restore ? 0 : RR_E_NO_MEMORY;
}

static int tally_restore_write(void *ctx, void *restore, const uint8_t *buf, size_t size)
{
    (void)ctx;
    struct tally_cursor *cursor = restore;
    if (cursor->at < sizeof(cursor->copy)) {
        size_t head = sizeof(cursor->copy) - (size_t)cursor->at;
        memcpy((uint8_t *)&cursor->copy + cursor->at, buf, head < size ? head : size);
    }
    cursor->at += size;
    return 0;
}

static int tally_restore_end(void *ctx, void *restore, bool complete)
{
    struct tally_cursor *cursor = restore;
    bool is_whole = complete && cursor->at == sizeof(cursor->copy) + cursor->copy.ballast_bytes;
    if (is_whole)
        *(struct tally *)ctx = cursor->copy;
    free(restore);
    return is_whole ? 0 : RR_E_CORRUPT;
}

struct rr_state_machine tally_interface(struct tally *tally)
{
    return (struct rr_state_machine){.size = sizeof(struct rr_state_machine),
                                     .ctx = tally,
                                     .open = tally_open,
                                     .apply = tally_apply,
                                     .snapshot_begin = tally_snapshot_begin,
                                     .snapshot_read = tally_snapshot_read,
                                     .snapshot_end = tally_snapshot_end,
                                     .restore_begin = tally_restore_begin,
                                     .restore_write = tally_restore_write,
                                     .restore_end = tally_restore_end};
}
