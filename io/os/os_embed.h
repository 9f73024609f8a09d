/* SPDX-License-Identifier: Apache-2.0
 *
 * A loop without a thread of its own: it lives inside the caller's. One fd polls readable when a
 * turn is due, for whatever reason; each call runs one turn. The thread of the first call owns the
 * loop from then on.
 *
 *      poll_fd ┬── the driver's fd   completions, wake-ups by other threads
 *              └── timer_fd          the turn's deadline, or at once
 *
 * A turn: consume what made poll_fd readable (here the caller may wait), enter and reap, dispatch,
 * turn function, enter to submit, set the timer. Twice into the kernel instead of once, and once
 * more for the timer when the deadline moved: the price of not owning the waiting. Between turns
 * the loop counts as asleep, so that other threads kick it.
 */
#ifndef RR_IO_OS_EMBED_H
#define RR_IO_OS_EMBED_H

#include "io/io.h"

struct os_embed {
    _Atomic uintptr_t owner; /* the thread of the first turn; 0: none yet */
    uint64_t timer_at_ns;    /* when it fires; 0: not set, or it has fired */
    int poll_fd;
    int timer_fd;
    bool is_on;
    bool has_begun; /* the driver has */
    bool is_inside; /* a turn is running */
    bool has_ended; /* the turn function said so */
};

int os_embed_start(struct io *io, bool (*turn)(void *ctx, uint64_t now_ns, uint64_t *deadline_ns),
                   void *ctx);
int os_embed_turn(struct io *io, uint32_t wait_ms);
/* May the calling thread turn it, now? */
bool os_embed_is_mine(const struct os_embed *embed);
/* Turns until the turn function ends the loop. The caller is the owner. 0, or begin's -errno. */
int os_embed_run_to_end(struct io *io);
void os_embed_fini(struct io *io);

#endif
