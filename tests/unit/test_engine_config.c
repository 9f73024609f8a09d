/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/config.h"

#include "tests/unit/check.h"

static const struct rr_peer_address three_peers[] = {
    {1, "127.0.0.1:7001"}, {2, "127.0.0.1:7002"}, {3, "127.0.0.1:7003"}};

static void ignore(void *ctx, const struct rr_completion *completions, uint32_t count)
{
    (void)ctx, (void)completions, (void)count;
}

static struct rr_engine_options good_engine(void)
{
    return (struct rr_engine_options){.size = sizeof(struct rr_engine_options),
                                      .dir = "d",
                                      .listen = "127.0.0.1:7001",
                                      .cluster_id = 1,
                                      .create = RR_CREATE_BOOTSTRAP,
                                      .node_id = 1};
}

static struct rr_group_options good_group(void)
{
    return (struct rr_group_options){.size = sizeof(struct rr_group_options),
                                     .group_id = 1,
                                     .peers = three_peers,
                                     .peer_count = 3,
                                     .on_complete = ignore};
}

/* Refused, and the sentence contains the word. */
static void check_engine(const struct rr_engine_options *options, int code, const char *word)
{
    struct rr_engine_options resolved;
    struct rr_error error = {0};
    int rc = config_resolve_engine(options, &resolved, &error);
    if (rc != code || !strstr(error.message, word))
        fprintf(stderr, "%d '%s' instead of %d '%s'\n", rc, error.message, code, word);
    CHECK(rc == code && strstr(error.message, word));
}

static void check_group(const struct rr_group_options *options, int code, const char *word)
{
    struct rr_engine_options engine = good_engine(), resolved_engine;
    struct rr_group_options resolved;
    struct rr_error error = {0};
    CHECK(config_resolve_engine(&engine, &resolved_engine, NULL) == 0);
    int rc = config_resolve_group(options, &resolved_engine, &resolved, &error);
    if (rc != code || !strstr(error.message, word))
        fprintf(stderr, "%d '%s' instead of %d '%s'\n", rc, error.message, code, word);
    CHECK(rc == code && strstr(error.message, word));
}

static void test_config_zero_means_the_default(void)
{
    struct rr_engine_options engine = good_engine(), resolved_engine;
    struct rr_group_options group = good_group(), resolved;
    CHECK(config_resolve_engine(&engine, &resolved_engine, NULL) == 0);
    CHECK_EQ_U64(resolved_engine.segment_bytes, 64ull << 20);
    CHECK_EQ_U64(resolved_engine.wal_bytes_max, 4ull << 30);
    CHECK_EQ_U64(resolved_engine.entry_bytes_max, 1 << 20);
    CHECK_EQ_U64(resolved_engine.wal_write_bytes_max, 1 << 20);
    CHECK(config_resolve_group(&group, &resolved_engine, &resolved, NULL) == 0);
    CHECK_EQ_U64(resolved.tick_ms, 25);
    CHECK_EQ_U64(resolved.election_ticks, 20);
    CHECK_EQ_U64(resolved.max_size_per_msg, 256 << 10);
    CHECK_EQ_U64(resolved.proposal_queue_entries, 64 << 10);
}

static void test_config_a_shorter_struct_of_an_older_caller_works(void)
{
    struct rr_engine_options engine = good_engine(), resolved;
    engine.size = offsetof(struct rr_engine_options, segment_bytes);
    engine.segment_bytes = 12345; /* beyond what this caller knows */
    CHECK(config_resolve_engine(&engine, &resolved, NULL) == 0);
    CHECK_EQ_U64(resolved.segment_bytes, 64ull << 20);
    engine.size = sizeof(engine) + 8;
    check_engine(&engine, RR_E_INVALID, "size");
    engine.size = 0;
    check_engine(&engine, RR_E_INVALID, "size");
}

static void test_config_small_segments_shrink_the_default_write(void)
{
    struct rr_engine_options engine = good_engine(), resolved;
    engine.segment_bytes = 256 << 10;
    engine.entry_bytes_max = 8 << 10;
    CHECK(config_resolve_engine(&engine, &resolved, NULL) == 0);
    CHECK_EQ_U64(resolved.wal_write_bytes_max, 64 << 10);
    engine.wal_write_bytes_max = 128 << 10;
    check_engine(&engine, RR_E_INVALID, "wal_write_bytes_max");
}

#define REFUSED_ENGINE(field, value, code, word)                                                   \
    do {                                                                                           \
        struct rr_engine_options options = good_engine();                                          \
        options.field = value;                                                                     \
        check_engine(&options, code, word);                                                        \
    } while (0)

static void test_config_engine_refusals_name_the_option(void)
{
    REFUSED_ENGINE(dir, NULL, RR_E_INVALID, "dir");
    REFUSED_ENGINE(listen, NULL, RR_E_INVALID, "listen");
    REFUSED_ENGINE(listen, "10.0.0.1:7001", RR_E_BAD_ADDRESS, "loopback");
    REFUSED_ENGINE(listen, "localhost", RR_E_BAD_ADDRESS, "localhost");
    REFUSED_ENGINE(advertise, "10.0.0.1:7001", RR_E_BAD_ADDRESS, "loopback");
    REFUSED_ENGINE(advertise, "127.0.0.1:0", RR_E_BAD_ADDRESS, "advertise");
    REFUSED_ENGINE(node_id, 0, RR_E_INVALID, "node_id");
    REFUSED_ENGINE(node_id, UINT64_MAX - 1, RR_E_INVALID, "node_id");
    REFUSED_ENGINE(cluster_id, 0, RR_E_INVALID, "cluster_id");
    REFUSED_ENGINE(create, 7, RR_E_INVALID, "create");
    REFUSED_ENGINE(segment_bytes, (64 << 10) + 1, RR_E_INVALID, "segment_bytes");
    REFUSED_ENGINE(segment_bytes, 4096, RR_E_INVALID, "segment_bytes");
    REFUSED_ENGINE(wal_bytes_max, 128ull << 20, RR_E_INVALID, "wal_bytes_max");
    REFUSED_ENGINE(entry_bytes_max, 16 << 20, RR_E_INVALID, "entry_bytes_max");
    REFUSED_ENGINE(frame_bytes_max, 1 << 20, RR_E_INVALID, "entry_bytes_max");
    REFUSED_ENGINE(log_cache_bytes, 1 << 20, RR_E_INVALID, "log_cache_bytes");
    REFUSED_ENGINE(mark_delay_ms, 3600 * 1000, RR_E_INVALID, "mark_delay_ms");
}

#define REFUSED_GROUP(field, value, code, word)                                                    \
    do {                                                                                           \
        struct rr_group_options options = good_group();                                            \
        options.field = value;                                                                     \
        check_group(&options, code, word);                                                         \
    } while (0)

static void test_config_group_refusals_name_the_option(void)
{
    REFUSED_GROUP(group_id, 0, RR_E_INVALID, "group_id");
    REFUSED_GROUP(peer_count, 0, RR_E_INVALID, "peers");
    REFUSED_GROUP(peer_count, 32, RR_E_INVALID, "peers");
}

static void test_config_peers_are_checked(void)
{
    struct rr_peer_address peers[3];
    struct rr_group_options options = good_group();
    options.peers = peers;
    memcpy(peers, three_peers, sizeof(peers));
    peers[0].node = 9;
    check_group(&options, RR_E_INVALID, "itself is missing");
    peers[0].node = 2;
    check_group(&options, RR_E_INVALID, "twice");
    peers[0].node = 0;
    check_group(&options, RR_E_INVALID, "id");
    peers[0].node = 1;
    peers[2].address = "10.0.0.3:7003";
    check_group(&options, RR_E_BAD_ADDRESS, "loopback");
    peers[2].address = NULL;
    check_group(&options, RR_E_INVALID, "address");
    peers[2].address = "nonsense";
    check_group(&options, RR_E_BAD_ADDRESS, "nonsense");
}

/* Who joins is told by one voter who the others are, and may be dialled by whoever adds it. */
static void test_config_peers_of_a_joining_node_may_be_few(void)
{
    struct rr_engine_options engine = good_engine(), resolved_engine;
    struct rr_group_options options = good_group(), resolved;
    engine.create = RR_CREATE_JOIN;
    engine.node_id = 9;
    CHECK(config_resolve_engine(&engine, &resolved_engine, NULL) == 0);
    options.peer_count = 1;
    CHECK(config_resolve_group(&options, &resolved_engine, &resolved, NULL) == 0);
    options.peer_count = 0;
    options.peers = NULL;
    CHECK(config_resolve_group(&options, &resolved_engine, &resolved, NULL) == 0);
}

static void test_config_group_relations(void)
{
    REFUSED_GROUP(election_ticks, 2, RR_E_INVALID, "election_ticks");
    REFUSED_GROUP(max_inflight_bytes, 100 << 10, RR_E_INVALID, "max_inflight_bytes");
    REFUSED_GROUP(max_uncommitted_bytes, 100 << 10, RR_E_INVALID, "max_uncommitted_bytes");
    REFUSED_GROUP(proposal_queue_bytes, 100 << 10, RR_E_INVALID, "proposal_queue_bytes");
    REFUSED_GROUP(on_complete, NULL, RR_E_INVALID, "on_complete");
    REFUSED_GROUP(tick_ms, 100000, RR_E_INVALID, "tick_ms");
}

int main(void)
{
    RUN(test_config_zero_means_the_default);
    RUN(test_config_a_shorter_struct_of_an_older_caller_works);
    RUN(test_config_small_segments_shrink_the_default_write);
    RUN(test_config_engine_refusals_name_the_option);
    RUN(test_config_group_refusals_name_the_option);
    RUN(test_config_peers_are_checked);
    RUN(test_config_peers_of_a_joining_node_may_be_few);
    RUN(test_config_group_relations);
    return 0;
}
