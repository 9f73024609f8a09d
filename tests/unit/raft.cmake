# SPDX-License-Identifier: Apache-2.0
rr_test(NAME test_describe LABEL fast SOURCES test_describe.c LIBS rr_raft)
rr_test(NAME test_datadriven LABEL fast SOURCES test_datadriven.c LIBS rr_conformance_lib)
foreach(room quorum inflights progress confchange unstable memory_storage raft_log)
    rr_test(NAME test_${room} LABEL fast SOURCES test_${room}.c LIBS rr_raft)
endforeach()
foreach(story raw_node raft_beliefs raft_pending raft_border raft_election raft_replication raft_requests)
    rr_test(NAME test_${story} LABEL fast SOURCES test_${story}.c raft_world.c LIBS rr_raft)
endforeach()
# What only mutants of the core showed to be missing (tests/mutants).
foreach(theme wait roles border edges)
    rr_test(NAME test_mutants_${theme} LABEL fast SOURCES test_mutants_${theme}.c raft_world.c LIBS rr_raft)
endforeach()
