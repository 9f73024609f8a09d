/* SPDX-License-Identifier: Apache-2.0
 *
 * See wal_read.h. The states of a slot, and what it waits for:
 *
 *     FREE --the next read--> READING --bytes that do not reach the wanted entry--+
 *       ^                       ^  |                                              |
 *       +--verified, or failed--+--+<-------------- behind them, or into a larger buffer
 *
 * A read waits in the queue for a slot, and, if its entry was just written again elsewhere, until
 * that is durable. Places are looked up when a slot takes it: what moved meanwhile is found.
 */
#include "io/wal_read.h"

#include "io/wal_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER_BYTES    (256u * 1024)
#define SHORT_READS_MAX 8u

/* ---- answers ------------------------------------------------------------------------- */

/* What was verified, in memory of its own. */
struct run_block {
    struct rr_block block;
    uint8_t bytes[];
};

static void run_block_free(struct rr_block *block)
{
    free(RR_CONTAINER_OF(block, struct run_block, block));
}

static void free_slot(struct wal *wal, struct wal_read_slot *slot)
{
    if (slot->cap > BUFFER_BYTES) {
        free(slot->buffer);
        slot->buffer = NULL;
        slot->cap = 0;
    }
    free(slot->run);
    slot->run = NULL;
    slot->read = NULL;
    slot->is_taken = false;
    wal_segment_unpin(&wal->segments, slot->place.segment);
}

static void finish(struct wal_read_slot *slot, int err)
{
    struct wal *wal = slot->wal;
    struct wal_read *read = slot->read;
    RR_ASSERT(slot->is_taken && !slot->op.in_flight);
    if (read && err == 0) {
        /* Only as large as it has to be: it may live as long as the slowest follower. */
        struct run_block *run = realloc(slot->run, sizeof(*run) + slot->run_size);
        run = run ? run : slot->run;
        slot->run = NULL;
        run->block = (struct rr_block){
            .refs = 1, .cap = slot->run_size, .bytes = run->bytes, .free = run_block_free};
        read->first_index = slot->run_first;
        read->count = (uint32_t)(slot->next_index - slot->run_first);
        read->size = slot->run_size;
        read->bytes = run->bytes;
        read->block = &run->block;
    }
    free_slot(wal, slot);
    if (read) {
        read->err = err;
        wal->stats.read_count++;
        read->done(read);
    }
}

static RR_COLD int refuse(struct wal_read_slot *slot, uint64_t offset, const char *what)
{
    struct wal *wal = slot->wal;
    char path[WAL_PATH_SIZE];
    if (!slot->read) /* nobody will hear it */
        return RR_E_CORRUPT;
    wal_segment_path(&wal->segments, path, slot->place.segment);
    return rr_fail(&slot->read->error, RR_E_CORRUPT,
                   "%.300s: at offset %llu: write %llu %s, and was durable before; replace this "
                   "node by a new one",
                   path, (unsigned long long)offset, (unsigned long long)slot->place.seq, what);
}

/* ---- verifying ----------------------------------------------------------------------- */

/* The next write stands at `bytes`, `offset` in the segment? 0, or RR_E_CORRUPT. */
static int check_header(struct wal_read_slot *slot, const uint8_t *bytes, uint64_t offset,
                        struct wal_header *header)
{
    const struct wal *wal = slot->wal;
    if (wal_header_check(bytes, wal->seed, header) != WAL_HEADER_VALID)
        return refuse(slot, offset, "is damaged");
    if (header->epoch != slot->place.segment || header->seq != slot->place.seq ||
        wal_padded_size(header) > wal->segments.segment_bytes - offset)
        return refuse(slot, offset, "is another one than was written there");
    return 0;
}

/* Entries [next_index, …] of a section that begins with it go to the end of the run, as far as they
 * are wanted. */
static int take_section(struct wal_read_slot *slot, const struct wal_section_walk *walk,
                        uint64_t offset)
{
    const struct wal_section *section = &walk->section;
    uint64_t wanted = slot->last_index - slot->next_index + 1;
    uint32_t count = (uint32_t)rr_min_u64(section->count, wanted);
    uint32_t size = section->length;
    if (section->first_index != slot->next_index) /* a piece of another series is no news */
        return section->kind == WAL_SECTION_MOVED
                   ? 0
                   : refuse(slot, offset, "holds other entries than were written there");
    if (count < section->count && !wal_run_cut(walk->body, section->length, count, &size))
        return refuse(slot, offset, "has entries that are none");
    RR_ASSERT(size <= slot->cap - slot->run_size);
    memcpy(((struct run_block *)slot->run)->bytes + slot->run_size, walk->body, size);
    slot->run_size += size;
    slot->next_index += count;
    return 0;
}

/* Are there entries of the group in the section? A piece that was moved is as good as what was
 * logged, if it stands where the next entry is expected: it was made of that. */
static bool is_of_group(const struct wal_read_slot *slot, const struct wal_section *section)
{
    return section->group == slot->group &&
           (section->kind == WAL_SECTION_ENTRIES || section->kind == WAL_SECTION_MOVED);
}

/* Which of the group's sections in its first write is the one that the index means: the last that
 * begins with the expected entry; earlier ones were replaced by it. UINT32_MAX: none. */
static uint32_t find_first_section(const struct wal_read_slot *slot,
                                   const struct wal_header *header, const uint8_t *payload)
{
    struct wal_section_walk walk = wal_sections(header, payload);
    uint32_t found = UINT32_MAX;
    for (uint32_t i = 0; wal_section_next(&walk); i++)
        if (is_of_group(slot, &walk.section) && walk.section.first_index == slot->next_index)
            found = i;
    return found;
}

/* The group's entries in a write whose payload was verified. */
static int take_write(struct wal_read_slot *slot, const struct wal_header *header,
                      const uint8_t *payload, uint64_t offset)
{
    uint32_t from = 0;
    if (!slot->has_begun) {
        from = find_first_section(slot, header, payload);
        if (from == UINT32_MAX)
            return refuse(slot, offset, "lacks entries that were written there");
        slot->has_begun = true;
    }
    struct wal_section_walk walk = wal_sections(header, payload);
    for (uint32_t i = 0; slot->next_index <= slot->last_index && wal_section_next(&walk); i++) {
        if (i < from || !is_of_group(slot, &walk.section))
            continue;
        int err = take_section(slot, &walk, offset);
        if (err)
            return err;
    }
    return walk.failed ? refuse(slot, offset, "has sections that make no sense") : 0;
}

/* All writes that lie whole in the buffer; `*taken` is where the first that does not begins. */
static int take_buffer(struct wal_read_slot *slot, uint32_t size, uint32_t *taken)
{
    uint32_t at = 0;
    int err = 0;
    while (slot->next_index <= slot->last_index && size - at >= WAL_BLOCK_MIN) {
        struct wal_header header;
        uint64_t offset = slot->place.offset + at;
        err = check_header(slot, slot->buffer + at, offset, &header);
        if (err)
            break;
        uint64_t padded = wal_padded_size(&header);
        if (padded > size - at) {
            slot->need = padded;
            break;
        }
        const uint8_t *payload = slot->buffer + at + sizeof(header);
        err = wal_payload_check(&header, payload) ? take_write(slot, &header, payload, offset)
                                                  : refuse(slot, offset, "is damaged");
        if (err)
            break;
        at += (uint32_t)padded;
        slot->place.seq++;
    }
    *taken = at;
    return err;
}

/* ---- reading ------------------------------------------------------------------------- */

static void read_done(struct io_op *op);

/* Room for `need` bytes of the segment, and for as much of a run. */
static int make_room(struct wal_read_slot *slot, uint64_t need)
{
    uint64_t cap = rr_max_u64(need, BUFFER_BYTES);
    if (slot->cap < cap) {
        free(slot->buffer);
        slot->buffer =
            aligned_alloc(slot->wal->block_bytes, rr_align_up(cap, slot->wal->block_bytes));
        slot->cap = slot->buffer ? (uint32_t)cap : 0;
    }
    free(slot->run);
    slot->run = malloc(sizeof(struct run_block) + cap);
    return slot->buffer && slot->run ? 0 : RR_E_NO_MEMORY;
}

/* Reads from slot->place on, at least `need` bytes. */
static int read_on(struct wal_read_slot *slot, uint64_t need)
{
    struct wal *wal = slot->wal;
    int err = make_room(slot, need);
    if (err)
        return err;
    uint64_t left = wal->segments.segment_bytes - slot->place.offset;
    slot->run_first = slot->next_index;
    slot->run_size = 0;
    slot->need = 0;
    slot->iov = (struct iovec){slot->buffer, (size_t)rr_min_u64(slot->cap, left)};
    slot->op = (struct io_op){
        .kind = IO_READ,
        .fd = wal_segment_at(&wal->segments, slot->place.segment)->fd,
        .iov = &slot->iov,
        .iov_count = 1,
        .offset = slot->place.offset,
        .done = read_done,
    };
    io_submit(wal->io, &slot->op);
    return 0;
}

/* The buffer is full: 0 with the answer complete, 1 when more is being read, or an error. */
static int judge_buffer(struct wal_read_slot *slot)
{
    uint32_t taken;
    int err = take_buffer(slot, (uint32_t)slot->iov.iov_len, &taken);
    if (err || slot->next_index > slot->wanted)
        return err;
    slot->place.offset += taken;
    if (slot->wal->segments.segment_bytes - slot->place.offset < WAL_BLOCK_MIN)
        return refuse(slot, slot->place.offset, "lacks entries that were written there");
    err = read_on(slot, slot->need);
    return err ? err : 1;
}

static void read_done(struct io_op *op)
{
    struct wal_read_slot *slot = RR_CONTAINER_OF(op, struct wal_read_slot, op);
    struct wal *wal = slot->wal;
    int err;
    if (op->result == -ECANCELED) {
        err = RR_E_CANCELED;
    } else if (op->result < 0) {
        err = refuse(slot, op->offset, "cannot be read");
    } else if ((uint64_t)op->result < slot->iov.iov_len) {
        if (++slot->retry_count <= SHORT_READS_MAX) {
            io_submit(wal->io, op);
            return;
        }
        err = refuse(slot, op->offset, "cannot be read whole");
    } else {
        err = slot->read ? judge_buffer(slot) : RR_E_CANCELED;
        if (err > 0)
            return;
    }
    finish(slot, err);
    wal_read_waiting(wal);
}

/* ---- the queue ----------------------------------------------------------------------- */

/* Begins with `read` if what it wants is durable where it lies now. */
static bool take_read(struct wal *wal, struct wal_read_slot *slot, struct wal_read *read)
{
    uint64_t first_index, last_index, durable_seq;
    struct wal_place place = wal_live_find_entry(&wal->live, read->group, read->index, &first_index,
                                                 &last_index, &durable_seq);
    if (durable_seq > wal->durable_seq)
        return false;
    RR_ASSERT(read->last_index >= read->index);
    slot->wal = wal;
    slot->read = read;
    slot->place = place;
    slot->group = read->group;
    slot->wanted = read->index;
    slot->next_index = first_index;
    slot->last_index = rr_min_u64(last_index, read->last_index);
    slot->has_begun = false;
    slot->retry_count = 0;
    slot->is_taken = true;
    wal_segment_pin(&wal->segments, place.segment);
    int err = read_on(slot, 0);
    if (err)
        finish(slot, err);
    return true;
}

static struct wal_read_slot *idle_slot(struct wal *wal)
{
    for (uint32_t i = 0; i < WAL_READS_IN_FLIGHT_MAX; i++)
        if (!wal->reads[i].is_taken)
            return &wal->reads[i];
    return NULL;
}

void wal_read_waiting(struct wal *wal)
{
    struct wal_read **link = &wal->waiting_reads;
    struct wal_read_slot *slot;
    while (*link && (slot = idle_slot(wal))) {
        struct wal_read *read = *link;
        *link = read->next;
        if (take_read(wal, slot, read))
            continue;
        read->next = *link; /* not yet durable where it is now */
        *link = read;
        link = &read->next;
    }
}

void wal_read_start(struct wal *wal, struct wal_read *read)
{
    struct wal_read **link = &wal->waiting_reads;
    while (*link)
        link = &(*link)->next;
    read->next = NULL;
    *link = read;
}

void wal_read_forget(struct wal *wal, struct wal_read *read)
{
    for (uint32_t i = 0; i < WAL_READS_IN_FLIGHT_MAX; i++)
        if (wal->reads[i].read == read)
            wal->reads[i].read = NULL;
    for (struct wal_read **link = &wal->waiting_reads; *link; link = &(*link)->next) {
        if (*link == read) {
            *link = read->next;
            return;
        }
    }
}

void wal_reads_free(struct wal *wal)
{
    for (uint32_t i = 0; i < WAL_READS_IN_FLIGHT_MAX; i++) {
        RR_ASSERT(!wal->reads[i].op.in_flight);
        free(wal->reads[i].buffer);
        free(wal->reads[i].run);
    }
}
