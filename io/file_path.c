/* SPDX-License-Identifier: Apache-2.0 */
#include "io/file_path.h"

#include "proto/base.h"

#include <stdio.h>
#include <string.h>

int file_path_join(char path[FILE_PATH_SIZE], const char *dir, const char *name,
                   struct rr_error *error)
{
    int size = snprintf(path, FILE_PATH_SIZE, "%s/%s", dir, name);
    if (size < 0 || (unsigned)size >= FILE_PATH_SIZE)
        return rr_fail(error, RR_E_INVALID, "%.300s…: the path is longer than %u bytes", dir,
                       FILE_PATH_SIZE - 1);
    return 0;
}

void file_path_parent(char parent[FILE_PATH_SIZE], const char *path)
{
    size_t size = strlen(path);
    while (size > 1 && path[size - 1] == '/')
        size--;
    while (size > 0 && path[size - 1] != '/')
        size--;
    while (size > 1 && path[size - 1] == '/')
        size--;
    RR_ASSERT(size < FILE_PATH_SIZE);
    memcpy(parent, size > 0 ? path : ".", size > 0 ? size : 1);
    parent[size > 0 ? size : 1] = 0;
}
