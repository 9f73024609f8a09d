/* SPDX-License-Identifier: Apache-2.0
 *
 * What a node refuses, each with one clear sentence and no loss: directories of others, of other
 * versions, in use, empty or rolled back; peers that are not who they were; options and addresses
 * that cannot work. Whatever was refused, the directory opens properly afterwards with its data.
 */
#include "tests/faults/dir_copy.h"
#include "tests/faults/fault_node.h"
#include "tests/faults/log_surgery.h"
#include "tests/unit/check.h"

#include "proto/codec.h"
#include "proto/crc32c.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT 40u
#define WORDS(...)                                                                                 \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }

/* ---- one node, closed cleanly ---------------------------------------------- */

static void write_and_close(struct harness *harness)
{
    fault_open_all(harness);
    fault_propose_until_ok(harness, COUNT, 200);
    fault_close_all(harness, RR_CLOSE_DRAIN);
}

static void init_closed(struct harness *harness)
{
    harness_init(harness, 1);
    fault_use_small_segments(harness);
    fault_run_and_kill(harness, write_and_close);
}

static void check_data_and_fini(struct harness *harness)
{
    harness_open(harness, 0);
    harness_leader(harness);
    harness_check_equal(harness);
    CHECK_EQ_U64(harness->nodes[0].chain.count, COUNT);
    harness_fini(harness);
}

static void check_refused_unchanged(struct harness *harness, int code, const char *const *words)
{
    struct dir_copy before;
    dir_copy_take(&before, harness->dirs[0]);
    fault_check_refused(harness, 0, code, words);
    dir_copy_check_unchanged(&before, harness->dirs[0]);
    dir_copy_free(&before);
}

static void test_refusal_of_another_cluster_node_or_group(void)
{
    struct harness harness;
    init_closed(&harness);
    harness.engine_options.cluster_id = 78;
    check_refused_unchanged(&harness, RR_E_IDENTITY,
                            WORDS(harness.dirs[0], "belongs to cluster 77, not 78"));
    harness.engine_options.cluster_id = 77;
    harness.nodes[0].id = 9;
    check_refused_unchanged(&harness, RR_E_IDENTITY,
                            WORDS(harness.dirs[0], "belongs to node 1, not 9"));
    harness.nodes[0].id = 1;
    harness.engine_options.create = RR_CREATE_NEVER;
    harness.group_options.group_id = 2;
    fault_check_refused(&harness, 0, RR_E_NOT_BOOTSTRAPPED,
                        WORDS(harness.dirs[0], "holds no group 2"));
    harness.group_options.group_id = 1;
    check_data_and_fini(&harness);
}

static void test_refusal_of_an_empty_directory_without_a_word(void)
{
    struct harness harness;
    struct stat info;
    char identity[128];
    harness_init(&harness, 1);
    harness.engine_options.create = RR_CREATE_NEVER;
    fault_check_refused(&harness, 0, RR_E_NOT_BOOTSTRAPPED,
                        WORDS(harness.dirs[0], "BOOTSTRAP", "JOIN"));
    snprintf(identity, sizeof(identity), "%s/identity", harness.dirs[0]);
    CHECK(stat(identity, &info) != 0);
    harness_fini(&harness);
}

/* A node that joins waits: it has no configuration by which it could elect itself. */
static void test_joining_node_makes_nothing_by_itself(void)
{
    struct harness harness;
    harness_init(&harness, 1);
    fault_use_small_segments(&harness);
    harness.engine_options.create = RR_CREATE_JOIN;
    harness_open(&harness, 0);
    harness_sleep_ms(200); /* a dozen election timeouts */
    struct rr_group_status status = harness_status(&harness.nodes[0]);
    CHECK(status.last_index == 0 && status.voter_count == 0 && status.vote == 0);
    CHECK(status.role == RR_STATE_FOLLOWER && status.term == 0);
    harness_fini(&harness);
}

/* ---- a directory in use ---------------------------------------------------- */

static void test_refusal_of_a_second_process(void)
{
    struct harness harness;
    int ready[2];
    char byte = 0;
    init_closed(&harness);
    CHECK(pipe(ready) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        harness_open(&harness, 0);
        CHECK(write(ready[1], &byte, 1) == 1);
        pause();
    }
    CHECK(read(ready[0], &byte, 1) == 1);
    for (int i = 0; i < 3; i++)
        fault_check_refused(&harness, 0, RR_E_LOCKED,
                            WORDS(harness.dirs[0], "another process uses this data directory"));
    CHECK(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
    close(ready[0]);
    close(ready[1]);
    check_data_and_fini(&harness); /* the lock died with its process */
}

static void test_refusal_to_remove_what_is_open_or_unknown(void)
{
    struct harness harness;
    struct rr_error error;
    init_closed(&harness);
    harness_open(&harness, 0);
    int rc = rr_group_remove(harness.nodes[0].engine, 1, &error);
    CHECK(rc == RR_E_INVALID);
    fault_check_sentence(&error, rc, WORDS("group 1 is open", "close it"));
    rc = rr_group_remove(harness.nodes[0].engine, 2, &error);
    CHECK(rc == RR_E_NOT_FOUND);
    fault_check_sentence(&error, rc, WORDS("no group 2"));
    harness_close(&harness, 0, RR_CLOSE_DRAIN);
    check_data_and_fini(&harness);
}

/* ---- other versions -------------------------------------------------------- */

static void test_refusal_of_a_log_of_another_version(void)
{
    struct harness harness;
    struct surgery surgery;
    init_closed(&harness);
    surgery_begin(&surgery, harness.dirs[0]);
    for (uint32_t i = 0; i < surgery.write_count; i++) {
        struct wal_header header = surgery.writes[i].header;
        header.format = WAL_FORMAT + 1;
        surgery_put_header(&surgery, &surgery.writes[i], header);
        check_refused_unchanged(&harness, RR_E_VERSION,
                                WORDS(surgery.writes[i].segment, "another version",
                                      "nothing was changed", "the version that wrote it"));
        surgery_put_header(&surgery, &surgery.writes[i], surgery.writes[i].header);
    }
    surgery_end(&surgery);
    check_data_and_fini(&harness);
}

/* A section of a kind that only a later version writes, whole and with right checksums. */
static void test_refusal_of_a_section_of_another_version(void)
{
    struct harness harness;
    struct surgery surgery;
    struct dir_copy whole;
    init_closed(&harness);
    dir_copy_take(&whole, harness.dirs[0]);
    surgery_begin(&surgery, harness.dirs[0]);
    const struct surgery_write *write = surgery_find(&surgery, 0, WAL_SECTION_ENTRIES);
    uint8_t *payload = malloc(write->header.length);
    uint64_t at = write->offset + sizeof(write->header);
    struct wal_section section;
    file_read_at(harness.dirs[0], write->segment, at, payload, write->header.length);
    memcpy(&section, payload, sizeof(section));
    section.kind = 77;
    memcpy(payload, &section, sizeof(section));
    file_write_at(harness.dirs[0], write->segment, at, payload, write->header.length);
    struct wal_header header = write->header;
    header.payload_crc = crc32c(0, payload, write->header.length);
    surgery_put_header(&surgery, write, header);
    check_refused_unchanged(&harness, RR_E_VERSION,
                            WORDS(write->segment, "another version", "the version that wrote it"));
    dir_copy_put(&whole, harness.dirs[0]);
    free(payload);
    dir_copy_free(&whole);
    surgery_end(&surgery);
    check_data_and_fini(&harness);
}

static void test_refusal_of_an_identity_of_another_version(void)
{
    struct harness harness;
    uint8_t file[48], patched[48];
    init_closed(&harness);
    file_read_at(harness.dirs[0], "identity", 0, file, sizeof(file));
    for (uint32_t offset = 8; offset <= 12; offset += 4) { /* format, feature level */
        memcpy(patched, file, sizeof(file));
        patched[offset] += 9;
        uint32_t crc = crc32c(0, patched, 44);
        memcpy(patched + 44, &crc, sizeof(crc));
        file_write_at(harness.dirs[0], "identity", 0, patched, sizeof(patched));
        check_refused_unchanged(&harness, RR_E_VERSION, WORDS("identity", "version that wrote it"));
    }
    file_write_at(harness.dirs[0], "identity", 0, file, sizeof(file));
    check_data_and_fini(&harness);
}

/* ---- peers that are not who they were -------------------------------------- */

static void write_cluster_and_close(struct harness *harness)
{
    fault_open_all(harness);
    fault_propose_until_ok(harness, COUNT, 200);
    harness_check_equal(harness); /* everybody knows everybody */
    fault_close_all(harness, RR_CLOSE_DRAIN);
}

static void init_cluster(struct harness *harness)
{
    harness_init(harness, 3);
    fault_use_small_segments(harness);
    harness->engine_options.mark_delay_ms = 20;
    fault_run_and_kill(harness, write_cluster_and_close);
}

/* It notices that it has no quorum; on a busy machine that may take a while. */
static void wait_until_led_by_nobody(const struct harness_node *node)
{
    for (uint32_t waited = 0; waited < 10000; waited++) {
        if (harness_status(node).role != RR_STATE_LEADER)
            return;
        harness_sleep_ms(1);
    }
    CHECK(harness_status(node).role != RR_STATE_LEADER);
}

/* Node 3 (of three, the others open) is refused by both, and they do without it. With one of them
 * gone there is no quorum, although node 3 is there: it never votes. */
static void check_fenced(struct harness *harness)
{
    struct harness_node *fenced = &harness->nodes[2];
    struct rr_group_status before = harness_status(fenced);
    for (uint32_t i = 0; i < 2; i++) {
        CHECK(fault_wait_refusal(&harness->nodes[i], 3, RR_E_INSTANCE) == RR_E_INSTANCE);
        CHECK(fault_wait_refusal(fenced, i + 1, RR_E_INSTANCE) == RR_E_INSTANCE);
    }
    fault_propose_until_ok(harness, 20, 100);
    CHECK(harness_leader(harness) != fenced);
    harness_close(harness, 0, RR_CLOSE_ABORT);
    harness_sleep_ms(600); /* three election timeouts */
    wait_until_led_by_nobody(&harness->nodes[1]);
    struct rr_group_status after = harness_status(fenced);
    CHECK(after.term == before.term && after.vote == before.vote);
    CHECK(after.last_index == before.last_index && after.commit == before.commit);
    CHECK_EQ_U64((uint64_t)after.error, (uint64_t)RR_E_INSTANCE); /* it has stopped by itself */
    harness_open(harness, 0);
    fault_propose_until_ok(harness, 20, 100);
    /* Each start would raise its boot count, until its peers took it for a successor. */
    harness_close(harness, 2, RR_CLOSE_DRAIN);
    struct dir_copy before_open;
    dir_copy_take(&before_open, harness->dirs[2]);
    for (uint32_t i = 0; i < 5; i++)
        fault_check_refused(harness, 2, RR_E_INSTANCE,
                            WORDS(harness->dirs[2], "older copy", "node 3", "nothing was changed",
                                  "replace this node"));
    dir_copy_check_unchanged(&before_open, harness->dirs[2]);
    dir_copy_free(&before_open);
}

static void test_refusal_of_a_wiped_node(void)
{
    struct harness harness;
    struct dir_copy nothing = {.count = 0};
    init_cluster(&harness);
    dir_copy_put(&nothing, harness.dirs[2]);
    fault_open_all(&harness);
    check_fenced(&harness);
    harness_fini(&harness);
}

/* The directory of node 3 is copied, lives on for `boots` boots, and is then rolled back. One boot:
 * the copy comes with the boot count that its peers know and another nonce; more: with a lower
 * one. After as many starts or more that nobody hears of it comes with a higher one, and without
 * the past that its peers know. */
static void roll_back_after(uint32_t boots, uint32_t lonely_starts)
{
    struct harness harness;
    struct dir_copy old, newest;
    init_cluster(&harness);
    dir_copy_take(&old, harness.dirs[2]);
    harness_open(&harness, 0);
    harness_open(&harness, 1);
    for (uint32_t i = 0; i < boots; i++) {
        harness_open(&harness, 2);
        fault_propose_until_ok(&harness, 20, 100);
        harness_check_equal(&harness);
        harness_close(&harness, 2, RR_CLOSE_DRAIN);
    }
    dir_copy_take(&newest, harness.dirs[2]);
    dir_copy_put(&old, harness.dirs[2]);
    if (lonely_starts)
        fault_close_all(&harness, RR_CLOSE_DRAIN);
    for (uint32_t i = 0; i < lonely_starts; i++) {
        harness_open(&harness, 2);
        harness_close(&harness, 2, RR_CLOSE_DRAIN);
    }
    for (uint32_t i = 0; i < 3; i++)
        if (!harness.nodes[i].engine)
            harness_open(&harness, i);
    check_fenced(&harness);
    /* The true directory is still good. */
    dir_copy_put(&newest, harness.dirs[2]);
    harness_open(&harness, 2);
    fault_propose_until_ok(&harness, 5, 100);
    harness_check_equal(&harness);
    CHECK(harness.nodes[2].chain.count >= COUNT + 20 * boots + 45);
    dir_copy_free(&old);
    dir_copy_free(&newest);
    harness_fini(&harness);
}

static void test_refusal_of_a_directory_rolled_back_by_one_boot(void)
{
    roll_back_after(1, 0);
}

static void test_refusal_of_a_directory_rolled_back_by_three_boots(void)
{
    roll_back_after(3, 0);
}

static void test_refusal_of_a_rolled_back_directory_that_outgrows_its_peers(void)
{
    roll_back_after(2, 5);
}

/* Two copies of the newest boot: the first that is met is the one that counts. */
static void test_refusal_of_a_second_copy_that_is_started_more_often(void)
{
    roll_back_after(1, 3);
}

/* Node 3 of another cluster answers where node 3 of this one is expected, and calls as well. */
static void test_refusal_of_a_node_of_another_cluster(void)
{
    struct harness harness;
    struct dir_copy nothing = {.count = 0};
    init_cluster(&harness);
    dir_copy_put(&nothing, harness.dirs[2]);
    harness_open(&harness, 0);
    harness_open(&harness, 1);
    uint64_t term = harness_status(harness_leader(&harness)).term;
    harness.engine_options.cluster_id = 78;
    harness_open(&harness, 2);
    for (uint32_t i = 0; i < 2; i++) {
        CHECK(fault_wait_refusal(&harness.nodes[i], 3, RR_E_IDENTITY) == RR_E_IDENTITY);
        CHECK(fault_wait_refusal(&harness.nodes[2], i + 1, RR_E_IDENTITY) == RR_E_IDENTITY);
    }
    harness_sleep_ms(600);
    fault_propose_until_ok(&harness, 20, 100);
    CHECK_EQ_U64(harness_status(&harness.nodes[0]).term, term); /* nothing learnt from a stranger */
    CHECK_EQ_U64(harness_status(&harness.nodes[2]).last_index, 1);
    harness_fini(&harness);
}

/* Limits that must be equal everywhere are compared in hello. */
static void test_refusal_of_a_node_with_other_limits(void)
{
    struct harness harness;
    init_cluster(&harness);
    harness_open(&harness, 0);
    harness_open(&harness, 1);
    harness.engine_options.entry_bytes_max = 16 << 10;
    harness_open(&harness, 2);
    CHECK(fault_wait_refusal(&harness.nodes[2], 1, RR_E_INVALID) == RR_E_INVALID);
    CHECK(fault_wait_refusal(&harness.nodes[0], 3, RR_E_INVALID) == RR_E_INVALID);
    harness_close(&harness, 2, RR_CLOSE_DRAIN);
    harness.engine_options.entry_bytes_max = 32 << 10;
    harness_open(&harness, 2);
    fault_propose_until_ok(&harness, 10, 100);
    harness_check_equal(&harness);
    CHECK(harness.nodes[2].chain.count >= COUNT + 10);
    harness_fini(&harness);
}

int main(void)
{
    RUN(test_refusal_of_another_cluster_node_or_group);
    RUN(test_refusal_of_an_empty_directory_without_a_word);
    RUN(test_joining_node_makes_nothing_by_itself);
    RUN(test_refusal_of_a_second_process);
    RUN(test_refusal_to_remove_what_is_open_or_unknown);
    RUN(test_refusal_of_a_log_of_another_version);
    RUN(test_refusal_of_a_section_of_another_version);
    RUN(test_refusal_of_an_identity_of_another_version);
    RUN(test_refusal_of_a_wiped_node);
    RUN(test_refusal_of_a_directory_rolled_back_by_one_boot);
    RUN(test_refusal_of_a_directory_rolled_back_by_three_boots);
    RUN(test_refusal_of_a_rolled_back_directory_that_outgrows_its_peers);
    RUN(test_refusal_of_a_second_copy_that_is_started_more_often);
    RUN(test_refusal_of_a_node_of_another_cluster);
    RUN(test_refusal_of_a_node_with_other_limits);
    return 0;
}
