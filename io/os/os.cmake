# SPDX-License-Identifier: Apache-2.0
# What the backends on a real system share.
add_library(rr_io_os STATIC
    address.c
    os/os_embed.c
    os/os_file.c
    os/os_gate.c
    os/os_loop.c
    os/os_socket.c
    os/os_thread.c
    os/os_worker.c)
target_link_libraries(rr_io_os PRIVATE rr_flags PUBLIC rr_proto Threads::Threads)
