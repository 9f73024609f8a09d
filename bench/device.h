/* SPDX-License-Identifier: Apache-2.0
 *
 * What the kernel tells about the disk behind a directory: whether it is RAM, whether a write can
 * sit in a volatile cache, and how many flushes it has done.
 */
#ifndef RR_BENCH_DEVICE_H
#define RR_BENCH_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

struct device {
    char name[64];       /* "vda", or "" when the block device is not known */
    bool is_ram;         /* the file system lives in RAM */
    bool has_write_back; /* a volatile write cache is in use */
    bool has_fua;        /* a single write can pass it */
    bool counts_flushes;
};

void device_of(const char *dir, struct device *device);
/* Flushes completed since boot; false: not counted here. */
bool device_flushes(const struct device *device, uint64_t *flushes);

#endif
