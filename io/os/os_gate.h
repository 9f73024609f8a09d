/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a thread waits for a loop: a futex. And who may not: threads that the loop may wait for.
 */
#ifndef RR_IO_OS_GATE_H
#define RR_IO_OS_GATE_H

#include "io/io.h"

/* From now on this thread runs the loop's turns, or its workers' jobs; NULL: no more. */
void os_gate_enter(struct io *io);
bool os_gate_may_wait(struct io *io);
bool os_gate_wait(struct io *io, struct io_gate *gate);
void os_gate_open(struct io *io, struct io_gate *gate);

#endif
