/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/device.h"

#include <libgen.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Field 16 of /sys/block/NAME/stat (Documentation/block/stat.rst), counted from one. */
#define STAT_FLUSHES 16

static bool read_text(const char *path, char *text, size_t cap)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    size_t size = fread(text, 1, cap - 1, file);
    fclose(file);
    text[size] = 0;
    return size > 0;
}

/* The whole disk's name: a partition's directory lies in its disk's. */
static bool find_name(dev_t dev, char *name, size_t cap)
{
    char link[96], target[PATH_MAX], path[PATH_MAX + 16];
    snprintf(link, sizeof(link), "/sys/dev/block/%u:%u", major(dev), minor(dev));
    if (!realpath(link, target))
        return false;
    snprintf(path, sizeof(path), "%s/partition", target);
    if (access(path, F_OK) == 0)
        snprintf(target, sizeof(target), "%s", dirname(target));
    snprintf(name, cap, "%s", basename(target));
    return true;
}

void device_of(const char *dir, struct device *device)
{
    struct stat st;
    struct statfs fs;
    char path[160], text[64];
    *device = (struct device){.name = ""};
    if (statfs(dir, &fs) == 0)
        device->is_ram = fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC;
    if (stat(dir, &st) != 0 || !find_name(st.st_dev, device->name, sizeof(device->name)))
        return;
    snprintf(path, sizeof(path), "/sys/block/%s/queue/write_cache", device->name);
    device->has_write_back =
        read_text(path, text, sizeof(text)) && strncmp(text, "write back", 10) == 0;
    snprintf(path, sizeof(path), "/sys/block/%s/queue/fua", device->name);
    device->has_fua = read_text(path, text, sizeof(text)) && text[0] == '1';
    uint64_t flushes;
    device->counts_flushes = device_flushes(device, &flushes);
}

bool device_flushes(const struct device *device, uint64_t *flushes)
{
    char path[160], text[512];
    snprintf(path, sizeof(path), "/sys/block/%s/stat", device->name);
    if (!device->name[0] || !read_text(path, text, sizeof(text)))
        return false;
    char *save = NULL, *field = strtok_r(text, " \n", &save);
    for (int i = 1; field && i < STAT_FLUSHES; i++)
        field = strtok_r(NULL, " \n", &save);
    if (!field)
        return false;
    *flushes = strtoull(field, NULL, 10);
    return true;
}
