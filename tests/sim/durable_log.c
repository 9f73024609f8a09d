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
    *log = (struct durable_log){.sim = sim, .machine = machine, .dir = dir, .first_index = 1};
}

void durable_log_fini(struct durable_log *log)
{
    free(log->entries);
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
static void reserve(struct durable_log *log, uint64_t index)
{
    if (index < log->entry_cap)
        return;
    uint64_t cap = rr_max_u64(2 * log->entry_cap, index + 1024);
    log->entries = realloc(log->entries, cap * sizeof(log->entries[0]));
    RR_ASSERT(log->entries);
    memset(log->entries + log->entry_cap, 0, (cap - log->entry_cap) * sizeof(log->entries[0]));
    log->entry_cap = cap;
}

static void take_entry(struct durable_log *log, uint64_t index, const struct rr_entry *entry)
{
    reserve(log, index);
    log->entries[index] =
        (struct durable_entry){entry->term, hash_bytes(entry->type, entry->data, entry->size)};
    if (log->on_entry)
        log->on_entry(log->ctx, index, &log->entries[index]);
}

static void take_entries(struct durable_log *log, const struct wal_section_walk *walk)
{
    const uint8_t *at = walk->body, *end = walk->body + walk->section.length;
    uint64_t index = walk->section.first_index;

    /* What lies before the first state seen is leftovers of compacted times and may begin anywhere.
     */
    if (!log->has_state && index > log->last_index + 1)
        log->last_index = index - 1;
    if (index > log->last_index + 1)
        failure_report("machine %u: entries from %llu on became durable, but the log ends at %llu",
                       log->machine, (unsigned long long)index,
                       (unsigned long long)log->last_index);
    for (uint32_t i = 0; i < walk->section.count; i++, index++) {
        struct rr_entry entry;
        if (rr_entry_decode(&at, end, NULL, &entry) != 0 || entry.index != index)
            failure_report("machine %u: a durable write holds something else than entry %llu",
                           log->machine, (unsigned long long)index);
        take_entry(log, index, &entry);
    }
    log->last_index = index - 1;
}

static void take_state(struct durable_log *log, const struct wal_section_walk *walk)
{
    size_t size = wal_state_ids_size(&walk->section);
    uint64_t *ids = malloc(size);
    struct wal_state state;

    RR_ASSERT(ids);
    if (wal_state_decode(&walk->section, walk->body, ids, size, &state) != 0)
        failure_report("machine %u: a durable write holds a state that cannot be read",
                       log->machine);
    log->has_state = true;
    log->term = state.hard_state.term;
    log->vote = state.hard_state.vote;
    log->first_index = state.first_index;
    log->last_index = state.last_index;
    reserve(log, state.last_index);
    free(ids);
}

/* What follows of it begins with a state. */
static void take_gone(struct durable_log *log)
{
    log->has_state = false;
    log->term = log->vote = 0;
    log->first_index = 1;
    log->last_index = 0;
}

static void take_write(struct durable_log *log, const struct wal_header *header)
{
    struct wal_section_walk walk = wal_sections(header, log->payload);

    while (wal_section_next(&walk)) {
        if (walk.section.kind == WAL_SECTION_ENTRIES)
            take_entries(log, &walk);
        else if (walk.section.kind == WAL_SECTION_STATE)
            take_state(log, &walk);
        else if (walk.section.kind == WAL_SECTION_GONE)
            take_gone(log);
    }
    if (walk.failed)
        failure_report("machine %u: write %llu is valid and cannot be read", log->machine,
                       (unsigned long long)header->seq);
}

/* The next write lies at this place: understands it and moves on. */
static bool take_at(struct durable_log *log, uint64_t segment, uint64_t offset)
{
    uint8_t bytes[sizeof(struct wal_header)];
    struct wal_header header;

    if (read_segment(log, segment, bytes, sizeof(bytes), offset) != sizeof(bytes) ||
        wal_header_check(bytes, wal_seed(log->instance), &header) != WAL_HEADER_VALID ||
        header.epoch != segment || (log->has_last && !wal_header_follows(&log->last, &header)))
        return false;
    if (header.length > log->payload_cap) {
        log->payload_cap = header.length;
        log->payload = realloc(log->payload, log->payload_cap);
        RR_ASSERT(log->payload);
    }
    if (read_segment(log, segment, log->payload, header.length, offset + sizeof(bytes)) !=
            (int64_t)header.length ||
        !wal_payload_check(&header, log->payload))
        return false;
    take_write(log, &header);
    log->last = header;
    log->has_last = true;
    log->segment = segment;
    log->offset = offset + wal_padded_size(&header);
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
    log->has_state = false;
    if (log->entries)
        memset(log->entries, 0, log->entry_cap * sizeof(log->entries[0]));
    log->segment = oldest;
    log->offset = 0;
    log->first_index = 1;
    log->last_index = 0;
    log->reread_count++;
    return true;
}

void durable_log_advance(struct durable_log *log)
{
    uint64_t version = sim_durable_version(log->sim, log->machine);
    uint8_t byte;

    if (log->instance == 0 || version == log->version)
        return;
    log->version = version;
    if (!log->has_last || read_segment(log, log->segment, &byte, 1, 0) < 0)
        if (!start_over(log))
            return;
    while (take_at(log, log->segment, log->offset) || take_at(log, log->segment + 1, 0))
        ;
}

bool durable_log_has(const struct durable_log *log, uint64_t index, uint64_t term)
{
    if (index < log->first_index)
        return true;
    return index <= log->last_index && log->entries[index].term == term;
}
