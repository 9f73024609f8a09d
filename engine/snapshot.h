/* SPDX-License-Identifier: Apache-2.0
 *
 * What a group has to do with snapshots, for group.h and the files snapshot_*.c.
 *
 *     snapshot_policy.c     when one is taken, what becomes of it, and of the log before it
 *     snapshot_take.c       the state machine's bytes into memory, or a file if there are many
 *     snapshot_restore.c    and back, from memory or a file
 *     snapshot_files.c      which files there are, and which nobody needs any more
 *     snapshot_transfer.c   to and from other nodes
 *     snapshot_request.c    on demand, and copies of them
 *     snapshot_watch.c      what is wrong with them, and who hears of it
 *
 * A snapshot of at most SNAPSHOT_INLINE bytes lies in the group's state section. A larger one is a
 * file, published before the state section that refers to it is staged; a file is removed only when
 * the state that does without it is durable. So at any time the newest durable state finds what it
 * refers to. The work of files is done on the engine's snapshot worker, a slice at a time, so that
 * groups take turns and a close never waits for a whole snapshot; memory is one chunk per snapshot
 * that is being taken or restored, whatever the size of the state.
 */
#ifndef RR_ENGINE_SNAPSHOT_H
#define RR_ENGINE_SNAPSHOT_H

#include "engine/config.h"
#include "engine/log_snapshot.h"
#include "io/file_path.h"
#include "io/snapshot_file.h"

#include <ringraft/ringraft.h>

struct rr_engine;
struct rr_group;
struct rr_message;

/* ---- taking -------------------------------------------------------------- */

/* IDLE ──start──▶ BEGINNING ──begun──▶ WAITING ⇄ READING ──▶ ENDED ──finish──▶ IDLE
 *
 * BEGINNING: snapshot_begin waits in the apply stage behind all entries up to `index`; it fixes the
 * point in time. WAITING: for the loop to have seen those entries applied too (then the group's
 * configuration is captured), and to send the next slice. READING: a slice is on the snapshot
 * worker. A cancelled one goes the same way, with a slice that only ends it. */
enum take_phase { TAKE_IDLE, TAKE_BEGINNING, TAKE_WAITING, TAKE_READING, TAKE_ENDED };

struct snapshot_take {
    struct io_job job;
    struct rr_group *group;
    enum take_phase phase;
    bool is_canceled;
    uint64_t index;
    uint64_t file_id;
    struct log_snapshot *captured; /* metadata and group data as of `index`; NULL: not yet */

    /* Of whoever has it: apply stage, snapshot worker, loop. */
    bool has_begun; /* `context` is the state machine's */
    void *context;
    uint32_t inline_max;
    uint32_t size;  /* bytes at `bytes`, while they may all stay in memory */
    uint8_t *bytes; /* inline_max + 1: the extra one shows that it is too large */
    struct snapshot_writer *writer;
    bool is_at_end;
    int result;
    struct rr_error error;
    struct snapshot_file_info file; /* if `writer` was needed */
    bool is_file;
};

/* Begins behind everything that was handed to the apply stage. */
void snapshot_take_start(struct rr_group *group);
/* The next slice, if it is time for one. */
void snapshot_take_advance(struct rr_group *group);
/* ENDED becomes IDLE: the snapshot, one reference, or NULL and why. */
struct log_snapshot *snapshot_take_finish(struct rr_group *group, int *result);
/* Brings one that is not wanted any more to its end; in each turn until it is IDLE. */
void snapshot_take_give_up(struct rr_group *group);
/* All at once, on the opening thread: the fresh state machine's becomes the group's snapshot, which
 * is of what `head` says. */
int snapshot_take_now(struct rr_group *group, const struct rr_state_machine *machine,
                      const struct log_snapshot *head, struct rr_error *error);
/* After all threads have ended. */
void snapshot_take_fini(struct rr_group *group);

/* ---- restoring ----------------------------------------------------------- */

/* A state machine on its way to become a snapshot; one thread at a time. */
struct restoring {
    const struct rr_state_machine *machine;
    const struct rr_snapshot *inlined; /* its bytes, or … */
    struct snapshot_reader *reader;    /* … the file that has them */
    void *context;
    bool has_begun; /* `context` is the state machine's */
};

/* IDLE ──start──▶ RUNNING ⇄ WAITING, and from RUNNING ──▶ DONE ──finish──▶ IDLE
 *
 * RUNNING: a slice is on the apply stage. WAITING: for the loop to send the next one; what is not
 * wanted any more (the group ends, a newer snapshot has arrived) gets one that only ends it. */
enum restore_phase { RESTORE_IDLE, RESTORE_RUNNING, RESTORE_WAITING, RESTORE_DONE };

struct snapshot_restore {
    struct io_job job;
    struct rr_group *group;
    enum restore_phase phase;
    bool is_apart;                 /* on the snapshot worker: the loop would stand still */
    bool is_unwanted;              /* the group ends */
    struct log_snapshot *snapshot; /* a reference */

    /* Of whoever has it: apply stage or snapshot worker, loop. */
    struct restoring run;
    bool is_canceled;
    bool is_at_end;
    int result;
    struct rr_error error;
};

/* While opening: the state machine becomes what the group's snapshot says. If its file is damaged
 * or missing, an older one will do with which the log is contiguous: it becomes the group's
 * snapshot. RR_E_STATE_MACHINE, RR_E_CORRUPT, RR_E_NO_MEMORY. */
int snapshot_restore_newest(struct rr_group *group, const struct rr_state_machine *machine,
                            struct rr_error *error);
/* While opening: the state machine is ahead of the group's snapshot. Its file, if it lies in one,
 * is not needed here, but other nodes may: if it is not good, it is lost, and a new one is taken.
 */
int snapshot_find_newest(struct rr_group *group, struct rr_error *error);
/* While opening: the state machine becomes what the backup at `path` holds; `*metadata` gets its
 * index and term, nothing else. */
int snapshot_restore_backup(const struct rr_group *group, const struct rr_state_machine *machine,
                            struct rr_snapshot_metadata *metadata, struct rr_error *error);
/* The group ends: what is being restored is given up after its slice. */
void snapshot_restore_give_up(struct rr_group *group);
/* After all threads have ended. */
void snapshot_restore_fini(struct rr_group *group);

/* ---- files --------------------------------------------------------------- */

struct snapshot_files {
    uint64_t *indexes; /* of the published files, in no order */
    uint32_t count;
    uint32_t cap;
    uint32_t removals; /* jobs on their way */
    uint64_t damaged;  /* was found to be: it does not replace a newer one; 0: none */
};

int snapshot_path(const struct rr_group *group, uint64_t index, char path[FILE_PATH_SIZE],
                  struct rr_error *error);
/* While opening: finds the group's files; drafts are removed, and what arrived of a snapshot that
 * is not newer than the log's. */
int snapshot_files_open(struct rr_group *group, struct rr_error *error);
void snapshot_files_fini(struct snapshot_files *files);
bool snapshot_files_know(const struct snapshot_files *files, uint64_t index);
/* A file was published. RR_E_NO_MEMORY. */
int snapshot_files_note(struct rr_group *group, uint64_t index);
/* Of a group that is gone from the directory: all of them; blocks. */
void snapshot_files_remove_all(struct rr_engine *engine, uint64_t group);
/* Sends those to be removed that nothing refers to. */
void snapshot_files_sweep(struct rr_group *group);

/* ---- requests ------------------------------------------------------------ */

struct snapshot_request;

/* Answers what can be answered, copies what is to be copied. */
void snapshot_requests_advance(struct rr_group *group);
/* Does one wait for a snapshot to be taken? */
bool snapshot_requests_wait(const struct rr_group *group);
/* Does one copy this file? */
bool snapshot_requests_use(const struct rr_group *group, uint64_t index);
/* Answers those that wait, or all. */
void snapshot_requests_fail_waiting(struct rr_group *group, int status);
void snapshot_requests_fail(struct rr_group *group, int status);
void snapshot_requests_fini(struct rr_group *group);

/* ---- transfers ----------------------------------------------------------- */

/* Files between this engine and others. After the transport was opened. */
int snapshot_transfers_open(struct rr_engine *engine, struct rr_error *error);
/* The group does not lead any more, or nobody is to have anything of it. */
void snapshot_cancel_sends(struct rr_group *group);
void snapshot_cancel_transfers(struct rr_group *group);

/* Whoever was sent a file and has not acknowledged it yet needs the log behind it. */
struct snapshot_awaited {
    uint64_t node, index;
};

/* ---- watching ------------------------------------------------------------ */

enum watch_phase { WATCH_IDLE, WATCH_WAITING, WATCH_READING, WATCH_ENDED };

struct snapshot_watch {
    /* A transfer that could not begin; 0: none. */
    int32_t unsent_status;
    uint64_t unsent_to, unsent_ns;
    /* The file that is looked through. */
    struct io_job job;
    struct rr_group *group;
    enum watch_phase phase;
    uint64_t index;
    char path[FILE_PATH_SIZE];
    bool is_canceled; /* and below: whoever has it, snapshot worker or loop */
    bool is_at_end;
    struct snapshot_reader *reader;
    int result;
    struct rr_error error;
};

/* Observers hear of it; kind, group and text are filled in, and the node: this one, if it is 0. */
void snapshot_tell(struct rr_group *group, const struct rr_event *event);
/* This MsgSnap's snapshot could not even begin to be sent. */
void snapshot_note_unsent(struct rr_group *group, const struct rr_message *message, int status);
/* The file of this index may be damaged: it is looked through. */
void snapshot_suspect(struct rr_group *group, uint64_t index);
/* Is the newest one's being looked through? */
bool snapshot_is_suspected(const struct rr_group *group);
void snapshot_watch_advance(struct rr_group *group, bool is_ending);
void snapshot_watch_fini(struct rr_group *group);
/* Does this say something of a file, rather than of the memory for it or of the state machine? */
static inline bool snapshot_is_of_the_file(int rc)
{
    return rc == RR_E_CORRUPT || rc == RR_E_NOT_FOUND || rc == RR_E_IO || rc == RR_E_VERSION;
}
/* What is wrong, for rr_engine_health; 0: nothing. */
int32_t snapshots_cause(const struct rr_group *group);

/* ---- all of it ----------------------------------------------------------- */

struct group_snapshots {
    struct snapshot_take take;
    struct snapshot_restore restore;
    struct snapshot_files files;
    struct snapshot_watch watch;
    struct snapshot_awaited awaited[CONFIG_PEERS_MAX];
    uint32_t awaited_count;
    struct snapshot_request *requests;
    struct log_snapshot *arrived; /* a list: given to the core in this turn */
    uint64_t state_seq;           /* the write of the group's newest state section */
    uint64_t padded_bytes;        /* the group's in the WAL when the newest snapshot was taken */
    uint64_t trail_index;         /* where the last quarter before the next one began; 0: not yet */
    bool keeps_no_trail;          /* the next one: room is short */
    int failure;                  /* why the last attempt to take one failed, or 0 */
    uint64_t retry_ns;            /* and when the next one may begin */
};

#endif
