/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/log_snapshot.h"

#include "proto/base.h"

#include <stdlib.h>
#include <string.h>

static void log_snapshot_free(struct rr_block *block)
{
    free(RR_CONTAINER_OF(block, struct log_snapshot, block));
}

/* Copies ids to `*at`, which moves behind them. */
static const uint64_t *copy_ids(uint64_t **at, const uint64_t *ids, uint32_t count)
{
    uint64_t *copy = *at;
    if (count)
        memcpy(copy, ids, count * sizeof(*ids));
    *at += count;
    return copy;
}

struct log_snapshot *log_snapshot_new(const struct log_snapshot *from)
{
    const struct rr_conf_state *conf = &from->snapshot.metadata.conf_state;
    size_t size = from->snapshot.size, group_data_size = from->group_data_size;
    size_t id_count = (size_t)conf->voter_count + conf->learner_count + conf->voter_outgoing_count +
                      conf->learner_next_count;
    RR_ASSERT(size == 0 || from->kind == LOG_SNAPSHOT_INLINE);
    struct log_snapshot *made =
        malloc(sizeof(*made) + id_count * sizeof(uint64_t) + size + group_data_size);
    if (!made)
        return NULL;
    uint64_t *ids = (uint64_t *)(made + 1);
    uint8_t *bytes = (uint8_t *)(ids + id_count);
    if (size)
        memcpy(bytes, from->snapshot.data, size);
    if (group_data_size)
        memcpy(bytes + size, from->group_data, group_data_size);
    *made = *from;
    made->next = NULL;
    made->block = (struct rr_block){
        .refs = 1, .cap = (uint32_t)size, .bytes = bytes, .free = log_snapshot_free};
    made->snapshot.data = bytes;
    made->snapshot.block = &made->block;
    made->group_data = group_data_size ? bytes + size : NULL;
    struct rr_conf_state *copy = &made->snapshot.metadata.conf_state;
    copy->voters = copy_ids(&ids, conf->voters, conf->voter_count);
    copy->learners = copy_ids(&ids, conf->learners, conf->learner_count);
    copy->voters_outgoing = copy_ids(&ids, conf->voters_outgoing, conf->voter_outgoing_count);
    copy->learners_next = copy_ids(&ids, conf->learners_next, conf->learner_next_count);
    return made;
}
