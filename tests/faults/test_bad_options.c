/* SPDX-License-Identifier: Apache-2.0
 *
 * Options that cannot work are refused when they are given, each by a sentence that names it, and
 * before anything is touched.
 */
#include "tests/faults/fault_node.h"
#include "tests/unit/check.h"

#include <sys/stat.h>

#define WORDS(...)                                                                                 \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }

/* A number with a lowest value above 1 (0 means the default), and a highest. */
struct number {
    const char *name;
    size_t offset;
    size_t width;
    bool has_low;
};

#define NUMBER(type, field, low)                                                                   \
    {                                                                                              \
        .name = #field, .offset = offsetof(struct type, field),                                    \
        .width = sizeof(((struct type *)0)->field), .has_low = (low)                               \
    }

static const struct number engine_numbers[] = {
    NUMBER(rr_engine_options, segment_bytes, true),
    NUMBER(rr_engine_options, wal_bytes_max, true),
    NUMBER(rr_engine_options, wal_write_bytes_max, true),
    NUMBER(rr_engine_options, mark_delay_ms, false),
    NUMBER(rr_engine_options, entry_bytes_max, true),
    NUMBER(rr_engine_options, frame_bytes_max, true),
    NUMBER(rr_engine_options, log_cache_bytes, true),
    NUMBER(rr_engine_options, peer_queue_bytes_max, true),
};

static const struct number group_numbers[] = {
    NUMBER(rr_group_options, tick_ms, false),
    NUMBER(rr_group_options, heartbeat_ticks, false),
    NUMBER(rr_group_options, election_ticks, true),
    NUMBER(rr_group_options, max_size_per_msg, true),
    NUMBER(rr_group_options, max_inflight_msgs, false),
    NUMBER(rr_group_options, max_inflight_bytes, true),
    NUMBER(rr_group_options, max_uncommitted_bytes, true),
    NUMBER(rr_group_options, max_committed_bytes_per_ready, true),
    NUMBER(rr_group_options, batch_wait_max_us, false),
    NUMBER(rr_group_options, proposal_queue_entries, true),
    NUMBER(rr_group_options, proposal_queue_bytes, true),
    NUMBER(rr_group_options, apply_backlog_bytes, true),
    NUMBER(rr_group_options, snapshot_log_bytes, true),
};

static void set_number(void *options, const struct number *number, uint64_t value)
{
    memcpy((char *)options + number->offset, &value, number->width); /* little endian */
}

/* ---- the engine's ---------------------------------------------------------- */

static struct rr_engine_options good_engine(void)
{
    return (struct rr_engine_options){.size = sizeof(struct rr_engine_options),
                                      .dir = "bad_options_dir",
                                      .listen = "127.0.0.1:0",
                                      .cluster_id = 77,
                                      .node_id = 1,
                                      .create = RR_CREATE_BOOTSTRAP};
}

static void check_engine(const struct rr_engine_options *options, int code,
                         const char *const *words)
{
    struct rr_engine *engine = NULL;
    struct rr_error error = {0};
    struct stat info;
    int rc = rr_engine_open(options, &engine, &error);
    if (rc != code)
        fprintf(stderr, "wanted %d and \"%s\", got %d: %s\n", code, words[0], rc, error.message);
    CHECK(rc == code && engine == NULL);
    fault_check_sentence(&error, code, words);
    CHECK(stat("bad_options_dir", &info) != 0); /* nothing was made */
}

static void test_options_of_the_engine_out_of_range(void)
{
    for (size_t i = 0; i < sizeof(engine_numbers) / sizeof(engine_numbers[0]); i++) {
        struct rr_engine_options options = good_engine();
        set_number(&options, &engine_numbers[i], UINT64_MAX);
        check_engine(&options, RR_E_INVALID, WORDS(engine_numbers[i].name, "between"));
        options = good_engine();
        set_number(&options, &engine_numbers[i], 1);
        if (engine_numbers[i].has_low)
            check_engine(&options, RR_E_INVALID, WORDS(engine_numbers[i].name, "between"));
    }
}

static void test_options_of_the_engine_that_contradict_each_other(void)
{
    struct rr_engine_options options = good_engine();
    options.segment_bytes = (1 << 20) + 512;
    check_engine(&options, RR_E_INVALID, WORDS("segment_bytes", "4096"));
    options = good_engine();
    options.wal_bytes_max = 3 * (64ull << 20);
    check_engine(&options, RR_E_INVALID, WORDS("wal_bytes_max", "segments"));
    options = good_engine();
    options.segment_bytes = 1 << 20;
    check_engine(&options, RR_E_INVALID, WORDS("entry_bytes_max", "segment_bytes"));
    options = good_engine();
    options.frame_bytes_max = 1 << 20;
    check_engine(&options, RR_E_INVALID, WORDS("entry_bytes_max", "frame_bytes_max"));
    options = good_engine();
    options.segment_bytes = 2 << 20;
    options.wal_write_bytes_max = 1 << 20;
    check_engine(&options, RR_E_INVALID, WORDS("wal_write_bytes_max", "segment_bytes"));
}

static void test_options_of_the_engine_that_are_missing(void)
{
    struct rr_engine_options options = good_engine();
    check_engine(NULL, RR_E_INVALID, WORDS("options"));
    options.size = 0;
    check_engine(&options, RR_E_INVALID, WORDS("size"));
    options.size = sizeof(options) + 8;
    check_engine(&options, RR_E_INVALID, WORDS("size"));
    options = good_engine();
    options.dir = NULL;
    check_engine(&options, RR_E_INVALID, WORDS("dir"));
    options.dir = "";
    check_engine(&options, RR_E_INVALID, WORDS("dir"));
    options = good_engine();
    options.listen = NULL;
    check_engine(&options, RR_E_INVALID, WORDS("listen"));
    options = good_engine();
    options.cluster_id = 0;
    check_engine(&options, RR_E_INVALID, WORDS("cluster_id"));
    options = good_engine();
    options.create = (enum rr_create_mode)9;
    check_engine(&options, RR_E_INVALID, WORDS("create"));
    options = good_engine();
    options.backend = (enum rr_backend)9;
    check_engine(&options, RR_E_INVALID, WORDS("backend"));
    const uint64_t no_ids[] = {0, UINT64_MAX, UINT64_MAX - 1};
    for (int i = 0; i < 3; i++) {
        options = good_engine();
        options.node_id = no_ids[i];
        check_engine(&options, RR_E_INVALID, WORDS("node_id"));
    }
}

static const char *const bad_addresses[] = {
    "",
    "localhost:7001",
    "127.0.0.1",
    "127.0.0.1:",
    "127.0.0.1:65536",
    "127.0.0:1",
    "127.0.0.256:1",
    "127.0.0.1:7001 ",
    " 127.0.0.1:7001",
    "127.0.0.01:7001",
    ":7001",
    "127.0.0.1:+7001",
    "127.0.0.1:7001:1",
    "[::1]:7001",
    "127.0.0.1:0x10",
    "-1.0.0.1:1",
    "127.0.0.1.1:1",
    "127.0.0.1:99999999999999999999",
};

static void test_addresses_that_are_none(void)
{
    for (size_t i = 0; i < sizeof(bad_addresses) / sizeof(bad_addresses[0]); i++) {
        struct rr_engine_options options = good_engine();
        options.listen = bad_addresses[i];
        check_engine(&options, RR_E_BAD_ADDRESS, WORDS(bad_addresses[i], "is not an address"));
    }
}

static void test_addresses_off_loopback_need_a_word(void)
{
    struct harness harness;
    struct rr_engine_options options = good_engine();
    options.listen = "0.0.0.0:0";
    check_engine(&options, RR_E_BAD_ADDRESS, WORDS("0.0.0.0:0", "loopback", "insecure"));
    harness_init(&harness, 1);
    fault_use_small_segments(&harness);
    memmove(harness.addresses[0], "0.0.0.0", 7);
    char *port = strchr(harness.addresses[0] + 7, ':');
    memmove(harness.addresses[0] + 7, port, strlen(port) + 1);
    fault_check_refused(&harness, 0, RR_E_BAD_ADDRESS, WORDS("0.0.0.0:", "loopback", "insecure"));
    harness.engine_options.insecure = true;
    harness_open(&harness, 0);
    fault_propose_until_ok(&harness, 10, 10);
    harness_fini(&harness);
}

static void test_address_in_use(void)
{
    struct harness harness;
    harness_init(&harness, 2);
    fault_use_small_segments(&harness);
    harness_open(&harness, 0);
    strcpy(harness.addresses[1], harness.addresses[0]);
    fault_check_refused(&harness, 1, RR_E_BAD_ADDRESS,
                        WORDS("cannot listen", harness.addresses[0], "use"));
    harness_fini(&harness);
}

/* ---- the group's ----------------------------------------------------------- */

static void check_group(struct harness *harness, int code, const char *const *words)
{
    fault_check_refused(harness, 0, code, words);
}

static void test_options_of_the_group_out_of_range(void)
{
    struct harness harness;
    harness_init(&harness, 1);
    fault_use_small_segments(&harness);
    const struct rr_group_options good = harness.group_options;
    for (size_t i = 0; i < sizeof(group_numbers) / sizeof(group_numbers[0]); i++) {
        set_number(&harness.group_options, &group_numbers[i], UINT64_MAX);
        check_group(&harness, RR_E_INVALID, WORDS(group_numbers[i].name, "between"));
        set_number(&harness.group_options, &group_numbers[i], 1);
        if (group_numbers[i].has_low)
            check_group(&harness, RR_E_INVALID, WORDS(group_numbers[i].name, "between"));
        harness.group_options = good;
    }
    harness_open(&harness, 0); /* after all that */
    fault_propose_until_ok(&harness, 10, 10);
    harness_fini(&harness);
}

static void test_options_of_the_group_that_contradict_each_other(void)
{
    struct harness harness;
    harness_init(&harness, 1);
    harness.engine_options.segment_bytes = 16 << 20;
    harness.engine_options.entry_bytes_max = 1 << 20;
    harness.engine_options.frame_bytes_max = 2 << 20;
    const struct rr_group_options good = harness.group_options;
    harness.group_options.group_id = 0;
    check_group(&harness, RR_E_INVALID, WORDS("group_id"));
    harness.group_options = good;
    harness.group_options.election_ticks = 2;
    check_group(&harness, RR_E_INVALID, WORDS("election_ticks", "heartbeat_ticks"));
    harness.group_options = good;
    harness.group_options.max_inflight_bytes = 100000;
    check_group(&harness, RR_E_INVALID, WORDS("max_inflight_bytes", "max_size_per_msg"));
    harness.group_options = good;
    harness.group_options.max_uncommitted_bytes = 100000;
    check_group(&harness, RR_E_INVALID, WORDS("max_uncommitted_bytes", "entry_bytes_max"));
    harness.group_options = good;
    harness.group_options.proposal_queue_bytes = 100000;
    check_group(&harness, RR_E_INVALID, WORDS("proposal_queue_bytes", "entry_bytes_max"));
    harness.group_options = good;
    harness.engine_options.entry_bytes_max = 32 << 10;
    harness.engine_options.frame_bytes_max = 256 << 10;
    check_group(&harness, RR_E_INVALID, WORDS("max_size_per_msg", "frame_bytes_max"));
    harness.engine_options.frame_bytes_max = 0;
    harness.group_options.on_complete = NULL;
    check_group(&harness, RR_E_INVALID, WORDS("on_complete"));
    harness.group_options = good;
    harness.group_options.size = 3;
    check_group(&harness, RR_E_INVALID, WORDS("size"));
    harness.group_options = good;
    harness_open(&harness, 0);
    harness_fini(&harness);
}

/* An engine whose group's peers are given here, as no sensible caller would. */
static void check_peers(struct rr_engine *engine, const struct rr_group_options *good,
                        const struct rr_peer_address *peers, uint32_t count,
                        const char *const *words, int code)
{
    struct rr_group_options options = *good;
    struct rr_error error = {0};
    struct rr_group *group;
    options.peers = peers;
    options.peer_count = count;
    int rc = rr_group_open(engine, &options, NULL, &group, &error);
    if (rc != code)
        fprintf(stderr, "wanted %d and \"%s\", got %d: %s\n", code, words[0], rc, error.message);
    CHECK(rc == code && group == NULL);
    fault_check_sentence(&error, code, words);
}

static void test_peers_that_cannot_be(void)
{
    struct harness harness;
    struct rr_error error;
    struct rr_engine *engine;
    harness_init(&harness, 1);
    struct rr_engine_options options = good_engine();
    options.dir = harness.dirs[0];
    CHECK(rr_engine_open(&options, &engine, &error) == 0);
    const struct rr_group_options *good = &harness.group_options;
    struct rr_peer_address peers[32];
    for (uint32_t i = 0; i < 32; i++)
        peers[i] = (struct rr_peer_address){.node = i + 1, .address = "127.0.0.1:7001"};
    check_peers(engine, good, NULL, 1, WORDS("peers"), RR_E_INVALID);
    check_peers(engine, good, peers, 0, WORDS("1 to 31"), RR_E_INVALID);
    check_peers(engine, good, peers, 32, WORDS("1 to 31"), RR_E_INVALID);
    check_peers(engine, good, peers + 1, 3, WORDS("node 1", "missing"), RR_E_INVALID);
    check_peers(engine, good, peers, 3, WORDS("state machine"), RR_E_INVALID);
    peers[2].node = 2;
    check_peers(engine, good, peers, 3, WORDS("node 2", "twice"), RR_E_INVALID);
    peers[2].node = 0;
    check_peers(engine, good, peers, 3, WORDS("id"), RR_E_INVALID);
    peers[2] = (struct rr_peer_address){.node = 3, .address = "nowhere"};
    check_peers(engine, good, peers, 3, WORDS("nowhere", "is not an address"), RR_E_BAD_ADDRESS);
    peers[2].address = "10.1.2.3:7001";
    check_peers(engine, good, peers, 3, WORDS("10.1.2.3:7001", "loopback", "insecure"),
                RR_E_BAD_ADDRESS);
    peers[2].address = NULL;
    check_peers(engine, good, peers, 3, WORDS("address is missing"), RR_E_INVALID);
    rr_engine_close(engine, RR_CLOSE_DRAIN);
    harness_fini(&harness);
}

int main(void)
{
    RUN(test_options_of_the_engine_out_of_range);
    RUN(test_options_of_the_engine_that_contradict_each_other);
    RUN(test_options_of_the_engine_that_are_missing);
    RUN(test_addresses_that_are_none);
    RUN(test_addresses_off_loopback_need_a_word);
    RUN(test_address_in_use);
    RUN(test_options_of_the_group_out_of_range);
    RUN(test_options_of_the_group_that_contradict_each_other);
    RUN(test_peers_that_cannot_be);
    return 0;
}
