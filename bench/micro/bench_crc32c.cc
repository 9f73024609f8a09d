// SPDX-License-Identifier: Apache-2.0
//
// CRC32C by size: the chosen path, the fused copy, the tables, and the combination of parts.
#include "proto/crc32c.h"

#include <benchmark/benchmark.h>

#include <cstring>
#include <vector>

namespace
{

std::vector<uint8_t> some_bytes(size_t size)
{
    std::vector<uint8_t> bytes(size);
    for (size_t i = 0; i < size; i++)
        bytes[i] = static_cast<uint8_t>(i * 131 >> 3);
    return bytes;
}

void set_bytes(benchmark::State &state)
{
    state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * state.range(0));
}

void crc32c_of(benchmark::State &state)
{
    const std::vector<uint8_t> bytes = some_bytes(static_cast<size_t>(state.range(0)));
    for (auto _ : state)
        benchmark::DoNotOptimize(crc32c(0, bytes.data(), bytes.size()));
    set_bytes(state);
}
BENCHMARK(crc32c_of)->Arg(16)->Arg(60)->Arg(128)->Arg(512)->Arg(1024)->Arg(4096)->Arg(65536)->Arg(
    1 << 20);

void crc32c_copy_of(benchmark::State &state)
{
    const std::vector<uint8_t> from = some_bytes(static_cast<size_t>(state.range(0)));
    std::vector<uint8_t> to(from.size());
    for (auto _ : state) {
        benchmark::DoNotOptimize(crc32c_copy(0, to.data(), from.data(), from.size()));
        benchmark::ClobberMemory();
    }
    set_bytes(state);
}
BENCHMARK(crc32c_copy_of)->Arg(16)->Arg(128)->Arg(1024)->Arg(4096)->Arg(65536)->Arg(1 << 20);

// What the fused pass is compared with.
void memcpy_then_crc32c_of(benchmark::State &state)
{
    const std::vector<uint8_t> from = some_bytes(static_cast<size_t>(state.range(0)));
    std::vector<uint8_t> to(from.size());
    for (auto _ : state) {
        std::memcpy(to.data(), from.data(), from.size());
        benchmark::DoNotOptimize(crc32c(0, to.data(), to.size()));
        benchmark::ClobberMemory();
    }
    set_bytes(state);
}
BENCHMARK(memcpy_then_crc32c_of)->Arg(16)->Arg(128)->Arg(1024)->Arg(4096)->Arg(65536)->Arg(1 << 20);

void crc32c_portable_of(benchmark::State &state)
{
    const std::vector<uint8_t> bytes = some_bytes(static_cast<size_t>(state.range(0)));
    for (auto _ : state)
        benchmark::DoNotOptimize(crc32c_portable(0, bytes.data(), bytes.size()));
    set_bytes(state);
}
BENCHMARK(crc32c_portable_of)->Arg(128)->Arg(4096)->Arg(65536);

void crc32c_combine_by(benchmark::State &state)
{
    const auto size = static_cast<uint64_t>(state.range(0));
    uint32_t crc = 0x12345678;
    for (auto _ : state)
        benchmark::DoNotOptimize(crc = crc32c_combine(crc, 0x9abcdef0, size));
}
BENCHMARK(crc32c_combine_by)->Arg(128)->Arg(4095)->Arg(262143)->Arg((16 << 20) - 1);

} // namespace
