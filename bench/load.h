/* SPDX-License-Identifier: Apache-2.0
 *
 * A closed-loop client inside a replica: keeps a number of proposals outstanding for a warm-up and
 * a window, and counts what completes inside the window. Where the next proposal comes from is the
 * shape. One load runs at a time; load_run is called on a thread of its own (the client),
 * load_on_complete by the engine.
 */
#ifndef RR_BENCH_LOAD_H
#define RR_BENCH_LOAD_H

#include "bench/histogram.h"

#include <ringraft/ringraft.h>
#include <stdatomic.h>
#include <stdbool.h>

enum load_shape {
    LOAD_DEPTH1,      /* one outstanding; the next proposal comes from the completion */
    LOAD_DEPTH1_WAIT, /* one outstanding; the client thread sleeps until its completion wakes it */
    LOAD_DEPTH256,    /* 256 outstanding, one entry per call, the next from the completion */
    LOAD_SATURATED,   /* one entry per call from the client thread, as fast as it goes */
    LOAD_SATURATED64, /* the same in calls of 64 */
    LOAD_READ256,     /* 256 linearizable reads outstanding, the next from the completion */
    LOAD_SHAPES,
};

static inline bool load_is_read(enum load_shape shape)
{
    return shape == LOAD_READ256;
}

/* The names of the shapes in reports and on the control channel. */
const char *load_shape_name(enum load_shape shape);
enum load_shape load_shape_find(const char *name); /* LOAD_SHAPES: unknown */

struct load_request {
    enum load_shape shape;
    uint32_t size;  /* bytes of an entry */
    uint32_t depth; /* outstanding; 0: the shape's own */
    uint32_t warmup_ms;
    uint32_t window_ms;
};

struct load_result {
    uint64_t completed; /* RR_OK inside the window */
    uint64_t failed;    /* any other outcome, at any time */
    double seconds;     /* length of the window as measured */
    struct histogram latency;
    struct rr_group_status before, after; /* at the edges of the window */
};

struct load;
struct load *load_new(void);
void load_free(struct load *load);
void load_attach(struct load *load, struct rr_group *group);
/* Blocks for warm-up and window and until everything that was proposed has completed. */
void load_run(struct load *load, const struct load_request *request, struct load_result *result);
/* The group's on_complete; ctx is the load. */
void load_on_complete(void *ctx, const struct rr_completion *completions, uint32_t count);
/* Completions so far in the running window, for a progress line; any thread. */
uint64_t load_progress(const struct load *load);

#endif
