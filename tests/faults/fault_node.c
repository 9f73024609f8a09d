/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/faults/fault_node.h"

#include "tests/unit/check.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAIT_MS_MAX 30000u

uint64_t chance_next(struct chance *chance)
{
    chance->state ^= chance->state << 13;
    chance->state ^= chance->state >> 7;
    chance->state ^= chance->state << 17;
    return chance->state * 0x2545f4914f6cdd1dull >> 16;
}

void fault_use_small_segments(struct harness *harness)
{
    harness->engine_options.segment_bytes = 64 << 10;
    harness->engine_options.wal_bytes_max = 16 << 20;
    harness->engine_options.entry_bytes_max = 32 << 10;
    harness->engine_options.mark_delay_ms = 60 * 1000;
    if (harness->node_count > 1)
        return;
    harness->group_options.tick_ms = 5; /* nobody else could be elected */
    harness->group_options.heartbeat_ticks = 1;
    harness->group_options.election_ticks = 3;
}

void fault_run_and_kill(struct harness *harness, void (*body)(struct harness *harness))
{
    fflush(NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        body(harness);
        kill(getpid(), SIGKILL);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

void fault_open_all(struct harness *harness)
{
    for (uint32_t i = 0; i < harness->node_count; i++)
        harness_open(harness, i);
}

void fault_close_all(struct harness *harness, enum rr_close_mode mode)
{
    for (uint32_t i = 0; i < harness->node_count; i++)
        if (harness->nodes[i].engine)
            harness_close(harness, i, mode);
}

void fault_propose_singly(struct harness_node *node, uint32_t count, uint32_t size)
{
    for (uint32_t i = 0; i < count; i++) {
        uint64_t before = node->ok + node->failed;
        harness_propose(node, 1, size);
        harness_wait_outcomes(node, before + 1);
    }
    CHECK(node->failed == 0);
}

void fault_propose_until_ok(struct harness *harness, uint32_t count, uint32_t size)
{
    uint64_t done = 0;
    while (done < count) {
        struct harness_node *leader = harness_leader(harness);
        uint64_t before = leader->ok + leader->failed, ok_before = leader->ok;
        uint32_t now = count - done < 100 ? count - (uint32_t)done : 100;
        harness_propose(leader, now, size);
        harness_wait_outcomes(leader, before + now);
        done += leader->ok - ok_before;
    }
}

void fault_check_sentence(const struct rr_error *error, int code, const char *const *words)
{
    bool is_one_line = error->message[0] != 0 && !strchr(error->message, '\n');
    const char *missing = NULL;
    for (; *words && !missing; words++)
        if (!strstr(error->message, *words))
            missing = *words;
    if (!is_one_line || missing || error->code != code)
        fprintf(stderr, "\"%s\" with code %d: wanted code %d and the words \"%s\"\n",
                error->message, error->code, code, missing ? missing : "");
    CHECK(is_one_line && !missing && error->code == code);
}

void fault_check_refused(struct harness *harness, uint32_t i, int code, const char *const *words)
{
    struct rr_error error = {0};
    int rc = harness_try_open(harness, i, &error);
    if (rc != code)
        fprintf(stderr, "node %u opened with %d instead of %d: %s\n", i + 1, rc, code,
                error.message);
    CHECK(rc == code);
    fault_check_sentence(&error, code, words);
}

int32_t fault_wait_refusal(const struct harness_node *viewer, uint64_t node, int32_t wanted)
{
    int32_t refusal = 0;
    for (uint32_t waited = 0; waited < WAIT_MS_MAX && refusal != wanted; waited++) {
        struct rr_group_status status = harness_status(viewer);
        for (uint32_t i = 0; i < status.peer_count; i++)
            if (status.peers[i].node == node)
                refusal = status.peers[i].refusal;
        harness_sleep_ms(1);
    }
    return refusal;
}
