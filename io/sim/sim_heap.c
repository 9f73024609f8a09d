/* SPDX-License-Identifier: Apache-2.0
 *
 * A binary heap of pointers to events that know their place in it.
 */
#include "io/sim/sim_heap.h"

#include <stdlib.h>

static bool before(const struct sim_event *a, const struct sim_event *b)
{
    return a->time != b->time ? a->time < b->time : a->tie < b->tie;
}

static void put(struct sim_heap *heap, size_t at, struct sim_event *event)
{
    heap->events[at] = event;
    event->slot = at + 1;
}

static void sift_up(struct sim_heap *heap, size_t at, struct sim_event *event)
{
    while (at > 0) {
        size_t parent = (at - 1) / 2;
        if (!before(event, heap->events[parent]))
            break;
        put(heap, at, heap->events[parent]);
        at = parent;
    }
    put(heap, at, event);
}

static void sift_down(struct sim_heap *heap, size_t at, struct sim_event *event)
{
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= heap->count)
            break;
        if (child + 1 < heap->count && before(heap->events[child + 1], heap->events[child]))
            child++;
        if (!before(heap->events[child], event))
            break;
        put(heap, at, heap->events[child]);
        at = child;
    }
    put(heap, at, event);
}

void sim_heap_push(struct sim_heap *heap, struct sim_event *event)
{
    RR_ASSERT(event->slot == 0);
    if (heap->count == heap->cap) {
        heap->cap = heap->cap ? 2 * heap->cap : 256;
        heap->events = realloc(heap->events, heap->cap * sizeof(heap->events[0]));
        RR_ASSERT(heap->events);
    }
    sift_up(heap, heap->count++, event);
}

void sim_heap_remove(struct sim_heap *heap, struct sim_event *event)
{
    RR_ASSERT(event->slot != 0 && event->slot <= heap->count);
    size_t at = event->slot - 1;
    RR_ASSERT(heap->events[at] == event);
    struct sim_event *last = heap->events[--heap->count];

    event->slot = 0;
    if (last == event)
        return;
    if (at > 0 && before(last, heap->events[(at - 1) / 2]))
        sift_up(heap, at, last);
    else
        sift_down(heap, at, last);
}

struct sim_event *sim_heap_pop(struct sim_heap *heap)
{
    if (heap->count == 0)
        return NULL;
    struct sim_event *first = heap->events[0];
    sim_heap_remove(heap, first);
    return first;
}

void sim_heap_fini(struct sim_heap *heap)
{
    free(heap->events);
    *heap = (struct sim_heap){0};
}
