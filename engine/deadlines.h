/* SPDX-License-Identifier: Apache-2.0
 *
 * Proposals that nobody waits for any longer: late ones (proposal_timeout_ms) and canceled ones.
 * No time is kept per proposal. Now and then a mark notes how far the queue reached; when the queue
 * has been emptied to there it notes how far the log reached; when the mark is as old as the
 * timeout, everything before it is late. Loop thread only, but for rr_cancel.
 */
#ifndef RR_ENGINE_DEADLINES_H
#define RR_ENGINE_DEADLINES_H

#include <stdint.h>

struct rr_group;

struct deadline_mark {
    uint64_t time_ns;
    uint64_t index; /* once placed: at or below it lies only what was proposed before the mark */
    uint32_t entry; /* of the queue: those before it were proposed before the mark */
};

#define DEADLINE_MARKS_MAX 64u
#define DEADLINE_PARTS     32u /* a mark each so-many-th part of the timeout */

struct deadlines {
    struct deadline_mark marks[DEADLINE_MARKS_MAX]; /* ring, oldest first */
    uint32_t head;
    uint32_t count;
    uint32_t placed_count; /* the oldest so many are placed */
    uint64_t marked_ns;    /* when the newest was made */
};

/* In each turn: what is late gets its outcome. */
void group_expire_proposals(struct rr_group *group, uint64_t now_ns);
/* Proposals left the queue, into the log or refused. */
void group_place_deadlines(struct rr_group *group);

#endif
