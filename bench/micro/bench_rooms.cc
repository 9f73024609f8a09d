// SPDX-License-Identifier: Apache-2.0
//
// The rooms of the core one by one: the commit index of a quorum, the log, and what each role does
// with a message.
//
// Step…: a node of three is stepped 64 equal messages and then gives a Ready, as a driver does that
// found 64 messages in its inbox. Items are messages.
#include "bench/micro/log_room.h"

extern "C" {
#include "raft/quorum.h"
}
#include <ringraft/raft.h>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdlib>

namespace
{

// ---- quorums --------------------------------------------------------------

const uint64_t acked_by_seven[] = {103, 97, 110, 101, 99, 108, 95};

uint64_t committed(size_t voters)
{
    uint64_t acked[7];
    std::copy_n(acked_by_seven, voters, acked);
    benchmark::DoNotOptimize(acked);
    return quorum_committed(acked, voters);
}

void QuorumCommitted(benchmark::State &state)
{
    for (auto _ : state)
        benchmark::DoNotOptimize(committed(static_cast<size_t>(state.range(0))));
}
BENCHMARK(QuorumCommitted)->Arg(3)->Arg(5)->Arg(7);

void QuorumCommittedJoint(benchmark::State &state)
{
    const auto voters = static_cast<size_t>(state.range(0));
    for (auto _ : state)
        benchmark::DoNotOptimize(std::min(committed(voters), committed(voters)));
}
BENCHMARK(QuorumCommittedJoint)->Arg(3)->Arg(5)->Arg(7);

// ---- the log --------------------------------------------------------------

constexpr uint32_t log_size = 4096;

void LogAppend(benchmark::State &state)
{
    const auto batch = static_cast<uint32_t>(state.range(0));
    log_room *room = log_room_new(0);
    for (auto _ : state)
        log_room_append(room, batch);
    state.SetItemsProcessed(state.iterations() * batch);
    log_room_free(room);
}
BENCHMARK(LogAppend)->Arg(1)->Arg(16)->Arg(256)->Arg(4096);

void look_up_terms(benchmark::State &state, uint64_t first)
{
    log_room *room = log_room_new(log_size);
    uint64_t index = 0;
    for (auto _ : state)
        benchmark::DoNotOptimize(log_room_term(room, first + (index++ & 1023)));
    state.SetItemsProcessed(state.iterations());
    log_room_free(room);
}

void LogTermInTail(benchmark::State &state)
{
    look_up_terms(state, log_size - 1024);
}
BENCHMARK(LogTermInTail);

void LogTermInStorage(benchmark::State &state)
{
    look_up_terms(state, 1);
}
BENCHMARK(LogTermInStorage);

void slice_at(benchmark::State &state, uint64_t lo)
{
    const auto count = static_cast<uint64_t>(state.range(0));
    log_room *room = log_room_new(log_size);
    for (auto _ : state)
        benchmark::DoNotOptimize(log_room_slice(room, lo, lo + count, 1 << 20));
    state.SetItemsProcessed(state.iterations() * state.range(0));
    log_room_free(room);
}

void LogSliceOfTail(benchmark::State &state)
{
    slice_at(state, log_size / 2 + 1);
}
BENCHMARK(LogSliceOfTail)->Arg(1)->Arg(16)->Arg(256);

void LogSliceOfStorage(benchmark::State &state)
{
    slice_at(state, 1);
}
BENCHMARK(LogSliceOfStorage)->Arg(1)->Arg(16)->Arg(256);

// ---- steps ----------------------------------------------------------------

constexpr int messages_per_ready = 64;

constexpr rr_allocator allocator{
    [](void *, size_t size) { return malloc(size); },
    [](void *, void *ptr, size_t, size_t size) { return realloc(ptr, size); },
    [](void *, void *ptr, size_t) { free(ptr); }, nullptr};

rr_config config_on(rr_memory_storage *storage)
{
    rr_config config{};
    config.size = sizeof(config);
    config.id = 1;
    config.election_tick = 10;
    config.heartbeat_tick = 1;
    config.storage = rr_memory_storage_interface(storage);
    config.max_size_per_msg = 1 << 20;
    config.max_inflight_msgs = 256;
    config.allocator = allocator;
    return config;
}

// Node 1 of three, with the empty entry of term 1 behind a snapshot of index 1.
class OneOfThree
{
  public:
    OneOfThree()
    {
        static const uint64_t voters[] = {1, 2, 3};
        storage_ = rr_memory_storage_new(&allocator);
        rr_snapshot snapshot{};
        snapshot.metadata.index = 1;
        snapshot.metadata.term = 1;
        snapshot.metadata.conf_state.voters = voters;
        snapshot.metadata.conf_state.voter_count = 3;
        rr_memory_storage_apply_snapshot(storage_, &snapshot);
        const rr_config config = config_on(storage_);
        if (rr_raw_node_new(&config, &node_, nullptr) != 0)
            abort();
    }
    ~OneOfThree()
    {
        rr_raw_node_free(node_);
        rr_memory_storage_free(storage_);
    }
    OneOfThree(const OneOfThree &) = delete;

    void campaign()
    {
        rr_raw_node_campaign(node_);
        settle();
    }
    void lead()
    {
        campaign();
        step(message(RR_MSG_VOTE_RESP));
        settle();
        rr_message all = message(RR_MSG_APP_RESP);
        all.index = 2;
        step(all);
        settle();
    }
    // From node 2, in term 1.
    static rr_message message(rr_message_type type)
    {
        rr_message m{};
        m.type = static_cast<uint8_t>(type);
        m.to = 1;
        m.from = 2;
        m.term = 1;
        return m;
    }
    void step(const rr_message &m)
    {
        rr_raw_node_step(node_, &m);
    }
    void settle()
    {
        while (rr_raw_node_has_ready(node_)) {
            rr_ready ready;
            rr_raw_node_ready(node_, &ready);
            if (ready.entry_count)
                rr_memory_storage_append(storage_, ready.entries, ready.entry_count);
            rr_raw_node_advance(node_);
        }
    }

  private:
    rr_raw_node *node_ = nullptr;
    rr_memory_storage *storage_ = nullptr;
};

void step_repeatedly(benchmark::State &state, OneOfThree &node, const rr_message &m)
{
    for (auto _ : state) {
        for (int i = 0; i < messages_per_ready; i++)
            node.step(m);
        node.settle();
    }
    state.SetItemsProcessed(state.iterations() * messages_per_ready);
}

void StepFollowerHeartbeat(benchmark::State &state)
{
    OneOfThree node;
    step_repeatedly(state, node, OneOfThree::message(RR_MSG_HEARTBEAT));
}
BENCHMARK(StepFollowerHeartbeat);

// One that is known already: what a follower does with every MsgApp before it appends.
void StepFollowerAppend(benchmark::State &state)
{
    OneOfThree node;
    rr_entry entry{};
    entry.term = 1;
    entry.index = 2;
    entry.has = RR_ENTRY_HAS_TERM | RR_ENTRY_HAS_INDEX;
    rr_message m = OneOfThree::message(RR_MSG_APP);
    m.log_term = 1;
    m.index = 1;
    m.entries = &entry;
    m.entry_count = 1;
    step_repeatedly(state, node, m);
}
BENCHMARK(StepFollowerAppend);

void StepFollowerVote(benchmark::State &state)
{
    OneOfThree node;
    rr_message m = OneOfThree::message(RR_MSG_VOTE);
    m.log_term = 1;
    m.index = 1;
    step_repeatedly(state, node, m);
}
BENCHMARK(StepFollowerVote);

// An answer to the phase before: the other kind of response.
void StepCandidateVoteResponse(benchmark::State &state)
{
    OneOfThree node;
    node.campaign();
    step_repeatedly(state, node, OneOfThree::message(RR_MSG_PRE_VOTE_RESP));
}
BENCHMARK(StepCandidateVoteResponse);

void StepLeaderAppendResponse(benchmark::State &state)
{
    OneOfThree node;
    node.lead();
    rr_message m = OneOfThree::message(RR_MSG_APP_RESP);
    m.index = 2;
    step_repeatedly(state, node, m);
}
BENCHMARK(StepLeaderAppendResponse);

void StepLeaderHeartbeatResponse(benchmark::State &state)
{
    OneOfThree node;
    node.lead();
    step_repeatedly(state, node, OneOfThree::message(RR_MSG_HEARTBEAT_RESP));
}
BENCHMARK(StepLeaderHeartbeatResponse);

} // namespace
