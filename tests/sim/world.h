/* SPDX-License-Identifier: Apache-2.0
 *
 * One run of the simulation: whole nodes on the machines of a simulated world, clients, faults by a
 * plan, and at the end a world without faults in which everything must come right.
 */
#ifndef RR_TESTS_SIM_WORLD_H
#define RR_TESTS_SIM_WORLD_H

#include "io/sim/sim_random.h"
#include "tests/sim/chain_machine.h"
#include "tests/sim/changer.h"
#include "tests/sim/oracle.h"
#include "tests/sim/plan.h"
#include "tests/sim/readers.h"
#include "tests/sim/workload.h"

struct world;
struct node;

/* A group on a node. */
struct replica {
    struct node *node;
    uint32_t slot;
    struct rr_group *group; /* NULL: not open */
    struct chain_machine machine;
    uint64_t committed; /* by this process: the newest index that it said */
    uint64_t reopen_at; /* it is closed until then, on a node that runs; 0: it is open */
};

struct node {
    struct world *world;
    uint32_t number;      /* of the machine */
    uint64_t id;          /* of the node that lives there */
    uint32_t incarnation; /* of the process */
    struct io *io;
    struct rr_engine *engine; /* NULL: no process */
    struct replica replicas[PLAN_GROUPS_MAX];
    uint64_t restart_at;
    uint64_t resume_at; /* it is stopped until then; 0: it is not */
    uint64_t answer_at; /* its disk hangs until then; 0: it does not */
    uint64_t wake_at;   /* its state machines sleep until then; 0: they do not */
    bool is_sick;       /* a read, write or sync of its disk fails, or failed */
    bool is_full;       /* its disk */
    bool was_twisted;   /* a state machine of it lied about its hash, at some time */
    char dir[16];
    char address[24];

    /* The atlas: what may be done to what is durable here; see world_disks.c. */
    bool is_harmed;   /* something durable was taken away: it counts among the minority */
    bool is_stranger; /* it lives in a directory that its peers must refuse */
    bool is_out;      /* its directory does not open any more, as it should */
    struct sim_disk_image *image; /* of an earlier time; NULL: none */
    uint64_t image_boot;          /* the newest boot that the image knows */
    uint32_t lonely_starts;       /* so many processes on the image die before they meet a peer */
};

/* X(what was done, or happened) */
#define WORLD_COUNTS(X)                                                                            \
    X(kills)                                                                                       \
    X(power_losses)                                                                                \
    X(crashes_at_io)                                                                               \
    X(orderly_restarts)                                                                            \
    X(group_closes)                                                                                \
    X(pauses)                                                                                      \
    X(cuts)                                                                                        \
    X(flaps)                                                                                       \
    X(slow_disks)                                                                                  \
    X(sleeping_machines)                                                                           \
    X(hung_disks)                                                                                  \
    X(full_disks)                                                                                  \
    X(disk_errors)                                                                                 \
    X(read_errors)                                                                                 \
    X(damages)                                                                                     \
    X(lost_writes)                                                                                 \
    X(rollbacks)                                                                                   \
    X(drifts)                                                                                      \
    X(slow_jobs)                                                                                   \
    X(slow_links)                                                                                  \
    X(machine_errors)                                                                              \
    X(twists)                                                                                      \
    X(wipes)                                                                                       \
    X(refusals) /* of a directory, by its node or its peers */

struct world_counts {
#define X(name) uint64_t name;
    WORLD_COUNTS(X)
#undef X
    uint64_t deaths;            /* for whatever reason */
    uint64_t restores;          /* of snapshots: at a start, and from a leader */
    uint64_t segments_recycled; /* as orderly processes report, … */
    uint64_t log_reads;         /* … of old entries, too */
    uint64_t log_moved_bytes;   /* … and what idle groups had to be moved */
    uint64_t alarms;            /* that a state differs */
};

#define WORLD_FLAPS_MAX 4u

/* As things are without faults. */
#define WORLD_JOB_COST_NS 300000u
#define WORLD_LINK_MIN_NS 20000u
#define WORLD_LINK_MAX_NS 200000u

/* A link that comes and goes. */
struct flap {
    uint32_t from, to; /* 0: not in use */
    uint64_t period_ns;
    uint64_t next_ns;
    bool is_cut;
};

struct world {
    struct plan plan;
    struct sim *sim;
    struct sim_stream chance; /* of faults */
    struct node nodes[PLAN_NODES_MAX];
    struct rr_peer_address peers[PLAN_NODES_MAX];
    struct flap flaps[WORLD_FLAPS_MAX];
    struct oracle oracle;
    struct workload workload;
    struct readers readers[PLAN_GROUPS_MAX];
    struct changer changer;
    struct world_counts counts;
    uint32_t leaders[PLAN_GROUPS_MAX]; /* the newest that was heard of; 0: none */
    uint64_t leader_terms[PLAN_GROUPS_MAX];
    bool is_healed; /* no more faults */
    bool is_verbose;
};

struct world_result {
    struct world_counts counts;
    uint64_t trace;
    uint64_t events;
    uint64_t virtual_ns;
    uint64_t acknowledged;
    uint64_t reads;   /* that succeeded; stale ones too */
    uint64_t windows; /* of histories, judged */
    uint64_t elections;
    uint64_t changes;   /* of members, and of the leader, that succeeded */
    uint64_t healed_ns; /* until all had converged; the longest */
};

/* Plays one seed; returns only if all went well. */
void world_play(const struct plan *plan, uint32_t seconds, bool is_verbose,
                struct world_result *result);

/* ---- world.c ------------------------------------------------------------- */
/* Calls that are not answered yet. */
uint64_t world_pending(const struct world *world);
/* A client reads there. */
void world_read(const struct replica *replica);

/* ---- world_node.c: processes --------------------------------------------- */
void world_say(const struct world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void node_init(struct world *world, uint32_t number);
struct workload_target replica_target(const struct replica *replica);
static inline bool node_is_dead(const struct node *node)
{
    return sim_crashed(node->world->sim, node->number);
}
/* Is there a process that may be spoken to? */
static inline bool node_listens(const struct node *node)
{
    return node->engine && !node_is_dead(node) && node->resume_at == 0;
}
/* Somebody else may lead by now. */
bool replica_believes_to_lead(const struct replica *replica);
static inline bool replica_listens(const struct replica *replica)
{
    return node_listens(replica->node) && replica->group;
}
bool node_is_twisted(const struct node *node);
void node_open(struct node *node);
/* While the node runs, and its disk answers. */
void replica_close(struct replica *replica);
void replica_open(struct replica *replica);
/* The process is gone: its engine is given up, and it comes back after a while. */
void node_bury(struct node *node);
/* Ends the process in an orderly way: every accepted proposal must be completed, every file closed.
 * Not while it is stopped or its disk hangs. */
void node_close(struct node *node);
/* Ends the process, if there is one, and begins anew on an empty disk, as a node with another id
 * that joins. */
void node_renew(struct node *node);
/* Fail-stop: a group said why, and waits for its end. 0: it works, or was removed. */
int node_error(const struct node *node);
/* It has to begin anew, and something was done to it that explains why. */
bool node_must_restart(struct node *node);
/* The configuration of a group lists it, in any role. */
bool replica_is_member(const struct replica *replica);

/* ---- world_faults.c ------------------------------------------------------ */
/* Does one thing of the plan's, by chance. */
void faults_strike(struct world *world);
/* What ends or happens by itself: stops, hung disks, links that flap. */
void faults_tend(struct world *world);
uint64_t faults_next_time(const struct world *world);
/* Ends everything that was done: links, disks, crashes to come. Processes are started by the world.
 */
void faults_heal(struct world *world);
/* The node's state machines, if they sleep. */
void faults_wake(struct node *node);
void faults_crash(struct node *node, bool power, enum sim_power_loss how);

/* ---- world_disks.c ------------------------------------------------------- */
/* Something durable may be taken from this node, or its state machine may lie: they are no more
 * than a minority. */
bool disks_may_harm(const struct node *node);
void disks_strike_damage(struct world *world);
void disks_strike_lost_write(struct world *world);
void disks_strike_rollback(struct world *world);
void disks_keep_lonely(struct node *node);
void disks_strike_wipe(struct world *world);
/* The process ended: harm that the log cannot see, by its own words, is taken back; and a copy of
 * the directory is kept now and then. */
void disks_settle(struct node *node);
/* A directory did not open with this error: is that what was to be expected? */
bool disks_excuse(struct node *node, int err);

#endif
