/* SPDX-License-Identifier: Apache-2.0
 *
 * A disk that does not do its work, as the loop sees it with its ticks, and what each group then
 * leaves to others. The log is one for all groups, and so is its state:
 *
 *      poisoned    a durable write failed: all groups stop, for good (group_stop)
 *      stalled     the oldest unfinished write is older than an election timeout
 *      full        there was no room for entries for as long
 *
 * Stalled or full, a leader hands over to the voter that is most advanced, and steps down if that
 * is not done within a heartbeat interval; nobody campaigns. Stalled, a node grants no vote either:
 * it could not keep it. An only voter stays what it is: nobody could do better. All of it ends by
 * itself with its cause. Loop thread only.
 */
#ifndef RR_ENGINE_DISK_WATCH_H
#define RR_ENGINE_DISK_WATCH_H

#include <ringraft/types.h>

#include <stdbool.h>
#include <stdint.h>

struct rr_engine;
struct rr_group;

struct disk_watch {
    int32_t status;         /* RR_E_POISONED, RR_E_STALLED, RR_E_NO_SPACE, or 0 */
    uint64_t full_since_ns; /* 0: there is room */
};

/* With the ticks. */
void engine_watch_disk(struct rr_engine *engine, uint64_t now_ns);
/* In each turn: leadership is handed over if the disk asks for it. */
void group_mind_disk(struct rr_group *group);
/* May this node stand for election, as far as its disk is concerned? */
bool group_may_campaign(const struct rr_group *group);
/* A message that this node cannot answer as it should while its disk is as it is: done with (true).
 * A pre-vote is refused at once. */
bool group_withholds(struct rr_group *group, const struct rr_message *message);

#endif
