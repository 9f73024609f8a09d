# SPDX-License-Identifier: Apache-2.0
# The write-ahead log, the directory's identity, snapshot files and the blocks that log bytes live in.
add_library(rr_wal STATIC
    file_path.c
    identity.c
    lineage.c
    log_block.c
    snapshot_file.c
    snapshot_format.c
    snapshot_part.c
    snapshot_parts.c
    snapshot_reader.c
    wal.c
    wal_create.c
    wal_format.c
    wal_index.c
    wal_live.c
    wal_move.c
    wal_read.c
    wal_recover.c
    wal_scan.c
    wal_segment.c
    wal_stage.c
    wal_write.c)
target_link_libraries(rr_wal PRIVATE rr_flags PUBLIC rr_proto)
