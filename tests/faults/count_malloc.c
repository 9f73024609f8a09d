/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/faults/count_malloc.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>

static _Atomic uint64_t calls;

uint64_t count_malloc_calls(void)
{
    return atomic_load(&calls);
}

/* glibc's own, under the names that it exports for this. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *ptr, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

#define COUNTED __attribute__((visibility("default"))) void *

COUNTED malloc(size_t size)
{
    atomic_fetch_add(&calls, 1);
    return __libc_malloc(size);
}

COUNTED calloc(size_t count, size_t size)
{
    atomic_fetch_add(&calls, 1);
    return __libc_calloc(count, size);
}

COUNTED realloc(void *ptr, size_t size)
{
    atomic_fetch_add(&calls, 1);
    return __libc_realloc(ptr, size);
}

COUNTED memalign(size_t alignment, size_t size)
{
    atomic_fetch_add(&calls, 1);
    return __libc_memalign(alignment, size);
}

COUNTED aligned_alloc(size_t alignment, size_t size)
{
    return memalign(alignment, size);
}

__attribute__((visibility("default"))) int posix_memalign(void **ptr, size_t alignment, size_t size)
{
    void *made = memalign(alignment, size);
    if (!made)
        return ENOMEM;
    *ptr = made;
    return 0;
}
