/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/configs.h"

#include "proto/base.h"
#include "proto/codec.h"
#include "raft/confchange.h"
#include "tests/sim/failure.h"

#include <stdlib.h>
#include <string.h>

static void *heap_alloc(void *ctx, size_t size)
{
    (void)ctx;
    return malloc(size);
}

static void *heap_resize(void *ctx, void *ptr, size_t old_size, size_t new_size)
{
    (void)ctx, (void)old_size;
    return realloc(ptr, new_size);
}

static void heap_free(void *ctx, void *ptr, size_t size)
{
    (void)ctx, (void)size;
    free(ptr);
}

/* ---- what is known ------------------------------------------------------- */

static struct config *add(struct configs *configs)
{
    if (configs->count == configs->cap) {
        configs->cap = configs->cap ? 2 * configs->cap : 16;
        configs->list = realloc(configs->list, configs->cap * sizeof(configs->list[0]));
        RR_ASSERT(configs->list);
    }
    struct config *config = &configs->list[configs->count++];
    *config = (struct config){.index = 0};
    return config;
}

void configs_init(struct configs *configs, uint32_t voter_count)
{
    *configs = (struct configs){.count = 0};
    struct config *first = add(configs);
    first->index = 1;
    for (uint32_t i = 0; i < voter_count; i++)
        first->voters[first->voter_count++] = i + 1;
}

void configs_fini(struct configs *configs)
{
    for (uint32_t i = 0; i < configs->change_count; i++)
        free(configs->changes[i].bytes);
    free(configs->changes);
    free(configs->list);
}

void configs_note(struct configs *configs, const struct rr_entry *entry)
{
    uint32_t i = configs->change_count;
    while (i > 0 && configs->changes[i - 1].index >= entry->index) {
        i--;
        if (configs->changes[i].index == entry->index && configs->changes[i].term == entry->term)
            return;
    }
    if (configs->change_count == configs->change_cap) {
        configs->change_cap = configs->change_cap ? 2 * configs->change_cap : 16;
        configs->changes =
            realloc(configs->changes, configs->change_cap * sizeof(configs->changes[0]));
        RR_ASSERT(configs->changes);
    }
    struct config_change *at = &configs->changes[i];
    memmove(at + 1, at, (configs->change_count++ - i) * sizeof(*at));
    *at = (struct config_change){.index = entry->index,
                                 .term = entry->term,
                                 .bytes = malloc(entry->size + 1),
                                 .size = entry->size};
    RR_ASSERT(at->bytes);
    if (entry->size)
        memcpy(at->bytes, entry->data, entry->size);
}

/* ---- following the log --------------------------------------------------- */

static void copy(uint64_t *to, uint32_t *to_count, const uint64_t *from, uint32_t count)
{
    RR_ASSERT(count <= CONFIGS_IDS_MAX);
    if (count)
        memcpy(to, from, count * sizeof(*to));
    *to_count = count;
}

static void follow(struct configs *configs, const struct config_change *change)
{
    const struct config *now = configs_last(configs);
    struct rr_conf_state conf = {.voters = now->voters,
                                 .voter_count = now->voter_count,
                                 .voters_outgoing = now->outgoing,
                                 .voter_outgoing_count = now->outgoing_count,
                                 .learners = now->learners,
                                 .learner_count = now->learner_count,
                                 .auto_leave = now->outgoing_count > 0};
    struct tracker tracker = {
        .allocator = {.alloc = heap_alloc, .resize = heap_resize, .free = heap_free},
        .max_inflight_msgs = 1};
    struct codec_scratch scratch = {.cap = rr_conf_change_v2_scratch_size(change->size)};
    struct rr_conf_change_v2 v2;
    scratch.bytes = malloc(scratch.cap + 1);
    RR_ASSERT(scratch.bytes);
    if (rr_conf_change_v2_decode(change->bytes, change->size, &scratch, &v2) != 0 ||
        confchange_restore(&tracker, &conf, 0) || confchange_apply(&tracker, &v2, 0))
        failure_report("the change of members at %llu cannot follow those before it",
                       (unsigned long long)change->index);
    free(scratch.bytes);
    tracker_conf_state(&tracker, &conf);
    struct config *next = add(configs);
    next->index = change->index;
    copy(next->voters, &next->voter_count, conf.voters, conf.voter_count);
    copy(next->outgoing, &next->outgoing_count, conf.voters_outgoing, conf.voter_outgoing_count);
    copy(next->learners, &next->learner_count, conf.learners, conf.learner_count);
    tracker_fini(&tracker);
}

void configs_advance(struct configs *configs, uint64_t index,
                     uint64_t (*committed_term)(void *ctx, uint64_t index), void *ctx)
{
    for (uint32_t i = 0; i < configs->change_count && configs->changes[i].index <= index; i++) {
        const struct config_change *change = &configs->changes[i];
        if (change->index > configs_last(configs)->index &&
            change->term == committed_term(ctx, change->index))
            follow(configs, change);
    }
}

/* ---- judging ------------------------------------------------------------- */

static bool is_among(const uint64_t *ids, uint32_t count, uint64_t id)
{
    for (uint32_t i = 0; i < count; i++)
        if (ids[i] == id)
            return true;
    return false;
}

static bool is_majority(const uint64_t *ids, uint32_t count, bool (*has)(void *ctx, uint64_t id),
                        void *ctx)
{
    uint32_t yes = 0;
    for (uint32_t i = 0; i < count; i++)
        yes += has(ctx, ids[i]);
    return count == 0 || yes >= count / 2 + 1;
}

bool config_has_quorum(const struct config *config, bool (*has)(void *ctx, uint64_t id), void *ctx)
{
    return is_majority(config->voters, config->voter_count, has, ctx) &&
           is_majority(config->outgoing, config->outgoing_count, has, ctx);
}

bool config_has_voter(const struct config *config, uint64_t id)
{
    return is_among(config->voters, config->voter_count, id);
}

bool config_has_member(const struct config *config, uint64_t id)
{
    return config_has_voter(config, id) || is_among(config->outgoing, config->outgoing_count, id) ||
           is_among(config->learners, config->learner_count, id);
}
