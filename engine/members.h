/* SPDX-License-Identifier: Apache-2.0
 *
 * A group's address book: its members and where they listen, the ids that were removed and may not
 * come back, and a hash of the configuration it was bootstrapped with. A function of the log alone:
 * the first snapshot holds the initial voters, each committed conf change brings the addresses of
 * those it adds in its Context, every later snapshot carries the book as of its index. So every
 * node that has applied the same index holds the same book, and a node that only knows one address
 * learns the others. With a change come the instances and boots of the members that its leader has
 * accepted, so that a node which is new trusts nobody under a member's id but that member.
 *
 * One per group, as of `applied`. Loop thread only (opening: the opening thread). Who is a voter or
 * a learner is not kept here: that is the ConfState's.
 *
 * Failure path: bytes that no node wrote are RR_E_MALFORMED and change nothing.
 */
#ifndef RR_ENGINE_MEMBERS_H
#define RR_ENGINE_MEMBERS_H

#include "engine/config.h"
#include "io/address.h"

/* An id is never used again; so many of the latest removals are remembered. */
#define MEMBERS_REMOVED_MAX 1024u
/* No encoded book is larger. */
#define MEMBERS_ENCODED_MAX (16u * 1024)
/* No conf change with its news is larger. */
#define MEMBERS_CHANGE_MAX 4096u

struct member {
    uint64_t node;
    char address[IO_ADDRESS_TEXT_SIZE]; /* "": nobody said it */
    uint64_t instance;                  /* as the leader of a change knew it; 0: it did not */
    uint64_t boot, nonce;
};

struct members {
    struct member list[CONFIG_PEERS_MAX]; /* ascending ids */
    uint32_t count;
    uint32_t removed_count;
    uint32_t removed_cap;
    uint64_t *removed;   /* oldest removal first */
    uint64_t genesis;    /* of the configuration it began with; 0: not known */
    uint64_t void_until; /* conf changes up to this index have no effect: members_force */
};

void members_init(struct members *members);
void members_fini(struct members *members);

/* The book of a new group, the same on each of its voters whatever the order of `voters`. */
void members_begin(struct members *members, const struct rr_peer_address *voters, uint32_t count);

const struct member *members_find(const struct members *members, uint64_t node);
bool members_is_removed(const struct members *members, uint64_t node);

/* Adds a member, or what is new of one: an address, a later boot. RR_E_TOO_LARGE: no more fit. */
int members_put(struct members *members, const struct member *member);

/* A change led to `conf_state`; `news` (with `size` bytes; the change's Context) is an encoded
 * book with those it adds, and what is known of the others. Members that are in no list of
 * conf_state any more become removed. */
int members_follow(struct members *members, const struct rr_conf_state *conf_state,
                   const uint8_t *news, size_t size);

/* A new cluster of one node: the others are removed, and what the log up to `last_index` says of
 * members is void. `cluster` tells it from others that were forced out of the same one. */
int members_force(struct members *members, uint64_t node, uint64_t last_index, uint64_t cluster);

size_t members_encoded_size(const struct members *members);
/* Returns the end. */
uint8_t *members_encode(const struct members *members, uint8_t *at);
/* Replaces what `members` (initialised) held. RR_E_MALFORMED, RR_E_NO_MEMORY: it is unchanged. */
int members_decode(struct members *members, const uint8_t *bytes, size_t size);

void members_check(const struct members *members);

#endif
