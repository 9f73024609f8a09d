/* SPDX-License-Identifier: Apache-2.0
 *
 * rr_snapshot and rr_backup.
 *
 *     any thread ──command──▶ WAITING   for a snapshot that holds all that was handed to the state
 *                                │      machine when the call came, and is durable
 *                                ├──▶ answered                       (rr_snapshot)
 *                                └──▶ COPYING ⇄ slices ──▶ answered  (rr_backup)
 *
 * A copy is read with all its checksums and published as any snapshot file is: whole or not at all.
 * Failure path: an attempt that fails answers all that wait; the end of the group answers all.
 */
#include "engine/group.h"

#include "proto/base.h"

#include <stdlib.h>
#include <string.h>

enum request_phase { REQUEST_WAITING, REQUEST_BETWEEN, REQUEST_COPYING, REQUEST_ENDED };

struct snapshot_request {
    struct command command;
    struct rr_group *group;
    struct snapshot_request *next;
    enum request_phase phase;
    uint64_t tag;
    uint64_t index;   /* WAITING: at least this; then: the snapshot's */
    bool is_answered; /* too early: what is copied goes */
    bool is_backup;
    char path[FILE_PATH_SIZE]; /* of the backup */

    /* Of the copy; the worker's while COPYING. */
    struct io_job job;
    struct log_snapshot *source; /* a reference */
    struct snapshot_reader *reader;
    struct snapshot_writer *writer;
    uint64_t file_id;
    bool is_at_end;
    int result;
};

/* ---- copying, on the snapshot worker ------------------------------------- */

static int open_copy(struct snapshot_request *request)
{
    const struct rr_group *group = request->group;
    struct io *io = group->engine->io;
    const struct log_snapshot *source = request->source;
    struct snapshot_head head = {.cluster = group->engine->options.cluster_id,
                                 .group = group->options.group_id,
                                 .file_id = request->file_id,
                                 .metadata = source->snapshot.metadata,
                                 .group_data = source->group_data,
                                 .group_data_size = source->group_data_size};
    char path[FILE_PATH_SIZE];
    int fd = io->ops->open(io, request->path, IO_O_READ_ONLY);
    if (fd >= 0) {
        io->ops->close(io, fd);
        return RR_E_NOT_EMPTY;
    }
    int rc = snapshot_path(group, source->snapshot.metadata.index, path, NULL);
    if (rc == 0 && source->kind == LOG_SNAPSHOT_FILE)
        rc = snapshot_reader_open(io, path, &request->reader, NULL);
    return rc == 0 ? snapshot_writer_open(io, request->path, &head, &request->writer, NULL) : rc;
}

/* So many bytes, or, `*size` 0, the end. */
static int copy_some(struct snapshot_request *request, size_t *size)
{
    const struct rr_snapshot *inlined = &request->source->snapshot;
    const uint8_t *bytes = inlined->data;
    int rc = 0;
    *size = 0;
    if (request->reader)
        rc = snapshot_reader_next(request->reader, &bytes, size, NULL);
    else if (snapshot_writer_is_empty(request->writer))
        *size = inlined->size;
    return rc == 0 ? snapshot_writer_append(request->writer, bytes, *size, NULL) : rc;
}

static void close_copy(struct snapshot_request *request)
{
    snapshot_reader_free(request->reader);
    snapshot_writer_free(request->writer);
    request->reader = NULL;
    request->writer = NULL;
}

static void copy_run(struct io_job *job)
{
    struct snapshot_request *request = RR_CONTAINER_OF(job, struct snapshot_request, job);
    struct snapshot_file_info info;
    size_t bytes = 0, size = 1;
    if (request->result == 0 && !request->writer)
        request->result = open_copy(request);
    while (request->result == 0 && size && bytes < SNAPSHOT_SLICE_BYTES) {
        request->result = copy_some(request, &size);
        bytes += size;
    }
    if (request->result == 0 && size)
        return;
    if (request->result == 0)
        request->result = snapshot_writer_publish(request->writer, &info, NULL);
    close_copy(request);
    request->is_at_end = true;
}

static void copy_done(struct io_job *job)
{
    struct snapshot_request *request = RR_CONTAINER_OF(job, struct snapshot_request, job);
    request->phase = request->is_at_end ? REQUEST_ENDED : REQUEST_BETWEEN;
    engine_touch(request->group->engine, request->group);
}

/* ---- on the loop --------------------------------------------------------- */

static void answer(struct snapshot_request *request, int status)
{
    struct rr_completion completion = {.tag = request->tag,
                                       .status = status,
                                       .kind = RR_COMPLETION_SNAPSHOT,
                                       .index = request->index};
    if (!request->is_answered)
        group_complete(request->group, &completion);
    request->is_answered = true;
}

static void request_free(struct snapshot_request *request)
{
    log_snapshot_put(request->source);
    close_copy(request);
    free(request);
}

static bool is_available(const struct rr_group *group, uint64_t index)
{
    const struct log_snapshot *newest = group->log.snapshot;
    return newest->kind != LOG_SNAPSHOT_NONE && newest->snapshot.metadata.index >= index &&
           !snapshot_file_is_lost(group) &&
           wal_durable_seq(group->engine->wal) >= group->snapshots.state_seq;
}

/* As far as it goes without waiting; true: it is through. */
static bool advance(struct rr_group *group, struct snapshot_request *request)
{
    struct io *io = group->engine->io;
    if (request->phase == REQUEST_WAITING && request->is_answered)
        return true;
    if (request->phase == REQUEST_WAITING && is_available(group, request->index)) {
        request->index = group->log.snapshot->snapshot.metadata.index;
        request->source = group->log.snapshot;
        log_snapshot_get(request->source);
        request->file_id = io->ops->random(io);
        request->phase = request->is_backup ? REQUEST_BETWEEN : REQUEST_ENDED;
    }
    if (request->phase == REQUEST_BETWEEN) {
        if (request->is_answered)
            request->result = RR_E_CANCELED; /* this slice only ends it */
        request->job = (struct io_job){.run = copy_run, .done = copy_done};
        request->phase = REQUEST_COPYING;
        io->ops->worker_post(group->engine->snapshot_worker, &request->job);
    }
    if (request->phase != REQUEST_ENDED)
        return false;
    if (request->result == RR_E_CORRUPT)
        snapshot_suspect(group, request->index);
    answer(request, request->result);
    return true;
}

void snapshot_requests_advance(struct rr_group *group)
{
    struct snapshot_request **at = &group->snapshots.requests;
    while (*at) {
        struct snapshot_request *request = *at;
        if (advance(group, request)) {
            *at = request->next;
            request_free(request);
        } else {
            at = &request->next;
        }
    }
}

bool snapshot_requests_wait(const struct rr_group *group)
{
    const struct snapshot_request *request = group->snapshots.requests;
    while (request && (request->phase != REQUEST_WAITING || request->is_answered))
        request = request->next;
    return request != NULL;
}

bool snapshot_requests_use(const struct rr_group *group, uint64_t index)
{
    const struct snapshot_request *request = group->snapshots.requests;
    while (request && (!request->source || request->index != index))
        request = request->next;
    return request != NULL;
}

void snapshot_requests_fail_waiting(struct rr_group *group, int status)
{
    for (struct snapshot_request *request = group->snapshots.requests; request;
         request = request->next)
        if (request->phase == REQUEST_WAITING)
            answer(request, status);
}

void snapshot_requests_fail(struct rr_group *group, int status)
{
    for (struct snapshot_request *request = group->snapshots.requests; request;
         request = request->next)
        answer(request, status);
}

void snapshot_requests_fini(struct rr_group *group)
{
    struct snapshot_request *request;
    while ((request = group->snapshots.requests)) {
        group->snapshots.requests = request->next;
        request_free(request);
    }
}

/* ---- any thread ---------------------------------------------------------- */

static void run_request(struct rr_engine *engine, struct command *command)
{
    struct snapshot_request *request = RR_CONTAINER_OF(command, struct snapshot_request, command);
    struct rr_group *group = request->group;
    struct snapshot_request **last = &group->snapshots.requests;
    request->index = group->apply.submitted_index;
    while (*last)
        last = &(*last)->next;
    *last = request;
    if (group->error)
        answer(request, RR_E_CLOSED);
    else if (group->log.snapshot->kind == LOG_SNAPSHOT_NONE) /* it waits to be joined */
        answer(request, RR_E_SNAPSHOT_TEMPORARILY_UNAVAILABLE);
    engine_touch(engine, group);
    group_call_end(group);
}

static int post_request(struct rr_group *group, const char *path, uint64_t tag)
{
    struct snapshot_request *request = calloc(1, sizeof(*request));
    if (!request)
        return RR_E_NO_MEMORY;
    if (!group_call_begin(group)) {
        free(request);
        return RR_E_CLOSED;
    }
    request->command.run = run_request;
    request->group = group;
    request->tag = tag;
    request->is_backup = path != NULL;
    if (path)
        memcpy(request->path, path, strlen(path) + 1);
    engine_post(group->engine, &request->command);
    return 0;
}

int rr_snapshot(struct rr_group *group, uint64_t tag)
{
    return group ? post_request(group, NULL, tag) : RR_E_INVALID;
}

int rr_backup(struct rr_group *group, const char *path, uint64_t tag)
{
    if (!group || !path || !path[0] || strlen(path) >= FILE_PATH_SIZE - SNAPSHOT_NAME_SIZE)
        return RR_E_INVALID;
    return post_request(group, path, tag);
}
