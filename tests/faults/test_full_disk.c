/* SPDX-License-Identifier: Apache-2.0
 *
 * A disk that is really full: an ext4 of 40 MiB on a loop device, in a mount namespace of this
 * process, so that nothing stays behind however it ends. Needs root; says loudly when it cannot.
 *
 * What must hold: writes are refused before anything is acknowledged, nothing acknowledged is lost,
 * a node starts on the full disk, and service resumes when space returns, without a restart.
 */
#include "tests/faults/dir_copy.h"
#include "tests/faults/fault_node.h"
#include "tests/unit/check.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define DISK_BYTES   (40ll << 20)
#define FILLER_BYTES (16ll << 20)
#define ENTRY_BYTES  4000u
#define WAIT_MS_MAX  20000u

/* ---- the disk -------------------------------------------------------------- */

struct disk {
    char mount_point[72];
};

static void skip(const char *what)
{
    fprintf(stderr, "NOT TESTED: full disks need root, mkfs.ext4 and loop devices: %s: %s\n", what,
            strerror(errno));
    exit(77);
}

static void run_or_skip(const char *command)
{
    if (system(command) != 0)
        skip(command);
}

/* What is mounted from now on is gone when this process is. */
static void enter_own_namespace(void)
{
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        skip("unshare");
}

static void disk_mount(struct disk *disk, const char *root)
{
    char image[96], command[512];
    snprintf(image, sizeof(image), "%s/image", root);
    snprintf(disk->mount_point, sizeof(disk->mount_point), "%s/disk", root);
    int fd = open(image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && ftruncate(fd, DISK_BYTES) == 0 && mkdir(disk->mount_point, 0755) == 0);
    close(fd);
    snprintf(command, sizeof(command), "mkfs.ext4 -q -F -m 0 %s && mount -o loop %s %s", image,
             image, disk->mount_point);
    run_or_skip(command);
    CHECK(unlink(image) == 0); /* the loop device keeps it */
}

static void disk_unmount(const struct disk *disk)
{
    CHECK(umount2(disk->mount_point, MNT_DETACH) == 0);
}

/* Takes `bytes` of the disk, or all that is left. */
static void disk_fill(const struct disk *disk, const char *name, int64_t bytes)
{
    static const char zeros[4096];
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", disk->mount_point, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    ssize_t written = sizeof(zeros);
    for (int64_t at = 0; at < bytes && written > 0; at += written)
        written = write(fd, zeros, sizeof(zeros));
    CHECK(written > 0 || errno == ENOSPC);
    close(fd);
}

/* ---- nodes on it ----------------------------------------------------------- */

/* Shared with the processes that it forks: what they were told counts, even if they were killed. */
static struct harness *new_harness(uint32_t node_count)
{
    struct harness *harness =
        mmap(NULL, sizeof(*harness), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(harness != MAP_FAILED);
    harness_init(harness, node_count);
    harness->engine_options.segment_bytes = 1 << 20;
    harness->engine_options.wal_bytes_max = 256 << 20; /* more than there is */
    harness->engine_options.entry_bytes_max = 64 << 10;
    return harness;
}

static void move_to_disk(struct harness *harness, uint32_t i, const struct disk *disk)
{
    snprintf(harness->dirs[i], sizeof(harness->dirs[i]), "%s/n%u", disk->mount_point, i + 1);
}

static void forget_killed(struct harness *harness)
{
    for (uint32_t i = 0; i < harness->node_count; i++) {
        struct harness_node *node = &harness->nodes[i];
        node->engine = NULL;
        node->group = NULL;
        memset(node->outcomes, 0, HARNESS_TAGS_MAX);
    }
}

/* Proposes until some are refused. The node does not stop for that: it only has no room. */
static void fill_until_refused(struct harness_node *node)
{
    uint64_t failed = node->failed;
    while (node->failed == failed) {
        uint64_t before = node->ok + node->failed;
        harness_propose(node, 100, ENTRY_BYTES);
        harness_wait_outcomes(node, before + 100);
        CHECK((node->ok + node->failed) * ENTRY_BYTES < (uint64_t)DISK_BYTES);
    }
    CHECK(node->last_failure == RR_E_BUSY || node->last_failure == RR_E_NO_SPACE);
    CHECK_EQ_U64(harness_status(node).error, 0);
}

static void check_still_refuses(struct harness_node *node)
{
    uint64_t before = node->ok + node->failed, ok = node->ok;
    harness_propose(node, 20, ENTRY_BYTES);
    harness_wait_outcomes(node, before + 20);
    CHECK_EQ_U64(node->ok, ok);
    CHECK_EQ_U64(harness_status(node).error, 0);
}

static void wait_until_served(struct harness_node *node)
{
    uint64_t ok = node->ok;
    for (uint32_t waited = 0; waited < WAIT_MS_MAX && node->ok == ok; waited += 10) {
        uint64_t before = node->ok + node->failed;
        harness_propose(node, 1, ENTRY_BYTES);
        harness_wait_outcomes(node, before + 1);
        harness_sleep_ms(10);
    }
    CHECK(node->ok > ok);
}

static void open_and_check(struct harness *harness, uint64_t acknowledged)
{
    harness_open(harness, 0);
    harness_leader(harness);
    harness_check_equal(harness);
    CHECK_EQ_U64(harness->nodes[0].chain.count, acknowledged);
}

static void test_full_disk_refuses_keeps_and_resumes(void)
{
    struct disk disk;
    struct harness *harness = new_harness(1);
    struct harness_node *node = &harness->nodes[0];
    disk_mount(&disk, harness->root);
    move_to_disk(harness, 0, &disk);
    disk_fill(&disk, "filler", FILLER_BYTES);
    harness_open(harness, 0);
    CHECK(harness_leader(harness) == node);
    fill_until_refused(node);
    disk_fill(&disk, "last", INT64_MAX); /* not one block is left */
    check_still_refuses(node);
    harness_close(harness, 0, RR_CLOSE_DRAIN);

    open_and_check(harness, node->ok); /* on the full disk */
    check_still_refuses(node);
    for (int i = 0; i < 5; i++) { /* restarts do not use it up further */
        harness_close(harness, 0, RR_CLOSE_ABORT);
        open_and_check(harness, node->ok);
    }
    file_remove(disk.mount_point, "last");
    file_remove(disk.mount_point, "filler");
    wait_until_served(node); /* the same process */
    harness_propose(node, 500, ENTRY_BYTES);
    harness_wait_outcomes(node, node->next_tag);
    harness_close(harness, 0, RR_CLOSE_DRAIN);
    open_and_check(harness, node->ok);
    harness_close(harness, 0, RR_CLOSE_DRAIN);
    disk_unmount(&disk);
    harness_fini(harness);
}

static void fill_and_die(struct harness *harness)
{
    harness_open(harness, 0);
    harness_leader(harness);
    fill_until_refused(&harness->nodes[0]);
}

static void test_full_disk_and_killed_loses_nothing(void)
{
    struct disk disk;
    struct harness *harness = new_harness(1);
    struct harness_node *node = &harness->nodes[0];
    disk_mount(&disk, harness->root);
    move_to_disk(harness, 0, &disk);
    disk_fill(&disk, "filler", FILLER_BYTES);
    fault_run_and_kill(harness, fill_and_die);
    forget_killed(harness);
    CHECK(node->ok * ENTRY_BYTES > 8u << 20);
    disk_fill(&disk, "last", INT64_MAX);
    open_and_check(harness, node->ok);
    check_still_refuses(node);
    file_remove(disk.mount_point, "last");
    file_remove(disk.mount_point, "filler");
    wait_until_served(node);
    harness_close(harness, 0, RR_CLOSE_DRAIN);
    disk_unmount(&disk);
    harness_fini(harness);
}

/* One of three: the others go on, and when space returns it catches up. */
static void test_full_disk_of_a_follower_costs_the_cluster_nothing(void)
{
    struct disk disk;
    struct harness *harness = new_harness(3);
    disk_mount(&disk, harness->root);
    fault_open_all(harness);
    struct harness_node *leader = harness_leader(harness);
    uint32_t poor = (uint32_t)(leader - harness->nodes + 1) % 3;
    fault_propose_until_ok(harness, 10, 100);
    harness_check_equal(harness);
    fault_close_all(harness, RR_CLOSE_DRAIN);
    struct dir_copy data; /* the poor one moves to the small disk */
    dir_copy_take(&data, harness->dirs[poor]);
    move_to_disk(harness, poor, &disk);
    dir_copy_put(&data, harness->dirs[poor]);
    dir_copy_free(&data);
    disk_fill(&disk, "filler", FILLER_BYTES);
    harness_open(harness, (poor + 1) % 3);
    harness_open(harness, (poor + 2) % 3);
    harness_leader(harness); /* one of them */
    harness_open(harness, poor);
    fault_propose_until_ok(harness, 6000, ENTRY_BYTES); /* 24 MB: more than there is room for */
    struct rr_group_status status = harness_status(&harness->nodes[poor]);
    CHECK(status.error == 0 && status.last_index < 5500);
    CHECK(status.role != RR_STATE_LEADER);
    leader = harness_leader(harness);
    uint64_t term = harness_status(leader).term;
    harness_sleep_ms(600); /* it hears its leader and does not disturb it */
    fault_propose_until_ok(harness, 100, ENTRY_BYTES);
    CHECK_EQ_U64(harness_status(harness_leader(harness)).term, term);
    file_remove(disk.mount_point, "filler");
    harness_check_equal(harness);
    CHECK_EQ_U64(harness->nodes[poor].chain.count, 6110);
    fault_close_all(harness, RR_CLOSE_ABORT);
    disk_unmount(&disk);
    harness_fini(harness);
}

int main(void)
{
    enter_own_namespace();
    RUN(test_full_disk_refuses_keeps_and_resumes);
    RUN(test_full_disk_and_killed_loses_nothing);
    RUN(test_full_disk_of_a_follower_costs_the_cluster_nothing);
    return 0;
}
