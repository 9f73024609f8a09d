/* SPDX-License-Identifier: Apache-2.0
 *
 * A group leaves the directory for good: a section of the log says so, durably, before the call
 * returns; recovery never brings it back. Cold.
 *
 * Only a group that is not open can go. The caller makes its registry entry his own, the loop
 * stages the section and, when it is durable, lets go of the group's log in memory. Failure path:
 * with a poisoned log the group stays; what the disk holds is then seen by the next process.
 */
#include "engine/group.h"

#include "proto/base.h"

#include <stdlib.h>

struct group_removal {
    struct command command;
    struct group_removal *next; /* in engine->removals */
    struct registry_entry *entry;
    uint64_t seq; /* removed when this is durable */
    int result;
    struct io_gate gate;
};

static void begin(struct rr_engine *engine, struct command *command)
{
    struct group_removal *removal = RR_CONTAINER_OF(command, struct group_removal, command);
    removal->result = wal_append_gone(engine->wal, removal->entry->id);
    if (removal->result != 0) {
        engine->io->ops->gate_open(engine->io, &removal->gate);
        return;
    }
    removal->seq = wal_staged_seq(engine->wal);
    removal->next = engine->removals;
    engine->removals = removal;
}

static void end(struct rr_engine *engine, struct group_removal *removal, int result)
{
    struct registry_entry *entry = removal->entry;
    removal->result = result;
    if (result == 0) {
        log_cache_fini(&entry->dormant.log);
        free(entry->group);
        entry->group = NULL;
    }
    engine->io->ops->gate_open(engine->io, &removal->gate);
}

void engine_end_removals(struct rr_engine *engine)
{
    struct group_removal **link = &engine->removals;
    while (*link) {
        struct group_removal *removal = *link;
        bool is_durable = wal_durable_seq(engine->wal) >= removal->seq;
        if (!is_durable && !engine->poisoned) {
            link = &removal->next;
            continue;
        }
        *link = removal->next;
        end(engine, removal, is_durable ? 0 : RR_E_POISONED);
    }
}

int rr_group_remove(struct rr_engine *engine, uint64_t group_id, struct rr_error *error)
{
    struct group_removal removal = {.command.run = begin};
    const struct io_ops *ops = engine->io->ops;
    if (!ops->may_wait(engine->io))
        return rr_fail(error, RR_E_WRONG_THREAD, "rr_group_remove waits: not from a callback");
    int rc = registry_claim_dormant(&engine->registry, group_id, &removal.entry, error);
    if (rc != 0)
        return rc;
    engine_post(engine, &removal.command);
    if (!ops->gate_wait(engine->io, &removal.gate))
        return rr_fail(error, RR_E_CLOSED, "the engine ended");
    rc = removal.result;
    if (rc == 0)
        snapshot_files_remove_all(engine, group_id);
    registry_release(&engine->registry, removal.entry);
    return rc == 0 ? 0
                   : rr_fail(error, rc, "group %llu was not removed: %s",
                             (unsigned long long)group_id, rr_err_sentence(rc));
}
