/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/group.h"

#include "proto/base.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int snapshot_path(const struct rr_group *group, uint64_t index, char path[FILE_PATH_SIZE],
                  struct rr_error *error)
{
    char name[SNAPSHOT_NAME_SIZE];
    snapshot_file_name(name, group->options.group_id, index, SNAPSHOT_NAME_PUBLISHED);
    return file_path_join(path, group->engine->dir, name, error);
}

void snapshot_files_fini(struct snapshot_files *files)
{
    free(files->indexes);
    files->indexes = NULL;
}

bool snapshot_files_know(const struct snapshot_files *files, uint64_t index)
{
    for (uint32_t i = 0; i < files->count; i++)
        if (files->indexes[i] == index)
            return true;
    return false;
}

int snapshot_files_note(struct rr_group *group, uint64_t index)
{
    struct snapshot_files *files = &group->snapshots.files;
    if (snapshot_files_know(files, index))
        return 0;
    if (files->count == files->cap) {
        uint32_t cap = files->cap ? 2 * files->cap : 4;
        uint64_t *indexes = realloc(files->indexes, cap * sizeof(*indexes));
        if (!indexes)
            return RR_E_NO_MEMORY;
        files->indexes = indexes;
        files->cap = cap;
    }
    files->indexes[files->count++] = index;
    return 0;
}

/* ---- while opening ------------------------------------------------------- */

struct search {
    struct rr_group *group;
    uint64_t newest; /* of the snapshots that the log knows */
    struct rr_error *error;
    int result;
};

static void look_at(void *ctx, const char *name)
{
    struct search *search = ctx;
    struct rr_group *group = search->group;
    struct io *io = group->engine->io;
    char path[FILE_PATH_SIZE];
    uint64_t group_id, index;
    enum snapshot_name_kind kind = snapshot_file_parse_name(name, &group_id, &index);
    if (kind == SNAPSHOT_NAME_OTHER || group_id != group->options.group_id || search->result != 0)
        return;
    if (kind == SNAPSHOT_NAME_PUBLISHED) {
        search->result = snapshot_files_note(group, index);
        return;
    }
    if (kind == SNAPSHOT_NAME_RECEIVED && index > search->newest)
        return; /* its sender may go on with it; whoever sends another one sweeps it away */
    search->result = file_path_join(path, group->engine->dir, name, search->error);
    if (search->result == 0)
        (void)io->ops->unlink(io, path); /* one that stays is tried again at the next open */
}

int snapshot_files_open(struct rr_group *group, struct rr_error *error)
{
    struct io *io = group->engine->io;
    const struct log_cache *log = &group->entry->dormant.log;
    struct search search = {.group = group, .error = error};
    search.newest = log->chunks ? log->snapshot->snapshot.metadata.index : UINT64_MAX;
    int err = io->ops->list(io, group->engine->dir, look_at, &search);
    if (err != 0)
        return rr_fail(error, RR_E_IO, "%.300s: cannot be listed: %s", group->engine->dir,
                       strerror(-err));
    return search.result;
}

/* ---- of a group that is gone --------------------------------------------- */

struct clearance {
    struct rr_engine *engine;
    uint64_t group;
};

static void clear_one(void *ctx, const char *name)
{
    const struct clearance *clearance = ctx;
    struct io *io = clearance->engine->io;
    char path[FILE_PATH_SIZE];
    uint64_t group, index;
    if (snapshot_file_parse_name(name, &group, &index) != SNAPSHOT_NAME_OTHER &&
        group == clearance->group && file_path_join(path, clearance->engine->dir, name, NULL) == 0)
        (void)io->ops->unlink(io, path); /* what stays is found if the group is ever made again */
}

void snapshot_files_remove_all(struct rr_engine *engine, uint64_t group)
{
    struct clearance clearance = {.engine = engine, .group = group};
    (void)engine->io->ops->list(engine->io, engine->dir, clear_one, &clearance);
}

/* ---- removing ------------------------------------------------------------ */

struct removal {
    struct io_job job;
    struct rr_group *group;
    char path[FILE_PATH_SIZE];
};

static void removal_run(struct io_job *job)
{
    struct removal *removal = RR_CONTAINER_OF(job, struct removal, job);
    struct io *io = removal->group->engine->io;
    (void)io->ops->unlink(io, removal->path); /* one that stays is a leftover of the next open */
}

static void removal_done(struct io_job *job)
{
    struct removal *removal = RR_CONTAINER_OF(job, struct removal, job);
    removal->group->snapshots.files.removals--;
    engine_touch(removal->group->engine, removal->group);
    free(removal);
}

/* Its turn comes after that of every file that is published by the worker until now. */
static bool start_removal(struct rr_group *group, uint64_t index)
{
    struct removal *removal = malloc(sizeof(*removal));
    if (!removal || snapshot_path(group, index, removal->path, NULL) != 0) {
        free(removal);
        return false; /* another turn will do */
    }
    removal->job = (struct io_job){.run = removal_run, .done = removal_done};
    removal->group = group;
    group->snapshots.files.removals++;
    group->engine->io->ops->worker_post(group->engine->snapshot_worker, &removal->job);
    return true;
}

/* The older one that would do if the newest were damaged. */
static bool is_second(const struct rr_group *group, uint64_t index)
{
    const struct snapshot_files *files = &group->snapshots.files;
    uint64_t newest = group->log.snapshot->snapshot.metadata.index, second = 0;
    for (uint32_t i = 0; i < files->count; i++)
        if (files->indexes[i] < newest && files->indexes[i] != files->damaged)
            second = rr_max_u64(second, files->indexes[i]);
    return index == second && index + 1 >= group->log.first;
}

static bool is_held(const struct held_responses *held, uint64_t index)
{
    for (uint32_t i = 0; i < held->count; i++) {
        const struct log_snapshot *restore = held->ring[(held->head + i) & (held->cap - 1)].restore;
        if (restore && restore->snapshot.metadata.index == index)
            return true;
    }
    return false;
}

static bool is_used(const struct rr_group *group, uint64_t index)
{
    const struct group_snapshots *snapshots = &group->snapshots;
    for (const struct log_snapshot *one = snapshots->arrived; one; one = one->next)
        if (one->snapshot.metadata.index == index)
            return true;
    return index == group->log.snapshot->snapshot.metadata.index || is_second(group, index) ||
           snapshot_requests_use(group, index) ||
           (snapshots->watch.phase != WATCH_IDLE && snapshots->watch.index == index) ||
           is_held(&group->held, index) ||
           snapshot_streams_is_sending(group->engine->streams, group->options.group_id, index) ||
           (snapshots->restore.snapshot &&
            snapshots->restore.snapshot->snapshot.metadata.index == index);
}

void snapshot_files_sweep(struct rr_group *group)
{
    struct snapshot_files *files = &group->snapshots.files;
    uint64_t newest = group->log.snapshot->snapshot.metadata.index;
    if (RR_LIKELY(files->count == 0 || (files->count == 1 && files->indexes[0] == newest)))
        return;
    /* What was removed cannot be referred to by a state that a crash brings back. */
    if (wal_durable_seq(group->engine->wal) < group->snapshots.state_seq)
        return;
    for (uint32_t i = 0; i < files->count;)
        if (!is_used(group, files->indexes[i]) && start_removal(group, files->indexes[i]))
            files->indexes[i] = files->indexes[--files->count];
        else
            i++;
}
