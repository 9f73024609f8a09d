/* SPDX-License-Identifier: Apache-2.0
 *
 * The io_uring backend of the seam: one ring per loop, made for the loop's thread
 * (SINGLE_ISSUER|DEFER_TASKRUN), entered exactly once per turn. Needs Linux 6.1.
 */
#ifndef RR_IO_URING_URING_H
#define RR_IO_URING_URING_H

#include "io/io.h"

#include <ringraft/error.h>

/* Zero means the default. */
struct uring_options {
    uint32_t sq_entries; /* ops that one enter can submit; more wait for the next one; 256 */
    uint32_t cq_entries; /* completions held without the kernel's slower overflow list; 4096 */
};

/* Makes the ring and asks the kernel for everything that is needed; options may be NULL.
 * RR_E_NOT_SUPPORTED: refused or incomplete, the sentence says what and why (another backend may
 * do); RR_E_NO_MEMORY, RR_E_IO: out of memory or file descriptors. */
int uring_open(const struct uring_options *options, struct io **io, struct rr_error *error);
/* After join (or never started), with all workers freed. */
void uring_free(struct io *io);

#endif
