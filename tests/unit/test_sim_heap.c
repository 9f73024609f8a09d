/* SPDX-License-Identifier: Apache-2.0
 *
 * The agenda gives events in order of time, also when some are taken out again.
 */
#include "io/sim/sim_heap.h"
#include "io/sim/sim_random.h"

#include "tests/unit/check.h"

#define EVENTS 500

static void test_pop_after_random_removals_is_in_order(void)
{
    static struct sim_event events[EVENTS];
    struct sim_heap heap = {0};
    struct sim_stream chance = stream_make(1, 1);
    int removed = 0, popped = 0;

    for (uint64_t i = 0; i < EVENTS; i++) {
        events[i] = (struct sim_event){.time = stream_below(&chance, 50), .tie = i};
        sim_heap_push(&heap, &events[i]);
        if (stream_chance(&chance, 1, 3)) {
            struct sim_event *out = &events[stream_below(&chance, i + 1)];
            if (out->slot != 0) {
                sim_heap_remove(&heap, out);
                removed++;
            }
        }
    }
    struct sim_event *last = NULL, *event;
    while ((event = sim_heap_pop(&heap)) != NULL) {
        CHECK(event->slot == 0);
        CHECK(!last || last->time < event->time ||
              (last->time == event->time && last->tie < event->tie));
        last = event;
        popped++;
    }
    CHECK(removed > 50 && popped + removed == EVENTS);
    sim_heap_fini(&heap);
}

int main(void)
{
    RUN(test_pop_after_random_removals_is_in_order);
    return 0;
}
