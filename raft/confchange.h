/* SPDX-License-Identifier: Apache-2.0
 *
 * Changes of configuration (thesis 4.1, 4.3): simple ones, which change at most one voter, and
 * entering and leaving joint ones. Each function either changes the tracker's configuration and
 * progress and returns NULL, or leaves both untouched and returns the reason as a static sentence.
 */
#ifndef RR_RAFT_CONFCHANGE_H
#define RR_RAFT_CONFCHANGE_H

#include "raft/tracker.h"

struct confchange {
    const struct rr_conf_change_single *changes;
    uint32_t count;
    uint64_t last_index; /* of the log: where new members are probed first */
};

const char *confchange_simple(struct tracker *t, const struct confchange *change);
const char *confchange_enter_joint(struct tracker *t, const struct confchange *change,
                                   bool auto_leave);
const char *confchange_leave_joint(struct tracker *t);

/* From the empty configuration to that of `state`. */
const char *confchange_restore(struct tracker *t, const struct rr_conf_state *state,
                               uint64_t last_index);

/* A V1 change as the equivalent V2; `single` is where the change is put. */
struct rr_conf_change_v2 confchange_as_v2(const struct rr_conf_change *change,
                                          struct rr_conf_change_single *single);
/* How a V2 change is to be applied: leave, enter (with auto_leave), or simple. */
enum confchange_kind { CONFCHANGE_SIMPLE, CONFCHANGE_ENTER_JOINT, CONFCHANGE_LEAVE_JOINT };
enum confchange_kind confchange_kind(const struct rr_conf_change_v2 *change, bool *auto_leave);
const char *confchange_apply(struct tracker *t, const struct rr_conf_change_v2 *change,
                             uint64_t last_index);
/* As confchange_apply would answer, without changing anything. */
const char *confchange_check(const struct tracker *t, const struct rr_conf_change_v2 *change);
/* Can this configuration be rebuilt as it is, and does it have voters? */
const char *confchange_check_state(const struct rr_allocator *allocator,
                                   const struct rr_conf_state *state);
/* The same members in the same roles, in any order. */
bool confchange_equivalent(const struct rr_conf_state *a, const struct rr_conf_state *b);

#endif
