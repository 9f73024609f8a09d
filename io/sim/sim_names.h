/* SPDX-License-Identifier: Apache-2.0
 *
 * Names of the disk model: two tables from path to inode (what a process sees, what would survive)
 * and the list of changes between them. Between sim_disk.c and sim_names.c only.
 */
#ifndef RR_IO_SIM_NAMES_H
#define RR_IO_SIM_NAMES_H

#include "io/sim/sim_disk.h"

struct inode *inode_new(struct disk *disk, bool is_dir);
void names_make_root(struct disk *disk);
void names_fini(struct disk *disk);
/* A durable name; its directory has one already. */
void names_set(struct disk *disk, const char *path, struct inode *inode);
void names_power_loss(struct disk *disk, enum sim_power_loss how);

#endif
