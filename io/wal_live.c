/* SPDX-License-Identifier: Apache-2.0
 *
 * See wal_live.h. Work is per section and per segment, never per entry; memory is asked for only
 * when a group is first seen or more holds exist than ever before.
 */
#include "io/wal_live.h"

#include <stdlib.h>
#include <string.h>

#define HOLDS_PER_SLAB        255u
#define REWRITE_SPAN_MIN      4u  /* fewer live segments are not worth rewriting anything */
#define REWRITE_HELD_FRACTION 16u /* a segment is held by little: by less than a 16th of it */
/* A group's entries are moved, however many, when a quarter of the log is dead at least: so a byte
 * that is logged makes three more be written at most, and a log full of what is live rests. */
#define MOVE_HELD_OF  4u
#define MOVE_HELD_MAX 3u

struct wal_slab {
    struct wal_slab *next;
    struct wal_hold holds[HOLDS_PER_SLAB];
};

int wal_live_init(struct wal_live *live, struct wal_segments *segments)
{
    *live = (struct wal_live){.segments = segments, .slot_count = 16};
    live->slots = calloc(live->slot_count, sizeof(live->slots[0]));
    wal_index_pool_init(&live->places, segments->segment_bytes);
    return live->slots ? 0 : RR_E_NO_MEMORY;
}

void wal_live_fini(struct wal_live *live)
{
    while (live->slabs) {
        struct wal_slab *slab = live->slabs;
        live->slabs = slab->next;
        free(slab);
    }
    wal_index_pool_fini(&live->places);
    free(live->groups);
    free(live->slots);
    free(live->peers);
}

/* ---- groups -------------------------------------------------------------------------- */

static uint32_t slot_of(const struct wal_live *live, uint64_t group)
{
    uint32_t mask = live->slot_count - 1;
    uint32_t slot = (uint32_t)((group * 0x9e3779b97f4a7c15u) >> 32) & mask;
    while (live->slots[slot] != 0 && live->groups[live->slots[slot] - 1].id != group)
        slot = (slot + 1) & mask;
    return slot;
}

uint32_t wal_live_find(const struct wal_live *live, uint64_t group)
{
    return live->slots[slot_of(live, group)] - 1; /* 0 - 1: none */
}

static int grow_slots(struct wal_live *live)
{
    uint32_t *slots = calloc((size_t)live->slot_count * 2, sizeof(slots[0]));
    if (!slots)
        return RR_E_NO_MEMORY;
    free(live->slots);
    live->slots = slots;
    live->slot_count *= 2;
    for (uint32_t i = 0; i < live->group_count; i++)
        live->slots[slot_of(live, live->groups[i].id)] = i + 1;
    return 0;
}

static RR_COLD int add_group(struct wal_live *live, uint64_t id)
{
    if (live->group_count == live->group_cap) {
        uint32_t cap = live->group_cap ? live->group_cap * 2 : 4;
        struct wal_group *groups = realloc(live->groups, cap * sizeof(groups[0]));
        if (!groups)
            return RR_E_NO_MEMORY;
        live->groups = groups;
        live->group_cap = cap;
    }
    if ((live->group_count + 1) * 2 > live->slot_count && grow_slots(live) != 0)
        return RR_E_NO_MEMORY;
    live->slots[slot_of(live, id)] = live->group_count + 1;
    live->groups[live->group_count++] = (struct wal_group){.id = id};
    return 0;
}

static RR_COLD int add_slab(struct wal_live *live)
{
    struct wal_slab *slab = malloc(sizeof(*slab));
    if (!slab)
        return RR_E_NO_MEMORY;
    slab->next = live->slabs;
    live->slabs = slab;
    for (uint32_t i = 0; i < HOLDS_PER_SLAB; i++) {
        slab->holds[i].next = live->idle;
        live->idle = &slab->holds[i];
    }
    live->idle_count += HOLDS_PER_SLAB;
    return 0;
}

static uint32_t find_peer(const struct wal_live *live, uint64_t node)
{
    uint32_t i = 0;
    while (i < live->peer_count && live->peers[i].peer.node != node)
        i++;
    return i;
}

int wal_live_note_peer(struct wal_live *live, const struct wal_peer *peer)
{
    uint32_t i = find_peer(live, peer->node);
    if (i == live->peer_cap) {
        uint32_t cap = live->peer_cap ? live->peer_cap * 2 : 8;
        struct wal_live_peer *peers = realloc(live->peers, cap * sizeof(peers[0]));
        if (!peers)
            return RR_E_NO_MEMORY;
        live->peers = peers;
        live->peer_cap = cap;
    }
    if (i == live->peer_count)
        live->peers[live->peer_count++] = (struct wal_live_peer){.segment = 0};
    live->peers[i].peer = *peer;
    return 0;
}

int wal_live_promise(struct wal_live *live, const struct wal_section *section)
{
    int err = 0;
    bool has_group = section->kind == WAL_SECTION_ENTRIES || section->kind == WAL_SECTION_STATE ||
                     section->kind == WAL_SECTION_GONE || section->kind == WAL_SECTION_MOVED;
    if (has_group && RR_UNLIKELY(wal_live_find(live, section->group) == UINT32_MAX))
        err = add_group(live, section->group);
    if (!err && RR_UNLIKELY(live->idle_count <= live->promised))
        err = add_slab(live);
    if (!err)
        err = wal_index_promise(&live->places, live->promised + 1);
    if (!err)
        live->promised++;
    return err;
}

/* ---- accounting ---------------------------------------------------------------------- */

/* Releases what lies wholly below `first_index`. */
static void release_below(struct wal_live *live, struct wal_holds *holds, uint64_t first_index,
                          uint64_t seq)
{
    while (holds->oldest && holds->oldest->last_index < first_index) {
        struct wal_hold *hold = holds->oldest;
        holds->oldest = hold->next;
        if (!holds->oldest)
            holds->newest = NULL;
        wal_segment_release(live->segments, hold->segment, hold->bytes, seq);
        wal_index_clear(&live->places, &hold->index);
        hold->next = live->idle;
        live->idle = hold;
        live->idle_count++;
    }
}

static void drop_series(struct wal_live *live, struct wal_group *group, uint64_t seq)
{
    if (RR_LIKELY(group->moved_next == 0))
        return;
    release_below(live, &group->moved, UINT64_MAX, seq);
    group->moved_next = 0;
}

/* Nothing above last_index is left of what was accounted so far. */
static void truncate_holds(struct wal_live *live, struct wal_group *group, uint64_t last_index)
{
    const struct wal_holds *holds = &group->entries;
    if (RR_LIKELY(!holds->newest || holds->newest->last_index <= last_index))
        return;
    for (struct wal_hold *hold = holds->oldest; hold; hold = hold->next) {
        if (hold->last_index <= last_index)
            continue;
        hold->last_index = last_index;
        wal_index_truncate(&live->places, &hold->index, last_index);
    }
}

/* The hold on the newest segment, made if there is none. */
static struct wal_hold *hold_of(struct wal_live *live, struct wal_holds *holds, uint64_t segment)
{
    struct wal_hold *hold = holds->newest;
    if (RR_LIKELY(hold && hold->segment == segment))
        return hold;
    hold = live->idle;
    RR_ASSERT(hold && live->idle_count > 0);
    live->idle = hold->next;
    live->idle_count--;
    *hold = (struct wal_hold){.segment = segment};
    wal_segment_hold(live->segments, segment, 0);
    if (holds->newest)
        holds->newest->next = hold;
    else
        holds->oldest = hold;
    holds->newest = hold;
    return hold;
}

/* The section's entries lie at `place`, and `cuts`: replace others that do. */
static void hold_section(struct wal_live *live, struct wal_holds *holds,
                         const struct wal_section *section, const struct wal_place *place,
                         bool cuts)
{
    uint64_t bytes = wal_section_size(section->length);
    struct wal_hold *hold = hold_of(live, holds, place->segment);
    hold->last_index = section->first_index + section->count - 1;
    hold->bytes += bytes;
    wal_segment_grow_hold(live->segments, place->segment, bytes);
    struct wal_index_place at = {section->first_index, place->offset, place->seq};
    wal_index_add(&live->places, &hold->index, &at, bytes, cuts);
}

static void account_entries(struct wal_live *live, const struct wal_section *section,
                            const struct wal_place *place)
{
    struct wal_group *group = &live->groups[wal_live_find(live, section->group)];
    const struct wal_hold *newest = group->entries.newest;
    bool cuts = newest && newest->last_index >= section->first_index;
    drop_series(live, group, place->seq);
    truncate_holds(live, group, section->first_index - 1);
    release_below(live, &group->entries, group->first_index, place->seq);
    if (section->first_index + section->count > group->first_index)
        hold_section(live, &group->entries, section, place, cuts);
}

/* Recovery may meet a series whose first pieces were compacted: it begins with what is there. */
static void account_moved(struct wal_live *live, const struct wal_section *section,
                          const struct wal_place *place)
{
    struct wal_group *group = &live->groups[wal_live_find(live, section->group)];
    if (section->part & WAL_MOVED_FIRST || section->first_index != group->moved_next)
        drop_series(live, group, place->seq);
    hold_section(live, &group->moved, section, place, false);
    group->moved_next = section->first_index + section->count;
    if (!(section->part & WAL_MOVED_LAST))
        return;
    release_below(live, &group->entries, UINT64_MAX, place->seq);
    group->entries = group->moved;
    group->moved = (struct wal_holds){.oldest = NULL};
    group->moved_seq = place->seq;
    group->moved_next = 0;
    release_below(live, &group->entries, group->first_index, place->seq);
}

void wal_live_drop_series(struct wal_live *live)
{
    for (uint32_t i = 0; i < live->group_count; i++)
        drop_series(live, &live->groups[i], 0);
}

static void account_state(struct wal_live *live, const struct wal_section *section,
                          const uint8_t *body, const struct wal_place *place)
{
    struct wal_group *group = &live->groups[wal_live_find(live, section->group)];
    struct wal_state_body state;
    memcpy(&state, body, sizeof(state));
    uint64_t bytes = wal_section_size(section->length);
    wal_segment_hold(live->segments, place->segment, bytes);
    if (group->state_segment != 0)
        wal_segment_release(live->segments, group->state_segment, group->state_bytes, place->seq);
    group->state_segment = place->segment;
    group->state_seq = place->seq;
    group->state_bytes = bytes;
    group->first_index = state.first_index;
    drop_series(live, group, place->seq);
    truncate_holds(live, group, state.last_index);
    release_below(live, &group->entries, group->first_index, place->seq);
}

/* It needs no hold of its own: what it kills lies in its segment or in older ones, and segments are
 * recycled from the oldest on. */
static void account_gone(struct wal_live *live, const struct wal_section *section,
                         const struct wal_place *place)
{
    struct wal_group *group = &live->groups[wal_live_find(live, section->group)];
    if (group->state_segment != 0)
        wal_segment_release(live->segments, group->state_segment, group->state_bytes, place->seq);
    group->state_segment = group->state_bytes = group->state_seq = 0;
    group->first_index = 0;
    drop_series(live, group, place->seq);
    release_below(live, &group->entries, UINT64_MAX, place->seq);
}

static void account_peer(struct wal_live *live, const uint8_t *body, const struct wal_place *place)
{
    struct wal_peer peer;
    memcpy(&peer, body, sizeof(peer));
    uint32_t i = find_peer(live, peer.node);
    RR_ASSERT(i < live->peer_count);
    uint64_t bytes = wal_section_size(sizeof(peer));
    wal_segment_hold(live->segments, place->segment, bytes);
    if (live->peers[i].segment != 0)
        wal_segment_release(live->segments, live->peers[i].segment, bytes, place->seq);
    live->peers[i].segment = place->segment;
    live->is_moving_peer = false;
}

void wal_live_account(struct wal_live *live, const struct wal_section *section, const uint8_t *body,
                      const struct wal_place *place)
{
    RR_ASSERT(live->promised > 0);
    live->promised--;
    switch (section->kind) {
    case WAL_SECTION_ENTRIES:
        account_entries(live, section, place);
        break;
    case WAL_SECTION_MOVED:
        account_moved(live, section, place);
        break;
    case WAL_SECTION_STATE:
        account_state(live, section, body, place);
        break;
    case WAL_SECTION_GONE:
        account_gone(live, section, place);
        break;
    case WAL_SECTION_PEER:
        account_peer(live, body, place);
        break;
    default: /* a mark and an open section matter only by their write's header */
        break;
    }
}

/* ---- places of entries ---------------------------------------------------------------- */

struct wal_place wal_live_find_entry(const struct wal_live *live, uint64_t group, uint64_t index,
                                     uint64_t *first_index, uint64_t *last_index,
                                     uint64_t *durable_seq)
{
    uint32_t place = wal_live_find(live, group);
    RR_ASSERT(place != UINT32_MAX && index >= live->groups[place].first_index);
    const struct wal_hold *hold = live->groups[place].entries.oldest;
    while (hold && hold->last_index < index)
        hold = hold->next;
    RR_ASSERT(hold); /* it is live, so a segment is held for it */
    struct wal_index_place found = wal_index_find(&hold->index, index, last_index);
    *first_index = found.first_index;
    *last_index = rr_min_u64(*last_index, hold->last_index);
    *durable_seq = rr_max_u64(found.seq, live->groups[place].moved_seq);
    return (struct wal_place){hold->segment, found.offset, found.seq};
}

/* ---- policies ------------------------------------------------------------------------ */

const struct wal_peer *wal_live_peer_to_move(struct wal_live *live)
{
    struct wal_segments *segments = live->segments;
    if (RR_LIKELY(segments->oldest == segments->active || live->is_moving_peer))
        return NULL;
    const struct wal_segment *oldest = wal_segment_at(segments, segments->oldest);
    if (RR_LIKELY(oldest->holders == 0 || oldest->holders > live->peer_count))
        return NULL;
    const struct wal_peer *found = NULL;
    uint32_t there = 0;
    for (uint32_t i = 0; i < live->peer_count; i++) {
        if (live->peers[i].segment != segments->oldest)
            continue;
        found = &live->peers[i].peer;
        there++;
    }
    if (there != oldest->holders)
        return NULL;
    live->is_moving_peer = true;
    return found;
}

bool wal_live_wants_rewrite(const struct wal_live *live, uint64_t *group)
{
    struct wal_segments *segments = live->segments;
    uint64_t span = segments->active - segments->oldest + 1;
    if (RR_LIKELY(span < REWRITE_SPAN_MIN))
        return false;
    const struct wal_segment *oldest = wal_segment_at(segments, segments->oldest);
    bool is_held_by_little = oldest->held_bytes < segments->segment_bytes / REWRITE_HELD_FRACTION;
    if (oldest->holders == 0 || (span <= segments->count_max / 2 && !is_held_by_little))
        return false;
    for (uint32_t i = 0; i < live->group_count; i++) {
        const struct wal_group *candidate = &live->groups[i];
        const struct wal_hold *oldest_hold = candidate->entries.oldest;
        bool holds = oldest_hold && oldest_hold->segment == segments->oldest;
        if (!holds && candidate->state_segment != segments->oldest)
            continue;
        if (candidate->staged_seq > candidate->state_seq)
            return false; /* it is being written again */
        *group = candidate->id;
        return true;
    }
    return false;
}

uint64_t wal_live_held_bytes(const struct wal_live *live, uint64_t group)
{
    uint32_t place = wal_live_find(live, group);
    uint64_t bytes = 0;
    if (place == UINT32_MAX)
        return 0;
    for (const struct wal_hold *hold = live->groups[place].entries.oldest; hold; hold = hold->next)
        bytes += hold->bytes;
    return bytes;
}

bool wal_live_needs_room(const struct wal_live *live)
{
    const struct wal_segments *segments = live->segments;
    uint64_t whole = segments->active - segments->oldest;
    uint64_t bytes = whole * segments->segment_bytes + segments->offset;
    return whole >= segments->count_max / 2 &&
           segments->held_bytes <= bytes / MOVE_HELD_OF * MOVE_HELD_MAX;
}

static uint32_t check_holds(const struct wal_live *live, const struct wal_holds *holds)
{
    const struct wal_segments *segments = live->segments;
    uint32_t count = 0;
    for (const struct wal_hold *hold = holds->oldest; hold; hold = hold->next) {
        RR_ASSERT(hold->segment >= segments->oldest && hold->segment <= segments->active);
        RR_ASSERT(!hold->next || hold->segment < hold->next->segment);
        RR_ASSERT(!hold->next || hold->last_index <= hold->next->last_index);
        RR_ASSERT(hold->next || hold == holds->newest);
        wal_index_check(&hold->index);
        count++;
    }
    return count;
}

void wal_live_check(const struct wal_live *live)
{
    struct wal_segments *segments = live->segments;
    uint32_t holders = 0;
    uint32_t held = 0;
    for (uint64_t number = segments->oldest; number <= segments->newest; number++)
        holders += wal_segment_at(segments, number)->holders;
    for (uint32_t i = 0; i < live->peer_count; i++)
        held += live->peers[i].segment != 0;
    for (uint32_t i = 0; i < live->group_count; i++) {
        const struct wal_group *group = &live->groups[i];
        held += group->state_segment != 0;
        held += check_holds(live, &group->entries) + check_holds(live, &group->moved);
        RR_ASSERT((group->moved_next == 0) == (group->moved.oldest == NULL));
    }
    RR_ASSERT(held == holders);
    RR_ASSERT(live->idle_count >= live->promised);
    RR_ASSERT(live->places.idle_count >= live->promised);
}
