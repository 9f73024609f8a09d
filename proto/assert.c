/* SPDX-License-Identifier: Apache-2.0
 *
 * What happens when a belief is broken: the hook of this thread (tests, the simulator) sees it
 * first and may leave by longjmp; otherwise one line goes to stderr and the process stops.
 */
#include "proto/base.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Per thread, so that a test that expects a failure disturbs no other. */
static _Thread_local rr_assert_hook assert_hook;

rr_assert_hook rr_assert_set_hook(rr_assert_hook hook)
{
    rr_assert_hook before = assert_hook;
    assert_hook = hook;
    return before;
}

void rr_assert_failed(const char *file, int line, const char *expression)
{
    if (assert_hook)
        assert_hook(file, line, expression);
    fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, expression);
    fflush(stderr);
    abort();
}

void rr_assert_failed_saying(const char *file, int line, const char *sentence,
                             const uint64_t *values)
{
    /* Static: a hook may keep it when it leaves. */
    static _Thread_local char text[300];
    size_t size = 0;
    for (const char *c = sentence; *c && size + 1 < sizeof(text); c++) {
        int written = *c == '%' ? snprintf(&text[size], sizeof(text) - size, "%" PRIu64, *values++)
                                : snprintf(&text[size], sizeof(text) - size, "%c", *c);
        size += (size_t)written;
    }
    rr_assert_failed(file, line, text);
}
