# SPDX-License-Identifier: Apache-2.0
rr_test(NAME test_proposal_queue LABEL fast SOURCES test_proposal_queue.c
        LIBS rr_engine rr_proto Threads::Threads)
rr_test(NAME test_outcomes LABEL fast SOURCES test_outcomes.c LIBS rr_engine rr_proto)
rr_test(NAME test_members LABEL fast SOURCES test_members.c LIBS rr_engine rr_proto)
rr_test(NAME test_id_map LABEL fast SOURCES test_id_map.c LIBS rr_engine)
rr_test(NAME test_log_cache LABEL fast SOURCES test_log_cache.c LIBS rr_engine rr_proto)
rr_test(NAME test_log_index LABEL fast SOURCES test_log_index.c LIBS rr_engine rr_proto)
rr_test(NAME test_engine_single LABEL io SOURCES test_engine_single.c engine_harness.c
        LIBS rr_engine Threads::Threads)
rr_test(NAME test_engine_cluster LABEL io SOURCES test_engine_cluster.c engine_harness.c
        LIBS rr_engine Threads::Threads)
rr_test(NAME test_engine_counters LABEL io SOURCES test_engine_counters.c engine_harness.c
        LIBS rr_engine Threads::Threads)
foreach(backend uring posix)
    rr_test(NAME test_engine_snapshot_${backend} LABEL io SOURCES test_engine_snapshot.c engine_harness.c
            LIBS rr_engine Threads::Threads ARGS ${backend})
    set_tests_properties(test_engine_snapshot_${backend} PROPERTIES RUN_SERIAL TRUE)
endforeach()
if(NOT RR_SANITIZE) # which have memory of their own
    rr_test(NAME test_engine_snapshot_memory LABEL io SOURCES test_engine_snapshot_memory.c engine_harness.c
            LIBS rr_engine Threads::Threads)
    add_test(NAME test_engine_snapshot_of_two_gigabytes COMMAND test_engine_snapshot_memory 2048)
    set_tests_properties(test_engine_snapshot_of_two_gigabytes PROPERTIES LABELS long TIMEOUT 900 RUN_SERIAL TRUE)
endif()
rr_test(NAME test_engine_old_entries LABEL fast SOURCES test_engine_old_entries.c sim_cluster.c
        LIBS rr_engine rr_sim)
rr_test(NAME test_engine_poison LABEL fast SOURCES test_engine_poison.c sim_cluster.c
        LIBS rr_engine rr_sim)
rr_test(NAME test_engine_members LABEL fast SOURCES test_engine_members.c sim_cluster.c
        LIBS rr_engine rr_sim)
rr_test(NAME test_engine_transfer LABEL fast SOURCES test_engine_transfer.c sim_cluster.c
        LIBS rr_engine rr_sim)
rr_test(NAME test_engine_leadership LABEL fast SOURCES test_engine_leadership.c sim_cluster.c
        LIBS rr_engine rr_sim)
rr_test(NAME test_engine_joining LABEL fast SOURCES test_engine_joining.c sim_cluster.c
        LIBS rr_engine rr_sim)
rr_test(NAME test_force_cluster LABEL fast SOURCES test_force_cluster.c sim_cluster.c
        LIBS rr_engine rr_sim)
rr_test(NAME test_engine_events LABEL fast SOURCES test_engine_events.c sim_cluster.c
        LIBS rr_engine rr_sim)
rr_test(NAME test_engine_group_members LABEL fast SOURCES test_engine_group_members.c groups_world.c
        ../sim/chain_machine.c LIBS rr_engine rr_sim)
rr_test(NAME test_engine_groups LABEL fast
        SOURCES test_engine_groups.c groups_world.c ../sim/chain_machine.c LIBS rr_engine rr_sim)
rr_test(NAME test_engine_disk LABEL fast SOURCES test_engine_disk.c sim_cluster.c
        LIBS rr_engine rr_sim)
rr_test(NAME test_engine_hashes LABEL fast SOURCES test_engine_hashes.c sim_cluster.c
        LIBS rr_engine rr_sim)
rr_test(NAME test_engine_deadlines LABEL fast SOURCES test_engine_deadlines.c sim_cluster.c
        LIBS rr_engine rr_sim)
rr_test(NAME test_engine_health LABEL fast SOURCES test_engine_health.c sim_cluster.c
        LIBS rr_engine rr_sim)
rr_test(NAME test_engine_reads LABEL fast SOURCES test_engine_reads.c sim_cluster.c
        LIBS rr_engine rr_sim)
rr_test(NAME test_group_close LABEL fast
        SOURCES test_group_close.c groups_world.c ../sim/chain_machine.c LIBS rr_engine rr_sim)
rr_test(NAME test_groups_threads LABEL io SOURCES test_groups_threads.c engine_harness.c
        LIBS rr_engine Threads::Threads)
foreach(backend uring posix)
    rr_test(NAME test_loop_embedded_${backend} LABEL io SOURCES test_loop_embedded.c engine_harness.c
            LIBS rr_engine Threads::Threads ARGS ${backend})
endforeach()
rr_test(NAME test_memory_budget LABEL io SOURCES test_memory_budget.c engine_harness.c
        LIBS rr_engine Threads::Threads)
set_tests_properties(test_memory_budget PROPERTIES RUN_SERIAL TRUE)
rr_test(NAME test_engine_config LABEL fast SOURCES test_engine_config.c LIBS rr_engine)
# They count, or wait for elections: what else runs on two processors would be in their way.
set_tests_properties(test_engine_single test_engine_cluster test_engine_counters
    PROPERTIES RUN_SERIAL TRUE)
