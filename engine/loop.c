/* SPDX-License-Identifier: Apache-2.0
 *
 * The turn of a loop. Hot. Completions have only recorded when it begins; then, in this order:
 *
 *      commands of other threads
 *      transport_receive     messages are checked at the border and stepped
 *      the group's turn      applied batches, ticks, released responses, proposals, Readys
 * (group.c) wal_flush             one durable write, if one may start transport_flush       at most
 * one send per peer → the backend enters the kernel once with all of it
 *
 * Nothing in a turn blocks, and the clock was read once, by the backend.
 */
#include "engine/group.h"

#include "proto/base.h"

/* ---- inbound messages ---------------------------------------------------- */

/* What a peer may send. Proposals and reads are not forwarded; the rest is local to a node. */
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

/* May entries from a leader be logged? Not without room on the disk: they are refused before
 * anything of them is acknowledged. Over its budget the log takes them only if nothing here can
 * make room: what is committed will be snapshotted and go, however slow the state machine is; an
 * uncommitted tail can only be committed or truncated by what comes. */
static bool may_log_received(const struct rr_group *group)
{
    struct wal *wal = group->engine->wal;
    bool can_compact = !group->is_snapshot_too_large &&
                       group->staged.commit > group->log.snapshot->snapshot.metadata.index;
    if (RR_UNLIKELY(can_compact && wal_admits_proposals(wal) != 0))
        return false;
    return wal_admits_entries(wal) == 0;
}

int loop_on_message(void *ctx, uint64_t from, uint64_t group_id, const struct rr_message *message)
{
    struct rr_engine *engine = ctx;
    struct rr_group *group = engine->group;
    const char *reason = "a message that no peer sends";
    engine->messages_received++;
    if (!group || group->options.group_id != group_id || group->error)
        return 0; /* not open (yet or any more): as if it was lost */
    bool is_sound = is_peer_message(message->type) &&
                    rr_raw_node_validate_message(group->node, message, &reason) == 0 &&
                    (!message->snapshot || is_acceptable_snapshot(message->snapshot));
    if (RR_UNLIKELY(!is_sound)) {
        engine_log(engine, ENGINE_LOG_WARN, "node %llu: %s; its connection is closed",
                   (unsigned long long)from, reason);
        return RR_E_MALFORMED;
    }
    /* What is left of a refused append is a MsgApp that offers no entries; its commit may be what
     * makes room. */
    struct rr_message offered = *message;
    if (offered.entry_count && !may_log_received(group))
        offered.entry_count = 0;
    (void)rr_raw_node_step(group->node, &offered); /* what the core ignores is no event */
    return 0;
}

void loop_on_peer_down(void *ctx, uint64_t node)
{
    struct rr_engine *engine = ctx;
    if (engine->group && !engine->group->error)
        rr_raw_node_report_unreachable(engine->group->node, node);
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

/* ---- closing ------------------------------------------------------------- */

/* RUNNING --close--> DRAINING --every outcome given, or late--> MARKING --tail proven, or late-->
 * ENDED. An abort is a close that is late from the beginning. */
static uint64_t advance_close(struct rr_engine *engine, uint64_t now_ns)
{
    struct rr_group *group = engine->group;
    bool is_late = now_ns >= engine->close_deadline_ns;
    uint64_t deadline = engine->close_deadline_ns;
    if (engine->phase == ENGINE_DRAINING && (!group || group_is_quiet(group) || is_late)) {
        if (group)
            group_fail_all(group, RR_E_CLOSED);
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
    run_commands(engine);
    transport_receive(engine->transport, now_ns);
    peers_release(&engine->peers, engine->wal, engine->transport);
    struct rr_group *group = engine->group;
    uint64_t deadline = group ? group_turn(group, now_ns) : UINT64_MAX;
    deadline = rr_min_u64(deadline, wal_flush(engine->wal, now_ns));
    deadline = rr_min_u64(deadline, transport_flush(engine->transport, now_ns));
    if (RR_UNLIKELY(engine->phase != ENGINE_RUNNING))
        deadline = rr_min_u64(deadline, advance_close(engine, now_ns));
    if (group && !group_may_sleep(group))
        deadline = now_ns;
    *deadline_ns = deadline;
    return engine->phase != ENGINE_ENDED;
}
