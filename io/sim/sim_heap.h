/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulator's agenda: a binary heap of events, ordered by virtual time; equal times by a seeded
 * tiebreak. Events are embedded in what they are about and may be taken out again.
 */
#ifndef RR_IO_SIM_HEAP_H
#define RR_IO_SIM_HEAP_H

#include "proto/base.h"

struct sim_event {
    void (*run)(struct sim_event *event);
    uint64_t time;
    uint64_t tie;
    size_t slot; /* place in the heap + 1; 0: not scheduled */
};

struct sim_heap {
    struct sim_event **events;
    size_t count;
    size_t cap;
};

void sim_heap_push(struct sim_heap *heap, struct sim_event *event);
void sim_heap_remove(struct sim_heap *heap, struct sim_event *event);
/* The earliest, taken out; NULL when empty. */
struct sim_event *sim_heap_pop(struct sim_heap *heap);
void sim_heap_fini(struct sim_heap *heap);

#endif
