/* SPDX-License-Identifier: Apache-2.0
 *
 * Hot: straight arithmetic on one follower's progress.
 */
#include "raft/progress.h"

static void reset_state(struct progress *pr, enum rr_progress_state state)
{
    pr->msg_app_flow_paused = false;
    pr->pending_snapshot = 0;
    pr->pending_read = 0;
    pr->state = (uint8_t)state;
    inflights_reset(&pr->inflights);
}

static void set_next(struct progress *pr, uint64_t next)
{
    RR_ASSERT(next > pr->match);
    pr->next = next;
}

void progress_become_probe(struct progress *pr)
{
    /* A snapshot that was sent and reported is taken for received: probe behind it. */
    uint64_t floor = pr->state == RR_PROGRESS_SNAPSHOT ? pr->pending_snapshot : 0;
    reset_state(pr, RR_PROGRESS_PROBE);
    set_next(pr, rr_max_u64(pr->match, floor) + 1);
    pr->sent_commit = rr_min_u64(pr->sent_commit, pr->next - 1);
}

void progress_become_replicate(struct progress *pr)
{
    reset_state(pr, RR_PROGRESS_REPLICATE);
    set_next(pr, pr->match + 1);
}

void progress_become_snapshot(struct progress *pr, uint64_t index)
{
    reset_state(pr, RR_PROGRESS_SNAPSHOT);
    pr->pending_snapshot = index;
    pr->next = index + 1;
    pr->sent_commit = index;
}

bool progress_maybe_decr_to(struct progress *pr, uint64_t rejected, uint64_t match_hint)
{
    if (pr->state == RR_PROGRESS_REPLICATE) {
        if (rejected <= pr->match)
            return false;
        /* The hint is not used: everything up to match is known to be there. */
        set_next(pr, pr->match + 1);
        pr->sent_commit = rr_min_u64(pr->sent_commit, pr->next - 1);
        return true;
    }
    /* While probing, only an answer to the newest probe counts. */
    if (pr->next - 1 != rejected)
        return false;
    set_next(pr, rr_max_u64(rr_min_u64(rejected, match_hint + 1), pr->match + 1));
    pr->sent_commit = rr_min_u64(pr->sent_commit, pr->next - 1);
    pr->msg_app_flow_paused = false;
    return true;
}

void progress_reset(struct progress *pr, uint64_t match, uint64_t next)
{
    reset_state(pr, RR_PROGRESS_PROBE);
    pr->match = match;
    pr->next = next;
    pr->sent_commit = 0;
    pr->recent_active = false;
    pr->empty_append_due = false;
}
