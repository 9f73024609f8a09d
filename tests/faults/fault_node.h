/* SPDX-License-Identifier: Apache-2.0
 *
 * What the fault tests share: nodes that die, small logs, and sentences that must say certain
 * things. Nodes are the engine harness's.
 */
#ifndef RR_TESTS_FAULT_NODE_H
#define RR_TESTS_FAULT_NODE_H

#include "tests/unit/engine_harness.h"

#include <stddef.h>

/* A repeatable source of chance. */
struct chance {
    uint64_t state;
};
uint64_t chance_next(struct chance *chance);
static inline uint64_t chance_below(struct chance *chance, uint64_t bound)
{
    return chance_next(chance) % bound;
}

/* Nodes of `harness` with segments of 64 KiB, whose logs reach over many of them. No mark proves
 * an idle log's tail before it is closed. */
void fault_use_small_segments(struct harness *harness);

/* Runs `body` in a process of its own, which is then killed with everything open. Nothing of this
 * process may be open. Exits if `body` fails. */
void fault_run_and_kill(struct harness *harness, void (*body)(struct harness *harness));
void fault_open_all(struct harness *harness);
void fault_close_all(struct harness *harness, enum rr_close_mode mode);
/* Proposes one after the other, each in a write of its own, `size` bytes each; all must succeed. */
void fault_propose_singly(struct harness_node *node, uint32_t count, uint32_t size);
/* Proposes `count` entries through whoever leads, until that many have succeeded. */
void fault_propose_until_ok(struct harness *harness, uint32_t count, uint32_t size);

/* Opening node `i` must fail with `code` and a sentence that holds each of `words` (NULL ends). */
void fault_check_refused(struct harness *harness, uint32_t i, int code, const char *const *words);
void fault_check_sentence(const struct rr_error *error, int code, const char *const *words);
/* What `viewer` says about why it and `node` do not talk, waiting for it; 0: it says nothing. */
int32_t fault_wait_refusal(const struct harness_node *viewer, uint64_t node, int32_t wanted);

#endif
