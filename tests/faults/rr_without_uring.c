/* SPDX-License-Identifier: Apache-2.0
 *
 * rr-without-uring EPERM|ENOSYS COMMAND [ARG…]: runs a command where io_uring is refused, as in a
 * container (EPERM) or on a kernel without it (ENOSYS). Exits 77 where the kernel takes no filter.
 */
#include "tests/faults/refuse_uring.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int err = 0;
    if (argc > 2 && strcmp(argv[1], "EPERM") == 0)
        err = EPERM;
    else if (argc > 2 && strcmp(argv[1], "ENOSYS") == 0)
        err = ENOSYS;
    if (err == 0) {
        fprintf(stderr, "usage: rr-without-uring EPERM|ENOSYS COMMAND [ARG...]\n");
        return 2;
    }
    if (!refuse_uring(err)) {
        printf("skipped: this kernel takes no seccomp filter\n");
        return 77;
    }
    execvp(argv[2], &argv[2]);
    fprintf(stderr, "rr-without-uring: %s: %s\n", argv[2], strerror(errno));
    return 2;
}
