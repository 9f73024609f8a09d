/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside door of the engine, for programs that bring their own backend: the simulator and tests.
 */
#ifndef RR_ENGINE_ENGINE_H
#define RR_ENGINE_ENGINE_H

#include "io/io.h"

#include <ringraft/ringraft.h>

/* As rr_engine_open, on a backend that the caller made and frees after rr_engine_close. The engine
 * calls io->ops->start. */
int engine_open_on(struct io *io, const struct rr_engine_options *options,
                   struct rr_engine **engine, struct rr_error *error);
/* As rr_force_new_cluster; the engine that does it listens there for a moment. */
int engine_force_on(struct io *io, const struct rr_force_options *options, const char *listen,
                    struct rr_error *error);
/* After a simulated crash: frees everything without any further effect on the world. */
void engine_abandon(struct rr_engine *engine);

/* What an oracle may observe, called on the loop thread (the simulator). All optional. */
struct engine_observer {
    void *ctx;
    void (*on_vote_sent)(void *ctx, uint64_t group, uint64_t term,
                         uint64_t vote); /* a MsgVote/VoteResp leaves */
    void (*on_leader)(void *ctx, uint64_t group, uint64_t term);
    void (*on_commit)(void *ctx, uint64_t group, uint64_t index, uint64_t term);
};
void engine_observe(struct rr_engine *engine, const struct engine_observer *observer);

#endif
