/* SPDX-License-Identifier: Apache-2.0
 *
 * One of three replicas dies, a large snapshot is taken, the replica comes back and is sent it; the
 * two others go on. The floor has two nodes, as many as write here, and its slices alternate with
 * the engine's while the same transfer goes on: both stand beside the very same reads, sends and
 * writes on the same disk. When one transfer was too short for all pairs, there is another.
 */
#include "bench/feature_snapshot.h"

#include "bench/feature_table.h"
#include "bench/floor.h"

#include <stdio.h>
#include <string.h>

#define MIB             (1024ull * 1024)
#define RATE            (32 * MIB)
#define WANTED_RATIO    1.5
#define BEGIN_WAIT_MS   20000u
#define ARRIVAL_SLACK   3u /* times what it takes at the throttle, and … */
#define ARRIVAL_WAIT_MS 120000u
#define POLL_MS         20u
#define BEFORE_TRIES    3u
#define VAIN_MAX        3u

/* The same bytes in the log on either side. */
static const struct contest {
    const char *name, *request;
    struct floor_point floor;
} contests[] = {
    {"depth 1, 128 B", "run shape=depth1 size=128", {4096, 1}},
    {"depth 16, 3.8 KiB", "run shape=depth256 depth=16 size=3936", {4096, 16}},
};
#define CONTESTS (sizeof(contests) / sizeof(contests[0]))

enum { BEFORE, MEANWHILE, PHASES };

struct pair {
    struct slice engine, floor;
};

struct memory {
    int64_t base, most; /* KiB */
};

struct duel {
    const struct bench_options *options;
    struct cluster engine, floor;
    struct pair pairs[CONTESTS][PHASES][FEATURE_PAIRS_MAX + 1]; /* the last never counts */
    uint32_t counts[PHASES];
    uint32_t vain; /* transfers without a pair */
    uint32_t receiver;
    struct memory sending, receiving;
    double written[2]; /* MiB per second at the receiver during slices of engine and floor */
    const char *error; /* NULL: none */
};

static bool fail(struct duel *duel, const char *why)
{
    duel->error = why;
    return false;
}

/* ---- the processes ------------------------------------------------------- */

/* A number of /proc/<pid>/<file> behind `key`; 0: there is none. */
static uint64_t proc_number(const struct cluster *cluster, uint32_t node, const char *file,
                            const char *key)
{
    char path[64], line[256];
    unsigned long long value = 0;
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)cluster->nodes[node].pid, file);
    FILE *proc = fopen(path, "r");
    while (proc && fgets(line, sizeof(line), proc))
        if (strncmp(line, key, strlen(key)) == 0)
            sscanf(line + strlen(key), "%llu", &value);
    if (proc)
        fclose(proc);
    return value;
}

/* What the process has beside the entries of the log. */
static int64_t memory_kib(struct duel *duel, uint32_t node)
{
    char line[1024];
    uint64_t log = 0, all = proc_number(&duel->engine, node, "status", "RssAnon:");
    if (cluster_status(&duel->engine, node, line, sizeof(line)))
        control_u64(line, "log_memory", &log);
    return (int64_t)all - (int64_t)(log / 1024);
}

static void begin_memory(struct duel *duel, uint32_t node, struct memory *memory)
{
    memory->base = memory_kib(duel, node);
}

static void look_at_memory(struct duel *duel, uint32_t node, struct memory *memory)
{
    int64_t added = memory_kib(duel, node) - memory->base;
    if (added > memory->most)
        memory->most = added;
}

static bool is_sending(struct duel *duel)
{
    char line[1024];
    uint64_t sending = 0;
    return cluster_status(&duel->engine, duel->engine.leader, line, sizeof(line)) &&
           control_u64(line, "sending", &sending) && sending > 0;
}

/* Has the receiver applied what the leader has committed? */
static bool is_level(struct duel *duel)
{
    char line[1024];
    uint64_t commit = 0, applied = 0;
    return cluster_status(&duel->engine, duel->engine.leader, line, sizeof(line)) &&
           control_u64(line, "commit", &commit) &&
           cluster_status(&duel->engine, duel->receiver, line, sizeof(line)) &&
           control_u64(line, "applied", &applied) && applied >= commit;
}

static bool wait_for(struct duel *duel, bool (*is_so)(struct duel *duel), uint32_t ms)
{
    double until = feature_now_ms() + ms;
    while (!is_so(duel) && feature_now_ms() < until)
        feature_pause_ms(POLL_MS);
    return is_so(duel);
}

/* ---- slices -------------------------------------------------------------- */

/* One that a change of leader touched is void: `is_steady` says so. */
static bool engine_slice(struct duel *duel, const struct contest *contest, struct slice *slice)
{
    char request[160];
    uint32_t ms = duel->options->slice_ms;
    snprintf(request, sizeof(request), "%s warmup=%u window=%u", contest->request, ms / 4, ms);
    if (!cluster_run(&duel->engine, request, slice, NULL, NULL))
        return fail(duel, duel->engine.error);
    slice->is_steady = slice->is_steady && slice->failed == 0 && slice->completed > 0;
    return slice->is_steady || cluster_find_leader(&duel->engine) || fail(duel, duel->engine.error);
}

static bool floor_slice(struct duel *duel, const struct contest *contest, struct slice *slice)
{
    uint32_t ms = duel->options->slice_ms;
    return floor_run(&duel->floor, contest->floor, ms / 4, ms, slice) ||
           fail(duel, duel->floor.error);
}

/* One pair of each contest; it counts if none was void and it still was the phase that it is for.
 */
static bool take_pairs(struct duel *duel, int phase)
{
    uint32_t count = duel->counts[phase];
    double written[2] = {0}, passed[2] = {0};
    for (uint32_t i = 0; i < CONTESTS; i++)
        for (int is_floor = 0; is_floor < 2; is_floor++) {
            struct pair *pair = &duel->pairs[i][phase][count];
            double began = feature_now_ms();
            uint64_t before = proc_number(&duel->engine, duel->receiver, "io", "write_bytes:");
            if (is_floor ? !floor_slice(duel, &contests[i], &pair->floor)
                         : !engine_slice(duel, &contests[i], &pair->engine))
                return false;
            if (!is_floor && !pair->engine.is_steady)
                return true;
            if (phase == BEFORE)
                continue;
            if (!is_sending(duel))
                return true;
            uint64_t after = proc_number(&duel->engine, duel->receiver, "io", "write_bytes:");
            written[is_floor] += (double)(after - before) / MIB;
            passed[is_floor] += (feature_now_ms() - began) / 1e3;
            look_at_memory(duel, duel->engine.leader, &duel->sending);
            look_at_memory(duel, duel->receiver, &duel->receiving);
        }
    for (int k = 0; k < 2 && phase == MEANWHILE; k++)
        duel->written[k] += (written[k] / passed[k] - duel->written[k]) / (count + 1);
    duel->counts[phase]++;
    return true;
}

/* ---- a transfer ---------------------------------------------------------- */

static bool send_once(struct duel *duel)
{
    struct cluster *engine = &duel->engine;
    uint32_t wanted = duel->options->pairs, before = duel->counts[MEANWHILE], tries = 0;
    duel->receiver = (engine->leader + 1) % engine->node_count;
    cluster_kill(engine, duel->receiver);
    do { /* also what it lacks when it comes back */
        if (!take_pairs(duel, BEFORE))
            return false;
    } while (duel->counts[BEFORE] < wanted && ++tries < BEFORE_TRIES * wanted);
    duel->counts[BEFORE] = duel->counts[BEFORE] < wanted ? duel->counts[BEFORE] : wanted;
    if (duel->counts[BEFORE] == 0)
        return fail(duel, "there was a change of leader in each slice");
    if (!cluster_snapshot(engine, duel->options->state_mib * MIB))
        return fail(duel, engine->error);
    begin_memory(duel, engine->leader, &duel->sending);
    if (!cluster_revive(engine, duel->receiver))
        return fail(duel, engine->error);
    begin_memory(duel, duel->receiver, &duel->receiving);
    if (!wait_for(duel, is_sending, BEGIN_WAIT_MS))
        return fail(duel, "no snapshot was sent");
    while (duel->counts[MEANWHILE] < wanted && is_sending(duel))
        if (!take_pairs(duel, MEANWHILE))
            return false;
    if (duel->counts[MEANWHILE] == before && ++duel->vain == VAIN_MAX)
        return fail(duel, "it arrived, or the leader changed, before a pair of slices was over: a "
                          "larger --state, a shorter --slice or an idle machine");
    uint32_t arrival_ms = (uint32_t)(ARRIVAL_SLACK * 1000 * duel->options->state_mib * MIB / RATE);
    return wait_for(duel, is_level, ARRIVAL_WAIT_MS + arrival_ms) ||
           fail(duel, "the replica that was sent a snapshot is not level with the leader");
}

static bool duel_run(struct duel *duel, const char *dir)
{
    char path[512];
    struct cluster_plan plan = {.kind = CLUSTER_ENGINE_INLINE,
                                .dir = dir,
                                .node_count = BENCH_NODES_MAX,
                                .send_rate = RATE};
    if (!cluster_start(&duel->engine, &plan))
        return fail(duel, duel->engine.error);
    snprintf(path, sizeof(path), "%s/floor", dir);
    plan = (struct cluster_plan){.kind = CLUSTER_FLOOR, .dir = path, .node_count = 2};
    if (!cluster_start(&duel->floor, &plan))
        return fail(duel, duel->floor.error);
    while (duel->counts[MEANWHILE] < duel->options->pairs)
        if (!cluster_find_leader(&duel->engine) || !send_once(duel))
            return false;
    return true;
}

/* ---- what it says -------------------------------------------------------- */

static double median_of(const struct pair *pairs, uint32_t count,
                        double (*value)(const struct pair *pair))
{
    double values[FEATURE_PAIRS_MAX];
    for (uint32_t i = 0; i < count; i++)
        values[i] = value(&pairs[i]);
    feature_sort(values, count);
    return values[count / 2];
}

static double engine_p50(const struct pair *pair)
{
    return pair->engine.p50_us;
}

static double engine_p99(const struct pair *pair)
{
    return pair->engine.p99_us;
}

static double floor_p50(const struct pair *pair)
{
    return pair->floor.p50_us;
}

static double floor_p99(const struct pair *pair)
{
    return pair->floor.p99_us;
}

static double p99_ratio(const struct pair *pair)
{
    return pair->floor.p99_us > 0 ? pair->engine.p99_us / pair->floor.p99_us : 0;
}

static void print_line(const struct duel *duel, uint32_t contest, int phase)
{
    const struct pair *pairs = duel->pairs[contest][phase];
    uint32_t count = duel->counts[phase];
    printf("%-20s %-10s %9.0f %9.0f %9.0f %9.0f   %.2f  of", contests[contest].name,
           phase == BEFORE ? "before" : "meanwhile", median_of(pairs, count, engine_p50),
           median_of(pairs, count, engine_p99), median_of(pairs, count, floor_p50),
           median_of(pairs, count, floor_p99), median_of(pairs, count, p99_ratio));
    for (uint32_t i = 0; i < count; i++)
        printf(" %.2f", p99_ratio(&pairs[i]));
    printf("\n");
}

static void print(const struct duel *duel)
{
    printf("\nA snapshot of %u MiB travels at %u MiB/s to a replica that was away\n",
           duel->options->state_mib, (unsigned)(RATE / MIB));
    printf("%-20s %-10s %9s %9s %9s %9s   %s\n", "", "", "p50 us", "p99 us", "floor p50",
           "floor p99", "p99 to the floor's, and of each pair");
    for (uint32_t i = 0; i < CONTESTS; i++)
        for (int phase = 0; phase < PHASES; phase++)
            print_line(duel, i, phase);
    printf("asked for: at most %.1f meanwhile. The receiver wrote %.1f MiB/s beside the engine, "
           "%.1f beside the floor.\n",
           WANTED_RATIO, duel->written[0], duel->written[1]);
    printf("memory beside the log meanwhile: leader +%lld KiB, receiver +%lld KiB\n",
           (long long)duel->sending.most, (long long)duel->receiving.most);
    if (duel->options->pairs < 5)
        printf("%u pair%s of slices: a look, not a figure; for figures: --pairs 5 --slice 5s\n",
               duel->options->pairs, duel->options->pairs == 1 ? "" : "s");
}

bool feature_snapshot(const struct bench_options *options, const char *dir)
{
    static struct duel duel;
    duel.options = options;
    bool good = duel_run(&duel, dir);
    cluster_stop(&duel.engine);
    cluster_stop(&duel.floor);
    if (!good)
        return feature_fail("snapshot", duel.error ? duel.error : duel.engine.error);
    print(&duel);
    return true;
}
