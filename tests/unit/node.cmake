# SPDX-License-Identifier: Apache-2.0
foreach(part node node_requests node_group)
    rr_test(NAME test_${part} LABEL fast SOURCES test_${part}.c node_world.c LIBS rr_engine)
endforeach()
rr_test(NAME test_node_threads LABEL fast SOURCES test_node_threads.c LIBS rr_engine Threads::Threads)
set_tests_properties(test_node_threads PROPERTIES LABELS "fast;threads") # for the thread sanitizer
