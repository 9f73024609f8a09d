/* SPDX-License-Identifier: Apache-2.0
 *
 * See snapshot.h. Until more than inline_max bytes have come, they are kept in memory; then they
 * become the beginning of a file, and the rest is read straight into its chunks.
 */
#include "engine/group.h"

#include "proto/base.h"

#include <stdlib.h>
#include <string.h>

static const struct rr_state_machine *machine_of(const struct snapshot_take *take)
{
    return &take->group->apply.options.state_machine;
}

/* ---- on the snapshot worker ---------------------------------------------- */

static int open_writer(struct snapshot_take *take)
{
    const struct rr_engine *engine = take->group->engine;
    char path[FILE_PATH_SIZE];
    struct snapshot_head head = {.cluster = engine->options.cluster_id,
                                 .group = take->group->options.group_id,
                                 .file_id = take->file_id,
                                 .metadata = take->captured->snapshot.metadata,
                                 .group_data = take->captured->group_data,
                                 .group_data_size = take->captured->group_data_size};
    int rc = snapshot_path(take->group, take->index, path, &take->error);
    if (rc == 0)
        rc = snapshot_writer_open(engine->io, path, &head, &take->writer, &take->error);
    if (rc == 0)
        rc = snapshot_writer_append(take->writer, take->bytes, take->size, &take->error);
    return rc;
}

static int read_some(struct snapshot_take *take, const struct rr_state_machine *machine,
                     size_t *got)
{
    size_t room = take->inline_max + 1 - take->size;
    uint8_t *to = take->bytes + take->size;
    if (take->writer)
        to = snapshot_writer_room(take->writer, &room);
    *got = 0;
    int rc = machine->snapshot_read(machine->ctx, take->context, to, room, got);
    RR_ASSERT(*got <= room);
    if (rc != 0)
        return rr_fail(&take->error, RR_E_STATE_MACHINE,
                       "the state machine failed while its snapshot was read (%d)", rc);
    if (take->writer)
        return snapshot_writer_fill(take->writer, *got, &take->error);
    take->size += (uint32_t)*got;
    return take->size > take->inline_max ? open_writer(take) : 0;
}

static void end_reading(struct snapshot_take *take, const struct rr_state_machine *machine)
{
    if (take->has_begun)
        machine->snapshot_end(machine->ctx, take->context);
    take->has_begun = false;
    snapshot_writer_free(take->writer);
    take->writer = NULL;
    take->is_at_end = true;
}

static void read_slice(struct snapshot_take *take, const struct rr_state_machine *machine)
{
    size_t bytes = 0, got = 1;
    if (!take->bytes && !(take->bytes = malloc(take->inline_max + 1u)))
        take->result = rr_fail(&take->error, RR_E_NO_MEMORY, "out of memory for a snapshot");
    if (take->is_canceled && take->result == 0)
        take->result = rr_fail(&take->error, RR_E_CANCELED, "the snapshot is not needed any more");
    while (take->result == 0 && got && bytes < SNAPSHOT_SLICE_BYTES) {
        take->result = read_some(take, machine, &got);
        bytes += got;
    }
    if (take->result == 0 && got)
        return;
    if (take->result == 0 && take->writer) {
        take->result = snapshot_writer_publish(take->writer, &take->file, &take->error);
        take->is_file = take->result == 0;
    }
    end_reading(take, machine);
}

static void slice_run(struct io_job *job)
{
    struct snapshot_take *take = RR_CONTAINER_OF(job, struct snapshot_take, job);
    read_slice(take, machine_of(take));
}

static void slice_done(struct io_job *job)
{
    struct snapshot_take *take = RR_CONTAINER_OF(job, struct snapshot_take, job);
    take->phase = take->is_at_end ? TAKE_ENDED : TAKE_WAITING;
    engine_touch(take->group->engine, take->group);
}

/* ---- on the apply stage -------------------------------------------------- */

static void begin(struct snapshot_take *take, const struct rr_state_machine *machine)
{
    int rc = machine->snapshot_begin(machine->ctx, &take->context);
    take->has_begun = rc == 0;
    if (rc != 0)
        take->result = rr_fail(&take->error, RR_E_STATE_MACHINE,
                               "the state machine gave no snapshot (%d)", rc);
}

static void begin_run(struct io_job *job)
{
    struct snapshot_take *take = RR_CONTAINER_OF(job, struct snapshot_take, job);
    begin(take, machine_of(take));
}

static void begin_done(struct io_job *job)
{
    struct snapshot_take *take = RR_CONTAINER_OF(job, struct snapshot_take, job);
    take->phase = take->result ? TAKE_ENDED : TAKE_WAITING;
    apply_posted_done(&take->group->apply);
}

/* ---- the loop's side ----------------------------------------------------- */

static void reset(struct snapshot_take *take, struct rr_group *group)
{
    RR_ASSERT(take->phase == TAKE_IDLE && !take->captured && !take->bytes && !take->writer);
    *take = (struct snapshot_take){
        .group = group,
        .file_id = group->engine->io->ops->random(group->engine->io),
        .inline_max = (uint32_t)rr_min_u64(WAL_INLINE_SNAPSHOT_MAX,
                                           group->engine->options.segment_bytes / 2)};
}

void snapshot_capture(struct rr_group *group)
{
    struct snapshot_take *take = &group->snapshots.take;
    if (RR_LIKELY(take->phase == TAKE_IDLE || take->index != group->applied || take->captured))
        return;
    uint8_t book[MEMBERS_ENCODED_MAX];
    struct log_snapshot now = {
        .group_data = book,
        .group_data_size = (uint32_t)(members_encode(&group->members, book) - book),
        .snapshot.metadata = {.conf_state = group->conf_state,
                              .index = take->index,
                              .term = log_cache_term(&group->log, take->index)}};
    take->captured = log_snapshot_new(&now);
    if (!take->captured)
        group_stop(group, RR_E_NO_MEMORY);
}

void snapshot_take_start(struct rr_group *group)
{
    struct snapshot_take *take = &group->snapshots.take;
    reset(take, group);
    take->job = (struct io_job){.run = begin_run, .done = begin_done};
    take->phase = TAKE_BEGINNING;
    group->must_snapshot = false;
    take->index = group->apply.submitted_index;
    snapshot_capture(group);
    apply_post(&group->apply, &take->job);
}

void snapshot_take_advance(struct rr_group *group)
{
    struct snapshot_take *take = &group->snapshots.take;
    if (take->phase != TAKE_WAITING || (!take->captured && !take->is_canceled))
        return;
    take->job = (struct io_job){.run = slice_run, .done = slice_done};
    take->phase = TAKE_READING;
    group->engine->io->ops->worker_post(group->engine->snapshot_worker, &take->job);
}

static void clear(struct snapshot_take *take)
{
    log_snapshot_put(take->captured);
    free(take->bytes);
    take->captured = NULL;
    take->bytes = NULL;
    take->index = 0;
    take->phase = TAKE_IDLE;
}

/* What was read, as a snapshot. NULL: no memory. */
static struct log_snapshot *make_snapshot(const struct snapshot_take *take)
{
    struct log_snapshot taken = *take->captured;
    taken.kind = take->is_file ? LOG_SNAPSHOT_FILE : LOG_SNAPSHOT_INLINE;
    taken.file = take->file;
    taken.snapshot.data = take->is_file ? NULL : take->bytes;
    taken.snapshot.size = take->is_file ? 0 : take->size;
    return log_snapshot_new(&taken);
}

struct log_snapshot *snapshot_take_finish(struct rr_group *group, int *result)
{
    struct snapshot_take *take = &group->snapshots.take;
    RR_ASSERT(take->phase == TAKE_ENDED && !take->has_begun && !take->writer);
    struct log_snapshot *snapshot = NULL;
    *result = take->result;
    if (*result == 0 && take->is_file)
        *result = snapshot_files_note(group, take->index);
    if (*result == 0 && !(snapshot = make_snapshot(take)))
        *result = RR_E_NO_MEMORY;
    clear(take);
    return snapshot;
}

void snapshot_take_give_up(struct rr_group *group)
{
    struct snapshot_take *take = &group->snapshots.take;
    int rc;
    take->is_canceled = true;
    if (take->phase == TAKE_ENDED)
        log_snapshot_put(snapshot_take_finish(group, &rc));
    snapshot_take_advance(group);
}

int snapshot_take_now(struct rr_group *group, const struct rr_state_machine *machine,
                      const struct log_snapshot *head, struct rr_error *error)
{
    struct snapshot_take *take = &group->snapshots.take;
    reset(take, group);
    take->index = head->snapshot.metadata.index;
    take->captured = log_snapshot_new(head);
    struct log_snapshot *snapshot = NULL;
    if (!take->captured)
        take->result = rr_fail(&take->error, RR_E_NO_MEMORY, "out of memory");
    else
        begin(take, machine);
    while (take->result == 0 && !take->is_at_end)
        read_slice(take, machine);
    if (take->result == 0 && !(snapshot = make_snapshot(take)))
        take->result = rr_fail(&take->error, RR_E_NO_MEMORY, "out of memory");
    if (snapshot)
        log_cache_set_snapshot(&group->log, snapshot);
    int rc = take->result;
    if (rc != 0)
        rr_fail(error, rc, "%s", take->error.message);
    clear(take);
    return rc;
}

void snapshot_take_fini(struct rr_group *group)
{
    struct snapshot_take *take = &group->snapshots.take;
    end_reading(take, &group->apply.options.state_machine);
    clear(take);
}
