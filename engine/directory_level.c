/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/directory_level.h"

#include "engine/group.h"
#include "proto/base.h"

static void write_level(struct io_job *job)
{
    struct directory_level *level = RR_CONTAINER_OF(job, struct directory_level, job);
    struct rr_engine *engine = RR_CONTAINER_OF(level, struct rr_engine, level);
    level->result = identity_write(engine->io, engine->dir, &level->next, NULL);
}

static void level_written(struct io_job *job)
{
    struct directory_level *level = RR_CONTAINER_OF(job, struct directory_level, job);
    struct rr_engine *engine = RR_CONTAINER_OF(level, struct rr_engine, level);
    if (level->result != 0) {
        engine_log(engine, ENGINE_LOG_WARN, "the directory's feature level stays %u: %s",
                   engine->identity.feature_level, rr_err_sentence(level->result));
        return;
    }
    engine->identity = level->next;
    wal_allow_moved(engine->wal);
    engine_log(
        engine, ENGINE_LOG_INFO,
        "all members have builds of feature level %u: older ones open this directory no more",
        level->next.feature_level);
}

static bool all_members_have_it(const struct rr_engine *engine)
{
    const struct rr_group *group;
    uint32_t at = 0, count = 0;
    while ((group = id_map_each(&engine->groups, &at))) {
        for (uint32_t i = 0; i < group->members.count; i++) {
            uint64_t node = group->members.list[i].node;
            bool has_it =
                node == engine->options.node_id ||
                transport_peer_feature_level(engine->transport, node) >= IDENTITY_DIRECTORY_LEVEL;
            if (!has_it)
                return false;
        }
        count += group->members.count;
    }
    return count > 0;
}

void engine_watch_level(struct rr_engine *engine)
{
    struct directory_level *level = &engine->level;
    if (RR_LIKELY(engine->identity.feature_level >= IDENTITY_DIRECTORY_LEVEL) || level->is_asked ||
        !all_members_have_it(engine))
        return;
    level->is_asked = true;
    level->next = engine->identity;
    level->next.feature_level = IDENTITY_DIRECTORY_LEVEL;
    level->job = (struct io_job){.run = write_level, .done = level_written};
    engine->io->ops->worker_post(engine->snapshot_worker, &level->job);
}
