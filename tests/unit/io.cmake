# SPDX-License-Identifier: Apache-2.0
rr_test(NAME test_sim_disk LABEL fast SOURCES test_sim_disk.c LIBS rr_sim)
rr_test(NAME test_sim_heap LABEL fast SOURCES test_sim_heap.c LIBS rr_sim)
rr_test(NAME test_sim_net LABEL fast SOURCES test_sim_net.c LIBS rr_sim)
rr_test(NAME test_sim_loop LABEL fast SOURCES test_sim_loop.c LIBS rr_sim)
