/* SPDX-License-Identifier: Apache-2.0
 *
 * Where io_uring is refused, as by a container's seccomp filter, a node says so and runs on the
 * posix backend: same directory, same cluster, same promises.
 */
#include "tests/faults/fault_node.h"
#include "tests/faults/refuse_uring.h"
#include "tests/unit/check.h"

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT 200u

static char notice[512];

static void note_line(void *ctx, int level, const char *line)
{
    (void)ctx;
    (void)level;
    if (strstr(line, "io_uring"))
        snprintf(notice, sizeof(notice), "%s", line);
}

static void check_backend(const struct harness *harness, const char *name)
{
    for (uint32_t i = 0; i < harness->node_count; i++)
        CHECK(strcmp(harness_status(&harness->nodes[i]).backend, name) == 0);
}

/* In a child, because a filter stays. Exits 0, or 77 without seccomp. */
static void run_refused(struct harness *harness, int err)
{
    struct rr_error error = {0};
    if (!refuse_uring(err))
        SKIP("this kernel takes no seccomp filter");
    harness->engine_options.backend = RR_BACKEND_URING;
    CHECK(harness_try_open(harness, 0, &error) == RR_E_NOT_SUPPORTED);
    fault_check_sentence(&error, RR_E_NOT_SUPPORTED, (const char *[]){"io_uring", NULL});
    harness->engine_options.backend = RR_BACKEND_AUTO;
    harness->engine_options.log = note_line;
    fault_open_all(harness);
    CHECK(strstr(notice, "slower") != NULL);
    fault_propose_until_ok(harness, COUNT, 300);
    harness_check_equal(harness);
    check_backend(harness, "posix");
    fault_close_all(harness, RR_CLOSE_DRAIN);
    exit(0);
}

static void check_refused(int err)
{
    struct harness harness;
    int status;
    harness_init(&harness, 3);
    fflush(NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0)
        run_refused(&harness, err);
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) {
        harness_fini(&harness);
        SKIP("no seccomp");
    }
    CHECK(WEXITSTATUS(status) == 0);
    fault_open_all(&harness); /* on io_uring, if this machine has it: the files are the same */
    harness_leader(&harness);
    harness_check_equal(&harness);
    CHECK_EQ_U64(harness.nodes[0].chain.count, COUNT);
    fault_propose_until_ok(&harness, COUNT, 300);
    harness_fini(&harness);
}

static void test_without_permission_for_io_uring_nodes_commit(void)
{
    check_refused(EPERM);
}

static void test_without_io_uring_in_the_kernel_nodes_commit(void)
{
    check_refused(ENOSYS);
}

int main(void)
{
    RUN(test_without_permission_for_io_uring_nodes_commit);
    RUN(test_without_io_uring_in_the_kernel_nodes_commit);
    return 0;
}
