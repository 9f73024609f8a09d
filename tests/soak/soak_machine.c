/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/soak/soak_machine.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct cursor {
    size_t at;
    struct soak_state state;
};

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9e3779b97f4a7c15ull;
    return hash ^ hash >> 29;
}

static int machine_open(void *ctx, uint64_t *applied)
{
    (void)ctx;
    *applied = 0;
    return 0;
}

static int swap(struct soak_machine *machine, const struct rr_apply_entry *entry, uint64_t *result)
{
    struct soak_command command;
    struct soak_state *state = &machine->state;
    if (entry->size < sizeof(command))
        return RR_E_STATE_MACHINE;
    memcpy(&command, entry->data, sizeof(command));
    if (command.key >= SOAK_KEYS || entry->index <= state->index)
        return RR_E_STATE_MACHINE;
    *result = state->registers[command.key];
    state->registers[command.key] = command.id;
    state->chain = mix(mix(state->chain, command.id), entry->index);
    /* The ballast changes too, so that a chunk that came from another snapshot would show. */
    state->registers[SOAK_KEYS + state->chain % (SOAK_REGISTERS - SOAK_KEYS)] = state->chain;
    state->count++;
    state->index = entry->index;
    struct soak_applied line = {.index = entry->index,
                                .id = command.id,
                                .previous = *result,
                                .chain = state->chain,
                                .key = command.key};
    return write(machine->journal, &line, sizeof(line)) == sizeof(line) ? 0 : RR_E_IO;
}

static int machine_apply(void *ctx, const struct rr_apply_entry *entries, uint32_t count,
                         uint64_t *results)
{
    struct soak_machine *machine = ctx;
    int rc = 0;
    for (uint32_t i = 0; i < count && rc == 0; i++)
        rc = swap(machine, &entries[i], &results[i]);
    return rc;
}

static int snapshot_begin(void *ctx, void **snapshot)
{
    struct cursor *cursor = malloc(sizeof(*cursor));
    if (!cursor)
        return RR_E_NO_MEMORY;
    cursor->at = 0;
    cursor->state = ((struct soak_machine *)ctx)->state;
    *snapshot = cursor;
    return 0;
}

static int snapshot_read(void *ctx, void *snapshot, uint8_t *buf, size_t cap, size_t *size)
{
    (void)ctx;
    struct cursor *cursor = snapshot;
    size_t left = sizeof(cursor->state) - cursor->at;
    *size = left < cap ? left : cap;
    memcpy(buf, (const uint8_t *)&cursor->state + cursor->at, *size);
    cursor->at += *size;
    return 0;
}

static void snapshot_end(void *ctx, void *snapshot)
{
    (void)ctx;
    free(snapshot);
}

static int restore_begin(void *ctx, void **restore)
{
    (void)ctx;
    *restore = calloc(1, sizeof(struct cursor));
    return *restore ? 0 : RR_E_NO_MEMORY;
}

static int restore_write(void *ctx, void *restore, const uint8_t *buf, size_t size)
{
    (void)ctx;
    struct cursor *cursor = restore;
    if (size > sizeof(cursor->state) - cursor->at)
        return RR_E_CORRUPT;
    memcpy((uint8_t *)&cursor->state + cursor->at, buf, size);
    cursor->at += size;
    return 0;
}

static int restore_end(void *ctx, void *restore, bool complete)
{
    struct cursor *cursor = restore;
    bool is_good = complete && cursor->at == sizeof(cursor->state);
    if (is_good)
        ((struct soak_machine *)ctx)->state = cursor->state;
    free(restore);
    return is_good ? 0 : RR_E_CORRUPT;
}

static uint64_t machine_hash(void *ctx)
{
    const struct soak_state *state = &((struct soak_machine *)ctx)->state;
    uint64_t hash = mix(state->chain, state->count);
    for (uint32_t key = 0; key < SOAK_KEYS; key++)
        hash = mix(hash, state->registers[key]);
    return hash;
}

bool soak_machine_init(struct soak_machine *machine, const char *journal)
{
    memset(machine, 0, sizeof(*machine));
    machine->journal = open(journal, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    return machine->journal >= 0;
}

struct rr_state_machine soak_machine_interface(struct soak_machine *machine)
{
    return (struct rr_state_machine){.size = sizeof(struct rr_state_machine),
                                     .ctx = machine,
                                     .open = machine_open,
                                     .apply = machine_apply,
                                     .snapshot_begin = snapshot_begin,
                                     .snapshot_read = snapshot_read,
                                     .snapshot_end = snapshot_end,
                                     .restore_begin = restore_begin,
                                     .restore_write = restore_write,
                                     .restore_end = restore_end,
                                     .hash = machine_hash};
}
