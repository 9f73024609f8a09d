/* SPDX-License-Identifier: Apache-2.0
 *
 * Snapshots that are larger than what the log takes: taken to files while entries are applied,
 * found again, replaced, refused when damaged.
 *
 *     test_engine_snapshot uring|posix
 */
#include "engine_harness.h"

#include "tests/unit/check.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static enum rr_backend backend;

static void begin(struct harness *harness, uint32_t padding)
{
    harness_init(harness, 1);
    harness->engine_options.backend = backend;
    harness->engine_options.segment_bytes = 1 << 20;
    harness->engine_options.wal_bytes_max = 16 << 20;
    harness->engine_options.entry_bytes_max = 64 << 10;
    harness->group_options.snapshot_log_bytes = 1 << 20;
    harness->group_options.tick_ms = 5;
    harness->nodes[0].chain.snapshot_padding = padding;
}

/* How many of the directory's files begin and end so; the name of one of them. */
static uint32_t find_files(const char *dir, const char *end, char path[512])
{
    DIR *listing = opendir(dir);
    struct dirent *entry;
    uint32_t count = 0;
    CHECK(listing != NULL);
    while ((entry = readdir(listing))) {
        size_t length = strlen(entry->d_name);
        if (strncmp(entry->d_name, "snap-", 5) != 0 || length < strlen(end) ||
            strcmp(entry->d_name + length - strlen(end), end) != 0)
            continue;
        snprintf(path, 512, "%s/%s", dir, entry->d_name);
        count++;
    }
    closedir(listing);
    return count;
}

static void flip(const char *path, off_t at)
{
    uint8_t byte;
    int fd = open(path, O_RDWR);
    CHECK(fd >= 0 && pread(fd, &byte, 1, at) == 1);
    byte ^= 0x40;
    CHECK(pwrite(fd, &byte, 1, at) == 1);
    close(fd);
}

static uint64_t propose_and_wait(struct harness_node *node, uint32_t count)
{
    uint64_t ok = node->ok;
    harness_propose(node, count, 4000);
    harness_wait_outcomes(node, ok + count);
    CHECK_EQ_U64(node->ok, ok + count);
    return node->chain.hash;
}

static void test_large_snapshots_bound_the_log_and_bring_the_state_back(void)
{
    struct harness harness;
    char path[512];
    begin(&harness, 600000);
    harness.engine_options.wal_bytes_max = 48 << 20; /* a busy disk may take its time */
    harness_open(&harness, 0);
    struct harness_node *node = harness_leader(&harness);
    uint64_t hash = propose_and_wait(node, 24000); /* twice the budget */
    struct rr_group_status status = harness_status(node);
    CHECK(status.snapshot_index > 8000 && status.first_index > 8000);
    CHECK(status.segments_recycled > 30 && status.snapshot_error == 0);
    harness_close(&harness, 0, RR_CLOSE_DRAIN);
    CHECK(node->chain.open_snapshots == 0);
    CHECK(find_files(harness.dirs[0], "", path) >= 1);
    harness_open(&harness, 0);
    harness_leader(&harness);
    harness_check_equal(&harness);
    CHECK(node->chain.restores == 1 && node->chain.hash == hash);
    CHECK_EQ_U64(node->chain.count, 24000);
    propose_and_wait(node, 600); /* so that another one replaces it */
    harness_sleep_ms(200);
    CHECK(find_files(harness.dirs[0], "", path) <= 2);
    harness_fini(&harness);
}

static void test_large_snapshot_of_an_inline_group(void)
{
    struct harness harness;
    begin(&harness, 500000);
    harness.group_options.apply_inline = true;
    harness_open(&harness, 0);
    struct harness_node *node = harness_leader(&harness);
    uint64_t hash = propose_and_wait(node, 4000);
    CHECK(harness_status(node).snapshot_index > 1000);
    harness_close(&harness, 0, RR_CLOSE_DRAIN);
    harness_open(&harness, 0);
    harness_leader(&harness);
    harness_check_equal(&harness);
    CHECK(node->chain.restores == 1 && node->chain.hash == hash);
    harness_fini(&harness);
}

/* A fresh state machine may be large already. */
static void test_large_first_state_is_a_file(void)
{
    struct harness harness;
    char path[512];
    begin(&harness, 100000);
    harness_open(&harness, 0);
    CHECK_EQ_U64(find_files(harness.dirs[0], "-0000000000000001", path), 1);
    harness_leader(&harness);
    harness_close(&harness, 0, RR_CLOSE_ABORT);
    harness_open(&harness, 0);
    harness_leader(&harness);
    CHECK_EQ_U64(harness.nodes[0].chain.restores, 1);
    harness_fini(&harness);
}

static void test_entries_alone_are_a_reason(void)
{
    struct harness harness;
    begin(&harness, 0);
    harness.group_options.snapshot_log_bytes = 1ull << 30;
    harness.group_options.snapshot_entries = 100;
    harness.group_options.trailing_entries = 40;
    harness_open(&harness, 0);
    struct harness_node *node = harness_leader(&harness);
    for (uint32_t i = 0; i < 10; i++) {
        propose_and_wait(node, 60);
        harness_sleep_ms(50);
    }
    struct rr_group_status status = harness_status(node);
    CHECK(status.snapshot_index > 300);
    CHECK_EQ_U64(status.first_index, status.snapshot_index + 1 - 40);
    harness_fini(&harness);
}

static void test_leftovers_are_removed_at_open(void)
{
    static const char *const names[] = {"snap-0000000000000001-0000000000000999.part",
                                        "snap-0000000000000001-0000000000000001.recv",
                                        "snap-0000000000000001-0000000000ffffff",
                                        "snap-0000000000000002-0000000000000003"};
    struct harness harness;
    char path[512];
    begin(&harness, 100000);
    harness_open(&harness, 0);
    harness_leader(&harness);
    harness_close(&harness, 0, RR_CLOSE_DRAIN);
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof(path), "%s/%s", harness.dirs[0], names[i]);
        int fd = open(path, O_CREAT | O_WRONLY, 0600);
        CHECK(fd >= 0 && write(fd, "rest", 4) == 4);
        close(fd);
    }
    harness_open(&harness, 0);
    harness_leader(&harness);
    harness_sleep_ms(300);
    CHECK_EQ_U64(find_files(harness.dirs[0], ".part", path), 0);
    CHECK_EQ_U64(find_files(harness.dirs[0], ".recv", path), 0);
    CHECK_EQ_U64(find_files(harness.dirs[0], "ffffff", path), 0);
    CHECK_EQ_U64(find_files(harness.dirs[0], "-0000000000000001", path), 1);
    CHECK_EQ_U64(find_files(harness.dirs[0], "2-0000000000000003", path), 1); /* another group's */
    harness_fini(&harness);
}

/* ---- damage -------------------------------------------------------------- */

/* A directory with one snapshot file, closed; what its newest state machine was. */
static uint64_t make_one(struct harness *harness, uint64_t trailing, char path[512])
{
    begin(harness, 400000);
    harness->group_options.trailing_entries = trailing;
    harness_open(harness, 0);
    struct harness_node *node = harness_leader(harness);
    uint64_t hash = 0, newest = 0;
    for (uint32_t i = 0; i < 4 || newest == 1; i++) {
        hash = propose_and_wait(node, 300);
        harness_sleep_ms(100);
        newest = harness_status(node).snapshot_index;
    }
    harness_close(harness, 0, RR_CLOSE_DRAIN);
    char end[32];
    snprintf(end, sizeof(end), "-%016llx", (unsigned long long)newest);
    CHECK_EQ_U64(find_files(harness->dirs[0], end, path), 1);
    return hash;
}

static void must_refuse(struct harness *harness, const char *path)
{
    struct rr_error error;
    CHECK_EQ_U64(harness_try_open(harness, 0, &error), RR_E_CORRUPT);
    CHECK(strstr(error.message, path) && strstr(error.message, "replace this node"));
    harness_close(harness, 0, RR_CLOSE_ABORT);
}

static void test_damaged_or_missing_file_is_refused_by_name(void)
{
    struct harness harness;
    char path[512];
    struct stat stat_of;
    make_one(&harness, 1, path);
    CHECK(stat(path, &stat_of) == 0);
    const off_t places[] = {100, 5000, stat_of.st_size / 2, stat_of.st_size - 1};
    for (size_t i = 0; i < 4; i++) {
        flip(path, places[i]);
        must_refuse(&harness, path);
        flip(path, places[i]);
    }
    char aside[600];
    snprintf(aside, sizeof(aside), "%s.aside", path);
    CHECK(rename(path, aside) == 0);
    must_refuse(&harness, path);
    CHECK(rename(aside, path) == 0);
    CHECK(truncate(path, 0) == 0);
    must_refuse(&harness, path);
    harness_fini(&harness);
}

static void test_older_file_and_its_log_replace_a_damaged_one(void)
{
    struct harness harness;
    char path[512];
    uint64_t hash = make_one(&harness, 100000, path);
    struct harness_node *node = &harness.nodes[0];
    char any[512];
    CHECK(find_files(harness.dirs[0], "", any) >= 2);
    flip(path, 5000);
    node->chain.restores = 0;
    harness_open(&harness, 0);
    harness_leader(&harness);
    harness_check_equal(&harness);
    CHECK(node->chain.hash == hash && node->chain.restores == 1);
    propose_and_wait(node, 600);
    harness_close(&harness, 0, RR_CLOSE_DRAIN);
    harness_open(&harness, 0);
    harness_leader(&harness);
    harness_check_equal(&harness);
    harness_fini(&harness);
}

/* A state machine that gives none is told of, and healed by itself. */
static void test_failing_snapshot_is_reported_and_tried_again(void)
{
    struct harness harness;
    begin(&harness, 200000);
    harness_open(&harness, 0);
    struct harness_node *node = harness_leader(&harness);
    node->chain.fail_reads = true;
    propose_and_wait(node, 600);
    harness_sleep_ms(100);
    CHECK(harness_status(node).snapshot_error == RR_E_STATE_MACHINE);
    CHECK_EQ_U64(harness_status(node).snapshot_index, 1);
    node->chain.fail_reads = false;
    harness_sleep_ms(1500);
    propose_and_wait(node, 1);
    harness_sleep_ms(300);
    CHECK(harness_status(node).snapshot_error == 0);
    CHECK(harness_status(node).snapshot_index > 1);
    CHECK(node->chain.open_snapshots == 0);
    harness_fini(&harness);
}

/* ---- between nodes ------------------------------------------------------- */

/* Who was away for longer than the log reaches back gets the file, while others go on. */
static void test_large_snapshot_brings_back_who_was_away(void)
{
    struct harness harness;
    char path[512];
    harness_init(&harness, 3);
    harness.engine_options.backend = backend;
    harness.engine_options.segment_bytes = 1 << 20;
    harness.engine_options.wal_bytes_max = 16 << 20;
    harness.engine_options.entry_bytes_max = 64 << 10;
    harness.group_options.snapshot_log_bytes = 1 << 20;
    for (uint32_t i = 0; i < 3; i++) {
        harness.nodes[i].chain.snapshot_padding = 3000000;
        harness_open(&harness, i);
    }
    struct harness_node *leader = harness_leader(&harness);
    propose_and_wait(leader, 100);
    uint32_t away = leader->id == 3 ? 0 : 2;
    harness_close(&harness, away, RR_CLOSE_ABORT);
    propose_and_wait(leader, 2000);
    CHECK(harness_status(leader).first_index > 200);
    harness_open(&harness, away);
    propose_and_wait(leader, 500);
    harness_check_equal(&harness);
    CHECK(harness.nodes[away].chain.restores >= 2); /* its own of before, and what came */
    CHECK(find_files(harness.dirs[away], ".recv", path) == 0);
    uint64_t hash = leader->chain.hash;
    harness_close(&harness, away, RR_CLOSE_DRAIN);
    harness_open(&harness, away);
    harness_check_equal(&harness);
    CHECK(harness.nodes[away].chain.hash == hash);
    harness_fini(&harness);
}

/* ---- on demand, backups --------------------------------------------------- */

/* The outcome of a call that was accepted with this tag. */
static int32_t outcome(struct harness_node *node, uint64_t tag)
{
    for (uint32_t ms = 0; ms < 10000 && node->outcomes[tag] == 0; ms++)
        harness_sleep_ms(1);
    CHECK(node->outcomes[tag] != 0);
    return 1 - node->outcomes[tag];
}

static int32_t backup(struct harness_node *node, const char *path)
{
    uint64_t tag = node->next_tag++;
    CHECK(rr_backup(node->group, path, tag) == 0);
    return outcome(node, tag);
}

static void test_snapshot_on_demand_holds_what_was_applied(void)
{
    struct harness harness;
    for (uint32_t padding = 0; padding <= 300000; padding += 300000) {
        begin(&harness, padding);
        harness_open(&harness, 0);
        struct harness_node *node = harness_leader(&harness);
        propose_and_wait(node, 20);
        uint64_t tag = node->next_tag++;
        CHECK(rr_snapshot(node->group, tag) == 0);
        CHECK(outcome(node, tag) == RR_OK);
        harness_sleep_ms(50);
        CHECK(harness_status(node).snapshot_index >= 20);
        node->chain.fail_reads = true;
        propose_and_wait(node, 1);
        tag = node->next_tag++;
        CHECK(rr_snapshot(node->group, tag) == 0);
        CHECK(outcome(node, tag) == RR_E_STATE_MACHINE);
        CHECK(rr_snapshot(NULL, 1) == RR_E_INVALID &&
              rr_backup(node->group, "", 1) == RR_E_INVALID);
        harness_fini(&harness);
    }
}

static void test_backup_is_whole_and_overwrites_nothing(void)
{
    struct harness harness;
    char path[128], listing[512];
    for (uint32_t padding = 0; padding <= 300000; padding += 300000) {
        begin(&harness, padding);
        harness_open(&harness, 0);
        struct harness_node *node = harness_leader(&harness);
        propose_and_wait(node, 20);
        snprintf(path, sizeof(path), "%s/backup", harness.root);
        CHECK(backup(node, path) == RR_OK);
        CHECK(backup(node, path) == RR_E_NOT_EMPTY);
        CHECK(backup(node, "/nowhere/at/all") == RR_E_IO);
        CHECK(access(path, F_OK) == 0);
        CHECK(find_files(harness.dirs[0], ".part", listing) == 0);
        CHECK(unlink(path) == 0);
        harness_fini(&harness);
    }
}

static void test_backup_of_three_begins_a_new_cluster_of_three(void)
{
    struct harness old, new;
    struct rr_error error;
    char path[128];
    harness_init(&old, 3);
    for (uint32_t i = 0; i < 3; i++) {
        old.nodes[i].chain.snapshot_padding = 200000;
        harness_open(&old, i);
    }
    struct harness_node *node = harness_leader(&old);
    uint64_t hash = propose_and_wait(node, 500);
    snprintf(path, sizeof(path), "%s/backup", old.root);
    CHECK(backup(node, path) == RR_OK);

    harness_init(&new, 3);
    new.engine_options.cluster_id = 78;
    new.group_options.restore_from = path;
    flip(path, 100000);
    CHECK_EQ_U64(harness_try_open(&new, 0, &error), RR_E_CORRUPT);
    CHECK(strstr(error.message, path));
    flip(path, 100000);
    for (uint32_t i = 0; i < 3; i++)
        harness_open(&new, i);
    node = harness_leader(&new);
    harness_check_equal(&new);
    CHECK(node->chain.count == 500 && node->chain.hash == hash);
    struct harness_node *before = harness_leader(&old);
    node->next_tag = before->next_tag = 10000; /* the tags are in what is proposed */
    CHECK(propose_and_wait(node, 300) == propose_and_wait(before, 300));
    harness_check_equal(&new);
    harness_close(&new, 0, RR_CLOSE_DRAIN);
    CHECK_EQ_U64(harness_try_open(&new, 0, &error), RR_E_NOT_EMPTY);
    new.group_options.restore_from = NULL;
    harness_open(&new, 0);
    harness_check_equal(&new);
    CHECK_EQ_U64(new.nodes[0].chain.count, 800);
    CHECK(unlink(path) == 0);
    harness_fini(&new);
    harness_fini(&old);
}

int main(int argc, char **argv)
{
    backend = harness_backend_argument(argc, argv);
    RUN(test_large_snapshots_bound_the_log_and_bring_the_state_back);
    RUN(test_large_snapshot_of_an_inline_group);
    RUN(test_large_first_state_is_a_file);
    RUN(test_entries_alone_are_a_reason);
    RUN(test_leftovers_are_removed_at_open);
    RUN(test_damaged_or_missing_file_is_refused_by_name);
    RUN(test_older_file_and_its_log_replace_a_damaged_one);
    RUN(test_failing_snapshot_is_reported_and_tried_again);
    RUN(test_large_snapshot_brings_back_who_was_away);
    RUN(test_snapshot_on_demand_holds_what_was_applied);
    RUN(test_backup_is_whole_and_overwrites_nothing);
    RUN(test_backup_of_three_begins_a_new_cluster_of_three);
    return 0;
}
