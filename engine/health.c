/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/health.h"

#include "engine/group.h"
#include "proto/base.h"

#include <stdio.h>
#include <string.h>

/* An election may take so many timeouts before its absence is a symptom. */
#define LEADERLESS_ELECTIONS 3u

/* ---- the loop's side ----------------------------------------------------- */

static int32_t cause_of(const struct rr_group *group, uint64_t now_ns)
{
    uint64_t patience_ns = LEADERLESS_ELECTIONS * group->options.election_ticks * group->tick_ns;
    if (group->error)
        return group->error == RR_E_CLOSED ? 0 : group->error; /* closed is what was asked for */
    bool is_leaderless = group->lead == RR_NONE && now_ns - group->leaderless_ns > patience_ns;
    return is_leaderless ? RR_E_QUORUM_LOST : snapshots_cause(group);
}

/* What matters more is named. */
static uint32_t severity(int32_t cause)
{
    switch (cause) {
    case 0:
        return 0;
    case RR_E_SNAPSHOT_TEMPORARILY_UNAVAILABLE:
    case RR_E_NOT_SUPPORTED:
        return 1;
    case RR_E_QUORUM_LOST:
        return 2;
    default:
        return 3;
    }
}

void engine_watch_health(struct rr_engine *engine)
{
    int32_t status = engine->poisoned ? RR_E_POISONED : engine->disk.status;
    bool is_the_disk = status != 0;
    uint64_t whose = 0;
    const struct rr_group *group;
    uint32_t at = 0;
    while (!is_the_disk && (group = id_map_each(&engine->groups, &at))) {
        int32_t cause = cause_of(group, engine->now_ns);
        if (severity(cause) <= severity(status))
            continue;
        status = cause;
        whose = group->options.group_id;
    }
    atomic_store_explicit(&engine->health.group, whose, memory_order_relaxed);
    atomic_store_explicit(&engine->health.status, status, memory_order_release);
}

/* ---- any thread ---------------------------------------------------------- */

static const char *remedy_for(int32_t status)
{
    switch (status) {
    case RR_E_POISONED:
        return "check the disk, then start the process again";
    case RR_E_STALLED:
        return "its leaderships are handed over; it goes on when the disk does";
    case RR_E_NO_SPACE:
        return "its leaderships are handed over; it goes on when there is space";
    case RR_E_SNAPSHOT_TEMPORARILY_UNAVAILABLE:
        return "it is damaged or cannot be taken, and is tried again: look at the disk, and at "
               "snapshot_error in the group's status";
    case RR_E_NOT_SUPPORTED:
        return "a member needs a snapshot in a file, and its build knows none: upgrade it";
    case RR_E_QUORUM_LOST:
        return "no leader is heard of: start the other voters, or mend the network to them";
    case RR_E_REMOVED:
        return "close the group, and remove it";
    case RR_E_DIVERGED:
    case RR_E_INSTANCE:
    case RR_E_CORRUPT:
        return "the group has stopped here: replace this node by a new one with a new id";
    default:
        return "the group has stopped here: close it and open it again";
    }
}

int rr_engine_health(struct rr_engine *engine, struct rr_health *health)
{
    struct rr_health whole = {.size = sizeof(whole)};
    size_t size = health->size;
    if (size < sizeof(size_t) || size > sizeof(whole))
        return RR_E_INVALID;
    /* Between the two the loop may have changed its mind: then the older group is named with the
     * newer cause, for a tick. */
    whole.status = atomic_load_explicit(&engine->health.status, memory_order_acquire);
    whole.group = atomic_load_explicit(&engine->health.group, memory_order_relaxed);
    if (whole.status == 0)
        snprintf(whole.text, sizeof(whole.text), "well");
    else if (whole.group)
        snprintf(whole.text, sizeof(whole.text), "group %llu: %s; %s",
                 (unsigned long long)whole.group, rr_err_sentence(whole.status),
                 remedy_for(whole.status));
    else
        snprintf(whole.text, sizeof(whole.text), "%s; %s", rr_err_sentence(whole.status),
                 remedy_for(whole.status));
    memcpy(health, &whole, size);
    health->size = size;
    return 0;
}
