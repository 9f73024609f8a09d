/* SPDX-License-Identifier: Apache-2.0
 *
 * Moving a group's entries to the log's end, all of them, in pieces, so that old segments can be
 * recycled although nobody can take a snapshot: a group that is not open has no state machine, and
 * a tail that is not committed is in none. One group at a time, one piece at a time:
 *
 *     IDLE --start--> WAITING --durable, and nothing is left--> IDLE
 *                     ^  |  |
 *     a piece is      |  |  +--durable--> READING --a run is here--+
 *     staged          |  |                                         v
 *                     |  +--durable, and more of the run is left-> HOLDING
 *                     +---------------------------------------------+
 *
 *     any --another section of the group, damage, poison--> IDLE
 *
 * WAITING waits for the piece before (at first: for the state that was staged with it) to be
 * durable, so that a piece costs each of the others' writes no more than its 64 KiB; READING for
 * wal_read.c, which checks every byte again; HOLDING for room on the disk.
 *
 * A crash, or whatever else is staged of the group, loses nothing: pieces count when the last of
 * them is there (wal_format.h), and until then what they were made of is live.
 */
#include "io/wal_impl.h"

#define PIECE_BYTES (64u * 1024) /* a write of 64 KiB takes a tenth longer than one of 4 */

bool wal_wants_move(const struct wal *wal, uint64_t group)
{
    if (wal->move.state != WAL_MOVE_IDLE || wal->poisoned || wal->is_closing ||
        wal->options.forbids_moved)
        return false;
    return wal_live_held_bytes(&wal->live, group) <= wal_tail_bytes_max(wal) ||
           wal_live_needs_room(&wal->live);
}

void wal_allow_moved(struct wal *wal)
{
    wal->options.forbids_moved = false;
}

void wal_move_start(struct wal *wal, uint64_t group)
{
    RR_ASSERT(wal->move.state == WAL_MOVE_IDLE);
    wal->move = (struct wal_move){
        .state = WAL_MOVE_WAITING, .group = group, .staged_seq = wal_staged_seq(wal)};
}

void wal_move_cancel(struct wal *wal)
{
    struct wal_move *move = &wal->move;
    if (move->state == WAL_MOVE_READING)
        wal_read_forget(wal, &move->read);
    if (move->block)
        rr_block_put(move->block, 1);
    *move = (struct wal_move){.state = WAL_MOVE_IDLE};
}

/* ---- reading ------------------------------------------------------------------------- */

static void read_done(struct wal_read *read)
{
    struct wal_move *move = RR_CONTAINER_OF(read, struct wal_move, read);
    RR_ASSERT(move->state == WAL_MOVE_READING);
    move->state = WAL_MOVE_HOLDING;
    move->block = read->err ? NULL : read->block;
    move->bytes = read->bytes;
    move->size = read->size;
    move->bytes_index = read->first_index;
}

/* Nothing of the group was staged since the state before the first piece, so what is accounted is
 * what it has. */
static void read_next(struct wal *wal)
{
    struct wal_move *move = &wal->move;
    const struct wal_group *group = &wal->live.groups[wal_live_find(&wal->live, move->group)];
    RR_ASSERT(group->is_stated && group->state_seq == group->staged_seq);
    if (move->next_index == 0)
        move->next_index = group->first_index;
    if (move->next_index > group->last_index) {
        wal_move_cancel(wal); /* that was all */
        return;
    }
    move->last_index = group->last_index;
    move->state = WAL_MOVE_READING;
    move->read = (struct wal_read){.group = move->group,
                                   .index = move->next_index,
                                   .last_index = move->last_index,
                                   .done = read_done};
    wal_read_start(wal, &move->read);
}

static RR_COLD void give_up(struct wal *wal)
{
    struct wal_move *move = &wal->move;
    uint64_t group = move->group;
    struct rr_error error = move->read.error;
    int err = move->read.err;
    wal_move_cancel(wal);
    if (err == RR_E_CORRUPT && wal->options.on_damage)
        wal->options.on_damage(wal->options.ctx, group, &error);
}

/* ---- pieces -------------------------------------------------------------------------- */

/* As many elements from `bytes` on as go below `room` bytes, one at least. 0: these are none. */
static uint32_t fit_elements(const uint8_t *bytes, uint32_t size, uint32_t room, uint32_t *taken)
{
    uint32_t count = 0, one;
    *taken = 0;
    while (*taken < size) {
        if (!wal_run_cut(bytes + *taken, size - *taken, 1, &one))
            return 0;
        if (count > 0 && *taken + one > room)
            break;
        *taken += one;
        count++;
    }
    return count;
}

/* The run may begin before the entry that is next. */
static bool skip_old(struct wal_move *move)
{
    uint32_t size = 0;
    uint64_t count = move->next_index - move->bytes_index;
    if (!wal_run_cut(move->bytes, move->size, (uint32_t)count, &size))
        return false;
    move->bytes += size;
    move->size -= size;
    move->bytes_index = move->next_index;
    return true;
}

static int stage_piece(struct wal *wal)
{
    struct wal_move *move = &wal->move;
    const struct wal_group *group = &wal->live.groups[wal_live_find(&wal->live, move->group)];
    uint32_t size, room = (uint32_t)rr_min_u64(PIECE_BYTES, wal_run_bytes_max(wal));
    uint32_t count = skip_old(move) ? fit_elements(move->bytes, move->size, room, &size) : 0;
    if (count == 0)
        return rr_fail(&move->read.error, RR_E_CORRUPT,
                       "%.300s: group %llu: entry %llu, which was durable before, is none; replace "
                       "this node by a new one",
                       wal->options.dir, (unsigned long long)move->group,
                       (unsigned long long)move->next_index);
    struct wal_section section = {
        .kind = WAL_SECTION_MOVED,
        .length = size,
        .group = move->group,
        .first_index = move->next_index,
        .count = count,
        .part = (move->next_index == group->first_index ? WAL_MOVED_FIRST : 0) |
                (move->next_index + count > move->last_index ? WAL_MOVED_LAST : 0),
    };
    int err = wal_stage_moved(wal, &section, move->bytes);
    if (err)
        return err; /* another time */
    wal->stats.moved_bytes += size;
    move->staged_seq = wal_staged_seq(wal);
    move->next_index += count;
    move->bytes_index = move->next_index;
    move->bytes += size;
    move->size -= size;
    move->state = WAL_MOVE_WAITING;
    return 0;
}

void wal_move_advance(struct wal *wal)
{
    struct wal_move *move = &wal->move;
    if (move->state == WAL_MOVE_WAITING && move->staged_seq <= wal->durable_seq) {
        if (move->size > 0)
            move->state = WAL_MOVE_HOLDING;
        else
            read_next(wal);
    }
    if (move->state != WAL_MOVE_HOLDING || wal->is_closing)
        return;
    if (move->read.err == 0 && wal_admits_entries(wal) == 0)
        move->read.err = stage_piece(wal);
    if (move->read.err != 0)
        give_up(wal);
    if (move->block && move->size == 0) {
        rr_block_put(move->block, 1);
        move->block = NULL;
    }
}
