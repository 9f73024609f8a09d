/* SPDX-License-Identifier: Apache-2.0
 *
 * The address book: who is in it follows the configuration alone, removed ids stay known, and its
 * bytes are either read whole or refused.
 */
#include "engine/members.h"

#include "proto/base.h"
#include "tests/unit/check.h"

static const struct rr_peer_address three[] = {
    {.node = 30, .address = "127.0.0.1:7030"},
    {.node = 1, .address = "127.0.0.1:7001"},
    {.node = 200, .address = "127.0.0.1:7200"},
};

static void begin(struct members *members)
{
    members_init(members);
    members_begin(members, three, RR_ARRAY_SIZE(three));
}

/* The Context of a change that adds `node`. */
static size_t context_of(uint64_t node, const char *address, uint8_t *bytes)
{
    struct members added;
    struct rr_peer_address voter = {.node = node, .address = address};
    members_init(&added);
    members_begin(&added, &voter, 1);
    size_t size = (size_t)(members_encode(&added, bytes) - bytes);
    members_fini(&added);
    return size;
}

static void test_initial_book_is_the_same_in_any_order(void)
{
    const struct rr_peer_address turned[] = {three[2], three[0], three[1]};
    struct members a, b;
    uint8_t a_bytes[MEMBERS_ENCODED_MAX], b_bytes[MEMBERS_ENCODED_MAX];
    begin(&a);
    members_init(&b);
    members_begin(&b, turned, RR_ARRAY_SIZE(turned));
    size_t size = members_encoded_size(&a);
    CHECK(members_encode(&a, a_bytes) == a_bytes + size);
    CHECK(members_encode(&b, b_bytes) == b_bytes + size);
    CHECK(memcmp(a_bytes, b_bytes, size) == 0);
    CHECK(a.genesis != 0 && a.list[0].node == 1 && a.list[2].node == 200);
    CHECK(strcmp(members_find(&a, 30)->address, "127.0.0.1:7030") == 0);
    CHECK(!members_find(&a, 31));
    members_fini(&a);
    members_fini(&b);
}

static void test_genesis_differs_with_the_voters_and_not_with_their_addresses(void)
{
    struct rr_peer_address moved[] = {three[0], three[1], three[2]};
    struct members a, b, c;
    moved[0].address = "127.0.0.1:9999";
    begin(&a);
    members_init(&b);
    members_begin(&b, moved, 3);
    members_init(&c);
    members_begin(&c, three, 2);
    CHECK(a.genesis == b.genesis && a.genesis != c.genesis);
    members_fini(&a);
    members_fini(&b);
    members_fini(&c);
}

static void test_added_member_comes_with_its_address(void)
{
    struct members members;
    uint64_t voters[] = {1, 30, 200}, learners[] = {7};
    struct rr_conf_state conf = {
        .voters = voters, .voter_count = 3, .learners = learners, .learner_count = 1};
    uint8_t bytes[MEMBERS_ENCODED_MAX];
    begin(&members);
    uint64_t genesis = members.genesis;
    size_t size = context_of(7, "127.0.0.1:7007", bytes);
    CHECK(members_follow(&members, &conf, bytes, size) == 0);
    CHECK(members.count == 4 && members.list[1].node == 7 && members.removed_count == 0);
    CHECK(strcmp(members.list[1].address, "127.0.0.1:7007") == 0);
    CHECK(members.genesis == genesis); /* and not that of the Context */
    /* Promoted without an address: it keeps the one it has. */
    uint64_t four[] = {1, 7, 30, 200};
    CHECK(members_follow(&members, &(struct rr_conf_state){.voters = four, .voter_count = 4}, NULL,
                         0) == 0);
    CHECK(strcmp(members_find(&members, 7)->address, "127.0.0.1:7007") == 0);
    members_fini(&members);
}

static void test_what_is_known_of_a_member_is_its_latest_boot(void)
{
    struct members members;
    begin(&members);
    CHECK(members_put(&members, &(struct member){.node = 30, .instance = 5, .boot = 2}) == 0);
    CHECK(members_put(&members, &(struct member){.node = 30, .instance = 5, .boot = 1}) == 0);
    CHECK(members_put(&members, &(struct member){.node = 30, .instance = 6, .boot = 9}) == 0);
    CHECK(members_put(&members, &(struct member){.node = 30}) == 0);
    const struct member *member = members_find(&members, 30);
    CHECK(member->instance == 5 && member->boot == 2);
    CHECK(strcmp(member->address, "127.0.0.1:7030") == 0);
    CHECK(members_put(&members,
                      &(struct member){.node = 30, .instance = 5, .boot = 3, .nonce = 8}) == 0);
    CHECK(member->boot == 3 && member->nonce == 8 && members.count == 3);
    members_fini(&members);
}

static void test_member_without_a_known_address_is_still_a_member(void)
{
    struct members members;
    uint64_t voters[] = {1, 2};
    struct rr_conf_state conf = {.voters = voters, .voter_count = 2};
    members_init(&members);
    CHECK(members_follow(&members, &conf, NULL, 0) == 0);
    CHECK(members.count == 2 && members.list[1].address[0] == '\0');
    members_fini(&members);
}

static void test_outgoing_voter_stays_until_the_joint_configuration_is_left(void)
{
    struct members members;
    uint64_t incoming[] = {1, 2, 30}, outgoing[] = {1, 30, 200};
    struct rr_conf_state joint = {.voters = incoming,
                                  .voter_count = 3,
                                  .voters_outgoing = outgoing,
                                  .voter_outgoing_count = 3,
                                  .auto_leave = true};
    struct rr_conf_state left = {.voters = incoming, .voter_count = 3};
    uint8_t bytes[MEMBERS_ENCODED_MAX];
    begin(&members);
    size_t size = context_of(2, "127.0.0.1:7002", bytes);
    CHECK(members_follow(&members, &joint, bytes, size) == 0);
    CHECK(members.count == 4 && members_find(&members, 200) && !members_is_removed(&members, 200));
    CHECK(members_follow(&members, &left, NULL, 0) == 0);
    CHECK(members.count == 3 && !members_find(&members, 200) && members_is_removed(&members, 200));
    members_fini(&members);
}

static void test_removed_ids_are_remembered_the_latest_of_them(void)
{
    struct members members;
    uint64_t voters[] = {1, 0};
    struct rr_conf_state with = {.voters = voters, .voter_count = 2};
    struct rr_conf_state without = {.voters = voters, .voter_count = 1};
    uint8_t *bytes = malloc(MEMBERS_ENCODED_MAX);
    struct members read;
    members_init(&members);
    members_init(&read);
    for (uint64_t node = 2; node < 2 + MEMBERS_REMOVED_MAX + 10; node++) {
        voters[1] = node;
        CHECK(members_follow(&members, &with, NULL, 0) == 0);
        CHECK(members_follow(&members, &without, NULL, 0) == 0);
        CHECK(members_is_removed(&members, node));
    }
    CHECK(members.removed_count == MEMBERS_REMOVED_MAX && !members_is_removed(&members, 2));
    uint8_t *end = members_encode(&members, bytes);
    CHECK((size_t)(end - bytes) <= MEMBERS_ENCODED_MAX);
    CHECK(members_decode(&read, bytes, (size_t)(end - bytes)) == 0);
    CHECK(read.removed_count == MEMBERS_REMOVED_MAX && members_is_removed(&read, 500));
    members_fini(&read);
    members_fini(&members);
    free(bytes);
}

static void test_more_members_than_a_group_may_have_are_refused(void)
{
    struct members members;
    uint64_t voters[CONFIG_PEERS_MAX + 1];
    for (uint32_t i = 0; i <= CONFIG_PEERS_MAX; i++)
        voters[i] = i + 1;
    struct rr_conf_state conf = {.voters = voters, .voter_count = CONFIG_PEERS_MAX + 1};
    members_init(&members);
    CHECK(members_follow(&members, &conf, NULL, 0) == RR_E_TOO_LARGE);
    members_fini(&members);
}

/* Every shortened and every changed book is read whole or refused, and refused changes nothing. */
static void test_damaged_bytes_change_nothing(void)
{
    struct members members, victim;
    uint8_t bytes[MEMBERS_ENCODED_MAX], damaged[MEMBERS_ENCODED_MAX];
    uint64_t voters[] = {1, 30};
    begin(&members);
    CHECK(members_follow(&members, &(struct rr_conf_state){.voters = voters, .voter_count = 2},
                         NULL, 0) == 0);
    size_t size = (size_t)(members_encode(&members, bytes) - bytes);
    members_init(&victim);
    CHECK(members_decode(&victim, bytes, size) == 0);
    for (size_t cut = 0; cut < size; cut++)
        CHECK(members_decode(&victim, bytes, cut) == RR_E_MALFORMED);
    CHECK(victim.count == 2 && members_is_removed(&victim, 200));
    uint32_t refused = 0;
    for (size_t i = 0; i < size; i++) {
        memcpy(damaged, bytes, size);
        damaged[i] ^= 0x55;
        int rc = members_decode(&victim, damaged, size);
        CHECK(rc == 0 || rc == RR_E_MALFORMED);
        refused += rc != 0;
        members_check(&victim);
    }
    CHECK(refused > size / 3);
    bytes[0] = 2;
    CHECK(members_decode(&victim, bytes, size) == RR_E_MALFORMED);
    members_fini(&victim);
    members_fini(&members);
}

int main(void)
{
    RUN(test_initial_book_is_the_same_in_any_order);
    RUN(test_genesis_differs_with_the_voters_and_not_with_their_addresses);
    RUN(test_added_member_comes_with_its_address);
    RUN(test_what_is_known_of_a_member_is_its_latest_boot);
    RUN(test_member_without_a_known_address_is_still_a_member);
    RUN(test_outgoing_voter_stays_until_the_joint_configuration_is_left);
    RUN(test_removed_ids_are_remembered_the_latest_of_them);
    RUN(test_more_members_than_a_group_may_have_are_refused);
    RUN(test_damaged_bytes_change_nothing);
    return 0;
}
