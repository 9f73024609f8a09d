/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/engine_events.h"

void engine_event(struct rr_engine *engine, const struct rr_event *event)
{
    if (!engine->options.on_event)
        return;
    struct rr_event told = *event;
    told.size = sizeof(told);
    engine->options.on_event(engine->options.event_ctx, &told);
}
