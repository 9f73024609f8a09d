/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/registry.h"

#include "engine/log_rewrite.h"
#include "proto/base.h"

#include <stdlib.h>

void registry_init(struct registry *registry, struct log_memory *memory)
{
    *registry = (struct registry){.memory = memory};
    pthread_mutex_init(&registry->lock, NULL);
}

static void free_entry(struct registry_entry *entry)
{
    log_cache_fini(&entry->dormant.log);
    free(entry);
}

void registry_fini(struct registry *registry)
{
    uint32_t at = 0;
    struct registry_entry *entry;
    while ((entry = id_map_each(&registry->entries, &at)))
        free_entry(entry);
    id_map_fini(&registry->entries);
    pthread_mutex_destroy(&registry->lock);
}

static struct registry_entry *add(struct registry *registry, uint64_t id)
{
    struct registry_entry *entry = calloc(1, sizeof(*entry));
    if (!entry)
        return NULL;
    entry->id = id;
    if (id_map_add(&registry->entries, id, entry) == 0)
        return entry;
    free(entry);
    return NULL;
}

struct registry_entry *registry_add_recorded(struct registry *registry, uint64_t id)
{
    struct registry_entry *entry = add(registry, id);
    if (!entry || log_cache_init(&entry->dormant.log, registry->memory) == 0)
        return entry;
    id_map_remove(&registry->entries, id);
    free(entry);
    return NULL;
}

int registry_claim(struct registry *registry, uint64_t id, struct registry_entry **out,
                   struct rr_error *error)
{
    pthread_mutex_lock(&registry->lock);
    struct registry_entry *entry = id_map_find(&registry->entries, id);
    if (!entry)
        entry = add(registry, id);
    enum registry_state state = entry ? entry->state : REGISTRY_DORMANT;
    int stopped = entry && state == REGISTRY_DORMANT ? entry->dormant.error : 0;
    if (entry && state == REGISTRY_DORMANT && stopped == 0)
        entry->state = REGISTRY_BUSY;
    pthread_mutex_unlock(&registry->lock);
    *out = entry;
    if (!entry)
        return rr_fail(error, RR_E_NO_MEMORY, "out of memory");
    if (stopped != 0)
        return rr_fail(error, stopped,
                       "group %llu stopped on this node (%s): it opens again when the engine does",
                       (unsigned long long)id, rr_err_sentence(stopped));
    if (state == REGISTRY_DORMANT)
        return 0;
    return rr_fail(error, RR_E_INVALID, "group %llu is %s", (unsigned long long)id,
                   state == REGISTRY_OPEN ? "already open"
                                          : "being opened, closed or removed by another thread");
}

int registry_claim_dormant(struct registry *registry, uint64_t id, struct registry_entry **out,
                           struct rr_error *error)
{
    pthread_mutex_lock(&registry->lock);
    struct registry_entry *entry = id_map_find(&registry->entries, id);
    bool is_dormant = entry && entry->state == REGISTRY_DORMANT;
    if (is_dormant)
        entry->state = REGISTRY_BUSY;
    pthread_mutex_unlock(&registry->lock);
    *out = entry;
    if (!entry)
        return rr_fail(error, RR_E_NOT_FOUND, "this directory holds no group %llu",
                       (unsigned long long)id);
    if (!is_dormant)
        return rr_fail(error, RR_E_INVALID, "group %llu is open: close it before it is removed",
                       (unsigned long long)id);
    return 0;
}

int registry_claim_open(struct registry *registry, struct registry_entry *entry,
                        const struct rr_group *group)
{
    pthread_mutex_lock(&registry->lock);
    bool is_open = entry->state == REGISTRY_OPEN && entry->group == group;
    if (is_open)
        entry->state = REGISTRY_BUSY;
    pthread_mutex_unlock(&registry->lock);
    return is_open ? 0 : RR_E_CLOSED;
}

struct rr_group *registry_open(struct registry *registry, struct registry_entry *entry,
                               struct rr_group *group)
{
    pthread_mutex_lock(&registry->lock);
    RR_ASSERT(entry->state == REGISTRY_BUSY);
    struct rr_group *shell = entry->group;
    entry->state = REGISTRY_OPEN;
    entry->group = group;
    pthread_mutex_unlock(&registry->lock);
    return shell;
}

void registry_release(struct registry *registry, struct registry_entry *entry)
{
    bool is_recorded = entry->dormant.log.chunks != NULL;
    pthread_mutex_lock(&registry->lock);
    RR_ASSERT(entry->state == REGISTRY_BUSY);
    RR_ASSERT(is_recorded || !entry->group);
    entry->state = REGISTRY_DORMANT;
    if (!is_recorded)
        id_map_remove(&registry->entries, entry->id);
    pthread_mutex_unlock(&registry->lock);
    if (!is_recorded)
        free_entry(entry);
}

/* What is kept of the log before the snapshot is a courtesy to followers, and goes first. */
static int rewrite(struct dormant *dormant, uint64_t id, struct wal *wal)
{
    struct log_cache *log = &dormant->log;
    uint64_t first = log->snapshot->snapshot.metadata.index + 1;
    int rc = dormant->is_large ? RR_E_TOO_LARGE : log_rewrite(log, id, &dormant->hard_state, wal);
    if (rc == RR_E_TOO_LARGE && first > log->first) {
        log_cache_compact(log, first);
        rc = log_rewrite(log, id, &dormant->hard_state, wal);
    }
    dormant->is_large = rc == RR_E_TOO_LARGE;
    if (!dormant->is_large || !wal_wants_move(wal, id))
        return dormant->is_large ? 0 : rc;
    rc = log_stage_state(log, id, &dormant->hard_state, wal);
    if (rc == 0)
        wal_move_start(wal, id);
    return rc;
}

int registry_rewrite(struct registry *registry, uint64_t id, struct wal *wal)
{
    int rc = 0;
    pthread_mutex_lock(&registry->lock);
    struct registry_entry *entry = id_map_find(&registry->entries, id);
    if (entry && entry->state == REGISTRY_DORMANT && entry->dormant.error == 0)
        rc = rewrite(&entry->dormant, id, wal);
    pthread_mutex_unlock(&registry->lock);
    return rc;
}

void registry_note_damage(struct registry *registry, uint64_t id)
{
    pthread_mutex_lock(&registry->lock);
    struct registry_entry *entry = id_map_find(&registry->entries, id);
    if (entry && entry->state == REGISTRY_DORMANT)
        entry->dormant.error = RR_E_CORRUPT;
    pthread_mutex_unlock(&registry->lock);
}
