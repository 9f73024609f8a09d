/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/log_trim.h"

#include "engine/group.h"
#include "proto/base.h"

/* The first entry that somebody will need before long. */
static uint64_t needed_from(const struct rr_group *group)
{
    struct rr_progress_status progress[CONFIG_PEERS_MAX];
    uint64_t from = group->applied + 1;
    if (group->error)
        return UINT64_MAX;
    uint32_t count = rr_raw_node_progress(group->node, progress, CONFIG_PEERS_MAX);
    for (uint32_t i = 0; i < count && i < CONFIG_PEERS_MAX; i++)
        if (progress[i].state == RR_PROGRESS_REPLICATE)
            from = rr_min_u64(from, progress[i].match + 1);
    return from;
}

/* Evicts entries, unneeded ones only or any, until `bytes` are left or there are no more. */
static void evict(struct rr_engine *engine, uint64_t bytes, bool only_unneeded)
{
    bool has_more = true;
    while (has_more) {
        struct rr_group *group;
        uint32_t at = 0;
        has_more = false;
        while ((group = id_map_each(&engine->groups, &at))) {
            uint64_t end = only_unneeded ? needed_from(group) : UINT64_MAX;
            has_more |= log_cache_evict_some(&group->log, end);
            if (log_memory_bytes(&engine->log_memory) <= bytes)
                return;
        }
    }
}

void logs_trim(struct rr_engine *engine)
{
    uint64_t max = engine->options.log_cache_bytes;
    struct rr_group *group;
    uint32_t at = 0;
    while ((group = id_map_each(&engine->groups, &at)))
        if (group->log.reader)
            log_reader_trim(group->log.reader);
    log_memory_trim(&engine->log_memory);
    if (logs_are_too_large(engine))
        evict(engine, max - max / 64, true);
    if (logs_are_too_large(engine))
        evict(engine, max - max / 64, false);
}
