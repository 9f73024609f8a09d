/* SPDX-License-Identifier: Apache-2.0
 *
 * Recovery, in two passes over the log: the first finds its end, the newest state of every group
 * and what is live; the second hands out the live entries, copied into log blocks. Then the tail is
 * made durable, whatever became of it before; the segments behind it are spares. Blocking.
 *
 * Failure path: whatever is refused leaves the directory as it was, so that a crash in recovery
 * only repeats it.
 */
#include "io/wal_impl.h"
#include "io/wal_scan.h"

#include "proto/crc32c.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What recovery knows of a group, beside wal->live's. */
struct recovered {
    uint8_t *state;             /* copy of the newest state's body; NULL: none seen */
    struct wal_section section; /* its header */
    uint64_t position;          /* which section of the log it was */
    uint64_t dead_position;     /* what came before this section is dead; 0: nothing */
    uint64_t series_position;   /* first piece of the newest series of moved entries … */
    uint64_t series_next;       /* … which continues with this entry; 0: there is none … */
    uint64_t moved_position; /* … and behind the last piece of the newest that counts; 0: none */
    uint64_t last_index;     /* of the log so far */
    uint64_t next_index;     /* second pass: the first entry not handed over yet */
    bool is_known;           /* last_index is */
};

struct recover {
    struct wal *wal;
    const struct wal_recovery *sink;
    struct rr_error *error;
    struct wal_scan scan;
    struct recovered *groups; /* in the order of wal->live.groups */
    uint32_t group_cap;
    uint64_t position;            /* sections seen in this pass */
    struct log_block *block;      /* entries are copied to its end; NULL: none yet */
    struct wal_scan_point proven; /* second pass: behind the last write that was proven durable */
};

int wal_find_segment_bytes(struct io *io, const char *dir, uint64_t *bytes, struct rr_error *error)
{
    uint64_t number;
    int err = wal_scan_lowest(io, dir, &number);
    if (err)
        return rr_fail(error, RR_E_IO, "%s: cannot be listed: %s", dir, strerror(-err));
    if (number == 0)
        return rr_fail(error, RR_E_CORRUPT,
                       "%s: a node lives here but its log has no segment; nothing was changed; "
                       "replace this node by a new one",
                       dir);
    char name[WAL_NAME_SIZE];
    char path[WAL_PATH_SIZE];
    wal_segment_name(name, number);
    if ((size_t)snprintf(path, sizeof(path), "%s/%s", dir, name) >= sizeof(path))
        return rr_fail(error, RR_E_INVALID, "%s: the path is too long", dir);
    int fd = io->ops->open(io, path, IO_O_READ_ONLY);
    int64_t size = fd < 0 ? fd : io->ops->file_size(io, fd);
    if (fd >= 0)
        io->ops->close(io, fd);
    if (size < 0)
        return rr_fail(error, RR_E_IO, "%s: cannot be opened: %s", path, strerror((int)-size));
    if (size < WAL_SEGMENT_BYTES_MIN || size % WAL_BLOCK_MIN != 0)
        return rr_fail(error, RR_E_CORRUPT,
                       "%s: at offset %lld: the log's oldest segment ends where none ends (write "
                       "0); nothing was changed; "
                       "replace this node by a new one",
                       path, (long long)size);
    *bytes = (uint64_t)size;
    return 0;
}

/* ---- first pass ---------------------------------------------------------------------- */

static int refuse(struct recover *recover, int err, const char *what)
{
    return wal_scan_refuse(&recover->scan, err, recover->scan.at, recover->scan.header.seq, what);
}

static struct recovered *recovered_at(struct recover *recover, uint64_t group)
{
    uint32_t place = wal_live_find(&recover->wal->live, group);
    RR_ASSERT(place < recover->group_cap);
    return &recover->groups[place];
}

/* Room beside wal->live's table of groups, which has just grown. */
static int grow_groups(struct recover *recover)
{
    uint32_t cap = recover->wal->live.group_cap;
    if (cap <= recover->group_cap)
        return 0;
    struct recovered *groups = realloc(recover->groups, cap * sizeof(groups[0]));
    if (!groups)
        return RR_E_NO_MEMORY;
    memset(groups + recover->group_cap, 0, (cap - recover->group_cap) * sizeof(groups[0]));
    recover->groups = groups;
    recover->group_cap = cap;
    return 0;
}

static int note_entries(struct recover *recover, const struct wal_section *section)
{
    struct recovered *group = recovered_at(recover, section->group);
    if (group->is_known && section->first_index > group->last_index + 1)
        return refuse(recover, RR_E_CORRUPT, "leaves a gap before its entries");
    group->last_index = section->first_index + section->count - 1;
    group->is_known = true;
    group->series_next = 0;
    return 0;
}

/* A series that counts is the group's log, and all before it is dead. */
static int note_moved(struct recover *recover, const struct wal_section *section)
{
    struct recovered *group = recovered_at(recover, section->group);
    if (section->part & WAL_MOVED_FIRST || section->first_index != group->series_next)
        group->series_position = recover->position;
    group->series_next = section->first_index + section->count;
    if (!(section->part & WAL_MOVED_LAST))
        return 0;
    uint64_t last_index = group->series_next - 1;
    if (group->is_known && last_index != group->last_index)
        return refuse(recover, RR_E_CORRUPT, "moves another log than the one before it");
    group->dead_position = group->series_position;
    group->moved_position = recover->position + 1;
    group->last_index = last_index;
    group->is_known = true;
    group->series_next = 0;
    return 0;
}

static int note_state(struct recover *recover, const struct wal_section *section,
                      const uint8_t *body)
{
    struct recovered *group = recovered_at(recover, section->group);
    struct wal_state_body fixed;
    memcpy(&fixed, body, sizeof(fixed));
    if (fixed.first_index == 0 || fixed.last_index + 1 < fixed.first_index)
        return refuse(recover, RR_E_CORRUPT, "has a state that makes no sense");
    if (group->is_known && fixed.last_index != group->last_index &&
        fixed.first_index != fixed.last_index + 1)
        return refuse(recover, RR_E_CORRUPT, "has a state that does not fit the entries before it");
    uint8_t *copy = realloc(group->state, section->length);
    if (!copy)
        return rr_fail(recover->error, RR_E_NO_MEMORY, "no memory for a group's state");
    memcpy(copy, body, section->length);
    group->state = copy;
    group->section = *section;
    group->position = recover->position;
    group->last_index = fixed.last_index;
    group->is_known = true;
    group->series_next = 0;
    return 0;
}

/* Whatever comes of the group later begins with a state. */
static void note_gone(struct recover *recover, const struct wal_section *section)
{
    struct recovered *group = recovered_at(recover, section->group);
    free(group->state);
    *group = (struct recovered){.dead_position = recover->position + 1};
}

static int note_section(struct recover *recover, const struct wal_section_walk *walk)
{
    struct wal *wal = recover->wal;
    int err = wal_live_promise(&wal->live, &walk->section);
    if (!err)
        err = grow_groups(recover);
    if (!err && walk->section.kind == WAL_SECTION_PEER) {
        struct wal_peer peer;
        memcpy(&peer, walk->body, sizeof(peer));
        err = wal_live_note_peer(&wal->live, &peer);
    }
    if (err)
        return rr_fail(recover->error, err, "no memory for what the log holds");
    if (walk->section.kind == WAL_SECTION_ENTRIES)
        err = note_entries(recover, &walk->section);
    else if (walk->section.kind == WAL_SECTION_MOVED)
        err = note_moved(recover, &walk->section);
    else if (walk->section.kind == WAL_SECTION_STATE)
        err = note_state(recover, &walk->section, walk->body);
    else if (walk->section.kind == WAL_SECTION_GONE)
        note_gone(recover, &walk->section);
    if (err)
        return err;
    const struct wal_scan *scan = &recover->scan;
    struct wal_place place = {scan->numbers[scan->at.file], scan->at.offset, scan->header.seq};
    wal_live_account(&wal->live, &walk->section, walk->body, &place);
    recover->position++;
    return 0;
}

static int note_write(struct recover *recover, const uint8_t *payload)
{
    struct wal_segments *segments = &recover->wal->segments;
    const struct wal_scan *scan = &recover->scan;
    segments->active = scan->numbers[scan->at.file];
    wal_segment_at(segments, segments->active)->last_seq = scan->header.seq;
    struct wal_section_walk walk = wal_sections(&scan->header, payload);
    while (wal_section_next(&walk)) {
        int err = note_section(recover, &walk);
        if (err)
            return err;
    }
    if (walk.failed)
        return refuse(recover, walk.failed,
                      walk.failed == RR_E_VERSION ? "has a section of another version"
                                                  : "has sections that make no sense");
    return 0;
}

static int find_end(struct recover *recover)
{
    const uint8_t *payload;
    int found;
    while ((found = wal_scan_next(&recover->scan, &payload)) > 0) {
        int err = note_write(recover, payload);
        if (err)
            return err;
    }
    return found < 0 ? found : wal_scan_judge(&recover->scan);
}

/* ---- handing over -------------------------------------------------------------------- */

static int refuse_group(struct recover *recover, uint64_t group, const char *what)
{
    return rr_fail(recover->error, RR_E_CORRUPT,
                   "%.300s: group %llu %s, up to write %llu; nothing was changed; replace this "
                   "node by a new one",
                   recover->wal->options.dir, (unsigned long long)group, what,
                   (unsigned long long)recover->scan.header.seq);
}

static int sink_error(struct recover *recover, int err)
{
    return err ? rr_fail(recover->error, err, "%.300s: what the log holds was refused: %s",
                         recover->wal->options.dir, rr_err_sentence(err))
               : 0;
}

static int hand_state(struct recover *recover, struct wal_group *group, struct recovered *recovered)
{
    if (!recovered->is_known) /* it is gone, or all that is left is of no use to anybody */
        return 0;
    if (!recovered->state)
        return refuse_group(recover, group->id, "has entries but no state");
    size_t ids_size = wal_state_ids_size(&recovered->section);
    void *ids = malloc(ids_size);
    if (!ids)
        return rr_fail(recover->error, RR_E_NO_MEMORY, "no memory for a group's state");
    struct wal_state state;
    int err = wal_state_decode(&recovered->section, recovered->state, ids, ids_size, &state);
    if (err) {
        err = refuse_group(recover, group->id, "has a state that makes no sense");
    } else {
        recovered->next_index = state.first_index;
        group->term = state.hard_state.term;
        group->vote = state.hard_state.vote;
        group->last_index = recovered->last_index;
        group->is_stated = true;
        err = sink_error(recover, recover->sink->on_state(recover->sink->ctx, &state));
    }
    free(ids);
    return err;
}

static int hand_states_and_peers(struct recover *recover)
{
    struct wal_live *live = &recover->wal->live;
    int err = 0;
    for (uint32_t i = 0; !err && i < live->group_count; i++)
        err = hand_state(recover, &live->groups[i], &recover->groups[i]);
    for (uint32_t i = 0; !err && i < live->peer_count; i++)
        err = sink_error(recover, recover->sink->on_peer(recover->sink->ctx, &live->peers[i].peer));
    return err;
}

/* A place of `size` bytes for a run; NULL: no memory. */
static uint8_t *run_place(struct recover *recover, uint32_t size)
{
    struct log_block *block = recover->block;
    if (!block || block->base.cap - block->used < size) {
        if (block)
            log_block_put(block);
        recover->block = block = log_block_take(recover->wal->pool, size);
    }
    return block ? block->base.bytes + block->used : NULL;
}

/* Entries [first_index, last_index] of a section. */
static int hand_entries(struct recover *recover, const struct wal_section_walk *walk,
                        uint32_t count)
{
    const struct wal_section *section = &walk->section;
    uint32_t size = section->length;
    if (!wal_run_cut(walk->body, section->length, count, &size) ||
        (count == section->count && size != section->length))
        return refuse(recover, RR_E_CORRUPT, "has entries that are none");
    uint8_t *at = run_place(recover, size);
    if (!at)
        return rr_fail(recover->error, RR_E_NO_MEMORY, "no memory for the log's entries");
    struct log_block *block = recover->block;
    RR_ASSERT(size <= block->base.cap - block->used);
    log_block_add_run(block, block->used, size, crc32c_copy(0, at, walk->body, size));
    block->used += size;
    return sink_error(recover, recover->sink->on_entries(recover->sink->ctx, section->group,
                                                         section->first_index, count,
                                                         section->commit, at, size, &block->base));
}

static int refuse_change(struct recover *recover)
{
    return rr_fail(recover->error, RR_E_IO, "%.300s: the log changes while it is read",
                   recover->wal->options.dir);
}

/* Leaves out what the group's newest state made dead. */
static int hand_section(struct recover *recover, const struct wal_section_walk *walk)
{
    const struct wal_section *section = &walk->section;
    struct recovered *group = recovered_at(recover, section->group);
    struct wal_state_body state;
    bool is_moved = section->kind == WAL_SECTION_MOVED;
    if (recover->position < group->dead_position ||
        (is_moved && recover->position >= group->moved_position))
        return 0;
    RR_ASSERT(group->state); /* or it was refused before this pass */
    RR_ASSERT(group->next_index > 0);
    memcpy(&state, group->state, sizeof(state));
    uint64_t last_index = section->first_index + section->count - 1;
    if (recover->position < group->position)
        last_index = rr_min_u64(last_index, state.last_index);
    if (last_index < section->first_index || last_index < state.first_index)
        return 0;
    /* Entries before these are gone: so later ones replace both, or the end of the pass finds the
     * gap. */
    if (section->first_index > group->next_index)
        return 0;
    group->next_index = last_index + 1;
    return hand_entries(recover, walk, (uint32_t)(last_index - section->first_index + 1));
}

static int hand_all_entries(struct recover *recover)
{
    struct wal *wal = recover->wal;
    uint64_t end_seq = recover->scan.header.seq;
    uint64_t proven_seq = recover->scan.header.durable_seq;
    const uint8_t *payload;
    int err = 0;
    recover->position = 0;
    wal_scan_rewind(&recover->scan, &recover->proven);
    while (!err && (err = wal_scan_next(&recover->scan, &payload)) > 0) {
        err = 0;
        if (recover->scan.header.seq <= proven_seq)
            recover->proven = wal_scan_point(&recover->scan);
        struct wal_section_walk walk = wal_sections(&recover->scan.header, payload);
        for (; !err && wal_section_next(&walk); recover->position++)
            if (walk.section.kind == WAL_SECTION_ENTRIES || walk.section.kind == WAL_SECTION_MOVED)
                err = hand_section(recover, &walk);
    }
    if (!err && recover->scan.header.seq != end_seq)
        err = refuse_change(recover);
    for (uint32_t i = 0; !err && i < wal->live.group_count; i++)
        if (recover->groups[i].state &&
            recover->groups[i].next_index != recover->groups[i].last_index + 1)
            err = refuse_group(recover, wal->live.groups[i].id, "lacks entries that it held");
    if (recover->block)
        log_block_put(recover->block);
    return err;
}

/* ---- taking over --------------------------------------------------------------------- */

static int fail_tail(struct recover *recover, int err)
{
    return rr_fail(recover->error, wal_error_of(err), "%s: the log's tail cannot be synced: %s",
                   recover->wal->options.dir, strerror(-err));
}

/* What was read may never have reached the disk: a cache's pages are marked clean after a failed
 * sync, a device may drop what a failed flush was to keep, and no later sync writes either again.
 * So the writes that no later header proves are written again before they count: the same bytes at
 * the same place. */
static int write_tail_again(struct recover *recover)
{
    struct wal_scan *scan = &recover->scan;
    struct io *io = recover->wal->io;
    uint64_t end_seq = scan->header.seq;
    unsigned flags = recover->wal->segments.is_direct ? IO_DSYNC : 0;
    const uint8_t *payload;
    wal_scan_rewind(scan, &recover->proven);
    while (scan->header.seq < end_seq) {
        int found = wal_scan_next(scan, &payload); /* checked again: it may have been reread */
        if (found <= 0)
            return found < 0 ? found : refuse_change(recover);
        uint64_t size = wal_padded_size(&scan->header);
        int fd = wal_segment_at(scan->segments, scan->numbers[scan->at.file])->fd;
        int64_t result = io->ops->pwrite(io, fd, payload - sizeof(scan->header), (size_t)size,
                                         scan->at.offset, flags);
        if (result != (int64_t)size)
            return fail_tail(recover, result < 0 ? (int)result : -EIO);
    }
    RR_ASSERT(scan->header.seq == end_seq);
    return 0;
}

static int take_over(struct recover *recover)
{
    struct wal *wal = recover->wal;
    struct wal_segments *segments = &wal->segments;
    const struct wal_scan *scan = &recover->scan;
    const struct io_ops *ops = wal->io->ops;
    int err = write_tail_again(recover);
    if (err)
        return err;
    uint32_t tail = scan->end.file;
    for (uint32_t file = recover->proven.end.file; !err && file <= tail; file++)
        err = ops->fsync(wal->io, wal_segment_at(segments, scan->numbers[file])->fd);
    if (err)
        return fail_tail(recover, err);
    segments->active = scan->numbers[tail];
    bool is_aligned =
        scan->end.offset % wal->block_bytes == 0; /* else: written where blocks were smaller */
    segments->offset = is_aligned ? scan->end.offset : segments->segment_bytes;
    wal->boot = scan->header.boot;
    wal->durable_seq = scan->header.seq;
    wal->next_seq = scan->header.seq + 1;
    RR_ASSERT(wal->live.promised == 0);
    wal_live_drop_series(&wal->live);
    wal_check(wal);
    return 0;
}

int wal_recover(struct wal *wal, const struct wal_recovery *sink, struct rr_error *error)
{
    struct recover *recover = calloc(1, sizeof(*recover));
    if (!recover)
        return rr_fail(error, RR_E_NO_MEMORY, "no memory for reading the log");
    recover->wal = wal;
    recover->sink = sink;
    recover->error = error;
    int err = wal_scan_open(&recover->scan, &wal->segments, wal->seed, error);
    if (!err) {
        err = find_end(recover);
        if (!err)
            err = hand_states_and_peers(recover);
        if (!err)
            err = hand_all_entries(recover);
        if (!err)
            err = take_over(recover);
        wal_scan_close(&recover->scan);
    }
    for (uint32_t i = 0; i < recover->group_cap; i++)
        free(recover->groups[i].state);
    free(recover->groups);
    free(recover);
    return err;
}
