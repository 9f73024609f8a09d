/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/faults/log_surgery.h"

#include "tests/faults/dir_copy.h"
#include "tests/unit/check.h"

#define IDENTITY_INSTANCE_OFFSET 32u

static uint32_t seed_of(const char *dir)
{
    uint64_t instance;
    file_read_at(dir, "identity", IDENTITY_INSTANCE_OFFSET, &instance, sizeof(instance));
    return wal_seed(instance);
}

static void note_sections(struct surgery_write *write, const uint8_t *payload)
{
    struct wal_section_walk walk = wal_sections(&write->header, payload);
    while (wal_section_next(&walk)) {
        write->kinds |= 1u << walk.section.kind;
        if (walk.section.kind != WAL_SECTION_ENTRIES)
            continue;
        if (write->first_index == 0)
            write->first_index = walk.section.first_index;
        write->entry_count += walk.section.count;
    }
    CHECK(!walk.failed);
}

/* Is the next write of the log at `offset` of this segment? */
static bool take_write(struct surgery *surgery, const struct dir_copy_file *file, uint64_t offset)
{
    struct surgery_write write = {.offset = offset};
    const uint8_t *at = file->bytes + offset;
    if (offset + WAL_BLOCK_MIN > file->size ||
        wal_header_check(at, surgery->seed, &write.header) != WAL_HEADER_VALID ||
        write.header.epoch != wal_segment_number(file->name) ||
        !wal_payload_check(&write.header, at + sizeof(write.header)))
        return false;
    if (surgery->write_count > 0 &&
        !wal_header_follows(&surgery_last(surgery)->header, &write.header))
        return false;
    CHECK(surgery->write_count < SURGERY_WRITES_MAX);
    strcpy(write.segment, file->name);
    write.padded = wal_padded_size(&write.header);
    note_sections(&write, at + sizeof(write.header));
    surgery->writes[surgery->write_count++] = write;
    return true;
}

void surgery_begin(struct surgery *surgery, const char *dir)
{
    struct dir_copy copy;
    memset(surgery, 0, sizeof(*surgery));
    snprintf(surgery->dir, sizeof(surgery->dir), "%s", dir);
    surgery->seed = seed_of(dir);
    surgery->writes = calloc(SURGERY_WRITES_MAX, sizeof(*surgery->writes));
    CHECK(surgery->writes != NULL);
    dir_copy_take(&copy, dir); /* by name: segments in order */
    for (uint32_t i = 0; i < copy.count; i++) {
        const struct dir_copy_file *file = &copy.files[i];
        if (wal_segment_number(file->name) == 0)
            continue;
        CHECK(surgery->segment_count < SURGERY_SEGMENTS_MAX);
        strcpy(surgery->segments[surgery->segment_count++], file->name);
        surgery->segment_bytes = file->size;
        uint64_t offset = 0;
        while (take_write(surgery, file, offset))
            offset += surgery_last(surgery)->padded;
    }
    dir_copy_free(&copy);
    CHECK(surgery->write_count > 0);
    for (uint32_t i = 0; i < surgery->write_count; i++)
        for (uint32_t k = i + 1; k < surgery->write_count && !surgery->writes[i].is_proven; k++)
            surgery->writes[i].is_proven =
                surgery->writes[k].header.durable_seq >= surgery->writes[i].header.seq;
}

void surgery_end(struct surgery *surgery)
{
    free(surgery->writes);
    surgery->writes = NULL;
}

const struct surgery_write *surgery_find(const struct surgery *surgery, uint32_t from,
                                         enum wal_section_kind kind)
{
    for (uint32_t i = from; i < surgery->write_count; i++)
        if (surgery->writes[i].kinds & 1u << kind)
            return &surgery->writes[i];
    return NULL;
}

bool surgery_is_spare(const struct surgery *surgery, const char *segment)
{
    return wal_segment_number(segment) > wal_segment_number(surgery_last(surgery)->segment);
}

void surgery_put_header(const struct surgery *surgery, const struct surgery_write *write,
                        struct wal_header header)
{
    wal_header_seal(&header, surgery->seed);
    file_write_at(surgery->dir, write->segment, write->offset, &header, sizeof(header));
}

void surgery_zero(const struct surgery *surgery, const struct surgery_write *write, uint64_t offset,
                  uint64_t size)
{
    uint8_t *zeros = calloc(1, size);
    CHECK(zeros && offset + size <= write->padded);
    file_write_at(surgery->dir, write->segment, write->offset + offset, zeros, size);
    free(zeros);
}

void surgery_end_log_before(const struct surgery *surgery, const struct surgery_write *write)
{
    for (; write <= surgery_last(surgery); write++)
        surgery_zero(surgery, write, 0, write->padded);
}
