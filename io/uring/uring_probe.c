/* SPDX-License-Identifier: Apache-2.0
 *
 * Sentences about a missing io_uring. Each says what was asked, what the kernel answered, why that
 * is likely, and what would help. Cold.
 */
#include "io/uring/uring_probe.h"

#include "proto/base.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

/* kernel.io_uring_disabled: 0 on, 1 for a group only, 2 off; 0 where the kernel does not know it.
 */
static int read_disabled_sysctl(void)
{
    int value = 0;
    FILE *file = fopen("/proc/sys/kernel/io_uring_disabled", "re");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%d", &value) != 1)
        value = 0;
    fclose(file);
    return value;
}

static int explain_refusal(struct rr_error *error)
{
    int disabled = read_disabled_sysctl();
    if (disabled == 2)
        return rr_fail(error, RR_E_NOT_SUPPORTED,
                       "io_uring is switched off on this system (EPERM): "
                       "sysctl kernel.io_uring_disabled is 2; set it to 0");
    if (disabled == 1)
        return rr_fail(error, RR_E_NOT_SUPPORTED,
                       "io_uring is reserved for a group on this system (EPERM): sysctl "
                       "kernel.io_uring_disabled is 1; set it to 0, or add this user to the group "
                       "in kernel.io_uring_group");
    return rr_fail(error, RR_E_NOT_SUPPORTED,
                   "io_uring_setup is not permitted (EPERM) although the system allows io_uring: "
                   "most likely a seccomp filter, as container runtimes install by default; allow "
                   "io_uring_setup, io_uring_enter and io_uring_register in it");
}

int uring_explain_setup(int err, struct rr_error *error)
{
    struct utsname system = {.release = "unknown"};
    uname(&system);
    switch (err) {
    case EPERM:
    case EACCES:
        return explain_refusal(error);
    case ENOSYS:
        return rr_fail(error, RR_E_NOT_SUPPORTED,
                       "this system has no io_uring (io_uring_setup: ENOSYS, kernel %s): Linux 6.1 "
                       "or newer with CONFIG_IO_URING is needed, or a seccomp filter hides it",
                       system.release);
    case EINVAL:
        return rr_fail(error, RR_E_NOT_SUPPORTED,
                       "the io_uring of kernel %s is too old: it refuses SINGLE_ISSUER with "
                       "DEFER_TASKRUN (EINVAL); Linux 6.1 or newer is needed",
                       system.release);
    case EMFILE:
    case ENFILE:
        return rr_fail(error, RR_E_IO,
                       "no file descriptor left for io_uring (%s): raise the limit of open files "
                       "(%s)",
                       err == EMFILE ? "EMFILE" : "ENFILE",
                       err == EMFILE ? "RLIMIT_NOFILE" : "sysctl fs.file-max");
    case ENOMEM:
        return rr_fail(error, RR_E_NO_MEMORY,
                       "no memory for the rings of io_uring (ENOMEM): raise the memory limit of "
                       "this process or its group");
    default:
        return rr_fail(error, RR_E_IO, "io_uring_setup failed: %s (errno %d)", strerror(err), err);
    }
}

int uring_check_features(unsigned features, struct rr_error *error)
{
    static const struct {
        unsigned bit;
        const char *name;
        const char *purpose;
    } wanted[] = {
        {IORING_FEAT_NODROP, "NODROP", "completions could be lost"},
        {IORING_FEAT_SUBMIT_STABLE, "SUBMIT_STABLE", "headers would have to outlive submission"},
        {IORING_FEAT_FAST_POLL, "FAST_POLL", "each waiting socket would take a kernel thread"},
        {IORING_FEAT_EXT_ARG, "EXT_ARG", "one call could not submit and wait with a time limit"},
        {IORING_FEAT_CQE_SKIP, "CQE_SKIP", "each send would cost a turn"},
    };
    for (size_t i = 0; i < RR_ARRAY_SIZE(wanted); i++) {
        if (!(features & wanted[i].bit))
            return rr_fail(error, RR_E_NOT_SUPPORTED,
                           "this kernel's io_uring lacks the feature %s, without which %s; Linux "
                           "6.1 or newer is needed",
                           wanted[i].name, wanted[i].purpose);
    }
    return 0;
}

int uring_check_opcodes(const struct io_uring_probe *probe, struct rr_error *error)
{
    static const struct {
        int opcode;
        const char *name;
    } wanted[] = {
        {IORING_OP_READ, "READ"},         {IORING_OP_READV, "READV"},
        {IORING_OP_WRITE, "WRITE"},       {IORING_OP_WRITEV, "WRITEV"},
        {IORING_OP_FSYNC, "FSYNC"},       {IORING_OP_ACCEPT, "ACCEPT"},
        {IORING_OP_CONNECT, "CONNECT"},   {IORING_OP_SEND, "SEND"},
        {IORING_OP_SENDMSG, "SENDMSG"},   {IORING_OP_RECV, "RECV"},
        {IORING_OP_RECVMSG, "RECVMSG"},   {IORING_OP_ASYNC_CANCEL, "ASYNC_CANCEL"},
        {IORING_OP_POLL_ADD, "POLL_ADD"},
    };
    char missing[160] = "";
    size_t length = 0;
    for (size_t i = 0; i < RR_ARRAY_SIZE(wanted); i++) {
        if (!io_uring_opcode_supported(probe, wanted[i].opcode))
            length +=
                (size_t)snprintf(missing + length, sizeof(missing) - length, " %s", wanted[i].name);
        RR_ASSERT(length < sizeof(missing));
    }
    if (length == 0)
        return 0;
    return rr_fail(error, RR_E_NOT_SUPPORTED,
                   "this kernel's io_uring lacks the operations%s; Linux 6.1 or newer is needed",
                   missing);
}
