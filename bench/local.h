/* SPDX-License-Identifier: Apache-2.0
 *
 * Small things that programs with several processes on this machine need.
 */
#ifndef RR_BENCH_LOCAL_H
#define RR_BENCH_LOCAL_H

#include <stdbool.h>
#include <stdint.h>

#define LOCAL_PORTS_MAX 8

/* Different ports of 127.0.0.1 that are free now. Somebody may take one before it is used: that
 * program then says so. */
bool local_ports(uint16_t *ports, uint32_t count);
/* Removes a directory with all below it. */
void local_remove(const char *dir);

#endif
