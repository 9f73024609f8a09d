/* SPDX-License-Identifier: Apache-2.0
 *
 * What is wrong with a group's snapshots, and who hears of it. A file of which a receiver, a backup
 * or a read says that it is damaged is looked through here, on the snapshot worker; if it is, it is
 * lost: offered to nobody any more, and a new one is taken. (The receiver's own disk may be to
 * blame: then nothing happens here.) Loop thread, cold.
 */
#include "engine/engine_events.h"
#include "engine/group.h"

#include "proto/base.h"

/* A transfer that cannot even begin is asked for again at every heartbeat; when that has not
 * happened for so many election timeouts, it is over. */
#define UNSENT_ELECTIONS 2u

void snapshot_tell(struct rr_group *group, const struct rr_event *event)
{
    struct rr_event told = *event;
    told.kind = RR_EVENT_SNAPSHOT;
    told.group = group->options.group_id;
    told.node = told.node ? told.node : group->engine->options.node_id;
    told.text = told.status ? rr_err_sentence(told.status) : NULL;
    engine_event(group->engine, &told);
}

/* ---- sends that do not begin --------------------------------------------- */

void snapshot_note_unsent(struct rr_group *group, const struct rr_message *message, int status)
{
    struct snapshot_watch *watch = &group->snapshots.watch;
    bool is_news = watch->unsent_status != status || watch->unsent_to != message->to;
    watch->unsent_ns = group->engine->now_ns;
    watch->unsent_status = status;
    watch->unsent_to = message->to;
    if (!is_news)
        return;
    const struct rr_snapshot_metadata *metadata = &message->snapshot->metadata;
    engine_log(group->engine, ENGINE_LOG_WARN,
               "group %llu: node %llu needs the snapshot of index %llu and cannot be sent it: %s",
               (unsigned long long)group->options.group_id, (unsigned long long)message->to,
               (unsigned long long)metadata->index,
               status == RR_E_NOT_SUPPORTED ? "its build knows no snapshot files: upgrade it"
                                            : rr_err_sentence(status));
    snapshot_tell(group, &(struct rr_event){.snapshot_step = RR_SNAPSHOT_SENT,
                                            .node = message->to,
                                            .index = metadata->index,
                                            .term = metadata->term,
                                            .status = status});
}

int32_t snapshots_cause(const struct rr_group *group)
{
    const struct snapshot_watch *watch = &group->snapshots.watch;
    uint64_t now_ns = group->engine->now_ns;
    uint64_t patience_ns = UNSENT_ELECTIONS * group->options.election_ticks * group->tick_ns;
    if (snapshot_file_is_lost(group) || group->snapshots.failure)
        return RR_E_SNAPSHOT_TEMPORARILY_UNAVAILABLE;
    bool is_unsent = watch->unsent_status && now_ns - watch->unsent_ns < patience_ns;
    return is_unsent && watch->unsent_status == RR_E_NOT_SUPPORTED ? RR_E_NOT_SUPPORTED : 0;
}

/* ---- a file under suspicion ---------------------------------------------- */

static void look_through(struct io_job *job)
{
    struct snapshot_watch *watch = RR_CONTAINER_OF(job, struct snapshot_watch, job);
    int rc = 0;
    if (!watch->reader)
        rc = snapshot_reader_open(watch->group->engine->io, watch->path, &watch->reader,
                                  &watch->error);
    if (watch->is_canceled)
        rc = RR_E_CANCELED;
    if (rc == 0)
        rc = snapshot_reader_verify(watch->reader, &watch->error);
    if (rc == RR_E_PENDING)
        return;
    watch->result = rc;
    watch->is_at_end = true;
    snapshot_reader_free(watch->reader);
    watch->reader = NULL;
}

static void look_through_done(struct io_job *job)
{
    struct snapshot_watch *watch = RR_CONTAINER_OF(job, struct snapshot_watch, job);
    watch->phase = watch->is_at_end ? WATCH_ENDED : WATCH_WAITING;
    engine_touch(watch->group->engine, watch->group);
}

/* Has the newest snapshot a file that is thought to be good, of this index? */
static bool is_newest(const struct rr_group *group, uint64_t index)
{
    const struct log_snapshot *newest = group->log.snapshot;
    return newest->kind == LOG_SNAPSHOT_FILE && newest->snapshot.metadata.index == index &&
           !snapshot_file_is_lost(group);
}

void snapshot_suspect(struct rr_group *group, uint64_t index)
{
    struct snapshot_watch *watch = &group->snapshots.watch;
    if (watch->phase != WATCH_IDLE || !is_newest(group, index) || group->error ||
        snapshot_path(group, index, watch->path, NULL) != 0)
        return;
    watch->group = group;
    watch->index = index;
    watch->is_at_end = false;
    watch->phase = WATCH_WAITING;
    engine_touch(group->engine, group);
}

bool snapshot_is_suspected(const struct rr_group *group)
{
    const struct snapshot_watch *watch = &group->snapshots.watch;
    return watch->phase != WATCH_IDLE && is_newest(group, watch->index);
}

static void lose_file(struct rr_group *group)
{
    const struct snapshot_watch *watch = &group->snapshots.watch;
    struct log_snapshot bare = *group->log.snapshot;
    bare.file = (struct snapshot_file_info){0};
    struct log_snapshot *lost = log_snapshot_new(&bare);
    if (!lost)
        return; /* whoever is sent it next will say so again */
    engine_log(group->engine, ENGINE_LOG_ERROR,
               "group %llu: %s; a new snapshot is taken in its place: check the disk",
               (unsigned long long)group->options.group_id, watch->error.message);
    log_cache_set_snapshot(&group->log, lost);
    group->snapshots.files.damaged = watch->index;
    snapshot_tell(group, &(struct rr_event){.snapshot_step = RR_SNAPSHOT_LOST,
                                            .index = watch->index,
                                            .term = lost->snapshot.metadata.term,
                                            .status = watch->result});
    engine_watch_health(group->engine);
}

void snapshot_watch_advance(struct rr_group *group, bool is_ending)
{
    struct snapshot_watch *watch = &group->snapshots.watch;
    if (RR_LIKELY(watch->phase == WATCH_IDLE))
        return;
    if (watch->phase == WATCH_WAITING) {
        watch->is_canceled = is_ending;
        watch->job = (struct io_job){.run = look_through, .done = look_through_done};
        watch->phase = WATCH_READING;
        group->engine->io->ops->worker_post(group->engine->snapshot_worker, &watch->job);
    }
    if (watch->phase != WATCH_ENDED)
        return;
    watch->phase = WATCH_IDLE;
    if (snapshot_is_of_the_file(watch->result) && is_newest(group, watch->index))
        lose_file(group);
}

void snapshot_watch_fini(struct rr_group *group)
{
    snapshot_reader_free(group->snapshots.watch.reader);
}
