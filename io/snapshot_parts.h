/* SPDX-License-Identifier: Apache-2.0
 *
 * Where snapshot streams put what arrives: parts (io/snapshot_part.h) in one directory, each under
 * the name that its file will have. One part of a group at a time; a new one sweeps away what other
 * attempts left of that group.
 */
#ifndef RR_IO_SNAPSHOT_PARTS_H
#define RR_IO_SNAPSHOT_PARTS_H

#include "io/snapshot_stream.h"

struct snapshot_parts {
    struct io *io;
    const char *dir;
};

/* Fills in the functions part_* of the options. `parts` outlives the streams. */
void snapshot_parts_serve(const struct snapshot_parts *parts,
                          struct snapshot_stream_options *options);

#endif
