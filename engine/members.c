/* SPDX-License-Identifier: Apache-2.0
 *
 * Encoded, little endian:
 *
 *     0 version u8 (1) | 1 zero u8 | 2 member_count u16 | 4 removed_count u32 | 8 genesis u64
 *     16 void_until u64 | 24 removed u64 …
 *     then per member, ascending ids:
 *     node u64 | instance u64 | boot u64 | nonce u64 | length u8 | address, without NUL
 */
#include "engine/members.h"

#include "proto/base.h"

#include <stdlib.h>
#include <string.h>

#define BOOK_VERSION 1u

struct book_head {
    uint8_t version;
    uint8_t zero;
    uint16_t member_count;
    uint32_t removed_count;
    uint64_t genesis;
    uint64_t void_until;
};
_Static_assert(sizeof(struct book_head) == 24, "a book's head is part of the format");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "books are little endian");
_Static_assert(sizeof(struct book_head) + MEMBERS_REMOVED_MAX * sizeof(uint64_t) +
                       CONFIG_PEERS_MAX * (4 * sizeof(uint64_t) + IO_ADDRESS_TEXT_SIZE) <=
                   MEMBERS_ENCODED_MAX,
               "every book fits");
_Static_assert(64 + (CONFIG_PEERS_MAX + 1) * (4 * sizeof(uint64_t) + IO_ADDRESS_TEXT_SIZE) <=
                   MEMBERS_CHANGE_MAX,
               "every change fits");

void members_init(struct members *members)
{
    memset(members, 0, sizeof(*members));
}

void members_fini(struct members *members)
{
    free(members->removed);
    members_init(members);
}

/* ---- the list ------------------------------------------------------------ */

/* Where `node` is or belongs. */
static uint32_t place_of(const struct members *members, uint64_t node)
{
    uint32_t i = 0;
    while (i < members->count && members->list[i].node < node)
        i++;
    return i;
}

const struct member *members_find(const struct members *members, uint64_t node)
{
    uint32_t i = place_of(members, node);
    return i < members->count && members->list[i].node == node ? &members->list[i] : NULL;
}

bool members_is_removed(const struct members *members, uint64_t node)
{
    for (uint32_t i = 0; i < members->removed_count; i++)
        if (members->removed[i] == node)
            return true;
    return false;
}

static bool is_newer(const struct member *than, const struct member *member)
{
    bool is_same = than->instance == member->instance;
    return member->instance != 0 && (than->instance == 0 || (is_same && member->boot > than->boot));
}

int members_put(struct members *members, const struct member *member)
{
    uint32_t i = place_of(members, member->node);
    struct member *at = &members->list[i];
    if (i == members->count || at->node != member->node) {
        if (members->count == CONFIG_PEERS_MAX)
            return RR_E_TOO_LARGE;
        memmove(at + 1, at, (members->count - i) * sizeof(*at));
        members->count++;
        *at = (struct member){.node = member->node};
    }
    if (member->address[0])
        memcpy(at->address, member->address, sizeof(at->address));
    if (is_newer(at, member)) {
        at->instance = member->instance;
        at->boot = member->boot;
        at->nonce = member->nonce;
    }
    return 0;
}

static int note_removed(struct members *members, uint64_t node)
{
    if (members->removed_count == MEMBERS_REMOVED_MAX) {
        members->removed_count--;
        memmove(members->removed, members->removed + 1,
                members->removed_count * sizeof(*members->removed));
    }
    if (members->removed_count == members->removed_cap) {
        uint32_t cap = members->removed_cap ? 2 * members->removed_cap : 16;
        uint64_t *removed = realloc(members->removed, cap * sizeof(*removed));
        if (!removed)
            return RR_E_NO_MEMORY;
        members->removed = removed;
        members->removed_cap = cap;
    }
    members->removed[members->removed_count++] = node;
    return 0;
}

/* ---- the first configuration --------------------------------------------- */

static uint64_t mix(uint64_t hash, uint64_t number)
{
    for (int i = 0; i < 8; i++)
        hash = (hash ^ (number >> (8 * i) & 0xff)) * 0x100000001b3ull;
    return hash;
}

void members_begin(struct members *members, const struct rr_peer_address *voters, uint32_t count)
{
    RR_ASSERT(members->count == 0 && count <= CONFIG_PEERS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        struct member voter = {.node = voters[i].node};
        RR_ASSERT(strlen(voters[i].address) < sizeof(voter.address));
        memcpy(voter.address, voters[i].address, strlen(voters[i].address));
        int rc = members_put(members, &voter);
        RR_ASSERT(rc == 0);
    }
    /* Of the ids alone: each node may have to reach the same peer by another way. */
    uint64_t hash = 0xcbf29ce484222325ull;
    for (uint32_t i = 0; i < members->count; i++)
        hash = mix(hash, members->list[i].node);
    members->genesis = hash ? hash : 1;
}

/* ---- following the log --------------------------------------------------- */

static bool is_among(const uint64_t *ids, uint32_t count, uint64_t node)
{
    for (uint32_t i = 0; i < count; i++)
        if (ids[i] == node)
            return true;
    return false;
}

/* A node that is to learn once the joint configuration is left is an outgoing voter until then. */
static bool is_in(const struct rr_conf_state *conf, uint64_t node)
{
    return is_among(conf->voters, conf->voter_count, node) ||
           is_among(conf->learners, conf->learner_count, node) ||
           is_among(conf->voters_outgoing, conf->voter_outgoing_count, node);
}

static int drop_who_left(struct members *members, const struct rr_conf_state *conf_state)
{
    uint32_t kept = 0;
    int rc = 0;
    for (uint32_t i = 0; i < members->count; i++) {
        if (is_in(conf_state, members->list[i].node))
            members->list[kept++] = members->list[i];
        else if (rc == 0)
            rc = note_removed(members, members->list[i].node);
    }
    members->count = kept;
    return rc;
}

static int put_all(struct members *members, const uint64_t *ids, uint32_t count)
{
    int rc = 0;
    for (uint32_t i = 0; i < count && rc == 0; i++)
        rc = members_put(members, &(struct member){.node = ids[i]});
    return rc;
}

int members_follow(struct members *members, const struct rr_conf_state *conf_state,
                   const uint8_t *news, size_t size)
{
    struct members read;
    members_init(&read);
    int rc = size ? members_decode(&read, news, size) : 0;
    if (rc == 0)
        rc = drop_who_left(members, conf_state);
    if (rc == 0)
        rc = put_all(members, conf_state->voters, conf_state->voter_count);
    if (rc == 0)
        rc = put_all(members, conf_state->learners, conf_state->learner_count);
    if (rc == 0)
        rc = put_all(members, conf_state->voters_outgoing, conf_state->voter_outgoing_count);
    for (uint32_t i = 0; i < read.count && rc == 0; i++)
        if (members_find(members, read.list[i].node))
            rc = members_put(members, &read.list[i]);
    members_fini(&read);
    return rc;
}

int members_force(struct members *members, uint64_t node, uint64_t last_index, uint64_t cluster)
{
    const struct rr_conf_state alone = {.voters = &node, .voter_count = 1};
    members->void_until = last_index;
    members->genesis = mix(mix(members->genesis, cluster), node);
    return members_follow(members, &alone, NULL, 0);
}

/* ---- bytes --------------------------------------------------------------- */

size_t members_encoded_size(const struct members *members)
{
    size_t size = sizeof(struct book_head) + members->removed_count * sizeof(uint64_t);
    for (uint32_t i = 0; i < members->count; i++)
        size += 4 * sizeof(uint64_t) + 1 + strlen(members->list[i].address);
    return size;
}

static uint8_t *put_bytes(uint8_t *at, const void *bytes, size_t size)
{
    if (size)
        memcpy(at, bytes, size);
    return at + size;
}

uint8_t *members_encode(const struct members *members, uint8_t *at)
{
    struct book_head head = {.version = BOOK_VERSION,
                             .member_count = (uint16_t)members->count,
                             .removed_count = members->removed_count,
                             .genesis = members->genesis,
                             .void_until = members->void_until};
    at = put_bytes(at, &head, sizeof(head));
    at = put_bytes(at, members->removed, members->removed_count * sizeof(uint64_t));
    for (uint32_t i = 0; i < members->count; i++) {
        const struct member *member = &members->list[i];
        uint8_t length = (uint8_t)strlen(member->address);
        at = put_bytes(at, &member->node, sizeof(member->node));
        at = put_bytes(at, &member->instance, sizeof(member->instance));
        at = put_bytes(at, &member->boot, sizeof(member->boot));
        at = put_bytes(at, &member->nonce, sizeof(member->nonce));
        at = put_bytes(at, &length, sizeof(length));
        at = put_bytes(at, member->address, length);
    }
    return at;
}

struct book_reader {
    const uint8_t *at, *end;
};

static bool take(struct book_reader *reader, void *to, size_t size)
{
    if ((size_t)(reader->end - reader->at) < size)
        return false;
    if (size)
        memcpy(to, reader->at, size);
    reader->at += size;
    return true;
}

static bool take_member(struct book_reader *reader, struct members *members)
{
    struct member member = {0};
    uint8_t length;
    struct io_address address;
    if (!take(reader, &member.node, sizeof(member.node)) ||
        !take(reader, &member.instance, sizeof(member.instance)) ||
        !take(reader, &member.boot, sizeof(member.boot)) ||
        !take(reader, &member.nonce, sizeof(member.nonce)) ||
        !take(reader, &length, sizeof(length)) || length >= sizeof(member.address) ||
        !take(reader, member.address, length) || strlen(member.address) != length)
        return false;
    if (length && io_address_parse(member.address, &address, NULL) != 0)
        return false;
    bool is_ascending = members->count == 0 || members->list[members->count - 1].node < member.node;
    return member.node != RR_NONE && is_ascending && members_put(members, &member) == 0;
}

int members_decode(struct members *members, const uint8_t *bytes, size_t size)
{
    struct book_reader reader = {.at = bytes, .end = bytes + size};
    struct book_head head;
    struct members read;
    members_init(&read);
    if (!take(&reader, &head, sizeof(head)) || head.version != BOOK_VERSION || head.zero != 0 ||
        head.member_count > CONFIG_PEERS_MAX || head.removed_count > MEMBERS_REMOVED_MAX)
        return RR_E_MALFORMED;
    read.genesis = head.genesis;
    read.void_until = head.void_until;
    int rc = 0;
    for (uint32_t i = 0; i < head.removed_count && rc == 0; i++) {
        uint64_t node;
        rc = take(&reader, &node, sizeof(node)) ? note_removed(&read, node) : RR_E_MALFORMED;
    }
    for (uint32_t i = 0; i < head.member_count && rc == 0; i++)
        rc = take_member(&reader, &read) ? 0 : RR_E_MALFORMED;
    if (rc == 0 && reader.at != reader.end)
        rc = RR_E_MALFORMED;
    if (rc != 0) {
        members_fini(&read);
        return rc;
    }
    members_fini(members);
    *members = read;
    members_check(members);
    return 0;
}

void members_check(const struct members *members)
{
    RR_ASSERT(members->count <= CONFIG_PEERS_MAX);
    RR_ASSERT(members->removed_count <= MEMBERS_REMOVED_MAX);
    for (uint32_t i = 1; i < members->count; i++)
        RR_ASSERT(members->list[i - 1].node < members->list[i].node);
}
