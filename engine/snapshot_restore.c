/* SPDX-License-Identifier: Apache-2.0
 *
 * See snapshot.h. A state machine hears restore_end(complete) only after every byte was verified;
 * until then what it got is nothing.
 */
#include "engine/group.h"

#include "proto/base.h"

#include <stdlib.h>
#include <string.h>

/* ---- the state machine --------------------------------------------------- */

static int put(const struct rr_state_machine *machine, void *context, const uint8_t *bytes,
               size_t size, struct rr_error *error)
{
    int rc = size ? machine->restore_write(machine->ctx, context, bytes, size) : 0;
    return rc == 0 ? 0
                   : rr_fail(error, RR_E_STATE_MACHINE,
                             "the state machine did not take its snapshot (%d)", rc);
}

static int put_file(const struct rr_state_machine *machine, void *context,
                    struct snapshot_reader *reader, struct rr_error *error)
{
    const uint8_t *bytes;
    size_t size = 1;
    int rc = 0;
    while (rc == 0 && size) {
        rc = snapshot_reader_next(reader, &bytes, &size, error);
        if (rc == 0)
            rc = put(machine, context, bytes, size, error);
    }
    return rc;
}

/* From `reader`, or, if there is none, from memory. */
static int restore_from(const struct rr_state_machine *machine, struct snapshot_reader *reader,
                        const struct rr_snapshot *snapshot, struct rr_error *error)
{
    void *context = NULL;
    int rc = machine->restore_begin(machine->ctx, &context);
    if (rc != 0)
        return rr_fail(error, RR_E_STATE_MACHINE,
                       "the state machine does not begin to restore (%d)", rc);
    rc = reader ? put_file(machine, context, reader, error)
                : put(machine, context, snapshot->data, snapshot->size, error);
    int end = machine->restore_end(machine->ctx, context, rc == 0);
    if (rc == 0 && end != 0)
        rc = rr_fail(error, RR_E_STATE_MACHINE, "the state machine did not restore (%d)", end);
    return rc;
}

/* Is it the file of this group, at this point of its history? (Of which cluster it was made is no
 * question: a lost quorum may have been given up since.) */
static int check_head(const struct rr_group *group, const struct snapshot_head *head,
                      const struct rr_snapshot_metadata *expected, const char *path,
                      struct rr_error *error)
{
    if (head->group == group->options.group_id && head->metadata.index == expected->index &&
        head->metadata.term == expected->term)
        return 0;
    return rr_fail(error, RR_E_CORRUPT,
                   "%.300s: it is a snapshot of group %llu, index %llu, term %llu", path,
                   (unsigned long long)head->group, (unsigned long long)head->metadata.index,
                   (unsigned long long)head->metadata.term);
}

/* The group's file of this index and term. */
static int open_file(const struct rr_group *group, const struct rr_snapshot_metadata *expected,
                     struct snapshot_reader **reader, struct rr_error *error)
{
    char path[FILE_PATH_SIZE];
    int rc = snapshot_path(group, expected->index, path, error);
    if (rc == 0)
        rc = snapshot_reader_open(group->engine->io, path, reader, error);
    if (rc != 0)
        return rc;
    rc = check_head(group, snapshot_reader_head(*reader), expected, path, error);
    if (rc != 0)
        snapshot_reader_free(*reader);
    return rc;
}

/* Makes the state machine what `snapshot` says. RR_E_STATE_MACHINE; of a file also RR_E_CORRUPT,
 * RR_E_NOT_FOUND, RR_E_IO, RR_E_NO_MEMORY. */
static int restore_now(const struct rr_group *group, const struct rr_state_machine *machine,
                       const struct log_snapshot *snapshot, struct rr_error *error)
{
    RR_ASSERT(snapshot->kind != LOG_SNAPSHOT_NONE);
    if (snapshot->kind == LOG_SNAPSHOT_INLINE)
        return restore_from(machine, NULL, &snapshot->snapshot, error);
    struct snapshot_reader *reader;
    int rc = open_file(group, &snapshot->snapshot.metadata, &reader, error);
    if (rc != 0)
        return rc;
    rc = restore_from(machine, reader, NULL, error);
    snapshot_reader_free(reader);
    return rc;
}

/* ---- while opening ------------------------------------------------------- */

/* The newest file below `below` that the log continues; 0: none. */
static uint64_t next_older(const struct rr_group *group, uint64_t below)
{
    const struct snapshot_files *files = &group->snapshots.files;
    uint64_t newest = 0;
    for (uint32_t i = 0; i < files->count; i++)
        if (files->indexes[i] < below && files->indexes[i] + 1 >= group->log.first)
            newest = rr_max_u64(newest, files->indexes[i]);
    return newest;
}

/* The group's snapshot becomes what this file says of itself. */
static int describe(struct rr_group *group, const struct rr_snapshot_metadata *expected,
                    struct rr_error *error)
{
    struct snapshot_reader *reader;
    int rc = open_file(group, expected, &reader, error);
    if (rc != 0)
        return rc;
    const struct snapshot_head *head = snapshot_reader_head(reader);
    struct log_snapshot found = {.kind = LOG_SNAPSHOT_FILE,
                                 .snapshot.metadata = head->metadata,
                                 .group_data = head->group_data,
                                 .group_data_size = head->group_data_size,
                                 .file = *snapshot_reader_info(reader)};
    struct log_snapshot *snapshot = log_snapshot_new(&found);
    snapshot_reader_free(reader);
    if (!snapshot)
        return rr_fail(error, RR_E_NO_MEMORY, "out of memory for a snapshot's head");
    log_cache_set_snapshot(&group->log, snapshot);
    return 0;
}

static bool is_of_the_file(int rc)
{
    return rc == RR_E_CORRUPT || rc == RR_E_NOT_FOUND || rc == RR_E_IO || rc == RR_E_VERSION;
}

int snapshot_restore_newest(struct rr_group *group, const struct rr_state_machine *machine,
                            struct rr_error *error)
{
    struct rr_error first, later;
    if (group->log.snapshot->kind != LOG_SNAPSHOT_FILE)
        return restore_now(group, machine, group->log.snapshot, error);
    struct rr_snapshot_metadata wanted = {.index = group->log.snapshot->snapshot.metadata.index,
                                          .term = group->log.snapshot->snapshot.metadata.term};
    struct rr_error *why = &first;
    int rc = 0, first_rc = 0;
    while (wanted.index) {
        rc = describe(group, &wanted, why);
        if (rc == 0)
            rc = restore_now(group, machine, group->log.snapshot, why);
        if (rc == 0 || !is_of_the_file(rc))
            break;
        engine_log(group->engine, ENGINE_LOG_ERROR, "%s", why->message);
        first_rc = first_rc ? first_rc : rc;
        wanted.index = next_older(group, wanted.index);
        wanted.term = log_cache_term(&group->log, wanted.index);
        why = &later;
    }
    if (rc == 0)
        return 0;
    if (!is_of_the_file(rc))
        return rr_fail(error, rc, "%s", why->message);
    if (first_rc == RR_E_IO) /* the disk may answer another time */
        return rr_fail(error, first_rc, "%s", first.message);
    return rr_fail(
        error, RR_E_CORRUPT,
        "%.350s; the log begins behind it, and no older one is good: replace this node by "
        "a new one with a new id",
        first.message);
}

int snapshot_find_newest(struct rr_group *group, struct rr_error *error)
{
    const struct log_snapshot *snapshot = group->log.snapshot;
    if (snapshot->kind != LOG_SNAPSHOT_FILE)
        return 0;
    struct rr_snapshot_metadata wanted = {.index = snapshot->snapshot.metadata.index,
                                          .term = snapshot->snapshot.metadata.term};
    struct rr_error why;
    int rc = describe(group, &wanted, &why);
    if (rc == 0)
        return 0;
    if (!is_of_the_file(rc))
        return rr_fail(error, rc, "%s", why.message);
    engine_log(group->engine, ENGINE_LOG_WARN, "%s; a new snapshot will be taken", why.message);
    return 0;
}

int snapshot_restore_backup(const struct rr_group *group, const struct rr_state_machine *machine,
                            struct rr_snapshot_metadata *metadata, struct rr_error *error)
{
    struct snapshot_reader *reader;
    int rc = snapshot_reader_open(group->engine->io, group->options.restore_from, &reader, error);
    if (rc != 0)
        return rc;
    const struct snapshot_head *head = snapshot_reader_head(reader);
    *metadata =
        (struct rr_snapshot_metadata){.index = head->metadata.index, .term = head->metadata.term};
    rc = restore_from(machine, reader, NULL, error);
    snapshot_reader_free(reader);
    return rc;
}

/* ---- on the apply stage -------------------------------------------------- */

static void restore_run(struct io_job *job)
{
    struct snapshot_restore *restore = RR_CONTAINER_OF(job, struct snapshot_restore, job);
    struct rr_group *group = restore->group;
    restore->result =
        restore_now(group, &group->apply.options.state_machine, restore->snapshot, &restore->error);
}

static void restore_done(struct io_job *job)
{
    struct snapshot_restore *restore = RR_CONTAINER_OF(job, struct snapshot_restore, job);
    restore->phase = RESTORE_DONE;
    if (restore->is_apart)
        engine_touch(restore->group->engine, restore->group);
    else
        apply_posted_done(&restore->group->apply);
}

/* Of what was appended here and is covered by the snapshot, nobody can say any more what became of
 * it. */
static void fail_covered(struct rr_group *group, uint64_t index)
{
    struct rr_completion completion = {.status = RR_E_UNKNOWN_OUTCOME};
    while (outcomes_fail_up_to(&group->outcomes, index, &completion.tag, &completion.index,
                               &completion.term))
        group_complete(group, &completion);
    membership_fail_change(group, 0, index);
    apply_flush(&group->apply);
}

static void start(struct rr_group *group, struct log_snapshot *snapshot)
{
    struct snapshot_restore *restore = &group->snapshots.restore;
    uint64_t index = snapshot->snapshot.metadata.index;
    restore->group = group;
    restore->job = (struct io_job){.run = restore_run, .done = restore_done};
    restore->phase = RESTORE_RUNNING;
    restore->snapshot = snapshot;
    log_snapshot_get(snapshot);
    fail_covered(group, index);
    RR_ASSERT(group->apply.submitted_index < index);
    group->apply.submitted_index = index;
    /* Nothing else is asked of the state machine until this is done, whoever does it. */
    restore->is_apart = group->apply.options.is_inline && snapshot->kind == LOG_SNAPSHOT_FILE;
    if (restore->is_apart)
        group->engine->io->ops->worker_post(group->engine->snapshot_worker, &restore->job);
    else
        apply_post(&group->apply, &restore->job);
}

bool group_restore(struct rr_group *group, struct log_snapshot *snapshot)
{
    struct snapshot_restore *restore = &group->snapshots.restore;
    struct snapshot_take *take = &group->snapshots.take;
    if (take->phase != TAKE_IDLE && restore->phase == RESTORE_IDLE) {
        snapshot_wind_down(group); /* what it would give is older */
        if (take->phase != TAKE_IDLE)
            return false;
    }
    if (restore->phase == RESTORE_IDLE)
        start(group, snapshot);
    if (restore->phase != RESTORE_DONE)
        return false;
    RR_ASSERT(restore->snapshot == snapshot);
    restore->phase = RESTORE_IDLE;
    restore->snapshot = NULL;
    if (restore->result != 0) {
        engine_log(group->engine, ENGINE_LOG_ERROR, "group %llu: %s",
                   (unsigned long long)group->options.group_id, restore->error.message);
        group_stop(group, restore->result);
    } else {
        group->applied = snapshot->snapshot.metadata.index;
        int rc = membership_restore(group, snapshot);
        if (rc != 0)
            group_stop(group, rc);
    }
    log_snapshot_put(snapshot);
    return !group->error;
}
