/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/membership.h"

#include "engine/engine_events.h"
#include "engine/group.h"
#include "proto/base.h"
#include "proto/codec.h"
#include "raft/confchange.h"

#include <stdlib.h>
#include <string.h>

/* ---- an entry's change --------------------------------------------------- */

/* As V2 in any case; what it points to lies in the entry and in `scratch`. */
struct decoded_change {
    struct rr_conf_change_v2 v2;
    struct rr_conf_change_single single;
    void *scratch;
};

static int decode(const struct rr_entry *entry, struct decoded_change *decoded)
{
    *decoded = (struct decoded_change){.scratch = NULL};
    if (entry->type == RR_ENTRY_CONF_CHANGE) {
        struct rr_conf_change v1;
        int rc = rr_conf_change_decode(entry->data, entry->size, &v1);
        decoded->v2 = confchange_as_v2(&v1, &decoded->single);
        return rc;
    }
    struct codec_scratch scratch = {.cap = rr_conf_change_v2_scratch_size(entry->size)};
    scratch.bytes = decoded->scratch = malloc(scratch.cap + 1);
    if (!scratch.bytes)
        return RR_E_NO_MEMORY;
    int rc = rr_conf_change_v2_decode(entry->data, entry->size, &scratch, &decoded->v2);
    if (rc != 0)
        free(decoded->scratch);
    return rc;
}

/* ---- opening ------------------------------------------------------------- */

/* What the entry makes of the configuration in `tracker`, and of the book. */
static int replay(struct tracker *tracker, struct members *members, const struct rr_entry *entry)
{
    struct decoded_change change;
    struct rr_conf_state conf_state;
    int rc = decode(entry, &change);
    if (rc != 0)
        return rc;
    if (confchange_apply(tracker, &change.v2, 0) != NULL)
        rc = RR_E_CORRUPT;
    tracker_conf_state(tracker, &conf_state);
    if (rc == 0)
        rc = members_follow(members, &conf_state, change.v2.context, change.v2.context_size);
    free(change.scratch);
    return rc;
}

int membership_replay(const struct log_cache *log, uint64_t upto, struct tracker *tracker,
                      struct members *members)
{
    uint64_t from = rr_max_u64(log->snapshot->snapshot.metadata.index, members->void_until);
    int rc = 0;
    for (uint32_t i = 0; i < log->index.conf_change_count && rc == 0; i++) {
        const struct rr_entry *entry = &log->index.conf_changes[i];
        if (entry->index > from && entry->index <= upto)
            rc = replay(tracker, members, entry);
    }
    return rc;
}

/* A snapshot of the build before had no book: the voters, which were never changed, live where the
 * options say. */
static int begin_without_book(struct rr_group *group, const struct rr_conf_state *conf_state)
{
    struct rr_peer_address voters[CONFIG_PEERS_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < group->options.peer_count; i++)
        for (uint32_t k = 0; k < conf_state->voter_count; k++)
            if (group->peers[i].node == conf_state->voters[k])
                voters[count++] = group->peers[i];
    if (count == 0)
        return 0;
    members_begin(&group->members, voters, count);
    return members_follow(&group->members, conf_state, NULL, 0);
}

/* A durable state machine may be ahead of the snapshot: what it has applied is not applied again,
 * so the changes among it take effect here. */
int membership_begin(struct rr_group *group)
{
    const struct log_snapshot *snapshot = group->log.snapshot;
    const struct rr_conf_state *before = &snapshot->snapshot.metadata.conf_state;
    struct tracker tracker = {.allocator = group_heap, .max_inflight_msgs = 1};
    int rc = confchange_restore(&tracker, before, 0) == NULL ? 0 : RR_E_CORRUPT;
    if (rc == 0 && snapshot->group_data_size)
        rc = members_decode(&group->members, snapshot->group_data, snapshot->group_data_size);
    else if (rc == 0)
        rc = begin_without_book(group, before);
    if (rc == 0)
        rc = membership_replay(&group->log, group->applied, &tracker, &group->members);
    if (rc == 0) {
        struct rr_conf_state conf_state;
        tracker_conf_state(&tracker, &conf_state);
        group_set_conf_state(group, &conf_state, group->applied);
        group->log.initial_conf = &group->conf_state;
    }
    tracker_fini(&tracker);
    return rc;
}

/* ---- who is connected ---------------------------------------------------- */

static void dial(struct rr_engine *engine, uint64_t node, const char *text)
{
    struct io_address address;
    struct rr_error error = {0};
    if (node == engine->options.node_id || !text[0]) /* a peer without an address says it itself */
        return;
    int rc = io_address_parse(text, &address, &error);
    if (rc == 0)
        rc = transport_add_peer(engine->transport, node, &address, &error);
    if (rc != 0)
        engine_log(engine, ENGINE_LOG_ERROR, "node %llu cannot be reached: %s",
                   (unsigned long long)node, error.message);
}

/* Who opened the group knows best where a member lives now: the book says where it joined. */
static const char *address_of(const struct rr_group *group, const struct member *member)
{
    for (uint32_t i = 0; i < group->options.peer_count; i++)
        if (group->peers[i].node == member->node)
            return group->peers[i].address;
    return member->address;
}

static void dial_members(struct rr_group *group)
{
    for (uint32_t i = 0; i < group->members.count; i++) {
        const struct member *member = &group->members.list[i];
        dial(group->engine, member->node, address_of(group, member));
    }
}

/* Does any group, of which this node is a part, have this node as a member? */
static bool is_wanted(struct rr_engine *engine, uint64_t node)
{
    const struct rr_group *group;
    uint32_t at = 0;
    while ((group = id_map_each(&engine->groups, &at)))
        if (members_find(&group->members, node) && !membership_is_over(&group->membership))
            return true;
    return false;
}

static void hang_up(struct rr_engine *engine, uint64_t node)
{
    if (!is_wanted(engine, node))
        transport_remove_peer(engine->transport, node);
}

static void forget_leaver(struct membership *membership, uint32_t i)
{
    membership->leavers[i] = membership->leavers[--membership->leaver_count];
}

static void note_leaver(struct rr_group *group, uint64_t node)
{
    struct membership *membership = &group->membership;
    if (node == group->engine->options.node_id)
        return;
    if (membership->leaver_count == CONFIG_PEERS_MAX) { /* changes come faster than timeouts */
        uint64_t oldest = membership->leavers[0].node;
        forget_leaver(membership, 0);
        hang_up(group->engine, oldest);
    }
    membership->leavers[membership->leaver_count++] = (struct leaver){
        .node = node,
        .gone_at_ns = group->engine->now_ns + group->options.election_ticks * group->tick_ns};
}

void membership_turn(struct rr_group *group, uint64_t now_ns)
{
    struct membership *membership = &group->membership;
    for (uint32_t i = membership->leaver_count; i-- > 0;) {
        struct leaver leaver = membership->leavers[i];
        if (now_ns < leaver.gone_at_ns)
            continue;
        forget_leaver(membership, i);
        hang_up(group->engine, leaver.node);
    }
}

static void introduce(struct rr_group *group, uint64_t node)
{
    const struct frame_notice notice = {.genesis = group->members.genesis};
    if (notice.genesis)
        (void)transport_send_notice(group->engine->transport, node, group->options.group_id,
                                    &notice); /* an old build is not asked */
}

void membership_adopt(struct rr_group *group)
{
    struct rr_engine *engine = group->engine;
    group->membership.is_removed = members_is_removed(&group->members, engine->options.node_id);
    dial_members(group);
    for (uint32_t i = 0; i < group->options.peer_count && group->members.count == 0; i++)
        dial(engine, group->peers[i].node, group->peers[i].address);
    for (uint32_t i = 0; i < group->members.count; i++)
        introduce(group, group->members.list[i].node);
    if (group->membership.is_removed)
        engine_log(engine, ENGINE_LOG_ERROR, "group %llu: this node was removed from it",
                   (unsigned long long)group->options.group_id);
}

void membership_leave(struct rr_group *group)
{
    for (uint32_t i = 0; i < group->members.count; i++)
        hang_up(group->engine, group->members.list[i].node);
    for (uint32_t i = 0; i < group->options.peer_count; i++)
        hang_up(group->engine, group->peers[i].node);
    for (uint32_t i = 0; i < group->membership.leaver_count; i++)
        hang_up(group->engine, group->membership.leavers[i].node);
}

/* ---- what a change brings with it ---------------------------------------- */

static void note_removed(struct rr_group *group, const char *by)
{
    engine_log(group->engine, ENGINE_LOG_ERROR,
               "group %llu: this node was removed from it (%s); it goes quiet",
               (unsigned long long)group->options.group_id, by);
    group->status.published_ns = 0;
    engine_event(group->engine, &(struct rr_event){.kind = RR_EVENT_REMOVED,
                                                   .group = group->options.group_id,
                                                   .node = group->engine->options.node_id,
                                                   .term = group->staged.term,
                                                   .index = group->conf_index,
                                                   .status = RR_E_REMOVED});
}

/* Before it can call under a false identity, or once more if it has done so. */
static void learn(struct rr_engine *engine, const struct member *member, bool was_stranger)
{
    const struct wal_peer peer = {.node = member->node,
                                  .instance = member->instance,
                                  .boot = member->boot,
                                  .nonce = member->nonce};
    if (peers_learn(&engine->peers, engine->wal, &peer, was_stranger))
        transport_remove_peer(engine->transport, member->node); /* and dial_members adds it */
}

static bool is_listed(const struct member *list, uint32_t count, uint64_t node)
{
    for (uint32_t i = 0; i < count; i++)
        if (list[i].node == node)
            return true;
    return false;
}

/* From the book `before` to the group's. */
static void take_effect(struct rr_group *group, const struct member *before, uint32_t count)
{
    struct rr_engine *engine = group->engine;
    struct membership *membership = &group->membership;
    const struct members *now = &group->members;
    for (uint32_t i = 0; i < now->count; i++)
        learn(engine, &now->list[i], !is_listed(before, count, now->list[i].node));
    dial_members(group);
    for (uint32_t i = 0; i < count; i++)
        if (!members_find(now, before[i].node))
            note_leaver(group, before[i].node);
    group->status.published_ns = 0;
    engine_event(engine, &(struct rr_event){.kind = RR_EVENT_CONFIGURATION,
                                            .group = group->options.group_id,
                                            .term = group->staged.term,
                                            .index = group->conf_index});
    bool was_removed = membership->is_removed;
    membership->is_removed = members_is_removed(now, engine->options.node_id);
    if (members_find(now, engine->options.node_id))
        membership->is_told_so = false;
    if (!membership->is_removed || was_removed)
        return;
    note_removed(group, "its log says so");
    if (group->role == RR_STATE_LEADER)
        leadership_hand_over(group, group->options.election_ticks * group->tick_ns);
}

int membership_restore(struct rr_group *group, const struct log_snapshot *snapshot)
{
    const struct rr_conf_state *conf_state = &snapshot->snapshot.metadata.conf_state;
    struct member before[CONFIG_PEERS_MAX];
    uint32_t count = group->members.count;
    memcpy(before, group->members.list, count * sizeof(*before));
    group_set_conf_state(group, conf_state, snapshot->snapshot.metadata.index);
    int rc = snapshot->group_data_size
                 ? members_decode(&group->members, snapshot->group_data, snapshot->group_data_size)
                 : members_follow(&group->members, conf_state, NULL, 0); /* of the build before */
    /* Some came and went unseen; they may be connected all the same. */
    for (uint32_t i = 0; i < group->members.removed_count && rc == 0; i++)
        hang_up(group->engine, group->members.removed[i]);
    if (rc == 0)
        take_effect(group, before, count);
    return rc;
}

/* ---- a change takes effect ----------------------------------------------- */

/* The leader will not send anything more to who leaves by this change: a last heartbeat lets it
 * know that the change is committed, if it has its entry. */
static void say_goodbye(struct rr_group *group, const struct rr_progress_status *progress,
                        uint32_t count, uint64_t index)
{
    for (uint32_t i = 0; i < count; i++) {
        if (members_find(&group->members, progress[i].id))
            continue;
        struct rr_message heartbeat = {.type = RR_MSG_HEARTBEAT,
                                       .to = progress[i].id,
                                       .from = group->engine->options.node_id,
                                       .term = group->staged.term,
                                       .commit = rr_min_u64(progress[i].match, index)};
        if (heartbeat.to != heartbeat.from)
            (void)transport_send(group->engine->transport, group->options.group_id, &heartbeat);
    }
}

static void complete_change(struct rr_group *group, int32_t status)
{
    struct member_change *change = &group->membership.change;
    struct rr_completion completion = {.tag = change->tag,
                                       .status = status,
                                       .kind = RR_COMPLETION_CONF_CHANGE,
                                       .index = change->index,
                                       .term = change->term};
    *change = (struct member_change){.is_active = false};
    group_complete(group, &completion);
}

void membership_fail_change(struct rr_group *group, uint64_t from, uint64_t to)
{
    const struct member_change *change = &group->membership.change;
    if (change->is_active && change->index >= from && change->index <= to)
        complete_change(group, RR_E_UNKNOWN_OUTCOME);
}

static int enter_configuration(struct rr_group *group, const struct rr_entry *entry)
{
    struct rr_progress_status progress[CONFIG_PEERS_MAX];
    struct member before[CONFIG_PEERS_MAX];
    struct decoded_change change;
    struct rr_conf_state conf_state;
    uint32_t peer_count = rr_raw_node_progress(group->node, progress, CONFIG_PEERS_MAX);
    uint32_t count = group->members.count;
    memcpy(before, group->members.list, count * sizeof(*before));
    int rc = decode(entry, &change);
    if (rc != 0)
        return rc;
    rr_raw_node_apply_conf_change_v2(group->node, &change.v2, &conf_state);
    group_set_conf_state(group, &conf_state, entry->index);
    rc = members_follow(&group->members, &conf_state, change.v2.context, change.v2.context_size);
    free(change.scratch);
    if (rc != 0)
        return rc;
    say_goodbye(group, progress, (uint32_t)rr_min_u64(peer_count, CONFIG_PEERS_MAX), entry->index);
    take_effect(group, before, count);
    return 0;
}

int membership_apply(struct rr_group *group, const struct rr_entry *entry)
{
    const struct member_change *change = &group->membership.change;
    bool is_ours = entry->index == change->index && entry->term == change->term;
    bool is_void = entry->type == RR_ENTRY_NORMAL || entry->index <= group->members.void_until;
    int rc = is_void ? 0 : enter_configuration(group, entry);
    if (rc != 0 || !change->is_active || entry->index < change->index)
        return rc;
    if (entry->index == change->index && !is_ours) {
        complete_change(group, RR_E_UNKNOWN_OUTCOME);
    } else if (is_ours && entry->type == RR_ENTRY_NORMAL) {
        engine_log(group->engine, ENGINE_LOG_WARN,
                   "group %llu: the change of index %llu was refused by the log: another one was "
                   "still in flight",
                   (unsigned long long)group->options.group_id, (unsigned long long)entry->index);
        complete_change(group, RR_E_CONF_REFUSED);
    } else if (group->conf_state.voter_outgoing_count == 0) {
        complete_change(group, RR_OK); /* of a joint change: that it was left */
    }
    return 0;
}

/* ---- removed, by hearsay ------------------------------------------------- */

static void hear_removed(struct rr_group *group, uint64_t from)
{
    struct membership *membership = &group->membership;
    if (!members_find(&group->members, from) || group->error)
        return;
    if (!membership_is_over(membership)) {
        membership->is_told_so = true;
        if (group->role != RR_STATE_FOLLOWER)
            rr_raw_node_step_down(group->node);
        note_removed(group, "a member says so");
        engine_touch(group->engine, group);
    }
    hang_up(group->engine, from);
}

void membership_unhear(struct rr_group *group)
{
    struct membership *membership = &group->membership;
    if (membership->is_removed)
        return;
    membership->is_told_so = false;
    group->status.published_ns = 0;
    engine_log(group->engine, ENGINE_LOG_WARN,
               "group %llu: a leader speaks to this node: it was not removed",
               (unsigned long long)group->options.group_id);
    dial_members(group);
}

void membership_tell_removed(struct rr_group *group, uint64_t node)
{
    const struct frame_notice notice = {.genesis = group->members.genesis, .code = RR_E_REMOVED};
    (void)transport_send_notice(group->engine->transport, node, group->options.group_id, &notice);
}

static bool is_among(const uint64_t *ids, uint32_t count, uint64_t node)
{
    for (uint32_t i = 0; i < count; i++)
        if (ids[i] == node)
            return true;
    return false;
}

static uint8_t role_in(const struct rr_conf_state *conf, uint64_t node)
{
    if (is_among(conf->voters, conf->voter_count, node))
        return RR_MEMBER_ROLE_VOTER;
    if (is_among(conf->learners, conf->learner_count, node))
        return RR_MEMBER_ROLE_LEARNER;
    bool is_leaving = is_among(conf->voters_outgoing, conf->voter_outgoing_count, node);
    return is_leaving ? RR_MEMBER_ROLE_LEAVING : 0;
}

uint8_t membership_role(const struct rr_group *group, uint64_t node)
{
    return role_in(&group->conf_state, node);
}

bool membership_is_in(const struct rr_conf_state *conf_state, uint64_t node)
{
    return role_in(conf_state, node) != 0;
}

/* ---- of an engine -------------------------------------------------------- */

enum peer_standing membership_standing(struct rr_engine *engine, uint64_t node)
{
    const struct rr_group *group;
    uint32_t at = 0, removed = 0;
    while ((group = id_map_each(&engine->groups, &at))) {
        if (members_find(&group->members, node))
            return PEER_MEMBER;
        removed += members_is_removed(&group->members, node);
    }
    return removed > 0 && removed == engine->groups.count ? PEER_REMOVED : PEER_UNKNOWN;
}

void membership_peer_up(struct rr_engine *engine, uint64_t node)
{
    struct rr_group *group;
    uint32_t at = 0;
    while ((group = id_map_each(&engine->groups, &at)))
        introduce(group, node);
}

void membership_refused(struct rr_engine *engine, uint64_t node)
{
    struct rr_group *group;
    uint32_t at = 0;
    while ((group = id_map_each(&engine->groups, &at)))
        hear_removed(group, node);
}

/* The book's word stands above the node's own. */
void membership_on_address(void *ctx, uint64_t node, const struct io_address *address)
{
    struct rr_engine *engine = ctx;
    const struct rr_group *group;
    const struct member *member;
    uint32_t at = 0;
    char text[IO_ADDRESS_TEXT_SIZE];
    while ((group = id_map_each(&engine->groups, &at)))
        if (!membership_is_over(&group->membership) &&
            (member = members_find(&group->members, node)) && member->address[0])
            return;
    io_address_format(address, text);
    dial(engine, node, text);
}

/* Two groups under one id: the voters that this node and the other began with are not the same. */
static RR_COLD void refuse_foreigner(struct rr_group *group, uint64_t node)
{
    struct rr_engine *engine = group->engine;
    engine_log(engine, ENGINE_LOG_ERROR,
               "group %llu: node %llu was bootstrapped with other initial voters than this node: "
               "they do not talk; empty the directory of the one whose list of peers is wrong, and "
               "open it again with the list of the others",
               (unsigned long long)group->options.group_id, (unsigned long long)node);
    peers_note_foreign(&engine->peers, node);
    transport_remove_peer(engine->transport, node);
    const struct member *member = members_find(&group->members, node);
    if (member)
        dial(engine, node, address_of(group, member)); /* to be refused, for status */
}

void membership_on_notice(void *ctx, uint64_t from, uint64_t group_id,
                          const struct frame_notice *notice)
{
    struct rr_engine *engine = ctx;
    struct rr_group *group = id_map_find(&engine->groups, group_id);
    if (!group || group->error)
        return;
    uint64_t genesis = group->members.genesis;
    if (genesis && notice->genesis && genesis != notice->genesis)
        refuse_foreigner(group, from);
    else if (notice->code == RR_E_REMOVED)
        hear_removed(group, from);
}
