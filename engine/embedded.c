/* SPDX-License-Identifier: Apache-2.0
 *
 * The loop as a part of the application's own: engine option `embedded`. See io/os/os_embed.h for
 * what a turn then is. Cold.
 */
#include "engine/engine_state.h"

#include <errno.h>

int rr_loop_fd(struct rr_engine *engine)
{
    return engine->options.embedded ? engine->loop_fd : RR_E_INVALID;
}

int rr_loop_turn(struct rr_engine *engine, uint32_t timeout_ms)
{
    struct io *io = engine->io;
    if (!engine->options.embedded)
        return RR_E_INVALID;
    int rc = io->ops->turn(io, timeout_ms);
    if (rc == -EPERM)
        return RR_E_WRONG_THREAD;
    return rc < 0 ? RR_E_IO : 0;
}
