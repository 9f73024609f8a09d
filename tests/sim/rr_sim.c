/* SPDX-License-Identifier: Apache-2.0
 *
 * rr-sim: plays seeds. Each is a cluster of whole nodes in a simulated world, with faults; every
 * one in sixteen is played twice and must leave the same trace. Exit 0: all held; 1: a promise was
 * broken, and the line that replays it is printed; 2: usage.
 */
#include "tests/sim/world.h"

#include "tests/sim/failure.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define TWICE_EVERY 16u

struct arguments {
    uint64_t first, last;
    uint32_t seconds;
    uint64_t crash_at; /* 0: the plan of the seed */
    bool crashes_at_all;
    bool is_verbose;
};

static int usage(void)
{
    fprintf(stderr,
            "rr-sim [--seed N | --seeds A..B] [--seconds S] [--verbose] [--crash-at N|all]\n"
            "  --seed N       play seed N (default: 1)\n"
            "  --seeds A..B   play all seeds from A to B\n"
            "  --seconds S    virtual seconds with faults, per seed (default: 5)\n"
            "  --verbose      say what happens\n"
            "  --crash-at N   instead: one node, whose process dies at its N-th I/O; all: each\n"
            "                 N in turn, until it does not get that far\n");
    return 2;
}

static bool parse_number(const char *text, char end, uint64_t *number, const char **rest)
{
    char *stop;
    *number = strtoull(text, &stop, 10);
    *rest = stop + 1;
    return stop != text && *stop == end;
}

static bool parse(int argc, char **argv, struct arguments *arguments)
{
    const char *rest;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        uint64_t number;
        if (strcmp(argv[i], "--verbose") == 0) {
            arguments->is_verbose = true;
            continue;
        }
        if (strcmp(argv[i], "--seed") == 0 && parse_number(value, 0, &number, &rest)) {
            arguments->first = arguments->last = number;
        } else if (strcmp(argv[i], "--crash-at") == 0 && strcmp(value, "all") == 0) {
            arguments->crashes_at_all = true;
        } else if (strcmp(argv[i], "--crash-at") == 0 && parse_number(value, 0, &number, &rest)) {
            arguments->crash_at = number;
        } else if (strcmp(argv[i], "--seconds") == 0 && parse_number(value, 0, &number, &rest)) {
            arguments->seconds = (uint32_t)number;
        } else if (strcmp(argv[i], "--seeds") != 0 ||
                   !parse_number(value, '.', &arguments->first, &rest) || rest[0] != '.' ||
                   !parse_number(rest + 1, 0, &arguments->last, &rest)) {
            return false;
        }
        i++;
    }
    return arguments->first <= arguments->last && arguments->seconds > 0 &&
           arguments->seconds <= 3600;
}

static void play(uint64_t seed, const struct arguments *arguments, struct world_result *result)
{
    struct plan plan;
    if (arguments->crash_at > 0)
        plan_make_crash_at(&plan, seed, arguments->crash_at);
    else
        plan_make(&plan, seed);
    world_play(&plan, arguments->seconds, arguments->is_verbose, result);
}

static void add(struct world_result *sum, const struct world_result *one)
{
#define X(name) sum->counts.name += one->counts.name;
    WORLD_COUNTS(X)
#undef X
    sum->counts.restores += one->counts.restores;
    sum->counts.segments_recycled += one->counts.segments_recycled;
    sum->counts.log_reads += one->counts.log_reads;
    sum->counts.log_moved_bytes += one->counts.log_moved_bytes;
    sum->events += one->events;
    sum->virtual_ns += one->virtual_ns;
    sum->acknowledged += one->acknowledged;
    sum->reads += one->reads;
    sum->windows += one->windows;
    sum->elections += one->elections;
    sum->changes += one->changes;
    if (one->healed_ns > sum->healed_ns)
        sum->healed_ns = one->healed_ns;
}

/* `seconds` of this process's own time: the machine may have others to serve. */
static void print_sum(const struct arguments *arguments, const struct world_result *sum,
                      double seconds)
{
    typedef unsigned long long ull;
    const struct world_counts *counts = &sum->counts;
    printf("%llu seeds hold: %llu writes acknowledged, %llu reads, %llu elections, "
           "%llu changes of members and leaders, %llu snapshots restored, %llu segments recycled, "
           "%llu reads of old entries, %llu KiB of idle groups moved\n",
           (ull)(arguments->last - arguments->first + 1), (ull)sum->acknowledged, (ull)sum->reads,
           (ull)sum->elections, (ull)sum->changes, (ull)counts->restores,
           (ull)counts->segments_recycled, (ull)counts->log_reads,
           (ull)counts->log_moved_bytes / 1024);
    printf("faults:");
#define X(name) printf(" %llu " #name, (ull)counts->name);
    WORLD_COUNTS(X)
#undef X
    printf("; %llu windows judged, healed after at most %.1f s\n", (ull)sum->windows,
           (double)sum->healed_ns / 1e9);
    printf("%.0f virtual seconds in %.1f s, %.0f thousand events per second\n",
           (double)sum->virtual_ns / 1e9, seconds, (double)sum->events / 1e3 / seconds);
}

static double used_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Dies at each I/O in turn, from making the directory to the last write. */
static void play_crashes_at_all(uint64_t seed, struct arguments *arguments,
                                struct world_result *sum)
{
    struct world_result result = {.counts.deaths = 1};
    for (arguments->crash_at = 1; result.counts.deaths > 0; arguments->crash_at++) {
        play(seed, arguments, &result);
        add(sum, &result);
    }
    printf("seed %llu holds with a crash at each of %llu I/Os\n", (unsigned long long)seed,
           (unsigned long long)arguments->crash_at - 2);
}

int main(int argc, char **argv)
{
    struct arguments arguments = {.first = 1, .last = 1, .seconds = 5};
    struct world_result sum = {0}, result, again;

    if (!parse(argc, argv, &arguments))
        return usage();
    for (uint64_t seed = arguments.first; seed <= arguments.last; seed++) {
        if (arguments.crashes_at_all) {
            play_crashes_at_all(seed, &arguments, &sum);
            continue;
        }
        play(seed, &arguments, &result);
        if (seed % TWICE_EVERY == 0 || arguments.first == arguments.last) {
            play(seed, &arguments, &again);
            if (again.trace != result.trace) {
                printf("FAILED: seed %llu left the trace %016llx, and then %016llx\n",
                       (unsigned long long)seed, (unsigned long long)result.trace,
                       (unsigned long long)again.trace);
                return 1;
            }
        }
        if (arguments.is_verbose || arguments.first == arguments.last)
            printf("seed %llu holds: trace %016llx\n", (unsigned long long)seed,
                   (unsigned long long)result.trace);
        add(&sum, &result);
    }
    print_sum(&arguments, &sum, used_seconds());
    return 0;
}
