// SPDX-License-Identifier: Apache-2.0
//
// The codec per entry (items are entries): encoding with checksum, moving encoded entries, decoding
// a run and a whole MsgApp; and the small messages that answer it.
#include "proto/codec.h"

#include <benchmark/benchmark.h>

#include <vector>

namespace
{

constexpr uint32_t entry_count = 256;

struct Run {
    std::vector<uint8_t> payload;
    std::vector<rr_entry> entries;
    std::vector<uint8_t> bytes; // all entries, encoded
    std::vector<rr_entry> staged;
};

Run make_run(size_t size)
{
    Run run;
    run.payload.resize(size, 0x5a);
    size_t total = 0;
    for (uint32_t i = 0; i < entry_count; i++) {
        rr_entry entry{};
        entry.term = 7;
        entry.index = 1000000 + i;
        entry.data = run.payload.data();
        entry.size = static_cast<uint32_t>(size);
        entry.has = RR_ENTRY_HAS_TERM | RR_ENTRY_HAS_INDEX | RR_ENTRY_HAS_DATA;
        total += rr_entry_wire_size(&entry);
        run.entries.push_back(entry);
    }
    run.bytes.resize(total);
    run.staged.resize(entry_count);
    uint8_t *at = run.bytes.data();
    for (uint32_t i = 0; i < entry_count; i++)
        at = rr_entry_encode(&run.entries[i], at, nullptr, &run.staged[i]);
    return run;
}

void set_entries(benchmark::State &state, const Run &run)
{
    const auto iterations = static_cast<int64_t>(state.iterations());
    state.SetItemsProcessed(iterations * entry_count);
    state.SetBytesProcessed(iterations * static_cast<int64_t>(run.bytes.size()));
}

void entry_body_size(benchmark::State &state)
{
    Run run = make_run(128);
    for (auto _ : state) {
        size_t total = 0;
        for (const rr_entry &entry : run.entries)
            total += rr_entry_body_size(&entry);
        benchmark::DoNotOptimize(total);
    }
    set_entries(state, run);
}
BENCHMARK(entry_body_size);

void encode_all(benchmark::State &state, const std::vector<rr_entry> &from, Run &run)
{
    std::vector<uint8_t> to(run.bytes.size());
    std::vector<rr_entry> staged(entry_count);
    for (auto _ : state) {
        uint32_t crc = 0;
        uint8_t *at = to.data();
        for (uint32_t i = 0; i < entry_count; i++)
            at = rr_entry_encode(&from[i], at, &crc, &staged[i]);
        benchmark::DoNotOptimize(crc);
        benchmark::ClobberMemory();
    }
    set_entries(state, run);
}

void entry_encode(benchmark::State &state)
{
    Run run = make_run(static_cast<size_t>(state.range(0)));
    encode_all(state, run.entries, run);
}
BENCHMARK(entry_encode)->Arg(16)->Arg(128)->Arg(1024)->Arg(4096);

void entry_move_encoded(benchmark::State &state)
{
    Run run = make_run(static_cast<size_t>(state.range(0)));
    encode_all(state, run.staged, run);
}
BENCHMARK(entry_move_encoded)->Arg(16)->Arg(128)->Arg(1024)->Arg(4096);

void entries_decode(benchmark::State &state)
{
    Run run = make_run(static_cast<size_t>(state.range(0)));
    std::vector<rr_entry> entries(entry_count);
    for (auto _ : state) {
        int err = rr_entries_decode(run.bytes.data(), run.bytes.size(), nullptr, entries.data(),
                                    entry_count);
        if (err)
            state.SkipWithError("malformed");
        benchmark::ClobberMemory();
    }
    set_entries(state, run);
}
BENCHMARK(entries_decode)->Arg(16)->Arg(128)->Arg(4096);

void message_decode_append(benchmark::State &state)
{
    Run run = make_run(static_cast<size_t>(state.range(0)));
    rr_message message{};
    message.type = RR_MSG_APP;
    message.to = 2;
    message.from = 1;
    message.term = message.log_term = 7;
    message.index = 999999;
    message.commit = 999990;
    message.entries = run.staged.data();
    message.entry_count = entry_count;
    std::vector<uint8_t> bytes(rr_message_size(&message));
    rr_message_encode(&message, bytes.data());
    std::vector<uint64_t> memory(entry_count * sizeof(rr_entry) / 8);
    for (auto _ : state) {
        codec_scratch scratch{reinterpret_cast<uint8_t *>(memory.data()), memory.size() * 8, 0,
                              nullptr};
        rr_message decoded;
        if (rr_message_decode(bytes.data(), bytes.size(), &scratch, &decoded))
            state.SkipWithError("malformed");
        benchmark::DoNotOptimize(decoded);
    }
    set_entries(state, run);
}
BENCHMARK(message_decode_append)->Arg(16)->Arg(128)->Arg(4096);

rr_message append_response()
{
    rr_message message{};
    message.type = RR_MSG_APP_RESP;
    message.to = 1;
    message.from = 2;
    message.term = 7;
    message.index = 1000255;
    return message;
}

void message_encode_response(benchmark::State &state)
{
    const rr_message message = append_response();
    uint8_t bytes[CODEC_MESSAGE_HEAD_MAX + CODEC_MESSAGE_TAIL_MAX];
    for (auto _ : state) {
        benchmark::DoNotOptimize(rr_message_size(&message));
        benchmark::DoNotOptimize(rr_message_encode(&message, bytes));
    }
}
BENCHMARK(message_encode_response);

void message_decode_response(benchmark::State &state)
{
    const rr_message message = append_response();
    uint8_t bytes[CODEC_MESSAGE_HEAD_MAX + CODEC_MESSAGE_TAIL_MAX];
    const auto size = static_cast<size_t>(rr_message_encode(&message, bytes) - bytes);
    for (auto _ : state) {
        codec_scratch scratch{};
        rr_message decoded;
        benchmark::DoNotOptimize(rr_message_decode(bytes, size, &scratch, &decoded));
    }
}
BENCHMARK(message_decode_response);

} // namespace
