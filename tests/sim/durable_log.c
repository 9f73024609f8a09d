/* SPDX-License-Identifier: Apache-2.0
 *
 * An independent reader of the durable image.
 */
#include "tests/sim/durable_log.h"

#include "io/sim/sim_random.h"
#include "proto/codec.h"
#include "tests/sim/failure.h"

#include <stdio.h>
#include <stdlib.h>

void durable_log_init(struct durable_log *log, struct sim *sim, uint32_t machine, const char *dir)
{
    *log = (struct durable_log){.sim = sim, .machine = machine, .dir = dir};
}

void durable_log_fini(struct durable_log *log)
{
    for (uint32_t i = 0; i < PLAN_GROUPS_MAX; i++) {
        free(log->groups[i].entries);
        free(log->groups[i].moved);
    }
    free(log->payload);
}

static int64_t read_segment(const struct durable_log *log, uint64_t segment, void *buf, size_t size,
                            uint64_t offset)
{
    char path[128], name[WAL_NAME_SIZE];
    wal_segment_name(name, segment);
    snprintf(path, sizeof(path), "%s/%s", log->dir, name);
    return sim_durable_read(log->sim, log->machine, path, buf, size, offset);
}

/* Room for `index`; an entry of term 0 is not known. */
static void reserve(struct durable_group *group, uint64_t index)
{
    if (index < group->entry_cap)
        return;
    uint64_t cap = rr_max_u64(2 * group->entry_cap, index + 1024);
    group->entries = realloc(group->entries, cap * sizeof(group->entries[0]));
    RR_ASSERT(group->entries);
    memset(group->entries + group->entry_cap, 0,
           (cap - group->entry_cap) * sizeof(group->entries[0]));
    group->entry_cap = cap;
}

/* Which of the groups a section is about. */
static uint32_t slot_of(const struct durable_log *log, const struct wal_section *section)
{
    uint64_t slot = section->group - log->first_group;
    if (slot >= log->group_count)
        failure_report("machine %u: a durable write is about group %llu, which nobody opened",
                       log->machine, (unsigned long long)section->group);
    return (uint32_t)slot;
}

static void take_entry(struct durable_log *log, uint32_t slot, uint64_t index,
                       const struct rr_entry *entry)
{
    struct durable_group *group = &log->groups[slot];
    reserve(group, index);
    group->entries[index] =
        (struct durable_entry){entry->term, hash_bytes(entry->type, entry->data, entry->size)};
    if (log->on_entry)
        log->on_entry(log->ctx, slot, index, &group->entries[index]);
    if (log->on_change && entry->type != RR_ENTRY_NORMAL)
        log->on_change(log->ctx, slot, entry);
}

static void take_entries(struct durable_log *log, const struct wal_section_walk *walk)
{
    const uint8_t *at = walk->body, *end = walk->body + walk->section.length;
    uint64_t index = walk->section.first_index;
    uint32_t slot = slot_of(log, &walk->section);
    struct durable_group *group = &log->groups[slot];

    /* What lies before the first state seen is leftovers of compacted times and may begin anywhere.
     */
    if (!group->has_state && index > group->last_index + 1)
        group->last_index = index - 1;
    if (index > group->last_index + 1)
        failure_report("machine %u: entries from %llu on became durable, but the log ends at %llu",
                       log->machine, (unsigned long long)index,
                       (unsigned long long)group->last_index);
    for (uint32_t i = 0; i < walk->section.count; i++, index++) {
        struct rr_entry entry;
        if (rr_entry_decode(&at, end, NULL, &entry) != 0 || entry.index != index)
            failure_report("machine %u: a durable write holds something else than entry %llu",
                           log->machine, (unsigned long long)index);
        take_entry(log, slot, index, &entry);
    }
    group->last_index = index - 1;
    group->moved_next = 0;
}

/* A series is the log once its last piece is there, which may not be another one than was known. */
static void end_series(struct durable_log *log, struct durable_group *group)
{
    uint64_t last = group->moved_next - 1;
    bool is_known = group->has_state && group->moved_first <= group->last_index;
    if (is_known && last != group->last_index)
        failure_report("machine %u: the log up to %llu was moved, but it ends at %llu",
                       log->machine, (unsigned long long)last,
                       (unsigned long long)group->last_index);
    reserve(group, last);
    for (uint64_t index = group->moved_first; index <= last; index++) {
        struct durable_entry *entry = &group->entries[index];
        const struct durable_entry *moved = &group->moved[index - group->moved_first];
        if (is_known && entry->term != 0 &&
            (entry->term != moved->term || entry->hash != moved->hash))
            failure_report("machine %u: entry %llu became another one when it was moved",
                           log->machine, (unsigned long long)index);
        *entry = *moved;
    }
    group->last_index = last;
    group->moved_next = 0;
}

static void take_moved(struct durable_log *log, const struct wal_section_walk *walk)
{
    const uint8_t *at = walk->body, *end = walk->body + walk->section.length;
    uint64_t index = walk->section.first_index;
    uint32_t slot = slot_of(log, &walk->section);
    struct durable_group *group = &log->groups[slot];

    if (walk->section.part & WAL_MOVED_FIRST || index != group->moved_next)
        group->moved_first = index;
    group->moved_next = index + walk->section.count;
    uint64_t count = group->moved_next - group->moved_first;
    if (count > group->moved_cap) {
        group->moved_cap = 2 * count;
        group->moved = realloc(group->moved, group->moved_cap * sizeof(group->moved[0]));
        RR_ASSERT(group->moved);
    }
    for (; index < group->moved_next; index++) {
        struct rr_entry entry;
        if (rr_entry_decode(&at, end, NULL, &entry) != 0 || entry.index != index)
            failure_report("machine %u: a durable piece holds something else than entry %llu",
                           log->machine, (unsigned long long)index);
        struct durable_entry *moved = &group->moved[index - group->moved_first];
        *moved = (struct durable_entry){entry.term, hash_bytes(entry.type, entry.data, entry.size)};
        if (log->on_change && entry.type != RR_ENTRY_NORMAL)
            log->on_change(log->ctx, slot, &entry);
        if (log->on_entry)
            log->on_entry(log->ctx, slot, index, moved);
    }
    if (walk->section.part & WAL_MOVED_LAST)
        end_series(log, group);
}

static void take_state(struct durable_log *log, const struct wal_section_walk *walk)
{
    struct durable_group *group = &log->groups[slot_of(log, &walk->section)];
    size_t size = wal_state_ids_size(&walk->section);
    uint64_t *ids = malloc(size);
    struct wal_state state;

    RR_ASSERT(ids);
    if (wal_state_decode(&walk->section, walk->body, ids, size, &state) != 0)
        failure_report("machine %u: a durable write holds a state that cannot be read",
                       log->machine);
    group->has_state = true;
    group->moved_next = 0;
    group->term = state.hard_state.term;
    group->vote = state.hard_state.vote;
    group->first_index = state.first_index;
    group->last_index = state.last_index;
    reserve(group, state.last_index);
    free(ids);
}

/* What follows of it begins with a state. */
static void take_gone(struct durable_log *log, const struct wal_section_walk *walk)
{
    struct durable_group *group = &log->groups[slot_of(log, &walk->section)];
    group->has_state = false;
    group->moved_next = 0;
    group->term = group->vote = 0;
    group->first_index = 1;
    group->last_index = 0;
}

static void take_peer(struct durable_log *log, const struct wal_section_walk *walk)
{
    struct wal_peer peer;
    uint32_t i = 0;

    RR_ASSERT(walk->section.length == sizeof(peer));
    memcpy(&peer, walk->body, sizeof(peer));
    while (i < log->peer_count && log->peers[i].node != peer.node)
        i++;
    RR_ASSERT(i < DURABLE_PEERS_MAX);
    log->peers[i] = peer;
    log->peer_count = i == log->peer_count ? i + 1 : log->peer_count;
}

static void take_write(struct durable_log *log, const struct wal_header *header)
{
    struct wal_section_walk walk = wal_sections(header, log->payload);

    while (wal_section_next(&walk)) {
        if (walk.section.kind == WAL_SECTION_ENTRIES)
            take_entries(log, &walk);
        else if (walk.section.kind == WAL_SECTION_MOVED)
            take_moved(log, &walk);
        else if (walk.section.kind == WAL_SECTION_STATE)
            take_state(log, &walk);
        else if (walk.section.kind == WAL_SECTION_GONE)
            take_gone(log, &walk);
        else if (walk.section.kind == WAL_SECTION_PEER)
            take_peer(log, &walk);
    }
    if (walk.failed)
        failure_report("machine %u: write %llu is valid and cannot be read", log->machine,
                       (unsigned long long)header->seq);
}

/* The next write lies at this place: understands it and moves on. */
static bool take_at(struct durable_log *log, struct durable_place at)
{
    uint8_t bytes[sizeof(struct wal_header)];
    struct wal_header header;

    if (read_segment(log, at.segment, bytes, sizeof(bytes), at.offset) != sizeof(bytes) ||
        wal_header_check(bytes, wal_seed(log->instance), &header) != WAL_HEADER_VALID ||
        header.epoch != at.segment || (log->has_last && !wal_header_follows(&log->last, &header)))
        return false;
    if (header.length > log->payload_cap) {
        log->payload_cap = header.length;
        log->payload = realloc(log->payload, log->payload_cap);
        RR_ASSERT(log->payload);
    }
    if (read_segment(log, at.segment, log->payload, header.length, at.offset + sizeof(bytes)) !=
            (int64_t)header.length ||
        !wal_payload_check(&header, log->payload))
        return false;
    take_write(log, &header);
    log->last = header;
    log->has_last = true;
    log->next = (struct durable_place){at.segment, at.offset + wal_padded_size(&header)};
    log->ends[header.seq % RR_ARRAY_SIZE(log->ends)] = log->next;
    RR_ASSERT(header.seq - header.durable_seq < RR_ARRAY_SIZE(log->ends));
    log->proven = log->ends[header.durable_seq % RR_ARRAY_SIZE(log->ends)];
    return true;
}

static void keep_oldest(void *ctx, const char *name)
{
    uint64_t number = wal_segment_number(name), *oldest = ctx;
    if (number != 0 && (*oldest == 0 || number < *oldest))
        *oldest = number;
}

/* Back to the oldest segment there is. */
static bool start_over(struct durable_log *log)
{
    uint64_t oldest = 0;
    if (sim_durable_list(log->sim, log->machine, log->dir, keep_oldest, &oldest) != 0 ||
        oldest == 0)
        return false;
    log->has_last = false;
    log->next = (struct durable_place){oldest, 0};
    memset(log->ends, 0, sizeof(log->ends));
    for (uint32_t slot = 0; slot < log->group_count; slot++) {
        struct durable_group *group = &log->groups[slot];
        if (group->entries)
            memset(group->entries, 0, group->entry_cap * sizeof(group->entries[0]));
        group->has_state = false;
        group->first_index = 1;
        group->last_index = group->moved_next = 0;
    }
    log->reread_count++;
    return true;
}

void durable_log_begin(struct durable_log *log, uint64_t instance)
{
    RR_ASSERT(log->instance == 0 && instance != 0 && !log->has_last);
    log->instance = instance;
}

void durable_log_end(struct durable_log *log)
{
    durable_log_advance(log);
    log->instance = 0;
}

void durable_log_renew(struct durable_log *log)
{
    log->instance = 0;
    log->has_last = false;
    log->peer_count = 0;
    log->version = 0;
    for (uint32_t slot = 0; slot < log->group_count; slot++) {
        struct durable_group *group = &log->groups[slot];
        free(group->entries);
        free(group->moved);
        *group = (struct durable_group){.first_index = 1};
    }
}

void durable_log_advance(struct durable_log *log)
{
    uint64_t version = sim_durable_version(log->sim, log->machine);
    uint8_t byte;

    if (log->instance == 0 || version == log->version)
        return;
    log->version = version;
    if (!log->has_last || read_segment(log, log->next.segment, &byte, 1, 0) < 0)
        if (!start_over(log))
            return;
    while (take_at(log, log->next) ||
           take_at(log, (struct durable_place){log->next.segment + 1, 0}))
        ;
}

bool durable_log_has(const struct durable_log *log, uint32_t slot, uint64_t index, uint64_t term)
{
    const struct durable_group *group = &log->groups[slot];
    if (index < group->first_index)
        return true;
    return index <= group->last_index && group->entries[index].term == term;
}

uint64_t durable_log_knows(const struct durable_log *log, uint64_t node)
{
    for (uint32_t i = 0; i < log->peer_count; i++)
        if (log->peers[i].node == node)
            return log->peers[i].boot;
    return 0;
}
