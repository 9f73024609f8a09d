/* SPDX-License-Identifier: Apache-2.0 */
#include "io/os/os_gate.h"

#include "io/os/os_loop.h"
#include "proto/base.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Whose turn or job this thread is in. */
static _Thread_local struct io *inside;

void os_gate_enter(struct io *io)
{
    inside = io;
}

bool os_gate_may_wait(struct io *io)
{
    const struct os_embed *embed = &os_loop_of(io)->embed;
    return inside != io && (!embed->is_on || os_embed_is_mine(embed));
}

static bool turn_until_open(struct io *io, struct io_gate *gate)
{
    int err = 0;
    while (err == 0 && atomic_load_explicit(&gate->is_open, memory_order_acquire) == 0)
        err = os_embed_turn(io, UINT32_MAX);
    return err == 0;
}

bool os_gate_wait(struct io *io, struct io_gate *gate)
{
    RR_ASSERT(os_gate_may_wait(io));
    if (os_loop_of(io)->embed.is_on) /* nobody else would open it */
        return turn_until_open(io, gate);
    while (atomic_load_explicit(&gate->is_open, memory_order_acquire) == 0) {
        long err = syscall(SYS_futex, &gate->is_open, FUTEX_WAIT_PRIVATE, 0, NULL);
        RR_ASSERT(err == 0 || errno == EAGAIN || errno == EINTR);
    }
    return true;
}

/* From the store on the gate may be gone, with the stack it stood on: then the kernel wakes nobody,
 * or somebody who looks again, or finds no memory there. */
void os_gate_open(struct io *io, struct io_gate *gate)
{
    (void)io;
    _Atomic uint32_t *address = &gate->is_open;
    atomic_store_explicit(address, 1, memory_order_release);
    long err = syscall(SYS_futex, address, FUTEX_WAKE_PRIVATE, 1);
    RR_ASSERT(err >= 0 || errno == EFAULT);
}
