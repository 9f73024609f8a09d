/* SPDX-License-Identifier: Apache-2.0
 *
 * A seccomp filter like a container's, under which io_uring is refused.
 */
#ifndef RR_TESTS_REFUSE_URING_H
#define RR_TESTS_REFUSE_URING_H

#include <stdbool.h>

/* From now on io_uring_setup answers `err` in this process and in those that it starts; that
 * cannot be taken back. False: this kernel takes no filter. */
bool refuse_uring(int err);

#endif
