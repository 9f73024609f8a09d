/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the core's log events go. Making one costs a single predicted branch when its level is
 * disabled. Numbers and pointers travel alike in 64 bits; raft/log_event.h says which is which.
 */
#ifndef RR_RAFT_EVENTS_H
#define RR_RAFT_EVENTS_H

#include "proto/base.h"
#include "raft/log_event.h"

#include <stddef.h>

_Static_assert(sizeof(union rr_log_arg) == sizeof(uint64_t), "arguments are 64 bits wide");

struct event_sink {
    void (*log)(void *ctx, const struct rr_log_event *event);
    void *ctx;
    uint8_t level; /* events below it are not made; above all levels if there is no `log` */
};

RR_COLD void event_emit(const struct event_sink *sink, enum rr_log_event_id id,
                        const uint64_t *args, size_t count);

/* EVENT(&sink, BECAME_LEADER, id, term): pointers are cast by event_pointer. */
#define EVENT(sink, name, ...)                                                                     \
    do {                                                                                           \
        if (RR_UNLIKELY((uint8_t)rr_log_event_level(RR_LOG_EVENT_##name) >= (sink)->level)) {      \
            const uint64_t event_args_[] = {__VA_ARGS__};                                          \
            event_emit((sink), RR_LOG_EVENT_##name, event_args_, RR_ARRAY_SIZE(event_args_));      \
        }                                                                                          \
    } while (0)

static inline uint64_t event_pointer(const void *pointer)
{
    return (uint64_t)(uintptr_t)pointer;
}

#endif
