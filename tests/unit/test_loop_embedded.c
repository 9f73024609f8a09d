/* SPDX-License-Identifier: Apache-2.0
 *
 * Three engines inside one epoll loop of the application. The backend is the argument.
 */
#include "tests/unit/check.h"
#include "tests/unit/engine_harness.h"

#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define WAIT_MS_MAX 30000u

static enum rr_backend backend;

struct host {
    struct harness harness;
    int epoll_fd;
    uint64_t turns;
};

static uint64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void add_node(struct host *host, uint32_t i)
{
    harness_open(&host->harness, i);
    int fd = rr_loop_fd(host->harness.nodes[i].engine);
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
    CHECK(fd >= 0 && epoll_ctl(host->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0);
}

static void close_node(struct host *host, uint32_t i, enum rr_close_mode mode)
{
    int fd = rr_loop_fd(host->harness.nodes[i].engine);
    CHECK(epoll_ctl(host->epoll_fd, EPOLL_CTL_DEL, fd, NULL) == 0);
    harness_close(&host->harness, i, mode);
}

static void begin(struct host *host, uint32_t node_count)
{
    host->epoll_fd = epoll_create1(0);
    host->turns = 0;
    harness_init(&host->harness, node_count);
    host->harness.engine_options.embedded = true;
    host->harness.engine_options.backend = backend;
    for (uint32_t i = 0; i < node_count; i++)
        add_node(host, i);
}

static void end(struct host *host)
{
    harness_fini(&host->harness);
    close(host->epoll_fd);
}

/* What an application does: waits for all its fds, and turns whose is ready. */
static void pump(struct host *host, uint32_t wait_ms)
{
    struct epoll_event events[8];
    int count = epoll_wait(host->epoll_fd, events, 8, (int)wait_ms);
    for (int k = 0; k < count; k++) {
        host->turns++;
        CHECK(rr_loop_turn(host->harness.nodes[events[k].data.u32].engine, 0) == 0);
    }
}

static struct harness_node *wait_for_leader(struct host *host)
{
    for (uint64_t end_ms = now_ms() + WAIT_MS_MAX; now_ms() < end_ms; pump(host, 100))
        for (uint32_t i = 0; i < host->harness.node_count; i++)
            if (host->harness.nodes[i].group &&
                harness_status(&host->harness.nodes[i]).role == RR_STATE_LEADER)
                return &host->harness.nodes[i];
    CHECK(false && "a leader in time");
    return NULL;
}

static void wait_for_outcomes(struct host *host, struct harness_node *node, uint64_t count)
{
    for (uint64_t end_ms = now_ms() + WAIT_MS_MAX; node->ok + node->failed < count;) {
        CHECK(now_ms() < end_ms);
        pump(host, 100);
    }
}

static void test_embedded_engines_share_the_callers_loop(void)
{
    struct host host;
    begin(&host, 3);
    struct harness_node *leader = wait_for_leader(&host);
    for (uint32_t round = 0; round < 20; round++) {
        harness_propose(leader, 50, 100);
        wait_for_outcomes(&host, leader, 50 * (round + 1));
    }
    CHECK_EQ_U64(leader->ok, 1000);
    /* Another leader, when this one goes. */
    uint32_t gone = (uint32_t)(leader - host.harness.nodes);
    close_node(&host, gone, RR_CLOSE_DRAIN);
    leader = wait_for_leader(&host);
    uint64_t before = leader->ok + leader->failed;
    harness_propose(leader, 100, 100);
    wait_for_outcomes(&host, leader, before + 100);
    add_node(&host, gone);
    for (uint64_t end_ms = now_ms() + WAIT_MS_MAX;
         host.harness.nodes[gone].chain.count != leader->chain.count;) {
        CHECK(now_ms() < end_ms);
        pump(&host, 100);
    }
    CHECK_EQ_U64(host.harness.nodes[gone].chain.hash, leader->chain.hash);
    end(&host);
}

static void test_embedded_idle_loop_is_turned_by_its_ticks_alone(void)
{
    struct host host;
    begin(&host, 1);
    wait_for_leader(&host);
    for (uint64_t end_ms = now_ms() + 300; now_ms() < end_ms;)
        pump(&host, 100);
    host.turns = 0;
    for (uint64_t end_ms = now_ms() + 1000; now_ms() < end_ms;)
        pump(&host, 100);
    CHECK(host.turns >= 25 && host.turns <= 120); /* fifty ticks a second, and not much else */
    end(&host);
}

static void *propose_one(void *arg)
{
    harness_sleep_ms(20); /* the loop sleeps by then */
    harness_propose(arg, 1, 100);
    return NULL;
}

static void test_embedded_proposal_of_another_thread_makes_the_fd_readable(void)
{
    struct host host = {.epoll_fd = epoll_create1(0)};
    harness_init(&host.harness, 1);
    host.harness.engine_options.embedded = true;
    host.harness.engine_options.backend = backend;
    host.harness.group_options.tick_ms = 500; /* waking by ticks alone would take five seconds */
    host.harness.group_options.heartbeat_ticks = 1;
    host.harness.group_options.election_ticks = 2;
    add_node(&host, 0);
    struct harness_node *node = wait_for_leader(&host);
    uint64_t began_ms = now_ms();
    for (uint32_t round = 1; round <= 10; round++) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, propose_one, node) == 0);
        wait_for_outcomes(&host, node, round);
        CHECK(pthread_join(thread, NULL) == 0);
    }
    CHECK(now_ms() - began_ms < 2500);
    end(&host);
}

struct foreigner {
    struct rr_engine *engine;
    struct rr_group *group;
    int turned, closed, group_closed;
};

static void *try_all(void *arg)
{
    struct foreigner *foreigner = arg;
    foreigner->turned = rr_loop_turn(foreigner->engine, 0);
    foreigner->group_closed = rr_group_close(foreigner->group, RR_CLOSE_ABORT);
    foreigner->closed = rr_engine_close(foreigner->engine, RR_CLOSE_ABORT);
    return NULL;
}

static void test_embedded_loop_belongs_to_one_thread(void)
{
    struct host host;
    pthread_t thread;
    begin(&host, 1);
    struct harness_node *node = wait_for_leader(&host);
    struct foreigner foreigner = {.engine = node->engine, .group = node->group};
    CHECK(pthread_create(&thread, NULL, try_all, &foreigner) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(foreigner.turned == RR_E_WRONG_THREAD);
    CHECK(foreigner.group_closed == RR_E_WRONG_THREAD);
    CHECK(foreigner.closed == RR_E_WRONG_THREAD);
    harness_propose(node, 10, 10);
    CHECK(rr_group_close(node->group, RR_CLOSE_DRAIN) == 0); /* turns until that is done */
    CHECK_EQ_U64(node->ok, 10);
    CHECK(rr_propose(node->group, "late", 4, 11) == RR_E_CLOSED);
    end(&host);
}

static void test_embedded_calls_on_a_loop_with_a_thread_are_refused(void)
{
    struct harness harness;
    harness_init(&harness, 1);
    harness_open(&harness, 0);
    CHECK(rr_loop_fd(harness.nodes[0].engine) == RR_E_INVALID);
    CHECK(rr_loop_turn(harness.nodes[0].engine, 0) == RR_E_INVALID);
    harness_fini(&harness);
    /* And one that was never turned closes all the same. */
    harness_init(&harness, 1);
    harness.engine_options.embedded = true;
    harness.engine_options.backend = backend;
    harness_open(&harness, 0);
    harness_fini(&harness);
}

int main(int argc, char **argv)
{
    backend = harness_backend_argument(argc, argv);
    RUN(test_embedded_engines_share_the_callers_loop);
    RUN(test_embedded_idle_loop_is_turned_by_its_ticks_alone);
    RUN(test_embedded_proposal_of_another_thread_makes_the_fd_readable);
    RUN(test_embedded_loop_belongs_to_one_thread);
    RUN(test_embedded_calls_on_a_loop_with_a_thread_are_refused);
    return 0;
}
