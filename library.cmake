# SPDX-License-Identifier: Apache-2.0
# What others link: libringraft.so and libringraft.a, both with only the public names visible. The static one is a single
# relocatable object whose hidden symbols were made local, so that it cannot collide with its host's names.
set(RR_ROOMS rr_proto rr_raft rr_io_os rr_uring rr_posix rr_backend rr_wal rr_transport rr_engine)

foreach(room ${RR_ROOMS})
    if(NOT TARGET ${room})
        message(STATUS "no library: ${room} is not here yet")
        return()
    endif()
endforeach()
file(WRITE ${CMAKE_BINARY_DIR}/ringraft_empty.c "")
add_library(ringraft SHARED ${CMAKE_BINARY_DIR}/ringraft_empty.c)
string(REPLACE ";" "," RR_ROOMS_JOINED "${RR_ROOMS}")
target_link_libraries(ringraft PRIVATE rr_flags $<LINK_LIBRARY:WHOLE_ARCHIVE,${RR_ROOMS_JOINED}>)
target_link_options(ringraft PRIVATE -Wl,-z,relro,-z,now)
set_target_properties(ringraft PROPERTIES SOVERSION 0.1 VERSION ${PROJECT_VERSION}
    LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/engine)
foreach(layer proto raft engine)
    target_include_directories(ringraft INTERFACE $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/${layer}/include>)
endforeach()

set(archive ${CMAKE_BINARY_DIR}/engine/libringraft.a)
set(room_files)
foreach(room ${RR_ROOMS})
    list(APPEND room_files $<TARGET_FILE:${room}>)
endforeach()
add_custom_command(OUTPUT ${archive}
    COMMAND ${CMAKE_LINKER} -r --whole-archive ${room_files} -o ringraft.o
    COMMAND ${CMAKE_OBJCOPY} --localize-hidden ringraft.o
    COMMAND ${CMAKE_COMMAND} -E rm -f ${archive}
    COMMAND ${CMAKE_AR} qcs ${archive} ringraft.o
    WORKING_DIRECTORY ${CMAKE_BINARY_DIR}
    DEPENDS ${RR_ROOMS} COMMAND_EXPAND_LISTS VERBATIM
    COMMENT "libringraft.a")
add_custom_target(ringraft_static ALL DEPENDS ${archive})

# What our own programs link: the same rooms, inner names included.
add_library(ringraft_rooms INTERFACE)
target_link_libraries(ringraft_rooms INTERFACE $<LINK_GROUP:RESCAN,${RR_ROOMS_JOINED}> Threads::Threads)
