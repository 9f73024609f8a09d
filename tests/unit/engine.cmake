# SPDX-License-Identifier: Apache-2.0
# Modules by themselves.
foreach(module proposal_queue outcomes members id_map log_cache log_index engine_config)
    rr_test(NAME test_${module} LABEL fast SOURCES test_${module}.c LIBS rr_engine rr_proto Threads::Threads)
endforeach()

# Whole engines in the simulator: one cluster, or nodes with many groups.
foreach(story old_entries poison members level transfer leadership joining events disk memory hashes deadlines health reads)
    rr_test(NAME test_engine_${story} LABEL fast SOURCES test_engine_${story}.c sim_cluster.c LIBS rr_engine rr_sim)
endforeach()
rr_test(NAME test_force_cluster LABEL fast SOURCES test_force_cluster.c sim_cluster.c LIBS rr_engine rr_sim)
foreach(story engine_groups engine_group_members engine_dormant group_close)
    rr_test(NAME test_${story} LABEL fast SOURCES test_${story}.c groups_world.c ../sim/chain_machine.c
            LIBS rr_engine rr_sim)
endforeach()

# Whole engines on this machine's disk and network.
foreach(story engine_single engine_cluster engine_counters groups_threads memory_budget)
    rr_test(NAME test_${story} LABEL io SOURCES test_${story}.c engine_harness.c LIBS rr_engine Threads::Threads)
endforeach()
foreach(story engine_snapshot loop_embedded)
    foreach(backend uring posix)
        rr_test(NAME test_${story}_${backend} LABEL io SOURCES test_${story}.c engine_harness.c
                LIBS rr_engine Threads::Threads ARGS ${backend})
    endforeach()
endforeach()
# They count, or wait for elections: what else runs on two processors would be in their way.
set_tests_properties(test_engine_single test_engine_cluster test_engine_counters test_memory_budget
    test_engine_snapshot_uring test_engine_snapshot_posix PROPERTIES RUN_SERIAL TRUE)
if(NOT RR_SANITIZE) # which have memory of their own
    rr_test(NAME test_engine_snapshot_memory LABEL io SOURCES test_engine_snapshot_memory.c engine_harness.c
            LIBS rr_engine Threads::Threads)
    add_test(NAME test_engine_snapshot_of_two_gigabytes COMMAND test_engine_snapshot_memory 2048)
    set_tests_properties(test_engine_snapshot_of_two_gigabytes PROPERTIES LABELS long TIMEOUT 900 RUN_SERIAL TRUE)
endif()
