/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands of cluster scenarios that only look.
 */
#include "tests/conformance/cluster.h"

static const struct command_shape one_node = {.least = 1, .most = 1};

/* ---- the stored log ------------------------------------------------------ */

/* Through the door: a fault on entries shows. */
enum outcome look_at_raft_log(struct cluster *cluster, struct command *cmd, struct member *member)
{
    struct rr_text *out = cluster_out(cluster);
    uint64_t first = 0;
    uint64_t last = 0;
    member->stored.ops->first_index(member->stored.ctx, &first);
    member->stored.ops->last_index(member->stored.ctx, &last);
    if (last < first) {
        rr_text_field(out, "log is empty: first index=", first);
        rr_text_field(out, ", last index=", last);
        return OUTCOME_OK;
    }
    const struct rr_storage *door = &member->config.storage;
    struct rr_entry_spans spans;
    int err = door->ops->entries(door->ctx, first, last + 1, UINT64_MAX, &spans);
    if (err < 0)
        return cluster_result(cmd, err);
    RR_ASSERT(spans.first_count + spans.second_count == last + 1 - first);
    rr_describe_entries(out, spans.first, spans.first_count);
    rr_describe_entries(out, spans.second, spans.second_count);
    return OUTCOME_OK;
}

enum outcome run_raft_log(struct cluster *cluster, struct command *cmd)
{
    struct member *member = cluster_parse(cluster, cmd, &one_node);
    return member ? look_at_raft_log(cluster, cmd, member) : OUTCOME_BAD;
}

/* ---- status and roles ---------------------------------------------------- */

enum outcome run_status(struct cluster *cluster, struct command *cmd)
{
    struct member *member = cluster_parse(cluster, cmd, &one_node);
    if (!member)
        return OUTCOME_BAD;
    const struct raft *raft = &member->node->raft;
    if (raft->state == RR_STATE_LEADER)
        rr_describe_progress_map(cluster_out(cluster), &raft->tracker);
    return OUTCOME_OK;
}

enum outcome run_raft_state(struct cluster *cluster, struct command *cmd)
{
    enum outcome outcome = command_parse(cmd, &(struct command_shape){0});
    struct rr_text *out = cluster_out(cluster);
    for (size_t i = 0; outcome == OUTCOME_OK && i < cluster->count; i++) {
        const struct member *member = cluster->members[i];
        struct rr_basic_status status;
        rr_raw_node_basic_status(member->node, &status);
        bool is_voter = tracker_is_voter(&member->node->raft.tracker, member->id);
        rr_text_decimal(out, member->id);
        rr_text_string(out, ": ");
        rr_text_string(out, rr_describe_state(status.soft_state.raft_state));
        rr_text_string(out, is_voter ? " (Voter)" : " (Non-Voter)");
        rr_text_field(out, " Term:", status.hard_state.term);
        rr_text_field(out, " Lead:", status.soft_state.lead);
        rr_text_char(out, '\n');
    }
    return outcome;
}

/* ---- describe ------------------------------------------------------------ */

static void describe_core(struct rr_text *out, const struct member *member)
{
    struct rr_basic_status status;
    rr_raw_node_basic_status(member->node, &status);
    rr_text_decimal(out, member->id);
    rr_text_string(out, ": ");
    rr_text_string(out, rr_describe_state(status.soft_state.raft_state));
    rr_text_field(out, " term=", status.hard_state.term);
    rr_text_field(out, " vote=", status.hard_state.vote);
    rr_text_field(out, " commit=", status.hard_state.commit);
    rr_text_field(out, " applied=", status.applied);
    rr_text_field(out, " lead=", status.soft_state.lead);
    rr_text_field(out, " transferee=", status.lead_transferee);
    struct tracker_config config = member->node->raft.tracker.config;
    config.auto_leave = false; /* as in the reference's status, which forgets it */
    rr_text_string(out, "\nconfig: ");
    rr_describe_config(out, &config);
    rr_text_char(out, '\n');
}

/* Runs of equal terms from first - 1 to last. */
static void describe_terms(struct rr_text *out, const struct member *member, uint64_t first,
                           uint64_t last)
{
    const struct rr_storage *stored = &member->stored;
    for (uint64_t begin = first - 1; begin <= last;) {
        uint64_t term = 0;
        uint64_t next_term = 0;
        uint64_t end = begin;
        stored->ops->term(stored->ctx, begin, &term);
        while (end < last && stored->ops->term(stored->ctx, end + 1, &next_term) == 0 &&
               next_term == term)
            end++;
        if (begin > first - 1)
            rr_text_char(out, ' ');
        rr_text_decimal(out, begin);
        rr_text_field(out, "-", end);
        rr_text_field(out, ":", term);
        begin = end + 1;
    }
}

static void describe_disk(struct rr_text *out, const struct member *member)
{
    const struct rr_storage *stored = &member->stored;
    struct rr_hard_state state;
    struct rr_conf_state ignored;
    uint64_t first = 0;
    uint64_t last = 0;
    stored->ops->initial_state(stored->ctx, &state, &ignored);
    stored->ops->first_index(stored->ctx, &first);
    stored->ops->last_index(stored->ctx, &last);
    rr_text_field(out, "disk: term=", state.term);
    rr_text_field(out, " vote=", state.vote);
    rr_text_field(out, " commit=", state.commit);
    rr_text_field(out, " first=", first);
    rr_text_field(out, " last=", last);
    rr_text_string(out, " terms=[");
    describe_terms(out, member, first, last);
    rr_text_string(out, "]\n");
}

/* CRC-32 (IEEE 802.3), bit by bit. */
static uint32_t crc32(const uint8_t *bytes, size_t size)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

static void describe_machine(struct rr_text *out, const struct member *member)
{
    static const char digits[] = "0123456789abcdef";
    const struct rr_snapshot *state = member_state(member);
    uint32_t crc = crc32(state->data, state->size);
    rr_text_field(out, "machine: states=", member->history_count);
    rr_text_field(out, " ", state->metadata.term);
    rr_text_field(out, "/", state->metadata.index);
    rr_text_field(out, " bytes=", state->size);
    rr_text_string(out, " crc=");
    for (int shift = 28; shift >= 0; shift -= 4)
        rr_text_char(out, digits[(crc >> shift) & 0xf]);
    rr_text_char(out, ' ');
    rr_describe_conf_state(out, &state->metadata.conf_state);
    rr_text_char(out, '\n');
}

static void describe_queues(struct rr_text *out, const struct member *member)
{
    const struct mail *mail = &member->cluster->in_flight;
    uint64_t count = 0;
    for (size_t i = 0; i < mail->count; i++)
        count += mail->items[i]->to == member->id;
    rr_text_field(out, "queues: messages=", count);
    rr_text_field(out, " append=", member->append_work.count);
    rr_text_field(out, " apply=", member->apply_work.count);
    rr_text_char(out, '\n');
}

static void describe_peer(struct rr_text *out, const struct progress *peer)
{
    rr_text_field(out, "peer ", peer->id);
    rr_text_string(out, ": ");
    rr_text_string(out, rr_describe_progress_state(peer->state));
    rr_text_field(out, " match=", peer->match);
    rr_text_field(out, " next=", peer->next);
    rr_text_field(out, " snapshot=", peer->pending_snapshot);
    rr_text_field(out, " inflight=", peer->inflights.count);
    rr_text_field(out, "/", peer->inflights.bytes);
    rr_text_string(out, peer->is_learner ? " learner" : "");
    rr_text_string(out, peer->recent_active ? " active" : "");
    rr_text_string(out, peer->msg_app_flow_paused ? " flow-paused" : "");
    rr_text_string(out, progress_is_paused(peer) ? " paused" : "");
    rr_text_string(out, inflights_is_full(&peer->inflights) ? " full" : "");
    rr_text_char(out, '\n');
}

enum outcome run_describe(struct cluster *cluster, struct command *cmd)
{
    struct member *member = cluster_parse(cluster, cmd, &one_node);
    if (!member)
        return OUTCOME_BAD;
    struct rr_text *out = cluster_out(cluster);
    describe_core(out, member);
    describe_disk(out, member);
    describe_machine(out, member);
    describe_queues(out, member);
    const struct raft *raft = &member->node->raft;
    for (uint32_t i = 0; raft->state == RR_STATE_LEADER && i < raft->tracker.progress_count; i++)
        describe_peer(out, &raft->tracker.progress[i]);
    return OUTCOME_OK;
}
