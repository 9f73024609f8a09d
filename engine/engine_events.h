/* SPDX-License-Identifier: Apache-2.0
 *
 * The one door by which the engine tells its application what happened. Loop thread, cold.
 */
#ifndef RR_ENGINE_ENGINE_EVENTS_H
#define RR_ENGINE_ENGINE_EVENTS_H

#include "engine/engine_state.h"

/* Hands the event to options.on_event, if there is one; fills in `size`. The caller's state must be
 * in order: the callback may ask for the status, propose, read. */
void engine_event(struct rr_engine *engine, const struct rr_event *event);

#endif
