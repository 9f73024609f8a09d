// SPDX-License-Identifier: Apache-2.0
//
// The core per entry. Items are entries; "allocs" counts calls of the nodes' allocator per entry
// after warm-up: it is 0.
//
// ThreeNodes: three whole nodes in memory in asynchronous mode, from propose to commit. A round is
// what three drivers do that take one Ready per turn, after all that has arrived was stepped: the
// leader proposes a batch and takes its Ready; each follower, having got its messages, takes one;
// the acknowledgements commit the batch on the leader, and the next round begins. So a batch is
// proposed when the one before it is committed, and is applied with the next round's Readys. Every
// node persists to memory storage, delivers every message, applies every entry and compacts.
// ThreeNodesSettled: the same, but a round ends when all three have applied and nobody has anything
// left to do, which takes each node a second Ready.
// ThreeNodesSync: as ThreeNodes, in sync mode: each Ready is stored before its messages are
// delivered, and ended by Advance. The way of a storage that, as this one, is done when it returns.
// ProposeToAppliedTwoVoters: one node in sync mode with a second voter played by the bench.
#include <ringraft/raft.h>

#include <benchmark/benchmark.h>

#include <cstdlib>
#include <vector>

namespace
{

uint64_t allocator_calls;

void *bench_alloc(void *, size_t size)
{
    allocator_calls++;
    return malloc(size);
}

void *bench_resize(void *, void *ptr, size_t, size_t size)
{
    allocator_calls++;
    return realloc(ptr, size);
}

void bench_free(void *, void *ptr, size_t)
{
    free(ptr);
}

const rr_allocator allocator{bench_alloc, bench_resize, bench_free, nullptr};

// The payload of all entries: one block that is never freed.
uint8_t payload_bytes[128];
rr_block payload = [] {
    rr_block block{};
    block.refs = 1;
    block.cap = sizeof(payload_bytes);
    block.bytes = payload_bytes;
    block.free = [](rr_block *) {};
    return block;
}();

struct Node {
    uint64_t id = 0;
    rr_raw_node *raw = nullptr;
    rr_memory_storage *storage = nullptr;
    uint64_t applied = 0;
    uint64_t compacted = 0;
};

rr_config make_config(Node &node, bool async)
{
    rr_config config{};
    config.size = sizeof(config);
    config.id = node.id;
    config.election_tick = 10;
    config.heartbeat_tick = 1;
    config.storage = rr_memory_storage_interface(node.storage);
    config.max_size_per_msg = 1 << 20;
    config.max_committed_size_per_ready = 1 << 20;
    config.max_inflight_msgs = 256;
    config.async_storage_writes = async;
    config.allocator = allocator;
    return config;
}

void open_node(Node &node, uint64_t id, const std::vector<uint64_t> &voters, bool async)
{
    node.id = id;
    node.storage = rr_memory_storage_new(&allocator);
    rr_snapshot snapshot{};
    snapshot.metadata.index = 1;
    snapshot.metadata.term = 1;
    snapshot.metadata.conf_state.voters = voters.data();
    snapshot.metadata.conf_state.voter_count = static_cast<uint32_t>(voters.size());
    rr_memory_storage_apply_snapshot(node.storage, &snapshot);
    rr_config config = make_config(node, async);
    if (rr_raw_node_new(&config, &node.raw, nullptr) != 0)
        abort();
    node.applied = node.compacted = 1;
}

void close_node(Node &node)
{
    rr_raw_node_free(node.raw);
    rr_memory_storage_free(node.storage);
}

void note_applied(Node &node, const rr_entry *entries, uint32_t count)
{
    node.applied = entries[count - 1].index;
    if (node.applied - node.compacted >= 512) {
        node.compacted = node.applied - 64;
        rr_memory_storage_compact(node.storage, node.compacted);
    }
}

template <bool async> struct Cluster {
    Cluster()
    {
        const std::vector<uint64_t> voters{1, 2, 3};
        for (size_t i = 0; i < 3; i++)
            open_node(nodes[i], i + 1, voters, async);
        rr_raw_node_campaign(nodes[0].raw);
        settle();
    }
    ~Cluster()
    {
        for (Node &node : nodes)
            close_node(node);
    }
    Cluster(const Cluster &) = delete;
    // Everybody takes one Ready, the leader first; false if nobody had anything to do.
    bool turn()
    {
        bool busy = false;
        for (Node &node : nodes) {
            if (rr_raw_node_has_ready(node.raw)) {
                handle_ready(node);
                busy = true;
            }
        }
        return busy;
    }
    void settle()
    {
        while (turn())
            ;
    }

    bool all_applied(uint64_t index) const
    {
        return nodes[0].applied == index && nodes[1].applied == index && nodes[2].applied == index;
    }

    void deliver(const rr_message *messages, uint32_t count)
    {
        for (const rr_message *m = messages, *end = m + count; m < end; m++)
            rr_raw_node_step(nodes[m->to - 1].raw, m);
    }

    void handle_ready(Node &node)
    {
        rr_ready ready;
        rr_raw_node_ready(node.raw, &ready);
        if (ready.hard_state)
            rr_memory_storage_set_hard_state(node.storage, ready.hard_state);
        if (async) {
            handle_messages(node, ready.messages, ready.message_count);
            return;
        }
        rr_memory_storage_append(node.storage, ready.entries, ready.entry_count);
        deliver(ready.messages, ready.message_count);
        if (ready.committed_entry_count)
            note_applied(node, ready.committed_entries, ready.committed_entry_count);
        rr_raw_node_advance(node.raw);
    }

    void handle_messages(Node &node, const rr_message *messages, uint32_t count)
    {
        for (const rr_message *m = messages, *end = m + count; m < end; m++) {
            if (m->type == RR_MSG_STORAGE_APPEND) {
                rr_memory_storage_append(node.storage, m->entries, m->entry_count);
                deliver(m->responses, m->response_count);
            } else if (m->type == RR_MSG_STORAGE_APPLY) {
                note_applied(node, m->entries, m->entry_count);
                deliver(m->responses, m->response_count);
            } else {
                rr_raw_node_step(nodes[m->to - 1].raw, m);
            }
        }
    }

    Node nodes[3];
};

std::vector<rr_entry> make_batch(uint32_t count)
{
    rr_entry entry{};
    entry.data = payload_bytes;
    entry.block = &payload;
    entry.size = sizeof(payload_bytes);
    entry.has = RR_ENTRY_HAS_DATA;
    return std::vector<rr_entry>(count, entry);
}

void report(benchmark::State &state, uint64_t entries_per_iteration, uint64_t calls)
{
    const auto entries =
        static_cast<double>(state.iterations()) * static_cast<double>(entries_per_iteration);
    state.SetItemsProcessed(static_cast<int64_t>(entries));
    state.counters["allocs"] = benchmark::Counter(static_cast<double>(calls) / entries);
    state.counters["ns_per_entry"] = benchmark::Counter(
        entries / 1e9, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

template <bool async, bool settled> void three_nodes(benchmark::State &state)
{
    Cluster<async> cluster;
    const auto count = static_cast<uint32_t>(state.range(0));
    const std::vector<rr_entry> batch = make_batch(count);
    uint64_t index = cluster.nodes[0].applied;
    bool is_committed = true;
    auto round = [&] {
        rr_raw_node_propose_batch(cluster.nodes[0].raw, batch.data(), count);
        if (settled)
            cluster.settle();
        else
            cluster.turn();
        // What this round's Ready of the leader handed out was committed when the round began.
        is_committed &= cluster.nodes[0].applied == (settled ? index + count : index);
        index += count;
    };
    for (uint32_t done = 0; done < 65536; done += count)
        round();
    const uint64_t before = allocator_calls;
    for (auto _ : state)
        round();
    report(state, count, allocator_calls - before);
    cluster.settle();
    if (!is_committed || !cluster.all_applied(index))
        state.SkipWithError("not everything was committed and applied in its round");
}
void ThreeNodes(benchmark::State &state)
{
    three_nodes<true, false>(state);
}
void ThreeNodesSettled(benchmark::State &state)
{
    three_nodes<true, true>(state);
}
void ThreeNodesSync(benchmark::State &state)
{
    three_nodes<false, false>(state);
}
BENCHMARK(ThreeNodes)->Arg(1)->Arg(16)->Arg(256)->Arg(4096);
BENCHMARK(ThreeNodesSettled)->Arg(1)->Arg(16)->Arg(256)->Arg(4096);
BENCHMARK(ThreeNodesSync)->Arg(1)->Arg(16)->Arg(256)->Arg(4096);

// One node in sync mode; the second voter acknowledges every MsgApp at once.
class Pair
{
  public:
    Pair()
    {
        open_node(node_, 1, {1, 2}, false);
        rr_raw_node_campaign(node_.raw);
        settle();
    }
    ~Pair()
    {
        close_node(node_);
    }
    Pair(const Pair &) = delete;

    void propose()
    {
        rr_raw_node_propose(node_.raw, payload_bytes, sizeof(payload_bytes), &payload);
        settle();
    }
    uint64_t applied() const
    {
        return node_.applied;
    }

  private:
    void answer(const rr_message &m)
    {
        rr_message answer{};
        answer.to = 1;
        answer.from = 2;
        answer.term = m.term;
        if (m.type == RR_MSG_VOTE) {
            answer.type = RR_MSG_VOTE_RESP;
        } else if (m.type == RR_MSG_APP) {
            answer.type = RR_MSG_APP_RESP;
            answer.index = m.index + m.entry_count;
        } else {
            return;
        }
        rr_raw_node_step(node_.raw, &answer);
    }

    void settle()
    {
        while (rr_raw_node_has_ready(node_.raw)) {
            rr_ready ready;
            rr_raw_node_ready(node_.raw, &ready);
            if (ready.hard_state)
                rr_memory_storage_set_hard_state(node_.storage, ready.hard_state);
            rr_memory_storage_append(node_.storage, ready.entries, ready.entry_count);
            for (uint32_t i = 0; i < ready.message_count; i++)
                answer(ready.messages[i]);
            if (ready.committed_entry_count)
                note_applied(node_, ready.committed_entries, ready.committed_entry_count);
            rr_raw_node_advance(node_.raw);
        }
    }

    Node node_;
};

void ProposeToAppliedTwoVoters(benchmark::State &state)
{
    Pair pair;
    for (int i = 0; i < 65536; i++)
        pair.propose();
    const uint64_t before = allocator_calls;
    const uint64_t first = pair.applied();
    for (auto _ : state)
        pair.propose();
    report(state, 1, allocator_calls - before);
    if (pair.applied() - first != static_cast<uint64_t>(state.iterations()))
        state.SkipWithError("not every entry was applied");
}
BENCHMARK(ProposeToAppliedTwoVoters);

} // namespace
