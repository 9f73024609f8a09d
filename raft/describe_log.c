/* SPDX-License-Identifier: Apache-2.0
 *
 * Text forms of what the core says about itself: configurations, progress, the log's cursors, and
 * the lines of its log events, whose wording is the table of log_event.h.
 */
#include "raft/describe.h"

#include "raft/raft_log.h"
#include "raft/tracker.h"

static const char *const event_texts[RR_LOG_EVENT_COUNT] = {
#define X(name, level, text) text,
    RR_LOG_EVENTS(X)
#undef X
};

const char *rr_describe_log_level(uint8_t level)
{
    static const char *const names[] = {
        [RR_LOG_DEBUG] = "DEBUG",
        [RR_LOG_INFO] = "INFO",
        [RR_LOG_WARN] = "WARN",
        [RR_LOG_ERROR] = "ERROR",
    };
    return level < RR_ARRAY_SIZE(names) ? names[level] : "unknown";
}

/* ---- configurations ------------------------------------------------------ */

static void describe_set(struct rr_text *text, const char *label, const struct id_set *set)
{
    rr_text_string(text, label);
    rr_text_char(text, '(');
    for (uint32_t i = 0; i < set->count; i++) {
        if (i > 0)
            rr_text_char(text, ' ');
        rr_text_hex(text, set->ids[i]);
    }
    rr_text_char(text, ')');
}

void rr_describe_config(struct rr_text *text, const struct tracker_config *config)
{
    describe_set(text, "voters=", &config->incoming);
    if (config->outgoing.count > 0)
        describe_set(text, "&&", &config->outgoing);
    if (config->learners.count > 0)
        describe_set(text, " learners=", &config->learners);
    if (config->learners_next.count > 0)
        describe_set(text, " learners_next=", &config->learners_next);
    if (config->auto_leave)
        rr_text_string(text, " autoleave");
}

/* The ids of both halves, each once, ascending. */
static void describe_voters(struct rr_text *text, const struct tracker_config *config)
{
    const struct id_set *a = &config->incoming;
    const struct id_set *b = &config->outgoing;
    for (uint32_t i = 0, j = 0; i < a->count || j < b->count;) {
        bool from_a = j == b->count || (i < a->count && a->ids[i] <= b->ids[j]);
        uint64_t id = from_a ? a->ids[i] : b->ids[j];
        if (i + j > 0)
            rr_text_char(text, ',');
        rr_text_hex(text, id);
        i += i < a->count && a->ids[i] == id;
        j += j < b->count && b->ids[j] == id;
    }
}

/* ---- progress and log ---------------------------------------------------- */

const char *rr_describe_progress_state(uint8_t state)
{
    static const char *const names[] = {
        [RR_PROGRESS_PROBE] = "StateProbe",
        [RR_PROGRESS_REPLICATE] = "StateReplicate",
        [RR_PROGRESS_SNAPSHOT] = "StateSnapshot",
    };
    return state < RR_ARRAY_SIZE(names) ? names[state] : "unknown";
}

void rr_describe_progress(struct rr_text *text, const struct progress *progress)
{
    rr_text_string(text, rr_describe_progress_state(progress->state));
    rr_text_field(text, " match=", progress->match);
    rr_text_field(text, " next=", progress->next);
    if (progress->is_learner)
        rr_text_string(text, " learner");
    if (progress_is_paused(progress))
        rr_text_string(text, " paused");
    if (progress->pending_snapshot > 0)
        rr_text_field(text, " pendingSnap=", progress->pending_snapshot);
    if (!progress->recent_active)
        rr_text_string(text, " inactive");
    if (progress->inflights.count == 0)
        return;
    rr_text_field(text, " inflight=", progress->inflights.count);
    if (inflights_is_full(&progress->inflights))
        rr_text_string(text, "[full]");
}

void rr_describe_progress_map(struct rr_text *text, const struct tracker *tracker)
{
    for (uint32_t i = 0; i < tracker->progress_count; i++) {
        rr_text_decimal(text, tracker->progress[i].id);
        rr_text_string(text, ": ");
        rr_describe_progress(text, &tracker->progress[i]);
        rr_text_char(text, '\n');
    }
}

void rr_describe_raft_log(struct rr_text *text, const struct raft_log *log)
{
    rr_text_field(text, "committed=", log->committed);
    rr_text_field(text, ", applied=", log->applied);
    rr_text_field(text, ", applying=", log->applying);
    rr_text_field(text, ", unstable.offset=", log->unstable.offset);
    rr_text_field(text, ", unstable.offsetInProgress=", log->unstable.offset_in_progress);
    rr_text_field(text, ", len(unstable.Entries)=", log->unstable.count);
}

/* ---- changes, as log lines show them ------------------------------------- */

static const char *transition_name(uint8_t transition)
{
    static const char *const names[] = {
        [RR_CONF_CHANGE_TRANSITION_AUTO] = "ConfChangeTransitionAuto",
        [RR_CONF_CHANGE_TRANSITION_JOINT_IMPLICIT] = "ConfChangeTransitionJointImplicit",
        [RR_CONF_CHANGE_TRANSITION_JOINT_EXPLICIT] = "ConfChangeTransitionJointExplicit",
    };
    return transition < RR_ARRAY_SIZE(names) ? names[transition] : "unknown";
}

static const char *change_name(uint8_t type)
{
    static const char *const names[] = {
        [RR_CONF_CHANGE_ADD_NODE] = "ConfChangeAddNode",
        [RR_CONF_CHANGE_REMOVE_NODE] = "ConfChangeRemoveNode",
        [RR_CONF_CHANGE_UPDATE_NODE] = "ConfChangeUpdateNode",
        [RR_CONF_CHANGE_ADD_LEARNER_NODE] = "ConfChangeAddLearnerNode",
    };
    return type < RR_ARRAY_SIZE(names) ? names[type] : "unknown";
}

void rr_describe_conf_change_v2(struct rr_text *text, const struct rr_conf_change_v2 *change)
{
    rr_text_string(text, "transition:");
    rr_text_string(text, transition_name(change->transition));
    for (uint32_t i = 0; i < change->change_count; i++) {
        rr_text_string(text, " changes:{type:");
        rr_text_string(text, change_name(change->changes[i].type));
        rr_text_field(text, " node_id:", change->changes[i].node_id);
        rr_text_char(text, '}');
    }
    if (change->context_size > 0) {
        rr_text_string(text, " context:");
        rr_text_quoted(text, change->context, change->context_size);
    }
}

/* A ConfState as fields, one per id: `voters:1 voters:2 learners:3 auto_leave:false`. */
struct field_list {
    struct rr_text *text;
    bool is_started;
};

static void start_field(struct field_list *list, const char *label)
{
    if (list->is_started)
        rr_text_char(list->text, ' ');
    list->is_started = true;
    rr_text_string(list->text, label);
}

static void describe_id_fields(struct field_list *list, const char *label, const uint64_t *ids,
                               uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        start_field(list, label);
        rr_text_decimal(list->text, ids[i]);
    }
}

static void describe_conf_state_fields(struct rr_text *text, const struct rr_conf_state *state)
{
    struct field_list list = {.text = text};
    describe_id_fields(&list, "voters:", state->voters, state->voter_count);
    describe_id_fields(&list, "learners:", state->learners, state->learner_count);
    describe_id_fields(&list, "voters_outgoing:", state->voters_outgoing,
                       state->voter_outgoing_count);
    describe_id_fields(&list, "learners_next:", state->learners_next, state->learner_next_count);
    if (state->has_auto_leave) {
        start_field(&list, "auto_leave:");
        rr_text_bool(text, state->auto_leave);
    }
}

/* ---- log events ---------------------------------------------------------- */

static void describe_argument(struct rr_text *text, char kind, union rr_log_arg arg)
{
    switch (kind) {
    case 'x':
        rr_text_hex(text, arg.u64);
        return;
    case 'd':
        rr_text_decimal(text, arg.u64);
        return;
    case 't':
        rr_text_string(text, rr_describe_message_type((uint8_t)arg.u64));
        return;
    case 'r':
        rr_text_string(text, rr_describe_state((uint8_t)arg.u64));
        return;
    case 'e':
        rr_text_string(text, rr_err_sentence((int)(int64_t)arg.u64));
        return;
    case 'c':
        rr_describe_config(text, arg.pointer);
        return;
    case 'P':
        describe_voters(text, arg.pointer);
        return;
    case 'p':
        rr_describe_progress(text, arg.pointer);
        return;
    case 'l':
        rr_describe_raft_log(text, arg.pointer);
        return;
    case 'v':
        rr_describe_conf_change_v2(text, arg.pointer);
        return;
    default:
        RR_ASSERT(kind == 's'); /* log_event.h lists no other */
        describe_conf_state_fields(text, arg.pointer);
        return;
    }
}

void rr_describe_log_event(struct rr_text *text, const struct rr_log_event *event)
{
    RR_ASSERT(event->id < RR_LOG_EVENT_COUNT);
    size_t used = 0;
    for (const char *at = event_texts[event->id]; *at; at++) {
        if (*at != '%') {
            rr_text_char(text, *at);
            continue;
        }
        RR_ASSERT(used < RR_LOG_ARGS_MAX);
        describe_argument(text, *++at, event->args[used++]);
    }
}
