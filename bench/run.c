/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/run.h"

#include "bench/bench_cluster.h"
#include "bench/floor.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PAIRS_MAX        100u
#define TRIES_MAX        3u
#define BLOCK            4096u
#define PADDED_OVERHEAD  160u /* what the log adds to a depth-1 entry before padding */
#define LAG_SECONDS_MAX  1.0
#define FLOOR_VOID_RATIO 1.3

struct row_kind {
    enum load_shape shape;
    uint32_t size;
    bool is_quick;
};

static const struct row_kind kinds[] = {
    {LOAD_DEPTH1, 16, false},     {LOAD_DEPTH1, 128, true},      {LOAD_DEPTH1, 1024, false},
    {LOAD_DEPTH1, 4096, true},    {LOAD_DEPTH1_WAIT, 128, true}, {LOAD_DEPTH256, 16, false},
    {LOAD_DEPTH256, 128, true},   {LOAD_DEPTH256, 1024, false},  {LOAD_DEPTH256, 4096, true},
    {LOAD_SATURATED, 16, false},  {LOAD_SATURATED, 128, true},   {LOAD_SATURATED, 1024, false},
    {LOAD_SATURATED, 4096, true}, {LOAD_SATURATED64, 16, false}, {LOAD_SATURATED64, 128, true},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

struct pair {
    struct slice engine, floor;
    double ratio;
    double cpu_us;
};

struct run {
    const struct bench_options *options;
    const char *dir;
    struct report *report;
    struct cluster engine, floor;
    struct floor_point winner;
    struct timespec started;
};

static volatile sig_atomic_t is_interrupted;

void run_interrupt(void)
{
    is_interrupted = 1;
}

static double seconds_since(const struct timespec *start)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - start->tv_sec) + (double)(now.tv_nsec - start->tv_nsec) / 1e9;
}

static bool fail(const char *what, const char *why)
{
    fprintf(stderr, "\nrr-bench: %s: %s\n", what, why);
    return false;
}

/* One line on a terminal that is written over; silence elsewhere. */
static void progress(void *ctx, uint64_t completed)
{
    static uint64_t last;
    static struct timespec last_time;
    struct run *run = ctx;
    double passed = seconds_since(&last_time);
    if (isatty(STDERR_FILENO) && completed >= last && passed < 10)
        fprintf(stderr, "\r\033[K%5.0f s  %10.0f/s", seconds_since(&run->started),
                (double)(completed - last) / passed);
    last = completed;
    clock_gettime(CLOCK_MONOTONIC, &last_time);
}

static void announce(struct run *run, const char *what, uint32_t size)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K%5.0f s  %s %u", seconds_since(&run->started), what, size);
}

/* ---- one row ------------------------------------------------------------- */

static bool is_depth1(enum load_shape shape)
{
    return shape == LOAD_DEPTH1 || shape == LOAD_DEPTH1_WAIT;
}

static struct floor_point floor_point_of(const struct run *run, const struct row_kind *kind)
{
    if (!is_depth1(kind->shape))
        return run->winner;
    uint32_t padded = (kind->size + PADDED_OVERHEAD + BLOCK - 1) / BLOCK * BLOCK;
    return (struct floor_point){padded, 1};
}

/* A slice of the engine that no change of leader touched; a voided one is taken again. */
static bool engine_slice(struct run *run, const struct row_kind *kind, struct slice *slice,
                         double *cpu_us)
{
    char request[160];
    snprintf(request, sizeof(request), "run shape=%s size=%u warmup=%u window=%u",
             load_shape_name(kind->shape), kind->size, run->options->slice_ms / 4,
             run->options->slice_ms);
    for (uint32_t try = 0; try < TRIES_MAX && !is_interrupted; try++) {
        if (!cluster_find_leader(&run->engine))
            return fail("engine", run->engine.error);
        double before = cluster_cpu_seconds(&run->engine);
        if (!cluster_run(&run->engine, request, slice, progress, run))
            return fail("engine", run->engine.error);
        /* Warm-up included on both sides: the rate is the same. */
        double all = (double)slice->completed * 1.25;
        *cpu_us = all > 0 ? (cluster_cpu_seconds(&run->engine) - before) * 1e6 / all : 0;
        if (slice->is_steady && slice->failed == 0 && slice->completed > 0)
            return true;
    }
    slice->is_steady = false;
    return true;
}

static double ratio_of(const struct row_kind *kind, struct floor_point point,
                       const struct pair *pair)
{
    if (is_depth1(kind->shape))
        return pair->floor.p50_us > 0 ? pair->engine.p50_us / pair->floor.p50_us : 0;
    double floor_mb = floor_mb_per_s(point, &pair->floor);
    double mb = pair->engine.seconds > 0
                    ? (double)pair->engine.completed * kind->size / pair->engine.seconds / 1e6
                    : 0;
    return floor_mb > 0 ? mb / floor_mb : 0;
}

static int by_ratio(const void *a, const void *b)
{
    double x = ((const struct pair *)a)->ratio, y = ((const struct pair *)b)->ratio;
    return (x > y) - (x < y);
}

static void judge(const struct run *run, const struct row_kind *kind, const struct pair *pair,
                  struct report_row *row)
{
    double rate =
        pair->engine.seconds > 0 ? (double)pair->engine.completed / pair->engine.seconds : 0;
    double lag = rate > 0 ? (double)pair->engine.lag / rate : 0;
    row->recycled += pair->engine.recycled;
    row->zeroed += pair->engine.zeroed;
    if (lag > row->lag_seconds)
        row->lag_seconds = lag;
    if (!pair->engine.is_steady || pair->engine.completed == 0) {
        row->is_void = true;
        report_warn(row, "no slice without a change of leader");
    }
    if (lag > LAG_SECONDS_MAX) {
        row->is_void = true;
        report_warn(row, "a replica lags by more than a second");
    }
    if (pair->engine.zeroed > 0)
        report_warn(row, "segments were zeroed inside the window");
    if (is_depth1(kind->shape) && kind->size + PADDED_OVERHEAD <= BLOCK &&
        run->report->write_p50_us > 0 &&
        pair->floor.p50_us > FLOOR_VOID_RATIO * run->report->write_p50_us)
        report_warn(row, "floor above 1.3 x a durable write");
    if (pair->floor.completed > 0 && pair->floor.seconds > 0 &&
        (double)pair->floor.lag * pair->floor.seconds / (double)pair->floor.completed >
            LAG_SECONDS_MAX)
        report_warn(row, "a floor node lags by more than a second");
}

static void fill_row(const struct run *run, const struct row_kind *kind, struct pair *pairs,
                     uint32_t count, struct report_row *row)
{
    struct floor_point point = floor_point_of(run, kind);
    *row = (struct report_row){.shape = kind->shape, .size = kind->size, .pairs = count};
    for (uint32_t i = 0; i < count; i++) {
        pairs[i].ratio = ratio_of(kind, point, &pairs[i]);
        judge(run, kind, &pairs[i], row);
    }
    qsort(pairs, count, sizeof(*pairs), by_ratio);
    const struct pair *median = &pairs[count / 2];
    const struct slice *engine = &median->engine;
    row->rate = engine->seconds > 0 ? (double)engine->completed / engine->seconds : 0;
    row->mb_per_s = row->rate * kind->size / 1e6;
    row->p50_us = engine->p50_us;
    row->p99_us = engine->p99_us;
    row->p999_us = engine->p999_us;
    row->max_us = engine->max_us;
    row->entries_per_write = engine->writes ? (double)engine->entries / (double)engine->writes : 0;
    row->cpu_us_per_entry = median->cpu_us;
    row->ratio = median->ratio;
    row->ratio_min = pairs[0].ratio;
    row->ratio_max = pairs[count - 1].ratio;
    row->floor_value =
        is_depth1(kind->shape) ? median->floor.p50_us : floor_mb_per_s(point, &median->floor);
    if (run->report->device.is_ram)
        report_warn(row, "file system in RAM");
}

static bool run_row(struct run *run, const struct row_kind *kind)
{
    static struct pair pairs[PAIRS_MAX];
    struct floor_point point = floor_point_of(run, kind);
    uint32_t count = 0;
    for (; count < run->options->pairs && !is_interrupted; count++) {
        announce(run, load_shape_name(kind->shape), kind->size);
        if (!engine_slice(run, kind, &pairs[count].engine, &pairs[count].cpu_us))
            return false;
        announce(run, "floor", point.size);
        if (!floor_run(&run->floor, point, run->options->slice_ms / 4, run->options->slice_ms,
                       &pairs[count].floor))
            return fail("floor", run->floor.error);
    }
    if (count > 0)
        fill_row(run, kind, pairs, count, &run->report->rows[run->report->row_count++]);
    return true;
}

/* ---- the run ------------------------------------------------------------- */

static bool is_wanted(const struct bench_options *options, const struct row_kind *kind)
{
    return (!options->quick || kind->is_quick) &&
           (!options->only || strcmp(options->only, load_shape_name(kind->shape)) == 0);
}

/* The rows of one kind of cluster: depth 1 inline applies on the loop, all others on the apply
 * thread. */
static bool run_rows(struct run *run, enum cluster_kind cluster)
{
    char line[1024];
    uint64_t direct = 0;
    bool wanted = false;
    for (uint32_t i = 0; i < KINDS; i++)
        wanted = wanted || ((kinds[i].shape == LOAD_DEPTH1) == (cluster == CLUSTER_ENGINE_INLINE) &&
                            is_wanted(run->options, &kinds[i]));
    if (!wanted || is_interrupted)
        return true;
    announce(run, "starting replicas", 3);
    if (!cluster_start(&run->engine, &(struct cluster_plan){.kind = cluster,
                                                            .dir = run->dir,
                                                            .node_count = BENCH_NODES_MAX}))
        return fail("engine", run->engine.error);
    if (cluster_status(&run->engine, run->engine.leader, line, sizeof(line))) {
        control_word(line, "backend", run->report->backend, sizeof(run->report->backend));
        run->report->is_direct = control_u64(line, "direct", &direct) && direct;
    }
    bool good = true;
    for (uint32_t i = 0; i < KINDS && good && !is_interrupted; i++)
        if ((kinds[i].shape == LOAD_DEPTH1) == (cluster == CLUSTER_ENGINE_INLINE) &&
            is_wanted(run->options, &kinds[i]))
            good = run_row(run, &kinds[i]);
    cluster_stop(&run->engine);
    return good;
}

/* On a write-back device without FUA every durable write must cost a flush; one node, one write at
 * a time, an idle machine. */
static void probe_flushes(struct run *run, const char *dir)
{
    struct report *report = run->report;
    struct slice slice;
    uint64_t before, after;
    report->flush_ratio = -1;
    if (!report->device.has_write_back || report->device.has_fua || !report->device.counts_flushes)
        return;
    announce(run, "probing flushes of", 1);
    char path[512];
    snprintf(path, sizeof(path), "%s/probe", dir);
    if (cluster_start(
            &run->engine,
            &(struct cluster_plan){.kind = CLUSTER_ENGINE_INLINE, .dir = path, .node_count = 1}) &&
        device_flushes(&report->device, &before) &&
        cluster_run(&run->engine, "run shape=depth1 size=128 warmup=0 window=1000", &slice, NULL,
                    NULL) &&
        device_flushes(&report->device, &after) && slice.writes > 0)
        report->flush_ratio = (double)(after - before) / (double)slice.writes;
    cluster_stop(&run->engine);
}

static bool start_floor(struct run *run, uint32_t search_ms, bool print)
{
    char path[512];
    struct slice best;
    snprintf(path, sizeof(path), "%s/floor", run->dir);
    announce(run, "searching the floor's best of", 36);
    if (!cluster_start(&run->floor, &(struct cluster_plan){.kind = CLUSTER_FLOOR,
                                                           .dir = path,
                                                           .node_count = BENCH_NODES_MAX}))
        return fail("floor", run->floor.error);
    if (!floor_search(&run->floor, search_ms, print, &run->winner, &best))
        return fail("floor", run->floor.error);
    run->report->floor.size = run->winner.size;
    run->report->floor.depth = run->winner.depth;
    run->report->floor.mb_per_s = floor_mb_per_s(run->winner, &best);
    run->report->floor.p50_us = best.p50_us;
    return true;
}

bool run_all(const struct bench_options *options, const char *dir, struct report *report)
{
    struct run run = {.options = options, .dir = dir, .report = report};
    clock_gettime(CLOCK_MONOTONIC, &run.started);
    report->options = options;
    device_of(dir, &report->device);
    probe_flushes(&run, dir);
    announce(&run, "durable writes with writers:", 3);
    report->write_p50_us = floor_write_p50_us(dir, 500);
    bool good = start_floor(&run, options->quick ? 100 : 300, false) &&
                run_rows(&run, CLUSTER_ENGINE_INLINE) && run_rows(&run, CLUSTER_ENGINE);
    cluster_stop(&run.engine);
    cluster_stop(&run.floor);
    report->seconds = seconds_since(&run.started);
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K");
    return good;
}

bool run_floor(const struct bench_options *options, const char *dir)
{
    struct report report = {.options = options};
    struct run run = {.options = options, .dir = dir, .report = &report};
    clock_gettime(CLOCK_MONOTONIC, &run.started);
    printf("durable 4 KiB write, three writers at once: p50 %.0f us\n",
           floor_write_p50_us(dir, 1000));
    bool good = start_floor(&run, options->slice_ms / 4, true);
    if (good)
        printf("best: %u KiB x %u, %.0f MB/s\n", run.winner.size / 1024, run.winner.depth,
               report.floor.mb_per_s);
    struct slice slice;
    if (good &&
        floor_run(&run.floor, (struct floor_point){BLOCK, 1}, 200, options->slice_ms, &slice))
        printf("depth 1, 4 KiB padded entry: p50 %.0f us, p99 %.0f us\n", slice.p50_us,
               slice.p99_us);
    cluster_stop(&run.floor);
    return good;
}
