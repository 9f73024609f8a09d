/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/memory_budget.h"

#include "engine/group.h"
#include "io/snapshot_stream.h"
#include "io/snapshot_wire.h"
#include "proto/base.h"

#define KIB 1024ull
#define MIB (1024 * KIB)

/* Frames of the largest size that may be in memory at a time, and what two hundred connections take
 * besides, both ways. */
#define LARGE_FRAMES    4u
#define TRANSPORT_BYTES (128 * MIB)
#define SLOW_PEERS      4u
/* Transfers both ways, each with its window. */
#define SNAPSHOTS_BYTES (2ull * SNAPSHOT_TRANSFERS_MAX * SNAPSHOT_WINDOW * SNAPSHOT_WIRE_CHUNK_MAX)

/* The largest queue that nobody asked for, and the smallest part of what is left. */
#define QUEUE_BYTES_MAX (64 * MIB)
#define QUEUE_FRACTION  20u

static uint64_t power_of_two_from(uint64_t n)
{
    uint64_t power = 1;
    while (power < n)
        power *= 2;
    return power;
}

static unsigned long long in_mib(uint64_t bytes)
{
    return (bytes + MIB - 1) / MIB;
}

int memory_budget_init(struct memory_budget *memory, const struct rr_engine_options *options,
                       struct rr_error *error)
{
    uint64_t write = options->wal_write_bytes_max;
    *memory = (struct memory_budget){
        .all = options->memory_bytes_max,
        /* The cache at its limit, as much again that apply batches still refer to, the writes on
         * their way, and what the queues of a few peers that are slow or gone refer to. */
        .log_max = 2 * options->log_cache_bytes + 16 * write +
                   SLOW_PEERS * (uint64_t)options->peer_queue_bytes_max,
        .transport_max = TRANSPORT_BYTES + LARGE_FRAMES * (uint64_t)options->frame_bytes_max,
        .snapshots_max = SNAPSHOTS_BYTES,
    };
    uint64_t fixed = memory->log_max + memory->transport_max + memory->snapshots_max;
    if (fixed >= memory->all)
        return rr_fail(error, RR_E_INVALID,
                       "memory_bytes_max is %llu MiB; the log (twice log_cache_bytes, and writes: "
                       "%llu MiB), the transport (%llu) and snapshots (%llu) leave nothing of it "
                       "for groups: raise it or lower log_cache_bytes or frame_bytes_max",
                       in_mib(memory->all), in_mib(memory->log_max), in_mib(memory->transport_max),
                       in_mib(memory->snapshots_max));
    memory->groups_max = memory->all - fixed;
    return 0;
}

uint64_t memory_of_group(const struct rr_group_options *options)
{
    uint64_t slots = power_of_two_from(options->proposal_queue_entries);
    uint64_t tags = power_of_two_from(2ull * options->proposal_queue_entries);
    uint64_t reads = power_of_two_from(options->read_queue_entries);
    return sizeof(struct rr_group) + 2 * WAL_INLINE_SNAPSHOT_MAX +
           power_of_two_from(options->proposal_queue_bytes) + slots * sizeof(struct proposal_slot) +
           tags * sizeof(uint64_t) +
           reads * (sizeof(struct proposal_slot) + sizeof(struct waiting_read) + 8) +
           APPLY_BATCHES_KEPT * sizeof(struct apply_batch);
}

uint64_t memory_default_queue(const struct memory_budget *memory,
                              const struct rr_engine_options *options)
{
    uint64_t left = memory->groups_max - atomic_load(&memory->groups);
    uint64_t least = power_of_two_from(2ull * options->entry_bytes_max);
    uint64_t bytes = rr_max_u64(QUEUE_BYTES_MAX, least);
    while (bytes > least && bytes > left / QUEUE_FRACTION)
        bytes /= 2;
    return bytes;
}

int memory_claim_group(struct memory_budget *memory, const struct rr_group_options *options,
                       struct rr_error *error)
{
    uint64_t bytes = memory_of_group(options);
    uint64_t claimed = atomic_load(&memory->groups);
    do {
        if (bytes > memory->groups_max - claimed)
            return rr_fail(error, RR_E_NO_MEMORY,
                           "group %llu wants %llu MiB for its queues; %llu of the %llu MiB that "
                           "memory_bytes_max leaves for groups are taken: raise it, or lower "
                           "proposal_queue_bytes, proposal_queue_entries or read_queue_entries",
                           (unsigned long long)options->group_id, in_mib(bytes), in_mib(claimed),
                           in_mib(memory->groups_max));
    } while (!atomic_compare_exchange_weak(&memory->groups, &claimed, claimed + bytes));
    return 0;
}

void memory_release_group(struct memory_budget *memory, const struct rr_group_options *options)
{
    uint64_t before = atomic_fetch_sub(&memory->groups, memory_of_group(options));
    RR_ASSERT(before >= memory_of_group(options));
}
