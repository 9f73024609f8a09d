/* SPDX-License-Identifier: Apache-2.0
 *
 * A group's status as any thread may read it: the loop writes a copy now and then, readers take it
 * without a lock and repeat if the loop wrote meanwhile (a sequence lock over atomic words).
 */
#ifndef RR_ENGINE_GROUP_STATUS_H
#define RR_ENGINE_GROUP_STATUS_H

#include <ringraft/ringraft.h>

#include <stdatomic.h>

#define STATUS_WORDS ((sizeof(struct rr_group_status) + 7) / 8)

struct status_page {
    _Atomic uint64_t sequence; /* odd while it is being written */
    _Atomic uint64_t words[STATUS_WORDS];
    uint64_t published_ns; /* the loop's */
};

/* Loop thread. */
void status_write(struct status_page *page, const struct rr_group_status *status);
/* Any thread. */
void status_read(struct status_page *page, struct rr_group_status *status);

/* What is known before the loop has the group. Opening thread. */
void group_publish_first_status(struct rr_group *group);
/* Collects the picture and publishes it, if the last one is older than a millisecond or `must`. */
void group_publish_status(struct rr_group *group, uint64_t now_ns, bool must);

#endif
