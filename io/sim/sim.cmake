# SPDX-License-Identifier: Apache-2.0
# The simulator backend of io.h.
add_library(rr_sim STATIC
    sim/sim.c sim/sim_damage.c sim/sim_disk.c sim/sim_faults.c sim/sim_file.c sim/sim_heap.c sim/sim_loop.c
    sim/sim_names.c sim/sim_net.c sim/sim_stream.c sim/sim_worker.c)
target_link_libraries(rr_sim PUBLIC rr_proto PRIVATE rr_flags)
