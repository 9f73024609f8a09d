/* SPDX-License-Identifier: Apache-2.0
 *
 * Starting and joining threads.
 */
#include "io/os/os_thread.h"

#include "proto/base.h"

#include <signal.h>
#include <stdio.h>

int os_thread_start(pthread_t *thread, const char *name, void *(*run)(void *arg), void *arg)
{
    sigset_t all, before;
    sigfillset(&all);
    int err = pthread_sigmask(SIG_SETMASK, &all, &before);
    RR_ASSERT(err == 0);
    int started = pthread_create(thread, NULL, run, arg);
    err = pthread_sigmask(SIG_SETMASK, &before, NULL);
    RR_ASSERT(err == 0);
    if (started != 0)
        return -started;
    char shown[16];
    snprintf(shown, sizeof(shown), "%s", name);
    pthread_setname_np(*thread, shown);
    return 0;
}

void os_thread_join(pthread_t thread)
{
    int err = pthread_join(thread, NULL);
    RR_ASSERT(err == 0);
}
