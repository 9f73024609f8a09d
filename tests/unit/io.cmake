# SPDX-License-Identifier: Apache-2.0
rr_test(NAME test_address LABEL fast SOURCES test_address.c LIBS rr_io_os)
rr_test(NAME test_os_file LABEL fast SOURCES test_os_file.c LIBS rr_io_os)
rr_test(NAME test_uring LABEL fast SOURCES test_uring.c io_harness.c LIBS rr_backend)
foreach(backend uring posix)
    rr_test(NAME test_io_backend_${backend} LABEL fast SOURCES test_io_backend.c io_harness.c LIBS rr_backend
        ARGS ${backend})
    rr_test(NAME test_io_loop_${backend} LABEL fast SOURCES test_io_loop.c io_harness.c LIBS rr_backend ARGS ${backend})
endforeach()

rr_test(NAME test_sim_disk LABEL fast SOURCES test_sim_disk.c LIBS rr_sim)
rr_test(NAME test_sim_file LABEL fast SOURCES test_sim_file.c LIBS rr_sim)
rr_test(NAME test_sim_heap LABEL fast SOURCES test_sim_heap.c LIBS rr_sim)
rr_test(NAME test_sim_net LABEL fast SOURCES test_sim_net.c LIBS rr_sim)
rr_test(NAME test_sim_loop LABEL fast SOURCES test_sim_loop.c LIBS rr_sim)

rr_test(NAME test_hello LABEL fast SOURCES test_hello.c LIBS rr_transport)
rr_test(NAME test_block_pool LABEL fast SOURCES test_block_pool.c LIBS rr_transport)
rr_test(NAME test_send_queue LABEL fast SOURCES test_send_queue.c LIBS rr_transport)
rr_test(NAME test_transport LABEL fast SOURCES test_transport.c transport_world.c fake_net.c LIBS rr_transport)
rr_test(NAME test_transport_dial LABEL fast SOURCES test_transport_dial.c transport_world.c fake_net.c LIBS rr_transport)
rr_test(NAME test_transport_accept LABEL fast SOURCES test_transport_accept.c transport_world.c fake_net.c LIBS rr_transport)
target_link_options(test_transport PRIVATE -Wl,--wrap=malloc,--wrap=calloc)
rr_test(NAME test_wal LABEL fast SOURCES test_wal.c wal_world.c LIBS rr_wal rr_sim)
