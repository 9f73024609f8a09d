/* SPDX-License-Identifier: Apache-2.0
 *
 * Terms and conf changes of a log against a plain array of both.
 */
#include "engine/log_index.h"

#include "proto/base.h"
#include "tests/unit/check.h"

#define ENTRIES_MAX 5000u

struct model {
    uint64_t first, last; /* live entries */
    uint64_t terms[ENTRIES_MAX];
    bool is_conf_change[ENTRIES_MAX];
    struct log_index index;
    uint64_t random;
};

static uint64_t below(struct model *model, uint64_t bound)
{
    model->random = model->random * 6364136223846793005u + 1442695040888963407u;
    return (model->random >> 33) % bound;
}

static void check(const struct model *model)
{
    log_index_check(&model->index);
    for (uint64_t i = model->first; i <= model->last; i++) {
        CHECK_EQ_U64(log_index_term(&model->index, i), model->terms[i]);
        CHECK(log_index_has_conf_change(&model->index, i, i + 1) == model->is_conf_change[i]);
    }
}

static void append(struct model *model)
{
    struct rr_entry entry = {.index = ++model->last};
    uint64_t term = model->index.last_term ? model->index.last_term : 1;
    entry.term = term + (below(model, 30) == 0 ? 1 + below(model, 3) : 0);
    entry.type = below(model, 40) == 0 ? RR_ENTRY_CONF_CHANGE_V2 : RR_ENTRY_NORMAL;
    model->terms[entry.index] = entry.term;
    model->is_conf_change[entry.index] = entry.type != RR_ENTRY_NORMAL;
    if (log_index_is_news(&model->index, &entry))
        CHECK(log_index_note(&model->index, &entry) == 0);
}

static void test_log_index_says_what_an_array_says(void)
{
    static struct model model;
    model = (struct model){.first = 1, .random = 7};
    while (model.last < ENTRIES_MAX - 10) {
        append(&model);
        if (below(&model, 50) == 0 && model.last >= model.first) {
            model.last -= below(&model, rr_min_u64(40, model.last + 1 - model.first) + 1);
            log_index_truncate(&model.index, model.last + 1);
        } else if (below(&model, 60) == 0) {
            model.first += below(&model, model.last + 2 - model.first);
            log_index_compact(&model.index, model.first);
        }
        if (below(&model, 20) == 0)
            check(&model);
    }
    check(&model);
    CHECK(model.index.term_count < 200); /* what is dead is not kept */
    log_index_fini(&model.index);
}

int main(void)
{
    RUN(test_log_index_says_what_an_array_says);
    return 0;
}
