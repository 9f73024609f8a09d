/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/deadlines.h"

#include "engine/group.h"
#include "proto/base.h"

#include <stdlib.h>

#define MS (1000ull * 1000)

static struct deadline_mark *mark_at(struct deadlines *deadlines, uint32_t i)
{
    RR_ASSERT(i < deadlines->count);
    return &deadlines->marks[(deadlines->head + i) % DEADLINE_MARKS_MAX];
}

/* ---- deadlines ----------------------------------------------------------- */

void group_place_deadlines(struct rr_group *group)
{
    struct deadlines *deadlines = &group->deadlines;
    while (deadlines->placed_count < deadlines->count) {
        struct deadline_mark *mark = mark_at(deadlines, deadlines->placed_count);
        int32_t behind = proposal_entries_between(mark->entry, group->queue.head_entry);
        if (behind < 0)
            return;
        /* Some of those behind it may not have entered the log: then it is a little early. */
        mark->index = group->log.last - rr_min_u64(group->log.last, (uint64_t)behind);
        deadlines->placed_count++;
    }
}

static void add_mark(struct rr_group *group, uint64_t now_ns)
{
    struct deadlines *deadlines = &group->deadlines;
    uint64_t interval_ns = group->options.proposal_timeout_ms * MS / DEADLINE_PARTS;
    if (now_ns - deadlines->marked_ns < interval_ns || deadlines->count == DEADLINE_MARKS_MAX)
        return;
    deadlines->marked_ns = now_ns;
    deadlines->count++;
    *mark_at(deadlines, deadlines->count - 1) = (struct deadline_mark){
        .time_ns = now_ns, .entry = proposal_queue_tail_entry(&group->queue)};
    group_place_deadlines(group);
}

/* Everything before the oldest mark is late. */
static void expire_oldest(struct rr_group *group)
{
    struct deadlines *deadlines = &group->deadlines;
    int32_t queued =
        proposal_entries_between(group->queue.head_entry, mark_at(deadlines, 0)->entry);
    if (queued > 0)
        group_refuse_oldest(group, (uint32_t)queued, RR_E_DEADLINE);
    if (deadlines->placed_count == 0)
        return; /* one of them is being published: the next turn sees it */
    struct rr_completion completion = {.status = RR_E_UNKNOWN_OUTCOME};
    while (outcomes_fail_up_to(&group->outcomes, mark_at(deadlines, 0)->index, &completion.tag,
                               &completion.index, &completion.term))
        group_complete(group, &completion);
    deadlines->head++;
    deadlines->count--;
    deadlines->placed_count--;
}

void group_expire_proposals(struct rr_group *group, uint64_t now_ns)
{
    struct deadlines *deadlines = &group->deadlines;
    uint64_t timeout_ns = group->options.proposal_timeout_ms * MS;
    if (RR_LIKELY(timeout_ns == 0))
        return;
    add_mark(group, now_ns);
    uint32_t count = deadlines->count;
    while (count-- && now_ns - mark_at(deadlines, 0)->time_ns >= timeout_ns)
        expire_oldest(group);
}

/* ---- cancellation -------------------------------------------------------- */

struct cancel_command {
    struct command command;
    struct rr_group *group;
    uint64_t tag;
};

static void cancel_on_loop(struct rr_engine *engine, struct command *command)
{
    struct cancel_command *cancel = RR_CONTAINER_OF(command, struct cancel_command, command);
    struct rr_group *group = cancel->group;
    struct rr_completion completion = {.tag = cancel->tag, .status = RR_E_CANCELED};
    bool is_found = proposal_queue_cancel(&group->queue, cancel->tag);
    group->has_canceled |= is_found;
    if (!is_found) {
        completion.status = RR_E_UNKNOWN_OUTCOME;
        is_found =
            outcomes_cancel(&group->outcomes, cancel->tag, &completion.index, &completion.term);
    }
    if (is_found)
        group_complete(group, &completion);
    apply_flush(&group->apply);
    engine_touch(engine, group);
    group_call_end(group);
    free(cancel);
}

int rr_cancel(struct rr_group *group, uint64_t tag)
{
    struct cancel_command *cancel = malloc(sizeof(*cancel));
    if (!cancel)
        return RR_E_NO_MEMORY;
    *cancel = (struct cancel_command){.command.run = cancel_on_loop, .group = group, .tag = tag};
    if (!group_call_begin(group)) {
        free(cancel);
        return RR_E_CLOSED;
    }
    engine_post(group->engine, &cancel->command);
    return 0;
}
