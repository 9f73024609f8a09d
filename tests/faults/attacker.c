/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/faults/attacker.h"

#include "io/snapshot_wire.h"
#include "proto/codec.h"
#include "proto/crc32c.h"
#include "proto/frame.h"
#include "tests/unit/check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONNECTIONS_MAX 2000u
#define NOISE_BYTES     (256u * 1024)
#define IO_TIMEOUT_MS   300

static uint8_t noise[NOISE_BYTES];

/* ---- in the attacking process ---------------------------------------------- */

static int connect_to(uint16_t port)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    struct timeval limit = {.tv_usec = IO_TIMEOUT_MS * 1000};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
        return fd;
    close(fd); /* its backlog is full: that is its good right */
    return -1;
}

/* As much as it takes; the other end may close at any moment. */
static void say(int fd, const void *bytes, size_t size)
{
    (void)!send(fd, bytes, size, MSG_NOSIGNAL);
}

/* The answer to a hello: its kind, or 0 if the connection ended without. */
static uint8_t hear_answer(int fd, struct hello *answer)
{
    uint8_t bytes[HELLO_SIZE];
    size_t got = 0;
    ssize_t n = 1;
    while (got < sizeof(bytes) && n > 0) {
        n = recv(fd, bytes + got, sizeof(bytes) - got, 0);
        got += n > 0 ? (size_t)n : 0;
    }
    if (got < sizeof(bytes))
        return 0;
    CHECK(hello_get(bytes, answer) == 0);
    return answer->kind;
}

static void be_refused(int fd, const struct hello *hello)
{
    uint8_t bytes[HELLO_SIZE], byte;
    struct hello answer;
    hello_put(hello, bytes);
    say(fd, bytes, sizeof(bytes));
    uint8_t kind = hear_answer(fd, &answer);
    CHECK(kind == HELLO_REFUSAL && answer.code == RR_E_IDENTITY);
    CHECK(answer.cluster == 0 && answer.instance == 0); /* it tells nothing about itself */
    CHECK(recv(fd, &byte, 1, 0) <= 0);
}

/* Frames that are none, each of another sort, behind a hello that is accepted. */
static void be_an_impostor(int fd, const struct hello *hello, uint32_t number)
{
    uint8_t bytes[HELLO_SIZE];
    struct hello answer;
    hello_put(hello, bytes);
    say(fd, bytes, sizeof(bytes));
    CHECK(hear_answer(fd, &answer) == HELLO_ANSWER);
    struct frame_header header = {.kind = FRAME_MESSAGES, .group = 1, .length = 1000};
    if (number % 4 == 0)
        header.length = UINT32_MAX; /* with a right checksum */
    if (number % 4 == 1)
        header.length = 15u << 20; /* allowed, and never filled */
    frame_header_put(&header, bytes);
    if (number % 4 == 2)
        bytes[28] ^= 1;
    say(fd, bytes, FRAME_HEADER_SIZE);
    say(fd, noise, number % 4 == 1 ? 100000 : 1000); /* a body whose checksum is wrong */
}

/* ---- snapshot connections -------------------------------------------------- */

#define STATE_BYTES 300000u /* of the snapshot that it pretends to have */

/* The frame BEGIN of a transfer that would be taken; its size. */
static uint32_t make_begin(const struct attack *attack, uint8_t frame[4096])
{
    const uint64_t voters[] = {1, 2, 3};
    const struct rr_snapshot snapshot = {
        .metadata = {.index = ATTACK_SNAPSHOT_INDEX,
                     .term = attack->term,
                     .conf_state = {.voters = voters, .voter_count = 3}}};
    const struct rr_message message = {.type = RR_MSG_SNAP,
                                       .from = attack->hello.from,
                                       .to = attack->hello.to,
                                       .term = attack->term,
                                       .snapshot = &snapshot};
    struct snapshot_said said = {.type = SNAPSHOT_SAYS_BEGIN,
                                 .group = 1,
                                 .size = STATE_BYTES,
                                 .header_crc = 4711,
                                 .payload_size = (uint32_t)rr_message_size(&message)};
    CHECK(said.payload_size <= 4096 - SNAPSHOT_WIRE_HEAD);
    rr_message_encode(&message, frame + SNAPSHOT_WIRE_HEAD);
    snapshot_wire_put(&said, crc32c(0, frame + SNAPSHOT_WIRE_HEAD, said.payload_size), frame);
    return SNAPSHOT_WIRE_HEAD + said.payload_size;
}

static void say_chunk(int fd, uint32_t offset, uint32_t size, uint32_t crc)
{
    uint8_t head[SNAPSHOT_WIRE_HEAD];
    struct snapshot_said said = {
        .type = SNAPSHOT_SAYS_CHUNK, .group = 1, .offset = offset, .payload_size = size};
    snapshot_wire_put(&said, crc, head);
    say(fd, head, sizeof(head));
    say(fd, noise, size);
}

/* Bytes of noise with right checksums all along: only the file's own can tell. */
static void say_whole_file(int fd)
{
    for (uint32_t at = 0; at < STATE_BYTES; at += 100000)
        say_chunk(fd, at, 100000, crc32c(0, noise, 100000));
}

static void dribble(int fd, const uint8_t *bytes, uint32_t size)
{
    for (uint32_t i = 0; i < 8 && i < size; i++) {
        say(fd, bytes + i, 1);
        usleep(20000);
    }
}

static void be_a_mad_leader(int fd, const struct attack *attack, uint32_t number)
{
    uint8_t bytes[4096];
    struct hello hello = attack->hello, answer;
    hello.flags = HELLO_SNAPSHOT;
    hello_put(&hello, bytes);
    say(fd, bytes, HELLO_SIZE);
    if (hear_answer(fd, &answer) != HELLO_ANSWER)
        return; /* others of us have taken all the places */
    uint32_t size = make_begin(attack, bytes);
    switch (number % 8) {
    case 0:
        say(fd, noise, 5000);
        return;
    case 1:
        say(fd, bytes, SNAPSHOT_WIRE_HEAD / 2); /* and then nothing */
        return;
    case 2:
        frame_header_put(
            &(struct frame_header){.kind = FRAME_SNAPSHOT, .group = 1, .length = UINT32_MAX},
            bytes);
        say(fd, bytes, size);
        return;
    case 3:
        bytes[size - 1] ^= 1;
        say(fd, bytes, size);
        return;
    case 4:
        dribble(fd, bytes, size);
        return;
    default:
        say(fd, bytes, size);
        break;
    }
    usleep(20000);
    if (number % 8 == 5)
        say_chunk(fd, 0, 100000, 1);
    else if (number % 8 == 6)
        say_whole_file(fd);
    /* 7: half open */
}

static void attack_once(const struct attack *attack, int fd, uint32_t number)
{
    switch (attack->kind) {
    case ATTACK_RANDOM_BYTES:
        say(fd, noise, 1 + 977 * number % NOISE_BYTES);
        break;
    case ATTACK_HUGE_LENGTHS: {
        uint8_t bytes[4096];
        memset(bytes, 0xff, sizeof(bytes));
        say(fd, bytes, sizeof(bytes));
        break;
    }
    case ATTACK_OTHER_CLUSTER:
        be_refused(fd, &attack->hello);
        break;
    case ATTACK_HALF_HELLO: {
        uint8_t bytes[HELLO_SIZE];
        hello_put(&attack->hello, bytes);
        say(fd, bytes, number % HELLO_SIZE);
        break;
    }
    case ATTACK_IMPOSTOR:
        be_an_impostor(fd, &attack->hello, number);
        break;
    case ATTACK_SNAPSHOT:
        be_a_mad_leader(fd, attack, number);
        break;
    default:
        break; /* silence */
    }
}

static void serve(int commands, int reports)
{
    static int fds[CONNECTIONS_MAX];
    struct attack attack;
    char byte = 0;
    uint64_t state = 88172645463325252ull;
    struct rlimit files = {.rlim_cur = CONNECTIONS_MAX + 100, .rlim_max = CONNECTIONS_MAX + 100};
    CHECK(setrlimit(RLIMIT_NOFILE, &files) == 0 || errno == EPERM);
    for (uint32_t i = 0; i < NOISE_BYTES; i++) {
        state = state * 6364136223846793005ull + 1442695040888963407ull;
        noise[i] = (uint8_t)(state >> 56);
    }
    while (read(commands, &attack, sizeof(attack)) == (ssize_t)sizeof(attack)) {
        CHECK(attack.count <= CONNECTIONS_MAX);
        for (uint32_t i = 0; i < attack.count; i++) {
            fds[i] = connect_to(attack.port);
            if (fds[i] >= 0)
                attack_once(&attack, fds[i], i);
        }
        CHECK(write(reports, &byte, 1) == 1);
        CHECK(read(commands, &byte, 1) == 1);
        for (uint32_t i = 0; i < attack.count; i++)
            if (fds[i] >= 0)
                close(fds[i]);
        CHECK(write(reports, &byte, 1) == 1);
    }
    _exit(0);
}

/* ---- in the test's process ------------------------------------------------- */

void attacker_start(struct attacker *attacker)
{
    int commands[2], reports[2];
    CHECK(pipe(commands) == 0 && pipe(reports) == 0);
    fflush(NULL);
    attacker->pid = fork();
    CHECK(attacker->pid >= 0);
    if (attacker->pid == 0) {
        close(commands[1]);
        close(reports[0]);
        serve(commands[0], reports[1]);
    }
    close(commands[0]);
    close(reports[1]);
    attacker->commands = commands[1];
    attacker->reports = reports[0];
}

void attacker_stop(struct attacker *attacker)
{
    int status;
    close(attacker->commands);
    CHECK(waitpid(attacker->pid, &status, 0) == attacker->pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(attacker->reports);
}

void attacker_begin(const struct attacker *attacker, const struct attack *attack)
{
    char byte;
    CHECK(write(attacker->commands, attack, sizeof(*attack)) == (ssize_t)sizeof(*attack));
    CHECK(read(attacker->reports, &byte, 1) == 1);
}

void attacker_end(const struct attacker *attacker)
{
    char byte = 0;
    CHECK(write(attacker->commands, &byte, 1) == 1);
    CHECK(read(attacker->reports, &byte, 1) == 1);
}
