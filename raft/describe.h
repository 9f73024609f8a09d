/* SPDX-License-Identifier: Apache-2.0
 *
 * The reference's text forms of everything that a core takes, gives and says: messages, entries,
 * Readys, states, configurations, progress, log events. They are for people and for the text
 * scenarios, never for the hot path. Functions append to the sink and never fail; forms of one line
 * end without a line feed.
 *
 * Ids are hex where the reference writes hex (log lines, senders and recipients, configurations)
 * and decimal elsewhere.
 */
#ifndef RR_RAFT_DESCRIBE_H
#define RR_RAFT_DESCRIBE_H

#include "raft/describe_text.h"
#include "raft/log_event.h"

#include <ringraft/raft.h>

struct progress;
struct raft_log;
struct tracker;
struct tracker_config;

/* Static strings; a number outside the enum gives "unknown". */
const char *rr_describe_message_type(uint8_t type);
const char *rr_describe_state(uint8_t state);
const char *rr_describe_progress_state(uint8_t state);

/* ---- what travels (describe.c) ------------------------------------------- */

/* `None`, a storage thread, or the id in hex. */
void rr_describe_target(struct rr_text *text, uint64_t id);
void rr_describe_entry(struct rr_text *text, const struct rr_entry *entry);
/* One per line, each with its line feed. */
void rr_describe_entries(struct rr_text *text, const struct rr_entry *entries, size_t count);
void rr_describe_conf_state(struct rr_text *text, const struct rr_conf_state *state);
void rr_describe_snapshot(struct rr_text *text, const struct rr_snapshot *snapshot);
void rr_describe_soft_state(struct rr_text *text, const struct rr_soft_state *state);
void rr_describe_hard_state(struct rr_text *text, const struct rr_hard_state *state);
void rr_describe_message(struct rr_text *text, const struct rr_message *message);
/* Several lines, each with its line feed; `<empty Ready>` alone has none. */
void rr_describe_ready(struct rr_text *text, const struct rr_ready *ready);

/* ---- what the core says about itself (describe_log.c) -------------------- */

void rr_describe_config(struct rr_text *text, const struct tracker_config *config);
void rr_describe_progress(struct rr_text *text, const struct progress *progress);
/* `id: progress` for each member, ascending, each with its line feed. */
void rr_describe_progress_map(struct rr_text *text, const struct tracker *tracker);
void rr_describe_conf_change_v2(struct rr_text *text, const struct rr_conf_change_v2 *change);
void rr_describe_raft_log(struct rr_text *text, const struct raft_log *log);
/* The event's line, without its level. */
void rr_describe_log_event(struct rr_text *text, const struct rr_log_event *event);
/* "DEBUG", "INFO", "WARN", "ERROR" */
const char *rr_describe_log_level(uint8_t level);

#endif
