/* SPDX-License-Identifier: Apache-2.0
 *
 * The environment of cluster scenarios: nodes that are driven by hand, one list of messages in
 * flight, and a state machine per node that appends what it is given to a string. Nothing happens
 * that a command did not ask for. All memory that scenarios can reach (messages, payloads,
 * snapshots) is scenario memory and lives to the end; the cores use the heap.
 *
 *   cluster.c           commands by name, output, nesting, log lines
 *   cluster_member.c    nodes: creation, bootstrap, restart, storage faults, compaction
 *   cluster_storage.c   a node's storage and state machine with its history
 *   cluster_request.c   time and requests
 *   cluster_step.c      messages and proposals made by hand
 *   cluster_network.c   messages in flight: deliver, lose, repeat, reorder
 *   cluster_ready.c     Readys, storage threads, stabilize
 *   cluster_look.c      commands that only look
 *   cluster_copy.c      copies that outlive the core's next call
 */
#ifndef RR_CONFORMANCE_CLUSTER_H
#define RR_CONFORMANCE_CLUSTER_H

#include "tests/conformance/command.h"

#include "raft/describe.h"
#include "raft/raw_node.h"

#include <ringraft/raft.h>

/* A list of messages; the messages themselves never change. */
struct mail {
    const struct rr_message **items;
    size_t count;
    size_t cap;
};

struct entry_list {
    const struct rr_entry *items;
    uint32_t count;
};

/* The state machine's contents: the newest history element may be extended in place. */
struct contents {
    uint8_t *bytes;
    size_t size;
    size_t cap;
};

struct member {
    struct cluster *cluster;
    uint64_t id;
    struct rr_config config;
    struct rr_raw_node *node;
    struct rr_memory_storage *storage;
    struct rr_storage stored;        /* the storage without faults, for the environment itself */
    struct rr_conf_state conf_state; /* what the storage answers to InitialState */
    bool has_snapshot_fault;
    bool has_entries_fault;
    const struct rr_snapshot **history; /* one per state of the state machine; never empty */
    size_t history_count;
    size_t history_cap;
    struct contents contents;
    struct mail append_work;
    struct mail apply_work;
    bool has_open_ready; /* between begin-ready and end-ready */
    struct entry_list open_entries;
};

/* Levels of the output: those of log events, and two that no log event has. */
enum { LEVEL_FATAL = RR_LOG_ERROR + 1, LEVEL_NONE };

struct cluster {
    struct scenario_memory *memory;
    struct member **members; /* by id - 1 */
    size_t count;
    struct mail in_flight;
    struct rr_text *output; /* of the running command, or of the nested one */
    struct rr_text discard; /* where output goes at level NONE */
    uint8_t level;
    uint32_t jitter; /* of every draw of an election timeout */
};

typedef enum outcome (*cluster_handler)(struct cluster *cluster, struct command *cmd);

/* ---- cluster.c ----------------------------------------------------------- */

/* Where output goes now. */
struct rr_text *cluster_out(struct cluster *cluster);
/* The node, or NULL and the command is bad. */
struct member *cluster_find(struct cluster *cluster, struct command *cmd, const char *id);
/* Parses the arguments and finds the node that the first positional names; or NULL, as above. */
struct member *cluster_parse(struct cluster *cluster, struct command *cmd,
                             const struct command_shape *shape);
enum outcome cluster_set_level(struct cluster *cluster, struct command *cmd, const char *name);
/* For rr_config.log; ctx is the cluster. */
void cluster_log(void *ctx, const struct rr_log_event *event);
/* An error of the core becomes the command's result. */
enum outcome cluster_result(struct command *cmd, int err);

/* Output between begin and end is indented by two spaces. */
struct nested_output {
    struct rr_text inner;
    struct rr_text *outer;
};
void nested_begin(struct cluster *cluster, struct nested_output *nested);
void nested_end(struct cluster *cluster, struct nested_output *nested);

void mail_add(struct scenario_memory *memory, struct mail *mail, const struct rr_message *message);
const struct rr_message *mail_take(struct mail *mail, size_t at);
bool message_is_internal(const struct rr_message *message);

/* ---- cluster_copy.c ------------------------------------------------------ */

struct rr_conf_state copy_conf_state(struct scenario_memory *memory,
                                     const struct rr_conf_state *from);
const struct rr_snapshot *copy_snapshot(struct scenario_memory *memory,
                                        const struct rr_snapshot *from);
struct entry_list copy_entries(struct scenario_memory *memory, const struct rr_entry *from,
                               uint32_t count);
const struct rr_message *copy_message(struct scenario_memory *memory,
                                      const struct rr_message *from);

/* ---- cluster_storage.c --------------------------------------------------- */

/* What a Ready or an append message asks to be stored. */
struct storing {
    struct rr_hard_state hard_state;    /* all zero: none */
    const struct rr_snapshot *snapshot; /* NULL: none */
    struct entry_list entries;
    bool both_allowed; /* snapshot and entries */
};

struct rr_storage member_storage(struct member *member);
enum outcome member_store(struct member *member, struct command *cmd, const struct storing *what);
/* Applies committed entries to the state machine, conf changes also to the core. */
enum outcome member_apply(struct member *member, struct command *cmd, struct entry_list entries);
void member_add_history(struct member *member, const struct rr_snapshot *snapshot);
const struct rr_snapshot *member_state(const struct member *member);

/* ---- the commands' handlers ---------------------------------------------- */

enum outcome run_add_nodes(struct cluster *cluster, struct command *cmd);
enum outcome run_bootstrap(struct cluster *cluster, struct command *cmd);
enum outcome run_restart(struct cluster *cluster, struct command *cmd);
enum outcome run_storage_fault(struct cluster *cluster, struct command *cmd);
enum outcome run_compact(struct cluster *cluster, struct command *cmd);
void member_free(struct member *member);

enum outcome run_tick_election(struct cluster *cluster, struct command *cmd);
enum outcome run_tick_heartbeat(struct cluster *cluster, struct command *cmd);
enum outcome run_tick(struct cluster *cluster, struct command *cmd);
enum outcome run_tick_quiesced(struct cluster *cluster, struct command *cmd);
enum outcome run_set_timeout(struct cluster *cluster, struct command *cmd);
enum outcome run_election_jitter(struct cluster *cluster, struct command *cmd);
enum outcome run_campaign(struct cluster *cluster, struct command *cmd);
enum outcome run_propose(struct cluster *cluster, struct command *cmd);
enum outcome run_propose_size(struct cluster *cluster, struct command *cmd);
enum outcome run_propose_conf_change(struct cluster *cluster, struct command *cmd);
enum outcome run_transfer_leadership(struct cluster *cluster, struct command *cmd);
enum outcome run_forget_leader(struct cluster *cluster, struct command *cmd);
enum outcome run_read_index(struct cluster *cluster, struct command *cmd);
enum outcome run_report_unreachable(struct cluster *cluster, struct command *cmd);
enum outcome run_report_snapshot(struct cluster *cluster, struct command *cmd);

enum outcome run_step(struct cluster *cluster, struct command *cmd);
enum outcome run_propose_batch(struct cluster *cluster, struct command *cmd);
enum outcome run_send_snapshot(struct cluster *cluster, struct command *cmd);
enum outcome command_message_type(struct command *cmd, const char *name, uint8_t *type);

enum outcome run_deliver_msgs(struct cluster *cluster, struct command *cmd);
enum outcome run_drop_msgs(struct cluster *cluster, struct command *cmd);
enum outcome run_dup_msgs(struct cluster *cluster, struct command *cmd);
enum outcome run_reverse_msgs(struct cluster *cluster, struct command *cmd);
enum outcome run_deliver_one(struct cluster *cluster, struct command *cmd);
enum outcome run_list_msgs(struct cluster *cluster, struct command *cmd);
bool cluster_has_mail(const struct cluster *cluster, uint64_t id);
/* Delivers everything that is in flight to the node. */
void cluster_deliver_all(struct cluster *cluster, struct member *member);

enum outcome run_process_ready(struct cluster *cluster, struct command *cmd);
enum outcome run_begin_ready(struct cluster *cluster, struct command *cmd);
enum outcome run_end_ready(struct cluster *cluster, struct command *cmd);
enum outcome run_process_append_thread(struct cluster *cluster, struct command *cmd);
enum outcome run_process_apply_thread(struct cluster *cluster, struct command *cmd);
enum outcome run_stabilize(struct cluster *cluster, struct command *cmd);

enum outcome run_raft_log(struct cluster *cluster, struct command *cmd);
enum outcome look_at_raft_log(struct cluster *cluster, struct command *cmd, struct member *member);
enum outcome run_status(struct cluster *cluster, struct command *cmd);
enum outcome run_raft_state(struct cluster *cluster, struct command *cmd);
enum outcome run_describe(struct cluster *cluster, struct command *cmd);

#endif
