/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/floor.h"

#include <stdio.h>

static const uint32_t sizes[] = {4u << 10, 16u << 10, 64u << 10, 256u << 10, 512u << 10, 1u << 20};
static const uint32_t depths[] = {1, 2, 4, 8, 16, 32};
#define COUNT(a)      (sizeof(a) / sizeof((a)[0]))
#define IN_FLIGHT_MAX (8u << 20)

bool floor_run(struct cluster *cluster, struct floor_point point, uint32_t warmup_ms,
               uint32_t window_ms, struct slice *slice)
{
    char request[128];
    snprintf(request, sizeof(request), "run size=%u depth=%u warmup=%u window=%u", point.size,
             point.depth, warmup_ms, window_ms);
    return cluster_run(cluster, request, slice, NULL, NULL);
}

double floor_mb_per_s(struct floor_point point, const struct slice *slice)
{
    return slice->seconds > 0 ? (double)slice->completed * point.size / slice->seconds / 1e6 : 0;
}

bool floor_search(struct cluster *cluster, uint32_t slice_ms, bool print,
                  struct floor_point *winner, struct slice *best)
{
    double most = 0;
    for (uint32_t s = 0; s < COUNT(sizes); s++)
        for (uint32_t d = 0; d < COUNT(depths); d++) {
            struct floor_point point = {sizes[s], depths[d]};
            struct slice slice;
            if ((uint64_t)point.size * point.depth > IN_FLIGHT_MAX)
                continue;
            if (!floor_run(cluster, point, slice_ms / 4, slice_ms, &slice))
                return false;
            double mb = floor_mb_per_s(point, &slice);
            if (print)
                printf("%5u KiB x %2u  %8.1f MB/s  p50 %7.0f us  p99 %8.0f us\n", point.size / 1024,
                       point.depth, mb, slice.p50_us, slice.p99_us);
            if (mb > most) {
                most = mb;
                *winner = point;
                *best = slice;
            }
        }
    return most > 0;
}

double floor_write_p50_us(const char *dir, uint32_t window_ms)
{
    struct cluster writers[BENCH_NODES_MAX];
    char path[512], request[128];
    double sum = 0;
    uint32_t started = 0;
    for (; started < BENCH_NODES_MAX; started++) {
        snprintf(path, sizeof(path), "%s/w%u", dir, started + 1);
        if (!cluster_start(
                &writers[started],
                &(struct cluster_plan){.kind = CLUSTER_FLOOR, .dir = path, .node_count = 1}))
            break;
    }
    bool good = started == BENCH_NODES_MAX;
    snprintf(request, sizeof(request), "run size=4096 depth=1 warmup=100 window=%u", window_ms);
    for (uint32_t i = 0; i < started && good; i++)
        good = control_send(&writers[i].nodes[0], "%s", request);
    for (uint32_t i = 0; i < started && good; i++) {
        char line[1024];
        double p50 = 0;
        good = control_read(&writers[i].nodes[0], line, sizeof(line), (int)window_ms + 10000) &&
               control_double(line, "p50", &p50);
        sum += p50;
    }
    for (uint32_t i = 0; i < started; i++)
        cluster_stop(&writers[i]);
    return good ? sum / BENCH_NODES_MAX : -1;
}
