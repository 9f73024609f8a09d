/* SPDX-License-Identifier: Apache-2.0
 *
 * Snapshots to and from other nodes. One that is small travels inside MsgSnap. The group's metadata
 * is the message's context, either way.
 */
#include "engine/group.h"

#include "proto/base.h"

void snapshot_send_message(struct rr_group *group, const struct rr_message *message)
{
    struct rr_engine *engine = group->engine;
    const struct log_snapshot *snapshot = group->log.snapshot;
    int rc = RR_E_SNAP_OUT_OF_DATE; /* replaced since the core looked: it will ask again */
    /* Who is no member as of a snapshot ignores it: there has to be a newer one. */
    bool is_known = membership_is_in(&snapshot->snapshot.metadata.conf_state, message->to);
    group->must_snapshot |= !is_known;
    if (is_known && snapshot->kind == LOG_SNAPSHOT_INLINE &&
        snapshot->snapshot.metadata.index == message->snapshot->metadata.index) {
        struct rr_message whole = *message;
        whole.context = snapshot->group_data;
        whole.context_size = snapshot->group_data_size;
        rc = transport_send(engine->transport, group->options.group_id, &whole);
    }
    engine->messages_sent += rc == 0;
    /* What was handed to the connection counts as sent: if it is lost with it, the probe that
     * follows is rejected and it is sent again. */
    rr_raw_node_report_snapshot(group->node, message->to, rc != 0);
}

int snapshot_arrives(struct rr_group *group, const struct rr_message *message)
{
    struct log_snapshot brought = {.kind = LOG_SNAPSHOT_INLINE,
                                   .snapshot = *message->snapshot,
                                   .group_data = message->context,
                                   .group_data_size = message->context_size};
    struct log_snapshot *snapshot = log_snapshot_new(&brought);
    if (!snapshot)
        return RR_E_NO_MEMORY;
    snapshot->next = group->snapshots.arrived;
    group->snapshots.arrived = snapshot;
    return 0;
}

struct log_snapshot *snapshot_take_arrived(struct rr_group *group,
                                           const struct rr_snapshot_metadata *metadata)
{
    struct log_snapshot **at = &group->snapshots.arrived;
    while ((*at)->snapshot.metadata.index != metadata->index ||
           (*at)->snapshot.metadata.term != metadata->term)
        at = &(*at)->next; /* the core has no other source of snapshots: it is here */
    struct log_snapshot *found = *at;
    *at = found->next;
    found->next = NULL;
    return found;
}

void snapshot_drop_arrived(struct rr_group *group)
{
    struct log_snapshot *snapshot;
    while ((snapshot = group->snapshots.arrived)) {
        group->snapshots.arrived = snapshot->next;
        log_snapshot_put(snapshot);
    }
}
