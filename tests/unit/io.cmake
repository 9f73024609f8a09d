# SPDX-License-Identifier: Apache-2.0
rr_test(NAME test_sim_disk LABEL fast SOURCES test_sim_disk.c LIBS rr_sim)
rr_test(NAME test_sim_file LABEL fast SOURCES test_sim_file.c LIBS rr_sim)
rr_test(NAME test_sim_heap LABEL fast SOURCES test_sim_heap.c LIBS rr_sim)
rr_test(NAME test_sim_net LABEL fast SOURCES test_sim_net.c LIBS rr_sim)
rr_test(NAME test_sim_loop LABEL fast SOURCES test_sim_loop.c LIBS rr_sim)

rr_test(NAME test_hello LABEL fast SOURCES test_hello.c LIBS rr_transport)
rr_test(NAME test_block_pool LABEL fast SOURCES test_block_pool.c LIBS rr_transport)
rr_test(NAME test_send_queue LABEL fast SOURCES test_send_queue.c LIBS rr_transport)
rr_test(NAME test_transport LABEL fast SOURCES test_transport.c transport_world.c fake_net.c LIBS rr_transport)
target_link_options(test_transport PRIVATE -Wl,--wrap=malloc,--wrap=calloc)
