# SPDX-License-Identifier: Apache-2.0
add_library(rr_uring STATIC
    uring/uring.c
    uring/uring_op.c
    uring/uring_probe.c)
target_link_libraries(rr_uring PRIVATE rr_flags PUBLIC rr_io_os PkgConfig::LIBURING)
