/* SPDX-License-Identifier: Apache-2.0
 *
 * Snapshots to and from other nodes. One that is small travels inside MsgSnap; the file of a larger
 * one over a connection of its own (io/snapshot_stream.h), and MsgSnap without data with it, to be
 * stepped when the file is here. The group's metadata is the message's context, either way.
 *
 * While a file is under way the core's progress for that node stays where it is (it waits for a
 * report), the file is kept, and so is the log behind it, unless room is short. Failure path: the
 * core hears of it and asks again, at the pace of the streams.
 */
#include "engine/group.h"

#include "proto/base.h"

/* Several groups may be behind at a time; each that is received holds a window and a thread. */
#define RECEIVES_MAX 4u

/* ---- to others ----------------------------------------------------------- */

static int send_file(struct rr_group *group, const struct rr_message *message,
                     const struct log_snapshot *snapshot)
{
    char path[FILE_PATH_SIZE];
    const struct rr_snapshot bare = {.metadata = snapshot->snapshot.metadata};
    struct rr_message whole = *message;
    whole.snapshot = &bare;
    whole.context = snapshot->group_data;
    whole.context_size = snapshot->group_data_size;
    const struct snapshot_offer offer = {.group = group->options.group_id,
                                         .size = snapshot->file.file_bytes,
                                         .header_crc = snapshot->file.head_crc,
                                         .message = &whole};
    if (snapshot_file_is_lost(group) || snapshot_is_suspected(group))
        return RR_E_SNAPSHOT_TEMPORARILY_UNAVAILABLE;
    int rc = snapshot_path(group, bare.metadata.index, path, NULL);
    return rc == 0 ? snapshot_streams_send(group->engine->streams, &offer, path) : rc;
}

static int send_inline(struct rr_group *group, const struct rr_message *message,
                       const struct log_snapshot *snapshot)
{
    struct rr_message whole = *message;
    whole.context = snapshot->group_data;
    whole.context_size = snapshot->group_data_size;
    return transport_send(group->engine->transport, group->options.group_id, &whole);
}

/* Does asking again mend it? */
static bool is_temporary(int rc)
{
    return rc == RR_E_SNAP_OUT_OF_DATE || rc == RR_E_SNAPSHOT_TEMPORARILY_UNAVAILABLE ||
           rc == RR_E_BUSY || rc == RR_E_CLOSED;
}

static void tell_sent(struct rr_group *group, const struct snapshot_sent *sent)
{
    snapshot_tell(group, &(struct rr_event){.snapshot_step = RR_SNAPSHOT_SENT,
                                            .node = sent->to,
                                            .index = sent->index,
                                            .term = sent->term,
                                            .status = sent->status,
                                            .bytes = sent->bytes});
}

void snapshot_send_message(struct rr_group *group, const struct rr_message *message)
{
    const struct log_snapshot *snapshot = group->log.snapshot;
    /* Replaced since the core looked, or nothing is sent any more: it will ask again. */
    int rc = group_is_ending(group) ? RR_E_CLOSED : RR_E_SNAP_OUT_OF_DATE;
    /* Who is no member as of a snapshot ignores it: there has to be a newer one. */
    bool is_known = membership_is_in(&snapshot->snapshot.metadata.conf_state, message->to);
    bool is_file = snapshot->kind == LOG_SNAPSHOT_FILE;
    group->must_snapshot |= !is_known;
    if (rc != RR_E_CLOSED && is_known && snapshot->kind != LOG_SNAPSHOT_NONE &&
        snapshot->snapshot.metadata.index == message->snapshot->metadata.index)
        rc = is_file ? send_file(group, message, snapshot) : send_inline(group, message, snapshot);
    group->engine->messages_sent += rc == 0;
    if (rc != 0 && !is_temporary(rc))
        snapshot_note_unsent(group, message, rc);
    /* What was handed to the message connection counts as sent: if it is lost with it, the probe
     * that follows is rejected and it is sent again. */
    if (rc != 0 || !is_file)
        rr_raw_node_report_snapshot(group->node, message->to, rc != 0);
    if (rc == 0 && !is_file)
        tell_sent(group, &(struct snapshot_sent){.to = message->to,
                                                 .index = snapshot->snapshot.metadata.index,
                                                 .term = snapshot->snapshot.metadata.term,
                                                 .bytes = log_snapshot_bytes(snapshot)});
}

/* The node goes on from there, when its state machine has become what it was sent. */
static void await(struct rr_group *group, const struct snapshot_sent *sent)
{
    struct group_snapshots *snapshots = &group->snapshots;
    uint32_t i = 0;
    while (i < snapshots->awaited_count && snapshots->awaited[i].node != sent->to)
        i++;
    if (i == RR_ARRAY_SIZE(snapshots->awaited))
        return;
    snapshots->awaited_count += i == snapshots->awaited_count;
    snapshots->awaited[i] = (struct snapshot_awaited){sent->to, sent->index};
}

static void on_sent(void *ctx, const struct snapshot_sent *sent)
{
    struct rr_engine *engine = ctx;
    struct rr_group *group = id_map_find(&engine->groups, sent->group);
    bool is_canceled = sent->status == RR_E_CANCELED;
    if (!is_canceled)
        engine_log(engine, sent->status == 0 ? ENGINE_LOG_INFO : ENGINE_LOG_WARN,
                   "group %llu: the snapshot of index %llu to node %llu: %s; %llu bytes",
                   (unsigned long long)sent->group, (unsigned long long)sent->index,
                   (unsigned long long)sent->to,
                   sent->status == 0 ? "it is there" : rr_err_sentence(sent->status),
                   (unsigned long long)sent->bytes);
    if (!group || group->error)
        return;
    if (sent->status == 0)
        await(group, sent);
    else if (sent->is_unreadable || sent->status == RR_E_CORRUPT)
        snapshot_suspect(group, sent->index);
    if (!is_canceled)
        tell_sent(group, sent);
    rr_raw_node_report_snapshot(group->node, sent->to, sent->status != 0);
    engine_touch(engine, group);
}

void snapshot_cancel_sends(struct rr_group *group)
{
    snapshot_streams_cancel_sends(group->engine->streams, group->options.group_id, RR_NONE);
}

void snapshot_cancel_transfers(struct rr_group *group)
{
    snapshot_streams_cancel(group->engine->streams, group->options.group_id);
}

/* ---- from others --------------------------------------------------------- */

int snapshot_arrives(struct rr_group *group, const struct rr_message *message,
                     const struct snapshot_offer *offer)
{
    struct log_snapshot brought = {.kind = offer ? LOG_SNAPSHOT_FILE : LOG_SNAPSHOT_INLINE,
                                   .snapshot = *message->snapshot,
                                   .group_data = message->context,
                                   .group_data_size = message->context_size};
    if (offer) {
        brought.file.file_bytes = offer->size;
        brought.file.head_crc = offer->header_crc;
        int rc = snapshot_files_note(group, message->snapshot->metadata.index);
        if (rc != 0)
            return rc;
    }
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

/* Not a file of a name that is about to go. */
static bool may_receive(const struct rr_group *group, uint64_t index)
{
    const struct snapshot_files *files = &group->snapshots.files;
    return files->removals == 0 && !snapshot_files_know(files, index);
}

/* Who is as far as that already says so, and needs no file for it: the core looks at nothing else
 * of such a message. */
static int on_offer(void *ctx, uint64_t from, const struct snapshot_offer *offer)
{
    struct rr_engine *engine = ctx;
    struct rr_group *group = id_map_find(&engine->groups, offer->group);
    if (!group || group->error || group_is_ending(group))
        return RR_E_NOT_FOUND;
    struct rr_basic_status core;
    rr_raw_node_basic_status(group->node, &core);
    if (offer->message->term < core.hard_state.term)
        return RR_E_SNAP_OUT_OF_DATE;
    if (offer->message->snapshot->metadata.index > core.hard_state.commit)
        return may_receive(group, offer->message->snapshot->metadata.index) ? 0 : RR_E_BUSY;
    int rc = loop_on_message(engine, from, offer->group, offer->message);
    return rc != 0 ? rc : RR_E_SNAP_OUT_OF_DATE;
}

static int on_received(void *ctx, uint64_t from, const struct snapshot_offer *offer)
{
    return loop_on_snapshot_file(ctx, from, offer);
}

static void on_lost(void *ctx, uint64_t from, const struct snapshot_offer *offer, int status)
{
    struct rr_engine *engine = ctx;
    struct rr_group *group = id_map_find(&engine->groups, offer->group);
    const struct rr_snapshot_metadata *metadata = &offer->message->snapshot->metadata;
    if (status == RR_E_CANCELED)
        return;
    engine_log(engine, ENGINE_LOG_WARN,
               "group %llu: the snapshot of index %llu from node %llu did not arrive: %s",
               (unsigned long long)offer->group, (unsigned long long)metadata->index,
               (unsigned long long)from, rr_err_sentence(status));
    if (!group)
        return;
    snapshot_tell(group, &(struct rr_event){.snapshot_step = RR_SNAPSHOT_RECEIVED,
                                            .node = from,
                                            .index = metadata->index,
                                            .term = metadata->term,
                                            .status = status,
                                            .bytes = offer->size});
}

/* ---- both ---------------------------------------------------------------- */

int snapshot_transfers_open(struct rr_engine *engine, struct rr_error *error)
{
    struct snapshot_stream_options options = {
        .io = engine->io,
        .transport = engine->transport,
        .send_bytes_per_second = engine->options.snapshot_send_bytes_per_second,
        .sends_max = engine->options.snapshot_sends_max,
        .receives_max = RECEIVES_MAX,
        .ctx = engine,
        .on_offer = on_offer,
        .on_received = on_received,
        .on_lost = on_lost,
        .on_sent = on_sent,
    };
    engine->parts = (struct snapshot_parts){.io = engine->io, .dir = engine->dir};
    snapshot_parts_serve(&engine->parts, &options);
    return snapshot_streams_open(&options, &engine->streams, error);
}
