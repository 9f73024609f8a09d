/* SPDX-License-Identifier: Apache-2.0
 *
 * What a peer may say: every message that would break a belief of the core is refused before it
 * is stepped.
 */
#include "tests/unit/raft_world.h"

#include "tests/unit/check.h"

static struct world w;

static void refuse(struct rr_message m, const char *sentence)
{
    const char *reason = NULL;
    CHECK(rr_raw_node_validate_message(world_raw(&w, m.to ? m.to : 1), &m, &reason) ==
          RR_E_MALFORMED);
    if (strcmp(reason, sentence) != 0) {
        fprintf(stderr, "expected: %s\nreason:   %s\n", sentence, reason);
        exit(1);
    }
}

static void accept(struct rr_message m)
{
    const char *reason = "none";
    CHECK(rr_raw_node_validate_message(world_raw(&w, m.to), &m, &reason) == 0);
    CHECK(reason == NULL);
    CHECK(world_step(&w, m) == 0);
}

static struct rr_message message(enum rr_message_type type)
{
    return (struct rr_message){
        .type = (uint8_t)type, .to = 2, .from = 1, .term = world_raft(&w, 1)->term};
}

static void begin(void)
{
    world_begin(&w, 3, NULL);
    world_campaign(&w, 1); /* node 1 leads; everybody has 1..2 */
}

static void test_envelope(void)
{
    begin();
    struct rr_message m = message(RR_MSG_HEARTBEAT);
    accept(m);
    m.to = 7;
    const char *reason;
    CHECK(rr_raw_node_validate_message(world_raw(&w, 2), &m, &reason) == RR_E_MALFORMED);
    CHECK(strcmp(reason, "addressed to another node") == 0);
    m = message(RR_MSG_HEARTBEAT);
    m.from = RR_LOCAL_APPEND_THREAD;
    refuse(m, "no sender");
    m.from = RR_NONE;
    refuse(m, "no sender");
    m.from = 2;
    refuse(m, "claims to come from its receiver");
    m = message(RR_MSG_APP);
    m.term = 0;
    refuse(m, "no term");
    m = message(RR_MSG_HUP);
    refuse(m, "not a message for the network");
    m = message(RR_MSG_STORAGE_APPEND_RESP);
    refuse(m, "not a message for the network");
    m = message((enum rr_message_type)99);
    refuse(m, "not a message for the network");
    world_end(&w);
}

static void test_heartbeats(void)
{
    begin();
    struct rr_message m = message(RR_MSG_HEARTBEAT);
    m.commit = 3;
    refuse(m, "commit index beyond the log");
    m.commit = 2;
    m.context = (const uint8_t *)"1234567";
    m.context_size = 7;
    refuse(m, "read position of a wrong size");
    m = message(RR_MSG_HEARTBEAT_RESP);
    m.to = 1;
    m.from = 2;
    m.context = (const uint8_t *)"\1\0\0\0\0\0\0";
    m.context_size = 8;
    refuse(m, "read position beyond the queue");
    rr_raw_node_read_index(world_raw(&w, 1), (const uint8_t *)"r", 1);
    accept(m);
    world_end(&w);
}

static void test_appends(void)
{
    begin();
    struct rr_entry entries[2] = {{.index = 3, .term = 2}, {.index = 4, .term = 2}};
    struct rr_message m = message(RR_MSG_APP);
    m.index = 2;
    m.log_term = m.term;
    m.entries = entries;
    m.entry_count = 2;
    entries[0].term = entries[1].term = m.term;
    entries[1].index = 5;
    refuse(m, "entries are not consecutive");
    entries[1].index = 4;
    entries[1].term = m.term - 1;
    refuse(m, "terms of entries decrease");
    entries[1].term = m.term + 1;
    refuse(m, "entry of a later term than the message");
    entries[1].term = m.term;
    entries[1].type = 7;
    refuse(m, "unknown type of entry");
    entries[1].type = RR_ENTRY_CONF_CHANGE_V2;
    entries[1].data = (const uint8_t *)"\xff";
    entries[1].size = 1;
    refuse(m, "undecodable conf change");
    entries[1].type = RR_ENTRY_CONF_CHANGE;
    refuse(m, "undecodable conf change");
    entries[1].type = RR_ENTRY_NORMAL;
    accept(m);
    m = message(RR_MSG_APP_RESP);
    m.to = 1;
    m.from = 2;
    m.index = 3;
    refuse(m, "acknowledges entries that do not exist");
    m.index = 2;
    accept(m);
    world_end(&w);
}

static void propose(const uint8_t *data, uint32_t size, const char *sentence)
{
    struct rr_entry entry = {.type = RR_ENTRY_CONF_CHANGE_V2,
                             .data = data,
                             .size = size,
                             .has = RR_ENTRY_HAS_TYPE | RR_ENTRY_HAS_DATA};
    struct rr_message m = {
        .type = RR_MSG_PROP, .to = 1, .from = 2, .entries = &entry, .entry_count = 1};
    refuse(m, sentence);
}

static void test_proposals(void)
{
    begin();
    refuse((struct rr_message){.type = RR_MSG_PROP, .to = 1, .from = 2},
           "proposal without entries");
    refuse((struct rr_message){.type = RR_MSG_PROP, .to = 1, .from = 2, .term = 1},
           "a forwarded request has no term");
    /* Removing everybody would stop whoever applies it. */
    propose((const uint8_t[]){0x08, 2, 0x12, 4, 0x08, 1, 0x10, 1, 0x12, 4,
                              0x08, 1, 0x10, 2, 0x12, 4, 0x08, 1, 0x10, 3},
            20, "removed all voters");
    propose((const uint8_t[]){0xff}, 1, "undecodable conf change");
    struct rr_conf_change_single last = {.type = RR_CONF_CHANGE_ADD_NODE, .node_id = 9};
    struct rr_conf_change_v2 change = {.changes = &last, .change_count = 1};
    const char *reason = "none";
    CHECK(rr_raw_node_check_conf_change_v2(world_raw(&w, 1), &change, &reason) == 0);
    CHECK(reason == NULL);
    change.change_count = 0;
    CHECK(rr_raw_node_check_conf_change_v2(world_raw(&w, 1), &change, &reason) ==
          RR_E_CONF_REFUSED);
    CHECK(strcmp(reason, "can't leave a non-joint config") == 0);
    struct rr_entry data = {.size = 0};
    accept((struct rr_message){
        .type = RR_MSG_PROP, .to = 1, .from = 2, .entries = &data, .entry_count = 1});
    world_end(&w);
}

static void test_reads(void)
{
    begin();
    refuse((struct rr_message){.type = RR_MSG_READ_INDEX, .to = 1, .from = 2},
           "a read has exactly one context");
    struct rr_message m = message(RR_MSG_READ_INDEX_RESP);
    refuse(m, "a read has exactly one context");
    struct rr_entry context = {.size = 0};
    m.entries = &context;
    m.entry_count = 1;
    accept(m);
    world_end(&w);
}

static void test_snapshots(void)
{
    begin();
    static const uint64_t ids[] = {1, 2, 2};
    struct rr_snapshot snapshot = {
        .metadata = {.index = 9, .term = 1, .conf_state = {.voters = ids, .voter_count = 2}}};
    struct rr_message m = message(RR_MSG_SNAP);
    refuse(m, "snapshot without a position");
    m.snapshot = &snapshot;
    snapshot.metadata.term = m.term + 1;
    refuse(m, "snapshot of a later term than the message");
    snapshot.metadata.term = m.term;
    snapshot.metadata.conf_state.voter_count = 3;
    refuse(m, "the configuration contradicts itself");
    snapshot.metadata.conf_state.voter_count = 0;
    refuse(m, "the configuration has no voters");
    snapshot.metadata.conf_state.voter_count = 2;
    accept(m);
    CHECK_EQ_U64(world_raft(&w, 2)->log.committed, 9);
    world_end(&w);
}

/* ---- anything ---------------------------------------------------------------- */

static uint64_t seed;

static uint64_t below(uint64_t bound)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % bound;
}

/* Mostly near what makes sense, sometimes far from it. */
static uint64_t near(uint64_t value)
{
    switch (below(12)) {
    case 0:
        return 0;
    case 1:
        return UINT64_MAX - below(3);
    case 2:
        return below(100);
    default:
        return value + below(5) - 2;
    }
}

static struct rr_message random_message(struct rr_entry *entries, struct rr_snapshot *snapshot)
{
    static const uint64_t ids[] = {1, 2, 3, 4};
    static const uint8_t context[10] = {1};
    uint64_t to = 1 + below(3);
    const struct raft *r = world_raft(&w, to);
    uint64_t last = raft_log_last_index(&r->log);
    struct rr_message m = {
        .type = (uint8_t)below(25),
        .to = to,
        .from = below(20) ? 1 + below(4) : near(0),
        .term = near(r->term),
        .log_term = near(r->term),
        .index = near(last),
        .commit = near(r->log.committed),
        .reject_hint = near(last),
        .reject = below(3) == 0,
        .context = context,
        .context_size = below(2) ? 0 : (uint32_t)below(11),
        .entries = entries,
        .entry_count = (uint32_t)below(4),
    };
    if (m.type == RR_MSG_PROP || m.type == RR_MSG_READ_INDEX)
        m.term = below(4) ? 0 : m.term;
    for (uint32_t i = 0; i < m.entry_count; i++)
        entries[i] = (struct rr_entry){.term = below(3) ? m.log_term : near(r->term),
                                       .index = below(9) ? m.index + 1 + i : near(last),
                                       .has = RR_ENTRY_HAS_TERM | RR_ENTRY_HAS_INDEX};
    *snapshot = (struct rr_snapshot){
        .metadata = {.index = near(last),
                     .term = near(r->term),
                     .conf_state = {.voters = ids, .voter_count = (uint32_t)below(5)}}};
    m.snapshot = below(3) ? snapshot : NULL;
    return m;
}

/* Stores and applies what a Ready says, and loses its messages. */
static void take_ready(uint64_t id)
{
    struct world_node *node = &w.nodes[id - 1];
    struct rr_ready ready;
    rr_raw_node_ready(node->raw, &ready);
    if (ready.hard_state)
        rr_memory_storage_set_hard_state(node->storage, ready.hard_state);
    if (ready.snapshot)
        CHECK(rr_memory_storage_apply_snapshot(node->storage, ready.snapshot) == 0);
    rr_memory_storage_append(node->storage, ready.entries, ready.entry_count);
    rr_raw_node_advance(node->raw);
}

/* What passes the border never breaks a belief of the core, however senseless it is. */
static void test_random_messages_that_pass_do_no_harm(void)
{
    uint32_t passed[RR_MSG_FORGET_LEADER + 2] = {0};
    for (uint64_t world = 1; world <= 150; world++) {
        seed = world * 0x9e3779b97f4a7c15u;
        begin();
        for (int i = 0; i < 400; i++) {
            struct rr_entry entries[4];
            struct rr_snapshot snapshot;
            struct rr_message m = random_message(entries, &snapshot);
            if (rr_raw_node_validate_message(world_raw(&w, m.to), &m, NULL) == 0) {
                passed[m.type]++;
                rr_raw_node_step(world_raw(&w, m.to), &m);
            }
            uint64_t id = 1 + below(3);
            rr_raw_node_tick(world_raw(&w, id));
            if (rr_raw_node_has_ready(world_raw(&w, id)))
                take_ready(id);
            raft_check(world_raft(&w, id));
        }
        world_end(&w);
    }
    static const uint8_t common[] = {RR_MSG_PROP,
                                     RR_MSG_APP,
                                     RR_MSG_APP_RESP,
                                     RR_MSG_VOTE,
                                     RR_MSG_VOTE_RESP,
                                     RR_MSG_SNAP,
                                     RR_MSG_HEARTBEAT,
                                     RR_MSG_HEARTBEAT_RESP,
                                     RR_MSG_TRANSFER_LEADER,
                                     RR_MSG_TIMEOUT_NOW,
                                     RR_MSG_READ_INDEX,
                                     RR_MSG_READ_INDEX_RESP,
                                     RR_MSG_PRE_VOTE,
                                     RR_MSG_PRE_VOTE_RESP};
    for (size_t i = 0; i < RR_ARRAY_SIZE(common); i++)
        CHECK(passed[common[i]] > 30);
}

int main(void)
{
    RUN(test_envelope);
    RUN(test_heartbeats);
    RUN(test_appends);
    RUN(test_proposals);
    RUN(test_reads);
    RUN(test_snapshots);
    RUN(test_random_messages_that_pass_do_no_harm);
    return 0;
}
