/* SPDX-License-Identifier: Apache-2.0
 *
 * See wal_format.h. Everything here takes bytes as they come from a disk and trusts none of them.
 */
#include "io/wal_format.h"

#include "proto/codec.h"
#include "proto/crc32c.h"

#include <stdio.h>
#include <string.h>

uint32_t wal_seed(uint64_t instance_id)
{
    return crc32c(0, &instance_id, sizeof(instance_id));
}

static uint32_t header_crc(const struct wal_header *header, uint32_t seed)
{
    struct wal_header copy = *header;
    copy.header_crc = 0;
    return crc32c(seed, &copy, sizeof(copy));
}

void wal_header_seal(struct wal_header *header, uint32_t seed)
{
    header->header_crc = header_crc(header, seed);
}

enum wal_header_verdict wal_header_check(const uint8_t *bytes, uint32_t seed,
                                         struct wal_header *header)
{
    memcpy(header, bytes, sizeof(*header));
    if (header->magic != WAL_MAGIC || header->header_crc != header_crc(header, seed))
        return WAL_HEADER_INVALID;
    if (header->format != WAL_FORMAT)
        return WAL_HEADER_FOREIGN;
    bool sane = ((uint32_t)1 << (header->block_shift & 31)) >= WAL_BLOCK_MIN &&
                header->block_shift <= WAL_BLOCK_SHIFT_MAX && header->flags <= WAL_WRITE_OPEN &&
                header->epoch > 0 && header->durable_seq < header->seq &&
                header->length >= sizeof(struct wal_section) && header->length % 8 == 0 &&
                header->section_count > 0;
    return sane ? WAL_HEADER_VALID : WAL_HEADER_INVALID;
}

bool wal_header_follows(const struct wal_header *previous, const struct wal_header *next)
{
    uint64_t boot = previous->boot + (next->flags & WAL_WRITE_OPEN ? 1 : 0);
    return next->seq == previous->seq + 1 && next->boot == boot &&
           (next->epoch == previous->epoch || next->epoch == previous->epoch + 1);
}

bool wal_payload_check(const struct wal_header *header, const uint8_t *payload)
{
    return crc32c(0, payload, header->length) == header->payload_crc;
}

struct wal_section_walk wal_sections(const struct wal_header *header, const uint8_t *payload)
{
    return (struct wal_section_walk){
        .at = payload, .end = payload + header->length, .left = header->section_count};
}

static int section_check(const struct wal_section *section)
{
    switch (section->kind) {
    case WAL_SECTION_ENTRIES: /* an element takes two bytes at least */
    case WAL_SECTION_MOVED:
        return section->count > 0 && section->first_index > 0 &&
                       section->length / 2 >= section->count &&
                       section->first_index + section->count > section->first_index
                   ? 0
                   : RR_E_CORRUPT;
    case WAL_SECTION_STATE:
        return section->length >= sizeof(struct wal_state_body) ? 0 : RR_E_CORRUPT;
    case WAL_SECTION_PEER:
        return section->length == sizeof(struct wal_peer) ? 0 : RR_E_CORRUPT;
    case WAL_SECTION_OPEN:
        return section->length == sizeof(struct wal_open_body) ? 0 : RR_E_CORRUPT;
    case WAL_SECTION_MARK:
    case WAL_SECTION_GONE:
        return section->length == 0 ? 0 : RR_E_CORRUPT;
    default:
        return RR_E_VERSION;
    }
}

bool wal_section_next(struct wal_section_walk *walk)
{
    if (walk->failed)
        return false;
    uint64_t room = (uint64_t)(walk->end - walk->at);
    if (walk->left == 0) {
        walk->failed = room == 0 ? 0 : RR_E_CORRUPT;
        return false;
    }
    if (room < sizeof(walk->section)) {
        walk->failed = RR_E_CORRUPT;
        return false;
    }
    memcpy(&walk->section, walk->at, sizeof(walk->section));
    uint64_t size = wal_section_size(walk->section.length);
    walk->failed = size > room ? RR_E_CORRUPT : section_check(&walk->section);
    if (walk->failed)
        return false;
    walk->body = walk->at + sizeof(walk->section);
    walk->at += size;
    walk->left--;
    return true;
}

uint64_t wal_state_size(const struct wal_state *state)
{
    return sizeof(struct wal_state_body) + rr_snapshot_metadata_size(&state->metadata) +
           (state->has_snapshot_data ? state->snapshot_size : 0) + state->group_data_size;
}

static uint32_t where_snapshot_is(const struct wal_state *state)
{
    RR_ASSERT(!state->has_snapshot_data || !state->has_snapshot_file);
    if (state->has_snapshot_file)
        return WAL_STATE_SNAPSHOT_FILE;
    return state->has_snapshot_data ? WAL_STATE_INLINE_SNAPSHOT : WAL_STATE_NO_SNAPSHOT;
}

void wal_state_encode(const struct wal_state *state, uint8_t *body)
{
    struct wal_state_body fixed = {
        .term = state->hard_state.term,
        .vote = state->hard_state.vote,
        .commit = state->hard_state.commit,
        .first_index = state->first_index,
        .first_prev_term = state->first_prev_term,
        .last_index = state->last_index,
        .last_term = state->last_term,
        .metadata_size = (uint32_t)rr_snapshot_metadata_size(&state->metadata),
        .snapshot_size = state->has_snapshot_data ? state->snapshot_size : 0,
        .has_snapshot = where_snapshot_is(state),
        .group_data_size = state->group_data_size,
    };
    memcpy(body, &fixed, sizeof(fixed));
    uint8_t *at = rr_snapshot_metadata_encode(&state->metadata, body + sizeof(fixed));
    RR_ASSERT(at == body + sizeof(fixed) + fixed.metadata_size);
    if (fixed.snapshot_size > 0)
        memcpy(at, state->snapshot_data, fixed.snapshot_size);
    if (fixed.group_data_size > 0)
        memcpy(at + fixed.snapshot_size, state->group_data, fixed.group_data_size);
}

int wal_state_decode(const struct wal_section *section, const uint8_t *body, void *ids,
                     size_t ids_size, struct wal_state *state)
{
    struct wal_state_body fixed;
    RR_ASSERT(section->kind == WAL_SECTION_STATE);
    RR_ASSERT(section->length >= sizeof(fixed));
    memcpy(&fixed, body, sizeof(fixed));
    uint64_t size =
        sizeof(fixed) + (uint64_t)fixed.metadata_size + fixed.snapshot_size + fixed.group_data_size;
    if (size != section->length || fixed.has_snapshot > WAL_STATE_SNAPSHOT_FILE ||
        (fixed.snapshot_size > 0 && fixed.has_snapshot != WAL_STATE_INLINE_SNAPSHOT) ||
        fixed.snapshot_size > WAL_INLINE_SNAPSHOT_MAX ||
        fixed.group_data_size > WAL_GROUP_DATA_MAX || fixed.first_index == 0 ||
        fixed.last_index + 1 < fixed.first_index)
        return RR_E_CORRUPT;
    *state = (struct wal_state){
        .group = section->group,
        .hard_state = {.term = fixed.term, .vote = fixed.vote, .commit = fixed.commit},
        .first_index = fixed.first_index,
        .first_prev_term = fixed.first_prev_term,
        .last_index = fixed.last_index,
        .last_term = fixed.last_term,
        .snapshot_data = body + sizeof(fixed) + fixed.metadata_size,
        .snapshot_size = fixed.snapshot_size,
        .has_snapshot_data = fixed.has_snapshot == WAL_STATE_INLINE_SNAPSHOT,
        .has_snapshot_file = fixed.has_snapshot == WAL_STATE_SNAPSHOT_FILE,
        .group_data = body + size - fixed.group_data_size,
        .group_data_size = fixed.group_data_size,
    };
    struct codec_scratch scratch = {.bytes = ids, .cap = ids_size};
    int err = rr_snapshot_metadata_decode(body + sizeof(fixed), fixed.metadata_size, &scratch,
                                          &state->metadata);
    return err == RR_E_MALFORMED ? RR_E_CORRUPT : err;
}

bool wal_run_cut(const uint8_t *bytes, uint32_t size, uint32_t count, uint32_t *cut_size)
{
    const uint8_t *at = bytes;
    const uint8_t *end = bytes + size;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t body = 0;
        if (at == end || *at != CODEC_ENTRY_TAG)
            return false;
        at = varint_get(at + 1, end, &body);
        if (!at || body > (uint64_t)(end - at))
            return false;
        at += body;
    }
    *cut_size = (uint32_t)(at - bytes);
    return true;
}

void wal_segment_name(char name[WAL_NAME_SIZE], uint64_t number)
{
    RR_ASSERT(number > 0);
    snprintf(name, WAL_NAME_SIZE, "wal-%016llx", (unsigned long long)number);
}

uint64_t wal_segment_number(const char *name)
{
    unsigned long long number = 0;
    char again[WAL_NAME_SIZE];
    if (sscanf(name, "wal-%16llx", &number) != 1 || number == 0)
        return 0;
    wal_segment_name(again, number);
    return strcmp(name, again) == 0 ? number : 0;
}
