/* SPDX-License-Identifier: Apache-2.0
 *
 * Whether this node is well, and if not the one cause that matters most: the disk before a group
 * that stopped, that before one without a leader, that before one whose snapshots fail. The loop
 * looks with its ticks and when a group ends; any thread reads.
 */
#ifndef RR_ENGINE_HEALTH_H
#define RR_ENGINE_HEALTH_H

#include <ringraft/types.h>

#include <stdatomic.h>

struct rr_engine;

struct health {
    _Atomic int32_t status;
    _Atomic uint64_t group; /* whose it is; 0: the node's */
};

/* Loop thread. */
void engine_watch_health(struct rr_engine *engine);

#endif
