/* SPDX-License-Identifier: Apache-2.0
 *
 * A group leaves its loop while the engine runs, or leaves the directory. Cold.
 *
 *      any thread                    loop
 *      rr_group_close ──command──▶   DRAINING   no new proposals; until every outcome is given, or
 *         waits                                 the deadline (an abort is late from the beginning)
 *                                    HALTED     the core is touched no more; until the apply stage
 *                                               is idle and the log has all that was staged
 *                     ◀───gate───    what is left is put into the registry: a dormant record
 *      frees what only threads used
 *
 * The handle stays, an empty shell, until the group is opened again or removed, so that a late call
 * is answered by RR_E_CLOSED. Failure path: with a poisoned log nothing is waited for but the
 * outcomes, and a disk that does not take what was staged is waited for only so long; then the
 * record cannot be opened again in this process.
 */
#include "engine/group.h"

#include "proto/base.h"

struct group_close {
    struct command command;
    struct rr_group *group;
    enum rr_close_mode mode;
    struct io_gate gate;
};

bool group_call_begin(struct rr_group *group)
{
    atomic_fetch_add(&group->calls, 1);
    if (!proposal_queue_is_closed(&group->queue))
        return true;
    atomic_fetch_sub(&group->calls, 1);
    return false;
}

void group_call_end(struct rr_group *group)
{
    uint32_t before = atomic_fetch_sub(&group->calls, 1);
    RR_ASSERT(before > 0);
}

/* ---- the loop's side ----------------------------------------------------- */

static void begin(struct rr_engine *engine, struct command *command)
{
    struct group_close *close = RR_CONTAINER_OF(command, struct group_close, command);
    struct rr_group *group = close->group;
    group->closing = close;
    group->close_deadline_ns = engine->now_ns;
    if (close->mode == RR_CLOSE_DRAIN)
        group->close_deadline_ns += group_patience_ns(group);
    proposal_queue_close(&group->queue);
    reads_close(&group->reads);
    engine_touch(engine, group);
}

/* An error that came from staging may have left the log ahead of what the group knows of it. */
static int error_that_lasts(const struct rr_group *group)
{
    switch (group->error) {
    case RR_E_NO_MEMORY:
    case RR_E_TOO_LARGE:
    case RR_E_POISONED:
    case RR_E_INSTANCE:
    case RR_E_CORRUPT:
        return group->error;
    default:
        return 0;
    }
}

static void retire(struct rr_group *group, bool is_recorded)
{
    struct rr_engine *engine = group->engine;
    struct dormant *dormant = &group->entry->dormant;
    id_map_remove(&engine->groups, group->options.group_id);
    engine_watch_health(engine);
    membership_leave(group);
    group_stop_worker(group);
    group_publish_status(group, engine->now_ns, true);
    dormant->hard_state = group->staged;
    dormant->error = is_recorded ? error_that_lasts(group) : RR_E_STALLED;
    dormant->is_large = false;
    group_fini_core(group);
    log_cache_end_reads(&group->log);
    log_cache_take(&dormant->log, &group->log);
    struct group_close *close = group->closing;
    group->closing = NULL;
    engine->io->ops->gate_open(engine->io, &close->gate);
}

/* Is every outcome given, or must it be now? */
static bool is_drained(const struct rr_group *group, uint64_t now_ns)
{
    return group->error || group_owes_nothing(group) || now_ns >= group->close_deadline_ns;
}

/* Who closes is not held for longer by a disk that takes nothing. */
static uint64_t gives_up_ns(const struct rr_group *group)
{
    return group->close_deadline_ns + group_patience_ns(group);
}

bool group_close_step(struct rr_group *group, uint64_t now_ns)
{
    struct wal *wal = group->engine->wal;
    if (!is_drained(group, now_ns))
        return false;
    if (!group->error)
        group_halt(group, RR_E_CLOSED);
    bool is_recorded = group->engine->poisoned || wal_durable_seq(wal) >= group->staged_seq;
    if (!group_is_quiet(group) || !(is_recorded || now_ns >= gives_up_ns(group)))
        return false;
    retire(group, is_recorded);
    return true;
}

uint64_t group_close_deadline(const struct rr_group *group, uint64_t now_ns)
{
    uint64_t deadline = group->error ? gives_up_ns(group) : group->close_deadline_ns;
    return deadline > now_ns ? deadline : now_ns + group->tick_ns;
}

/* ---- any thread ---------------------------------------------------------- */

int rr_group_close(struct rr_group *group, enum rr_close_mode mode)
{
    if (!group || mode > RR_CLOSE_ABORT)
        return RR_E_INVALID;
    struct rr_engine *engine = group->engine;
    if (!engine->io->ops->may_wait(engine->io))
        return RR_E_WRONG_THREAD;
    if (registry_claim_open(&engine->registry, group->entry, group) != 0)
        return RR_E_CLOSED;
    struct group_close close = {.command.run = begin, .group = group, .mode = mode};
    engine_post(engine, &close.command);
    if (!engine->io->ops->gate_wait(engine->io, &close.gate))
        return RR_E_CLOSED;
    group_fini_shared(group);
    registry_release(&engine->registry, group->entry);
    return 0;
}
