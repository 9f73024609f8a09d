/* SPDX-License-Identifier: Apache-2.0
 *
 * A thread of ours inside somebody else's process: named, and with all signals blocked, so that
 * the host's handlers run on the host's threads.
 */
#ifndef RR_IO_OS_THREAD_H
#define RR_IO_OS_THREAD_H

#include <pthread.h>

/* 0 or -errno. Up to 15 bytes of `name` are shown by the system. */
int os_thread_start(pthread_t *thread, const char *name, void *(*run)(void *arg), void *arg);
void os_thread_join(pthread_t thread);

#endif
