/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/group_status.h"

#include "engine/group.h"
#include "proto/base.h"

#include <string.h>

#define PUBLISH_INTERVAL_NS (1000ull * 1000)

void status_write(struct status_page *page, const struct rr_group_status *status)
{
    uint64_t words[STATUS_WORDS] = {0};
    memcpy(words, status, sizeof(*status));
    uint64_t sequence = atomic_load_explicit(&page->sequence, memory_order_relaxed);
    atomic_store_explicit(&page->sequence, sequence + 1, memory_order_relaxed);
    /* Whoever reads one of these words sees the odd number as well. */
    for (size_t i = 0; i < STATUS_WORDS; i++)
        atomic_store_explicit(&page->words[i], words[i], memory_order_release);
    atomic_store_explicit(&page->sequence, sequence + 2, memory_order_release);
}

void status_read(struct status_page *page, struct rr_group_status *status)
{
    uint64_t words[STATUS_WORDS];
    uint64_t before, after;
    do {
        before = atomic_load_explicit(&page->sequence, memory_order_acquire);
        for (size_t i = 0; i < STATUS_WORDS; i++)
            words[i] = atomic_load_explicit(&page->words[i], memory_order_acquire);
        after = atomic_load_explicit(&page->sequence, memory_order_relaxed);
    } while (before != after || (before & 1));
    memcpy(status, words, sizeof(*status));
}

static void fill_wal(const struct rr_group *group, struct rr_group_status *status)
{
    struct wal_stats wal;
    wal_stats(group->engine->wal, &wal);
    status->durable_writes = wal.write_count;
    status->entries_written = wal.entry_count;
    status->wal_bytes = wal.payload_bytes;
    status->wal_padded_bytes = wal.padded_bytes;
    status->segments_recycled = wal.segments_recycled;
    status->segments_zeroed = wal.segments_zeroed;
    status->durable_direct = wal.is_direct;
    status->ram_file_system = wal.is_ram;
    status->log_reads = wal.read_count;
    status->log_moved_bytes = wal.moved_bytes;
    status->log_memory_bytes = log_memory_bytes(group->log.memory);
}

static void fill_memory(const struct rr_engine *engine, struct rr_group_status *status)
{
    const struct memory_budget *memory = &engine->memory;
    struct transport_stats transport;
    transport_stats(engine->transport, &transport);
    status->memory.log = memory_of_log(&engine->log_memory, engine->wal);
    status->memory.log_max = memory->log_max;
    status->memory.transport = transport.block_bytes;
    status->memory.transport_max = memory->transport_max;
    status->memory.groups = atomic_load(&memory->groups);
    status->memory.groups_max = memory->groups_max;
    status->memory.snapshots_max = memory->snapshots_max;
}

static void fill_peers(const struct rr_group *group, struct rr_group_status *status)
{
    struct rr_progress_status progress[CONFIG_PEERS_MAX];
    uint32_t count = rr_raw_node_progress(group->node, progress, CONFIG_PEERS_MAX);
    const struct members *members = &group->members;
    for (uint32_t i = 0; i < members->count; i++) {
        uint64_t node = members->list[i].node;
        bool is_self = node == group->engine->options.node_id;
        status->peers[i].node = node;
        status->peers[i].role = membership_role(group, node);
        memcpy(status->peers[i].address, members->list[i].address, IO_ADDRESS_TEXT_SIZE);
        status->peers[i].connected =
            is_self || transport_peer_is_up(group->engine->transport, node);
        status->peers[i].refusal = transport_peer_refusal(group->engine->transport, node);
        for (uint32_t k = 0; k < count && k < CONFIG_PEERS_MAX; k++) {
            if (progress[k].id != node)
                continue;
            status->peers[i].match = progress[k].match;
            status->peers[i].next = progress[k].next;
            status->peers[i].state = progress[k].state;
            status->peers[i].active = progress[k].recent_active;
        }
    }
    status->peer_count = members->count;
}

static void fill_core(const struct rr_group *group, struct rr_group_status *status)
{
    struct rr_basic_status core;
    rr_raw_node_basic_status(group->node, &core);
    status->term = core.hard_state.term;
    status->vote = core.hard_state.vote;
    status->commit = core.hard_state.commit;
    status->applied = group->applied;
    status->last_index = core.last_index;
    status->first_index = group->log.first;
    status->cached_index = group->log.cached;
    status->lead = core.soft_state.lead;
    status->role = core.soft_state.raft_state;
    status->voter_count = (uint8_t)group->conf_state.voter_count;
    status->snapshot_index = group->log.snapshot->snapshot.metadata.index;
}

void group_publish_first_status(struct rr_group *group)
{
    struct rr_group_status status = {.size = sizeof(status),
                                     .node_id = group->engine->options.node_id,
                                     .group_id = group->options.group_id};
    fill_core(group, &status);
    status_write(&group->status, &status);
}

static int stop_reason(const struct rr_group *group)
{
    if (group->error)
        return group->error;
    return membership_is_over(&group->membership) ? RR_E_REMOVED : 0;
}

void group_publish_status(struct rr_group *group, uint64_t now_ns, bool must)
{
    if (!must && now_ns - group->status.published_ns < PUBLISH_INTERVAL_NS)
        return;
    const struct rr_engine *engine = group->engine;
    struct rr_group_status status = {.size = sizeof(status),
                                     .node_id = engine->options.node_id,
                                     .group_id = group->options.group_id,
                                     .error = stop_reason(group),
                                     .enter_count = engine->io->enter_count,
                                     .wake_count = engine->io->wake_count,
                                     .turn_count = engine->io->turn_count,
                                     .proposals_completed = group->apply.completed_count,
                                     .messages_sent = engine->messages_sent,
                                     .messages_received = engine->messages_received,
                                     .snapshot_error = group->snapshots.failure};
    status.proposals_accepted =
        status.proposals_completed + group->outcomes.count + proposal_queue_count(&group->queue);
    strncpy(status.backend, engine->io->ops->name, sizeof(status.backend) - 1);
    fill_core(group, &status);
    fill_wal(group, &status);
    fill_peers(group, &status);
    fill_memory(engine, &status);
    status_write(&group->status, &status);
    group->status.published_ns = now_ns;
}
