/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/hashes.h"

#include "engine/engine_events.h"
#include "engine/group.h"
#include "proto/base.h"

static uint64_t self(const struct rr_group *group)
{
    return group->engine->options.node_id;
}

static void remember(struct hashes *hashes, struct state_hash known)
{
    hashes->known[hashes->known_count++ % HASHES_KNOWN] = known;
}

static const struct state_hash *find(const struct hashes *hashes, uint64_t node, uint64_t index)
{
    for (uint32_t i = 0; i < HASHES_KNOWN; i++)
        if (hashes->known[i].node == node && hashes->known[i].index == index)
            return &hashes->known[i];
    return NULL;
}

static bool stands_in(const uint64_t *nodes, uint32_t count, uint64_t node)
{
    for (uint32_t i = 0; i < count; i++)
        if (nodes[i] == node)
            return true;
    return false;
}

/* ---- a difference -------------------------------------------------------- */

static RR_COLD void tell(struct rr_group *group, uint64_t node, uint64_t index)
{
    engine_log(group->engine, ENGINE_LOG_ERROR,
               "group %llu: the state of node %llu differs from others' at entry %llu",
               (unsigned long long)group->options.group_id, (unsigned long long)node,
               (unsigned long long)index);
    engine_event(group->engine, &(struct rr_event){.kind = RR_EVENT_DIVERGENCE,
                                                   .group = group->options.group_id,
                                                   .node = node,
                                                   .term = group->staged.term,
                                                   .index = index,
                                                   .status = RR_E_DIVERGED,
                                                   .text = rr_err_sentence(RR_E_DIVERGED)});
}

/* Once in a leadership of each node. */
static RR_COLD void alarm_of(struct rr_group *group, const struct state_hash *other)
{
    struct hashes *hashes = &group->hashes;
    if (stands_in(hashes->alarmed, hashes->alarmed_count, other->node))
        return;
    if (hashes->alarmed_count < RR_ARRAY_SIZE(hashes->alarmed))
        hashes->alarmed[hashes->alarmed_count++] = other->node;
    tell(group, other->node, other->index);
}

static RR_COLD void stop_here(struct rr_group *group, uint64_t index)
{
    tell(group, self(group), index);
    group_stop(group, RR_E_DIVERGED);
}

/* ---- the leader's judgement ---------------------------------------------- */

/* Do most voters have this hash, as far as they have said? */
static bool is_majority(const struct rr_group *group, const struct state_hash *sample)
{
    const struct hashes *hashes = &group->hashes;
    const struct rr_conf_state *conf = &group->conf_state;
    uint32_t count = 0;
    for (uint32_t i = 0; i < HASHES_KNOWN; i++) {
        const struct state_hash *known = &hashes->known[i];
        count += known->index == sample->index && known->hash == sample->hash &&
                 stands_in(conf->voters, conf->voter_count, known->node);
    }
    return count > conf->voter_count / 2;
}

static void judge(struct rr_group *group, uint64_t index)
{
    struct hashes *hashes = &group->hashes;
    const struct state_hash *own = find(hashes, self(group), index);
    bool is_outvoted = false;
    if (!own)
        return;
    for (uint32_t i = 0; i < HASHES_KNOWN; i++) {
        const struct state_hash *other = &hashes->known[i];
        if (RR_LIKELY(other->index != index || other->hash == own->hash))
            continue;
        alarm_of(group, other);
        is_outvoted |= is_majority(group, other);
        struct frame_hash right = {.index = index, .hash = own->hash};
        if (is_majority(group, own))
            (void)transport_send_hash(group->engine->transport, other->node,
                                      group->options.group_id, &right);
    }
    if (is_outvoted)
        stop_here(group, index);
}

/* ---- in ------------------------------------------------------------------ */

void group_take_hash(struct rr_group *group, uint64_t index, uint64_t hash)
{
    struct frame_hash report = {.index = index, .hash = hash};
    remember(&group->hashes, (struct state_hash){self(group), index, hash});
    if (group->role == RR_STATE_LEADER)
        judge(group, index);
    else if (group->lead != RR_NONE) /* one that is lost is not compared; the next may be */
        (void)transport_send_hash(group->engine->transport, group->lead, group->options.group_id,
                                  &report);
}

void group_receive_hash(struct rr_group *group, uint64_t from, const struct frame_hash *hash)
{
    if (group->role == RR_STATE_LEADER) {
        if (find(&group->hashes, from, hash->index))
            return;
        remember(&group->hashes, (struct state_hash){from, hash->index, hash->hash});
        judge(group, hash->index);
        return;
    }
    const struct state_hash *own = find(&group->hashes, self(group), hash->index);
    if (from == group->lead && own && own->hash != hash->hash)
        stop_here(group, hash->index);
}
