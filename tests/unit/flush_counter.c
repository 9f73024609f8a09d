/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads /sys/dev/block/M:N. A partition's queue lies one level up.
 */
#include "tests/unit/flush_counter.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static bool read_line(dev_t dev, const char *file, char *line, int size)
{
    char path[128];
    snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s", major(dev), minor(dev), file);
    FILE *stream = fopen(path, "re");
    if (stream == NULL)
        return false;
    bool is_read = fgets(line, size, stream) != NULL;
    fclose(stream);
    return is_read;
}

static bool needs_flushes(dev_t dev)
{
    char line[64];
    if (!read_line(dev, "queue/write_cache", line, sizeof(line)) &&
        !read_line(dev, "../queue/write_cache", line, sizeof(line)))
        return false;
    if (strncmp(line, "write back", 10) != 0)
        return false;
    if (!read_line(dev, "queue/fua", line, sizeof(line)) &&
        !read_line(dev, "../queue/fua", line, sizeof(line)))
        return false;
    return line[0] == '0';
}

/* The flushes are the 16th number, and counted for whole devices only. */
bool flush_counter_read(int fd, uint64_t *count)
{
    struct stat st;
    char line[512];
    unsigned long long n[17];
    if (fstat(fd, &st) != 0 || !needs_flushes(st.st_dev))
        return false;
    if (!read_line(st.st_dev, "../stat", line, sizeof(line)) &&
        !read_line(st.st_dev, "stat", line, sizeof(line)))
        return false;
    int found = sscanf(line,
                       "%llu %llu %llu %llu %llu %llu %llu %llu %llu %llu %llu %llu %llu %llu "
                       "%llu %llu %llu",
                       &n[0], &n[1], &n[2], &n[3], &n[4], &n[5], &n[6], &n[7], &n[8], &n[9], &n[10],
                       &n[11], &n[12], &n[13], &n[14], &n[15], &n[16]);
    *count = found == 17 ? n[15] : 0;
    return found == 17;
}
