/* SPDX-License-Identifier: Apache-2.0
 *
 * The configurations of a group, as an outsider follows them: the conf changes that were found on
 * disks, as far as they are committed, in the order of the log. What an entry needs to be committed
 * by is known from its index: changes take effect when a leader applies them, and there is at most
 * one that it has not applied, so it is the configuration behind all changes before the entry, or
 * the one before that.
 */
#ifndef RR_TESTS_SIM_CONFIGS_H
#define RR_TESTS_SIM_CONFIGS_H

#include <ringraft/types.h>

#define CONFIGS_IDS_MAX 16u

struct config {
    uint64_t index; /* of the change that led to it */
    uint64_t voters[CONFIGS_IDS_MAX], outgoing[CONFIGS_IDS_MAX], learners[CONFIGS_IDS_MAX];
    uint32_t voter_count, outgoing_count, learner_count;
};

/* A conf change that was seen on some disk. */
struct config_change {
    uint64_t index, term;
    uint8_t *bytes;
    uint32_t size;
};

struct configs {
    struct config *list; /* the initial one first */
    uint32_t count, cap;
    struct config_change *changes; /* ascending indexes */
    uint32_t change_count, change_cap;
};

void configs_init(struct configs *configs, uint32_t voter_count);
void configs_fini(struct configs *configs);
/* An entry of a disk that is a conf change; nothing if it is known. */
void configs_note(struct configs *configs, const struct rr_entry *entry);
/* Follows the changes up to `index`; an entry is committed if its term is that of
 * committed_term(ctx, index). */
void configs_advance(struct configs *configs, uint64_t index,
                     uint64_t (*committed_term)(void *ctx, uint64_t index), void *ctx);

static inline const struct config *configs_last(const struct configs *configs)
{
    return &configs->list[configs->count - 1];
}
/* Do those of whom `has` says yes make a quorum, of both halves of a joint configuration? */
bool config_has_quorum(const struct config *config, bool (*has)(void *ctx, uint64_t id), void *ctx);
bool config_has_voter(const struct config *config, uint64_t id);
/* In any role. */
bool config_has_member(const struct config *config, uint64_t id);

#endif
