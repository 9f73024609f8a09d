/* SPDX-License-Identifier: Apache-2.0 */
#include "raft/events.h"

#include <string.h>

RR_COLD void event_emit(const struct event_sink *sink, enum rr_log_event_id id,
                        const uint64_t *args, size_t count)
{
    RR_ASSERT(count <= RR_LOG_ARGS_MAX);
    struct rr_log_event event = {.id = (uint8_t)id, .level = (uint8_t)rr_log_event_level(id)};
    memcpy(event.args, args, count * sizeof(*args));
    sink->log(sink->ctx, &event);
}
