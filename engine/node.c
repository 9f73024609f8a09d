/* SPDX-License-Identifier: Apache-2.0
 *
 * Life, lock and ticks of the thread-safe node; what it is: node_state.h.
 *
 * The fd is an eventfd whose counter is kept at 1 or 0. The lock makes the level exact, so the
 * seam's os_wake, which spares kicks to a sleeper that announces its sleep, has nothing to add: who
 * polls an fd announces nothing. Failure path: only rr_node_new fails; later there are only broken
 * beliefs.
 */
#include "engine/node_state.h"

#include <sys/eventfd.h>
#include <unistd.h>

#define TICKS_MAX          128 /* kept while another call is inside; the reference's number */
#define PROPOSALS_MAX      1024
#define PROPOSAL_BYTES_MAX ((uint64_t)16 << 20)

/* ---- in and out ---------------------------------------------------------- */

static int judge_by_step(void *ctx, const struct node_proposal *proposal)
{
    return node_step_proposal(ctx, &proposal->entry);
}

static int judge_by_deadline(void *ctx, const struct node_proposal *proposal)
{
    const struct rr_node *node = ctx;
    return proposal->deadline <= node->tick_count ? RR_E_PROPOSAL_DROPPED : NODE_PROPOSAL_WAITS;
}

static int judge_stopped(void *ctx, const struct node_proposal *proposal)
{
    (void)ctx;
    (void)proposal;
    return RR_E_STOPPED;
}

static void deliver_ticks(struct rr_node *node)
{
    const struct raft *r = &node->raw->raft;
    uint32_t count = atomic_exchange(&node->ticks_kept, 0);
    for (uint32_t i = 0; i < count; i++) {
        rr_raw_node_tick(node->raw);
        node->tick_count++;
    }
    for (uint32_t lost = atomic_exchange(&node->ticks_lost, 0); lost > 0; lost--) {
        node->ticks_missed++;
        EVENT(&r->events, NODE_TICK_MISSED, r->id);
    }
}

static void see_leader(struct rr_node *node)
{
    const struct raft *r = &node->raw->raft;
    if (node->lead == r->lead)
        return;
    if (r->lead == RR_NONE)
        EVENT(&r->events, NODE_LOST_LEADER, r->id, node->lead, r->term);
    else if (node->lead == RR_NONE)
        EVENT(&r->events, NODE_ELECTED_LEADER, r->id, r->lead, r->term);
    else
        EVENT(&r->events, NODE_CHANGED_LEADER, r->id, node->lead, r->lead, r->term);
    node->lead = r->lead;
    node->is_removed = false;
}

static void set_fd(struct rr_node *node)
{
    bool wanted =
        node->is_stopped || node->proposals.outcome_count > 0 || node_can_take_ready(node);
    if (wanted == node->is_fd_readable)
        return;
    uint64_t count = 1;
    ssize_t done = wanted ? write(node->ready_fd, &count, sizeof(count))
                          : read(node->ready_fd, &count, sizeof(count));
    RR_ASSERT(done == (ssize_t)sizeof(count)); /* it never blocks: the counter is 1 or 0 */
    RR_ASSERT(count == 1);
    node->is_fd_readable = wanted;
}

void rr_node_lock(struct rr_node *node)
{
    int err = pthread_mutex_lock(&node->lock);
    RR_ASSERT(err == 0); /* EDEADLK: called from a callback or between lock and unlock */
}

void rr_node_unlock(struct rr_node *node)
{
    if (!node->is_stopped) {
        deliver_ticks(node);
        see_leader(node);
        if (node_takes_proposals(node))
            node_proposals_judge(&node->proposals, judge_by_step, node);
        node_proposals_judge(&node->proposals, judge_by_deadline, node);
    }
    set_fd(node);
    int err = pthread_mutex_unlock(&node->lock);
    RR_ASSERT(err == 0);
}

int node_enter(struct rr_node *node)
{
    rr_node_lock(node);
    if (!node->is_stopped)
        return 0;
    rr_node_unlock(node);
    return RR_E_STOPPED;
}

int node_leave(struct rr_node *node, int result)
{
    rr_node_unlock(node);
    return result;
}

/* ---- life ---------------------------------------------------------------- */

static const char *validate_options(const struct rr_node_options *options)
{
    if (options->size != sizeof(*options))
        return "unknown size of the options struct";
    if (!options->config)
        return "config cannot be nil";
    if (options->config->release)
        return "a node copies what it is given: release must be nil";
    return NULL;
}

static int open_raw(const struct rr_node_options *options, struct rr_raw_node **raw,
                    const char **reason)
{
    int err = rr_raw_node_new(options->config, raw, reason);
    if (err == 0 && options->peer_count > 0) {
        err = rr_raw_node_bootstrap(*raw, options->peers, options->peer_count, reason);
        if (err != 0)
            rr_raw_node_free(*raw);
    }
    return err;
}

static void init_lock(pthread_mutex_t *lock)
{
    pthread_mutexattr_t attributes;
    int err = pthread_mutexattr_init(&attributes);
    err |= pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
    err |= pthread_mutex_init(lock, &attributes);
    err |= pthread_mutexattr_destroy(&attributes);
    RR_ASSERT(err == 0);
}

int rr_node_new(const struct rr_node_options *options, struct rr_node **node, const char **reason)
{
    const char *refusal = validate_options(options);
    struct rr_raw_node *raw;
    int err = refusal ? RR_E_INVALID : open_raw(options, &raw, &refusal);
    int fd = -1;
    if (err == 0) {
        fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (fd < 0) {
            rr_raw_node_free(raw);
            refusal = "no file descriptor for the wake-up";
            err = RR_E_IO;
        }
    }
    if (reason)
        *reason = refusal;
    if (err != 0)
        return err;

    const struct rr_allocator *allocator = &raw->raft.allocator;
    struct rr_node *made = memory_alloc(allocator, sizeof(*made));
    *made = (struct rr_node){.raw = raw,
                             .allocator = *allocator,
                             .ready_fd = fd,
                             .is_async = raw->raft.async_storage_writes};
    node_proposals_init(&made->proposals, allocator,
                        options->proposals_max ? options->proposals_max : PROPOSALS_MAX,
                        options->proposal_bytes_max ? options->proposal_bytes_max
                                                    : PROPOSAL_BYTES_MAX);
    init_lock(&made->lock);
    set_fd(made);
    *node = made;
    return 0;
}

void rr_node_stop(struct rr_node *node)
{
    rr_node_lock(node);
    node->is_stopped = true;
    node_proposals_judge(&node->proposals, judge_stopped, NULL);
    rr_node_unlock(node);
}

void rr_node_free(struct rr_node *node)
{
    if (!node)
        return;
    struct rr_allocator allocator = node->allocator;
    node_proposals_fini(&node->proposals);
    rr_raw_node_free(node->raw);
    close(node->ready_fd);
    int err = pthread_mutex_destroy(&node->lock);
    RR_ASSERT(err == 0); /* EBUSY: another call is running */
    memory_free(&allocator, node, sizeof(*node));
}

/* ---- ticks --------------------------------------------------------------- */

/* A tick that is kept just after the other call looked for it is delivered by the next call, at
 * the latest by the next tick. */
void rr_node_tick(struct rr_node *node)
{
    uint32_t kept = atomic_load(&node->ticks_kept);
    do {
        if (kept == TICKS_MAX) {
            atomic_fetch_add(&node->ticks_lost, 1);
            break;
        }
    } while (!atomic_compare_exchange_weak(&node->ticks_kept, &kept, kept + 1));
    if (pthread_mutex_trylock(&node->lock) == 0)
        rr_node_unlock(node);
}
