/* SPDX-License-Identifier: Apache-2.0
 *
 * How often the device under a file was told to flush its cache: the only outside witness that a
 * write was durable and not just written. Other programs raise the count too, so it can show that
 * too few flushes happened, never that there were too many.
 */
#ifndef RR_TESTS_FLUSH_COUNTER_H
#define RR_TESTS_FLUSH_COUNTER_H

#include <stdbool.h>
#include <stdint.h>

/* False: no such device, or one that needs no flushes (write-through, FUA), or an old kernel. */
bool flush_counter_read(int fd, uint64_t *count);

#endif
