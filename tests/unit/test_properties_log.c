/* SPDX-License-Identifier: Apache-2.0
 *
 * The log over its storage, and the window of messages, against models that are as simple as can
 * be: an array of entries and a list.
 */
#include "raft/inflights.h"
#include "raft/raft_log.h"

#include "tests/unit/check.h"
#include "tests/unit/property.h"
#include "tests/unit/raft_heap.h"

static struct raft_heap heap;

/* ---- the window ---------------------------------------------------------- */

#define SENT_MAX 64u

struct window_model {
    struct inflight sent[SENT_MAX];
    uint32_t count;
};

static uint64_t bytes_in(const struct window_model *m)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < m->count; i++)
        bytes += m->sent[i].bytes;
    return bytes;
}

static void free_in_model(struct window_model *m, uint64_t to)
{
    uint32_t gone = 0;
    while (gone < m->count && m->sent[gone].index <= to)
        gone++;
    m->count -= gone;
    memmove(m->sent, m->sent + gone, m->count * sizeof(m->sent[0]));
}

static bool window_is_a_bounded_list(struct draws *d)
{
    const struct rr_allocator allocator = raft_heap_allocator(&heap);
    struct inflights in = {.max_count = 1 + (uint32_t)draw(d, 40), .max_bytes = draw(d, 30)};
    struct window_model m = {.count = 0};
    uint64_t last = 0;
    bool holds = true;
    property_say(d, "max_count=%u max_bytes=%u", in.max_count, (unsigned)in.max_bytes);
    for (uint64_t turn = draw(d, 60); holds && turn > 0; turn--) {
        uint64_t what = draw(d, 8);
        if (what == 7) {
            property_say(d, " reset");
            inflights_reset(&in);
            m.count = 0;
        } else if (what >= 5) {
            uint64_t to = last - draw(d, last + 1);
            property_say(d, " free<=%u", (unsigned)to);
            inflights_free_le(&in, to);
            free_in_model(&m, to);
        } else if (!inflights_is_full(&in)) {
            last += 1 + draw(d, 3);
            m.sent[m.count] = (struct inflight){.index = last, .bytes = draw(d, 12)};
            property_say(d, " add(%u, %u)", (unsigned)last, (unsigned)m.sent[m.count].bytes);
            inflights_add(&in, &allocator, last, m.sent[m.count].bytes);
            m.count++;
        }
        bool is_full =
            m.count == in.max_count || (in.max_bytes != 0 && bytes_in(&m) >= in.max_bytes);
        holds =
            in.count == m.count && in.bytes == bytes_in(&m) && inflights_is_full(&in) == is_full;
    }
    inflights_fini(&in, &allocator);
    return holds && heap.outstanding == 0;
}

/* ---- the log ------------------------------------------------------------- */

#define LOG_MAX  128u
#define DATA_MAX 200u

/* What the log should be: all entries since the beginning, whatever was compacted. */
struct log_model {
    struct rr_entry entries[LOG_MAX]; /* [i] has index i; [0] is no entry */
    uint64_t last;
    uint64_t committed;
    uint64_t applied;
    uint64_t compacted;
};

struct log_case {
    struct raft_log log;
    struct outbox outbox;
    struct rr_memory_storage *storage;
    struct log_model model;
};

static const struct event_sink silent = {.level = UINT8_MAX};
static const uint8_t data[DATA_MAX];

static void open_log(struct log_case *c)
{
    struct rr_config config = {.allocator = raft_heap_allocator(&heap)};
    memset(c, 0, sizeof(*c));
    c->storage = rr_memory_storage_new(&config.allocator);
    outbox_init(&c->outbox, &config);
    struct raft_log_options options = {.storage = rr_memory_storage_interface(c->storage),
                                       .outbox = &c->outbox,
                                       .events = &silent,
                                       .max_applying_ents_size = UINT64_MAX};
    raft_log_init(&c->log, &options);
}

static void close_log(struct log_case *c)
{
    raft_log_fini(&c->log);
    outbox_fini(&c->outbox);
    rr_memory_storage_free(c->storage);
}

static uint64_t varint_length(uint64_t number)
{
    uint64_t length = 1;
    for (; number >= 128; number >>= 7)
        length++;
    return length;
}

static uint64_t encoded_size(const struct rr_entry *e)
{
    return (e->has & RR_ENTRY_HAS_TYPE ? 2u : 0u) + 1 + varint_length(e->term) + 1 +
           varint_length(e->index) +
           (e->has & RR_ENTRY_HAS_DATA ? 1 + varint_length(e->size) + e->size : 0);
}

static struct rr_entry draw_entry(struct draws *d, uint64_t index, uint64_t term)
{
    uint64_t kind = draw(d, 8);
    struct rr_entry e = {
        .index = index, .term = term, .has = RR_ENTRY_HAS_TERM | RR_ENTRY_HAS_INDEX};
    if (kind == 1)
        e.has |= RR_ENTRY_HAS_TYPE;
    if (kind > 1) {
        e.has |= RR_ENTRY_HAS_DATA;
        e.data = data;
        e.size = (uint32_t)draw(d, DATA_MAX);
    }
    return e;
}

/* A MsgApp of a leader whose log agrees with ours up to somewhere behind what is committed. */
static void append_some(struct draws *d, struct log_case *c)
{
    struct log_model *m = &c->model;
    uint64_t previous = m->last - draw(d, m->last - m->committed + 1);
    uint64_t count = draw(d, 6);
    uint64_t term = m->entries[m->last].term + draw(d, 2) + (m->last == 0 || previous < m->last);
    struct rr_entry entries[6];
    uint64_t last_new = 0;
    if (previous + count >= LOG_MAX || count == 0)
        return;
    for (uint64_t i = 0; i < count; i++) {
        entries[i] = draw_entry(d, previous + 1 + i, term);
        m->entries[previous + 1 + i] = entries[i];
    }
    m->last = previous + count;
    property_say(d, "\n  append %u..%u of term %u", (unsigned)previous + 1, (unsigned)m->last,
                 (unsigned)term);
    const struct rr_message message = {.index = previous,
                                       .log_term = m->entries[previous].term,
                                       .entries = entries,
                                       .entry_count = (uint32_t)count};
    CHECK(raft_log_maybe_append(&c->log, &message, &last_new) && last_new == m->last);
}

/* A Ready and its end: the tail up to somewhere is stored, and known to be. */
static void store_some(struct draws *d, struct log_case *c)
{
    struct unstable *u = &c->log.unstable;
    if (u->count == 0)
        return;
    uint64_t to = unstable_end(u) - 1 - draw(d, u->count);
    unstable_drop_kept(u);
    unstable_accept_in_progress(u);
    outbox_close(&c->outbox);
    property_say(d, "\n  store up to %u", (unsigned)to);
    CHECK(rr_memory_storage_append(c->storage, &c->model.entries[u->offset],
                                   (uint32_t)(to + 1 - u->offset)) == 0);
    unstable_stable_to(u, c->model.entries[to].term, to);
}

static void move_cursors(struct draws *d, struct log_case *c)
{
    struct log_model *m = &c->model;
    m->committed += draw(d, m->last - m->committed + 1);
    raft_log_commit_to(&c->log, m->committed);
    m->applied += draw(d, m->committed - m->applied + 1);
    raft_log_applied_to(&c->log, m->applied, 0);
    property_say(d, "\n  commit %u, apply %u", (unsigned)m->committed, (unsigned)m->applied);
}

static void compact_some(struct draws *d, struct log_case *c)
{
    struct log_model *m = &c->model;
    uint64_t stored = c->log.unstable.offset - 1;
    uint64_t most = rr_min_u64(m->applied, stored);
    if (most <= m->compacted)
        return;
    m->compacted = most - draw(d, most - m->compacted);
    property_say(d, "\n  compact to %u", (unsigned)m->compacted);
    CHECK(rr_memory_storage_compact(c->storage, m->compacted) == 0);
}

static bool terms_are_right(struct log_case *c)
{
    const struct log_model *m = &c->model;
    uint64_t term;
    for (uint64_t i = 0; i <= m->last; i++) {
        int err = raft_log_term(&c->log, i, &term);
        if (i < m->compacted ? err != RR_E_COMPACTED : err != 0 || term != m->entries[i].term)
            return false;
    }
    return raft_log_term(&c->log, m->last + 1, &term) == RR_E_UNAVAILABLE &&
           raft_log_last_index(&c->log) == m->last &&
           raft_log_first_index(&c->log) == m->compacted + 1;
}

static bool is_run(const struct rr_entry *entries, uint32_t count, const struct log_model *m,
                   uint64_t *index)
{
    for (uint32_t i = 0; i < count; i++, ++*index) {
        const struct rr_entry *expected = &m->entries[*index];
        if (entries[i].index != *index || entries[i].term != expected->term ||
            entries[i].size != expected->size || entries[i].has != expected->has)
            return false;
    }
    return true;
}

/* A slice is the longest run that fits, but at least one entry. */
static bool slice_is_right(struct draws *d, struct log_case *c)
{
    const struct log_model *m = &c->model;
    if (m->last == 0)
        return true;
    uint64_t lo = 1 + draw(d, m->last);
    uint64_t hi = lo + 1 + draw(d, m->last + 1 - lo);
    uint64_t limit = draw(d, 2 * DATA_MAX);
    struct entry_pieces pieces;
    property_say(d, "\n  slice [%u, %u) of at most %u bytes", (unsigned)lo, (unsigned)hi,
                 (unsigned)limit);
    int err = raft_log_slice(&c->log, lo, hi, limit, &pieces);
    if (lo <= m->compacted)
        return err == RR_E_COMPACTED;
    uint64_t end = lo;
    uint64_t size = 0;
    while (end < hi && (size += encoded_size(&m->entries[end]), end == lo || size <= limit))
        end++;
    uint64_t index = lo;
    bool same = err == 0;
    for (int i = 0; same && i < PIECES_MAX; i++)
        same = is_run(pieces.piece[i].entries, pieces.piece[i].count, m, &index);
    property_say(d, ": to %u, expected to %u", (unsigned)index, (unsigned)end);
    return same && index == end && pieces.count == end - lo;
}

/* The last place at or before `index` where another log with this term can match. */
static bool conflict_is_right(struct draws *d, struct log_case *c)
{
    const struct log_model *m = &c->model;
    uint64_t index = draw(d, m->last + 2);
    uint64_t term = draw(d, m->entries[m->last].term + 2);
    struct entry_id expected = {.index = index};
    while (expected.index > 0 && expected.index >= m->compacted && expected.index <= m->last &&
           m->entries[expected.index].term > term)
        expected.index--;
    if (expected.index >= m->compacted && expected.index <= m->last)
        expected.term = m->entries[expected.index].term;
    struct entry_id found = raft_log_find_conflict_by_term(&c->log, index, term);
    property_say(d, "\n  conflict of %u/%u: %u/%u, expected %u/%u", (unsigned)term, (unsigned)index,
                 (unsigned)found.term, (unsigned)found.index, (unsigned)expected.term,
                 (unsigned)expected.index);
    return found.index == expected.index && found.term == expected.term;
}

static bool log_is_an_array_of_entries(struct draws *d)
{
    struct log_case c;
    open_log(&c);
    bool holds = true;
    for (uint64_t turn = draw(d, 40); holds && turn > 0; turn--) {
        switch (draw(d, 6)) {
        case 0:
        case 1:
            append_some(d, &c);
            break;
        case 2:
            store_some(d, &c);
            break;
        case 3:
            move_cursors(d, &c);
            break;
        case 4:
            compact_some(d, &c);
            break;
        default:
            holds = slice_is_right(d, &c) && conflict_is_right(d, &c);
        }
        raft_log_check(&c.log);
        holds = holds && terms_are_right(&c);
    }
    close_log(&c);
    return holds && heap.outstanding == 0;
}

int main(void)
{
    HOLDS(window_is_a_bounded_list, 20000);
    HOLDS(log_is_an_array_of_entries, 20000);
    return 0;
}
