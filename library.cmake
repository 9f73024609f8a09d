# SPDX-License-Identifier: Apache-2.0
# What others link: libringraft.so and libringraft.a, both with only the public names visible. The static one is a single
# relocatable object whose hidden symbols were made local, so that it cannot collide with its host's names.
set(RR_ROOMS rr_proto rr_raft rr_io_os rr_uring rr_posix rr_backend rr_wal rr_transport rr_engine)
foreach(room ${RR_ROOMS})
    list(APPEND room_files $<TARGET_FILE:${room}>)
endforeach()

file(WRITE ${CMAKE_BINARY_DIR}/ringraft_empty.c "")
add_library(ringraft SHARED ${CMAKE_BINARY_DIR}/ringraft_empty.c)
target_link_libraries(ringraft PRIVATE rr_flags -Wl,--whole-archive ${room_files} -Wl,--no-whole-archive
    PkgConfig::LIBURING Threads::Threads)
target_link_options(ringraft PRIVATE -Wl,-z,relro,-z,now)
add_dependencies(ringraft ${RR_ROOMS})
set_target_properties(ringraft PROPERTIES SOVERSION 0.1 VERSION ${PROJECT_VERSION} LINK_DEPENDS "${room_files}"
    LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/engine)
foreach(layer proto raft engine)
    target_include_directories(ringraft INTERFACE $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/${layer}/include>)
endforeach()

set(archive ${CMAKE_BINARY_DIR}/engine/libringraft.a)
add_custom_command(OUTPUT ${archive}
    COMMAND ${CMAKE_LINKER} -r --whole-archive ${room_files} -o ringraft.o
    COMMAND ${CMAKE_OBJCOPY} --localize-hidden ringraft.o
    COMMAND ${CMAKE_COMMAND} -E rm -f ${archive}
    COMMAND ${CMAKE_AR} qcs ${archive} ringraft.o
    WORKING_DIRECTORY ${CMAKE_BINARY_DIR}
    DEPENDS ${RR_ROOMS} VERBATIM
    COMMENT "libringraft.a")
add_custom_target(ringraft_static ALL DEPENDS ${archive})

# What our own programs link: the same rooms, inner names included.
add_library(ringraft_rooms INTERFACE)
target_link_libraries(ringraft_rooms INTERFACE rr_engine rr_backend rr_uring rr_posix rr_io_os rr_wal rr_transport
    rr_raft rr_proto Threads::Threads)
