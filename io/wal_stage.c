/* SPDX-License-Identifier: Apache-2.0
 *
 * What goes into a write. Hot: nothing is allocated, entries are encoded where they will be written
 * from (the leader) or copied once with their checksum (followers), and the payload's CRC is
 * combined from those of its parts.
 *
 * The filling write grows at the end of a log block: header, then sections. When a section does not
 * fit below the cut point, the write is sealed and another begun, behind it in the same block or in
 * a fresh one.
 */
#include "io/wal_impl.h"

#include "proto/codec.h"
#include "proto/crc32c.h"

#include <stdlib.h>
#include <string.h>

#define WRITES_PER_GROWTH 32u

/* ---- writes -------------------------------------------------------------------------- */

static RR_COLD int add_writes(struct wal *wal)
{
    for (uint32_t i = 0; i < WRITES_PER_GROWTH; i++) {
        struct wal_write *write = calloc(1, sizeof(*write));
        if (!write)
            return wal->idle ? 0 : RR_E_NO_MEMORY;
        write->wal = wal;
        write->next = wal->idle;
        wal->idle = write;
    }
    return 0;
}

/* Sees to it that the next write can begin in wal->block with room for `size` bytes of sections. */
static int find_room(struct wal *wal, uint64_t size)
{
    uint64_t need = rr_align_up(sizeof(struct wal_header) + size, wal->block_bytes);
    if (RR_UNLIKELY(need > wal->segments.segment_bytes))
        return RR_E_TOO_LARGE;
    /* A write as large as the last one should not be cut only because the block ends. */
    uint64_t likely =
        rr_max_u64(need, rr_min_u64(wal->options.write_bytes_max, 2 * (uint64_t)wal->last_padded));
    if (RR_LIKELY(wal->block && wal->block->base.cap - wal->block->used >= likely))
        return 0;
    struct log_block *block = log_block_take(wal->pool, (uint32_t)need);
    if (RR_UNLIKELY(!block))
        return RR_E_NO_MEMORY;
    if (wal->block)
        log_block_put(wal->block);
    wal->block = block;
    return 0;
}

static int begin_write(struct wal *wal, uint64_t size)
{
    int err = find_room(wal, size);
    if (RR_UNLIKELY(!err && !wal->idle))
        err = add_writes(wal);
    if (RR_UNLIKELY(err))
        return err;
    struct wal_write *write = wal->idle;
    wal->idle = write->next;
    RR_ASSERT(write->state == WAL_WRITE_IDLE);
    uint64_t room = wal->block->base.cap - wal->block->used;
    uint64_t least = sizeof(struct wal_header) + size;
    *write = (struct wal_write){
        .wal = wal,
        .block = wal->block,
        .start = wal->block->used,
        .used = sizeof(struct wal_header),
        .cap = (uint32_t)rr_max_u64(least, rr_min_u64(room, wal->options.write_bytes_max)),
        .seq = wal->next_seq++,
        .state = WAL_WRITE_FILLING,
    };
    RR_ASSERT(write->start % wal->block_bytes == 0);
    RR_ASSERT(write->cap <= room);
    rr_block_get(&write->block->base, 1);
    wal->filling = write;
    return 0;
}

void wal_seal(struct wal *wal)
{
    struct wal_write *write = wal->filling;
    RR_ASSERT(wal->reservation.size == 0);
    if (!write || write->section_count == 0)
        return;
    uint32_t padded = (uint32_t)rr_align_up(write->used, wal->block_bytes);
    RR_ASSERT(write->used <= write->cap);
    RR_ASSERT(write->start + padded <= write->block->base.cap);
    memset(write->block->base.bytes + write->start + write->used, 0, padded - write->used);
    write->iov = (struct iovec){write->block->base.bytes + write->start, padded};
    write->block->used = write->start + padded;
    write->state = WAL_WRITE_QUEUED;
    write->next = NULL;
    *wal->queue_end = write;
    wal->queue_end = &write->next;
    wal->queued_bytes += padded;
    wal->last_padded = padded;
    wal->filling = NULL;
}

/* ---- sections ------------------------------------------------------------------------ */

/* Makes the filling write one that has room for `size` more bytes. An empty one that is too small
 * gives its number back. */
static int make_room(struct wal *wal, uint64_t size)
{
    if (RR_UNLIKELY(wal->poisoned))
        return RR_E_POISONED;
    RR_ASSERT(wal->reservation.size == 0);
    struct wal_write *write = wal->filling;
    if (RR_LIKELY(write && write->cap - write->used >= size))
        return 0;
    if (write && write->section_count > 0) {
        wal_seal(wal);
    } else if (write) {
        RR_ASSERT(write->seq + 1 == wal->next_seq);
        wal->next_seq--;
        wal->filling = NULL;
        wal_release_write(wal, write);
    }
    return begin_write(wal, size);
}

static inline uint8_t *filling_end(const struct wal *wal)
{
    return wal->filling->block->base.bytes + wal->filling->start + wal->filling->used;
}

/* The section's body lies behind its place; `body_crc` is its CRC. Writes header and padding. */
static void add_section(struct wal *wal, const struct wal_section *section, uint32_t body_crc)
{
    struct wal_write *write = wal->filling;
    uint8_t *at = filling_end(wal);
    uint32_t padding = (uint32_t)(rr_align_up(section->length, 8) - section->length);
    uint8_t *end = at + sizeof(*section) + section->length;
    memcpy(at, section, sizeof(*section));
    memset(end, 0, padding);
    uint32_t crc = crc32c(write->payload_crc, section, sizeof(*section));
    if (section->length > 0)
        crc = crc32c_combine(crc, body_crc, section->length);
    write->payload_crc = crc32c(crc, end, padding);
    write->used += (uint32_t)wal_section_size(section->length);
    if (write->section_count++ == 0)
        write->begun_ns = io_now(wal->io);
    write->has_entries |=
        section->kind == WAL_SECTION_ENTRIES || section->kind == WAL_SECTION_MOVED;
    write->has_content |= section->kind != WAL_SECTION_MARK;
    RR_ASSERT(write->used <= write->cap);
}

/* Stages a section whose body is copied from `body`, or, if that is NULL, encoded by the caller
 * behind `*at` before it calls add_section. */
static int begin_section(struct wal *wal, const struct wal_section *section, uint8_t **at)
{
    int err = make_room(wal, wal_section_size(section->length));
    if (!err)
        err = wal_live_promise(&wal->live, section);
    if (err)
        return err;
    if (RR_UNLIKELY(wal->move.state != WAL_MOVE_IDLE && wal->move.group == section->group &&
                    section->kind != WAL_SECTION_MOVED))
        wal_move_cancel(wal); /* what is moved is not the group's log any more */
    *at = filling_end(wal) + sizeof(*section);
    return 0;
}

static int stage_copy(struct wal *wal, const struct wal_section *section, const void *body)
{
    uint8_t *at;
    int err = begin_section(wal, section, &at);
    if (RR_UNLIKELY(err))
        return err;
    add_section(wal, section, crc32c_copy(0, at, body, section->length));
    return 0;
}

int wal_stage_moved(struct wal *wal, const struct wal_section *section, const uint8_t *body)
{
    return stage_copy(wal, section, body);
}

int wal_stage_open(struct wal *wal, uint64_t nonce)
{
    struct wal_open_body body = {.boot = wal->boot, .nonce = nonce};
    struct wal_section section = {.kind = WAL_SECTION_OPEN, .length = sizeof(body)};
    RR_ASSERT(!wal->filling);
    int err = stage_copy(wal, &section, &body);
    if (!err)
        wal->filling->is_open = wal->filling->must_prove = true;
    return err;
}

int wal_stage_mark(struct wal *wal)
{
    struct wal_section section = {.kind = WAL_SECTION_MARK};
    uint8_t *at;
    int err = begin_section(wal, &section, &at);
    if (!err)
        add_section(wal, &section, 0);
    return err;
}

int wal_append_state(struct wal *wal, const struct wal_state *state)
{
    RR_ASSERT(state->first_index > 0);
    RR_ASSERT(state->last_index + 1 >= state->first_index);
    uint64_t size = wal_state_size(state);
    if (size > UINT32_MAX / 2 ||
        (state->has_snapshot_data && state->snapshot_size > WAL_INLINE_SNAPSHOT_MAX) ||
        state->group_data_size > WAL_GROUP_DATA_MAX)
        return RR_E_TOO_LARGE;
    struct wal_section section = {
        .kind = WAL_SECTION_STATE,
        .length = (uint32_t)size,
        .group = state->group,
        .first_index = state->first_index,
        .commit = state->hard_state.commit,
    };
    uint8_t *at;
    int err = begin_section(wal, &section, &at);
    if (err)
        return err;
    wal_state_encode(state, at);
    add_section(wal, &section, crc32c(0, at, size));
    struct wal_group *group = &wal->live.groups[wal_live_find(&wal->live, state->group)];
    RR_ASSERT(state->hard_state.term >= group->term);
    RR_ASSERT(!group->is_stated || state->last_index == group->last_index ||
              state->first_index == state->last_index + 1);
    if (state->hard_state.term != group->term || state->hard_state.vote != group->vote)
        wal->filling->must_prove = true;
    group->term = state->hard_state.term;
    group->vote = state->hard_state.vote;
    group->last_index = state->last_index;
    group->staged_seq = wal->filling->seq;
    group->is_stated = true;
    return 0;
}

int wal_append_gone(struct wal *wal, uint64_t id)
{
    struct wal_section section = {.kind = WAL_SECTION_GONE, .group = id};
    uint8_t *at;
    int err = begin_section(wal, &section, &at);
    if (err)
        return err;
    add_section(wal, &section, 0);
    wal->filling->must_prove = true;
    struct wal_group *group = &wal->live.groups[wal_live_find(&wal->live, id)];
    group->term = group->vote = 0;
    group->last_index = group->staged_seq = 0;
    group->is_stated = false;
    return 0;
}

int wal_append_peer(struct wal *wal, const struct wal_peer *peer)
{
    struct wal_section section = {.kind = WAL_SECTION_PEER, .length = sizeof(*peer)};
    int err = wal->poisoned ? RR_E_POISONED : wal_live_note_peer(&wal->live, peer);
    return err ? err : stage_copy(wal, &section, peer);
}

/* ---- entries in place ---------------------------------------------------------------- */

int wal_reserve_entries(struct wal *wal, uint64_t group, uint32_t size, uint8_t **at,
                        struct rr_block **block)
{
    RR_ASSERT(size > 0 && size < UINT32_MAX / 2);
    struct wal_section section = {.kind = WAL_SECTION_ENTRIES, .group = group, .length = size};
    int err = begin_section(wal, &section, at);
    if (RR_UNLIKELY(err))
        return err;
    wal->reservation = (struct wal_reservation){.group = group, .size = size};
    *block = &wal->filling->block->base;
    return 0;
}

/* Both kinds of entries end here. */
static void add_entries(struct wal *wal, const struct wal_section *section, uint32_t crc)
{
    struct wal_write *write = wal->filling;
    struct wal_group *group = &wal->live.groups[wal_live_find(&wal->live, section->group)];
    RR_ASSERT(group->is_stated);
    RR_ASSERT(section->first_index <= group->last_index + 1);
    group->last_index = section->first_index + section->count - 1;
    uint32_t offset = write->start + write->used + (uint32_t)sizeof(*section);
    log_block_add_run(write->block, offset, section->length, crc);
    add_section(wal, section, crc);
    wal->stats.entry_count += section->count;
    wal->stats.payload_bytes += section->length;
}

void wal_commit_entries(struct wal *wal, uint64_t first_index, uint32_t count, uint32_t used,
                        uint32_t crc, uint64_t commit)
{
    RR_ASSERT(wal->reservation.size >= used);
    RR_ASSERT(count > 0 && used >= 2 * count);
    RR_ASSERT(first_index > 0);
    RR_ASSERT_SLOW(crc32c(0, filling_end(wal) + sizeof(struct wal_section), used) == crc);
    struct wal_section section = {
        .kind = WAL_SECTION_ENTRIES,
        .length = used,
        .group = wal->reservation.group,
        .first_index = first_index,
        .commit = commit,
        .count = count,
    };
    wal->reservation.size = 0;
    add_entries(wal, &section, crc);
}

void wal_rollback_entries(struct wal *wal)
{
    RR_ASSERT(wal->reservation.size > 0);
    wal->reservation.size = 0;
    wal_live_unpromise(&wal->live);
}

uint32_t wal_run_bytes_max(const struct wal *wal)
{
    uint32_t overhead = sizeof(struct wal_header) + sizeof(struct wal_section);
    return (wal->options.write_bytes_max - overhead) & ~7u;
}

/* ---- entries by copy ----------------------------------------------------------------- */

/* Copies `count` entries of `size` encoded bytes to `to`. Entries that lie encoded one behind the
 * other go in one piece. Returns their CRC. */
static uint32_t copy_entries(uint8_t *to, struct rr_block *block, const struct rr_entry *entries,
                             uint32_t count, struct rr_entry *staged)
{
    uint32_t crc = 0;
    for (uint32_t i = 0; i < count;) {
        if (RR_UNLIKELY(entries[i].wire_size == 0)) {
            to = rr_entry_encode(&entries[i], to, &crc, &staged[i]);
            staged[i++].block = block;
            continue;
        }
        const uint8_t *from = rr_entry_wire(&entries[i]);
        const uint8_t *end = from;
        uint32_t first = i;
        while (i < count && entries[i].wire_size > 0 && rr_entry_wire(&entries[i]) == end)
            end += entries[i++].wire_size;
        crc = crc32c_copy(crc, to, from, (size_t)(end - from));
        for (uint32_t j = first; j < i; j++) {
            const uint8_t *data = to + (entries[j].data - from);
            staged[j] = entries[j];
            staged[j].data = data;
            staged[j].block = block;
        }
        to += end - from;
    }
    return crc;
}

/* How many of the first entries go below `room` bytes (one at least), and their size. */
static uint32_t fit_entries(const struct rr_entry *entries, uint32_t count, uint64_t room,
                            uint64_t *size)
{
    uint32_t n = 0;
    *size = 0;
    while (n < count) {
        uint64_t next = rr_entry_wire_size(&entries[n]);
        if (n > 0 && *size + next > room)
            break;
        *size += next;
        n++;
    }
    return n;
}

/* Room for a body in the filling write as it is, or, if not even the first entry fits, in the next
 * one. */
static uint64_t body_room(const struct wal *wal, uint64_t first_size)
{
    const struct wal_write *write = wal->filling;
    uint64_t room = wal->options.write_bytes_max - sizeof(struct wal_header);
    if (write && write->cap - write->used >= wal_section_size(first_size))
        room = write->cap - write->used;
    return (room & ~(uint64_t)7) - sizeof(struct wal_section);
}

/* The longest prefix of a run that goes into one write. */
static int append_some(struct wal *wal, uint64_t group, uint64_t commit,
                       const struct rr_entry *entries, uint32_t *count, struct rr_entry *staged)
{
    uint64_t size;
    uint64_t room = body_room(wal, rr_entry_wire_size(&entries[0]));
    *count = fit_entries(entries, *count, room, &size);
    if (RR_UNLIKELY(size > UINT32_MAX / 2))
        return RR_E_TOO_LARGE;
    struct wal_section section = {
        .kind = WAL_SECTION_ENTRIES,
        .length = (uint32_t)size,
        .group = group,
        .first_index = entries[0].index,
        .commit = commit,
        .count = *count,
    };
    uint8_t *at;
    int err = begin_section(wal, &section, &at);
    if (RR_UNLIKELY(err))
        return err;
    uint32_t crc = copy_entries(at, &wal->filling->block->base, entries, *count, staged);
    add_entries(wal, &section, crc);
    return 0;
}

int wal_append_entries(struct wal *wal, uint64_t group, const struct rr_entry *entries,
                       uint32_t count, uint64_t commit, struct rr_entry *staged)
{
    RR_ASSERT(count > 0);
    RR_ASSERT(entries[count - 1].index - entries[0].index == count - 1);
    while (count > 0) {
        uint32_t done = count;
        int err = append_some(wal, group, commit, entries, &done, staged);
        if (RR_UNLIKELY(err))
            return err;
        entries += done;
        staged += done;
        count -= done;
    }
    return 0;
}

int wal_rewrite_tail(struct wal *wal, uint64_t group, const struct rr_entry *entries,
                     uint32_t count, uint64_t commit, struct rr_entry *staged)
{
    RR_ASSERT(count > 0);
    uint64_t size;
    if (fit_entries(entries, count, wal_tail_bytes_max(wal), &size) < count ||
        size > wal_tail_bytes_max(wal))
        return RR_E_TOO_LARGE;
    /* One section, whatever the cut point: in two, the first would truncate what only the second
     * brings back. */
    int err = make_room(wal, wal_section_size(size));
    if (err)
        return err;
    return append_some(wal, group, commit, entries, &count, staged);
}
