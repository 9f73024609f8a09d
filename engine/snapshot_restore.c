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

static int begin(struct restoring *run, struct rr_error *error)
{
    int rc = run->machine->restore_begin(run->machine->ctx, &run->context);
    run->has_begun = rc == 0;
    return rc == 0 ? 0
                   : rr_fail(error, RR_E_STATE_MACHINE,
                             "the state machine does not begin to restore (%d)", rc);
}

static int put(const struct restoring *run, const uint8_t *bytes, size_t size,
               struct rr_error *error)
{
    const struct rr_state_machine *machine = run->machine;
    int rc = size ? machine->restore_write(machine->ctx, run->context, bytes, size) : 0;
    return rc == 0 ? 0
                   : rr_fail(error, RR_E_STATE_MACHINE,
                             "the state machine did not take its snapshot (%d)", rc);
}

/* RR_E_PENDING: there is more. */
static int put_slice(const struct restoring *run, struct rr_error *error)
{
    const uint8_t *bytes;
    size_t size = 1;
    int rc = 0;
    if (!run->reader)
        return put(run, run->inlined->data, run->inlined->size, error);
    for (size_t sum = 0; rc == 0 && size && sum < SNAPSHOT_SLICE_BYTES; sum += size) {
        rc = snapshot_reader_next(run->reader, &bytes, &size, error);
        if (rc == 0)
            rc = put(run, bytes, size, error);
    }
    return rc == 0 && size ? RR_E_PENDING : rc;
}

/* `rc`: how it went until now. */
static int end(struct restoring *run, int rc, struct rr_error *error)
{
    int last = 0;
    if (run->has_begun)
        last = run->machine->restore_end(run->machine->ctx, run->context, rc == 0);
    run->has_begun = false;
    snapshot_reader_free(run->reader);
    run->reader = NULL;
    if (rc == 0 && last != 0)
        rc = rr_fail(error, RR_E_STATE_MACHINE, "the state machine did not restore (%d)", last);
    return rc;
}

static int restore_all(struct restoring *run, struct rr_error *error)
{
    int rc = begin(run, error);
    if (rc == 0)
        do
            rc = put_slice(run, error);
        while (rc == RR_E_PENDING);
    return end(run, rc, error);
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

/* Finds the bytes of `snapshot`: RR_E_CORRUPT, RR_E_NOT_FOUND, RR_E_IO, RR_E_NO_MEMORY. */
static int find_bytes(const struct rr_group *group, const struct log_snapshot *snapshot,
                      struct restoring *run, struct rr_error *error)
{
    RR_ASSERT(snapshot->kind != LOG_SNAPSHOT_NONE);
    run->inlined = &snapshot->snapshot;
    return snapshot->kind == LOG_SNAPSHOT_FILE
               ? open_file(group, &snapshot->snapshot.metadata, &run->reader, error)
               : 0;
}

/* Makes the state machine what `snapshot` says. RR_E_STATE_MACHINE, and what find_bytes says. */
static int restore_now(const struct rr_group *group, const struct rr_state_machine *machine,
                       const struct log_snapshot *snapshot, struct rr_error *error)
{
    struct restoring run = {.machine = machine};
    int rc = find_bytes(group, snapshot, &run, error);
    return rc == 0 ? restore_all(&run, error) : rc;
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
        if (rc == 0 || !snapshot_is_of_the_file(rc))
            break;
        engine_log(group->engine, ENGINE_LOG_ERROR, "%s", why->message);
        first_rc = first_rc ? first_rc : rc;
        wanted.index = next_older(group, wanted.index);
        wanted.term = log_cache_term(&group->log, wanted.index);
        why = &later;
    }
    if (rc == 0)
        return 0;
    if (!snapshot_is_of_the_file(rc))
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
    if (!snapshot_is_of_the_file(rc))
        return rr_fail(error, rc, "%s", why.message);
    engine_log(group->engine, ENGINE_LOG_WARN, "%s; a new snapshot will be taken", why.message);
    return 0;
}

int snapshot_restore_backup(const struct rr_group *group, const struct rr_state_machine *machine,
                            struct rr_snapshot_metadata *metadata, struct rr_error *error)
{
    struct restoring run = {.machine = machine};
    const char *path = group->options.restore_from;
    int rc = snapshot_reader_open(group->engine->io, path, &run.reader, error);
    if (rc != 0)
        return rc;
    const struct snapshot_head *head = snapshot_reader_head(run.reader);
    *metadata =
        (struct rr_snapshot_metadata){.index = head->metadata.index, .term = head->metadata.term};
    return restore_all(&run, error);
}

/* ---- on the apply stage -------------------------------------------------- */

static int run_slice(struct snapshot_restore *restore)
{
    struct restoring *run = &restore->run;
    int rc = 0;
    if (restore->is_canceled)
        return rr_fail(&restore->error, RR_E_CANCELED, "the snapshot is not wanted any more");
    if (!run->has_begun) {
        rc = find_bytes(restore->group, restore->snapshot, run, &restore->error);
        if (rc == 0)
            rc = begin(run, &restore->error);
    }
    return rc == 0 ? put_slice(run, &restore->error) : rc;
}

static void restore_run(struct io_job *job)
{
    struct snapshot_restore *restore = RR_CONTAINER_OF(job, struct snapshot_restore, job);
    int rc = run_slice(restore);
    if (rc == RR_E_PENDING)
        return;
    restore->result = end(&restore->run, rc, &restore->error);
    restore->is_at_end = true;
}

static void restore_done(struct io_job *job)
{
    struct snapshot_restore *restore = RR_CONTAINER_OF(job, struct snapshot_restore, job);
    restore->phase = restore->is_at_end ? RESTORE_DONE : RESTORE_WAITING;
    if (restore->is_apart)
        engine_touch(restore->group->engine, restore->group);
    else
        apply_posted_done(&restore->group->apply);
}

/* ---- on the loop --------------------------------------------------------- */

static void post_slice(struct rr_group *group)
{
    struct snapshot_restore *restore = &group->snapshots.restore;
    restore->job = (struct io_job){.run = restore_run, .done = restore_done};
    restore->phase = RESTORE_RUNNING;
    if (restore->is_apart)
        group->engine->io->ops->worker_post(group->engine->snapshot_worker, &restore->job);
    else
        apply_post(&group->apply, &restore->job);
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
    struct apply *apply = &group->apply;
    uint64_t index = snapshot->snapshot.metadata.index;
    log_snapshot_get(snapshot);
    fail_covered(group, index);
    RR_ASSERT(apply->submitted_index < index);
    apply->submitted_index = index;
    /* Nothing else is asked of the state machine until this is done, whoever does it. */
    group->snapshots.restore = (struct snapshot_restore){
        .group = group,
        .snapshot = snapshot,
        .is_apart = apply->options.is_inline && snapshot->kind == LOG_SNAPSHOT_FILE,
        .run.machine = &apply->options.state_machine,
    };
    post_slice(group);
}

/* The state machine is what the snapshot says, or the group stops. */
static void finish(struct rr_group *group, const struct log_snapshot *snapshot, int rc)
{
    const struct snapshot_restore *restore = &group->snapshots.restore;
    const struct rr_snapshot_metadata *metadata = &snapshot->snapshot.metadata;
    if (rc == 0) {
        group->applied = metadata->index;
        rc = membership_restore(group, snapshot);
    } else {
        engine_log(group->engine, ENGINE_LOG_ERROR, "group %llu: %s",
                   (unsigned long long)group->options.group_id, restore->error.message);
    }
    snapshot_tell(group, &(struct rr_event){.snapshot_step = RR_SNAPSHOT_INSTALLED,
                                            .index = metadata->index,
                                            .term = metadata->term,
                                            .status = rc,
                                            .bytes = log_snapshot_bytes(snapshot)});
    if (rc != 0)
        group_stop(group, rc);
}

bool group_restore(struct rr_group *group, struct log_snapshot *snapshot)
{
    struct snapshot_restore *restore = &group->snapshots.restore;
    struct snapshot_take *take = &group->snapshots.take;
    if (restore->phase == RESTORE_DONE && restore->snapshot != snapshot) {
        log_snapshot_put(restore->snapshot); /* whatever came of it: a newer one has arrived */
        restore->snapshot = NULL;
        restore->phase = RESTORE_IDLE;
    }
    if (take->phase != TAKE_IDLE && restore->phase == RESTORE_IDLE) {
        snapshot_take_give_up(group); /* what it would give is older */
        if (take->phase != TAKE_IDLE)
            return false;
    }
    if (restore->phase == RESTORE_IDLE)
        start(group, snapshot);
    if (restore->phase == RESTORE_WAITING) {
        restore->is_canceled = restore->is_unwanted || restore->snapshot != snapshot;
        post_slice(group);
    }
    /* One that was given up stays so: the group ends, and nothing is said of what it held back. */
    if (restore->phase != RESTORE_DONE || restore->result == RR_E_CANCELED)
        return false;
    restore->phase = RESTORE_IDLE;
    restore->snapshot = NULL;
    finish(group, snapshot, restore->result);
    log_snapshot_put(snapshot);
    return !group->error;
}

void snapshot_restore_give_up(struct rr_group *group)
{
    struct snapshot_restore *restore = &group->snapshots.restore;
    restore->is_unwanted = true;
    if (restore->phase != RESTORE_WAITING)
        return;
    restore->is_canceled = true;
    post_slice(group);
}

void snapshot_restore_fini(struct rr_group *group)
{
    struct snapshot_restore *restore = &group->snapshots.restore;
    (void)end(&restore->run, RR_E_CANCELED, NULL);
    log_snapshot_put(restore->snapshot);
    restore->snapshot = NULL;
}
