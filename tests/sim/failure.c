/* SPDX-License-Identifier: Apache-2.0
 *
 * The one place where a simulation ends badly.
 */
#include "tests/sim/failure.h"

#include "proto/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

/* The hook of a broken assertion has no context of its own. */
static struct {
    uint64_t seed;
    uint64_t crash_at;
    uint32_t seconds;
    const struct sim *sim;
} playing;

static void print_replay(void)
{
    typedef unsigned long long ull;
    fprintf(stderr, "seed %llu: at %.6f s, after %llu events\n", (ull)playing.seed,
            (double)sim_now(playing.sim) / 1e9, (ull)sim_event_count(playing.sim));
    fprintf(stderr, "replay: rr-sim --seed %llu --seconds %u --verbose", (ull)playing.seed,
            playing.seconds);
    if (playing.crash_at > 0)
        fprintf(stderr, " --crash-at %llu", (ull)playing.crash_at);
    fprintf(stderr, "\n");
    fflush(stderr);
}

static void on_assert(const char *file, int line, const char *expression)
{
    fprintf(stderr, "FAILED: %s:%d: assertion failed: %s\n", file, line, expression);
    print_replay(); /* and then abort, so that a debugger sees the stack */
}

void failure_watch(const struct plan *plan, uint32_t seconds, const struct sim *sim)
{
    playing.seed = plan->seed;
    playing.crash_at = plan->crash_at;
    playing.seconds = seconds;
    playing.sim = sim;
    rr_assert_set_hook(on_assert);
}

void failure_report(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fflush(stdout);
    fprintf(stderr, "FAILED: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    print_replay();
    _exit(1);
}
