/* SPDX-License-Identifier: Apache-2.0
 *
 * The turn of a loop. Hot. Completions have only recorded when it begins; then, in this order:
 *
 *      commands of other threads
 *      transport_receive     messages are checked at the border and stepped
 *      snapshot_streams_…    so are those whose files have arrived
 *      each busy group       applied batches, ticks, released responses, proposals, Readys
 *      wal_flush             one durable write for all of them, if one may start
 *      transport_flush       at most one send per peer
 *        → the backend enters the kernel once with all of it
 *
 * Nothing in a turn blocks, and the clock was read once, by the backend. A group is busy when
 * something happened to it (a message, a batch that came back, a proposal, a tick) and until it
 * rests: an idle one costs nothing but its ticks.
 */
#include "engine/group.h"
#include "engine/log_trim.h"

#include "proto/base.h"
#include "proto/codec.h"

/* ---- inbound messages ---------------------------------------------------- */

/* What a peer may send. Proposals are not forwarded; the rest is local to a node. */
static bool is_peer_message(uint8_t type)
{
    switch ((enum rr_message_type)type) {
    case RR_MSG_APP:
    case RR_MSG_APP_RESP:
    case RR_MSG_VOTE:
    case RR_MSG_VOTE_RESP:
    case RR_MSG_SNAP:
    case RR_MSG_HEARTBEAT:
    case RR_MSG_HEARTBEAT_RESP:
    case RR_MSG_TIMEOUT_NOW:
    case RR_MSG_PRE_VOTE:
    case RR_MSG_PRE_VOTE_RESP:
    case RR_MSG_READ_INDEX:
    case RR_MSG_READ_INDEX_RESP:
        return true;
    default:
        return false;
    }
}

static bool is_acceptable_snapshot(const struct rr_snapshot *snapshot)
{
    const struct rr_conf_state *conf = &snapshot->metadata.conf_state;
    return snapshot->size <= WAL_INLINE_SNAPSHOT_MAX && conf->voter_count <= CONFIG_PEERS_MAX &&
           conf->learner_count <= CONFIG_PEERS_MAX &&
           conf->voter_outgoing_count <= CONFIG_PEERS_MAX &&
           conf->learner_next_count <= CONFIG_PEERS_MAX;
}

static bool is_acceptable(const struct rr_message *message)
{
    return message->type != RR_MSG_SNAP || (is_acceptable_snapshot(message->snapshot) &&
                                            message->context_size <= WAL_GROUP_DATA_MAX);
}

static uint64_t entry_bytes(const struct rr_message *message)
{
    const struct rr_entry *first = &message->entries[0], *last = first + message->entry_count - 1;
    uint64_t bytes = 0;
    if (RR_LIKELY(first->wire_size && last->wire_size)) /* they lie one behind the other */
        return (uint64_t)(last->data + last->size - rr_entry_wire(first));
    for (uint32_t i = 0; i < message->entry_count; i++)
        bytes += rr_entry_wire_size(&message->entries[i]);
    return bytes;
}

/* Is there memory for a leader's entries, and those that came before them in this turn? What
 * hinders it (writes that the disk has not finished, batches that the state machine has not
 * applied) goes by itself; one message is taken when nothing else is left. */
static bool has_memory_for(struct rr_engine *engine, const struct rr_message *message)
{
    engine->received_bytes += entry_bytes(message);
    uint64_t bytes = rr_min_u64(engine->received_bytes, engine->memory.log_max / 4);
    if (RR_LIKELY(logs_have_room(engine, bytes)))
        return true;
    logs_trim(engine);
    return logs_have_room(engine, bytes);
}

/* May entries from a leader be logged? Not without room in memory or on the disk: they are refused
 * before anything of them is acknowledged, and the leader probes with its next heartbeat. Over its
 * budget the log takes them only if nothing here can make room: what is dead will be recycled, what
 * is committed will be snapshotted and go, however slow the state machine is, and what is kept
 * before a snapshot goes too; an uncommitted tail can only be committed or truncated by what comes.
 */
static bool may_log_received(struct rr_group *group, const struct rr_message *message)
{
    struct wal *wal = group->engine->wal;
    if (RR_UNLIKELY(!has_memory_for(group->engine, message)))
        return false;
    int rc = wal_admits_proposals(wal);
    if (RR_UNLIKELY(rc != 0)) {
        uint64_t index = group->log.snapshot->snapshot.metadata.index;
        bool can_compact = group->snapshots.failure == 0 && group->staged.commit > index;
        if (rc != RR_E_NO_SPACE || can_compact || group_drop_trail(group))
            return false;
    }
    return wal_admits_entries(wal) == 0;
}

/* Who was removed from the group is told so when it campaigns; a node that was told so by another
 * than its log believes a leader. */
static bool is_of_outsider(struct rr_group *group, const struct rr_message *message)
{
    switch ((enum rr_message_type)message->type) {
    case RR_MSG_PRE_VOTE:
    case RR_MSG_VOTE:
        if (RR_LIKELY(!members_is_removed(&group->members, message->from)))
            return false;
        membership_tell_removed(group, message->from);
        return true;
    case RR_MSG_APP:
    case RR_MSG_HEARTBEAT:
    case RR_MSG_SNAP:
        if (RR_UNLIKELY(group->membership.is_told_so))
            membership_unhear(group);
        return false;
    default:
        return false;
    }
}

/* `offer`: of the file in which a MsgSnap's snapshot lies; NULL: in the message. */
static int take_message(struct rr_group *group, uint64_t from, const struct rr_message *message,
                        const struct snapshot_offer *offer)
{
    struct rr_engine *engine = group->engine;
    const char *reason = "a message that no peer sends";
    engine_touch(engine, group);
    if (is_of_outsider(group, message))
        return 0;
    bool is_sound = is_peer_message(message->type) &&
                    rr_raw_node_validate_message(group->node, message, &reason) == 0 &&
                    is_acceptable(message);
    if (RR_UNLIKELY(!is_sound)) {
        engine_log(engine, ENGINE_LOG_WARN, "node %llu: %s; its connection is closed",
                   (unsigned long long)from, reason);
        return RR_E_MALFORMED;
    }
    /* Nor is a read forwarded twice: two nodes could take each other for the leader. */
    if (message->type == RR_MSG_READ_INDEX && (message->from != from || !group_serves_reads(group)))
        return 0;
    bool is_candidate = message->type == RR_MSG_VOTE || message->type == RR_MSG_PRE_VOTE;
    if ((is_candidate && group_owes_lease(group)) || group_withholds(group, message))
        return 0;
    /* What is left of a refused append is a MsgApp that offers no entries; its commit may be what
     * makes room. */
    struct rr_message offered = *message;
    if (offered.type == RR_MSG_APP && offered.entry_count && !may_log_received(group, message))
        offered.entry_count = 0;
    if (RR_UNLIKELY(message->type == RR_MSG_SNAP) && snapshot_arrives(group, message, offer) != 0)
        return 0;                                  /* as if it was lost */
    (void)rr_raw_node_step(group->node, &offered); /* what the core ignores is no event */
    return 0;
}

int loop_on_message(void *ctx, uint64_t from, uint64_t group_id, const struct rr_message *message)
{
    struct rr_engine *engine = ctx;
    struct rr_group *group = id_map_find(&engine->groups, group_id);
    engine->messages_received++;
    if (!group || group->error)
        return 0; /* not open (yet or any more): as if it was lost */
    return take_message(group, from, message, NULL);
}

int loop_on_snapshot_file(struct rr_engine *engine, uint64_t from,
                          const struct snapshot_offer *offer)
{
    struct rr_group *group = id_map_find(&engine->groups, offer->group);
    if (!group || group->error)
        return RR_E_CLOSED;
    return take_message(group, from, offer->message, offer);
}

void loop_on_peer_down(void *ctx, uint64_t node)
{
    struct rr_engine *engine = ctx;
    struct rr_group *group;
    uint32_t at = 0;
    while ((group = id_map_each(&engine->groups, &at))) {
        if (group->error)
            continue;
        rr_raw_node_report_unreachable(group->node, node);
        engine_touch(engine, group);
    }
}

/* ---- commands ------------------------------------------------------------ */

void engine_post(struct rr_engine *engine, struct command *command)
{
    command->next = atomic_load_explicit(&engine->commands, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&engine->commands, &command->next, command,
                                                  memory_order_release, memory_order_relaxed))
        ;
    io_wake(engine->io);
}

static void run_commands(struct rr_engine *engine)
{
    if (RR_LIKELY(!atomic_load_explicit(&engine->commands, memory_order_relaxed)))
        return;
    struct command *newest_first = atomic_exchange(&engine->commands, NULL);
    struct command *in_order = NULL;
    while (newest_first) {
        struct command *command = newest_first;
        newest_first = command->next;
        command->next = in_order;
        in_order = command;
    }
    while (in_order) {
        struct command *command = in_order;
        in_order = command->next;
        command->run(engine, command);
    }
}

/* ---- who is busy --------------------------------------------------------- */

void engine_touch(struct rr_engine *engine, struct rr_group *group)
{
    if (group->is_busy)
        return;
    group->is_busy = true;
    group->next_busy = NULL;
    *engine->busy_end = group;
    engine->busy_end = &group->next_busy;
}

int engine_add_group(struct rr_engine *engine, struct rr_group *group)
{
    int rc = id_map_add(&engine->groups, group->options.group_id, group);
    if (rc != 0)
        return rc;
    if (engine->tick_origin_ns == 0)
        engine->tick_origin_ns = engine->now_ns;
    /* Groups with equal ticks tick together, so that their heartbeats share frames. */
    uint64_t since = (engine->now_ns - engine->tick_origin_ns) % group->tick_ns;
    group->last_tick_ns = engine->now_ns - since;
    engine->next_tick_ns = rr_min_u64(engine->next_tick_ns, group->last_tick_ns + group->tick_ns);
    engine_touch(engine, group);
    return 0;
}

void engine_call(struct rr_engine *engine, struct rr_group *group)
{
    /* Who finds it there already has nothing to add: the loop will look at all of the queue. */
    if (!atomic_exchange(&group->is_called, true)) {
        group->next_called = atomic_load_explicit(&engine->called, memory_order_relaxed);
        while (!atomic_compare_exchange_weak_explicit(&engine->called, &group->next_called, group,
                                                      memory_order_release, memory_order_relaxed))
            ;
    }
    io_wake(engine->io);
}

static void touch_called(struct rr_engine *engine)
{
    if (!atomic_load_explicit(&engine->called, memory_order_relaxed))
        return;
    struct rr_group *group = atomic_exchange(&engine->called, NULL);
    while (group) {
        struct rr_group *next = group->next_called;
        atomic_store(&group->is_called, false); /* from here on it may be called again */
        if (group->node)                        /* else it was closed meanwhile */
            engine_touch(engine, group);
        group = next;
    }
}

static void touch_all(struct rr_engine *engine)
{
    struct rr_group *group;
    uint32_t at = 0;
    while ((group = id_map_each(&engine->groups, &at)))
        engine_touch(engine, group);
}

static void touch_ticking(struct rr_engine *engine, uint64_t now_ns)
{
    struct rr_group *group;
    uint32_t at = 0;
    engine->next_tick_ns = UINT64_MAX;
    while ((group = id_map_each(&engine->groups, &at))) { /* also who stopped: for its status */
        uint64_t ticks = (now_ns - group->last_tick_ns) / group->tick_ns;
        if (ticks > 0)
            engine_touch(engine, group);
        uint64_t next = group->last_tick_ns + (ticks + 1) * group->tick_ns;
        engine->next_tick_ns = rr_min_u64(engine->next_tick_ns, next);
    }
}

/* What keeps old segments from being recycled is written again. */
static void rewrite_wanted(struct rr_engine *engine)
{
    uint64_t id;
    if (RR_LIKELY(!wal_wants_rewrite(engine->wal, &id)))
        return;
    struct rr_group *group = id_map_find(&engine->groups, id);
    if (group) {
        group->must_rewrite = true;
        engine_touch(engine, group);
        return;
    }
    int rc = registry_rewrite(&engine->registry, id, engine->wal);
    if (rc != 0)
        engine_log(engine, ENGINE_LOG_WARN, "group %llu, which is not open, holds segments: %s",
                   (unsigned long long)id, rr_err_sentence(rc));
}

/* ---- the groups' turn ---------------------------------------------------- */

/* What one group may cut, so that all together cut about one write: who has less than an even share
 * gets all of his into it, and leaves the rest to those who have more. More than a write would only
 * wait, in front of what others propose meanwhile. */
static uint64_t share_of_write(const struct rr_engine *engine)
{
    uint64_t all = engine->options.wal_write_bytes_max;
    if (!engine->busy || !engine->busy->next_busy)
        return all;
    uint64_t count = 0, hungry_count = 0, left_over = 0;
    for (const struct rr_group *group = engine->busy; group; group = group->next_busy)
        count += proposal_queue_bytes(&group->queue) > 0;
    uint64_t even = all / rr_max_u64(count, 1);
    for (const struct rr_group *group = engine->busy; group; group = group->next_busy) {
        uint64_t waiting = proposal_queue_bytes(&group->queue);
        hungry_count += waiting >= even;
        left_over += waiting > 0 && waiting < even ? even - waiting : 0;
    }
    return even + left_over / rr_max_u64(hungry_count, 1);
}

static uint64_t turn_groups(struct rr_engine *engine, uint64_t now_ns)
{
    uint64_t deadline = UINT64_MAX;
    engine->cut_bytes_max = share_of_write(engine);
    for (struct rr_group *group = engine->busy; group; group = group->next_busy)
        deadline = rr_min_u64(deadline, group_turn(group, now_ns));
    return deadline;
}

/* Who has nothing more to do leaves the list. The others are taken up again from the second on, so
 * that each is first once. False: there is work at once. */
static bool settle_groups(struct rr_engine *engine)
{
    struct rr_group *group = engine->busy;
    bool may_sleep = true;
    engine->busy = NULL;
    engine->busy_end = &engine->busy;
    struct rr_group *first = NULL;
    while (group) {
        struct rr_group *next = group->next_busy;
        group->is_busy = false;
        if (RR_UNLIKELY(group->closing) && group_close_step(group, engine->now_ns)) {
            group = next;
            continue;
        }
        bool is_asleep = group_may_sleep(group);
        may_sleep &= is_asleep;
        if (!is_asleep || !group_rests(group)) {
            if (!first)
                first = group;
            else
                engine_touch(engine, group);
        }
        group = next;
    }
    if (first)
        engine_touch(engine, first);
    return may_sleep;
}

/* ---- closing ------------------------------------------------------------- */

/* RUNNING --close--> DRAINING --every outcome given, or late--> MARKING --tail proven, or late-->
 * ENDED. An abort is a close that is late from the beginning. */
static bool are_groups_quiet(const struct rr_engine *engine)
{
    const struct rr_group *group;
    uint32_t at = 0;
    while ((group = id_map_each(&engine->groups, &at)))
        if (!group_is_quiet(group))
            return false;
    return true;
}

static void fail_groups(struct rr_engine *engine)
{
    struct rr_group *group;
    uint32_t at = 0;
    while ((group = id_map_each(&engine->groups, &at)))
        group_fail_all(group, RR_E_CLOSED);
}

static uint64_t advance_close(struct rr_engine *engine, uint64_t now_ns)
{
    bool is_late = now_ns >= engine->close_deadline_ns;
    uint64_t deadline = engine->close_deadline_ns;
    if (engine->phase == ENGINE_DRAINING && (is_late || are_groups_quiet(engine))) {
        fail_groups(engine);
        wal_close_mark(engine->wal);
        engine->phase = ENGINE_MARKING;
        deadline = now_ns; /* submit the mark */
    } else if (engine->phase == ENGINE_MARKING && wal_is_idle(engine->wal)) {
        engine->phase = ENGINE_ENDED;
    }
    if (engine->phase == ENGINE_MARKING && is_late)
        engine->phase = ENGINE_ENDED;
    return deadline;
}

bool loop_turn(void *ctx, uint64_t now_ns, uint64_t *deadline_ns)
{
    struct rr_engine *engine = ctx;
    engine->now_ns = now_ns;
    engine->received_bytes = 0;
    touch_called(engine); /* before a command can end a group that was called */
    run_commands(engine);
    transport_receive(engine->transport, now_ns);
    snapshot_streams_receive(engine->streams, now_ns);
    peers_release(&engine->peers, engine->wal, engine->transport);
    if (now_ns >= engine->next_tick_ns) {
        engine_watch_disk(engine, now_ns);
        engine_watch_health(engine);
        engine_watch_level(engine);
        touch_ticking(engine, now_ns);
    }
    if (RR_UNLIKELY(engine->poisoned))
        touch_all(engine);
    if (RR_UNLIKELY(engine->removals))
        engine_end_removals(engine);
    rewrite_wanted(engine);
    uint64_t deadline = rr_min_u64(turn_groups(engine, now_ns), engine->next_tick_ns);
    if (RR_UNLIKELY(logs_are_too_large(engine)))
        logs_trim(engine);
    deadline = rr_min_u64(deadline, wal_flush(engine->wal, now_ns));
    deadline = rr_min_u64(deadline, snapshot_streams_flush(engine->streams, now_ns));
    deadline = rr_min_u64(deadline, transport_flush(engine->transport, now_ns));
    if (RR_UNLIKELY(engine->phase != ENGINE_RUNNING))
        deadline = rr_min_u64(deadline, advance_close(engine, now_ns));
    if (!settle_groups(engine))
        deadline = now_ns;
    *deadline_ns = deadline;
    return engine->phase != ENGINE_ENDED;
}
