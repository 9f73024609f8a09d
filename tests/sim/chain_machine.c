/* SPDX-License-Identifier: Apache-2.0
 *
 * A snapshot is the numbers of struct image and a filler that is a function of the hash.
 */
#include "tests/sim/chain_machine.h"

#include "io/sim/sim_random.h"

#include <stdlib.h>

struct image {
    uint64_t size; /* of all, filler included */
    uint64_t index;
    uint64_t hash;
    uint64_t count;
    uint64_t registers[CHAIN_REGISTERS];
};

struct transfer { /* a snapshot being read, or a restore */
    size_t at;
    size_t cap;
    uint8_t bytes[];
};

static void become(struct chain_machine *machine, const struct image *image)
{
    machine->index = image->index;
    machine->hash = image->hash;
    machine->count = image->count;
    memcpy(machine->registers, image->registers, sizeof(machine->registers));
}

static const struct image fresh = {.hash = 1};

static bool fails(struct chain_machine *machine)
{
    bool is_now = machine->fails_in != 0 && --machine->fails_in == 0;
    machine->has_failed |= is_now;
    return is_now;
}

static int open_machine(void *ctx, uint64_t *applied)
{
    become(ctx, &fresh);
    *applied = 0;
    return 0;
}

static int apply(void *ctx, const struct rr_apply_entry *entries, uint32_t count, uint64_t *results)
{
    struct chain_machine *machine = ctx;

    RR_ASSERT(!machine->has_failed_to_apply); /* no entry is ever skipped */
    if (fails(machine)) {
        machine->has_failed_to_apply = true;
        return -1;
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct rr_apply_entry *entry = &entries[i];
        RR_ASSERT(entry->index > machine->index);
        machine->hash = hash_mix(hash_mix(machine->hash, entry->index), entry->term);
        machine->hash = hash_bytes(machine->hash, entry->data, entry->size) | 1;
        machine->index = entry->index;
        machine->count++;
        if (entry->size >= sizeof(uint64_t)) {
            uint64_t tag;
            memcpy(&tag, entry->data, sizeof(tag));
            machine->registers[chain_key(tag)] = tag;
        }
        results[i] = machine->hash;
        machine->on_apply(machine->ctx, entry, machine->hash);
    }
    return 0;
}

/* What stands behind the image: the hash, over and over. Compared if `is_same`, else written. */
static void fill(struct transfer *transfer, uint64_t hash, bool *is_same)
{
    for (size_t i = sizeof(struct image); i < transfer->cap; i += sizeof(hash)) {
        size_t part = transfer->cap - i < sizeof(hash) ? transfer->cap - i : sizeof(hash);
        if (is_same)
            *is_same &= memcmp(transfer->bytes + i, &hash, part) == 0;
        else
            memcpy(transfer->bytes + i, &hash, part);
    }
}

static int snapshot_begin(void *ctx, void **snapshot)
{
    struct chain_machine *machine = ctx;
    size_t size = machine->snapshot_bytes > sizeof(struct image) ? machine->snapshot_bytes
                                                                 : sizeof(struct image);
    if (fails(machine))
        return -1;
    struct transfer *transfer = malloc(sizeof(*transfer) + size);
    struct image image = {size, machine->index, machine->hash, machine->count, {0}};

    RR_ASSERT(transfer);
    memcpy(image.registers, machine->registers, sizeof(image.registers));
    transfer->at = 0;
    transfer->cap = size;
    memcpy(transfer->bytes, &image, sizeof(image));
    fill(transfer, machine->hash, NULL);
    *snapshot = transfer;
    return 0;
}

static int snapshot_read(void *ctx, void *snapshot, uint8_t *buf, size_t cap, size_t *size)
{
    struct transfer *transfer = snapshot;
    if (fails(ctx))
        return -1;
    *size = transfer->cap - transfer->at < cap ? transfer->cap - transfer->at : cap;
    memcpy(buf, transfer->bytes + transfer->at, *size);
    transfer->at += *size;
    return 0;
}

static void snapshot_end(void *ctx, void *snapshot)
{
    (void)ctx;
    free(snapshot);
}

static int restore_begin(void *ctx, void **restore)
{
    if (fails(ctx))
        return -1;
    struct transfer *transfer = malloc(sizeof(*transfer) + CHAIN_SNAPSHOT_MAX);
    RR_ASSERT(transfer);
    *transfer = (struct transfer){.cap = CHAIN_SNAPSHOT_MAX};
    *restore = transfer;
    return 0;
}

static int restore_write(void *ctx, void *restore, const uint8_t *buf, size_t size)
{
    struct transfer *transfer = restore;
    if (fails(ctx) || size > transfer->cap - transfer->at)
        return -1;
    memcpy(transfer->bytes + transfer->at, buf, size);
    transfer->at += size;
    return 0;
}

static int restore_end(void *ctx, void *restore, bool complete)
{
    struct chain_machine *machine = ctx;
    struct transfer *transfer = restore;
    struct image image = fresh;
    bool is_same = true;

    if (transfer->at > 0) {
        RR_ASSERT(transfer->at >= sizeof(image));
        memcpy(&image, transfer->bytes, sizeof(image));
        transfer->cap = transfer->at;
        fill(transfer, image.hash, &is_same);
        RR_ASSERT(!complete || (is_same && image.size == transfer->at)); /* whole or not at all */
    }
    if (complete) {
        become(machine, &image);
        machine->on_restore(machine->ctx, image.index, image.hash);
    }
    free(transfer);
    return 0;
}

static uint64_t state_hash(void *ctx)
{
    const struct chain_machine *machine = ctx;
    return machine->hash ^ machine->is_twisted;
}

void chain_machine_bind(struct chain_machine *machine, struct rr_state_machine *table)
{
    *table = (struct rr_state_machine){
        .size = sizeof(*table),
        .ctx = machine,
        .open = open_machine,
        .apply = apply,
        .snapshot_begin = snapshot_begin,
        .snapshot_read = snapshot_read,
        .snapshot_end = snapshot_end,
        .restore_begin = restore_begin,
        .restore_write = restore_write,
        .restore_end = restore_end,
        .hash = state_hash,
    };
}
