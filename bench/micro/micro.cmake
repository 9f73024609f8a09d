# SPDX-License-Identifier: Apache-2.0
# The google-benchmark micro suites, one program per room; absent where the library is not installed.
# rr_micro(NAME name SOURCES … LIBS …)
function(rr_micro)
    cmake_parse_arguments(M "" "NAME" "SOURCES;LIBS" ${ARGN})
    if(NOT benchmark_FOUND)
        return()
    endif()
    list(TRANSFORM M_SOURCES PREPEND micro/)
    add_executable(${M_NAME} ${M_SOURCES})
    target_link_libraries(${M_NAME} PRIVATE rr_flags ${M_LIBS} benchmark::benchmark_main)
endfunction()

rr_micro(NAME bench_codec SOURCES bench_codec.cc LIBS rr_proto)
rr_micro(NAME bench_crc32c SOURCES bench_crc32c.cc LIBS rr_proto)
rr_micro(NAME bench_core SOURCES bench_core.cc LIBS rr_raft)
rr_micro(NAME bench_rooms SOURCES bench_rooms.cc log_room.c LIBS rr_raft)
