/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/features.h"

#include "bench/bench_cluster.h"
#include "bench/feature_snapshot.h"
#include "bench/feature_table.h"
#include "bench/load.h"

#include <stdio.h>
#include <string.h>

#define ENTRY_BYTES      128u
#define READ_DEPTH       256u
#define GROUPS_DEPTH     2048u /* outstanding writes in all groups together */
#define FAILOVER_TRIES   10u
#define FAILOVER_LOAD_MS 600u
#define FAILOVER_WAIT_MS 10000u
#define REVIVED_PAUSE_MS 1500u

/* ---- reads --------------------------------------------------------------- */

enum {
    READS_WRITES,
    READS_LEADER,
    READS_FOLLOWER,
    READS_BESIDE_LEADER,
    WRITES_BESIDE_LEADER,
    READS_BESIDE_FOLLOWER,
    WRITES_BESIDE_FOLLOWER,
    READS_ROWS
};

static void take_reads(struct feature_row *row, const struct slice *slice, double writes_alone)
{
    struct slice reads = *slice;
    reads.completed = slice->reads;
    reads.p50_us = slice->read_p50_us;
    reads.p99_us = slice->read_p99_us;
    feature_take(row, &reads,
                 writes_alone > 0 ? feature_rate(reads.completed, slice) / writes_alone : 0);
}

static bool read_pair(struct cluster *cluster, uint32_t slice_ms, struct feature_row *rows)
{
    char write[160], read[160], both[180];
    struct slice slice, other;
    uint32_t leader = cluster->leader, follower = (leader + 1) % cluster->node_count;
    snprintf(write, sizeof(write), "run shape=depth256 size=%u warmup=%u window=%u", ENTRY_BYTES,
             slice_ms / 4, slice_ms);
    snprintf(both, sizeof(both), "%s reads=%u", write, READ_DEPTH);
    snprintf(read, sizeof(read), "run shape=read256 size=0 warmup=%u window=%u", slice_ms / 4,
             slice_ms);
    if (!cluster_run(cluster, write, &slice, NULL, NULL))
        return false;
    double alone = feature_rate(slice.completed, &slice);
    feature_take(&rows[READS_WRITES], &slice, 1);
    if (!cluster_run(cluster, read, &slice, NULL, NULL))
        return false;
    take_reads(&rows[READS_LEADER], &slice, alone);
    if (!cluster_ask(cluster, follower, read) ||
        !cluster_await(cluster, follower, &slice, NULL, NULL))
        return false;
    take_reads(&rows[READS_FOLLOWER], &slice, alone);
    if (!cluster_run(cluster, both, &slice, NULL, NULL))
        return false;
    take_reads(&rows[READS_BESIDE_LEADER], &slice, alone);
    feature_take(&rows[WRITES_BESIDE_LEADER], &slice,
                 feature_rate(slice.completed, &slice) / alone);
    if (!cluster_ask(cluster, leader, write) || !cluster_ask(cluster, follower, read) ||
        !cluster_await(cluster, leader, &slice, NULL, NULL) ||
        !cluster_await(cluster, follower, &other, NULL, NULL))
        return false;
    take_reads(&rows[READS_BESIDE_FOLLOWER], &other, alone);
    feature_take(&rows[WRITES_BESIDE_FOLLOWER], &slice,
                 feature_rate(slice.completed, &slice) / alone);
    return true;
}

static bool run_reads(const struct bench_options *options, const char *dir)
{
    static struct cluster cluster;
    static struct feature_row rows[READS_ROWS] = {
        [READS_WRITES] = {.name = "writes alone, depth 256"},
        [READS_LEADER] = {.name = "reads on the leader, depth 256"},
        [READS_FOLLOWER] = {.name = "reads on a follower, depth 256"},
        [READS_BESIDE_LEADER] = {.name = "both on the leader: reads"},
        [WRITES_BESIDE_LEADER] = {.name = "                    writes"},
        [READS_BESIDE_FOLLOWER] = {.name = "reads on a follower, writes: reads"},
        [WRITES_BESIDE_FOLLOWER] = {.name = "                             writes"},
    };
    struct cluster_plan plan = {.kind = CLUSTER_ENGINE, .dir = dir, .node_count = BENCH_NODES_MAX};
    bool good = cluster_start(&cluster, &plan);
    for (uint32_t i = 0; i < options->pairs && good; i++)
        good = cluster_find_leader(&cluster) && read_pair(&cluster, options->slice_ms, rows);
    cluster_stop(&cluster);
    if (!good)
        return feature_fail("reads", cluster.error);
    feature_print("Linearizable reads (read index), writes of 128 B, three replicas",
                  "rate to writes alone", rows, READS_ROWS);
    return true;
}

/* ---- groups -------------------------------------------------------------- */

/* Each replica drives the groups that it leads. */
static bool groups_slice(struct cluster *cluster, uint32_t slice_ms, struct slice *sum)
{
    char request[160];
    struct slice slice;
    uint32_t count = cluster->plan.group_count;
    snprintf(request, sizeof(request), "run shape=depth256 depth=%u size=%u warmup=%u window=%u",
             GROUPS_DEPTH / count, ENTRY_BYTES, slice_ms / 4, slice_ms);
    memset(sum, 0, sizeof(*sum));
    if (!cluster_find_leader(cluster))
        return false;
    for (uint32_t node = 0; node < cluster->node_count; node++)
        if (!cluster_ask(cluster, node, request))
            return false;
    for (uint32_t node = 0; node < cluster->node_count; node++) {
        if (!cluster_await(cluster, node, &slice, NULL, NULL))
            return false;
        sum->completed += slice.completed;
        sum->seconds = slice.seconds > sum->seconds ? slice.seconds : sum->seconds;
        if (slice.completed && slice.p99_us > sum->p99_us) {
            sum->p50_us = slice.p50_us;
            sum->p99_us = slice.p99_us;
        }
    }
    return true;
}

static bool run_groups(const struct bench_options *options, const char *dir)
{
    static const uint32_t counts[] = {1, 8, 64};
    static struct cluster clusters[3];
    static struct feature_row rows[3];
    const char *error = "";
    bool good = true;
    for (uint32_t i = 0; i < 3 && good; i++) {
        char path[512];
        snprintf(path, sizeof(path), "%s/g%u", dir, counts[i]);
        snprintf(rows[i].name, sizeof(rows[i].name), "%u group%s, %u outstanding each", counts[i],
                 counts[i] == 1 ? "" : "s", GROUPS_DEPTH / counts[i]);
        good = cluster_start(&clusters[i], &(struct cluster_plan){.kind = CLUSTER_ENGINE,
                                                                  .dir = path,
                                                                  .node_count = BENCH_NODES_MAX,
                                                                  .group_count = counts[i]});
        error = clusters[i].error;
    }
    for (uint32_t pair = 0; pair < options->pairs && good; pair++) {
        double single = 0;
        for (uint32_t i = 0; i < 3 && good; i++) {
            struct slice slice;
            good = groups_slice(&clusters[i], options->slice_ms, &slice);
            error = clusters[i].error;
            double rate = feature_rate(slice.completed, &slice);
            single = i == 0 ? rate : single;
            feature_take(&rows[i], &slice, single > 0 ? rate / single : 0);
        }
    }
    for (uint32_t i = 0; i < 3; i++)
        cluster_stop(&clusters[i]);
    if (!good)
        return feature_fail("groups", error);
    feature_print("Groups side by side on one loop, 2 048 writes of 128 B outstanding in all",
                  "rate to one group", rows, 3);
    return true;
}

/* ---- failover ------------------------------------------------------------ */

/* From the kill to the first write that the next leader acknowledged. */
static bool failover_once(struct cluster *cluster, double *gap_ms)
{
    char line[1024];
    struct slice slice = {0};
    uint32_t dead = cluster->leader, next = dead;
    if (!cluster_ask(cluster, dead, "run shape=depth256 size=128 warmup=0 window=60000"))
        return false;
    feature_pause_ms(FAILOVER_LOAD_MS);
    cluster_kill(cluster, dead);
    double killed = feature_now_ms();
    while (next == dead && feature_now_ms() - killed < FAILOVER_WAIT_MS) {
        for (uint32_t i = 0; i < cluster->node_count; i++) {
            uint64_t leads = 0;
            if (i != dead && cluster_status(cluster, i, line, sizeof(line)) &&
                control_u64(line, "leads", &leads) && leads)
                next = i;
        }
        feature_pause_ms(1);
    }
    if (next == dead) {
        snprintf(cluster->error, sizeof(cluster->error), "no leader within ten seconds");
        return false;
    }
    double elected = feature_now_ms();
    if (!cluster_ask(cluster, next, "run shape=depth1 size=128 warmup=0 window=100") ||
        !cluster_await(cluster, next, &slice, NULL, NULL))
        return false;
    *gap_ms = elected - killed + slice.max_us / 1000;
    if (slice.completed == 0 || slice.failed > 0) {
        snprintf(cluster->error, sizeof(cluster->error), "the new leader lost a write");
        return false;
    }
    if (!cluster_revive(cluster, dead))
        return false;
    feature_pause_ms(REVIVED_PAUSE_MS);
    return cluster_find_leader(cluster);
}

static bool run_failover(const struct bench_options *options, const char *dir)
{
    static struct cluster cluster;
    struct cluster_plan plan = {.kind = CLUSTER_ENGINE, .dir = dir, .node_count = BENCH_NODES_MAX};
    double gaps[FAILOVER_TRIES];
    uint32_t tries = options->quick ? 3 : FAILOVER_TRIES;
    bool good = cluster_start(&cluster, &plan);
    for (uint32_t i = 0; i < tries && good; i++) {
        good = failover_once(&cluster, &gaps[i]);
        if (good)
            printf("leader killed under load: next write acknowledged after %.0f ms\n", gaps[i]);
    }
    cluster_stop(&cluster);
    if (!good)
        return feature_fail("failover", cluster.error);
    feature_sort(gaps, tries);
    printf("\n%u kills: median %.0f ms, longest %.0f ms; an election timeout is 500 to 1000 ms\n",
           tries, gaps[tries / 2], gaps[tries - 1]);
    return true;
}

bool features_run(const struct bench_options *options, const char *dir)
{
    switch (options->command) {
    case BENCH_READS:
        return run_reads(options, dir);
    case BENCH_GROUPS:
        return run_groups(options, dir);
    case BENCH_SNAPSHOT:
        return feature_snapshot(options, dir);
    default:
        return run_failover(options, dir);
    }
}
