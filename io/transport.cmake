# SPDX-License-Identifier: Apache-2.0
add_library(rr_transport STATIC
    block_pool.c
    hello.c
    send_queue.c
    snapshot_stream.c
    snapshot_stream_receive.c
    snapshot_stream_send.c
    snapshot_wire.c
    transport.c
    transport_accept.c
    transport_dial.c
    transport_recv.c
    transport_send.c)
target_link_libraries(rr_transport PRIVATE rr_flags PUBLIC rr_proto rr_io_os)
