/* SPDX-License-Identifier: Apache-2.0
 *
 * The floor, seen from rr-bench: which message size and depth moves most log bytes on this machine
 * without Raft.
 */
#ifndef RR_BENCH_FLOOR_H
#define RR_BENCH_FLOOR_H

#include "bench/bench_cluster.h"

struct floor_point {
    uint32_t size;  /* bytes of a message as the log writes it, padding included */
    uint32_t depth; /* messages outstanding */
};

/* One slice of one point on a running floor cluster. */
bool floor_run(struct cluster *cluster, struct floor_point point, uint32_t warmup_ms,
               uint32_t window_ms, struct slice *slice);
/* The point of the grid that moves most bytes per second, `slice_ms` for each; `best` becomes its
 * slice. */
bool floor_search(struct cluster *cluster, uint32_t slice_ms, bool print,
                  struct floor_point *winner, struct slice *best);
/* p50 of a durable 4 KiB write while three processes write at once below `dir`; negative: it could
 * not be measured. */
double floor_write_p50_us(const char *dir, uint32_t window_ms);
double floor_mb_per_s(struct floor_point point, const struct slice *slice);

#endif
