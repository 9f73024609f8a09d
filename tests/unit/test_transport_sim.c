/* SPDX-License-Identifier: Apache-2.0
 *
 * Three transports on the simulator, by seed: bytes are cut anywhere and late, links are cut one
 * way, nodes are killed, lose power and come back under the same address with a higher boot.
 *
 * What must hold all the time: from one sender's boot, messages arrive whole, in order and at most
 * once. What must hold in the end, when all faults are over: everybody is connected with everybody
 * and messages arrive again.
 */
#include "io/sim/sim.h"
#include "tests/unit/transport_world.h"

#define NODES  3u
#define PORT   7000
#define SECOND UINT64_C(1000000000)
#define SEEDS  12u

struct sender {      /* as one receiver sees it */
    uint64_t boot;   /* the newest from which something came */
    uint64_t number; /* of the last message */
    uint64_t count;
};

struct machine {
    struct city *city;
    struct io *io;
    struct transport *transport; /* NULL: down */
    uint32_t i;
    uint64_t boot;
    uint64_t number;     /* of the last message sent */
    uint64_t send_at_ns; /* when the next messages are due */
    struct sender senders[NODES];
};

struct city {
    struct sim *sim;
    struct machine machines[NODES];
    struct rr_entry entries[40];
    struct rr_block *run;
};

/* Boot and number travel as the message's commit. */
static int on_message(void *ctx, uint64_t from, uint64_t group, const struct rr_message *message)
{
    struct machine *machine = ctx;
    struct sender *sender = &machine->senders[from - 1];
    uint64_t boot = message->commit >> 32, number = message->commit & UINT32_MAX;
    CHECK(group == 1 && message->type == RR_MSG_APP && boot >= sender->boot);
    if (boot > sender->boot)
        *sender = (struct sender){.boot = boot};
    CHECK(number > sender->number);
    sender->number = number;
    sender->count++;
    const struct rr_entry *sent = machine->city->entries;
    CHECK(message->entry_count == number % 40);
    for (uint32_t i = 0; i < message->entry_count; i++)
        CHECK(message->entries[i].size == sent[i].size &&
              memcmp(message->entries[i].data, sent[i].data, sent[i].size) == 0);
    return 0;
}

static int check_peer(void *ctx, const struct transport_peer *peer)
{
    const struct machine *machine = ctx;
    return peer->boot < machine->senders[peer->node - 1].boot ? RR_E_INSTANCE : 0;
}

static void send_numbered(struct machine *machine, uint64_t to)
{
    uint64_t number = ++machine->number;
    struct rr_message message =
        make_app(machine->i + 1, to, machine->city->entries, (uint32_t)(number % 40));
    message.commit = machine->boot << 32 | number;
    int err = transport_send(machine->transport, 1, &message);
    CHECK(err == 0 || err == RR_E_CLOSED || err == RR_E_BUSY);
}

static bool turn(void *ctx, uint64_t now_ns, uint64_t *deadline_ns)
{
    struct machine *machine = ctx;
    transport_receive(machine->transport, now_ns);
    if (now_ns >= machine->send_at_ns) {
        machine->send_at_ns = now_ns + 25 * MS;
        for (uint64_t to = 1; to <= NODES; to++)
            if (to != machine->i + 1)
                send_numbered(machine, to);
    }
    uint64_t deadline = transport_flush(machine->transport, now_ns);
    *deadline_ns = deadline < machine->send_at_ns ? deadline : machine->send_at_ns;
    return true;
}

static void boot_machine(struct city *city, uint32_t i)
{
    struct machine *machine = &city->machines[i];
    machine->boot++;
    machine->number = 0;
    struct transport_options options = {
        .io = machine->io,
        .identity = {.cluster = WORLD_CLUSTER,
                     .node = i + 1,
                     .instance = 1000 + i,
                     .feature_level = 1,
                     .loop_count = 1},
        .boot = machine->boot,
        .nonce = machine->boot * 7,
        .listen = sim_address(i + 1, PORT),
        .limits = {.entry_bytes_max = 1 << 20, .frame_bytes_max = 2 << 20},
        .ctx = machine,
        .check_peer = check_peer,
        .on_message = on_message,
    };
    struct rr_error error = {0};
    CHECK(transport_open(&options, &machine->transport, &error) == 0);
    for (uint32_t other = 0; other < NODES; other++) {
        struct io_address address = sim_address(other + 1, PORT);
        if (other != i)
            CHECK(transport_add_peer(machine->transport, other + 1, &address, NULL) == 0);
    }
    CHECK(machine->io->ops->start(machine->io, turn, machine) == 0);
}

static void bury_machine(struct city *city, uint32_t i)
{
    struct machine *machine = &city->machines[i];
    machine->io->ops->join(machine->io);
    transport_free(machine->transport);
    machine->transport = NULL;
    sim_reset(city->sim, i + 1);
}

static struct city *city_new(uint64_t seed)
{
    struct city *city = calloc(1, sizeof(*city));
    CHECK(city);
    city->sim = sim_new(seed);
    city->run = make_run(city->entries, 40, 10, 300);
    for (uint32_t i = 0; i < NODES; i++) {
        city->machines[i] =
            (struct machine){.city = city, .io = sim_machine(city->sim, i + 1), .i = i};
        boot_machine(city, i);
    }
    return city;
}

static void city_free(struct city *city)
{
    for (uint32_t i = 0; i < NODES; i++) {
        sim_kill(city->sim, i + 1);
        bury_machine(city, i);
    }
    CHECK(city->run->refs == 1);
    rr_block_put(city->run, 1);
    sim_free(city->sim);
    free(city);
}

static void pass(struct city *city, uint64_t ns)
{
    sim_run_until(city->sim, sim_now(city->sim) + ns);
}

static void do_harm(struct city *city)
{
    struct sim *sim = city->sim;
    uint32_t i = (uint32_t)sim_random_below(sim, NODES);
    uint32_t other = (i + 1 + (uint32_t)sim_random_below(sim, NODES - 1)) % NODES;
    switch (sim_random_below(sim, 4)) {
    case 0:
        sim_cut(sim, i + 1, other + 1, true);
        break;
    case 1:
        sim_cut(sim, i + 1, other + 1, false);
        break;
    case 2:
        sim_kill(sim, i + 1);
        bury_machine(city, i);
        boot_machine(city, i);
        break;
    default:
        sim_power_loss(sim, i + 1, SIM_LOSE_ALL);
        pass(city, sim_random_below(sim, SECOND));
        bury_machine(city, i);
        boot_machine(city, i);
    }
}

static void check_all_connected(struct city *city)
{
    uint64_t before[NODES][NODES];
    for (uint32_t i = 0; i < NODES; i++)
        for (uint32_t from = 0; from < NODES; from++)
            before[i][from] = city->machines[i].senders[from].count;
    pass(city, SECOND);
    for (uint32_t i = 0; i < NODES; i++) {
        struct transport_stats stats;
        transport_stats(city->machines[i].transport, &stats);
        CHECK_EQ_U64(stats.connections, 2 * (NODES - 1));
        CHECK(stats.malformed == 0 && stats.refused == 0);
        for (uint32_t from = 0; from < NODES; from++)
            CHECK(from == i || city->machines[i].senders[from].count > before[i][from] + 20);
    }
}

static uint64_t run_city(uint64_t seed)
{
    struct city *city = city_new(seed);
    pass(city, SECOND);
    check_all_connected(city);
    for (int i = 0; i < 15; i++) {
        do_harm(city);
        pass(city, sim_random_below(city->sim, SECOND / 2));
    }
    for (uint32_t i = 1; i <= NODES; i++)
        for (uint32_t other = 1; other <= NODES; other++)
            if (i != other)
                sim_cut(city->sim, i, other, false);
    pass(city, 15 * SECOND);
    check_all_connected(city);
    uint64_t hash = sim_trace_hash(city->sim);
    city_free(city);
    return hash;
}

static void test_connections_recover_from_every_fault(void)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        fprintf(stderr, "    seed %llu\n", (unsigned long long)seed);
        run_city(seed);
    }
}

static void test_same_seed_gives_the_same_trace(void)
{
    CHECK(run_city(3) == run_city(3));
    CHECK(run_city(3) != run_city(4));
}

/* `test_transport_sim SEED` replays one. */
int main(int argc, char **argv)
{
    if (argc == 2) {
        run_city(strtoull(argv[1], NULL, 0));
        return 0;
    }
    RUN(test_connections_recover_from_every_fault);
    RUN(test_same_seed_gives_the_same_trace);
    return 0;
}
