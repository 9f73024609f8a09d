/* SPDX-License-Identifier: Apache-2.0
 *
 * Options, their defaults and their limits: one table (config.c), checked once, when an engine or a
 * group opens. Any thread.
 */
#ifndef RR_ENGINE_CONFIG_H
#define RR_ENGINE_CONFIG_H

#include <ringraft/ringraft.h>

/* Votes, inflight windows and status arrays are sized for this many members of a group. */
#define CONFIG_PEERS_MAX 31u

/* Copies what the caller's version of the struct holds, puts defaults where it says 0, checks every
 * number against its limits and against the others. RR_E_INVALID with a sentence. Strings stay the
 * caller's. */
int config_resolve_engine(const struct rr_engine_options *given, struct rr_engine_options *resolved,
                          struct rr_error *error);
int config_resolve_group(const struct rr_group_options *given,
                         const struct rr_engine_options *engine, struct rr_group_options *resolved,
                         struct rr_error *error);
/* May a node be called so? */
bool config_is_node_id(uint64_t id);
/* RR_E_INVALID, RR_E_BAD_ADDRESS (also: off loopback, and not insecure). */
int config_check_address(const char *text, bool is_insecure_ok, struct rr_error *error);

#endif
