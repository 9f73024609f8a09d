# SPDX-License-Identifier: Apache-2.0
add_library(rr_posix STATIC
    posix/posix.c
    posix/posix_disk.c
    posix/posix_socket.c)
target_link_libraries(rr_posix PRIVATE rr_flags PUBLIC rr_io_os)
