/* SPDX-License-Identifier: Apache-2.0
 *
 * Paths in and around the data directory. Any thread.
 */
#ifndef RR_IO_FILE_PATH_H
#define RR_IO_FILE_PATH_H

#include <ringraft/error.h>

#define FILE_PATH_SIZE 1024u

/* "dir/name". RR_E_INVALID: longer than a path may be. */
int file_path_join(char path[FILE_PATH_SIZE], const char *dir, const char *name,
                   struct rr_error *error);
/* The directory that `path` lies in: "a/b/" lies in "a", "a" in ".". */
void file_path_parent(char parent[FILE_PATH_SIZE], const char *path);

#endif
